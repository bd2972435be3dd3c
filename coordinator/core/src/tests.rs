//! Tables of the core: commands in, a line per event or rejection out.

mod alarms;
mod attachments;
mod architectures;
mod capacity;
mod definitions;
mod gpus;
mod recovery;
mod reports;
mod soundness;
mod taken_back;
mod waiting;

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    logs::mode::LogDriverMode,
    protocol::{
        ContainerReport, EngineHealth, Epoch, HeldImages, Report, ReportBody, ReportPosition,
        ReportedPhase, RunIntent, RunOrder, Seen, StorageHealth, TaskReport, Versions,
    },
    resources::{Capacity, CpuUnits, MemoryMib},
    task::{StopCause, StopCode, TaskOverride},
    task_definition::{ContainerDefinition, TaskDefinition, TaskSpec},
    task_policy::{Forbidden, TaskPolicy},
};

use super::{
    command::{
        AgentAnswered, ClientToken, ClusterCommand, Command, DefinitionCommand, Envelope,
        EpochCommand, HostCommand, RegisterContainerInstance, RegisterTaskDefinition, RunTask,
        SettableHostStatus, SettingCommand, StartTask, TaskCommand, TaskLaunch, TokenCommand,
    },
    decide::{Answer, Note, decide},
    event::Event,
    state::{DEFAULT_LOG_DRIVER_MODE, State},
};
use crate::{
    checkpoint::record::{self, Record},
    event::{DefinitionEvent, TaskEvent},
    model::{
        cluster::ClusterSettings, definition::RevisionRef, join_token::JoinToken,
        setting::SettingScope, tags::Tags,
    },
};

/// A state that commands are put to, one step each.
struct World {
    state: State,
    at: Timestamp,
    entropy: u128,
    log: String,
}

impl World {
    fn new() -> Self {
        let mut world =
            World { state: State::default(), at: Timestamp(1_000), entropy: 0, log: String::new() };
        world.put(Command::Epoch(EpochCommand::StartEpoch { incarnation: 1 }));
        world.state.begin_scheduling();
        world
    }

    /// A cluster with hosts of 1024 CPU units and 1000 MiB each, connected.
    fn with_hosts(count: u32) -> (Self, Vec<HostId>) {
        let mut world = World::new();
        world.put(create_cluster("web"));
        let hosts = (0..count).map(|_| world.add_host()).collect();
        (world, hosts)
    }

    fn add_host(&mut self) -> HostId {
        self.add_host_with(Capacity {
            cpu: CpuUnits(1024),
            memory: MemoryMib(1000),
            reserved_ports: Box::default(),
            gpus: Box::default(),
        })
    }

    fn add_host_with(&mut self, capacity: Capacity) -> HostId {
        let host = self.register_host(None, capacity);
        self.put(answered(host, 0, vec![]));
        host
    }

    fn register_host(&mut self, host: Option<HostId>, capacity: Capacity) -> HostId {
        let answer = self.put(Command::Host(HostCommand::RegisterContainerInstance(Box::new(
            RegisterContainerInstance {
                cluster: "web".parse().unwrap(),
                host,
                capacity,
                attributes: vec![],
                versions: Versions::default(),
                instance_id: None,
                tags: Tags::new(),
            },
        ))));
        let Some(Answer::Host(host)) = answer else { panic!("{answer:?}") };
        host
    }

    fn with_definition(mut self, memory: u32) -> Self {
        self.put(register("app", memory));
        self
    }

