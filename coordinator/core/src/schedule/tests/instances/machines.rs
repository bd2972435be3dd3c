//! Instances that are bound to machines which a launcher gave ids of its own.

use super::*;
use crate::{command::MachinesListed, model::capacity_provider::GROUP_ATTRIBUTE};

fn machine(number: u64) -> InstanceId {
    InstanceId { group: 0x0f00_0000, number }
}

fn policy() -> CapacityPolicy {
    let mut policy = super::policy();
    policy.launchers.get_mut("rack").unwrap().names_machines = true;
    policy
}

fn world_with(config: GroupConfig) -> World {
    let mut world = World::new();
    world.state.set_capacity_policy(policy());
    world.make("g", config).unwrap();
    world
}

impl World {
    fn make(&mut self, name: &str, config: GroupConfig) -> Result<Answer, Rejection> {
        let name = name.parse().unwrap();
        self.call(Command::AutoScaling(AutoScalingCommand::CreateAutoScalingGroup {
            name,
            config: Box::new(config),
        }))
    }

    /// A list of these machines, of which none is new.
    fn machines(&mut self, alive: &[InstanceId]) {
        self.machines_come(alive, alive);
    }

    fn machines_come(&mut self, alive: &[InstanceId], lasting: &[InstanceId]) {
        let state = &self.state;
        let unbound: Vec<InstanceId> =
            alive.iter().filter(|id| state.bound_to(**id).is_none()).copied().collect();
        let bound = state.auto_scaling_groups_from(std::ops::Bound::Unbounded);
        let bound = bound.flat_map(|group| group.instances.values());
        let missing = bound.filter_map(|one| one.machine).filter(|id| !alive.contains(id));
        let listed = MachinesListed {
            launcher: "rack".to_owned(),
            alive: alive.len() as u32,
            unbound,
            lasting: lasting.to_vec(),
            missing: missing.collect(),
            stalled: None,
        };
        self.call(Command::AutoScaling(AutoScalingCommand::MachinesListed(Box::new(listed))))
            .unwrap();
    }

    /// Says of all that is to be launched that it was asked for.
    fn asked_for(&mut self) {
        while let Some(call) = self.first_call().filter(|(_, verb)| *verb == LauncherVerb::Launch) {
            self.answered(call, Ok(()));
        }
    }

    /// Each instance's lifecycle and machine, in the order in which they were wanted.
    fn filled(&self) -> Vec<(&'static str, Option<InstanceId>)> {
        let instances = self.group().instances.values();
        instances.map(|one| (one.lifecycle.as_str(), one.machine)).collect()
    }

    fn only(&self) -> &Instance {
        self.group().instances.values().next().unwrap()
    }

    fn group_of_host(&self, host: HostId) -> Option<&str> {
        self.state.host(host).unwrap().attribute(GROUP_ATTRIBUTE).flatten()
    }
}

#[test]
fn machine_fills_the_instance_that_waits_longest() {
    let mut world = world_with(config(0, 5, 1));
    world.asked_for();
    world.want(2).unwrap();
    world.machines(&[machine(7)]);
    assert_eq!(world.filled(), [("Pending", Some(machine(7))), ("Pending", None)]);
    let host = world.add_host_as(Some(machine(7).to_string()));
    assert_eq!(world.lifecycles(), ["InService", "Pending"]);
    assert_eq!(world.group_of_host(host), Some("g"));
    let (_, instance) = world.state.instance_of_host(world.state.host(host).unwrap()).unwrap();
    assert_eq!(instance.known_as(), machine(7));
    // The second was bound before anybody heard that it was asked for.
    world.machines(&[machine(7), machine(3)]);
    assert_eq!(world.filled()[1], ("Pending", Some(machine(3))));
    assert_eq!(world.first_call(), None);
}

#[test]
fn a_host_that_registers_before_its_machine_is_listed_is_found_then() {
    let mut world = world_with(config(0, 5, 1));
    world.call(provider(true)).unwrap();
    let early = world.add_host_as(Some(machine(7).to_string()));
    assert_eq!((world.lifecycles(), world.group_of_host(early)), (vec!["Pending"], None));
    world.machines_come(&[machine(7)], &[]);
    assert_eq!(world.filled(), [("InService", Some(machine(7)))]);
    assert_eq!(world.only().host, Some(early));
    assert_eq!(world.group_of_host(early), Some("g"));
    let provider = world.state.provider_of(world.state.host(early).unwrap());
    assert_eq!(provider.map(|provider| provider.name.as_str()), Some("cp"));
}

