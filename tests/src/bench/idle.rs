//! What both programs take while nothing happens but their polls, with 30 containers running.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use longshore_harness::{
    coordinator_log::all_reach,
    fleet::{Fleet, FleetSettings},
    image::SAMPLE_IMAGE,
    process::Process,
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::figures::{disk_baseline, figure, progress};

const CONTAINERS: usize = 30;
/// RunTask takes no more.
const RUN_MAX: usize = 10;
const PATIENCE: Duration = Duration::from_secs(120);
const SETTLE: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(60);
/// Linux counts a process's time in hundredths of a second, whatever its timer's frequency.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) async fn run() -> Result<()> {
    let settings = FleetSettings { hosts: 1, ..Default::default() };
    let fleet = Fleet::start(settings).await?;
    disk_baseline(fleet.folder())?;
    let client = fleet.ecs()?;
    let definition = json!({
        "family": "idle",
        "containerDefinitions": [{
            "name": "main",
            "image": SAMPLE_IMAGE,
            "memory": 8,
            "command": ["/bin/sleep", "100000"],
        }],
    });
    client.call("RegisterTaskDefinition", definition).await?;
    let log = fleet.coordinator()?.log();
    let mut tasks = Vec::new();
    while tasks.len() < CONTAINERS {
        let some = (CONTAINERS - tasks.len()).min(RUN_MAX);
        let ran =
            client.call("RunTask", json!({ "taskDefinition": "idle", "count": some })).await?;
        if let Some(failure) = ran["failures"].get(0) {
            bail!("a task could not be placed: {failure}");
        }
        let ran = ran["tasks"].as_array().context("RunTask gave no tasks")?;
        tasks.extend(ran.iter().filter_map(|task| task["taskArn"].as_str().map(str::to_owned)));
    }
    all_reach(log, 0, &tasks, "RUNNING", PATIENCE).await?;
    progress(&format!("idle: {CONTAINERS} containers run; watching for {WATCHED:?}"));
    sleep(SETTLE).await;
    let agent = fleet.hosts[0].agent.as_ref().context("no agent")?;
    let programs = [("coordinator", fleet.coordinator()?), ("agent", agent)];
    let started = Instant::now();
    let before = [cpu_seconds(programs[0].1)?, cpu_seconds(programs[1].1)?];
    sleep(WATCHED).await;
    let watched = started.elapsed().as_secs_f64();
    for ((name, program), before) in programs.into_iter().zip(before) {
        let used = cpu_seconds(program)? - before;
        figure(&format!("{name}_rss_mib"), rss_mib(program)?, "MiB")?;
        figure(&format!("{name}_core_percent"), used / watched * 100.0, "%")?;
    }
    Ok(())
}

pub(super) fn cpu_seconds(program: &Process) -> Result<f64> {
    let stat = fs_err::read_to_string(format!("/proc/{}/stat", program.pid()))?;
    // After the name, which may hold anything, in brackets: state is field 3, utime 14, stime 15.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| -> Result<f64> {
        Ok(fields.get(field - 3).context("a short /proc/PID/stat")?.parse()?)
    };
    Ok((ticks(14)? + ticks(15)?) / TICKS_PER_SECOND)
}

pub(super) fn rss_mib(program: &Process) -> Result<f64> {
    let status = fs_err::read_to_string(format!("/proc/{}/status", program.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}