    /// Decides, applies, and notes down what happened. The answer, unless rejected.
    fn put(&mut self, command: Command) -> Option<Answer> {
        self.at = Timestamp(self.at.0 + 1);
        self.entropy += 1 << 64;
        let envelope = Envelope { at: self.at, entropy: self.entropy, command };
        match decide(&self.state, &envelope) {
            Err(rejection) => {
                writeln!(self.log, "rejected: {rejection}").unwrap();
                None
            }
            Ok(decision) => {
                let seq = self.state.seq() + 1;
                for event in &decision.events {
                    writeln!(self.log, "{}", name(event)).unwrap();
                    self.state.apply(event, seq);
                }
                if !decision.events.is_empty() {
                    self.state.set_seq(seq);
                }
                for note in decision.notes {
                    match note {
                        Note::OrdersTaken { host, order } => self.state.orders_taken(host, order),
                        Note::ReportsTaken { host, position } => {
                            self.state.reports_taken(host, position, seq);
                        }
                        Note::HostHeard { host } => self.state.host_heard(host, self.at),
                        Note::ImagesHeld { host, images } => {
                            self.state.images_held(host, &images);
                        }
                        Note::SchedulingBegins => self.state.begin_scheduling(),
                        Note::RoomWanted => {}
                    }
                }
                if let Some(rest) = decision.rest {
                    return self.put(*rest);
                }
                Some(decision.answer)
            }
        }
    }

    fn run(&mut self, count: u32) -> (Vec<TaskId>, Vec<String>) {
        match self.put(run_task(count)) {
            Some(Answer::Tasks { tasks, failures }) => (
                tasks,
                failures.into_iter().map(|f| format!("{}: {}", f.reason, f.detail)).collect(),
            ),
            other => panic!("{other:?}"),
        }
    }

    /// What was noted down since the last call.
    fn check(&mut self, expected: Expect) {
        expected.assert_eq(&std::mem::take(&mut self.log));
    }
}

fn name(event: &Event) -> String {
    let text = format!("{event:?}");
    let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
    match event {
        Event::Task(TaskEvent::TasksStarted(started)) => {
            format!("TasksStarted {}", started.tasks.len())
        }
        Event::Task(TaskEvent::TaskStopped { cause, .. })
        | Event::Task(TaskEvent::TaskStopRequested { cause, .. }) => {
            format!("{} {:?} {}", &text[..end], cause.code, cause.reason)
        }
        _ => text[..end].to_owned(),
    }
}

fn create_cluster(name: &str) -> Command {
    let (settings, tags) = (ClusterSettings::default(), Tags::new());
    Command::Cluster(ClusterCommand::CreateCluster { name: name.parse().unwrap(), settings, tags })
}

fn register(family: &str, memory: u32) -> Command {
    let container = ContainerDefinition {
        name: "main".to_owned(),
        image: Some("busybox".to_owned()),
        memory: Some(memory),
        cpu: 10,
        ..ContainerDefinition::default()
    };
    Command::Definition(DefinitionCommand::RegisterTaskDefinition(Box::new(
        RegisterTaskDefinition {
            family: family.parse().unwrap(),
            spec: TaskSpec { container_definitions: vec![container], ..TaskSpec::default() },
            requires_attributes: vec![],
            compatibilities: vec![],
            registered_by: "root".to_owned(),
            tags: Tags::new(),
        },
    )))
}

fn privileged(memory: u32) -> Command {
    let Command::Definition(DefinitionCommand::RegisterTaskDefinition(mut app)) =
        register("app", memory)
    else {
        unreachable!()
    };
    app.spec.container_definitions[0].privileged = Some(true);
    Command::Definition(DefinitionCommand::RegisterTaskDefinition(app))
}

fn no_privileged() -> TaskPolicy {
    TaskPolicy { forbidden: [Forbidden::Privileged].into(), ..TaskPolicy::default() }
}

fn revision(revision: Option<u32>) -> RevisionRef {
    RevisionRef { family: "app".parse().unwrap(), revision }
}

fn launch() -> TaskLaunch {
    TaskLaunch {
        cluster: "web".parse().unwrap(),
        definition: revision(None),
        overrides: TaskOverride::default(),
        group: None,
        started_by: None,
        tags: Tags::new(),
        options: Default::default(),
        propagate_tags: false,
        managed_tags: false,
    }
}

fn run_task(count: u32) -> Command {
    Command::Task(TaskCommand::RunTask(Box::new(RunTask {
        launch: launch(),
        count,
        distinct_instance: false,
        member_of: vec![],
        strategies: vec![],
        capacity: None,
        client_token: None,
    })))
}

