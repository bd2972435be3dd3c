//! What is outside: HTTP hooks that answer, and launchers whose machines boot, fail and vanish.

use std::collections::BTreeSet;

use longshore_core::{
    Command,
    command::{AutoScalingCommand, HookAnswer, MachinesListed, ServiceCommand},
    model::auto_scaling::{InstanceId, LauncherVerb},
};

use super::coordinator::{CLOUD, Coordinator, PROGRAM};
use crate::chance::Chance;

/// Calls that are answered in one round.
const ANSWERS_MAX: usize = 4;
const RETRY_S: u32 = 10;
/// Machines that run at the same time.
const MACHINES_MAX: usize = 8;

pub(super) struct Effects {
    chance: Chance,
    calm: bool,
    /// What the program has launched, some of it unknown to the coordinator.
    launched: BTreeSet<InstanceId>,
    /// What the cloud's group runs.
    machines: BTreeSet<InstanceId>,
    unbound_before: BTreeSet<InstanceId>,
    missing_before: BTreeSet<InstanceId>,
    next_machine: u64,
}

/// A machine that booted, and which group's hosts it belongs to.
pub(super) struct Booted(pub(super) String);

impl Effects {
    pub(super) fn new(chance: Chance) -> Self {
        Effects {
            chance,
            calm: false,
            launched: BTreeSet::new(),
            machines: BTreeSet::new(),
            unbound_before: BTreeSet::new(),
            missing_before: BTreeSet::new(),
            next_machine: 0,
        }
    }

    pub(super) fn set_calm(&mut self, calm: bool) {
        self.calm = calm;
    }

    /// Answers some of what is asked; the machines that came up, and those that went.
    pub(super) async fn go_on(
        &mut self,
        coordinator: &mut Coordinator,
    ) -> (Vec<Booted>, Vec<String>) {
        self.answer_hooks(coordinator).await;
        let mut booted = Vec::new();
        let mut gone = Vec::new();
        self.answer_launches(coordinator, &mut booted, &mut gone).await;
        if self.calm || self.chance.one_in(4) {
            self.list_program(coordinator).await;
            self.list_cloud(coordinator, &mut booted, &mut gone).await;
        }
        (booted, gone)
    }

    async fn answer_hooks(&mut self, coordinator: &mut Coordinator) {
        let now = coordinator.now();
        let due: Vec<_> = coordinator.peek(|state| {
            let due = state.hook_calls().take_while(|(at, ..)| *at <= now);
            due.take(ANSWERS_MAX).map(|(_, service, hook)| (service.id, hook.id)).collect()
        });
        for (service, hook) in due {
            let answer = match self.chance.below(if self.calm { 1 } else { 5 }) {
                0..=2 => HookAnswer::Succeeded,
                3 => HookAnswer::InProgress { call_back_s: RETRY_S },
                _ => HookAnswer::Failed("the smoke test failed".to_owned()),
            };
            coordinator
                .submit(Command::Service(ServiceCommand::HookAnswered { service, hook, answer }))
                .await;
        }
    }

    async fn answer_launches(
        &mut self,
        coordinator: &mut Coordinator,
        booted: &mut Vec<Booted>,
        gone: &mut Vec<String>,
    ) {
        let now = coordinator.now();
        let due: Vec<(InstanceId, LauncherVerb)> = coordinator.peek(|state| {
            if !state.schedules() {
                return Vec::new();
            }
            let due = state.launcher_calls().take_while(|(at, ..)| *at <= now);
            let of_program = due.filter(|(_, group, instance, _)| {
                group.config.launch.launcher() == PROGRAM && instance.machine.is_none()
            });
            of_program.take(ANSWERS_MAX).map(|(_, _, instance, verb)| (instance.id, verb)).collect()
        });
        for (instance, verb) in due {
            let fails = !self.calm && self.chance.one_in(4);
            let result = match fails {
                true => Err("no machine is free".to_owned()),
                false => Ok(()),
            };
            match verb {
                LauncherVerb::Launch if !fails => {
                    // One in four never comes up.
                    if self.launched.insert(instance) && (self.calm || !self.chance.one_in(4)) {
                        booted.push(Booted(instance.to_string()));
                    }
                }
                LauncherVerb::Terminate if !fails => {
                    self.launched.remove(&instance);
                    gone.push(instance.to_string());
                }
                LauncherVerb::Launch | LauncherVerb::Terminate => {}
            }
            coordinator
                .submit(Command::AutoScaling(AutoScalingCommand::LauncherAnswered {
                    instance,
                    verb,
                    result,
                }))
                .await;
        }
        if !self.calm && self.chance.one_in(30) {
            // A machine vanishes.
            let lost = self.launched.pop_first();
            gone.extend(lost.map(|lost| lost.to_string()));
        }
    }

