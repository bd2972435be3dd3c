//! The programs under systemd: starts, stops, kills, hangs, upgrades, and Docker's own restarts.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    installed::{Guest, PATIENCE, Task},
    task_rows::sleeper,
};
use crate::figures::figure;
use longshore_harness::service::{self, until_stable};

const UNITS: [&str; 2] = ["longshore-agent", "longshore-coordinator"];
/// Started by the agent's unit, and of the same program.
const HELPERS: [&str; 2] = ["longshore-agent-network", "longshore-agent-volumes"];
/// What `systemd-analyze security` may find at most; the helper that mounts is in the host's own
/// namespace of mounts.
const EXPOSURE_MAX: f64 = 3.0;
const EXPOSURE_OF_MOUNTS_MAX: f64 = 4.5;

pub(super) fn units() -> impl Iterator<Item = &'static str> {
    UNITS.into_iter().chain(HELPERS)
}

pub(super) async fn units_start_at_boot(guest: &mut Guest) -> Result<()> {
    let shown = guest.sh("stat -fc %T /sys/fs/cgroup; readlink -f /proc/1/exe").await?;
    ensure!(shown.contains("cgroup2fs") && shown.contains("systemd"), "not such a host: {shown}");
    for unit in UNITS {
        guest.sh(&format!("systemctl is-enabled {unit}")).await?;
    }
    for unit in units() {
        guest.until(&format!("systemctl is-active {unit}")).await?;
        let failed = guest.sh(&format!("systemctl show -p NRestarts --value {unit}")).await?;
        ensure!(failed.trim() == "0", "{unit} was restarted {failed} times");
    }
    Ok(())
}

/// `make install` lays each unit as it is shipped, and nothing changes it.
pub(super) async fn units_are_the_shipped_ones(guest: &mut Guest) -> Result<()> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd");
    let mut compared = 0;
    for entry in fs_err::read_dir(shipped)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "service") {
            continue;
        }
        let unit = path.file_name().context("a unit without a name")?.to_string_lossy();
        let installed = guest.sh(&format!("cat /etc/systemd/system/{unit}")).await?;
        ensure!(installed == fs_err::read_to_string(&path)?, "{unit} is not as it is shipped");
        let drop_ins = guest.sh(&format!("systemctl show -p DropInPaths --value {unit}")).await?;
        ensure!(drop_ins.trim().is_empty(), "{unit} is changed by {drop_ins}");
        compared += 1;
    }
    ensure!(compared >= 5, "only {compared} units are shipped");
    Ok(())
}

pub(super) async fn units_are_hardened(guest: &mut Guest) -> Result<()> {
    for unit in units() {
        let said = guest.sh(&format!("systemd-analyze security {unit} | tail -1")).await?;
        let words = said.split_whitespace();
        let exposure = words.filter_map(|word| word.parse::<f64>().ok()).next_back();
        let exposure = exposure.with_context(|| format!("no exposure in {said}"))?;
        let most = match unit {
            "longshore-agent-volumes" => EXPOSURE_OF_MOUNTS_MAX,
            _ => EXPOSURE_MAX,
        };
        ensure!(exposure <= most, "{unit}: {said}");
    }
    Ok(())
}

