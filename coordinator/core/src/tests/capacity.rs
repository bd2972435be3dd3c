//! Capacity providers: tasks are split by a strategy, wait for hosts, and the group follows.

mod growth;

use std::{collections::BTreeMap, time::Duration};

use longshore_common::{clock::Timestamp, protocol::Attribute};

use super::*;
use crate::{
    command::{
        AutoScalingCommand, CapacityProviderCommand, CreateService, ServiceCommand, TagCommand,
    },
    decide::explain,
    model::{
        auto_scaling::{GroupConfig, InstanceId, LaunchSource, LauncherVerb, Lifecycle},
        capacity_provider::{
            CapacityPolicy, CapacityProvider, CapacityProviderStatus, HostMark, LauncherPolicy,
            ManagedScaling, SCALE_IN_AFTER, StrategyItem,
        },
        cluster::ClusterCapacity,
        service::{PropagateTags, ServiceConfig, ServiceRef},
        tagged::Resource,
        task::Wish,
    },
    query::Constraint,
    state::Task,
    test_kit::world::{daemon, replicas},
};

/// Maximum size of the tests' group.
const MAX: u32 = 100;

fn policy() -> CapacityPolicy {
    let launcher = LauncherPolicy {
        boot_deadline: Duration::from_secs(600),
        size: None,
        names_machines: false,
    };
    CapacityPolicy { launchers: [("hosts".to_owned(), launcher)].into(), ..Default::default() }
}

fn scaling() -> ManagedScaling {
    ManagedScaling { enabled: true, ..ManagedScaling::default() }
}

fn provider(name: &str, managed_scaling: ManagedScaling) -> CapacityProvider {
    CapacityProvider {
        name: name.parse().unwrap(),
        group: name.parse().unwrap(),
        managed_scaling,
        termination_protection: false,
        draining: true,
        scale_in_after_ms: None,
        tags: Tags::new(),
        status: CapacityProviderStatus::Active,
        update: None,
    }
}

fn item(provider: &str, base: u32, weight: u32) -> StrategyItem {
    StrategyItem { provider: provider.parse().unwrap(), base, weight, by_launch_type: false }
}

impl World {
    /// A cluster without hosts, and a provider for each of these with a group of the same name.
    fn with_providers(providers: Vec<CapacityProvider>) -> Self {
        let mut world = World::new();
        world.state.set_capacity_policy(policy());
        world.put(create_cluster("web"));
        let mut capacity = ClusterCapacity::default();
        for provider in providers {
            let config = GroupConfig {
                min: 0,
                max: MAX,
                desired: 0,
                cooldown_s: 300,
                grace_s: 0,
                protects_new: provider.termination_protection,
                launch: LaunchSource::Configuration { launcher: "hosts".to_owned() },
                zones: Vec::new(),
                subnets: None,
                tags: Default::default(),
            };
            let name = provider.group.clone();
            world.step(Command::AutoScaling(AutoScalingCommand::CreateAutoScalingGroup {
                name,
                config: Box::new(config),
            }));
            capacity.providers.push(provider.name.clone());
            world.step(Command::CapacityProvider(CapacityProviderCommand::CreateCapacityProvider(
                Box::new(provider),
            )));
        }
        let cluster = "web".parse().unwrap();
        world.step(Command::Cluster(ClusterCommand::PutClusterCapacityProviders {
            cluster,
            capacity,
        }));
        assert!(!world.log.contains("rejected"), "{}", world.log);
        world
    }

    fn run_by(&mut self, strategy: Vec<StrategyItem>, count: u32) -> Vec<TaskId> {
        let Command::Task(TaskCommand::RunTask(mut run)) = run_task(count) else { unreachable!() };
        run.capacity = Some(strategy);
        match self.step(Command::Task(TaskCommand::RunTask(run))) {
            Some(Answer::Tasks { tasks, .. }) => tasks,
            other => panic!("{other:?}: {}", self.log),
        }
    }

    fn desired(&self, group: &str) -> u32 {
        self.state.auto_scaling_group(group).unwrap().config.desired
    }

    fn instances(&self, group: &str, of: impl Fn(Lifecycle) -> bool) -> Vec<InstanceId> {
        let group = self.state.auto_scaling_group(group).unwrap();
        group.instances.values().filter(|i| of(i.lifecycle)).map(|i| i.id).collect()
    }

