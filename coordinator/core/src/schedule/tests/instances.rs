//! Auto Scaling groups: launched, in service, drained, terminated, with a launcher that does what
//! the test says.

mod machines;

use std::collections::BTreeMap;

use longshore_common::id::HostId;

use crate::{
    Answer, Command, Rejection, State,
    checkpoint::record::{self, Record},
    command::{AutoScalingCommand, EpochCommand},
    model::{
        auto_scaling::{
            GroupChange, GroupConfig, Instance, InstanceId, LaunchSource, LauncherVerb, Lifecycle,
        },
        capacity_provider::{CapacityPolicy, LauncherPolicy},
        host::HostStatus,
    },
    rejection::AutoScalingRejection,
    state::Group,
    test_kit::{
        group::{BOOT_DEADLINE_S, config, policy, provider, world_with},
        world::{World, daemon, replicas},
    },
};

/// Machines by the instance that they were launched for.
#[derive(Default)]
struct Launcher {
    machines: BTreeMap<InstanceId, Vec<Option<HostId>>>,
}

impl World {
    fn group(&self) -> &Group {
        self.state.auto_scaling_group("g").unwrap()
    }

    /// The lifecycles of the group's instances.
    fn lifecycles(&self) -> Vec<&'static str> {
        self.group().instances.values().map(|instance| instance.lifecycle.as_str()).collect()
    }

    fn want(&mut self, desired: u32) -> Result<Answer, Rejection> {
        let name = "g".parse().unwrap();
        self.call(Command::AutoScaling(AutoScalingCommand::SetDesiredCapacity {
            name,
            desired,
            honour_cooldown: false,
        }))
    }

    fn first_call(&self) -> Option<(InstanceId, LauncherVerb)> {
        let due = self.state.launcher_calls().find(|(at, ..)| *at <= self.at);
        due.map(|(_, _, instance, verb)| (instance.id, verb))
    }

    fn answered(&mut self, (instance, verb): (InstanceId, LauncherVerb), result: Result<(), &str>) {
        let result = result.map_err(str::to_owned);
        self.call(Command::AutoScaling(AutoScalingCommand::LauncherAnswered {
            instance,
            verb,
            result,
        }))
        .unwrap();
    }

    /// Does what is due, as long as something is.
    fn launchers_work(&mut self, launcher: &mut Launcher) {
        while let Some(call) = self.first_call() {
            launcher.perform(call);
            self.answered(call, Ok(()));
        }
    }

    /// Machines that have no host yet boot and join.
    fn machines_boot(&mut self, launcher: &mut Launcher) {
        for (id, machines) in &mut launcher.machines {
            for host in machines.iter_mut().filter(|host| host.is_none()) {
                *host = Some(self.add_host_as(Some(id.to_string())));
            }
        }
    }

    /// Compares a list twice, as effects do.
    fn list(&mut self, launcher: &Launcher) {
        let known = |id: &&InstanceId| self.state.instance(**id).is_none();
        let unknown = launcher.machines.keys().filter(known).copied().collect();
        let launched = |instance: &&Instance| match instance.lifecycle {
            Lifecycle::Pending { launched } => launched.is_some(),
            Lifecycle::InService { .. } | Lifecycle::Draining { .. } => true,
            Lifecycle::Terminating { .. } => false,
        };
        let groups = self.state.auto_scaling_groups_from(std::ops::Bound::Unbounded);
        let missing = groups
            .flat_map(|group| group.instances.values())
            .filter(launched)
            .map(|instance| instance.id)
            .filter(|id| !launcher.machines.contains_key(id))
            .collect();
        let launcher = "rack".to_owned();
        self.call(Command::AutoScaling(AutoScalingCommand::LauncherListed {
            launcher,
            unknown,
            missing,
        }))
        .unwrap();
    }

    /// Restores the state from a checkpoint's rows, as a start does.
    fn restart(&mut self, disk: &mut Disk) {
        self.state.begin_capture();
        for row in self.state.capture_slice(usize::MAX).unwrap() {
            match row.value {
                Some(value) => disk.insert((row.kind, row.key), value),
                None => disk.remove(&(row.kind, row.key)),
            };
        }
        let seq = self.state.seq();
        let mut state = State::to_recover();
        for kind in record::RESTORE_ORDER {
            for (_, value) in disk.range((kind, Vec::new())..(kind + 1, Vec::new())) {
                let record: Record = record::decode(value).unwrap();
                state.restore(record);
            }
        }
        state.recovered_at(seq);
        state.set_capacity_policy(policy());
        self.state = state;
    }
}