fn run_with_token(token: &str, parameters_hash: u64) -> Command {
    let Command::Task(TaskCommand::RunTask(mut run)) = run_task(1) else { unreachable!() };
    run.client_token = Some(ClientToken { token: token.to_owned(), parameters_hash });
    Command::Task(TaskCommand::RunTask(run))
}

fn stop(task: TaskId) -> Command {
    Command::Task(TaskCommand::StopTask {
        cluster: "web".parse().unwrap(),
        task,
        reason: Some("enough".into()),
    })
}

fn answered(host: HostId, seq: u64, reports: Vec<Report>) -> Command {
    Command::Host(HostCommand::AgentAnswered(Box::new(AgentAnswered {
        host,
        seen: None,
        position: ReportPosition { session: 7, seq },
        reports,
        ended_candidates: vec![],
        images: None,
        engine: EngineHealth::Unknown,
        storage: StorageHealth::Unknown,
        leaving: false,
        looked: true,
    })))
}

fn report(seq: u64, task: TaskId, phase: ReportedPhase) -> Report {
    let body = ReportBody::Task(Box::new(TaskReport {
        task,
        generation: 1,
        phase,
        containers: vec![ContainerReport { name: "main".to_owned(), ..Default::default() }],
        pull_started_at: None,
        pull_stopped_at: None,
        stopping_at: None,
        execution_stopped_at: None,
        pulls: Vec::new(),
    }));
    Report { seq, body }
}

fn exited() -> StopCause {
    let reason = "Essential container in task exited".to_owned();
    StopCause { code: StopCode::EssentialContainerExited, reason }
}

/// What an agent says of a task that this journal does not know.
fn unknown_task(seq: u64, task: u128, group: &str, started_by: Option<&str>) -> Report {
    let Command::Definition(DefinitionCommand::RegisterTaskDefinition(lost)) =
        register("lost", 100)
    else {
        unreachable!()
    };
    let definition = TaskDefinition { family: "lost".to_owned(), revision: 4, spec: lost.spec };
    let order = RunOrder {
        definition: 0,
        cluster: "web".to_owned(),
        task_arn: String::new(),
        overrides: TaskOverride::default(),
        group: group.to_owned(),
        started_by: started_by.map(str::to_owned),
        created_at: Timestamp(5),
        container_ids: vec![],
        gpus: Vec::new(),
        image_digests: Vec::new(),
        log_driver_mode: None,
    };
    let (task, generation) = (TaskId::new(task), 1);
    let run = Some(Box::new(RunIntent { definition, order }));
    Report { seq, body: ReportBody::StopCandidate { task, generation, run } }
}

/// A busy little cluster, to compare states by.
fn busy() -> World {
    let (world, hosts) = World::with_hosts(3);
    let mut world = world.with_definition(100);
    let (tasks, _) = world.run(10);
    world.put(run_with_token("t", 1));
    let on =
        |world: &World, task: TaskId| world.state.host_at(world.state.task(task).unwrap().host).id;
    for (seq, &task) in (1..).zip(&tasks) {
        let host = on(&world, task);
        world.put(answered(host, seq, vec![report(seq, task, ReportedPhase::Running)]));
    }
    world.put(stop(tasks[0]));
    let host = on(&world, tasks[1]);
    world.put(answered(host, 99, vec![report(99, tasks[1], ReportedPhase::Stopped(exited()))]));
    world.put(Command::Host(HostCommand::AgentSilent {
        host: hosts[2],
        why: "cut".to_owned(),
        refused: false,
    }));
    world
}

/// All rows that a full checkpoint would have.
fn rows(state: &mut State) -> Vec<RawRow> {
    state.begin_capture();
    let rows = state.capture_slice(usize::MAX).unwrap();
    let mut rows: Vec<_> = rows.into_iter().map(|row| (row.kind, row.key, row.value)).collect();
    rows.sort();
    rows
}

fn restored(rows: &[RawRow], seq: u64) -> State {
    let mut state = State::to_recover();
    let in_order = |kind: u8| rows.iter().filter(move |row| row.0 == kind);
    let order = || record::RESTORE_ORDER.into_iter().flat_map(in_order);
    assert_eq!(order().count(), rows.len(), "every kind of row is restored");
    for (_, _, value) in order() {
        let Some(value) = value else { continue };
        let record: Record = record::decode(value).unwrap();
        state.restore(record);
    }
    state.recovered_at(seq);
    state
}