    /// Every instance that is wanted is launched and registers.
    fn boot(&mut self, group: &str) -> Vec<HostId> {
        let pending = self.instances(group, |l| matches!(l, Lifecycle::Pending { .. }));
        pending.into_iter().map(|id| self.boot_one(id)).collect()
    }

    fn boot_one(&mut self, instance: InstanceId) -> HostId {
        let (verb, result) = (LauncherVerb::Launch, Ok(()));
        self.step(Command::AutoScaling(AutoScalingCommand::LauncherAnswered {
            instance,
            verb,
            result,
        }));
        self.host_comes(Some(instance.to_string()), vec![])
    }

    fn host_comes(&mut self, instance_id: Option<String>, attributes: Vec<Attribute>) -> HostId {
        let register = RegisterContainerInstance {
            cluster: "web".parse().unwrap(),
            host: None,
            capacity: Capacity {
                cpu: CpuUnits(1024),
                memory: MemoryMib(1000),
                ..Capacity::default()
            },
            attributes,
            versions: Versions::default(),
            instance_id,
            tags: Tags::new(),
        };
        let answer =
            self.step(Command::Host(HostCommand::RegisterContainerInstance(Box::new(register))));
        let Some(Answer::Host(host)) = answer else { panic!("{answer:?}") };
        self.step(answered(host, 0, vec![]));
        host
    }

    fn end(&mut self, task: TaskId) {
        let host = self.state.host_at(self.state.task(task).unwrap().host).id;
        let seq = self.at.0;
        let report = report(seq, task, ReportedPhase::Stopped(exited()));
        self.step(answered(host, seq, vec![report]));
    }

    /// Instances that are to go are gone.
    fn all_go(&mut self, group: &str) {
        let going = self.instances(group, |l| matches!(l, Lifecycle::Terminating { .. }));
        assert!(!going.is_empty());
        for instance in going {
            let (verb, result) = (LauncherVerb::Terminate, Ok(()));
            self.step(Command::AutoScaling(AutoScalingCommand::LauncherAnswered {
                instance,
                verb,
                result,
            }));
        }
        assert!(self.instances(group, |_| true).is_empty());
    }

    /// The world as a coordinator finds it that starts on its checkpoint.
    fn restarted(mut self) -> Self {
        let all = rows(&mut self.state);
        let state = restored(&all, self.state.seq());
        let mut again = World { state, entropy: self.entropy, ..World::new() };
        again.state.set_capacity_policy(policy());
        again.at = Timestamp(self.at.0 + 1);
        again.schedule();
        again
    }

    fn later(&mut self, seconds: u64) {
        self.at = Timestamp(self.at.0 + seconds * 1000);
        self.state.wake(self.at);
        self.step(Command::Epoch(EpochCommand::Tick));
    }

    fn groups_of(&self, tasks: &[TaskId]) -> Vec<String> {
        let group = |task: &TaskId| {
            let host = self.state.host_at(self.state.task(*task).unwrap().host);
            host.attribute("longshore.auto-scaling-group").flatten().unwrap_or("none").to_owned()
        };
        tasks.iter().map(group).collect()
    }
}

fn service(name: &str, config: ServiceConfig, capacity: Option<Vec<StrategyItem>>) -> Command {
    Command::Service(ServiceCommand::CreateService(Box::new(CreateService {
        service: ServiceRef { cluster: "web".parse().unwrap(), name: name.parse().unwrap() },
        definition: Some(revision(None)),
        config,
        capacity,
        tags: Tags::new(),
        created_by: String::new(),
        client_token: None,
    })))
}

