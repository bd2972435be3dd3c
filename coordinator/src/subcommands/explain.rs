//! `explain` on the command line: what is asked, and the answer as a table.

use std::fmt::Write;

use anyhow::{Context, Result};
use longshore_common::clock::Timestamp;

use crate::{
    api::{
        explain::{DryRunView, ExplainInput, Explanation, TaskExplained},
        placement::{PlacementConstraint, PlacementStrategy},
    },
    settings::Explain,
};

pub(super) fn input(asked: &Explain) -> Result<ExplainInput> {
    let constraints = asked.constraints.iter().map(|words| PlacementConstraint::of_words(words));
    let strategy = |words: &String| {
        PlacementStrategy::of_words(words).with_context(|| {
            format!("`{words}` is no strategy: say random, spread:FIELD or binpack:FIELD")
        })
    };
    let strategies: Vec<PlacementStrategy> =
        asked.strategies.iter().map(strategy).collect::<Result<_>>()?;
    Ok(ExplainInput {
        cluster: Some(asked.cluster.clone()),
        task: asked.task.clone(),
        service: asked.service.clone(),
        task_definition: asked.task_definition.clone(),
        count: asked.count.map(i64::from),
        group: asked.group.clone(),
        desired_count: asked.desired_count.map(i64::from),
        placement_constraints: (!asked.constraints.is_empty()).then(|| constraints.collect()),
        placement_strategy: (!strategies.is_empty()).then_some(strategies),
    })
}

pub(super) fn table(explanation: &Explanation) -> String {
    let mut text = String::new();
    if let Some(task) = &explanation.task {
        of_task(&mut text, task);
    }
    if let Some(run) = &explanation.dry_run {
        of_run(&mut text, run);
    }
    text.trim_end().to_owned()
}

/// The id at the end of an ARN.
fn id(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

fn of_run(text: &mut String, run: &DryRunView) {
    let more = if run.room_is_more { " or more" } else { "" };
    let _ = writeln!(
        text,
        "{} of {} tasks would be placed. In all there is room for {}{more} on the {} container instances.",
        run.placed, run.asked, run.room, run.container_instances
    );
    if !run.placements.is_empty() {
        let _ = writeln!(text, "\n{:<34}TASKS", "CONTAINER INSTANCE");
        for placed in &run.placements {
            let _ = writeln!(text, "{:<34}{}", id(&placed.container_instance_arn), placed.tasks);
        }
    }
    if !run.reasons.is_empty() {
        let _ = writeln!(text, "\nWHY NO MORE{:>14}", "INSTANCES");
        for reason in &run.reasons {
            let (hosts, explained) = (reason.container_instances, &reason.explanation);
            let _ = writeln!(text, "{:<20}{hosts:>5}  {explained}", reason.reason);
        }
    }
    if !run.closest.is_empty() {
        let _ = writeln!(text, "\n{:<34}LACKS", "CLOSEST");
        for closest in &run.closest {
            for (at, gap) in closest.gaps.iter().enumerate() {
                let host = if at == 0 { id(&closest.container_instance_arn) } else { "" };
                let _ = writeln!(text, "{host:<34}it {}", gap.explanation);
            }
        }
    }
}

fn of_task(text: &mut String, task: &TaskExplained) {
    let placed = Timestamp((task.placed_at * 1000.0) as u64);
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<26}{value}");
    };
    line("container instance", id(&task.container_instance_arn).to_owned());
    line("placed at", placed.to_string());
    line("group", task.group.clone());
    if let Some(started_by) = &task.started_by {
        line("started by", started_by.clone());
    }
    let mut took = format!("{} CPU units, {} MiB", task.cpu, task.memory);
    if task.gpus > 0 {
        let _ = write!(took, ", {} GPUs", task.gpus);
    }
    if !task.host_ports.is_empty() {
        let _ = write!(took, ", ports {}", task.host_ports.join(" "));
    }
    line("took", took);
    if let Some(zone) = &task.availability_zone {
        line("zone, now", zone.clone());
    }
    let (cpu, memory) = (task.remaining_cpu_now, task.remaining_memory_now);
    line("left there, now", format!("{cpu} CPU units, {memory} MiB"));
    line("its group there, now", format!("{} tasks", task.group_on_container_instance_now));
    for requirement in &task.requirements {
        let holds = if requirement.holds_now { "holds now" } else { "does NOT hold now" };
        line(holds, requirement.requirement.clone());
    }
}