    async fn list_program(&mut self, coordinator: &mut Coordinator) {
        let launched = &self.launched;
        let (unknown, missing) = coordinator.peek(|state| {
            let groups = state.auto_scaling_groups_from(std::ops::Bound::Unbounded);
            let of_program = groups.filter(|group| group.config.launch.launcher() == PROGRAM);
            let wanted: BTreeSet<InstanceId> =
                of_program.flat_map(|group| group.instances.keys().copied()).collect();
            let unknown: Vec<_> = launched.difference(&wanted).copied().collect();
            let missing: Vec<_> = wanted.difference(launched).copied().collect();
            (unknown, missing)
        });
        if !unknown.is_empty() || !missing.is_empty() {
            let launcher = PROGRAM.to_owned();
            coordinator
                .submit(Command::AutoScaling(AutoScalingCommand::LauncherListed {
                    launcher,
                    unknown,
                    missing,
                }))
                .await;
        }
    }

    /// A group of AWS, which runs as many machines as ours wants.
    async fn list_cloud(
        &mut self,
        coordinator: &mut Coordinator,
        booted: &mut Vec<Booted>,
        gone: &mut Vec<String>,
    ) {
        let wanted = coordinator.peek(|state| {
            let group = state.group_on_machines_of(CLOUD)?;
            let ended: Vec<InstanceId> = group
                .instances
                .values()
                .filter(|instance| !instance.lifecycle.is_wanted())
                .filter_map(|instance| instance.machine)
                .collect();
            Some((group.wanted as usize, ended))
        });
        let Some((wanted, ended)) = wanted else { return };
        for machine in ended {
            if self.machines.remove(&machine) {
                gone.push(machine.to_string());
            }
        }
        while self.machines.len() < wanted.min(MACHINES_MAX)
            && (self.calm || !self.chance.one_in(3))
        {
            self.next_machine += 1;
            let machine = InstanceId { group: 0xffff_0000, number: self.next_machine };
            self.machines.insert(machine);
            booted.push(Booted(machine.to_string()));
        }
        if !self.calm && self.chance.one_in(10) {
            gone.extend(self.machines.pop_first().map(|lost| lost.to_string()));
        }
        let machines = &self.machines;
        let (unbound, missing) = coordinator.peek(|state| {
            let unbound = machines.iter().filter(|id| state.bound_to(**id).is_none()).copied();
            let bound = state.group_on_machines_of(CLOUD).into_iter();
            let bound = bound.flat_map(|group| group.instances.values());
            let bound: BTreeSet<InstanceId> = bound.filter_map(|one| one.machine).collect();
            (unbound.collect::<BTreeSet<_>>(), &bound - machines)
        });
        let listed = MachinesListed {
            launcher: CLOUD.to_owned(),
            alive: machines.len() as u32,
            unbound: unbound.iter().copied().collect(),
            lasting: unbound.intersection(&self.unbound_before).copied().collect(),
            missing: missing.intersection(&self.missing_before).copied().collect(),
            stalled: self.chance.one_in(5).then(|| "no capacity of that type".to_owned()),
        };
        (self.unbound_before, self.missing_before) = (unbound, missing);
        coordinator
            .submit(Command::AutoScaling(AutoScalingCommand::MachinesListed(Box::new(listed))))
            .await;
        let asked: Vec<(InstanceId, LauncherVerb)> = coordinator.peek(|state| {
            let calls = state.launcher_calls();
            let calls = calls.filter(|(_, group, ..)| group.config.launch.launcher() == CLOUD);
            calls.take(ANSWERS_MAX).map(|(_, _, instance, verb)| (instance.id, verb)).collect()
        });
        for (instance, verb) in asked {
            let result = match !self.calm && self.chance.one_in(6) {
                true => Err("throttled".to_owned()),
                false => Ok(()),
            };
            coordinator
                .submit(Command::AutoScaling(AutoScalingCommand::LauncherAnswered {
                    instance,
                    verb,
                    result,
                }))
                .await;
        }
    }
}