/// A checkpoint's rows.
type Disk = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

impl Launcher {
    /// Idempotent, as its contract says.
    fn perform(&mut self, (id, verb): (InstanceId, LauncherVerb)) {
        match verb {
            LauncherVerb::Launch => {
                self.machines.entry(id).or_insert_with(|| vec![None]);
            }
            LauncherVerb::Terminate => {
                self.machines.remove(&id);
            }
        }
    }

    fn len(&self) -> usize {
        self.machines.values().map(Vec::len).sum()
    }
}

/// Everything is done that can be, until nothing changes any more.
fn settle(world: &mut World, launcher: &mut Launcher) {
    for _ in 0..40 {
        world.launchers_work(launcher);
        world.machines_boot(launcher);
        world.list(launcher);
        world.agents_work();
        world.pass_step_by_step(400.0);
    }
}

#[test]
fn a_group_has_as_many_hosts_in_service_as_it_is_to_have() {
    let (mut world, mut launcher) = (world_with(config(0, 5, 2)), Launcher::default());
    assert_eq!(world.lifecycles(), ["Pending", "Pending"]);
    world.launchers_work(&mut launcher);
    assert_eq!(world.lifecycles(), ["Pending", "Pending"], "launched and not registered");
    world.machines_boot(&mut launcher);
    assert_eq!(world.lifecycles(), ["InService", "InService"]);
    for instance in world.group().instances.values() {
        let host = world.state.host(instance.host.unwrap()).unwrap();
        assert_eq!(world.state.instance_of_host(host).unwrap().1.id, instance.id);
    }
    world.want(4).unwrap();
    settle(&mut world, &mut launcher);
    assert_eq!(world.lifecycles(), ["InService"; 4]);
    assert_eq!(launcher.len(), 4);
}

#[test]
fn scale_in_takes_unprotected_idle_instances_first_then_newest() {
    let (mut world, mut launcher) = (world_with(config(0, 5, 4)), Launcher::default());
    settle(&mut world, &mut launcher);
    let ids: Vec<InstanceId> = world.group().instances.keys().copied().collect();
    // The newest is protected; one task runs somewhere, and a daemon everywhere.
    let name = "g".parse().unwrap();
    let instances = vec![ids[3]];
    world
        .call(Command::AutoScaling(AutoScalingCommand::SetInstanceProtection {
            name,
            instances,
            protected: true,
        }))
        .unwrap();
    world.create_named("d", "app", daemon());
    world.create(replicas(1));
    world.settle();
    let busy =
        |world: &World, id: &InstanceId| crate::lifecycle::instance::is_busy(&world.state, *id);
    let busy: Vec<InstanceId> = ids.iter().filter(|id| busy(&world, id)).copied().collect();
    assert_eq!(busy.len(), 1);
    let left = |world: &World| -> Vec<InstanceId> {
        let wanted = world.group().instances.values().filter(|one| one.lifecycle.is_wanted());
        wanted.map(|one| one.id).collect()
    };
    let mut expected: Vec<InstanceId> =
        ids[..3].iter().filter(|id| !busy.contains(id)).copied().collect();
    while let Some(next) = expected.pop() {
        let desired = world.group().config.desired - 1;
        world.want(desired).unwrap();
        assert!(!left(&world).contains(&next), "{next} goes next");
        assert_eq!(left(&world).len(), desired as usize);
    }
    world.want(0).unwrap();
    assert_eq!(left(&world), [ids[3]], "protected instances stay, whatever is desired");
}

