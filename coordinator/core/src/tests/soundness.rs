//! What holds whatever is asked: what has ended does not change, no event ends the process, and a
//! start gives back the whole state.

use std::collections::BTreeSet;

use longshore_common::{clock::Timestamp, id::HostId, protocol::Attribute};

use crate::{
    Answer, Command, Event, Rejection, State,
    command::{
        AutoScalingCommand, CapacityProviderCommand, CertifyHost, ClusterChange, ClusterCommand,
        CreateTaskSet, EpochCommand, HostCommand, MemberCommand, RegisterContainerInstance,
        RunTask, ServiceCommand, SettableHostStatus, ShownKey, StartTask, TagCommand,
        TargetedAttribute, TaskCommand, TaskLaunch, TaskSetCommand, TokenCommand, UpdateService,
    },
    event::{
        ClusterEvent, DefinitionEvent, HostEvent, MemberEvent, ServiceCreated, ServiceEvent,
        TaskEvent, TasksStarted, TokenEvent,
    },
    model::{
        auto_scaling::GroupChange,
        capacity_provider::CapacityProviderChange,
        client_token::UsedClientToken,
        cluster::ClusterCapacity,
        definition::RevisionRef,
        deployment::DeploymentRef,
        host::HostStatus,
        join_token::JoinToken,
        name::ClusterName,
        service::{DeploymentId, HookAction, HookId, ServiceId, ServiceRef},
        tagged::Resource,
        tags::Tags,
    },
    query::Constraint,
    rejection::MemberRejection,
    test_kit::{
        recorder::Recorder,
        scenario,
        world::{CLUSTER, World, daemon, named, replicas, update_of},
    },
};

fn played() -> World {
    let mut world = scenario::world();
    scenario::play(&mut world, "a");
    world
}

fn tags() -> Tags {
    Tags::from([("longshore:lost-after".to_owned(), "5".to_owned())])
}

fn tagging(resource: Resource) -> [Command; 2] {
    let keys = vec!["team".to_owned()];
    [
        Command::Tag(TagCommand::Tag { resource: resource.clone(), tags: tags() }),
        Command::Tag(TagCommand::Untag { resource, keys }),
    ]
}

fn update_service(service: ServiceRef) -> Command {
    let (desired, force_new_deployment) = (Some(3), true);
    let update = UpdateService { desired, force_new_deployment, ..update_of(service) };
    Command::Service(ServiceCommand::UpdateService(Box::new(update)))
}

fn launch(cluster: &str, family: &str) -> TaskLaunch {
    TaskLaunch {
        cluster: cluster.parse().unwrap(),
        definition: RevisionRef { family: family.parse().unwrap(), revision: Some(1) },
        ..super::launch()
    }
}

fn run(launch: TaskLaunch) -> Command {
    Command::Task(TaskCommand::RunTask(Box::new(RunTask {
        launch,
        count: 1,
        distinct_instance: false,
        member_of: vec![],
        strategies: vec![],
        capacity: None,
        client_token: None,
    })))
}

fn on_an_ended_cluster() -> Vec<Command> {
    let name = || "a-gone".parse().unwrap();
    let service = ServiceRef { cluster: name(), name: "s".parse().unwrap() };
    let change = ClusterChange {
        service_connect_namespace: Some("x".to_owned()),
        ..ClusterChange::default()
    };
    let capacity = ClusterCapacity::default();
    let create = crate::command::CreateService {
        service: service.clone(),
        definition: Some(RevisionRef { family: "app".parse().unwrap(), revision: None }),
        config: replicas(1),
        capacity: None,
        tags: Tags::new(),
        created_by: "root".to_owned(),
        client_token: None,
    };
    let mut commands = vec![
        Command::Cluster(ClusterCommand::UpdateCluster { name: name(), change }),
        Command::Cluster(ClusterCommand::PutClusterCapacityProviders { cluster: name(), capacity }),
        Command::Service(ServiceCommand::CreateService(Box::new(create))),
        Command::Cluster(ClusterCommand::ReplaceLostTasks { cluster: name() }),
        run(launch("a-gone", "app")),
        update_service(service),
    ];
    commands.extend(tagging(Resource::Cluster(name())));
    commands
}