#[test]
fn creating_a_cluster_twice_changes_nothing() {
    let mut world = World::new();
    world.put(create_cluster("web"));
    world.put(create_cluster("web"));
    world.check(expect![[r#"
        EpochStarted
        ClusterCreated
    "#]]);
}

#[test]
fn a_cluster_with_hosts_or_tasks_is_not_deleted() {
    let (mut world, hosts) = World::with_hosts(1);
    world.log.clear();
    let delete =
        || Command::Cluster(ClusterCommand::DeleteCluster { name: "web".parse().unwrap() });
    world.put(delete());
    let (cluster, force) = ("web".parse().unwrap(), false);
    world.put(Command::Host(HostCommand::DeregisterContainerInstance {
        cluster,
        host: hosts[0],
        force,
    }));
    world.put(delete());
    world.put(delete());
    world.check(expect![[r#"
        rejected: The Cluster cannot be deleted while Container Instances are active or draining: 1 are registered.
        HostDeregistered
        ClusterDeleted
    "#]]);
}

#[test]
fn a_full_cluster_says_how_much_is_missing() {
    let (world, _) = World::with_hosts(2);
    let mut world = world.with_definition(600);
    let (tasks, failures) = world.run(3);
    assert_eq!(tasks.len(), 2);
    assert_eq!(failures.len(), 1);
    assert!(failures[0].starts_with("RESOURCE:MEMORY: "), "{failures:?}");
    assert!(failures[0].contains("400 of the 600 MiB needed"), "{failures:?}");
}

/// The host's agent says in every answer that its machine is about to be taken away.
#[test]
fn host_that_leaves_is_drained_once() {
    let (world, hosts) = World::with_hosts(2);
    let mut world = world.with_definition(10);
    world.log.clear();
    for seq in 1..=3 {
        let Command::Host(HostCommand::AgentAnswered(mut said)) = answered(hosts[0], seq, vec![])
        else {
            unreachable!()
        };
        said.leaving = true;
        world.put(Command::Host(HostCommand::AgentAnswered(said)));
        world.put(answered(hosts[1], seq, vec![]));
    }
    world.check(expect![[r#"
        HostDrained
    "#]]);
    let (tasks, _) = world.run(3);
    let on = |task: &TaskId| world.state.task(*task).unwrap().host;
    assert_eq!(tasks.len(), 3);
    assert!(tasks.iter().all(|task| world.state.host_at(on(task)).id == hosts[1]));
}

#[test]
fn nothing_is_placed_on_draining_or_disconnected_hosts() {
    let (world, hosts) = World::with_hosts(2);
    let mut world = world.with_definition(10);
    let (cluster, status) = ("web".parse().unwrap(), SettableHostStatus::Draining);
    let drained = vec![hosts[0]];
    world.put(Command::Host(HostCommand::UpdateContainerInstancesState {
        cluster,
        hosts: drained,
        status,
    }));
    world.put(Command::Host(HostCommand::AgentSilent {
        host: hosts[1],
        why: "cut".to_owned(),
        refused: false,
    }));
    let (tasks, failures) = world.run(1);
    assert!(tasks.is_empty());
    assert!(failures[0].starts_with("AGENT: "), "{failures:?}");
    world.put(answered(hosts[1], 0, vec![]));
    assert_eq!(world.run(1).0.len(), 1);
}

#[test]
fn run_task_is_refused_before_anything_changes() {
    let mut world = World::new();
    world.put(run_task(1));
    world.put(create_cluster("web"));
    world.put(run_task(1));
    world.put(register("app", 10));
    world.put(run_task(1));
    world.put(Command::Definition(DefinitionCommand::DeregisterTaskDefinition(revision(Some(1)))));
    let Command::Task(TaskCommand::RunTask(mut run)) = run_task(1) else { unreachable!() };
    run.launch.definition = revision(Some(1));
    world.put(Command::Task(TaskCommand::RunTask(run)));
    world.check(expect![[r#"
        EpochStarted
        rejected: Cluster not found.
        ClusterCreated
        rejected: Unable to describe task definition.
        TaskDefinitionRegistered
        rejected: No Container Instances were found in your cluster.
        TaskDefinitionDeregistered
        rejected: TaskDefinition is inactive
    "#]]);
}

#[test]
fn a_client_token_gives_the_same_tasks_or_a_conflict() {
    let (world, _) = World::with_hosts(1);
    let mut world = world.with_definition(10);
    world.log.clear();
    let first = world.put(run_with_token("t", 1));
    assert_eq!(world.put(run_with_token("t", 1)), first);
    world.put(run_with_token("t", 2));
    world.at = Timestamp(world.at.0 + 25 * 3600 * 1000);
    world.put(Command::Epoch(EpochCommand::Tick));
    world.put(run_with_token("t", 2));
    world.check(expect![[r#"
        TasksStarted 1
        rejected: The client token was used before with other parameters.
        ClientTokensExpired
        TasksStarted 1
    "#]]);
}

#[test]
fn task_keeps_the_log_driver_mode_that_the_account_had_at_its_start() {
    let (world, _) = World::with_hosts(1);
    let mut world = world.with_definition(10);
    let put = |value: &str| {
        Command::Setting(SettingCommand::PutAccountSetting {
            scope: SettingScope::Principal("arn:aws:iam::000000000000:root".to_owned()),
            name: DEFAULT_LOG_DRIVER_MODE.to_owned(),
            value: value.to_owned(),
        })
    };
    let other = Command::Setting(SettingCommand::PutAccountSetting {
        scope: SettingScope::Principal("arn:aws:iam::000000000000:user/a".to_owned()),
        name: DEFAULT_LOG_DRIVER_MODE.to_owned(),
        value: "blocking".to_owned(),
    });
    let delete = Command::Setting(SettingCommand::DeleteAccountSetting {
        principal: "arn:aws:iam::000000000000:root".to_owned(),
        name: DEFAULT_LOG_DRIVER_MODE.to_owned(),
    });
    let steps = [
        (None, LogDriverMode::NonBlocking),
        (Some(put("blocking")), LogDriverMode::Blocking),
        (Some(other.clone()), LogDriverMode::Blocking),
        (Some(put("non-blocking")), LogDriverMode::NonBlocking),
        (Some(put("blocking")), LogDriverMode::Blocking),
        (Some(delete), LogDriverMode::NonBlocking),
        (Some(other), LogDriverMode::NonBlocking),
    ];
    let mut started = Vec::new();
    for (command, mode) in steps {
        command.map(|command| world.put(command));
        let (tasks, _) = world.run(1);
        started.push((tasks[0], mode));
    }
    for (task, mode) in started {
        assert_eq!(world.state.task(task).unwrap().log_driver_mode, Some(mode));
    }
}

#[test]
fn a_task_goes_where_its_image_is_until_the_host_is_registered_anew() {
    let (world, hosts) = World::with_hosts(4);
    let mut world = world.with_definition(10);
    let holds = |seq, references: &[&str]| {
        let Command::Host(HostCommand::AgentAnswered(mut said)) = answered(hosts[2], 0, vec![])
        else {
            unreachable!()
        };
        let references = references.iter().map(|name| (*name).to_owned()).collect();
        let position = ReportPosition { session: 7, seq };
        said.images = Some(HeldImages { position, references });
        Command::Host(HostCommand::AgentAnswered(said))
    };
    world.put(holds(1, &["busybox:latest"]));
    assert_eq!(world.state.host(hosts[2]).unwrap().images_taken.unwrap().seq, 1);
    let (tasks, _) = world.run(1);
    let on = world.state.host(hosts[2]).unwrap();
    assert!(on.tasks.contains_key(&tasks[0]), "it went where its image is not");
    let deregister = Command::Host(HostCommand::DeregisterContainerInstance {
        cluster: "web".parse().unwrap(),
        host: hosts[2],
        force: true,
    });
    world.put(deregister);
    assert_eq!(world.state.host(hosts[2]).unwrap().images_taken, None, "it is to be told again");
}

#[test]
fn start_task_asks_nothing_but_the_hosts_that_were_named() {
    let (world, hosts) = World::with_hosts(2);
    let mut world = world.with_definition(600);
    let unknown = HostId::new(99);
    let start = |hosts| {
        Command::Task(TaskCommand::StartTask(Box::new(StartTask { launch: launch(), hosts })))
    };
    let answer = world.put(start(vec![hosts[0], unknown]));
    let Some(Answer::Tasks { tasks, failures }) = answer else { panic!("{answer:?}") };
    assert_eq!((tasks.len(), failures[0].reason.as_str()), (1, "MISSING"));
    let answer = world.put(start(vec![hosts[0]]));
    let Some(Answer::Tasks { tasks, failures }) = answer else { panic!("{answer:?}") };
    assert_eq!((tasks.len(), failures[0].reason.as_str()), (0, "RESOURCE:MEMORY"));
    assert!(failures[0].detail.contains("400 of the 600 MiB"), "{failures:?}");
}

#[test]
fn deregistering_a_host_with_tasks_needs_force_and_orders_no_stop() {
    let (world, hosts) = World::with_hosts(1);
    let mut world = world.with_definition(100);
    world.run(2);
    world.put(answered(hosts[0], 0, vec![]));
    world.log.clear();
    for force in [false, true] {
        let cluster = "web".parse().unwrap();
        world.put(Command::Host(HostCommand::DeregisterContainerInstance {
            cluster,
            host: hosts[0],
            force,
        }));
    }
    assert_eq!(world.state.tasks_len(), 0);
    assert!(world.state.host(hosts[0]).unwrap().queue.is_empty());
    world.check(expect![[r#"
        rejected: Found running tasks on the instance: 2 have not stopped. Drain the instance first, or deregister it with force.
        TaskStopped InfrastructureHealth The container instance was deregistered by force; its containers are no longer watched.
        TaskStopped InfrastructureHealth The container instance was deregistered by force; its containers are no longer watched.
        HostDeregistered
    "#]]);
}

#[test]
fn a_join_token_works_until_it_is_used_up_expired_or_revoked() {
    let mut world = World::new();
    let token = |id: &str, uses_left, expires_at| JoinToken {
        id: id.to_owned(),
        secret_hash: [id.as_bytes()[0]; 32],
        cluster: None,
        expires_at: Timestamp(expires_at),
        uses_left,
    };
    let join = |id: &str| {
        Command::Token(TokenCommand::UseJoinToken {
            secret_hash: [id.as_bytes()[0]; 32],
            requested_host: None,
            key: None,
        })
    };
    world.put(Command::Token(TokenCommand::CreateJoinToken(token("once", Some(1), 1 << 40))));
    world.put(Command::Token(TokenCommand::CreateJoinToken(token("late", None, 1))));
    world.put(Command::Token(TokenCommand::CreateJoinToken(token("revoked", None, 1 << 40))));
    world.put(Command::Token(TokenCommand::RevokeJoinToken { id: "revoked".to_owned() }));
    world.log.clear();
    for id in ["once", "once", "late", "revoked", "unknown"] {
        world.put(join(id));
    }
    world.check(expect![[r#"
        JoinTokenUsed
        HostJoined
        rejected: This join token has no uses left. Ask for a new one: longshore-coordinator join-token create
        rejected: This join token has expired. Ask for a new one: longshore-coordinator join-token create
        rejected: This join token was revoked. Ask for a new one: longshore-coordinator join-token create
        rejected: This join token is not known to the coordinator. Ask for a new one: longshore-coordinator join-token create
    "#]]);
}

/// Kind, key and value of a checkpoint's row.
type RawRow = (u8, Vec<u8>, Option<Vec<u8>>);

#[test]
fn the_same_commands_give_the_same_events() {
    assert_eq!(busy().log, busy().log);
    assert_eq!(rows(&mut busy().state), rows(&mut busy().state));
}