#[test]
fn from_zero_hosts_exactly_as_many_are_launched_as_the_tasks_fill() {
    let mut world = World::with_providers(vec![provider("p", scaling())]).with_definition(250);
    let mut tasks = Vec::new();
    for _ in 0..4 {
        tasks.extend(world.run_by(vec![item("p", 0, 1)], 10));
    }
    assert_eq!((world.placed(), world.waiting()), (0, 40));
    // Nothing of the group has been seen: the first one tells how large they are.
    assert_eq!(world.desired("p"), 1);
    world.boot("p");
    assert_eq!((world.placed(), world.waiting()), (4, 36));
    assert_eq!(world.desired("p"), 10);
    world.boot("p");
    assert_eq!((world.placed(), world.waiting()), (40, 0));
    assert_eq!(world.desired("p"), 10);
    assert_eq!(world.groups_of(&tasks), vec!["p"; 40]);
    let provider = |task: &TaskId| world.state.task(*task).unwrap().provider.clone();
    assert!(tasks.iter().all(|task| provider(task) == Some("p".parse().unwrap())));

    // The next time the size is known.
    for task in tasks {
        world.end(task);
    }
    world.later(16 * 60);
    for _ in 0..10 {
        world.later(61);
    }
    assert_eq!(world.desired("p"), 0);
    let gone = |l| matches!(l, Lifecycle::Terminating { .. });
    for instance in world.instances("p", gone) {
        let (verb, result) = (LauncherVerb::Terminate, Ok(()));
        world.step(Command::AutoScaling(AutoScalingCommand::LauncherAnswered {
            instance,
            verb,
            result,
        }));
    }
    assert_eq!(world.instances("p", |_| true), []);
    world.run_by(vec![item("p", 0, 1)], 10);
    assert_eq!(world.desired("p"), 3);
}

#[test]
fn tasks_are_split_by_base_and_weight_over_each_providers_hosts() {
    let providers = vec![provider("a", scaling()), provider("b", scaling())];
    let mut world = World::with_providers(providers).with_definition(10);
    let tasks = world.run_by(vec![item("a", 1, 1), item("b", 0, 2)], 10);
    world.boot("a");
    world.boot("b");
    let groups = world.groups_of(&tasks);
    let of = |name: &str| groups.iter().filter(|group| *group == name).count();
    assert_eq!((of("a"), of("b")), (4, 6));
}

#[test]
fn the_clusters_own_strategy_is_for_tasks_that_say_nothing_else() {
    let mut world = World::with_providers(vec![provider("p", scaling())]).with_definition(10);
    let capacity = ClusterCapacity {
        providers: vec!["p".parse().unwrap()],
        default_strategy: vec![item("p", 0, 1)],
    };
    let cluster = || "web".parse().unwrap();
    world.step(Command::Cluster(ClusterCommand::PutClusterCapacityProviders {
        cluster: cluster(),
        capacity,
    }));
    world.step(run_task(1));
    assert_eq!((world.waiting(), world.desired("p")), (1, 1));
    world.log.clear();
    // A launch type means any host, of which there are none.
    let Command::Task(TaskCommand::RunTask(mut run)) = run_task(1) else { unreachable!() };
    run.capacity = Some(Vec::new());
    world.step(Command::Task(TaskCommand::RunTask(run)));
    assert!(world.log.contains("rejected: No Container Instances"), "{}", world.log);
    // A provider that tasks use cannot be taken away from the cluster.
    world.log.clear();
    let none = ClusterCapacity::default();
    world.step(Command::Cluster(ClusterCommand::PutClusterCapacityProviders {
        cluster: cluster(),
        capacity: none,
    }));
    assert!(world.log.starts_with("rejected: "), "{}", world.log);
}

#[test]
fn a_strategy_with_a_provider_that_the_cluster_has_not_is_refused() {
    let mut world = World::with_providers(vec![provider("p", scaling())]).with_definition(10);
    world.log.clear();
    let Command::Task(TaskCommand::RunTask(mut run)) = run_task(1) else { unreachable!() };
    run.capacity = Some(vec![item("other", 0, 1)]);
    world.step(Command::Task(TaskCommand::RunTask(run)));
    assert!(world.log.contains("not associated with the cluster: other"), "{}", world.log);
    assert_eq!(world.waiting(), 0);
}

