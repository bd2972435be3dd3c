//! The agent's figures in Prometheus's text form. By hand: a dozen lines need no registry in memory.

use std::fmt::{Display, Write};

use crate::{engine::supervisor::TaskView, status::Status};

const TASK_STATES: [&str; 5] = ["PENDING", "ACTIVATING", "RUNNING", "STOPPING", "STOPPED"];
const BYTES_PER_KIB: u64 = 1024;

/// `tasks` is absent while the engine does not answer; its figures are then left out.
pub(super) fn text(status: &Status, tasks: Option<&[TaskView]>) -> String {
    let mut text = String::new();
    let info = format!(
        "longshore_agent_info{{version=\"{}\",commit=\"{}\",cluster=\"{}\"}}",
        status.version, status.hash, status.cluster
    );
    gauge(&mut text, "longshore_agent_info", "What runs here.", [(info.as_str(), 1)]);
    if let Some(tasks) = tasks {
        let counts = TASK_STATES.map(|state| {
            let count = tasks.iter().filter(|task| task.known_status == state).count();
            (format!("longshore_agent_tasks{{status=\"{state}\"}}"), count)
        });
        let counts = counts.iter().map(|(series, count)| (series.as_str(), *count));
        gauge(&mut text, "longshore_agent_tasks", "Tasks on this host by their state.", counts);
    }
    simple(
        &mut text,
        "longshore_agent_docker_reachable",
        "Whether the Docker Engine answered when it was asked last.",
        u8::from(status.docker_answers()),
    );
    let file_systems = status.disk().file_systems;
    let free = file_systems.iter().map(|one| {
        let path = escaped(&one.path.to_string_lossy());
        (format!("longshore_agent_disk_free_bytes{{path=\"{path}\"}}"), one.free_bytes)
    });
    let free: Vec<(String, u64)> = free.collect();
    if !free.is_empty() {
        let series = free.iter().map(|(series, bytes)| (series.as_str(), *bytes));
        let help = "What is free of the file systems that tasks fill.";
        gauge(&mut text, "longshore_agent_disk_free_bytes", help, series);
    }
    simple(
        &mut text,
        "longshore_agent_registered",
        "Whether this host is a container instance of its cluster.",
        u8::from(status.container_instance_arn().is_some()),
    );
    write_family(
        &mut text,
        "longshore_agent_polls_total",
        "Polls of the coordinator that arrived.",
        "counter",
        [("longshore_agent_polls_total", status.polls())],
    );
    if let Some(age) = status.last_poll_age() {
        simple(
            &mut text,
            "longshore_agent_last_poll_age_seconds",
            "Time since the coordinator polled last.",
            age.as_secs_f64(),
        );
    }
    if let Some(bytes) = resident_bytes() {
        simple(
            &mut text,
            "process_resident_memory_bytes",
            "Memory of this process that is in RAM.",
            bytes,
        );
    }
    text
}

/// A label's value.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn simple(text: &mut String, name: &str, help: &str, value: impl Display) {
    gauge(text, name, help, [(name, value)]);
}

fn gauge<'a, V: Display>(
    text: &mut String,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = (&'a str, V)>,
) {
    write_family(text, name, help, "gauge", series);
}

fn write_family<'a, V: Display>(
    text: &mut String,
    name: &str,
    help: &str,
    kind: &str,
    series: impl IntoIterator<Item = (&'a str, V)>,
) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (series, value) in series {
        let _ = writeln!(text, "{series} {value}");
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * BYTES_PER_KIB)
}
