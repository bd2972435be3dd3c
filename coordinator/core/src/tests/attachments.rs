//! Attachments in the life of a task: what waits for them, and what they wait for.

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    protocol::ReportedPhase,
    task::{HealthStatus, StopCause, StopCode},
};

use crate::{
    Command, Rejection,
    command::{AttachmentStatus, EpochCommand, TagCommand, TaskCommand},
    model::{
        attachment::{AttachmentKind, AttachmentSpec, RESOURCES_TAG, TARGETS_TAG},
        tags::Tags,
        task::TaskRecord,
    },
    rejection::AttachmentRejection,
    state::QueuedOrder,
    test_kit::{
        recorder::Recorder,
        world::{CLUSTER, World, named, replicas, with_breaker},
    },
};

const ATTACHED: AttachmentStatus = AttachmentStatus::Attached;
const DETACHED: AttachmentStatus = AttachmentStatus::Detached;
const FAILED: AttachmentStatus = AttachmentStatus::Failed;

/// What the host was ordered so far.
#[derive(Debug, PartialEq)]
enum Ordered {
    Nothing,
    Run,
    RunAndStop,
}

struct One {
    world: World,
    host: HostId,
    task: TaskId,
}

/// A task with these attachments on the only host.
fn one(resources: &[&str], targets: &[&str]) -> One {
    let mut world = World::with_hosts(1);
    world.record(Recorder::default());
    let host = world.hosts[0];
    let specs = |kind, names: &[&str]| -> Vec<AttachmentSpec> {
        names.iter().map(|name| AttachmentSpec { kind, name: (*name).to_owned() }).collect()
    };
    let mut attachments = specs(AttachmentKind::ExternalResource, resources);
    attachments.extend(specs(AttachmentKind::ExternalTarget, targets));
    let task = world.start_alone_with(host, attachments);
    One { world, host, task }
}

impl One {
    fn status(&self) -> &'static str {
        assert_eq!(self.world.faults(), Vec::<String>::new());
        self.world.state.task(self.task).map_or("STOPPED", |task| task.phase.name())
    }

    fn attachments(&self) -> Vec<&str> {
        let task = self.world.state.task(self.task).unwrap();
        let list = &task.attachments.as_ref().unwrap().list;
        list.iter().map(|attachment| attachment.state.name()).collect()
    }

    fn ordered(&self) -> Ordered {
        let queue = &self.world.state.host(self.host).unwrap().queue;
        let of_task: Vec<&QueuedOrder> =
            queue.iter().filter(|queued| queued.task == self.task).collect();
        match of_task[..] {
            [] => Ordered::Nothing,
            [run] if run.stop.is_none() => Ordered::Run,
            [run, stop] if run.stop.is_none() && stop.stop.is_some() => Ordered::RunAndStop,
            _ => panic!("{of_task:?}"),
        }
    }

    fn submit(&mut self, attachment: u32, status: AttachmentStatus) {
        self.world.submit(self.task, attachment, status).unwrap();
    }

    fn stop(&mut self) {
        let (cluster, reason) = (CLUSTER.parse().unwrap(), Some("enough".to_owned()));
        self.world
            .call(Command::Task(TaskCommand::StopTask { cluster, task: self.task, reason }))
            .unwrap();
        self.world.pass(0.0);
    }

    fn runs(&mut self) {
        self.world.report(self.task, ReportedPhase::Activating);
        self.world.report(self.task, ReportedPhase::Running);
        self.world.pass(0.0);
    }

    fn stops(&mut self) {
        let cause = StopCause { code: StopCode::UserInitiated, reason: "enough".to_owned() };
        self.world.report(self.task, ReportedPhase::Stopping(cause.clone()));
        self.world.report(self.task, ReportedPhase::Stopped(cause));
        self.world.pass(0.0);
    }

    /// The task as the history has it.
    fn record(&mut self) -> TaskRecord {
        let batches = self.world.take_batches();
        let mut stopped = batches.into_iter().flat_map(|batch| batch.history.stopped);
        stopped.find(|record| record.id == self.task).expect("the task is in the history")
    }
}

#[test]
fn task_is_ordered_once_its_resources_are_attached() {
    let mut one = one(&["vip", "lease"], &[]);
    assert_eq!((one.status(), one.ordered()), ("PROVISIONING", Ordered::Nothing));
    assert_eq!(one.attachments(), ["ATTACHING", "ATTACHING"]);
    one.submit(1, ATTACHED);
    assert_eq!((one.status(), one.ordered()), ("PROVISIONING", Ordered::Nothing));
    one.submit(0, ATTACHED);
    assert_eq!((one.status(), one.ordered()), ("PENDING", Ordered::Run));
    one.runs();
    assert_eq!(one.status(), "RUNNING");
}