/// It holds every secret of the fleet.
pub(super) async fn backup_is_for_root_alone(guest: &mut Guest) -> Result<()> {
    let shown = guest
        .sh("umask 022
             rm -f /var/tmp/longshore-backup
             longshore-coordinator backup --to /var/tmp/longshore-backup >/dev/null
             stat -c %a:%u /var/tmp/longshore-backup
             rm /var/tmp/longshore-backup")
        .await?;
    ensure!(shown.trim() == "600:0", "the backup's mode and owner are {shown}");
    Ok(())
}

pub(super) async fn host_joins(guest: &mut Guest) -> Result<()> {
    let arn = guest.connected().await?;
    let describe = json!({ "containerInstances": [arn] });
    let answer = guest.ecs.call("DescribeContainerInstances", describe).await?;
    let host = &answer["containerInstances"][0];
    ensure!(host["status"] == json!("ACTIVE"), "the host is not ACTIVE: {host:#}");
    Ok(())
}

/// An operator who follows the agent's log sees each state once, with its fields.
pub(super) async fn journal_shows_state_changes(guest: &mut Guest) -> Result<()> {
    let stopped = guest.run_task(sleeper(json!({}), json!({}))).await?;
    let running = guest.run_task(sleeper(json!({}), json!({}))).await?;
    guest.stop(&stopped).await?;
    let lines = |task: &Task| {
        format!("journalctl -b -u longshore-agent -o cat | grep {} || true", task.id())
    };
    let ids = [&stopped, &running].map(lines).join("\n");
    let said = guest.sh(&ids).await?;
    for (state, wanted) in [("RUNNING", 2), ("STOPPED", 1)] {
        let times = said.lines().filter(|line| line.contains(&format!("task {state}"))).count();
        ensure!(times == wanted, "{state} is said {times} times:\n{said}");
    }
    guest.restart_agent().await?;
    // When a later task has run, what was known before was looked at.
    let later = guest.run_task(sleeper(json!({}), json!({}))).await?;
    let again = guest.sh(&ids).await?;
    guest.stop(&later).await?;
    guest.stop(&running).await?;
    ensure!(again == said, "a restarted agent says states again:\n{again}");
    Ok(())
}

pub(super) async fn agent_restart_touches_no_container(guest: &mut Guest) -> Result<()> {
    untouched(guest, "systemctl restart longshore-agent").await
}

pub(super) async fn coordinator_restart_touches_no_container(guest: &mut Guest) -> Result<()> {
    untouched(guest, "systemctl restart longshore-coordinator").await
}

pub(super) async fn agent_stop_touches_no_container(guest: &mut Guest) -> Result<()> {
    let stop = "systemctl stop longshore-agent
        test \"$(systemctl show -p Result --value longshore-agent)\" = success
        systemctl start longshore-agent";
    untouched(guest, stop).await
}

/// A stopped process answers no watchdog: systemd ends it and starts another one.
pub(super) async fn hung_agent_is_restarted_by_the_watchdog(guest: &mut Guest) -> Result<()> {
    let pid = guest.sh("systemctl show -p MainPID --value longshore-agent").await?;
    let pid = pid.trim().to_owned();
    let hang = format!("kill -STOP {pid}");
    let other = format!(
        "systemctl is-active longshore-agent && \
         test \"$(systemctl show -p MainPID --value longshore-agent)\" != {pid}"
    );
    let task = guest.run_task(sleeper(json!({}), json!({}))).await?;
    let before = guest.lives().await?;
    guest.sh(&hang).await?;
    guest.until(&other).await?;
    guest.connected().await?;
    ensure!(guest.lives().await? == before, "containers changed");
    guest.stop(&task).await?;
    Ok(())
}

pub(super) async fn killed_programs_touch_no_container(guest: &mut Guest) -> Result<()> {
    untouched(
        guest,
        "systemctl kill -s KILL longshore-agent longshore-coordinator
         sleep 1",
    )
    .await
}

/// Both programs are replaced under running tasks, as `make install` does, and restarted.
pub(super) async fn upgrade_touches_no_container(guest: &mut Guest) -> Result<()> {
    untouched(
        guest,
        "for program in longshore-agent longshore-coordinator; do
           install -m 0755 /usr/local/bin/$program /usr/local/bin/$program.new
           mv /usr/local/bin/$program.new /usr/local/bin/$program
         done
         systemctl daemon-reload
         systemctl restart longshore-coordinator longshore-agent",
    )
    .await?;
    for unit in units() {
        let program = "readlink /proc/$(systemctl show -p MainPID --value";
        guest
            .until(&format!(
                "systemctl is-active {unit} && {program} {unit})/exe | grep -v deleted"
            ))
            .await
            .with_context(|| format!("{unit} still runs the program that was replaced"))?;
    }
    Ok(())
}

/// Does something to the programs beside a running task, which must not be touched, and whose stop
/// must work afterwards.
pub(super) async fn untouched(guest: &mut Guest, script: &str) -> Result<()> {
    let task = guest.run_task(sleeper(json!({}), json!({}))).await?;
    let before = guest.lives().await?;
    guest.sh(script).await?;
    for unit in units() {
        guest.until(&format!("systemctl is-active {unit}")).await?;
    }
    guest.connected().await?;
    guest.task_until(&task, "RUNNING").await?;
    ensure!(guest.lives().await? == before, "containers changed");
    guest.stop(&task).await?;
    Ok(())
}

/// Without live-restore all containers end with Docker: the service has its tasks again.
pub(super) async fn service_heals_after_a_docker_restart(guest: &mut Guest) -> Result<()> {
    let family = guest.register(sleeper(json!({}), json!({}))).await?;
    let name = "heals";
    let create = json!({
        "serviceName": name, "taskDefinition": family, "desiredCount": 2,
        "tags": service::tags(&[("longshore:healthy-after", "1")]),
    });
    guest.ecs.call("CreateService", create).await?;
    until_stable(&guest.ecs, name, 2).await?;
    let before = guest.lives().await?;
    guest.sh("systemctl restart docker").await?;
    guest.until("test $(docker ps -q | wc -l) -ge 2").await?;
    service::until(&guest.ecs, name, PATIENCE, |shown| shown.running() == 2 && shown.is_stable())
        .await?;
    ensure!(guest.lives().await? != before, "the restart of Docker ended nothing");
    let delete = json!({ "service": name, "force": true });
    guest.ecs.call("DeleteService", delete).await?;
    guest.until("test $(docker ps -q | wc -l) = 0").await
}

const LAUNCHED: &str = "/var/lib/longshore/coordinator/launched";

/// The program of an Auto Scaling group is run by the launcher's own unit, in its sandbox.
pub(super) async fn launcher_runs_the_programs_of_a_group(guest: &mut Guest) -> Result<()> {
    guest
        .sh(&format!(
            "mkdir -p /usr/local/lib/longshore
             cat > /usr/local/lib/longshore/launch-row <<'END'
#!/bin/sh
set -e
mkdir -p {LAUNCHED}
case $1 in
  launch) touch {LAUNCHED}/$2 ;;
  terminate) rm -f {LAUNCHED}/$2 ;;
  list) ls {LAUNCHED} ;;
esac
END
             chmod 0755 /usr/local/lib/longshore/launch-row
             cat >> /etc/longshore/coordinator.toml <<'END'
[launch.row]
kind = \"helper\"
program = \"/usr/local/lib/longshore/launch-row\"
cpu = 1024
memory = 512
END
             systemctl enable longshore-launcher
             systemctl restart longshore-coordinator
             systemctl start longshore-launcher"
        ))
        .await?;
    let aws = guest.aws();
    let name = ["--auto-scaling-group-name", "row"];
    let create = [
        &["create-auto-scaling-group"],
        &name[..],
        &["--launch-configuration-name", "row", "--availability-zones", "a"],
        &["--min-size", "0", "--max-size", "1", "--desired-capacity", "1"],
    ];
    aws.service("autoscaling", &create.concat()).await?;
    guest.until(&format!("test -n \"$(ls {LAUNCHED})\"")).await.context("nothing is launched")?;
    let none = [&["update-auto-scaling-group"], &name[..], &["--desired-capacity", "0"]];
    aws.service("autoscaling", &none.concat()).await?;
    guest.until(&format!("test -z \"$(ls {LAUNCHED})\"")).await.context("it is not ended")?;
    let delete = [&["delete-auto-scaling-group"], &name[..], &["--force-delete"]];
    aws.service("autoscaling", &delete.concat()).await?;
    guest.without_launcher().await?;
    guest.connected().await.map(drop)
}

