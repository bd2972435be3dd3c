//! Scheduling after `recover`: the journal takes for running what has ended, and knows nothing of
//! what began since, so nothing is stopped on its word alone.

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    protocol::{Desired, Report, ReportBody, ReportedPhase, RunIntent, RunOrder, Seen},
    task::{HealthStatus, TaskOverride},
    task_definition::TaskDefinition,
};

use super::world_with_a_move;
use crate::{
    Command, Event,
    command::{AttachmentStatus, EpochCommand, SettableHostStatus, TaskCommand},
    event::TaskEvent,
    model::{
        attachment::{AttachmentKind, AttachmentSpec},
        service::RevisionId,
        task::{Phase, Wish},
    },
    test_kit::world::{CLUSTER, World, bounded, replicas},
};

/// The operator's `recover`.
const RECOVER: Command =
    Command::Epoch(EpochCommand::Recover { beyond: 9, incarnation: 3, proved: None });

impl World {
    fn hosts_speak(&mut self) {
        self.hosts.clone().into_iter().for_each(|host| self.heal(host));
    }

    /// An agent tells of tasks of the service that only a newer journal knew, of a revision that only
    /// it knew.
    fn tells_of_lost(&mut self, host: HostId, revision: RevisionId, tasks: &[u128]) {
        let tasks: Vec<TaskId> = tasks.iter().map(|task| TaskId::new(*task)).collect();
        self.tells_of(host, 7, ("service:s", Some(format!("ecs-svc/{revision}"))), &tasks);
    }

    /// An agent runs these tasks, which no manifest names.
    fn tells_of(
        &mut self,
        host: HostId,
        revision: u32,
        (group, started_by): (&str, Option<String>),
        tasks: &[TaskId],
    ) {
        let definition = {
            let app = self.state.definitions().get("app", 1).unwrap();
            TaskDefinition { revision, ..(*app.definition).clone() }
        };
        let candidate = |(seq, task): (u64, &TaskId)| {
            let order = RunOrder {
                definition: 0,
                cluster: CLUSTER.to_owned(),
                task_arn: String::new(),
                overrides: TaskOverride::default(),
                group: group.to_owned(),
                started_by: started_by.clone(),
                created_at: Timestamp(5),
                container_ids: vec![],
                gpus: Vec::new(),
                image_digests: Vec::new(),
                log_driver_mode: None,
            };
            let run = Some(Box::new(RunIntent { definition: definition.clone(), order }));
            let body = ReportBody::StopCandidate { task: *task, generation: 1, run };
            Report { seq, body }
        };
        let reports: Vec<Report> = (1..).zip(tasks).map(candidate).collect();
        self.answer_with(host, Vec::new(), |said| {
            said.position.session = 70;
            said.position.seq = reports.len() as u64;
            said.reports = reports;
        });
    }

    /// An agent holds what is desired of its host, and leaves nothing unsaid.
    fn tells_everything(&mut self, host: HostId) {
        let (epoch, order) = (self.state.epoch(), self.state.host(host).unwrap().last_order);
        self.answer_with(host, Vec::new(), |said| said.seen = Some(Seen { epoch, order }));
    }

    fn is_to_run(&self, task: TaskId) -> bool {
        self.state.task(task).is_some_and(|task| task.wish == Wish::Run)
    }
}

/// A backup is older than a deployment: the service's tasks of the newer revision come back.
#[test]
fn adopted_tasks_of_a_lost_revision_count_for_their_service() {
    let mut world = World::with_hosts(2);
    world.create(replicas(2));
    world.settle();
    world.call(RECOVER).unwrap();
    let lost = RevisionId::from_entropy(77);
    world.tells_of_lost(world.hosts[0], lost, &[1, 2]);
    assert_eq!(world.service().revision(lost).unwrap().tasks.len(), 2);
    assert_eq!(world.state.check(), Vec::<String>::new());
    // They serve, and what the journal takes for running may have ended: nothing stops yet.
    let adopted: Vec<TaskId> =
        world.service().revision(lost).unwrap().tasks.keys().copied().collect();
    let stops = |world: &World| {
        world
            .recent
            .iter()
            .any(|event| matches!(event, Event::Task(TaskEvent::TasksStopRequested { .. })))
    };
    assert!(!stops(&world), "{:#?}", world.recent);
    world.pass_step_by_step(50.0);
    world.report(adopted[0], ReportedPhase::Running);
    assert!(!stops(&world), "{:#?}", world.recent);
    // Of the other one nobody has said how it is.
    world.pass_step_by_step(600.0);
    assert!(world.is_to_run(adopted[1]));
    for _ in 0..5 {
        world.agents_work();
        world.pass_step_by_step(50.0);
    }
    // The revision that the journal knows to be PRIMARY is what runs, and no more of it.
    assert_eq!(world.counts(), "2 running, 0 pending");
    assert!(world.service().revision(lost).is_none());
}