#[test]
fn without_managed_scaling_what_has_no_room_fails_at_once() {
    let unmanaged = provider("p", ManagedScaling::default());
    let mut world = World::with_providers(vec![unmanaged]).with_definition(400);
    let name = "p".parse().unwrap();
    world.step(Command::AutoScaling(AutoScalingCommand::SetDesiredCapacity {
        name,
        desired: 1,
        honour_cooldown: false,
    }));
    world.boot("p");
    world.add_host();
    let Command::Task(TaskCommand::RunTask(mut run)) = run_task(3) else { unreachable!() };
    run.capacity = Some(vec![item("p", 0, 1)]);
    let token = ClientToken { token: "t".to_owned(), parameters_hash: 1 };
    run.client_token = Some(token);
    let first = world.step(Command::Task(TaskCommand::RunTask(run.clone())));
    let Some(Answer::Tasks { tasks, failures }) = &first else { panic!("{first:?}") };
    assert_eq!((tasks.len(), failures.len()), (2, 1));
    assert_eq!(failures[0].reason, "RESOURCE:MEMORY");
    assert_eq!((world.placed(), world.waiting()), (2, 0));
    assert_eq!(world.groups_of(tasks), ["p", "p"]);
    assert_eq!(world.step(Command::Task(TaskCommand::RunTask(run))), first);
}

#[test]
fn a_services_tasks_are_split_wait_and_have_the_group_grow() {
    let providers = vec![provider("a", scaling()), provider("b", scaling())];
    let mut world = World::with_providers(providers).with_definition(400);
    world.step(Command::Service(ServiceCommand::CreateService(Box::new(CreateService {
        service: ServiceRef { cluster: "web".parse().unwrap(), name: "svc".parse().unwrap() },
        definition: Some(revision(None)),
        config: ServiceConfig { propagate_tags: PropagateTags::None, ..replicas(8) },
        capacity: Some(vec![item("a", 2, 1), item("b", 0, 1)]),
        tags: Tags::new(),
        created_by: String::new(),
        client_token: None,
    }))));
    assert_eq!((world.desired("a"), world.desired("b")), (1, 1));
    while world.placed() < 8 {
        let before = world.placed();
        world.boot("a");
        world.boot("b");
        assert!(world.placed() > before, "{}", world.log);
    }
    let tasks: Vec<TaskId> = world.state.cluster("web").unwrap().tasks.keys().copied().collect();
    let groups = world.groups_of(&tasks);
    let of = |name: &str| groups.iter().filter(|group| *group == name).count();
    assert_eq!((of("a"), of("b")), (5, 3));
    // Two to a host.
    assert_eq!((world.desired("a"), world.desired("b")), (3, 2));
}

#[test]
fn the_operator_chooses_how_soon_a_host_without_tasks_goes() {
    let mut soon = provider("p", scaling());
    soon.scale_in_after_ms = Some(5_000);
    let mut world = World::with_providers(vec![soon]).with_definition(500);
    let tasks = world.run_by(vec![item("p", 0, 1)], 6);
    world.boot("p");
    world.boot("p");
    assert_eq!((world.placed(), world.desired("p")), (6, 3));
    for task in &tasks {
        world.end(*task);
    }
    world.later(4);
    assert_eq!(world.desired("p"), 3);
    // One that comes meanwhile keeps its host, and the clock begins anew.
    world.run_by(vec![item("p", 0, 1)], 1);
    world.later(6);
    assert_eq!(world.desired("p"), 1, "two of three are of no use for long enough");
    // The tag is read when it is set, and when it goes.
    let resource = Resource::CapacityProvider("p".parse().unwrap());
    let after = |world: &World| world.state.capacity_provider("p").unwrap().scale_in_after_ms;
    let tags = Tags::from([(SCALE_IN_AFTER.to_owned(), "90".to_owned())]);
    world.step(Command::Tag(TagCommand::Tag { resource: resource.clone(), tags }));
    assert_eq!(after(&world), Some(90_000));
    world.step(Command::Tag(TagCommand::Untag { resource, keys: vec![SCALE_IN_AFTER.to_owned()] }));
    assert_eq!(after(&world), None);
    assert_eq!(world.state.capacity_provider("p").unwrap().tags, Tags::new());
}

#[test]
fn protection_is_for_hosts_with_tasks_and_ends_with_them() {
    let mut protecting = provider("p", scaling());
    protecting.termination_protection = true;
    protecting.scale_in_after_ms = Some(5_000);
    let mut world = World::with_providers(vec![protecting]).with_definition(900);
    let tasks = world.run_by(vec![item("p", 0, 1)], 2);
    world.boot("p");
    world.boot("p");
    let protected = |world: &World| {
        let group = world.state.auto_scaling_group("p").unwrap();
        group.instances.values().filter(|instance| instance.protected).count()
    };
    assert_eq!((world.placed(), protected(&world)), (2, 2));
    world.end(tasks[0]);
    assert_eq!(protected(&world), 1);
    world.later(6);
    let goes = |l| matches!(l, Lifecycle::Terminating { .. } | Lifecycle::Draining { .. });
    assert_eq!((world.desired("p"), world.instances("p", goes).len()), (1, 1));
    assert!(world.state.task(tasks[1]).is_some());
}