#[test]
fn task_is_running_once_its_targets_are_attached() {
    let mut one = one(&[], &["proxy"]);
    assert_eq!((one.status(), one.ordered()), ("PENDING", Ordered::Run));
    assert_eq!(one.attachments(), ["PRECREATED"]);
    one.runs();
    assert_eq!((one.status(), one.attachments()), ("ACTIVATING", vec!["ATTACHING"]));
    one.submit(0, ATTACHED);
    assert_eq!(one.status(), "RUNNING");
    let started_at = one.world.state.task(one.task).unwrap().phase.started_at();
    assert_eq!(started_at, Some(one.world.at));
}

#[test]
fn stop_is_ordered_once_targets_are_detached() {
    let mut one = one(&["vip"], &["proxy"]);
    one.submit(0, ATTACHED);
    one.runs();
    one.submit(1, ATTACHED);
    assert_eq!(one.status(), "RUNNING");
    one.stop();
    assert_eq!((one.status(), one.ordered()), ("DEACTIVATING", Ordered::Run));
    assert_eq!(one.attachments(), ["ATTACHED", "DETACHING"]);
    one.submit(1, DETACHED);
    assert_eq!((one.status(), one.ordered()), ("STOPPING", Ordered::RunAndStop));
    one.stops();
    assert_eq!(
        (one.status(), one.attachments()),
        ("DEPROVISIONING", vec!["DETACHING", "DETACHED"])
    );
    one.submit(0, DETACHED);
    assert_eq!(one.status(), "STOPPED");
    let record = one.record();
    assert_eq!(record.end.unwrap().cause.reason, "enough");
    let states: Vec<&str> =
        record.attachments.list.iter().map(|attachment| attachment.state.name()).collect();
    assert_eq!(states, ["DETACHED", "DETACHED"]);
}

#[test]
fn stop_before_the_order_reaches_no_host() {
    let mut one = one(&["vip"], &["proxy"]);
    one.stop();
    assert_eq!((one.status(), one.ordered()), ("DEPROVISIONING", Ordered::Nothing));
    assert_eq!(one.attachments(), ["DETACHING", "DETACHED"]);
    one.submit(0, DETACHED);
    assert_eq!((one.status(), one.ordered()), ("STOPPED", Ordered::Nothing));
    assert_eq!(one.record().end.unwrap().cause.reason, "enough");
}

#[test]
fn stop_before_targets_begin_waits_for_nothing() {
    let mut one = one(&[], &["proxy"]);
    one.stop();
    assert_eq!((one.ordered(), one.attachments()), (Ordered::RunAndStop, vec!["DETACHED"]));
    one.stops();
    assert_eq!(one.status(), "STOPPED");
}

#[test]
fn task_that_exits_detaches_its_targets_and_resources() {
    let mut one = one(&["vip"], &["proxy"]);
    one.submit(0, ATTACHED);
    one.runs();
    one.submit(1, ATTACHED);
    one.stops();
    assert_eq!(one.status(), "DEPROVISIONING");
    assert_eq!(one.attachments(), ["DETACHING", "DETACHING"]);
    one.submit(1, DETACHED);
    assert_eq!(one.status(), "DEPROVISIONING");
    one.stop();
    assert_eq!((one.status(), one.ordered()), ("DEPROVISIONING", Ordered::Run));
    one.submit(0, DETACHED);
    assert_eq!(one.status(), "STOPPED");
}

#[test]
fn resource_that_is_never_attached_ends_its_task_with_the_reason() {
    let mut one = one(&["vip"], &[]);
    one.world.pass(599.0);
    assert_eq!(one.status(), "PROVISIONING");
    one.world.pass(1.0);
    (0..3).for_each(|_| one.world.pass(0.0));
    assert_eq!((one.status(), one.ordered()), ("STOPPED", Ordered::Nothing));
    let cause = one.record().end.unwrap().cause;
    assert_eq!(cause.code, StopCode::TaskFailedToStart);
    let expected = "ResourceInitializationError: the attachment vip failed: nobody said within 600 s \
                    that it is attached";
    assert_eq!(cause.reason, expected);
}

#[test]
fn target_that_is_never_detached_delays_the_stop_for_so_long() {
    let mut one = one(&[], &["proxy"]);
    one.runs();
    one.submit(0, ATTACHED);
    one.stop();
    one.world.pass(299.0);
    assert_eq!(one.status(), "DEACTIVATING");
    one.world.pass(1.0);
    one.world.pass(0.0);
    assert_eq!((one.status(), one.ordered()), ("STOPPING", Ordered::RunAndStop));
    assert_eq!(one.attachments(), ["FAILED"]);
}