/// What the service lacks runs on a host that has not spoken yet.
#[test]
fn service_starts_nothing_before_hosts_have_had_their_time() {
    let mut world = World::with_hosts(2);
    world.create(bounded(2, 50, 100));
    world.settle();
    let ended = world.running()[0];
    world.call(RECOVER).unwrap();
    world.hosts_speak();
    world.update(|update| update.force_new_deployment = true);
    world.exits(ended);
    world.pass_step_by_step(50.0);
    assert_eq!(world.counts(), "1 running, 0 pending");
    // Neither is it told to change bounds that are not the reason.
    assert!(!world.said.iter().any(|said| said.contains("unable to stop or start")));
    world.pass_step_by_step(41.0);
    world.live(5);
    assert_eq!(world.counts(), "2 running, 0 pending");
}

/// The journal tells it to the next start, however long the coordinator was away and whatever its clock
/// says: whoever restarts meanwhile lets nothing start early.
#[test]
fn restart_after_recover_gives_hosts_their_time_anew() {
    for away in [0, 3_600_000, -40_000] {
        let mut world = World::with_hosts(2);
        world.create(replicas(2));
        world.settle();
        let ended = world.running()[0];
        world.call(RECOVER).unwrap();
        world.pass_step_by_step(50.0);
        world.at = Timestamp(world.at.0.saturating_add_signed(away));
        world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 4 })).unwrap();
        world.hosts_speak();
        world.exits(ended);
        world.pass_step_by_step(50.0);
        assert_eq!(world.counts(), "1 running, 0 pending", "{away}");
        world.pass_step_by_step(41.0);
        world.live(5);
        assert_eq!(world.counts(), "2 running, 0 pending", "{away}");
        // Later ones do not.
        world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 5 })).unwrap();
        world.hosts_speak();
        world.exits(world.running()[0]);
        world.pass_step_by_step(5.0);
        world.live(5);
        assert_eq!(world.counts(), "2 running, 0 pending", "{away}");
    }
}

/// What keeps a host from being emptied is said though it was no reason at first.
#[test]
fn service_tells_its_bounds_after_hosts_have_spoken() {
    let mut world = World::with_hosts(2);
    world.create(bounded(1, 50, 100));
    world.settle();
    world.call(RECOVER).unwrap();
    world.hosts_speak();
    let host = world.state.host_at(world.state.task(world.running()[0]).unwrap().host).id;
    world.set_status(host, SettableHostStatus::Draining);
    let told = |world: &World| {
        let said = world.said.iter().filter(|said| said.contains("unable to stop or start"));
        said.count()
    };
    world.pass_step_by_step(50.0);
    assert_eq!(told(&world), 0);
    world.pass_step_by_step(41.0);
    assert_eq!(told(&world), 1);
}

#[test]
fn adopted_task_stays_after_a_restart_until_its_agent_speaks_of_it() {
    let mut world = World::with_hosts(2);
    world.create(replicas(2));
    world.settle();
    world.call(RECOVER).unwrap();
    world.pass_step_by_step(600.0);
    world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 4 })).unwrap();
    world.hosts_speak();
    let lost = RevisionId::from_entropy(77);
    world.tells_of_lost(world.hosts[0], lost, &[1]);
    world.pass_step_by_step(600.0);
    assert!(world.is_to_run(TaskId::new(1)), "nobody has said whether it serves");
    world.report(TaskId::new(1), ReportedPhase::Running);
    world.pass_step_by_step(1.0);
    assert!(!world.is_to_run(TaskId::new(1)), "it is one too many, and outdated");
}

/// Directly after `recover`, and after a start that follows before every host was heard.
#[test]
fn scaling_stops_nothing_before_hosts_have_had_their_time() {
    for restarts in [false, true] {
        let mut world = World::with_hosts(3);
        world.create(replicas(3));
        world.settle();
        world.call(RECOVER).unwrap();
        if restarts {
            world.pass_step_by_step(600.0);
            world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 4 })).unwrap();
        }
        // The last one is off until later.
        let off = world.hosts[2];
        world.cut(off);
        for host in [world.hosts[0], world.hosts[1]] {
            world.heal(host);
        }
        world.scale(1);
        world.pass_step_by_step(89.0);
        let running = world.running();
        assert!(running.iter().all(|task| world.is_to_run(*task)), "restarts: {restarts}");
        world.pass_step_by_step(2.0);
        let running = world.running();
        assert!(!running.iter().all(|task| world.is_to_run(*task)), "restarts: {restarts}");
    }
}

#[test]
fn scaling_stops_at_once_where_every_host_was_heard_since_recovery() {
    let mut world = World::with_hosts(2);
    world.create(replicas(2));
    world.settle();
    world.call(RECOVER).unwrap();
    world.pass_step_by_step(91.0);
    world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 4 })).unwrap();
    world.hosts_speak();
    world.scale(1);
    let running = world.running();
    assert_eq!(running.iter().filter(|task| world.is_to_run(**task)).count(), 1);
}

