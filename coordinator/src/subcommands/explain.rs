//! `explain` on the command line: what is asked, and the answer as a table.

use std::fmt::Write;

use anyhow::{Context, Result};
use longshore_common::clock::Timestamp;

use crate::{
    api::{
        ecs::placement::{PlacementConstraint, PlacementStrategy},
        longshore::explain::{DryRunView, ExplainInput, Explanation, TaskExplained},
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
    for run in explanation.dry_run.iter().chain(&explanation.dry_runs) {
        of_run(&mut text, run);
        text.push('\n');
    }
    text.trim_end().to_owned()
}

/// The id at the end of an ARN.
fn id(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

fn of_run(text: &mut String, run: &DryRunView) {
    let more = if run.room_is_more { " or more" } else { "" };
    let by = run.capacity_provider.as_ref().map(|by| format!(" by the capacity provider {by}"));
    let by = by.unwrap_or_default();
    let _ = writeln!(
        text,
        "{} of {} tasks would be placed{by}. In all there is room for {}{more} on the {} container instances.",
        run.placed, run.asked, run.room, run.container_instances
    );
    if run.container_instances == 0 {
        let _ = writeln!(text, "Hosts join a cluster by their agents' setting `cluster`.");
    }
    if let Some(until) = run.waits_until {
        let until = Timestamp((until * 1000.0) as u64);
        let _ = writeln!(text, "The task waits for room until {until}.");
    }
    if !run.placements.is_empty() {
        let _ = writeln!(text, "\n{:<34}TASKS", "CONTAINER INSTANCE");
        for placed in &run.placements {
            let _ = writeln!(text, "{:<34}{}", id(&placed.container_instance_arn), placed.tasks);
        }
    }
    if !run.reasons.is_empty() {
        let _ = writeln!(text, "\nINSTANCES  WHY NO MORE");
        for reason in &run.reasons {
            let (hosts, explained) = (reason.container_instances, &reason.explanation);
            let _ = writeln!(text, "{hosts:<11}{explained} ({})", reason.reason);
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
    if let Some(provider) = &task.capacity_provider {
        line("capacity provider", provider.clone());
    }
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
    if task.distinct_instance {
        line("apart", "from every other task of its group".to_owned());
    }
    let words: Vec<String> = task.placement_strategy.iter().map(PlacementStrategy::words).collect();
    line(
        "chosen by",
        match words.is_empty() {
            true => {
                "the default: fewest tasks of its group in the zone, then on the host".to_owned()
            }
            false => words.join(", then "),
        },
    );
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn shown(explanation: serde_json::Value) -> String {
        table(&serde_json::from_value(explanation).unwrap())
    }

    #[test]
    fn a_dry_run_is_a_table_of_places_reasons_and_gaps() {
        let arn = |n: u32| {
            format!("arn:aws:ecs:us-east-1:000000000000:container-instance/default/{n:032}")
        };
        let gap =
            |reason: &str, explanation: &str| json!({"reason": reason, "explanation": explanation});
        let run = json!({"dryRun": {
            "asked": 5, "placed": 3, "missing": 2, "room": 3, "roomIsMore": false,
            "containerInstances": 3,
            "placements": [{"containerInstanceArn": arn(1), "tasks": 3}],
            "reasons": [
                {"reason": "AGENT", "explanation": "with a disconnected agent", "containerInstances": 1},
                {"reason": "RESOURCE:CPU", "explanation": "short of CPU", "containerInstances": 2}],
            "closest": [
                {"containerInstanceArn": arn(1), "gaps": [
                    gap("RESOURCE:CPU", "has 0 of the 10 CPU units needed"),
                    gap("RESOURCE:MEMORY", "has 1 of the 64 MiB needed")]},
                {"containerInstanceArn": arn(2), "gaps": [gap("AGENT", "has a disconnected agent")]}],
        }});
        expect![[r#"
            3 of 5 tasks would be placed. In all there is room for 3 on the 3 container instances.

            CONTAINER INSTANCE                TASKS
            00000000000000000000000000000001  3

            INSTANCES  WHY NO MORE
            1          with a disconnected agent (AGENT)
            2          short of CPU (RESOURCE:CPU)

            CLOSEST                           LACKS
            00000000000000000000000000000001  it has 0 of the 10 CPU units needed
                                              it has 1 of the 64 MiB needed
            00000000000000000000000000000002  it has a disconnected agent"#]]
        .assert_eq(&shown(run));
    }

    #[test]
    fn explain_tells_what_to_do_when_a_task_waits() {
        let run = json!({"dryRun": {"asked": 1, "placed": 0, "missing": 1, "room": 0,
            "roomIsMore": false, "containerInstances": 0, "waitsUntil": 1767323045.0,
            "placements": [], "reasons": [], "closest": []}});
        expect![[r#"
            0 of 1 tasks would be placed. In all there is room for 0 on the 0 container instances.
            Hosts join a cluster by their agents' setting `cluster`.
            The task waits for room until 2026-01-02T03:04:05Z."#]]
        .assert_eq(&shown(run));
    }

    #[test]
    fn each_capacity_provider_has_a_table_of_its_own() {
        let run = |provider: &str, placed: u32| {
            json!({"capacityProvider": provider, "asked": 2, "placed": placed,
                "missing": 2 - placed, "room": placed, "roomIsMore": false,
                "containerInstances": 3, "placements": [], "reasons": [], "closest": []})
        };
        expect![[r#"
            2 of 2 tasks would be placed by the capacity provider a. In all there is room for 2 on the 3 container instances.

            0 of 2 tasks would be placed by the capacity provider b. In all there is room for 0 on the 3 container instances."#]]
        .assert_eq(&shown(json!({"dryRuns": [run("a", 2), run("b", 0)]})));
    }

    #[test]
    fn a_tasks_place_is_told_with_what_is_recorded_and_what_is_now() {
        let task = json!({"task": {
            "containerInstanceArn": "arn:aws:ecs:us-east-1:000000000000:container-instance/default/abc",
            "group": "service:web", "placedAt": 1767323045.0, "startedBy": "ecs-svc/1", "cpu": 10,
            "capacityProvider": "spot", "distinctInstance": true,
            "placementStrategy": [{"type": "spread", "field": "attribute:rack"}, {"type": "random"}],
            "memory": 64, "gpus": 1, "hostPorts": ["80/tcp"], "availabilityZone": "a",
            "requirements": [
                {"requirement": "rack=r1", "holdsNow": true},
                {"requirement": "attribute:x == y", "holdsNow": false}],
            "groupOnContainerInstanceNow": 2, "remainingCpuNow": 5, "remainingMemoryNow": 6}});
        expect![[r#"
            container instance        abc
            placed at                 2026-01-02T03:04:05Z
            group                     service:web
            started by                ecs-svc/1
            took                      10 CPU units, 64 MiB, 1 GPUs, ports 80/tcp
            capacity provider         spot
            zone, now                 a
            left there, now           5 CPU units, 6 MiB
            its group there, now      2 tasks
            holds now                 rack=r1
            does NOT hold now         attribute:x == y
            apart                     from every other task of its group
            chosen by                 spread:attribute:rack, then random"#]]
        .assert_eq(&shown(task));
    }

    #[test]
    fn words_of_the_command_line_become_an_input() {
        let asked = |words: &[&str]| {
            let line = [&["longshore-coordinator", "explain"], words].concat();
            let parsed: crate::settings::CommandLine = clap::Parser::try_parse_from(line).ok()?;
            let Some(crate::settings::Command::Explain(asked)) = parsed.command else {
                return None;
            };
            Some(input(&asked).map(|input| serde_json::to_value(input).unwrap()))
        };
        for wrong in [
            &[][..],
            &["--cluster", "web"],
            &["--task", "t", "--service", "s"],
            &["--task", "t", "--constraint", "c"],
            &["--service", "s", "--count", "1"],
            &["--task-definition", "w", "--desired-count", "1"],
        ] {
            assert!(asked(wrong).is_none(), "{wrong:?}");
        }
        let words = [
            "--task-definition",
            "web:1",
            "--count",
            "3",
            "--strategy",
            "random",
            "--strategy",
            "spread:attribute:rack",
            "--constraint",
            "distinctInstance",
            "--constraint",
            "attribute:rack exists",
        ];
        assert_eq!(
            asked(&words).unwrap().unwrap(),
            json!({"cluster": "default", "taskDefinition": "web:1", "count": 3,
                "placementConstraints": [{"type": "distinctInstance"},
                    {"type": "memberOf", "expression": "attribute:rack exists"}],
                "placementStrategy": [{"type": "random"},
                    {"type": "spread", "field": "attribute:rack"}]})
        );
        let odd = asked(&["--service", "s", "--strategy", "fastest"]).unwrap();
        assert!(odd.unwrap_err().to_string().contains("no strategy"));
    }
}