#[test]
fn downtime_of_the_coordinator_counts_against_no_attachment() {
    let mut one = one(&["vip"], &[]);
    one.world.at = Timestamp(one.world.at.0 + 3_600_000);
    one.world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 9 })).unwrap();
    one.world.heal(one.host);
    one.world.pass(599.0);
    assert_eq!(one.status(), "PROVISIONING");
    one.submit(0, ATTACHED);
    assert_eq!(one.status(), "PENDING");
}

#[test]
fn task_that_exits_while_it_is_deactivating_is_ordered_to_stop() {
    let mut one = one(&[], &["proxy"]);
    one.runs();
    one.submit(0, ATTACHED);
    one.stop();
    let reason = "Essential container in task exited".to_owned();
    let cause = StopCause { code: StopCode::EssentialContainerExited, reason };
    one.world.report(one.task, ReportedPhase::Stopping(cause));
    assert_eq!((one.status(), one.ordered()), ("STOPPING", Ordered::RunAndStop));
    one.submit(0, DETACHED);
    one.stops();
    assert_eq!(one.status(), "STOPPED");
}

#[test]
fn last_report_of_a_deprovisioning_task_counts_as_after_a_start() {
    let mut world = World::with_hosts(1);
    world.record(Recorder::default());
    world.define("checked", 10, true);
    let vip = AttachmentSpec { kind: AttachmentKind::ExternalResource, name: "vip".to_owned() };
    let task = world.start_alone_as_with("checked", world.hosts[0], vec![vip]);
    world.submit(task, 0, ATTACHED).unwrap();
    world.set_health(task, HealthStatus::Healthy);
    let cause = StopCause { code: StopCode::EssentialContainerExited, reason: "over".to_owned() };
    world.report_containers(task, ReportedPhase::Stopped(cause), Vec::new());
    assert_eq!(world.state.task(task).unwrap().phase.name(), "DEPROVISIONING");
    assert_eq!(world.faults(), Vec::<String>::new());
}

#[test]
fn deactivating_task_is_neither_running_nor_pending() {
    let mut one = one(&[], &["proxy"]);
    one.runs();
    one.submit(0, ATTACHED);
    let counts = |one: &One| {
        let cluster = one.world.state.cluster(CLUSTER).unwrap();
        let host = one.world.state.host(one.host).unwrap();
        [cluster.running_tasks, cluster.pending_tasks, host.running_tasks, host.pending_tasks]
    };
    assert_eq!(counts(&one), [1, 0, 1, 0]);
    one.stop();
    assert_eq!((one.status(), counts(&one)), ("DEACTIVATING", [0; 4]));
}

#[test]
fn attachment_that_fails_while_the_task_runs_stops_it() {
    let mut one = one(&["vip"], &["proxy"]);
    one.submit(0, ATTACHED);
    one.runs();
    one.submit(1, ATTACHED);
    one.submit(0, FAILED);
    one.world.pass(0.0);
    assert_eq!((one.status(), one.attachments()), ("DEACTIVATING", vec!["FAILED", "DETACHING"]));
    one.submit(1, DETACHED);
    one.stops();
    assert_eq!(one.status(), "STOPPED");
}

#[test]
fn attachment_moves_only_to_what_follows_its_state() {
    let mut one = one(&["vip"], &["proxy"]);
    let conflicts = |one: &mut One, attachment, status| {
        let refused = one.world.submit(one.task, attachment, status);
        assert!(
            matches!(
                refused,
                Err(Rejection::Attachment(AttachmentRejection::AttachmentStateConflict { .. }))
            ),
            "{refused:?}"
        );
    };
    conflicts(&mut one, 0, DETACHED);
    conflicts(&mut one, 1, ATTACHED);
    conflicts(&mut one, 1, FAILED);
    one.submit(0, ATTACHED);
    one.submit(0, ATTACHED);
    conflicts(&mut one, 0, DETACHED);
    let missing = one.world.submit(one.task, 2, ATTACHED).unwrap_err();
    assert!(
        matches!(missing, Rejection::Attachment(AttachmentRejection::AttachmentNotFound { .. })),
        "{missing:?}"
    );
    one.stop();
    conflicts(&mut one, 1, ATTACHED);
    one.stops();
    one.submit(0, DETACHED);
    assert_eq!(one.status(), "STOPPED");
}