fn on_an_ended_service(name: &str, is_draining: bool) -> Vec<Command> {
    let service = named(name);
    let deployment = DeploymentRef { service: service.clone(), deployment: DeploymentId::new(1) };
    let set = crate::model::service::RevisionId::from_entropy(1);
    let create = CreateTaskSet {
        service: service.clone(),
        definition: RevisionRef { family: "app".parse().unwrap(), revision: None },
        external_id: None,
        scale_permille: 1000,
        tags: Tags::new(),
        client_token: None,
    };
    let mut commands = vec![
        update_service(service.clone()),
        Command::Service(ServiceCommand::StopServiceDeployment {
            deployment: deployment.clone(),
            rollback: true,
        }),
        Command::Service(ServiceCommand::ContinueServiceDeployment {
            deployment,
            hook: HookId::new(1),
            action: HookAction::Continue,
        }),
        Command::TaskSet(TaskSetCommand::CreateTaskSet(Box::new(create))),
        Command::TaskSet(TaskSetCommand::UpdateTaskSet {
            service: service.clone(),
            task_set: set,
            scale_permille: 1,
        }),
        Command::TaskSet(TaskSetCommand::DeleteTaskSet {
            service: service.clone(),
            task_set: set,
            force: true,
        }),
        Command::TaskSet(TaskSetCommand::UpdateServicePrimaryTaskSet {
            service: service.clone(),
            task_set: set,
        }),
    ];
    if !is_draining {
        commands.push(Command::Service(ServiceCommand::DeleteService {
            service: service.clone(),
            force: true,
        }));
        commands.extend(tagging(Resource::Service(service.clone())));
        commands.extend(tagging(Resource::TaskSet { service, task_set: set }));
    }
    commands
}

fn on_an_ended_host(world: &World, host: HostId) -> Vec<Command> {
    let cluster = || CLUSTER.parse().unwrap();
    let registered = world.state.host(host).unwrap();
    let attribute = Attribute { name: "a".to_owned(), value: None };
    let targeted = || vec![TargetedAttribute { host, attribute: attribute.clone() }];
    let register = RegisterContainerInstance {
        cluster: cluster(),
        host: Some(host),
        capacity: registered.capacity.clone(),
        attributes: vec![],
        versions: Default::default(),
        instance_id: None,
        tags: tags(),
    };
    let start = StartTask { launch: launch(CLUSTER, "app"), hosts: vec![host] };
    let mut commands = vec![
        Command::Host(HostCommand::PutAttributes { cluster: cluster(), attributes: targeted() }),
        Command::Host(HostCommand::DeleteAttributes { cluster: cluster(), attributes: targeted() }),
        Command::Host(HostCommand::DeregisterContainerInstance {
            cluster: cluster(),
            host,
            force: true,
        }),
        Command::Host(HostCommand::RegisterContainerInstance(Box::new(register))),
        Command::Task(TaskCommand::StartTask(Box::new(start))),
    ];
    for status in [SettableHostStatus::Active, SettableHostStatus::Draining] {
        let hosts = vec![host];
        commands.push(Command::Host(HostCommand::UpdateContainerInstancesState {
            cluster: cluster(),
            hosts,
            status,
        }));
    }
    commands.extend(tagging(Resource::ContainerInstance { cluster: cluster(), host }));
    commands
}

#[test]
fn commands_on_what_has_ended_change_nothing() {
    let mut world = played();
    let ended = world.state.hosts().find(|host| matches!(host.status, HostStatus::Inactive { .. }));
    let host = ended.unwrap().id;
    let family = "a-inactive".parse().unwrap();
    let definition = Resource::TaskDefinition { family, revision: 1 };
    let provider = || "a-deleted".parse().unwrap();
    let change = CapacityProviderChange { draining: Some(false), ..Default::default() };
    let group = crate::model::auto_scaling::AutoScalingGroupName::clone;
    let deleting = "a-group".parse().unwrap();
    world
        .call(Command::AutoScaling(AutoScalingCommand::DeleteAutoScalingGroup {
            name: group(&deleting),
            force: true,
        }))
        .unwrap();
    assert!(world.state.auto_scaling_group("a-group").unwrap().deleting);
    let resize = GroupChange { max: Some(5), ..GroupChange::default() };
    let mut commands = on_an_ended_cluster();
    commands.extend(on_an_ended_service("a-gone", false));
    commands.extend(on_an_ended_service("a-ends", true));
    commands.extend(on_an_ended_host(&world, host));
    commands.extend(tagging(definition));
    commands.push(run(launch(CLUSTER, "a-inactive")));
    commands.extend(tagging(Resource::CapacityProvider(provider())));
    commands.extend([
        Command::CapacityProvider(CapacityProviderCommand::UpdateCapacityProvider {
            name: provider(),
            change,
        }),
        Command::AutoScaling(AutoScalingCommand::UpdateAutoScalingGroup {
            name: group(&deleting),
            change: Box::new(resize),
        }),
        Command::AutoScaling(AutoScalingCommand::SetDesiredCapacity {
            name: group(&deleting),
            desired: 1,
            honour_cooldown: false,
        }),
        Command::AutoScaling(AutoScalingCommand::DeleteGroupTags(vec![(
            group(&deleting),
            "rack".to_owned(),
        )])),
    ]);
    assert!(commands.len() > 40);
    let before = world.state.picture();
    for command in commands {
        let said = format!("{command:?}");
        match world.call(command) {
            // Lists answer for each of their items.
            Ok(Answer::Hosts { changed, .. }) => assert!(changed.is_empty(), "{said}"),
            Ok(Answer::Tasks { tasks, .. }) => assert!(tasks.is_empty(), "{said}"),
            Ok(answer) => panic!("{said}: {answer:?}"),
            Err(_) => {}
        }
        assert_eq!(before.differences(&world.state.picture()), Vec::<String>::new(), "{said}");
    }
}