#[test]
fn nobody_is_an_instance_by_the_id_that_it_has_here_only() {
    let mut world = world_with(config(0, 5, 1));
    world.asked_for();
    let id = world.only().id;
    world.add_host_as(Some(id.to_string()));
    assert_eq!(world.lifecycles(), ["Pending"]);
}

#[test]
fn an_instance_is_ended_and_protected_by_its_machines_id() {
    let mut world = world_with(config(0, 5, 1));
    world.asked_for();
    world.machines(&[machine(7)]);
    let host = world.add_host_as(Some(machine(7).to_string()));
    let protect = |protected| {
        Command::AutoScaling(AutoScalingCommand::SetInstanceProtection {
            name: "g".parse().unwrap(),
            instances: vec![machine(7)],
            protected,
        })
    };
    world.call(protect(true)).unwrap();
    assert!(world.only().protected);
    world.create(replicas(1));
    world.settle();
    let terminate = Command::AutoScaling(AutoScalingCommand::TerminateInstance {
        instance: machine(7),
        decrement: true,
    });
    world.call(terminate).unwrap();
    assert_eq!(world.filled(), [("Terminating", Some(machine(7)))]);
    let call = world.first_call().unwrap();
    world.answered(call, Ok(()));
    assert!(world.filled().is_empty() && world.state.bound_to(machine(7)).is_none());
    assert!(!world.state.host(host).unwrap().is_registered());
    assert!(world.running().is_empty());
}

#[test]
fn a_machine_that_is_missing_makes_room_for_another() {
    let mut world = world_with(config(0, 5, 2));
    world.asked_for();
    world.machines(&[machine(1), machine(2)]);
    let host = world.add_host_as(Some(machine(1).to_string()));
    // Before it registered: it is asked for again.
    world.machines(&[machine(1)]);
    assert_eq!(world.filled(), [("InService", Some(machine(1))), ("Pending", None)]);
    assert!(matches!(world.first_call(), Some((_, LauncherVerb::Launch))));
    world.asked_for();
    world.machines(&[machine(1), machine(3)]);
    // Afterwards: it is kept while its agent is heard.
    world.machines(&[machine(3)]);
    assert_eq!(world.filled()[0], ("InService", Some(machine(1))));
    world.cut(host);
    world.machines(&[machine(3)]);
    let filled = world.filled();
    assert_eq!(filled[0], ("Terminating", Some(machine(1))), "{filled:?}");
    assert_eq!(world.group().wanted, 2, "and replaced");
}

#[test]
fn machine_nobody_asked_for_is_ended_unless_it_is_a_replacement() {
    let mut world = world_with(config(0, 5, 1));
    world.asked_for();
    world.machines(&[machine(1)]);
    let host = world.add_host_as(Some(machine(1).to_string()));
    let both = [machine(1), machine(2)];
    world.machines_come(&both, &[]);
    assert_eq!(world.filled().len(), 1, "one list shows what may be an accident of the moment");
    world.machines(&both);
    assert_eq!(world.filled()[1], ("Terminating", Some(machine(2))));
    world.machines(&both);
    assert_eq!(world.filled().len(), 2, "once");
    let call = world.first_call().unwrap();
    world.answered(call, Ok(()));

    // The launcher found the first one ill, and launched another in its place.
    world.machines(&[machine(3)]);
    assert_eq!(world.filled(), [("InService", Some(machine(1)))], "no more than there are to be");
    world.cut(host);
    world.machines(&[machine(3)]);
    world.machines(&[machine(3)]);
    let filled = world.filled();
    assert_eq!(filled[0], ("Terminating", Some(machine(1))));
    assert_eq!(filled[1], ("Pending", Some(machine(3))));
}