#[test]
fn host_taken_away_by_force_leaves_no_attachment_open() {
    let mut one = one(&["vip"], &[]);
    let host = one.host;
    one.world.deregister(host);
    assert_eq!(one.status(), "STOPPED");
    let record = one.record();
    assert_eq!(record.attachments.list[0].state.name(), "FAILED");
}

#[test]
fn tasks_of_a_service_have_the_attachments_of_its_tags_and_its_clusters() {
    let mut world = World::with_hosts(1);
    world.record(Recorder::default());
    let tags = |tag: &str, names: &str| Tags::from([(tag.to_owned(), names.to_owned())]);
    let cluster = crate::model::tagged::Resource::Cluster(CLUSTER.parse().unwrap());
    let service = crate::model::tagged::Resource::Service(named("s"));
    let of_cluster = tags(RESOURCES_TAG, "disk");
    world.call(Command::Tag(TagCommand::Tag { resource: cluster, tags: of_cluster })).unwrap();
    world.create(replicas(1));
    let inherited = world.tasks()[0].attachments.as_ref().unwrap().list[0].name.clone();
    assert_eq!(inherited, "disk");
    world.scale(0);
    world.attachments_follow();
    assert!(world.tasks().is_empty());
    let mut of_service = tags(TARGETS_TAG, "proxy");
    of_service.extend(tags(RESOURCES_TAG, "vip"));
    world.call(Command::Tag(TagCommand::Tag { resource: service, tags: of_service })).unwrap();
    world.scale(2);
    let names: Vec<Vec<String>> = world
        .tasks()
        .iter()
        .map(|task| {
            let list = &task.attachments.as_ref().unwrap().list;
            list.iter().map(|attachment| attachment.name.clone()).collect()
        })
        .collect();
    assert_eq!(names, [["vip", "proxy"], ["vip", "proxy"]]);
    assert_eq!(world.counts(), "0 running, 2 pending");
    world.attachments_follow();
    world.agents_work();
    assert_eq!(world.counts(), "0 running, 2 pending", "they are ACTIVATING");
    world.attachments_follow();
    assert_eq!(world.counts(), "2 running, 0 pending");
    world.scale(1);
    assert_eq!(world.counts(), "1 running, 0 pending", "one is DEACTIVATING");
    world.attachments_follow();
    world.agents_work();
    assert_eq!(world.counts(), "1 running, 0 pending");
    assert_eq!(world.tasks().len(), 2, "one is DEPROVISIONING");
    world.attachments_follow();
    assert_eq!(world.tasks().len(), 1);
    assert_eq!(world.faults(), Vec::<String>::new());
}

#[test]
fn service_says_that_it_has_no_room_while_its_tasks_are_deprovisioning() {
    let mut world = World::with_hosts(1);
    world.define("app", 3_000, false);
    let mut config = replicas(1);
    config.options.attachments =
        vec![AttachmentSpec { kind: AttachmentKind::ExternalResource, name: "vip".to_owned() }];
    world.create(config);
    world.attachments_follow();
    world.agents_work();
    assert_eq!(world.counts(), "1 running, 0 pending");
    world.said.clear();
    world.exits(world.running()[0]);
    world.pass(2.0);
    assert_eq!(world.tasks().len(), 1, "it is DEPROVISIONING and keeps its room");
    assert!(world.said.iter().any(|said| said.contains("unable to place")), "{:?}", world.said);
    world.attachments_follow();
    world.pass(2.0);
    assert_eq!(world.counts(), "0 running, 1 pending");
}

#[test]
fn failed_attachments_count_against_the_deployment() {
    let mut world = World::with_hosts(1);
    world.create(with_breaker(replicas(1), false));
    let tags = Tags::from([(RESOURCES_TAG.to_owned(), "vip".to_owned())]);
    let service = crate::model::tagged::Resource::Service(named("s"));
    world.settle();
    world.call(Command::Tag(TagCommand::Tag { resource: service, tags })).unwrap();
    world.define("app", 20, false);
    world.deploy("app");
    for _ in 0..2 {
        let starting: Vec<TaskId> = world
            .tasks()
            .iter()
            .filter(|task| task.phase.name() == "PROVISIONING")
            .map(|task| task.id)
            .collect();
        assert_eq!(starting.len(), 1);
        world.submit(starting[0], 0, FAILED).unwrap();
        (0..2).for_each(|_| world.pass(0.0));
        assert!(world.state.task(starting[0]).is_none(), "it is STOPPED");
        let failed: u32 = world.service().revisions.iter().map(|r| r.record.failed_tasks).sum();
        assert!(failed > 0);
        let begun = world.tasks().len();
        world.pass(0.0);
        assert_eq!(world.tasks().len(), begun, "the next one waits");
        world.pass(5.0);
    }
}
