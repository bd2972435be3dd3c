//! A fleet with something of everything, played twice under two prefixes.

mod attachments;
mod groups;
mod services;

use std::{collections::BTreeMap, time::Duration};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    protocol::{
        Attribute, ContainerId, EngineHealth, RegisterRequest, Report, ReportBody, ReportPosition,
        ReportedPhase, RunIntent, RunOrder, Seen, StorageHealth, Versions,
    },
    resources::{Capacity, CpuUnits, HostPort, MemoryMib, Transport},
    task::TaskOverride,
    task_definition::{
        ContainerDefinition, PortMapping, ResourceRequirement, ResourceType, TaskDefinition,
        TaskSpec,
    },
};

use crate::{
    Answer, Command,
    command::{
        AgentAnswered, AlarmCommand, AutoScalingCommand, CapacityProviderCommand, CertifyHost,
        ClientToken, ClusterChange, ClusterCommand, DefinitionCommand, EpochCommand, HostCommand,
        LogGroupCommand, MemberCommand, RegisterContainerInstance, RegisterTaskDefinition, RunTask,
        ServiceCommand, SettableHostStatus, SettingCommand, TagCommand, TargetedAttribute,
        TaskCommand, TaskLaunch, TokenCommand,
    },
    model::{
        alarm::AlarmValue,
        capacity_provider::{CapacityPolicy, LauncherPolicy},
        cluster::ClusterSettings,
        definition::RevisionRef,
        join_token::JoinToken,
        setting::SettingScope,
        tagged::Resource,
        tags::Tags,
        task_options::TaskOptions,
    },
    placement::{AVAILABILITY_ZONE, Resource as PlacedBy, Strategy},
    query::Constraint,
    test_kit::world::{CLUSTER, World, create, named, replicas},
};

/// What the operator's settings say while the journals are written and read.
pub fn policy() -> CapacityPolicy {
    let launcher = LauncherPolicy {
        boot_deadline: Duration::from_secs(600),
        size: Some(capacity(1000, 1000, &[])),
        names_machines: false,
    };
    CapacityPolicy {
        launchers: BTreeMap::from([("rack".to_owned(), launcher)]),
        fargate: BTreeMap::new(),
    }
}

pub fn world() -> World {
    let mut world = World::new();
    world.state.set_capacity_policy(policy());
    world
}

/// Everything happens once; most of what it leads to stays.
pub fn play(world: &mut World, prefix: &'static str) {
    let mut scene = Scene { world, prefix };
    scene.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 4 }));
    scene.what_is_forgotten();
    scene.register();
    let hosts = scene.hosts();
    scene.half_of_the_hosts_are_lost();
    scene.recover(hosts[0]);
    scene.tasks(hosts[0]);
    scene.attachments(hosts[0]);
    scene.services();
    scene.scaled_group();
    scene.tags(hosts[1]);
    scene.hosts_in_every_status(&hosts);
}

struct Scene<'a> {
    world: &'a mut World,
    prefix: &'static str,
}

fn capacity(cpu: u32, memory: u32, gpus: &[&str]) -> Capacity {
    Capacity {
        cpu: CpuUnits(cpu),
        memory: MemoryMib(memory),
        reserved_ports: Box::new([HostPort { port: 22, transport: Transport::Tcp }]),
        gpus: gpus.iter().map(|gpu| (*gpu).to_owned()).collect(),
    }
}

fn tag(key: &str, value: &str) -> Tags {
    Tags::from([(key.to_owned(), value.to_owned())])
}