#[test]
fn a_surplus_machine_whose_host_is_here_leaves_as_any_other_does() {
    let mut world = world_with(config(0, 5, 1));
    world.call(provider(true)).unwrap();
    world.asked_for();
    let (known, unknown) = (machine(1), machine(2));
    world.machines(&[known]);
    world.add_host_as(Some(known.to_string()));
    let busy = world.add_host_as(Some(unknown.to_string()));
    world.create(replicas(2));
    world.settle();
    assert!(world.state.host(busy).unwrap().own_tasks > 0);
    world.machines_come(&[known, unknown], &[unknown]);
    assert_eq!(world.group_of_host(busy), Some("g"));
    // One of the two drains; its task moves to the other first.
    let drains = |(lifecycle, _): &(&str, Option<InstanceId>)| *lifecycle == "Terminating:Wait";
    let filled = world.filled();
    assert_eq!(filled.iter().filter(|one| drains(one)).count(), 1, "{filled:?}");
    world.settle();
    assert_eq!(world.running().len(), 2);
    let filled = world.filled();
    assert!(filled.iter().any(|(lifecycle, _)| *lifecycle == "Terminating"), "{filled:?}");
}

#[test]
fn what_comes_after_its_instance_was_given_up_is_ended_with_it() {
    let mut world = world_with(config(0, 5, 1));
    world.asked_for();
    world.want(0).unwrap();
    assert_eq!(world.filled(), [("Terminating", None)]);
    world.machines_come(&[machine(1)], &[]);
    assert_eq!(world.filled(), [("Terminating", Some(machine(1)))]);
    // A new wish is served first.
    world.want(1).unwrap();
    world.machines_come(&[machine(1), machine(2)], &[]);
    assert_eq!(world.filled()[1], ("Pending", Some(machine(2))));
}

#[test]
fn a_launcher_of_machines_serves_one_group_and_hands_none_over() {
    let mut world = world_with(config(0, 5, 1));
    let refused = world.make("h", config(0, 5, 0)).unwrap_err().to_string();
    assert!(refused.contains("serves one group here; g has it"), "{refused}");
    let mut policy = policy();
    let other = policy.launchers["rack"].clone();
    policy.launchers.insert("other".to_owned(), LauncherPolicy { names_machines: false, ..other });
    world.state.set_capacity_policy(policy);
    let launch = Some(LaunchSource::Template { launcher: "other".to_owned(), version: None });
    let change = Box::new(GroupChange { launch, ..GroupChange::default() });
    let name = "g".parse().unwrap();
    let update = Command::AutoScaling(AutoScalingCommand::UpdateAutoScalingGroup { name, change });
    let refused = world.call(update).unwrap_err().to_string();
    assert!(refused.contains("Scale the group to 0 first"), "{refused}");
}

#[test]
fn an_instance_that_does_not_come_says_why_until_it_does() {
    let mut world = world_with(config(0, 5, 1));
    world.asked_for();
    let stalled = MachinesListed {
        launcher: "rack".to_owned(),
        alive: 0,
        unbound: Vec::new(),
        lasting: Vec::new(),
        missing: Vec::new(),
        stalled: Some("no capacity in eu-central-1a".to_owned()),
    };
    world
        .call(Command::AutoScaling(AutoScalingCommand::MachinesListed(Box::new(stalled))))
        .unwrap();
    assert_eq!(world.only().tries.error.as_deref(), Some("no capacity in eu-central-1a"));
    assert_eq!(world.first_call(), None, "it is asked for already");
    world.machines_come(&[machine(1)], &[]);
    assert_eq!((world.only().machine, &world.only().tries.error), (Some(machine(1)), &None));
}

#[test]
fn bindings_outlive_a_restart() {
    let mut world = world_with(config(0, 5, 1));
    world.asked_for();
    world.machines(&[machine(1)]);
    world.restart(&mut Disk::new());
    world.state.set_capacity_policy(policy());
    world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 })).unwrap();
    world.call(Command::Epoch(EpochCommand::BeginScheduling)).unwrap();
    assert_eq!(world.filled(), [("Pending", Some(machine(1)))]);
    world.add_host_as(Some(machine(1).to_string()));
    assert_eq!(world.lifecycles(), ["InService"]);
}