/// SplitMix64.
fn draw(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Worse than any bug of `decide` can be: events left out, repeated and out of their order.
#[test]
fn no_order_of_events_ends_the_process() {
    let events: Vec<Event> = played().events;
    assert!(events.len() > 300, "{}", events.len());
    for seed in 0..40u64 {
        let mut chance = seed;
        let mut state = State::default();
        let mut seq = 0;
        for (index, event) in events.iter().enumerate() {
            let event = match draw(&mut chance) % 10 {
                0 => continue,
                1 => &events[draw(&mut chance) as usize % events.len()],
                2 => &events[index.saturating_sub(draw(&mut chance) as usize % 20)],
                _ => event,
            };
            seq += 1;
            state.apply(event, seq);
            state.set_seq(seq);
            if seq.is_multiple_of(50) {
                state.wake(Timestamp(u64::MAX / 2));
                while state.take_due().is_some() {}
            }
        }
        let rebuilt = state.check();
        let derived = [
            "running_tasks",
            "provider_uses",
            "own_tasks",
            "registered_hosts",
            "silent",
            "service_tokens",
        ];
        let wrong = rebuilt.iter().find(|said| derived.iter().any(|name| said.contains(name)));
        assert_eq!(wrong, None, "seed {seed}");
    }
}

#[test]
fn a_start_gives_back_the_whole_state_of_a_fleet_with_everything() {
    let mut world = scenario::world();
    world.record(Recorder::default());
    for prefix in ["a", "b"] {
        scenario::play(&mut world, prefix);
        assert_eq!(world.faults(), Vec::<String>::new());
    }
}

#[test]
fn start_knows_the_service_that_a_token_made_last() {
    let mut world = World::new();
    // The later service has the lower id, whose row is restored first.
    let hour = 3_600_000;
    for (id, name, at) in [(9, "first", Timestamp(hour)), (3, "second", Timestamp(30 * hour))] {
        let created = ServiceCreated {
            service: ServiceId::new(id),
            named: named(name),
            config: replicas(0),
            tags: Tags::new(),
            created_by: "root".to_owned(),
            client_token: Some(("token".to_owned(), 1)),
            at,
        };
        let seq = world.state.seq() + 1;
        world.state.apply(&Event::Service(ServiceEvent::ServiceCreated(Box::new(created))), seq);
        world.state.set_seq(seq);
    }
    let cluster = CLUSTER.parse().unwrap();
    let known = world.state.service_of_token(&cluster, "token", Timestamp(31 * hour));
    assert_eq!(known.unwrap().name.as_str(), "second");
    drop(world.state.take_changes());
    assert_eq!(world.state.check(), Vec::<String>::new());
}

#[test]
fn agent_that_takes_a_host_over_is_silent_until_heard() {
    let mut world = World::new();
    let register = RegisterContainerInstance {
        cluster: CLUSTER.parse().unwrap(),
        host: None,
        capacity: world.registration("a", None).capacity,
        attributes: vec![],
        versions: Default::default(),
        instance_id: None,
        tags: tags(),
    };
    let registered =
        world.call(Command::Host(HostCommand::RegisterContainerInstance(Box::new(register))));
    let Ok(Answer::Host(host)) = registered else { panic!("{registered:?}") };
    let silent = |world: &World| world.state.cluster(CLUSTER).unwrap().silent.len();
    assert_eq!(silent(&world), 0, "nobody is to be heard there");
    world.pass(60.0);
    let join = Command::Token(TokenCommand::UseJoinToken {
        secret_hash: [1; 32],
        requested_host: Some(host),
        key: None,
    });
    world.call(join).unwrap();
    let request = Box::new(world.registration("a", None));
    world.call(Command::Host(HostCommand::RegisterHost { host, request })).unwrap();
    assert_eq!(silent(&world), 1);
    let since = world.state.silent_since(world.state.host(host).unwrap());
    assert_eq!(since, Some(world.at), "the silence counts from the agent's registration");
    assert_eq!(world.state.check(), Vec::<String>::new());
    world.heal(host);
    assert_eq!(silent(&world), 0);
}

/// Number of the scheduler's looks that one call costs in a cluster with `services` services and
/// `hosts` hosts. A third of the services are daemons that belong on one host.
fn looks(services: u32, hosts: usize, call: impl Fn(&mut World)) -> u64 {
    let mut world = World::with_hosts(hosts);
    let first = world.hosts[0];
    put_attribute(&mut world, first, "first");
    for number in 0..services {
        let mut config = replicas(1);
        config.az_rebalancing = true;
        if number % 3 == 0 {
            config = daemon();
            config.member_of = vec![Constraint::parse("attribute:first exists").unwrap()];
        }
        world.create_named(&format!("s{number}"), "app", config);
    }
    world.agents_work();
    world.pass_step_by_step(60.0);
    world.agents_work();
    let before = world.looked;
    call(&mut world);
    world.looked - before
}

fn put_attribute(world: &mut World, host: HostId, name: &str) {
    let attribute = Attribute { name: name.to_owned(), value: None };
    let attributes = vec![TargetedAttribute { host, attribute }];
    let cluster = CLUSTER.parse().unwrap();
    world.call(Command::Host(HostCommand::PutAttributes { cluster, attributes })).unwrap();
}

#[test]
fn looks_of_a_call_do_not_grow_with_the_cluster() {
    type Call = (&'static str, fn(&mut World));
    let calls: [Call; 11] = [
        ("a host without tasks drains", |world| {
            let host = *world.hosts.last().unwrap();
            world.set_status(host, SettableHostStatus::Draining);
        }),
        ("a host without tasks is deregistered", |world| {
            let host = *world.hosts.last().unwrap();
            world.deregister(host);
        }),
        ("a host gets an attribute", |world| {
            let host = *world.hosts.last().unwrap();
            put_attribute(world, host, "disk");
        }),
        ("the cluster's options change", |world| {
            let resource = Resource::Cluster(CLUSTER.parse().unwrap());
            world.call(Command::Tag(TagCommand::Tag { resource, tags: tags() })).unwrap();
        }),
        ("replacing is paused and goes on", |world| {
            let (cluster, at): (ClusterName, _) = (CLUSTER.parse().unwrap(), world.at);
            let paused = Event::Cluster(ClusterEvent::ReplacingPaused {
                cluster: cluster.clone(),
                lost_hosts: 3,
                hosts: 4,
                at,
            });
            let resumed =
                Event::Cluster(ClusterEvent::ReplacingResumed { cluster, overridden: true, at });
            for event in [paused, resumed] {
                world.state.apply(&event, world.state.seq());
            }
            world.call(Command::Epoch(EpochCommand::Tick)).unwrap();
        }),
        ("a host without tasks is silent", |world| {
            let host = *world.hosts.last().unwrap();
            world.cut(host);
        }),
        ("a host without tasks is back", |world| {
            let host = *world.hosts.last().unwrap();
            world.cut(host);
            world.heal(host);
        }),
        ("a host joins", |world| {
            world.add_host();
        }),
        ("a task ends", |world| {
            let task = world.running()[0];
            world.exits(task);
        }),
        ("a service is made", |world| world.create_named("new", "app", replicas(1))),
        ("a cluster is updated", |world| {
            let name = CLUSTER.parse().unwrap();
            let settings = [("containerInsights".to_owned(), "enabled".to_owned())];
            let change = ClusterChange { settings: Some(settings.into()), ..Default::default() };
            world.call(Command::Cluster(ClusterCommand::UpdateCluster { name, change })).unwrap();
        }),
    ];
    for (what, call) in calls {
        // Where there are more hosts than services, the last ones have no task.
        let few = looks(96, 130, call);
        let many = looks(240, 300, call);
        assert!(many <= few, "{what}: {few} looks became {many}");
    }
}

/// What one event expires or forgets.
fn expires(event: &Event) -> usize {
    match event {
        Event::Token(TokenEvent::ClientTokensExpired { tokens }) => tokens.len(),
        Event::Token(TokenEvent::JoinTokensExpired { ids }) => ids.len(),
        Event::Member(MemberEvent::MembersForgotten { hosts }) => hosts.len(),
        Event::Cluster(ClusterEvent::ClusterForgotten { .. })
        | Event::Host(HostEvent::HostForgotten { .. }) => 1,
        Event::Definition(DefinitionEvent::TaskDefinitionDeleted { .. }) => 1,
        _ => 0,
    }
}

#[test]
fn tick_expires_a_bounded_number_of_whatever_there_is() {
    /// Number of entities of each kind.
    const OF_EACH: u32 = 700;
    let mut world = World::new();
    let at = world.at;
    for number in 0..OF_EACH {
        let name: ClusterName = format!("c{number}").parse().unwrap();
        let (settings, tags) = Default::default();
        world
            .call(Command::Cluster(ClusterCommand::CreateCluster {
                name: name.clone(),
                settings,
                tags,
            }))
            .unwrap();
        world.call(Command::Cluster(ClusterCommand::DeleteCluster { name })).unwrap();
        let mut secret_hash = [0; 32];
        secret_hash[..4].copy_from_slice(&number.to_be_bytes());
        let token = JoinToken {
            id: format!("t{number}"),
            secret_hash,
            cluster: None,
            expires_at: at,
            uses_left: None,
        };
        world.call(Command::Token(TokenCommand::CreateJoinToken(token))).unwrap();
        let client_token = UsedClientToken {
            token: format!("{number:064}"),
            parameters_hash: 0,
            failures: Vec::new(),
            others: Vec::new(),
        };
        let started = TasksStarted {
            cluster: CLUSTER.parse().unwrap(),
            family: "app".parse().unwrap(),
            revision: 1,
            group: "g".to_owned(),
            started_by: None,
            overrides: Default::default(),
            demand: Default::default(),
            tags: Tags::new(),
            tasks: Vec::new(),
            client_token: Some(client_token),
            service: None,
            timeout_ms: None,
            waited: None,
            provider: None,
            asked: None,
            log_driver_mode: None,
            attachments: Vec::new(),
            at,
        };
        world
            .state
            .apply(&Event::Task(TaskEvent::TasksStarted(Box::new(started))), world.state.seq());
    }
    world.at = Timestamp(at.0 + 49 * 3_600_000);
    let mut gone = 0;
    for _ in 0..4 {
        world.call(Command::Epoch(EpochCommand::Tick)).unwrap();
        let expired: usize = world.recent.iter().map(expires).sum();
        assert!(expired <= 1_000, "{expired}");
        gone += expired;
    }
    assert_eq!(gone, 3 * OF_EACH as usize);
}

#[test]
fn what_a_service_said_is_bounded() {
    let mut world = World::with_hosts(1);
    world.create(replicas(1));
    for _ in 0..400 {
        world.starts_fail();
        world.pass(900.0);
    }
    assert!(world.said.iter().collect::<BTreeSet<_>>().len() > 200, "{}", world.said.len());
    assert!(world.service().said.len() <= 100, "{}", world.service().said.len());
}

#[test]
fn an_agent_that_left_long_ago_is_forgotten() {
    for recovers in [false, true] {
        agent_is_forgotten(recovers);
    }
}

/// Checks that an agent is forgotten; `recovers` makes it a fleet that once recovered, whose
/// journal does not know every host that has a certificate.
fn agent_is_forgotten(recovers: bool) {
    let mut world = World::with_hosts(3);
    if recovers {
        world
            .call(Command::Epoch(EpochCommand::Recover { beyond: 9, incarnation: 3, proved: None }))
            .unwrap();
    }
    let (cluster, host, force) = (CLUSTER.parse().unwrap(), world.hosts[0], true);
    world
        .call(Command::Host(HostCommand::DeregisterContainerInstance { cluster, host, force }))
        .unwrap();
    // It never registers.
    let join = Command::Token(TokenCommand::UseJoinToken {
        secret_hash: [1; 32],
        requested_host: None,
        key: None,
    });
    let Answer::Host(never) = world.call(join).unwrap() else { panic!() };
    world.pass(40.0 * 3600.0);
    assert!(world.state.membership(host).is_some_and(|member| member.revoked));
    assert!(world.state.membership(never).is_some());
    world.pass(10.0 * 3600.0);
    assert!(world.state.membership(host).is_none());
    assert!(world.state.membership(never).is_none());
    assert!(world.state.membership(world.hosts[1]).is_some());
    // The forgotten host's identity is refused from now on, whatever token comes with it: what the
    // host has seen would look as if the journal had gone back.
    let (by, secret_hash) = (Some(ShownKey { key: [9; 32], ended: true }), Some([1; 32]));
    let certify = CertifyHost { host, key: [8; 32], by, secret_hash, run: None };
    let refused =
        world.call(Command::Member(MemberCommand::CertifyHost(Box::new(certify)))).unwrap_err();
    assert_eq!(refused, Rejection::Member(MemberRejection::HostUnknown(host)));
}