/// `docker.socket` would start Docker again whenever somebody asks it.
pub(super) async fn stopped_docker_impairs_the_host(guest: &mut Guest) -> Result<()> {
    let arn = guest.connected().await?;
    let describe = json!({ "containerInstances": [arn], "include": ["CONTAINER_INSTANCE_HEALTH"] });
    let status = |answer: &Value| {
        let health = &answer["containerInstances"][0]["healthStatus"];
        health["overallStatus"].as_str().map(str::to_owned)
    };
    guest.sh("systemctl stop docker.socket docker").await?;
    let impaired = guest
        .ecs
        .eventually("DescribeContainerInstances", describe.clone(), PATIENCE, |answer| {
            (status(answer).as_deref() == Some("IMPAIRED")).then_some(())
        })
        .await;
    guest.sh("systemctl start docker.socket docker").await?;
    impaired?;
    guest
        .ecs
        .eventually("DescribeContainerInstances", describe, PATIENCE, |answer| {
            (status(answer).as_deref() == Some("OK")).then_some(())
        })
        .await?;
    Ok(())
}

pub(super) async fn gpu_setting_without_a_gpu_warns(guest: &mut Guest) -> Result<()> {
    guest.set_agent("gpus", "\"auto\"").await?;
    let log = guest.sh("journalctl -b -u longshore-agent -o cat -n 40").await?;
    let warned = log.lines().any(|line| line.contains("WARN") && line.contains("GPU"));
    let task = guest.run_task(sleeper(json!({}), json!({}))).await?;
    guest.stop(&task).await?;
    guest.unset_agent("gpus").await?;
    ensure!(warned, "the agent does not warn of the missing GPU:\n{log}");
    Ok(())
}

impl Guest {
    pub(super) async fn without_launcher(&self) -> Result<()> {
        self.sh("sed -i '/^\\[launch.row\\]/,$d' /etc/longshore/coordinator.toml
             systemctl disable --now longshore-launcher
             systemctl restart longshore-coordinator")
            .await?;
        Ok(())
    }
}

/// What each program of the guest has taken since it was started last, as systemd counts it.
pub(super) async fn print_what_programs_take(guest: &Guest) -> Result<()> {
    let boot = guest.sh("cut -d. -f1 /proc/uptime").await?;
    figure("guest_uptime", boot.trim().parse()?, "s")?;
    for unit in units() {
        let ask = "systemctl show -p MemoryCurrent -p CPUUsageNSec";
        let shown = guest.sh(&format!("{ask} {unit}")).await?;
        let number = |name: &str| {
            let line = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.and_then(|value| value.parse::<f64>().ok())
                .with_context(|| format!("systemd says no {name} of {unit}: {shown}"))
        };
        let name = unit.replace('-', "_");
        let memory = number("MemoryCurrent")? / f64::from(1 << 20);
        figure(&format!("{name}_memory"), memory, "MiB")?;
        figure(&format!("{name}_cpu"), number("CPUUsageNSec")? / 1e9, "s")?;
    }
    Ok(())
}
