//! Both programs on a host as users have it: systemd as PID 1, control groups version 2, Debian's
//! kernel and Docker, the shipped units unchanged. The host is a QEMU machine.
//!
//! Each row is one thing that has to hold there, printed as a figure. The rows share one machine
//! and run in order; a row that changes the host puts it back.

mod host_rows;
mod image;
mod installed;
mod machine;
mod package_rows;
mod program_rows;
mod task_rows;

use std::{path::PathBuf, pin::Pin};

use anyhow::{Context, Result, ensure};

use self::{image::Image, installed::Guest};
use crate::figures::{count, figure, progress};

type RowEnded<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// One thing that has to hold.
struct Row {
    name: &'static str,
    run: for<'a> fn(&'a mut Guest) -> RowEnded<'a>,
}

/// Names the rows after their functions.
macro_rules! rows {
    ($($module:ident::$row:ident),* $(,)?) => {
        &[$(Row { name: stringify!($row), run: |guest| Box::pin($module::$row(guest)) }),*]
    };
}

const ROWS: &[Row] = rows![
    program_rows::units_start_at_boot,
    program_rows::units_are_the_shipped_ones,
    program_rows::units_are_hardened,
    program_rows::host_joins,
    program_rows::journal_shows_state_changes,
    task_rows::task_runs_and_stops,
    task_rows::container_limits_hold,
    task_rows::task_limits_hold,
    task_rows::task_limits_hold_with_cgroupfs,
    task_rows::lone_process_out_of_memory_says_so,
    task_rows::statistics_are_served,
    task_rows::metadata_is_served_on_the_bridge,
    task_rows::metadata_is_served_on_the_host_network,
    task_rows::metadata_is_kept_from_other_tasks,
    task_rows::awslogs_lines_arrive,
    task_rows::health_checks_are_followed,
    task_rows::removed_tasks_do_not_reload_systemd,
    task_rows::host_folder_is_mounted_by_the_helper,
    task_rows::efs_access_point_is_made_on_nfs,
    task_rows::efs_access_point_is_made_in_a_folder,
    task_rows::efs_symlinked_root_is_refused,
    program_rows::agent_restart_touches_no_container,
    program_rows::agent_stop_touches_no_container,
    program_rows::hung_agent_is_restarted_by_the_watchdog,
    program_rows::coordinator_restart_touches_no_container,
    program_rows::killed_programs_touch_no_container,
    program_rows::upgrade_touches_no_container,
    package_rows::package_refuses_units_of_make_install,
    package_rows::packages_take_over_beside_a_task,
    package_rows::package_upgrade_touches_no_container,
    package_rows::package_purge_stops_units_and_no_container,
    program_rows::service_heals_after_a_docker_restart,
    program_rows::backup_is_for_root_alone,
    program_rows::stopped_docker_impairs_the_host,
    program_rows::launcher_runs_the_programs_of_a_group,
    program_rows::gpu_setting_without_a_gpu_warns,
    host_rows::networkd_restart_keeps_the_rules,
    host_rows::flushed_nftables_are_laid_again,
    host_rows::input_drop_lets_metadata_through,
    host_rows::own_bridge_has_metadata_and_no_imds,
    host_rows::data_root_in_another_folder_keeps_logs,
    host_rows::data_root_under_home_is_refused_or_read,
    host_rows::reboot_brings_the_service_back,
];

pub struct GuestRun {
    /// Only rows whose names contain one of these, separated by commas.
    only: Option<String>,
}

pub struct GuestCounts {
    pub rows: usize,
    pub failed: Vec<&'static str>,
}

impl GuestRun {
    pub fn of(only: Option<String>) -> GuestRun {
        GuestRun { only }
    }

    pub async fn run(self) -> Result<GuestCounts> {
        let named = |row: &Row, only: &str| only.split(',').any(|part| row.name.contains(part));
        let chosen = |row: &&Row| self.only.as_ref().is_none_or(|only| named(row, only));
        let rows: Vec<&Row> = ROWS.iter().filter(chosen).collect();
        ensure!(!rows.is_empty(), "no row's name contains {:?}", self.only.unwrap_or_default());
        let work = work_folder()?;
        let image = tokio::task::spawn_blocking({
            let work = work.clone();
            move || Image::make(&work)
        })
        .await??;
        let folder = tempfile::tempdir_in(&work)?;
        progress("guest: booting");
        let mut guest = Guest::start(&image, folder.path()).await?;
        let mut counts = GuestCounts { rows: 0, failed: Vec::new() };
        for row in rows {
            progress(&format!("guest: {}", row.name));
            let ended = (row.run)(&mut guest).await;
            counts.rows += 1;
            if let Err(error) = &ended {
                progress(&format!("guest: {} FAILED: {error:#}", row.name));
                counts.failed.push(row.name);
                guest.restore().await.context("the host cannot be put back for the next row")?;
            }
            count(row.name, usize::from(ended.is_ok()))?;
        }
        program_rows::print_what_programs_take(&guest).await?;
        Ok(counts)
    }
}

impl GuestCounts {
    pub fn print_and_judge(&self) -> Result<()> {
        count("rows", self.rows)?;
        figure("rows_failed", self.failed.len() as f64, "count")?;
        ensure!(self.failed.is_empty(), "rows failed: {}", self.failed.join(", "));
        Ok(())
    }
}

/// Beside the programs, so that it is kept and ignored as they are.
fn work_folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.parent().and_then(|folder| folder.parent());
    Ok(target.context("the program is in no target folder")?.join("guest"))
}
