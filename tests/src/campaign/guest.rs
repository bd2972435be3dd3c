//! Both programs on a host as users have it: systemd as PID 1, control groups version 2, Debian's
//! kernel and Docker, the shipped units unchanged. The host is a QEMU machine.
//!
//! Each row is one thing that has to hold there, printed as a figure. The rows share one machine
//! and run in order; a row that changes the host puts it back.

mod host_rows;
mod image;
mod machine;
mod program_rows;
mod task_rows;

use std::{path::PathBuf, pin::Pin, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use self::{
    image::{Image, SAMPLE_ARCHIVE},
    machine::Machine,
};
use crate::figures::{count, figure, progress};
use longshore_harness::{
    aws::Aws,
    credentials::Credentials,
    ecs::EcsClient,
    image::{SAMPLE_CHANGES, SAMPLE_IMAGE},
};

/// Everything is slow without KVM.
const PATIENCE: Duration = Duration::from_secs(240);
const REGION: &str = "us-east-1";
const ROOT_CREDENTIALS: &str = "/var/lib/longshore/coordinator/root-credentials";

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

/// The machine, the coordinator in it, and what rows know of it.
struct Guest {
    machine: Machine,
    ecs: EcsClient,
    credentials: PathBuf,
    /// Families registered so far, so that each row has its own.
    families: usize,
}

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

impl Guest {
    /// Boots the machine and sets Longshore up as docs/operating/installation.md says.
    async fn start(image: &Image, folder: &std::path::Path) -> Result<Guest> {
        let machine = Machine::boot(image, folder).await?;
        let changes: Vec<String> =
            SAMPLE_CHANGES.iter().map(|change| format!("--change '{change}'")).collect();
        let changes = changes.join(" ");
        machine
            .sh(&format!(
                "until docker version >/dev/null 2>&1; do sleep 1; done
                 docker import {changes} {SAMPLE_ARCHIVE} {SAMPLE_IMAGE} >/dev/null
                 echo 'coordinator = \"127.0.0.1:8421\"' >> /etc/longshore/agent.toml
                 echo 'join_token_file = \"/etc/longshore/join-token\"' >> /etc/longshore/agent.toml
                 systemctl enable --now longshore-coordinator || {{
                   journalctl -b -u longshore-coordinator -o cat -n 30 >&2; exit 1; }}
                 umask 077
                 longshore-coordinator join-token create --ttl 1h > /etc/longshore/join-token
                 systemctl enable --now longshore-agent || {{
                   journalctl -b -u longshore-agent -o cat -n 30 >&2; exit 1; }}"
            ))
            .await?;
        let keys = machine.sh(&format!("cat {ROOT_CREDENTIALS}")).await?;
        let file = folder.join("root-credentials");
        fs_err::write(&file, keys)?;
        let ecs = EcsClient::new(&machine.api, REGION, Credentials::read(&file)?);
        let guest = Guest { machine, ecs, credentials: file, families: 0 };
        guest.connected().await?;
        Ok(guest)
    }

    fn aws(&self) -> Aws {
        Aws::new(&format!("http://{}", self.machine.api), REGION, &self.credentials)
    }

    async fn sh(&self, script: &str) -> Result<String> {
        self.machine.sh(script).await
    }

    /// Waits until a command in the guest ends with 0.
    async fn until(&self, condition: &str) -> Result<()> {
        let seconds = PATIENCE.as_secs();
        let script = format!(
            "end=$(($(date +%s) + {seconds}))
             until {{ {condition}; }} >/dev/null 2>&1; do
               [ $(date +%s) -lt $end ] || {{ echo 'not so in {seconds} s' >&2; exit 1; }}
               sleep 0.5
             done"
        );
        self.sh(&script).await.with_context(|| format!("waiting for `{condition}`"))?;
        Ok(())
    }

    /// The host's ARN, once its agent is connected.
    async fn connected(&self) -> Result<String> {
        let listed = self
            .ecs
            .eventually("ListContainerInstances", json!({}), PATIENCE, |answer| {
                answer["containerInstanceArns"][0].as_str().map(str::to_owned)
            })
            .await?;
        let describe = json!({ "containerInstances": [listed] });
        self.ecs
            .eventually("DescribeContainerInstances", describe, PATIENCE, |answer| {
                let host = &answer["containerInstances"][0];
                (host["agentConnected"] == json!(true)).then_some(())
            })
            .await?;
        Ok(listed)
    }

    /// Registers a definition under a family of its own, which it returns.
    async fn register(&mut self, mut definition: Value) -> Result<String> {
        self.families += 1;
        let family = format!("row{}", self.families);
        definition["family"] = json!(family);
        self.ecs.call("RegisterTaskDefinition", definition).await?;
        Ok(family)
    }

    /// Runs one task of a definition and waits until it runs.
    async fn run_task(&mut self, definition: Value) -> Result<Task> {
        let family = self.register(definition).await?;
        // For moments after Docker's own restart no task is placed where it is; a client asks again.
        let run = json!({ "taskDefinition": family });
        let is_decided = |answer: &Value| {
            (answer["failures"][0]["reason"] != json!("AGENT")).then(|| answer.clone())
        };
        let ran = self.ecs.eventually("RunTask", run, PATIENCE, is_decided).await?;
        let arn = ran["tasks"][0]["taskArn"].as_str();
        let task = Task { arn: arn.with_context(|| format!("RunTask: {ran}"))?.to_owned() };
        self.task_until(&task, "RUNNING").await?;
        Ok(task)
    }

    async fn task_until(&self, task: &Task, status: &str) -> Result<Value> {
        let describe = json!({ "tasks": [task.arn] });
        let mut last = Value::Null;
        let is_so = |answer: &Value| {
            let task = &answer["tasks"][0];
            last = task.clone();
            let (now, stopped) = (&task["lastStatus"], json!("STOPPED"));
            (*now == json!(status) || *now == stopped).then(|| task.clone())
        };
        let shown = self.ecs.eventually("DescribeTasks", describe, PATIENCE, is_so).await?;
        ensure!(shown["lastStatus"] == json!(status), "the task is not {status}: {shown:#}");
        Ok(shown)
    }

    async fn stop(&self, task: &Task) -> Result<Value> {
        self.ecs.call("StopTask", json!({ "task": task.arn })).await?;
        self.task_until(task, "STOPPED").await
    }

    /// Ids of the running containers of a task, one a line, by what Docker says.
    async fn containers(&self, task: &Task) -> Result<Vec<String>> {
        let label = format!("com.amazonaws.ecs.task-arn={}", task.arn);
        let listed = self.sh(&format!("docker ps -q --no-trunc --filter label={label}")).await?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    async fn container(&self, task: &Task) -> Result<String> {
        let containers = self.containers(task).await?;
        containers.into_iter().next().context("the task has no running container")
    }

    /// Runs a shell command in the (first) container of a task.
    async fn inside(&self, task: &Task, script: &str) -> Result<String> {
        let container = self.container(task).await?;
        self.sh(&format!("docker exec {container} /bin/sh -c '{script}'")).await
    }

    /// What Docker says of all containers' lives: changes when one is started or ended.
    async fn lives(&self) -> Result<String> {
        self.sh("docker ps -q --no-trunc | sort | xargs -r docker inspect \
             -f '{{.Id}} {{.State.Pid}} {{.State.StartedAt}}'")
            .await
    }

    /// Puts the host back as the first row found it, whatever a failed row has left.
    async fn restore(&self) -> Result<()> {
        self.sh("sed -i '/# row$/d' /etc/longshore/agent.toml
             rm -rf /etc/systemd/system/longshore-agent.service.d
             systemctl daemon-reload
             iptables -P INPUT ACCEPT
             systemctl reset-failed docker.socket docker || true
             systemctl start docker.socket docker
             for id in $(docker ps -aq); do docker rm -f $id; done >/dev/null
             systemctl reset-failed")
            .await?;
        self.without_launcher().await?;
        self.connected().await?;
        let listed = self.ecs.call("ListServices", json!({})).await?;
        for service in listed["serviceArns"].as_array().into_iter().flatten() {
            let delete = json!({ "service": service, "force": true });
            self.ecs.call("DeleteService", delete).await?;
        }
        self.restart_agent().await
    }

    /// Restarts the agent, its helpers with it, and waits until the coordinator has heard this start:
    /// for a while it still shows what the one before had said.
    async fn restart_agent(&self) -> Result<()> {
        self.sh("systemctl restart longshore-agent").await?;
        self.until(
            "start=$(systemctl show -p InvocationID --value longshore-agent) &&
             journalctl -o cat _SYSTEMD_INVOCATION_ID=$start | grep -q 'registered .*docker.version=' &&
             systemctl show -p StatusText longshore-agent | grep -q 'tasks running$'",
        )
        .await?;
        self.connected().await?;
        Ok(())
    }
}

/// A task of a row.
struct Task {
    arn: String,
}

impl Task {
    fn id(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or(&self.arn)
    }
}
