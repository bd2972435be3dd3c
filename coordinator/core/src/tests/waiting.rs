//! Tasks that wait for a host, and tasks with a timeout.

use longshore_common::clock::Timestamp;

use super::*;
use crate::{
    command::TagCommand, model::task_options::TaskOptions, schedule, state::WAITING_TASKS_MAX,
};

impl World {
    /// What the driver does after each step.
    pub(super) fn schedule(&mut self) {
        while let Some(due) = self.state.take_due() {
            self.entropy += 1 << 64;
            let pass = schedule::pass(&self.state, due, self.at, self.entropy);
            let seq = self.state.seq() + 1;
            for event in &pass.events {
                writeln!(self.log, "{}", name(event)).unwrap();
                self.state.apply(event, seq);
            }
            if !pass.events.is_empty() {
                self.state.set_seq(seq);
            }
            self.state.set_wake(due, pass.wake);
            self.state.set_waiting(due, pass.waits_for_room);
            self.state.set_wanted(due, pass.wanted);
        }
    }

    pub(super) fn step(&mut self, command: Command) -> Option<Answer> {
        let answer = self.put(command);
        self.schedule();
        answer
    }

    /// RunTask with `longshore:wait`; its tasks.
    fn run_and_wait(&mut self, count: u32, wait_ms: u64) -> Vec<TaskId> {
        match self.step(waiting_run(count, wait_ms)) {
            Some(Answer::Tasks { tasks, failures }) if failures.is_empty() => tasks,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn placed(&self) -> usize {
        self.state.cluster("web").unwrap().tasks.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.state.cluster("web").unwrap().waiting_tasks.len()
    }

    fn ended(&mut self) -> Vec<(TaskId, StopCause)> {
        let stopped = self.state.take_changes().stopped;
        stopped.into_iter().map(|record| (record.id, record.end.unwrap().cause)).collect()
    }
}

fn waiting_run(count: u32, wait_ms: u64) -> Command {
    let Command::Task(TaskCommand::RunTask(mut run)) = run_task(count) else { unreachable!() };
    run.launch.options = TaskOptions { wait_ms: Some(wait_ms), ..TaskOptions::default() };
    run.launch.tags.insert("longshore:wait".to_owned(), (wait_ms / 1000).to_string());
    Command::Task(TaskCommand::RunTask(run))
}

fn running_for(timeout_ms: u64) -> Command {
    let Command::Task(TaskCommand::RunTask(mut run)) = run_task(1) else { unreachable!() };
    run.launch.options = TaskOptions { timeout_ms: Some(timeout_ms), ..TaskOptions::default() };
    Command::Task(TaskCommand::RunTask(run))
}

#[test]
fn tasks_that_fit_are_placed_at_once_and_the_others_when_room_comes() {
    let (world, hosts) = World::with_hosts(1);
    let mut world = world.with_definition(400);
    let asked = world.run_and_wait(3, 60_000);
    assert_eq!((world.placed(), world.waiting()), (2, 1));
    let first = world.state.cluster("web").unwrap().tasks.keys().next().copied().unwrap();
    assert!(asked.contains(&first), "a task keeps the id that it waited with");

    world.step(answered(hosts[0], 1, vec![report(1, first, ReportedPhase::Stopped(exited()))]));
    assert_eq!((world.placed(), world.waiting()), (2, 0));
    let came_late = asked.iter().find_map(|id| world.state.task(*id).filter(|t| t.id != first));
    assert!(came_late.unwrap().created_at < world.at, "it was made when it was asked for");
}

#[test]
fn a_cluster_without_hosts_lets_tasks_wait_for_the_first_one() {
    let mut world = World::new();
    world.put(create_cluster("web"));
    let mut world = world.with_definition(400);
    world.run_and_wait(2, 60_000);
    assert_eq!((world.placed(), world.waiting()), (0, 2));
    world.add_host();
    world.schedule();
    assert_eq!((world.placed(), world.waiting()), (2, 0));
}

#[test]
fn waiting_launches_all_go_to_a_host_that_has_room_for_many() {
    let mut world = World::new();
    world.put(create_cluster("web"));
    let mut world = world.with_definition(10);
    for _ in 0..50 {
        world.run_and_wait(1, 60_000);
    }
    world.add_host();
    world.schedule();
    assert_eq!((world.placed(), world.waiting()), (50, 0));
}

#[test]
fn what_waited_too_long_is_stopped_and_told_why() {
    let (world, _) = World::with_hosts(1);
    let mut world = world.with_definition(700);
    world.run_and_wait(2, 5_000);
    assert_eq!((world.placed(), world.waiting()), (1, 1));
    world.at = Timestamp(world.at.0 + 4_900);
    world.step(Command::Epoch(EpochCommand::Tick));
    assert_eq!(world.waiting(), 1);
    let next = world.state.next_deadline().unwrap();
    world.at = Timestamp(next.0 - 1);
    world.step(Command::Epoch(EpochCommand::Tick));
    assert_eq!((world.placed(), world.waiting()), (1, 0));
    let (_, cause) = world.ended().remove(0);
    assert_eq!(cause.code, StopCode::TaskFailedToStart);
    for part in ["waited 5 s", "longshore:wait", "has 300 of the 700 MiB needed"] {
        assert!(cause.reason.contains(part), "{}", cause.reason);
    }
    assert_eq!(world.state.next_deadline(), None);
}

#[test]
fn a_task_that_waits_can_be_stopped_and_does_not_run_later() {
    let mut world = World::new();
    world.put(create_cluster("web"));
    let mut world = world.with_definition(400);
    let tasks = world.run_and_wait(2, 60_000);
    let stop = Command::Task(TaskCommand::StopTask {
        cluster: "web".parse().unwrap(),
        task: tasks[0],
        reason: Some("not today".to_owned()),
    });
    world.step(stop);
    let (id, cause) = world.ended().remove(0);
    assert_eq!((id, cause.code), (tasks[0], StopCode::UserInitiated));
    assert_eq!(cause.reason, "not today");
    world.add_host();
    world.schedule();
    assert!(world.state.task(tasks[1]).is_some() && world.state.task(tasks[0]).is_none());
}

#[test]
fn a_cluster_and_a_task_definition_outlive_the_tasks_that_wait() {
    let mut world = World::new();
    world.put(create_cluster("web"));
    let mut world = world.with_definition(400);
    world.run_and_wait(1, 60_000);
    world.put(Command::Definition(DefinitionCommand::DeregisterTaskDefinition(revision(Some(1)))));
    world.put(Command::Definition(DefinitionCommand::DeleteTaskDefinitions(vec![revision(Some(
        1,
    ))])));
    world.log.clear();
    world.put(Command::Cluster(ClusterCommand::DeleteCluster { name: "web".parse().unwrap() }));
    world.step(Command::Epoch(EpochCommand::Tick));
    assert!(world.log.starts_with("rejected: The Cluster cannot be deleted"), "{}", world.log);
    assert!(!world.log.contains("TaskDefinitionDeleted"), "{}", world.log);
    world.add_host();
    world.schedule();
    assert_eq!(world.placed(), 1);
}

#[test]
fn no_more_than_a_few_hundred_wait_and_the_others_fail_at_once() {
    let mut world = World::new();
    world.put(create_cluster("web"));
    let mut world = world.with_definition(2_000);
    world.add_host();
    for _ in 0..WAITING_TASKS_MAX / 10 {
        world.run_and_wait(10, 60_000);
    }
    assert_eq!(world.waiting(), WAITING_TASKS_MAX);
    let Some(Answer::Tasks { tasks, failures }) = world.step(waiting_run(1, 60_000)) else {
        panic!("refused as a whole")
    };
    assert_eq!((tasks.len(), failures.len()), (0, 1));
    assert!(failures[0].detail.contains("500 tasks wait in this cluster"), "{failures:?}");
}

#[test]
fn a_client_token_stands_for_the_tasks_that_wait() {
    let mut world = World::new();
    world.put(create_cluster("web"));
    let mut world = world.with_definition(400);
    let with_token = || {
        let Command::Task(TaskCommand::RunTask(mut run)) = waiting_run(2, 60_000) else {
            unreachable!()
        };
        run.client_token = Some(ClientToken { token: "once".to_owned(), parameters_hash: 1 });
        Command::Task(TaskCommand::RunTask(run))
    };
    let first = world.step(with_token()).unwrap();
    assert_eq!(world.step(with_token()).unwrap(), first);
    assert_eq!(world.waiting(), 2);
    world.add_host();
    world.schedule();
    assert_eq!(world.step(with_token()).unwrap(), first);
    assert_eq!((world.placed(), world.waiting()), (2, 0));
}

#[test]
fn a_task_is_stopped_when_it_has_run_for_as_long_as_it_may() {
    let (world, hosts) = World::with_hosts(1);
    let mut world = world.with_definition(400);
    let Some(Answer::Tasks { tasks, .. }) = world.put(running_for(10_000)) else { panic!() };
    assert_eq!(world.state.next_deadline(), None, "its time begins when it runs");
    world.at = Timestamp(world.at.0 + 60_000);
    world.put(answered(hosts[0], 1, vec![report(1, tasks[0], ReportedPhase::Running)]));
    let ends = Timestamp(world.at.0 + 10_000);
    assert_eq!(world.state.next_deadline(), Some(ends));
    world.log.clear();
    world.at = Timestamp(ends.0 - 2);
    world.put(Command::Epoch(EpochCommand::Tick));
    assert_eq!(world.log, "");
    world.put(Command::Epoch(EpochCommand::Tick));
    world.check(expect![[r#"
        TaskStopRequested UserInitiated The task ran for 10 s, which is as long as its tag longshore:timeout lets it.
    "#]]);
    world.put(Command::Epoch(EpochCommand::Tick));
    assert_eq!((world.log.as_str(), world.state.next_deadline()), ("", None), "once");
}

#[test]
fn a_tag_gives_a_running_task_another_end_or_none() {
    let (world, hosts) = World::with_hosts(1);
    let mut world = world.with_definition(400);
    let Some(Answer::Tasks { tasks, .. }) = world.put(running_for(10_000)) else { panic!() };
    world.put(answered(hosts[0], 1, vec![report(1, tasks[0], ReportedPhase::Running)]));
    let began = world.at;
    let resource =
        crate::model::tagged::Resource::Task { cluster: "web".parse().unwrap(), task: tasks[0] };
    let tags = Tags::from([("longshore:timeout".to_owned(), "60".to_owned())]);
    world.put(Command::Tag(TagCommand::Tag { resource: resource.clone(), tags }));
    assert_eq!(world.state.next_deadline(), Some(Timestamp(began.0 + 60_000)));
    let keys = vec!["longshore:timeout".to_owned()];
    world.put(Command::Tag(TagCommand::Untag { resource: resource.clone(), keys }));
    assert_eq!(world.state.next_deadline(), None);
    world.log.clear();
    let tags = Tags::from([("longshore:timeout".to_owned(), "soon".to_owned())]);
    world.put(Command::Tag(TagCommand::Tag { resource, tags }));
    assert!(
        world.log.starts_with("rejected: The tag longshore:timeout is `soon`"),
        "{}",
        world.log
    );
}

#[test]
fn a_restored_state_waits_for_the_same_tasks_and_keeps_every_deadline() {
    let (world, hosts) = World::with_hosts(1);
    let mut world = world.with_definition(400);
    let Some(Answer::Tasks { tasks, .. }) = world.put(running_for(10_000)) else { panic!() };
    world.put(answered(hosts[0], 1, vec![report(1, tasks[0], ReportedPhase::Running)]));
    world.run_and_wait(4, 60_000);
    assert_eq!((world.placed(), world.waiting()), (2, 3));
    let all = rows(&mut world.state);
    let mut again = World { state: restored(&all, world.state.seq()), ..World::new() };
    assert_eq!((again.placed(), again.waiting()), (2, 3));
    let deadlines = |world: &World| -> Vec<_> {
        world.state.overdue(Timestamp(u64::MAX)).map(|deadline| format!("{deadline:?}")).collect()
    };
    assert_eq!((deadlines(&again).len(), deadlines(&again)), (2, deadlines(&world)));
    again.at = Timestamp(world.at.0 + 1);
    again.add_host();
    again.schedule();
    assert_eq!((again.placed(), again.waiting()), (4, 1));
}

/// Two tasks of one launch wait in a backup. One of them got a host since and runs there; of the other
/// one nobody knows whether it has run.
#[test]
fn waiting_launch_never_runs_anew_after_recovery() {
    let (world, hosts) = World::with_hosts(1);
    let mut world = world.with_definition(1_100);
    let tasks = world.run_and_wait(2, 60_000);
    world.at = Timestamp(world.at.0 + 3_600_000);
    world.put(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 }));
    world.step(Command::Epoch(EpochCommand::Recover { beyond: 9, incarnation: 3, proved: None }));
    // A host that has room for both.
    let room = Capacity { cpu: CpuUnits(4096), memory: MemoryMib(4000), ..Capacity::default() };
    world.add_host_with(room);
    world.step(Command::Epoch(EpochCommand::Tick));
    assert_eq!((world.placed(), world.waiting()), (0, 2), "they may have run");
    let runs = unknown_task(1, tasks[0].value(), "family:app", None);
    let Command::Host(HostCommand::AgentAnswered(mut said)) = answered(hosts[0], 1, vec![runs])
    else {
        panic!()
    };
    said.position.session = 8;
    world.step(Command::Host(HostCommand::AgentAnswered(said)));
    assert_eq!((world.placed(), world.waiting()), (1, 1));
    assert_eq!(world.ended(), [], "nothing has ended");
    assert_eq!(world.state.check(), Vec::<String>::new());

    for _ in 0..4 {
        world.at = Timestamp(world.at.0 + 30_000);
        world.state.wake(world.at);
        world.step(Command::Epoch(EpochCommand::Tick));
    }
    assert_eq!((world.placed(), world.waiting()), (1, 0));
    let adopted = world.state.task(tasks[0]).unwrap();
    assert_eq!(adopted.wish, crate::model::task::Wish::Run);
    assert!(adopted.tags.contains_key("longshore:wait"), "what the launch said of it stands");
    let ended = world.ended();
    let [(task, cause)] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!(*task, tasks[1]);
    assert!(cause.reason.contains("Whether it has run since is not known"), "{cause:?}");
    assert_eq!(world.state.next_deadline(), None);
    assert_eq!(world.state.check(), Vec::<String>::new());
}

/// An old journal whose hosts have said nothing yet tells of waits that ended well.
#[test]
fn start_ends_no_wait_before_hosts_were_heard() {
    let (world, _) = World::with_hosts(1);
    let mut world = world.with_definition(1_100);
    world.run_and_wait(1, 60_000);
    world.at = Timestamp(world.at.0 + 3_600_000);
    world.state = restored(&rows(&mut world.state), world.state.seq());
    world.put(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 }));
    world.step(Command::Epoch(EpochCommand::Tick));
    assert_eq!((world.waiting(), world.ended().len()), (1, 0));
    world.put(Command::Epoch(EpochCommand::BeginScheduling));
    world.step(Command::Epoch(EpochCommand::Tick));
    assert_eq!((world.waiting(), world.ended().len()), (0, 1));
}

/// A new machine's clock may be wrong for a while.
#[test]
fn clock_does_not_tell_what_is_of_before_the_recovery() {
    let day = 24 * 3_600_000;
    for clock in [1, 400 * day] {
        let (world, _) = World::with_hosts(1);
        let mut world = world.with_definition(1_100);
        let usual = 30 * day;
        world.at = Timestamp(usual);
        let old = world.run_and_wait(1, 60_000)[0];
        world.at = Timestamp(clock);
        world.put(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 }));
        world.put(Command::Epoch(EpochCommand::Recover {
            beyond: 9,
            incarnation: 3,
            proved: None,
        }));
        let unsure = |state: &State, launch| state.may_have_run(state.waiting(launch).unwrap());
        assert!(unsure(&world.state, old), "clock {clock}");
        assert_eq!(world.state.next_deadline(), None, "clock {clock}");
        world.at = Timestamp(usual + 5_000);
        let new = world.run_and_wait(1, 60_000)[0];
        assert!(!unsure(&world.state, new), "clock {clock}");
        let deadline = world.state.next_deadline();
        assert_eq!(deadline, Some(Timestamp(usual + 65_001)), "clock {clock}");
        let read = restored(&rows(&mut world.state), world.state.seq());
        assert!(!unsure(&read, new), "clock {clock}, read again");
        assert_eq!(read.next_deadline(), deadline, "clock {clock}");
    }
}