#[test]
fn a_draining_provider_lets_tasks_leave_before_the_host_is_terminated() {
    let (mut world, mut launcher) = (world_with(config(0, 5, 2)), Launcher::default());
    world.call(provider(true)).unwrap();
    settle(&mut world, &mut launcher);
    world.create(replicas(2));
    world.settle();
    world.want(1).unwrap();
    assert_eq!(world.lifecycles(), ["InService", "Terminating:Wait"]);
    assert_eq!(world.first_call(), None, "nothing is terminated while tasks are there");
    let draining = *world.group().instances.keys().last().unwrap();
    let host = world.state.hosts_of_instance(draining).next().unwrap();
    assert_eq!(host.status, HostStatus::Draining);
    let host = host.id;
    world.agents_work();
    world.settle();
    assert_eq!(world.lifecycles(), ["InService", "Terminating"]);
    world.launchers_work(&mut launcher);
    assert_eq!(world.lifecycles(), ["InService"]);
    assert!(!world.state.host(host).unwrap().is_registered());
    assert_eq!(world.running().len(), 2, "the service has what it is to have");
}

#[test]
fn draining_ends_after_two_days_even_with_tasks() {
    let (mut world, mut launcher) = (world_with(config(0, 5, 1)), Launcher::default());
    world.call(provider(true)).unwrap();
    settle(&mut world, &mut launcher);
    world.create(replicas(1));
    world.settle();
    // The only host: its task has nowhere to go, and the minimum keeps it.
    world.want(0).unwrap();
    world.pass_step_by_step(47.9 * 3600.0);
    assert_eq!(world.lifecycles(), ["Terminating:Wait"]);
    world.pass_step_by_step(0.2 * 3600.0);
    assert_eq!(world.lifecycles(), ["Terminating"]);
    world.launchers_work(&mut launcher);
    assert_eq!(launcher.len(), 0);
    assert!(world.tasks().is_empty(), "tasks ended with their host");
}

#[test]
fn a_host_that_never_registers_is_given_up_and_replaced() {
    let (mut world, mut launcher) = (world_with(config(0, 5, 1)), Launcher::default());
    world.launchers_work(&mut launcher);
    world.pass_step_by_step(BOOT_DEADLINE_S - 1.0);
    assert_eq!(world.lifecycles(), ["Pending"]);
    world.pass_step_by_step(2.0);
    assert_eq!(world.lifecycles(), ["Terminating", "Pending"]);
    settle(&mut world, &mut launcher);
    assert_eq!(world.lifecycles(), ["InService"]);
    assert_eq!(launcher.len(), 1);
}

#[test]
fn a_launcher_that_fails_is_asked_again_later_and_says_why() {
    let mut world = world_with(config(0, 5, 1));
    let call = world.first_call().unwrap();
    world.answered(call, Err("no such rack"));
    assert_eq!(world.first_call(), None);
    let tries = &world.group().instances[&call.0].tries;
    assert_eq!((tries.failures, tries.error.as_deref()), (1, Some("no such rack")));
    world.pass(5.0);
    assert_eq!(world.first_call(), Some(call));
}

