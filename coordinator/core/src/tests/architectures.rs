//! A cluster of x86-64 and arm64 hosts: each task goes to hosts of its architecture alone.

use longshore_common::{
    protocol::Attribute,
    task_definition::{CpuArchitecture, RuntimePlatform},
};

use super::*;

const ARCHITECTURES: [(&str, CpuArchitecture); 2] =
    [("x86_64", CpuArchitecture::X86_64), ("arm64", CpuArchitecture::Arm64)];

impl World {
    fn add_host_of(&mut self, architecture: &str) -> HostId {
        let register = RegisterContainerInstance {
            cluster: "web".parse().unwrap(),
            host: None,
            capacity: Capacity {
                cpu: CpuUnits(1024),
                memory: MemoryMib(1000),
                ..Capacity::default()
            },
            attributes: vec![Attribute {
                name: "ecs.cpu-architecture".to_owned(),
                value: Some(architecture.to_owned()),
            }],
            versions: Versions::default(),
            instance_id: None,
            tags: Tags::new(),
        };
        let answer =
            self.put(Command::Host(HostCommand::RegisterContainerInstance(Box::new(register))));
        let Some(Answer::Host(host)) = answer else { panic!("{answer:?}") };
        self.put(answered(host, 0, vec![]));
        host
    }

    /// A family of its architecture's name; none: it runs anywhere.
    fn define_for(&mut self, family: &str, architecture: Option<CpuArchitecture>) {
        let Command::Definition(DefinitionCommand::RegisterTaskDefinition(mut app)) =
            register(family, 300)
        else {
            unreachable!()
        };
        app.spec.runtime_platform = architecture.map(|architecture| RuntimePlatform {
            cpu_architecture: Some(architecture),
            operating_system_family: None,
        });
        self.put(Command::Definition(DefinitionCommand::RegisterTaskDefinition(app)));
    }

    fn run_family(&mut self, family: &str, count: u32) -> (Vec<HostId>, Vec<String>) {
        let Command::Task(TaskCommand::RunTask(mut run)) = run_task(count) else { unreachable!() };
        run.launch.definition.family = family.parse().unwrap();
        let Some(Answer::Tasks { tasks, failures }) =
            self.put(Command::Task(TaskCommand::RunTask(run)))
        else {
            panic!("{}", self.log)
        };
        let host = |task: &TaskId| self.state.host_at(self.state.task(*task).unwrap().host).id;
        (tasks.iter().map(host).collect(), failures.into_iter().map(|f| f.detail).collect())
    }
}

/// Two hosts of each architecture, three tasks fit each host.
fn mixed() -> (World, [Vec<HostId>; 2]) {
    let mut world = World::new();
    world.put(create_cluster("web"));
    let hosts = ARCHITECTURES.map(|(name, _)| (0..2).map(|_| world.add_host_of(name)).collect());
    for (name, architecture) in ARCHITECTURES {
        world.define_for(name, Some(architecture));
    }
    world.define_for("any", None);
    (world, hosts)
}

#[test]
fn tasks_go_to_hosts_of_their_architecture_alone() {
    let (mut world, hosts) = mixed();
    for ((name, _), own) in ARCHITECTURES.into_iter().zip(&hosts) {
        let (placed, failures) = world.run_family(name, 4);
        assert_eq!(failures, Vec::<String>::new());
        assert_eq!(placed.len(), 4);
        assert!(placed.iter().all(|host| own.contains(host)), "{name}: {placed:?} of {own:?}");
    }
    // One task fits each of the four.
    let (anywhere, _) = world.run_family("any", 4);
    assert!(hosts.iter().flatten().all(|host| anywhere.contains(host)), "{anywhere:?}");
}

#[test]
fn full_architecture_is_refused_though_the_other_has_room() {
    let (mut world, [_, arm]) = mixed();
    let (placed, failures) = world.run_family("arm64", 7);
    assert_eq!(placed.len(), 6, "three on each of {arm:?}");
    expect!["no container instance can take the task (of 4: 2 without a required attribute, 2 short of memory); the closest container instance 12ae30237b17df140000000000000000 has 100 of the 300 MiB needed"].assert_eq(&failures.join("\n"));
}

#[test]
fn missing_architecture_is_named_in_the_refusal() {
    let mut world = World::new();
    world.put(create_cluster("web"));
    world.add_host_of("x86_64");
    world.define_for("arm64", Some(CpuArchitecture::Arm64));
    let (placed, failures) = world.run_family("arm64", 1);
    assert_eq!(placed, []);
    expect!["no container instance can take the task (of 1: 1 without a required attribute); the closest container instance 1e535eede31428f00000000000000000 lacks the attribute ecs.cpu-architecture with the value arm64"].assert_eq(&failures.join("\n"));
}