#[test]
fn group_of_protected_instances_above_desired_goes_on_scaling() {
    let soon = CapacityProvider { scale_in_after_ms: Some(5_000), ..provider("p", scaling()) };
    let mut world = World::with_providers(vec![soon]).with_definition(900);
    let tasks = world.run_by(vec![item("p", 0, 1)], 2);
    world.boot("p");
    world.boot("p");
    let in_service = |l| matches!(l, Lifecycle::InService { .. });
    let (name, instances) = ("p".parse().unwrap(), world.instances("p", in_service));
    world.step(Command::AutoScaling(AutoScalingCommand::SetInstanceProtection {
        name,
        instances,
        protected: true,
    }));
    tasks.into_iter().for_each(|task| world.end(task));
    for _ in 0..5 {
        world.later(6);
    }
    // It is to have none and keeps both, whose protection nobody takes away.
    assert_eq!((world.desired("p"), world.instances("p", in_service).len()), (0, 2));
    world.run_by(vec![item("p", 0, 1)], 5);
    let launched = |world: &World| world.instances("p", |l| matches!(l, Lifecycle::Pending { .. }));
    while world.waiting() > 0 {
        assert!(!launched(&world).is_empty(), "{} tasks wait: {}", world.waiting(), world.log);
        world.boot("p");
    }
    assert_eq!((world.desired("p"), world.instances("p", in_service).len()), (5, 5));
}

#[test]
fn protection_ends_with_the_tasks_of_a_group_that_has_too_many_instances() {
    let protecting = CapacityProvider { termination_protection: true, ..provider("p", scaling()) };
    let mut world = World::with_providers(vec![protecting]).with_definition(900);
    let tasks = world.run_by(vec![item("p", 0, 1)], 3);
    while world.waiting() > 0 {
        world.boot("p");
    }
    let (name, desired) = ("p".parse().unwrap(), 1);
    world.step(Command::AutoScaling(AutoScalingCommand::SetDesiredCapacity {
        name,
        desired,
        honour_cooldown: false,
    }));
    let wanted = |l: Lifecycle| l.is_wanted();
    assert_eq!(world.instances("p", wanted).len(), 3, "each has a task and is protected");
    world.end(tasks[0]);
    assert_eq!(world.instances("p", wanted).len(), 2);
    world.end(tasks[1]);
    assert_eq!(world.instances("p", wanted).len(), 1);
    assert!(world.state.task(tasks[2]).is_some_and(|task| task.wish == Wish::Run));
}

#[test]
fn what_takes_a_leaving_tasks_place_goes_by_the_same_provider() {
    for draining in [false, true] {
        let mut world = World::with_marks().with_definition(100);
        for pool in ["FARGATE", "FARGATE", "FARGATE_SPOT"] {
            world.add_marked(pool, "one");
        }
        let strategy = vec![item("FARGATE", 1, 0), item("FARGATE_SPOT", 0, 1)];
        let config = ServiceConfig { propagate_tags: PropagateTags::None, ..replicas(3) };
        world.step(service("svc", config, Some(strategy)));
        for _ in 0..3 {
            world.agents_work();
            world.later(41);
        }
        let by = |world: &World, name: &str| -> Vec<TaskId> {
            let tasks = world.state.cluster("web").unwrap().tasks.values();
            let wanted =
                tasks.map(|slot| world.state.task_at(*slot)).filter(|t| t.wish == Wish::Run);
            let by = |task: &&Task| task.provider.as_ref().unwrap().as_str() == name;
            wanted.filter(by).map(|task| task.id).collect()
        };
        let [base] = by(&world, "FARGATE")[..] else { panic!("{}", world.log) };
        // Its agent does not say yet that it has ended.
        match draining {
            false => world.step(stop(base)),
            true => {
                let host = world.state.host_at(world.state.task(base).unwrap().host).id;
                let (cluster, hosts) = ("web".parse().unwrap(), vec![host]);
                let status = SettableHostStatus::Draining;
                world.step(Command::Host(HostCommand::UpdateContainerInstancesState {
                    cluster,
                    hosts,
                    status,
                }))
            }
        };
        let fresh = by(&world, "FARGATE").into_iter().filter(|task| *task != base).count();
        assert_eq!((fresh, by(&world, "FARGATE_SPOT").len()), (1, 2), "drains: {draining}");
        for _ in 0..3 {
            world.agents_work();
            world.later(41);
        }
        let settled = ["FARGATE", "FARGATE_SPOT"].map(|name| by(&world, name).len());
        assert_eq!(settled, [1, 2], "drains: {draining}");
    }
}