/// An old journal does not know what runs on machines by now.
#[test]
fn recovered_group_lets_nothing_go_before_hosts_have_spoken() {
    let (mut world, mut launcher) = (world_with(config(0, 5, 3)), Launcher::default());
    world.call(provider(true)).unwrap();
    settle(&mut world, &mut launcher);
    world.create(replicas(3));
    world.settle();
    world.want(2).unwrap();
    assert_eq!(world.lifecycles(), ["InService", "InService", "Terminating:Wait"]);
    world
        .call(Command::Epoch(EpochCommand::Recover { beyond: 9, incarnation: 2, proved: None }))
        .unwrap();
    // What drains is empty by the journal, and the group has more than it is to have.
    let draining = *world.group().instances.keys().last().unwrap();
    let host = world.state.hosts_of_instance(draining).next().unwrap();
    let ended: Vec<_> = host.tasks.keys().copied().collect();
    assert_eq!(ended.len(), 1);
    ended.into_iter().for_each(|task| world.exits(task));
    world.agents_work();
    world.want(1).unwrap();
    world.pass_step_by_step(89.0);
    assert_eq!(world.lifecycles(), ["InService", "InService", "Terminating:Wait"]);
    world.pass_step_by_step(2.0);
    world.agents_work();
    world.live(3);
    let lifecycles = world.lifecycles();
    assert_eq!((lifecycles[0], lifecycles[2]), ("InService", "Terminating"));
    assert_ne!(lifecycles[1], "InService");
}

#[test]
fn an_instance_launched_twice_counts_once_and_goes_whole() {
    let (mut world, mut launcher) = (world_with(config(0, 5, 1)), Launcher::default());
    world.launchers_work(&mut launcher);
    launcher.machines.values_mut().for_each(|machines| machines.push(None));
    world.machines_boot(&mut launcher);
    assert_eq!(world.lifecycles(), ["InService"]);
    world.want(0).unwrap();
    world.launchers_work(&mut launcher);
    assert_eq!(launcher.len(), 0);
    let registered = world.state.hosts().filter(|host| host.is_registered()).count();
    assert_eq!(registered, 0, "both hosts are deregistered");
}

#[test]
fn what_a_list_shows_is_put_right() {
    let (mut world, mut launcher) = (world_with(config(0, 5, 2)), Launcher::default());
    world.launchers_work(&mut launcher);
    // Launched too few: it is launched again under the same id.
    let lost = *launcher.machines.keys().next().unwrap();
    launcher.machines.remove(&lost);
    world.list(&launcher);
    assert_eq!(world.first_call(), Some((lost, LauncherVerb::Launch)));
    settle(&mut world, &mut launcher);
    // A leftover of ours is terminated, one of a journal that is lost is taken back.
    world.want(1).unwrap();
    world.launchers_work(&mut launcher);
    let leftover = InstanceId { number: 1, ..lost };
    assert!(world.state.instance(leftover).is_none());
    launcher.perform((leftover, LauncherVerb::Launch));
    let of_lost_journal = InstanceId { number: 77, ..lost };
    launcher.perform((of_lost_journal, LauncherVerb::Launch));
    let somebody_elses = InstanceId { group: lost.group ^ 1, number: 0 };
    launcher.perform((somebody_elses, LauncherVerb::Launch));
    world.list(&launcher);
    assert!(world.state.instance(of_lost_journal).is_some());
    assert!(world.first_call().is_some());
    settle(&mut world, &mut launcher);
    assert!(!launcher.machines.contains_key(&leftover));
    assert!(launcher.machines.remove(&somebody_elses).is_some());
    assert_eq!(launcher.len(), 1);
    assert_eq!(world.group().next_number, 78, "its number is never given again");
}

#[test]
fn missing_instance_is_replaced_unless_heard_or_half_a_group_is() {
    let (mut world, mut launcher) = (world_with(config(0, 9, 5)), Launcher::default());
    settle(&mut world, &mut launcher);
    let all: Vec<InstanceId> = launcher.machines.keys().copied().collect();
    launcher.machines.remove(&all[0]);
    world.list(&launcher);
    assert_eq!(world.lifecycles(), ["InService"; 5], "its agent is heard");
    for id in &all {
        let host = world.group().instances[id].host.unwrap();
        world.cut(host);
    }
    let none = Launcher::default();
    world.list(&none);
    assert_eq!(world.lifecycles(), ["InService"; 5], "a list without any is likelier wrong");
    world.list(&launcher);
    assert_eq!(world.lifecycles()[0], "Terminating");
    assert_eq!(world.group().wanted, 5, "and is replaced");
}