/// Whoever restarts the coordinator before its hosts were heard makes nothing of its own unsure.
#[test]
fn what_starts_on_an_old_journal_asked_for_is_sure() {
    let epoch = |counter, incarnation| Epoch { counter, incarnation };
    // Seen of the lost part: more orders of the start that both have; the start beside ours; one
    // after all of ours, of which nobody knows since when the two differ.
    let cases = [(epoch(1, 1), false), (epoch(2, 77), false), (epoch(9, 77), true)];
    for (proved, is_unsure) in cases {
        let (world, _) = World::with_hosts(1);
        let mut world = world.with_definition(1_100);
        let old = world.run_and_wait(1, 60_000)[0];
        world.put(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 }));
        let own = world.run_and_wait(1, 60_000)[0];
        world.put(Command::Epoch(EpochCommand::StartEpoch { incarnation: 3 }));
        let last = world.run_and_wait(1, 60_000)[0];
        let beyond = proved.counter;
        world.put(Command::Epoch(EpochCommand::Recover {
            beyond,
            incarnation: 4,
            proved: Some(proved),
        }));
        let unsure = |launch| world.state.may_have_run(world.state.waiting(launch).unwrap());
        assert_eq!(
            (unsure(old), unsure(own), unsure(last)),
            (true, is_unsure, false),
            "{proved:?}"
        );
    }
}

#[test]
fn task_forbidden_while_it_waits_is_told_so_in_the_end() {
    let (mut world, _) = World::with_hosts(1);
    world.put(privileged(700));
    world.run_and_wait(2, 5_000);
    assert_eq!((world.placed(), world.waiting()), (1, 1));
    world.state.set_task_policy(no_privileged());
    world.at = Timestamp(world.at.0 + 6_000);
    world.step(Command::Epoch(EpochCommand::Tick));
    let (_, cause) = world.ended().remove(0);
    assert!(cause.reason.contains("lets no task have"), "{}", cause.reason);
}
