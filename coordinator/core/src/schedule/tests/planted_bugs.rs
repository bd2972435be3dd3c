//! Whether the trouble bites: bugs planted between the scheduler and the state must each be found
//! within a number of seeds (promises.md P11).

use crate::{
    Event, State,
    event::{ServiceEvent, TaskEvent},
    model::task::Wish,
    schedule::tests::trouble::Trial,
    state::Standing,
    test_kit::world::{Sabotage, World, replicas},
};

/// Maximum number of worlds until a bug shows.
const SEEDS_MAX: u64 = 40;
/// Seed of the first world.
const FIRST_SEED: u64 = 7_000;

/// What happens in a world; it panics when something is wrong there.
type Course = fn(u64, Option<Sabotage>);

const BUGS: [(&str, Sabotage); 11] = [
    ("one task more is started than decided", |_, pass| {
        for event in &mut pass.events {
            if let Event::Task(TaskEvent::TasksStarted(started)) = event
                && let Some(mut twin) = started.tasks.first().cloned()
            {
                twin.task = longshore_common::id::TaskId::new(twin.task.value() ^ 1);
                started.tasks.push(twin);
            }
        }
    }),
    ("one healthy task more is stopped than decided", |state, pass| {
        for event in &mut pass.events {
            if let Event::Task(TaskEvent::TasksStopRequested { tasks, failed: false, .. }) = event {
                tasks.extend(some_task(state, tasks, Standing::Healthy));
            }
        }
    }),
    ("tasks never count as healthy", |_, pass| {
        pass.events.retain(|event| !matches!(event, Event::Task(TaskEvent::TasksSettled { .. })));
    }),
    ("nobody wakes the scheduler", |_, pass| pass.wake = None),
    ("silent hosts are never lost", |_, pass| {
        pass.events.retain(|event| !matches!(event, Event::Task(TaskEvent::TasksLost { .. })));
    }),
    ("what is back stays lost", |_, pass| {
        pass.events.retain(|event| !matches!(event, Event::Task(TaskEvent::TasksReturned { .. })));
    }),
    ("old revisions are kept for ever", |_, pass| {
        pass.events
            .retain(|event| !matches!(event, Event::Service(ServiceEvent::RevisionDropped { .. })));
    }),
    ("the steady state is never noticed", |_, pass| {
        pass.events
            .retain(|event| !matches!(event, Event::Service(ServiceEvent::ServiceSteady { .. })));
    }),
    ("a deployment never ends", |_, pass| {
        pass.events.retain(|event| match event {
            Event::Service(ServiceEvent::DeploymentSet { deployment, .. }) => {
                !deployment.status.is_over()
            }
            _ => true,
        });
    }),
    ("protection from scale-in is not looked at", |state, pass| {
        for event in &mut pass.events {
            if let Event::Task(TaskEvent::TasksStopRequested { tasks, failed: false, .. }) = event {
                let protected = tasks_of(state).find(|task| {
                    task.wish == Wish::Run
                        && task.service.as_ref().is_some_and(|of| of.protected_until.is_some())
                });
                tasks.extend(protected.map(|task| task.id));
            }
        }
    }),
    ("tasks that are not replaced are never lost", |state, pass| {
        for event in &mut pass.events {
            if let Event::Task(TaskEvent::TasksLost { tasks, .. }) = event {
                let replaced = |task: &longshore_common::id::TaskId| {
                    state.task(*task).and_then(|t| t.service.as_ref()).is_some_and(|of| {
                        state.service_at(of.service).config.options.replace == Some(false)
                    })
                };
                tasks.retain(|task| !replaced(task));
            }
        }
    }),
];

/// Bug that has a course of its own: nearly all that happens in the trouble makes its service due,
/// in this course only the room does.
const FORGOTTEN: (&str, Sabotage, Course) =
    ("who waits for room is forgotten", |_, pass| pass.waits_for_room = false, room_comes_free);

fn trouble(seed: u64, sabotage: Option<Sabotage>) {
    let trial = Trial::new(seed);
    match sabotage {
        Some(sabotage) => trial.sabotaged(sabotage).run(),
        None => trial.run(),
    };
}

/// A task of nobody's service has the room that a service waits for, and ends.
fn room_comes_free(_: u64, sabotage: Option<Sabotage>) {
    let mut world = World::with_hosts(1);
    world.define("big", 2500, false);
    let guest = world.start_alone_as("big", world.hosts[0]);
    world.agents_work();
    world.sabotage = sabotage;
    world.create_named("s", "big", replicas(1));
    world.pass_step_by_step(600.0);
    assert_eq!(world.counts(), "0 running, 0 pending");
    world.exits(guest);
    world.agents_work();
    assert_eq!(world.counts(), "1 running, 0 pending");
}

fn tasks_of(state: &State) -> impl Iterator<Item = &crate::state::Task> {
    let cluster = state.cluster(crate::test_kit::world::CLUSTER);
    cluster.into_iter().flat_map(|c| c.tasks.values()).map(|slot| state.task_at(*slot))
}

fn some_task(
    state: &State,
    but: &[longshore_common::id::TaskId],
    standing: Standing,
) -> Option<longshore_common::id::TaskId> {
    tasks_of(state)
        .find(|task| task.standing() == Some(standing) && !but.contains(&task.id))
        .map(|task| task.id)
}

#[test]
fn room_that_comes_free_is_used() {
    room_comes_free(FIRST_SEED, None);
}

#[test]
fn planted_bugs_are_found() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    let mut found = Vec::new();
    let in_trouble = BUGS.map(|(bug, sabotage)| (bug, sabotage, trouble as Course));
    for (bug, sabotage, course) in in_trouble.into_iter().chain([FORGOTTEN]) {
        let seed = (FIRST_SEED..FIRST_SEED + SEEDS_MAX)
            .find(|seed| std::panic::catch_unwind(|| course(*seed, Some(sabotage))).is_err());
        match seed {
            Some(seed) => found.push((bug, seed - FIRST_SEED + 1)),
            None => missed.push(bug),
        }
    }
    std::panic::set_hook(hook);
    for (bug, seeds) in &found {
        println!("planted bug found after {seeds} seeds: {bug}");
    }
    assert!(missed.is_empty(), "not found within {SEEDS_MAX} seeds: {missed:#?}");
    assert!(found.len() >= 10);
}