#[test]
fn a_forced_deletion_takes_all_instances_and_then_the_group() {
    let mut protected = config(0, 5, 2);
    protected.protects_new = true;
    let (mut world, mut launcher) = (world_with(protected), Launcher::default());
    settle(&mut world, &mut launcher);
    let delete = |force| {
        Command::AutoScaling(AutoScalingCommand::DeleteAutoScalingGroup {
            name: "g".parse().unwrap(),
            force,
        })
    };
    let refused = world.call(delete(false)).unwrap_err();
    assert!(
        matches!(
            refused,
            Rejection::AutoScaling(AutoScalingRejection::GroupHasInstances { count: 2, .. })
        ),
        "{refused}"
    );
    world.call(delete(true)).unwrap();
    assert_eq!(world.lifecycles(), ["Terminating"; 2]);
    let refused = world.want(1).unwrap_err();
    assert!(
        matches!(refused, Rejection::AutoScaling(AutoScalingRejection::GroupDeleting(_))),
        "{refused}"
    );
    world.launchers_work(&mut launcher);
    assert!(world.state.auto_scaling_group("g").is_none());
    assert_eq!(launcher.len(), 0);
}

#[test]
fn a_group_goes_by_its_rules() {
    let mut world = world_with(config(1, 4, 2));
    let said = |outcome: Result<Answer, Rejection>| match outcome {
        Ok(_) => "ok".to_owned(),
        Err(rejection) => rejection.to_string(),
    };
    let name = || "g".parse().unwrap();
    for (desired, begins) in
        [(0, "The desired capacity is 0"), (5, "The desired capacity is 5"), (3, "ok")]
    {
        let said = said(world.want(desired));
        assert!(said.starts_with(begins), "{said}");
    }
    let cooled = world.call(Command::AutoScaling(AutoScalingCommand::SetDesiredCapacity {
        name: name(),
        desired: 4,
        honour_cooldown: true,
    }));
    assert!(said(cooled).contains("300 s"), "the cooldown");
    world.pass(301.0);
    let cooled = world.call(Command::AutoScaling(AutoScalingCommand::SetDesiredCapacity {
        name: name(),
        desired: 4,
        honour_cooldown: true,
    }));
    assert_eq!(said(cooled), "ok");
    let update = |change| {
        Command::AutoScaling(AutoScalingCommand::UpdateAutoScalingGroup {
            name: "g".parse().unwrap(),
            change: Box::new(change),
        })
    };
    let shrunk = GroupChange { max: Some(2), ..GroupChange::default() };
    assert_eq!(said(world.call(update(shrunk))), "ok");
    assert_eq!(world.group().config.desired, 2, "moved into the new bounds");
    for (change, says) in [
        (GroupChange { min: Some(3), ..GroupChange::default() }, "MinSize is 3"),
        (GroupChange { max: Some(5_001), ..GroupChange::default() }, "at most 5000"),
        (
            GroupChange {
                launch: Some(LaunchSource::Configuration { launcher: "moon".to_owned() }),
                ..GroupChange::default()
            },
            "They have: rack.",
        ),
    ] {
        let said = said(world.call(update(change)));
        assert!(said.contains(says), "{said}");
    }
    let again = Command::AutoScaling(AutoScalingCommand::CreateAutoScalingGroup {
        name: name(),
        config: Box::new(config(0, 1, 0)),
    });
    assert!(said(world.call(again)).contains("already exists"));
    let id = *world.group().instances.keys().next().unwrap();
    let terminate = |decrement| {
        Command::AutoScaling(AutoScalingCommand::TerminateInstance { instance: id, decrement })
    };
    world.call(update(GroupChange { min: Some(2), ..GroupChange::default() })).unwrap();
    assert!(said(world.call(terminate(true))).contains("violate group's min size"));
    assert_eq!(said(world.call(terminate(false))), "ok");
    assert_eq!(world.group().wanted, 2, "it is replaced");
}