#[test]
fn a_restored_state_goes_on_where_it_was() {
    let mut world = World::with_providers(vec![provider("p", scaling())]).with_definition(400);
    world.run_by(vec![item("p", 0, 1)], 7);
    world.boot("p");
    assert_eq!((world.placed(), world.waiting(), world.desired("p")), (2, 5, 4));
    let mut again = world.restarted();
    assert_eq!((again.placed(), again.waiting(), again.desired("p")), (2, 5, 4));
    again.boot("p");
    assert_eq!((again.placed(), again.waiting(), again.desired("p")), (7, 0, 4));
    let uses = |world: &World| world.state.cluster("web").unwrap().provider_uses.clone();
    assert_eq!(uses(&again), [("p".parse().unwrap(), 7)].into());
}

#[test]
fn a_launcher_that_has_no_more_hosts_does_not_keep_those_that_are_there() {
    let mut soon = provider("p", scaling());
    soon.termination_protection = true;
    soon.scale_in_after_ms = Some(5_000);
    let mut world = World::with_providers(vec![soon]).with_definition(500);
    let tasks = world.run_by(vec![item("p", 0, 1)], 2);
    world.boot("p");
    let more = world.run_by(vec![item("p", 0, 1)], 2);
    let pending = world.instances("p", |l| matches!(l, Lifecycle::Pending { .. }));
    assert_eq!((pending.len(), world.desired("p")), (1, 2));
    let result = Err("there are no more machines".to_owned());
    let verb = LauncherVerb::Launch;
    world.step(Command::AutoScaling(AutoScalingCommand::LauncherAnswered {
        instance: pending[0],
        verb,
        result,
    }));
    for task in tasks {
        world.end(task);
    }
    assert_eq!((world.placed(), world.waiting()), (2, 0));
    world.later(6);
    assert_eq!(world.desired("p"), 1, "nothing waits for the one that does not come");
    for task in more {
        world.end(task);
    }
    world.later(6);
    world.later(6);
    assert_eq!(world.desired("p"), 0);
}

impl World {
    /// A cluster of FARGATE and FARGATE_SPOT, without hosts.
    fn with_marks() -> Self {
        let mut world = World::new();
        let mark =
            |pool: &str| HostMark { attribute: "pool".to_owned(), value: Some(pool.to_owned()) };
        let names = ["FARGATE", "FARGATE_SPOT"];
        let marks = names.map(|name| (name.parse().unwrap(), mark(name)));
        world.state.set_capacity_policy(CapacityPolicy { fargate: marks.into(), ..policy() });
        world.put(create_cluster("web"));
        let providers = names.map(|name| name.parse().unwrap()).to_vec();
        let capacity = ClusterCapacity { providers, ..ClusterCapacity::default() };
        let cluster = "web".parse().unwrap();
        world.step(Command::Cluster(ClusterCommand::PutClusterCapacityProviders {
            cluster,
            capacity,
        }));
        world
    }

    /// A host in a zone, for FARGATE or FARGATE_SPOT.
    fn add_marked(&mut self, pool: &str, zone: &str) {
        let attribute = |name: &str, value: &str| Attribute {
            name: name.to_owned(),
            value: Some(value.to_owned()),
        };
        let attributes = [attribute("pool", pool), attribute("ecs.availability-zone", zone)];
        self.host_comes(None, attributes.into());
    }