#[test]
fn unhealthy_task_is_told_of_once_when_it_may_be_stopped() {
    let mut world = World::with_hosts(2);
    world.define("checked", 10, true);
    world.create_named("s", "checked", bounded(2, 0, 100));
    world.agents_work();
    let tasks = world.running();
    tasks.iter().for_each(|task| world.set_health(*task, HealthStatus::Healthy));
    world.call(RECOVER).unwrap();
    world.hosts_speak();
    world.said.clear();
    world.set_health(tasks[0], HealthStatus::Unhealthy);
    let told = |world: &World| {
        world.said.iter().filter(|said| said.contains("failed container health checks")).count()
    };
    for _ in 0..10 {
        world.hosts_speak();
        world.set_health(tasks[1], HealthStatus::Healthy);
        world.pass_step_by_step(5.0);
    }
    assert_eq!(told(&world), 0, "{:?}", world.said);
    assert!(world.is_to_run(tasks[0]));
    world.pass_step_by_step(41.0);
    assert_eq!(told(&world), 1, "{:?}", world.said);
    assert!(!world.is_to_run(tasks[0]));
}

#[test]
fn move_takes_no_task_away_before_hosts_have_had_their_time() {
    let mut world = world_with_a_move();
    world.agents_work();
    let moving = world.service().moving.unwrap();
    world.call(RECOVER).unwrap();
    world.hosts_speak();
    world.pass_step_by_step(50.0);
    assert_eq!((world.healthy(), world.is_to_run(moving.leaving)), (7, true));
    world.pass_step_by_step(41.0);
    assert!(!world.is_to_run(moving.leaving));
}

/// A backup was made while three tasks waited for their attachments. Two run since; one of these is
/// stopped before its host could tell of it.
#[test]
fn provisioning_tasks_of_a_backup_are_taken_back_or_ended() {
    let mut world = World::with_hosts(1);
    let host = world.hosts[0];
    let vip = AttachmentSpec { kind: AttachmentKind::ExternalResource, name: "vip".to_owned() };
    let [runs, stopped, is_over] =
        [(); 3].map(|()| world.start_alone_with(host, vec![vip.clone()]));
    world.call(RECOVER).unwrap();
    world.hosts_speak();
    let (cluster, reason) = (CLUSTER.parse().unwrap(), Some("enough".to_owned()));
    world.call(Command::Task(TaskCommand::StopTask { cluster, task: stopped, reason })).unwrap();
    world.submit(is_over, 0, AttachmentStatus::Attached).unwrap();
    world.pass(3_600.0);
    for task in [runs, stopped, is_over] {
        assert_eq!(world.state.task(task).unwrap().phase, Phase::Provisioning);
    }

    world.tells_of(host, 1, ("family:app", None), &[runs, stopped]);
    let taken_back = world.state.task(runs).unwrap();
    assert_eq!(taken_back.phase, Phase::Pending);
    let attachments = taken_back.attachments.as_ref().unwrap();
    assert_eq!(attachments.list[0].state.name(), "ATTACHED");
    assert_eq!(world.state.task(stopped).unwrap().ordered(), Some(Desired::Stop));
    // The manifest has their orders, and tells the host that it was given them before.
    assert!(world.state.host(host).unwrap().queue.is_empty());
    assert_eq!(world.state.check(), Vec::<String>::new());

    world.tells_everything(host);
    let ended = world.state.task(is_over).unwrap();
    assert_eq!(ended.phase.name(), "DEPROVISIONING");
    let Wish::Stop { cause, .. } = &ended.wish else { panic!() };
    assert!(cause.reason.contains("Whether it has run since is not known"), "{}", cause.reason);
    assert!(world.state.host(host).unwrap().queue.is_empty());
    world.attachments_follow();
    assert!(world.state.task(is_over).is_none());
    assert!(world.is_to_run(runs));

    // What is provisioned from now on is of this journal.
    let later = world.start_alone_with(host, vec![vip]);
    world.submit(later, 0, AttachmentStatus::Attached).unwrap();
    assert_eq!(world.state.task(later).unwrap().phase, Phase::Pending);
}

/// A journal that was ever recovered stops, after a later start, also what no host was ordered to run.
#[test]
fn provisioning_tasks_of_an_earlier_start_are_scaled_in() {
    let mut world = World::with_hosts(1);
    world.call(RECOVER).unwrap();
    world.hosts_speak();
    world.tells_everything(world.hosts[0]);
    world.pass(100.0);
    let mut config = replicas(2);
    let vip = AttachmentSpec { kind: AttachmentKind::ExternalResource, name: "vip".to_owned() };
    config.options.attachments = vec![vip];
    world.create(config);
    assert_eq!(world.tasks().len(), 2);
    world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 4 })).unwrap();
    world.hosts_speak();
    world.pass(100.0);
    world.scale(0);
    let phases: Vec<&str> = world.tasks().iter().map(|task| task.phase.name()).collect();
    assert_eq!(phases, ["DEPROVISIONING"; 2]);
}