#[test]
fn whatever_fails_between_two_steps_a_group_converges_and_nothing_leaks() {
    let mut seed = 20_261_127u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let (mut restarts, mut lost_answers) = (0, 0);
    for trial in 0..60 {
        let (mut world, mut launcher) = (world_with(config(0, 6, 2)), Launcher::default());
        let mut disk = Disk::new();
        if trial % 2 == 0 {
            world.call(provider(true)).unwrap();
        }
        world.create(replicas(3));
        for _ in 0..60 {
            match random(10) {
                0 => drop(world.want(random(7) as u32).unwrap()),
                1..=3 => {
                    if let Some(call) = world.first_call() {
                        match random(4) {
                            0 => world.answered(call, Err("it failed before it did anything")),
                            1 => {
                                launcher.perform(call);
                                world.answered(call, Err("it failed when it had done it"));
                            }
                            // The process ended: nobody hears of it.
                            2 => {
                                launcher.perform(call);
                                lost_answers += 1;
                            }
                            _ => {
                                launcher.perform(call);
                                world.answered(call, Ok(()));
                            }
                        }
                    }
                }
                4 => world.machines_boot(&mut launcher),
                5 => world.list(&launcher),
                6 => world.agents_work(),
                7 => world.pass_step_by_step(random(700) as f64),
                8 => {
                    let machines: Vec<InstanceId> = launcher.machines.keys().copied().collect();
                    if !machines.is_empty() {
                        let id = machines[random(machines.len() as u64) as usize];
                        match random(3) {
                            0 => launcher.machines.get_mut(&id).unwrap().push(None),
                            1 => drop(launcher.machines.remove(&id)),
                            _ => {
                                // An old call of a process that was killed, done late.
                                launcher.perform((
                                    InstanceId { number: random(3), ..id },
                                    LauncherVerb::Launch,
                                ));
                            }
                        }
                    }
                }
                _ => {
                    world.restart(&mut disk);
                    world
                        .call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 }))
                        .unwrap();
                    world.call(Command::Epoch(EpochCommand::BeginScheduling)).unwrap();
                    restarts += 1;
                }
            }
        }
        // Machines that are gone do not speak.
        let there: Vec<HostId> =
            launcher.machines.values().flatten().filter_map(|host| *host).collect();
        let gone: Vec<HostId> = world
            .state
            .hosts()
            .filter(|host| host.is_registered() && !there.contains(&host.id))
            .map(|host| host.id)
            .collect();
        gone.into_iter().for_each(|host| world.cut(host));
        world.want(3).unwrap();
        // When half of a group is missing at once, an operator must say that it is gone for good.
        let missing: Vec<InstanceId> = world
            .group()
            .instances
            .values()
            .filter(|one| matches!(one.lifecycle, Lifecycle::InService { .. }))
            .map(|one| one.id)
            .filter(|id| !launcher.machines.contains_key(id))
            .collect();
        if missing.len() >= 3 {
            for instance in missing {
                world
                    .call(Command::AutoScaling(AutoScalingCommand::TerminateInstance {
                        instance,
                        decrement: false,
                    }))
                    .unwrap();
            }
        }
        settle(&mut world, &mut launcher);
        assert_eq!(world.lifecycles(), ["InService"; 3], "trial {trial}");
        let known: Vec<InstanceId> = world.group().instances.keys().copied().collect();
        let machines: Vec<InstanceId> = launcher.machines.keys().copied().collect();
        assert_eq!(machines, known, "trial {trial}: what is there is what is known");
    }
    assert!(restarts > 100 && lost_answers > 100, "{restarts} restarts, {lost_answers} lost");
}