    /// What was ordered is done.
    fn agents_work(&mut self) {
        let tasks: Vec<TaskId> = self.state.cluster("web").unwrap().tasks.keys().copied().collect();
        for id in tasks {
            let task = self.state.task(id).unwrap();
            let host = self.state.host_at(task.host).id;
            let phase = match &task.wish {
                Wish::Stop { cause, .. } => ReportedPhase::Stopped(cause.clone()),
                Wish::Run => ReportedPhase::Running,
            };
            // Numbers of reports only ever grow.
            self.entropy += 1 << 64;
            let seq = (self.entropy >> 64) as u64;
            let report = report(seq, id, phase);
            self.step(answered(host, seq, vec![report]));
        }
    }

    /// How many tasks there are in each zone, by capacity provider.
    fn shares(&self) -> BTreeMap<(String, String), u32> {
        let mut shares = BTreeMap::new();
        for id in self.state.cluster("web").unwrap().tasks.keys() {
            let task = self.state.task(*id).unwrap();
            let host = self.state.host_at(task.host);
            let zone = host.attribute("ecs.availability-zone").flatten().unwrap().to_owned();
            let provider = task.provider.as_ref().unwrap().to_string();
            *shares.entry((provider, zone)).or_default() += 1;
        }
        shares
    }
}

#[test]
fn zones_are_balanced_within_each_capacity_provider() {
    let mut world = World::with_marks().with_definition(100);
    world.add_marked("FARGATE", "one");
    world.add_marked("FARGATE_SPOT", "one");
    world.step(Command::Service(ServiceCommand::CreateService(Box::new(CreateService {
        service: ServiceRef { cluster: "web".parse().unwrap(), name: "svc".parse().unwrap() },
        definition: Some(revision(None)),
        config: ServiceConfig {
            propagate_tags: PropagateTags::None,
            az_rebalancing: true,
            ..replicas(6)
        },
        capacity: Some(vec![item("FARGATE", 0, 1), item("FARGATE_SPOT", 0, 1)]),
        tags: Tags::new(),
        created_by: String::new(),
        client_token: None,
    }))));
    let share = |provider: &str, zone: &str, tasks| ((provider.to_owned(), zone.to_owned()), tasks);
    let live = |world: &mut World| {
        for _ in 0..8 {
            world.agents_work();
            world.later(41);
        }
    };
    live(&mut world);
    let alike = [share("FARGATE", "one", 3), share("FARGATE_SPOT", "one", 3)];
    assert_eq!(world.shares(), alike.into(), "{}", world.log);
    world.add_marked("FARGATE_SPOT", "two");
    live(&mut world);
    let evened = [share("FARGATE", "one", 3), share("FARGATE_SPOT", "two", 3)];
    assert_eq!(world.shares(), evened.into(), "{}", world.log);
}

#[test]
fn dry_run_of_a_strategy_tells_each_capacity_providers_share() {
    let mut world = World::with_marks().with_definition(400);
    world.add_marked("FARGATE", "one");
    world.add_marked("FARGATE_SPOT", "one");
    let Command::Task(TaskCommand::RunTask(mut run)) = run_task(8) else { unreachable!() };
    run.capacity = Some(vec![item("FARGATE", 0, 1), item("FARGATE_SPOT", 1, 2)]);
    let foreseen = explain::run_task(&world.state, &run, 1).unwrap();
    let said: Vec<_> = foreseen
        .iter()
        .map(|run| (run.provider.as_ref().unwrap().as_str(), run.asked, run.chosen.len(), run.room))
        .collect();
    assert_eq!(said, [("FARGATE", 3, 2, 2), ("FARGATE_SPOT", 5, 2, 2)]);
    let lacks = &foreseen[1].closest[0].1;
    assert_eq!(lacks[0].reason(), crate::placement::Reason::Memory, "{lacks:?}");
    let Some(Answer::Tasks { tasks, failures }) =
        world.step(Command::Task(TaskCommand::RunTask(run)))
    else {
        panic!("{}", world.log)
    };
    assert_eq!((tasks.len(), failures.len()), (4, 4));
    let happened = [("FARGATE", 2), ("FARGATE_SPOT", 2)];
    let happened = happened.map(|(by, tasks)| ((by.to_owned(), "one".to_owned()), tasks));
    assert_eq!(world.shares(), happened.into());
}