impl Scene<'_> {
    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn call(&mut self, command: Command) -> Answer {
        let said = format!("{command:?}");
        self.world.call(command).unwrap_or_else(|refused| panic!("{said}: {refused}"))
    }

    fn create_cluster(&mut self, name: &str) {
        let settings = ClusterSettings {
            settings: BTreeMap::from([("containerInsights".to_owned(), "disabled".to_owned())]),
            service_connect_namespace: Some("arn:namespace".to_owned()),
            ..ClusterSettings::default()
        };
        let name = self.name(name).parse().unwrap();
        self.call(Command::Cluster(ClusterCommand::CreateCluster {
            name,
            settings,
            tags: tag("team", "a"),
        }));
    }

    fn delete_cluster(&mut self, name: &str) {
        let name = self.name(name).parse().unwrap();
        self.call(Command::Cluster(ClusterCommand::DeleteCluster { name }));
    }

    fn token(&mut self, name: &str, secret: u8, lasts_ms: u64) {
        self.call(Command::Token(TokenCommand::CreateJoinToken(JoinToken {
            id: self.name(name),
            secret_hash: [secret; 32],
            cluster: Some(CLUSTER.parse().unwrap()),
            expires_at: Timestamp(self.world.at.0 + lasts_ms),
            uses_left: Some(9),
        })));
    }

    fn define(&mut self, family: &str, memory: u32) {
        let needs = Attribute { name: "docker".to_owned(), value: None };
        let gpu = ResourceRequirement {
            kind: ResourceType::Gpu,
            value: Some("1".to_owned()),
            sharing_strategy: None,
        };
        let container = ContainerDefinition {
            name: "main".to_owned(),
            image: Some("busybox:1".to_owned()),
            memory: Some(memory),
            cpu: 10,
            port_mappings: vec![PortMapping {
                container_port: Some(80),
                host_port: Some(0),
                ..PortMapping::default()
            }],
            resource_requirements: Vec::from_iter((family == "gpu").then_some(gpu)),
            ..ContainerDefinition::default()
        };
        self.call(Command::Definition(DefinitionCommand::RegisterTaskDefinition(Box::new(
            RegisterTaskDefinition {
                family: self.name(family).parse().unwrap(),
                spec: TaskSpec { container_definitions: vec![container], ..TaskSpec::default() },
                requires_attributes: Vec::from_iter((family == "huge").then_some(needs)),
                compatibilities: vec![],
                registered_by: "arn:aws:iam::0:root".to_owned(),
                tags: tag("family", family),
            },
        ))));
    }

    fn revision(&self, family: &str) -> RevisionRef {
        RevisionRef { family: self.name(family).parse().unwrap(), revision: None }
    }

    fn launch(&self, family: &str) -> RunTask {
        RunTask {
            launch: TaskLaunch {
                cluster: CLUSTER.parse().unwrap(),
                definition: self.revision(family),
                overrides: TaskOverride { cpu: Some("20".to_owned()), ..TaskOverride::default() },
                group: Some(self.name("batch")),
                started_by: Some("golden".to_owned()),
                tags: tag("run", self.prefix),
                options: TaskOptions::default(),
                propagate_tags: true,
                managed_tags: true,
            },
            count: 1,
            distinct_instance: false,
            member_of: vec![Constraint::parse("not(attribute:rack exists)").unwrap()],
            strategies: vec![Strategy::Binpack(PlacedBy::Memory)],
            capacity: Some(Vec::new()),
            client_token: None,
        }
    }

    fn run(&mut self, run: RunTask) -> Vec<TaskId> {
        match self.call(Command::Task(TaskCommand::RunTask(Box::new(run)))) {
            Answer::Tasks { tasks, .. } => tasks,
            other => panic!("{other:?}"),
        }
    }

    /// What is gone by the end, days later.
    fn what_is_forgotten(&mut self) {
        self.create_cluster("old");
        self.delete_cluster("old");
        self.define("old", 10);
        self.define("dropped", 10);
        let host = self.world.add_host();
        let mut run = self.launch("old");
        let token = self.name("old");
        run.client_token = Some(ClientToken { token, parameters_hash: 1 });
        self.run(run);
        self.world.agents_work();
        let (cluster, force) = (CLUSTER.parse().unwrap(), true);
        self.call(Command::Host(HostCommand::DeregisterContainerInstance { cluster, host, force }));
        self.world.hosts.retain(|known| *known != host);
        let revision = RevisionRef { revision: Some(1), ..self.revision("dropped") };
        self.call(Command::Definition(DefinitionCommand::DeregisterTaskDefinition(
            revision.clone(),
        )));
        self.call(Command::Definition(DefinitionCommand::DeleteTaskDefinitions(vec![revision])));
        self.external("old");
        let service = named(&self.name("old"));
        self.call(Command::Service(ServiceCommand::DeleteService { service, force: true }));
        self.group("old", 0);
        self.provider("old", "old", false);
        let name = self.name("old").parse().unwrap();
        self.call(Command::CapacityProvider(CapacityProviderCommand::DeleteCapacityProvider {
            name,
        }));
        let name = self.name("old").parse().unwrap();
        self.call(Command::AutoScaling(AutoScalingCommand::DeleteAutoScalingGroup {
            name,
            force: false,
        }));
        self.token("old", 7, 1000);
        let name: crate::model::log_group::LogGroupName = self.name("old").parse().unwrap();
        self.call(Command::LogGroup(LogGroupCommand::CreateLogGroup {
            name: name.clone(),
            tags: Tags::new(),
        }));
        self.call(Command::LogGroup(LogGroupCommand::DeleteLogGroup { name }));
        let alarm = self.name("old");
        self.world.put_alarm(&alarm);
        self.call(Command::Alarm(AlarmCommand::DeleteAlarms {
            names: vec![alarm.parse().unwrap()],
        }));
        let (principal, name) = (self.name("old"), "taskLongArnFormat".to_owned());
        let scope = SettingScope::Principal(principal.clone());
        let value = "enabled".to_owned();
        self.call(Command::Setting(SettingCommand::PutAccountSetting {
            scope,
            name: name.clone(),
            value,
        }));
        self.call(Command::Setting(SettingCommand::DeleteAccountSetting { principal, name }));
        self.world.pass(8.0 * 24.0 * 3600.0);
    }

    fn register(&mut self) {
        self.create_cluster("idle");
        self.create_cluster("gone");
        self.delete_cluster("gone");
        let (name, change) = (
            self.name("idle").parse().unwrap(),
            ClusterChange {
                configuration: Some(serde_json::json!({ "executeCommandConfiguration": {} })),
                ..ClusterChange::default()
            },
        );
        self.call(Command::Cluster(ClusterCommand::UpdateCluster { name, change }));
        self.define("small", 10);
        self.define("small", 20);
        self.define("huge", 900_000);
        self.define("large", 600);
        self.define("gpu", 10);
        self.define("inactive", 10);
        let inactive = RevisionRef { revision: Some(1), ..self.revision("inactive") };
        self.call(Command::Definition(DefinitionCommand::DeregisterTaskDefinition(inactive)));
        let name: crate::model::log_group::LogGroupName = self.name("logs").parse().unwrap();
        self.call(Command::LogGroup(LogGroupCommand::CreateLogGroup {
            name: name.clone(),
            tags: Tags::new(),
        }));
        self.call(Command::LogGroup(LogGroupCommand::PutLogRetention { name, days: Some(7) }));
        for alarm in ["alarm", "quiet"] {
            let alarm = self.name(alarm);
            self.world.put_alarm(&alarm);
            self.world.put_alarm(&alarm);
            self.world.set_alarm(&alarm, AlarmValue::Ok);
        }
        for scope in [SettingScope::Default, SettingScope::Principal(self.name("someone"))] {
            let (name, value) = (self.name("setting"), "enabled".to_owned());
            self.call(Command::Setting(SettingCommand::PutAccountSetting { scope, name, value }));
        }
        self.token("good", self.prefix.as_bytes()[0], 1 << 40);
        self.token("revoked", 8, 1 << 40);
        let id = self.name("revoked");
        self.call(Command::Token(TokenCommand::RevokeJoinToken { id }));
    }

    /// One by the API with GPUs, three of agents.
    fn hosts(&mut self) -> Vec<HostId> {
        let register = RegisterContainerInstance {
            cluster: CLUSTER.parse().unwrap(),
            host: None,
            capacity: capacity(2000, 2000, &["gpu-0", "gpu-1"]),
            attributes: vec![Attribute {
                name: AVAILABILITY_ZONE.to_owned(),
                value: Some("d".to_owned()),
            }],
            versions: Versions { agent: "1.0.0".to_owned(), ..Versions::default() },
            instance_id: None,
            tags: tag("host", self.prefix),
        };
        let registered =
            self.call(Command::Host(HostCommand::RegisterContainerInstance(Box::new(register))));
        let Answer::Host(first) = registered else { panic!("{registered:?}") };
        let secret_hash = [self.prefix.as_bytes()[0]; 32];
        self.call(Command::Token(TokenCommand::UseJoinToken {
            secret_hash,
            requested_host: Some(first),
            key: None,
        }));
        let request = RegisterRequest {
            protocol: 1,
            cluster: CLUSTER.to_owned(),
            capacity: capacity(2000, 2000, &["gpu-0", "gpu-1"]),
            attributes: vec![Attribute {
                name: AVAILABILITY_ZONE.to_owned(),
                value: Some("d".to_owned()),
            }],
            tags: vec![("agent".to_owned(), self.prefix.to_owned())],
            versions: Versions { agent: "1.0.1".to_owned(), ..Versions::default() },
            poll_address: "10.0.0.9:51680".to_owned(),
            advertise: "10.0.0.9".to_owned(),
            instance_id: Some("i-09".to_owned()),
            boot_id: "boot".to_owned(),
            run: None,
        };
        self.call(Command::Host(HostCommand::RegisterHost {
            host: first,
            request: Box::new(request),
        }));
        let (key, by, secret_hash, run) = ([7; 32], None, None, None);
        let certify = CertifyHost { host: first, key, by, secret_hash, run };
        self.call(Command::Member(MemberCommand::CertifyHost(Box::new(certify))));
        self.world.answer(first, Vec::new());
        self.world.hosts.push(first);
        let mut hosts = vec![first];
        hosts.extend((0..3).map(|_| self.world.add_host()));
        let put = |name: &str, value: Option<&str>| TargetedAttribute {
            host: first,
            attribute: Attribute { name: name.to_owned(), value: value.map(str::to_owned) },
        };
        let cluster: crate::model::name::ClusterName = CLUSTER.parse().unwrap();
        let attributes = vec![put("disk", Some("ssd")), put("passing", None)];
        self.call(Command::Host(HostCommand::PutAttributes {
            cluster: cluster.clone(),
            attributes,
        }));
        let attributes = vec![put("passing", None)];
        self.call(Command::Host(HostCommand::DeleteAttributes { cluster, attributes }));
        hosts
    }

    /// Hosts are lost and replaced by the operator's word, and return.
    fn half_of_the_hosts_are_lost(&mut self) {
        let name = self.name("lost");
        self.call(create(&name, "app", replicas(4)));
        self.world.agents_work();
        self.world.pass_step_by_step(41.0);
        let hosts = self.world.hosts.clone();
        hosts.iter().for_each(|host| self.world.cut(*host));
        self.world.pass_step_by_step(60.0);
        self.call(Command::Cluster(ClusterCommand::ReplaceLostTasks {
            cluster: CLUSTER.parse().unwrap(),
        }));
        hosts.iter().for_each(|host| self.world.heal(*host));
        self.world.agents_work();
        self.world.pass_step_by_step(100.0);
    }

    fn recover(&mut self, host: HostId) {
        let provisioning = self.attached(host);
        self.call(Command::Epoch(EpochCommand::Recover {
            beyond: 3,
            incarnation: 5,
            proved: None,
        }));
        let order = self.world.state.host(host).unwrap().last_order;
        self.call(Command::Epoch(EpochCommand::SkipLostOrders { host, to: order + 10 }));
        self.world.pass_step_by_step(91.0);
        let family = self.name("adopted");
        let definition =
            TaskDefinition { family: family.clone(), revision: 3, spec: TaskSpec::default() };
        let unknown = TaskId::new(u128::from(self.prefix.as_bytes()[0]));
        let run = RunIntent {
            definition,
            order: RunOrder {
                definition: 0,
                cluster: CLUSTER.to_owned(),
                task_arn: String::new(),
                overrides: TaskOverride::default(),
                group: format!("family:{family}"),
                started_by: Some("before".to_owned()),
                created_at: Timestamp(5),
                container_ids: vec![ContainerId(TaskId::new(6))],
                gpus: Vec::new(),
                image_digests: Vec::new(),
                log_driver_mode: None,
            },
        };
        let ended = TaskId::new(1000 + u128::from(self.prefix.as_bytes()[0]));
        let candidate = |seq, task, run| Report {
            seq,
            body: ReportBody::StopCandidate { task, generation: 1, run },
        };
        let said = AgentAnswered {
            host,
            seen: None,
            position: ReportPosition { session: 70, seq: 3 },
            reports: vec![
                candidate(1, unknown, Some(Box::new(run.clone()))),
                candidate(2, ended, None),
                candidate(3, provisioning, Some(Box::new(run))),
            ],
            ended_candidates: vec![ended],
            images: None,
            engine: EngineHealth::Answers,
            storage: StorageHealth::Full,
            leaving: false,
            looked: true,
        };
        let has_room = AgentAnswered { storage: StorageHealth::Ready, ..said.clone() };
        self.call(Command::Host(HostCommand::AgentAnswered(Box::new(said))));
        let seen = |state: &crate::State| {
            let order = state.host(host).unwrap().last_order;
            Some(Seen { epoch: state.epoch(), order })
        };
        let told_all = AgentAnswered { seen: seen(&self.world.state), ..has_room.clone() };
        self.call(Command::Host(HostCommand::AgentAnswered(Box::new(has_room))));
        self.call(Command::Host(HostCommand::AgentAnswered(Box::new(told_all))));
    }

    /// Waiting, pending, running, about to stop, stopped.
    fn tasks(&mut self, host: HostId) {
        let mut run = self.launch("small");
        run.count = 4;
        let token = self.name("token");
        run.client_token = Some(ClientToken { token, parameters_hash: 7 });
        run.launch.options.timeout_ms = Some(90_000_000);
        let tasks = self.run(run);
        self.world.agents_work();
        self.world.exits(tasks[0]);
        let (cluster, reason) = (CLUSTER.parse().unwrap(), Some("enough".to_owned()));
        self.call(Command::Task(TaskCommand::StopTask { cluster, task: tasks[1], reason }));
        let gpu = self.launch("gpu");
        self.run(gpu);
        let mut late = self.launch("small");
        late.launch.options.wait_ms = Some(1000);
        self.run(late);
        for wait_ms in [2_000, 600_000_000] {
            let mut waiting = self.launch("huge");
            waiting.launch.options.wait_ms = Some(wait_ms);
            waiting.count = 2;
            self.run(waiting);
        }
        self.world.pass(3.0);
        let resource = Resource::Task { cluster: CLUSTER.parse().unwrap(), task: tasks[2] };
        let tags = tag("longshore:timeout", "5000");
        self.call(Command::Tag(TagCommand::Tag { resource, tags }));
        self.world.holds_image(host, "busybox:1");
    }

    fn tags(&mut self, host: HostId) {
        let cluster: crate::model::name::ClusterName = self.name("idle").parse().unwrap();
        let resources = [
            (Resource::Cluster(cluster), "longshore:lost-after", "20"),
            (Resource::Service(named(&self.name("rolling"))), "longshore:healthy-after", "5"),
            (
                Resource::CapacityProvider(self.name("provider").parse().unwrap()),
                "longshore:scale-in-after",
                "60",
            ),
            (
                Resource::TaskDefinition {
                    family: self.name("small").parse().unwrap(),
                    revision: 1,
                },
                "a",
                "b",
            ),
            (Resource::ContainerInstance { cluster: CLUSTER.parse().unwrap(), host }, "a", "b"),
        ];
        for (resource, key, value) in resources {
            let mut tags = tag(key, value);
            tags.insert("passing".to_owned(), "x".to_owned());
            let keys = vec!["passing".to_owned()];
            let tagged = Command::Tag(TagCommand::Tag { resource: resource.clone(), tags });
            match key.starts_with("longshore:") {
                true => {
                    self.call(Command::Tag(TagCommand::Tag {
                        resource: resource.clone(),
                        tags: tag(key, value),
                    }));
                    self.call(Command::Tag(TagCommand::Tag {
                        resource: resource.clone(),
                        tags: tag("passing", "x"),
                    }));
                }
                false => {
                    self.call(tagged);
                }
            }
            self.call(Command::Tag(TagCommand::Untag { resource, keys }));
        }
    }

    fn hosts_in_every_status(&mut self, hosts: &[HostId]) {
        self.world.set_status(hosts[1], SettableHostStatus::Draining);
        self.world.set_status(hosts[2], SettableHostStatus::Draining);
        self.world.set_status(hosts[2], SettableHostStatus::Active);
        for (why, refused) in [("the connection was lost", false), ("connection refused", true)] {
            let why = why.to_owned();
            self.call(Command::Host(HostCommand::AgentSilent { host: hosts[3], why, refused }));
        }
        let leaving = self.world.add_host();
        let (cluster, force) = (CLUSTER.parse().unwrap(), true);
        self.call(Command::Host(HostCommand::DeregisterContainerInstance {
            cluster,
            host: leaving,
            force,
        }));
        self.world.hosts.retain(|known| *known != leaving);
        let mut last = self.launch("small");
        last.strategies = vec![Strategy::Random];
        self.run(last);
        let states = [ReportedPhase::Activating];
        for phase in states {
            let pending = self.world.tasks().iter().find_map(|task| {
                let connected = self.world.state.host_at(task.host).connected;
                (connected && task.phase == crate::model::task::Phase::Pending).then_some(task.id)
            });
            if let Some(task) = pending {
                self.world.report(task, phase);
            }
        }
    }
}
