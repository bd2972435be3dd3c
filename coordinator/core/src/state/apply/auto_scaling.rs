//! What events do to Auto Scaling groups and their instances, and the rows of groups.

use std::{collections::BTreeMap, ops::Bound};

use longshore_common::{clock::Timestamp, id::HostId};

use super::entity::Entity;
use crate::{
    checkpoint::entity::{EntityKey, kind},
    event::AutoScalingEvent,
    model::{
        auto_scaling::{
            AutoScalingGroupName, GroupConfig, GroupRecord, Instance, InstanceId, InstanceShape,
            LauncherVerb, Lifecycle,
        },
        capacity_provider::{CapacityPolicy, LauncherPolicy},
    },
    state::{GroupSlot, Host, HostSlot, State, auto_scaling::Group, changes::LogTo, counter},
};

impl State {
    pub(super) fn apply_auto_scaling(&mut self, event: &AutoScalingEvent) {
        match event {
            AutoScalingEvent::GroupScaled { group, desired, why, at } => {
                self.group_scaled(group, *desired, why, *at);
            }
            AutoScalingEvent::GroupExcess { group, since } => self.group_excess(group, *since),
            AutoScalingEvent::AutoScalingGroupCreated { name, uid, config, at } => {
                self.auto_scaling_group_created(name, *uid, config, *at);
            }
            AutoScalingEvent::AutoScalingGroupConfigured { name, config, at } => {
                self.auto_scaling_group_configured(name, config, *at);
            }
            AutoScalingEvent::AutoScalingGroupDeleting { name, .. } => {
                self.auto_scaling_group_deleting(name)
            }
            AutoScalingEvent::AutoScalingGroupDeleted { name } => {
                self.auto_scaling_group_deleted(name)
            }
            AutoScalingEvent::InstancesWanted { group, count, at } => {
                self.instances_wanted(group, *count, *at);
            }
            AutoScalingEvent::InstanceSet { group, instance, why, shape } => {
                self.instance_set(group, instance, why, shape.as_deref());
            }
            AutoScalingEvent::InstanceGone { group, instance, .. } => {
                self.instance_gone(group, *instance)
            }
        }
    }

    /// What the operator's settings say of launchers and of FARGATE.
    pub fn set_capacity_policy(&mut self, policy: CapacityPolicy) {
        self.auto_scaling.policy = policy;
    }

    pub fn capacity_policy(&self) -> &CapacityPolicy {
        &self.auto_scaling.policy
    }

    /// Absent: the settings do not know the group's launcher any more.
    pub fn launcher_of(&self, group: &Group) -> Option<&LauncherPolicy> {
        self.auto_scaling.policy.launchers.get(group.config.launch.launcher())
    }

    /// The only group of a launcher whose machines have ids of their own.
    pub fn group_on_machines_of(&self, launcher: &str) -> Option<&Group> {
        let known = self.auto_scaling.policy.launchers.get(launcher);
        known.filter(|launcher| launcher.names_machines)?;
        let mut groups = self.auto_scaling_groups_from(Bound::Unbounded);
        groups.find(|group| group.config.launch.launcher() == launcher)
    }

    pub fn auto_scaling_group(&self, name: &str) -> Option<&Group> {
        self.auto_scaling.by_name.get(name).map(|&slot| &self.auto_scaling.arena[slot])
    }

    pub fn auto_scaling_group_at(&self, slot: GroupSlot) -> &Group {
        &self.auto_scaling.arena[slot]
    }

    pub fn auto_scaling_groups_len(&self) -> usize {
        self.auto_scaling.by_name.len()
    }

    /// All groups from this name on, in the order of their names.
    pub fn auto_scaling_groups_from(
        &self,
        first: Bound<&str>,
    ) -> impl Iterator<Item = &Group> + use<'_> {
        let groups = self.auto_scaling.by_name.range::<str, _>((first, Bound::Unbounded));
        groups.map(|(_, &slot)| &self.auto_scaling.arena[slot])
    }

    /// The group whose instances' ids begin like this one, whether or not it has it.
    pub fn group_by_prefix(&self, id: InstanceId) -> Option<&Group> {
        self.auto_scaling.by_prefix.get(&id.group).map(|&slot| &self.auto_scaling.arena[slot])
    }

    pub fn instance(&self, id: InstanceId) -> Option<(&Group, &Instance)> {
        let group = self.group_by_prefix(id)?;
        group.instances.get(&id).map(|instance| (group, instance))
    }

    /// The instance that is bound to this machine, else the one whose own id it is.
    pub fn instance_known_as(&self, id: InstanceId) -> Option<(&Group, &Instance)> {
        self.instance(self.bound_to(id).unwrap_or(id))
    }

    /// The instance that is bound to a machine.
    pub fn bound_to(&self, machine: InstanceId) -> Option<InstanceId> {
        self.auto_scaling.machines.get(&machine).copied()
    }

    /// The group of the instance that a host says to be.
    pub fn group_of_said(&self, said: &str) -> Option<&Group> {
        let id: InstanceId = said.parse().ok()?;
        self.group_by_prefix(self.bound_to(id).unwrap_or(id))
    }

    /// Every instance after this one, in the order of the ids.
    pub fn instances_after(
        &self,
        after: Option<InstanceId>,
    ) -> impl Iterator<Item = InstanceId> + use<'_> {
        let groups = self.auto_scaling.by_prefix.range(after.map_or(0, |id| id.group)..);
        groups.flat_map(move |(_, &slot)| {
            let first = after.map_or(Bound::Unbounded, Bound::Excluded);
            let instances =
                self.auto_scaling.arena[slot].instances.range((first, Bound::Unbounded));
            instances.map(|(id, _)| *id)
        })
    }

    /// The registered hosts that say to be this instance.
    pub fn hosts_of_instance(&self, id: InstanceId) -> impl Iterator<Item = &Host> {
        let said = match self.instance(id) {
            Some((group, Instance { machine: None, .. })) => {
                // Nobody can be an instance that no machine fills yet.
                let named = self.launcher_of(group).is_some_and(|launcher| launcher.names_machines);
                (!named).then_some(id)
            }
            Some((_, Instance { machine: Some(machine), .. })) => Some(*machine),
            None => Some(id),
        };
        said.into_iter().flat_map(|said| self.hosts_that_say(said))
    }

    /// The registered hosts that were started with this id, whosever it is.
    pub fn hosts_that_say(&self, id: InstanceId) -> impl Iterator<Item = &Host> {
        let hosts = self.auto_scaling.hosts.get(&id).into_iter().flatten();
        hosts.filter_map(|host| self.host(*host))
    }

    /// The group and instance that a host belongs to.
    pub fn instance_of_host(&self, host: &Host) -> Option<(&Group, &Instance)> {
        let id = host.instance_id.as_deref()?.parse().ok()?;
        self.instance_known_as(id).filter(|(_, instance)| instance.host == Some(host.id))
    }

    /// What launchers are to be asked, the most urgent first.
    pub fn launcher_calls(
        &self,
    ) -> impl Iterator<Item = (Timestamp, &Group, &Instance, LauncherVerb)> {
        self.auto_scaling.calls.iter().filter_map(|(at, id)| {
            let (group, instance) = self.instance(*id)?;
            let (_, verb) = instance.call()?;
            Some((*at, group, instance, verb))
        })
    }

    pub(super) fn auto_scaling_group_created(
        &mut self,
        name: &AutoScalingGroupName,
        uid: u128,
        config: &GroupConfig,
        at: Timestamp,
    ) {
        self.touch(EntityKey::AutoScalingGroup(name.clone()));
        self.log(
            LogTo::nothing(),
            format_args!("Auto Scaling group {name} made, to have {} instances", config.desired),
        );
        self.insert_group(GroupRecord {
            name: name.clone(),
            uid,
            config: config.clone(),
            created_at: at,
            scaled_at: None,
            next_number: 0,
            deleting: false,
            instances: Vec::new(),
            size: None,
            excess_since: None,
            shapes: Vec::new(),
        });
    }

    pub(super) fn insert_group(&mut self, record: GroupRecord) {
        let (name, prefix) = (record.name.clone(), InstanceId::group_of(record.uid));
        let by = &self.auto_scaling;
        if by.by_name.contains_key(&name) || by.by_prefix.contains_key(&prefix) {
            return;
        }
        let slot = self.auto_scaling.arena.insert_with(|slot| Group {
            slot,
            name: record.name,
            uid: record.uid,
            config: record.config,
            created_at: record.created_at,
            scaled_at: record.scaled_at,
            next_number: record.next_number,
            deleting: record.deleting,
            instances: BTreeMap::new(),
            wanted: 0,
            size: record.size,
            excess_since: record.excess_since,
            shapes: record.shapes,
        });
        self.auto_scaling.by_name.insert(name, slot);
        self.auto_scaling.by_prefix.insert(prefix, slot);
        record.instances.into_iter().for_each(|instance| self.put_instance(slot, instance));
        self.group_is_due(slot);
    }

    pub(super) fn auto_scaling_group_configured(
        &mut self,
        name: &AutoScalingGroupName,
        config: &GroupConfig,
        at: Timestamp,
    ) {
        self.touch(EntityKey::AutoScalingGroup(name.clone()));
        let Some(&slot) = self.auto_scaling.by_name.get(name) else { return };
        let group = &mut self.auto_scaling.arena[slot];
        let before = std::mem::replace(&mut group.config, config.clone());
        if before.launch != config.launch {
            // What comes next may be like nothing that was there.
            group.size = None;
            group.shapes.clear();
        }
        if before.desired != config.desired {
            group.scaled_at = Some(at);
            self.log(
                LogTo::nothing(),
                format_args!(
                    "Auto Scaling group {name} is to have {} instances, was {}",
                    config.desired, before.desired
                ),
            );
        }
        self.group_is_due(slot);
    }

    pub(super) fn auto_scaling_group_deleting(&mut self, name: &AutoScalingGroupName) {
        self.touch(EntityKey::AutoScalingGroup(name.clone()));
        let Some(&slot) = self.auto_scaling.by_name.get(name) else { return };
        self.auto_scaling.arena[slot].deleting = true;
        self.log(LogTo::nothing(), format_args!("Auto Scaling group {name} is being deleted"));
        self.group_is_due(slot);
    }

    pub(super) fn auto_scaling_group_deleted(&mut self, name: &AutoScalingGroupName) {
        self.touch(EntityKey::AutoScalingGroup(name.clone()));
        let Some(slot) = self.auto_scaling.by_name.remove(name) else { return };
        let group = self.auto_scaling.arena.remove(slot);
        self.auto_scaling.by_prefix.remove(&InstanceId::group_of(group.uid));
        for instance in group.instances.values() {
            self.forget_call(instance);
            self.forget_machine(instance);
            self.forget_due_instance(instance.id);
        }
        self.forget_due_group(slot);
        self.log(LogTo::nothing(), format_args!("Auto Scaling group {name} deleted"));
    }

    pub(super) fn instances_wanted(
        &mut self,
        name: &AutoScalingGroupName,
        count: u32,
        at: Timestamp,
    ) {
        self.touch(EntityKey::AutoScalingGroup(name.clone()));
        let Some(&slot) = self.auto_scaling.by_name.get(name) else { return };
        for _ in 0..count {
            let group = &self.auto_scaling.arena[slot];
            let id = InstanceId {
                group: InstanceId::group_of(group.uid),
                number: group.next_number & InstanceId::NUMBER_MAX,
            };
            let instance = Instance {
                id,
                lifecycle: Lifecycle::Pending { launched: None },
                protected: group.config.protects_new,
                created_at: at,
                host: None,
                tries: Default::default(),
                machine: None,
            };
            self.put_instance(slot, instance);
        }
        self.log(
            LogTo::nothing(),
            format_args!("Auto Scaling group {name}: {count} more instances are to be launched"),
        );
    }

    pub(super) fn instance_set(
        &mut self,
        name: &AutoScalingGroupName,
        instance: &Instance,
        why: &str,
        shape: Option<&InstanceShape>,
    ) {
        self.touch(EntityKey::AutoScalingGroup(name.clone()));
        let Some(&slot) = self.auto_scaling.by_name.get(name) else { return };
        let (id, now) = (instance.id, instance.lifecycle.as_str());
        match instance.machine {
            None => self.log(
                LogTo::nothing(),
                format_args!("Auto Scaling group {name}: instance {id} is {now}: {why}"),
            ),
            Some(machine) => self.log(
                LogTo::nothing(),
                format_args!(
                    "Auto Scaling group {name}: instance {machine} ({id}) is {now}: {why}"
                ),
            ),
        }
        self.put_instance(slot, instance.clone());
        if let Some(host) = instance.host.and_then(|host| self.host(host)) {
            self.auto_scaling.arena[slot].size = Some(host.capacity.clone());
        }
        if let Some(shape) = shape {
            self.auto_scaling.arena[slot].remember(shape);
        }
        self.group_is_due(slot);
    }

    pub(super) fn group_scaled(
        &mut self,
        name: &AutoScalingGroupName,
        desired: u32,
        why: &str,
        at: Timestamp,
    ) {
        self.touch(EntityKey::AutoScalingGroup(name.clone()));
        let Some(&slot) = self.auto_scaling.by_name.get(name) else { return };
        let group = &mut self.auto_scaling.arena[slot];
        let before = std::mem::replace(&mut group.config.desired, desired);
        group.scaled_at = Some(at);
        self.log(
            LogTo::nothing(),
            format_args!(
                "Auto Scaling group {name} is to have {desired} instances, was {before}: {why}"
            ),
        );
        self.group_is_due(slot);
    }

    pub(super) fn group_excess(&mut self, name: &AutoScalingGroupName, since: Option<Timestamp>) {
        self.touch(EntityKey::AutoScalingGroup(name.clone()));
        let Some(&slot) = self.auto_scaling.by_name.get(name) else { return };
        self.auto_scaling.arena[slot].excess_since = since;
        self.group_is_due(slot);
    }

    pub(super) fn instance_gone(&mut self, name: &AutoScalingGroupName, id: InstanceId) {
        self.touch(EntityKey::AutoScalingGroup(name.clone()));
        let Some(&slot) = self.auto_scaling.by_name.get(name) else { return };
        self.take_instance(slot, id);
        self.forget_due_instance(id);
        self.log(
            LogTo::nothing(),
            format_args!("Auto Scaling group {name}: instance {id} is terminated"),
        );
        self.group_is_due(slot);
    }

    /// The one place where an instance enters or changes: what is counted of it follows.
    fn put_instance(&mut self, slot: GroupSlot, instance: Instance) {
        let id = instance.id;
        self.take_instance(slot, id);
        if let Some((at, _)) = instance.call() {
            self.auto_scaling.calls.insert((at, id));
            self.changes.effects |= !self.replaying;
        }
        if let Some(machine) = instance.machine {
            self.auto_scaling.machines.insert(machine, id);
        }
        let group = &mut self.auto_scaling.arena[slot];
        group.wanted += u32::from(instance.lifecycle.is_wanted());
        group.next_number = group.next_number.max(id.number.saturating_add(1));
        group.instances.insert(id, instance);
        self.instance_is_due(id);
    }

    fn take_instance(&mut self, slot: GroupSlot, id: InstanceId) {
        let group = &mut self.auto_scaling.arena[slot];
        let Some(instance) = group.instances.remove(&id) else { return };
        counter::count(&mut group.wanted, -i32::from(instance.lifecycle.is_wanted()));
        self.forget_call(&instance);
        self.forget_machine(&instance);
    }

    fn forget_machine(&mut self, instance: &Instance) {
        if let Some(machine) = instance.machine {
            self.auto_scaling.machines.remove(&machine);
        }
    }

    fn forget_call(&mut self, instance: &Instance) {
        if let Some((at, _)) = instance.call() {
            self.auto_scaling.calls.remove(&(at, instance.id));
        }
    }

    /// A host says that it is this instance, or no longer.
    pub(super) fn host_is_instance(&mut self, host: HostId, instance: Option<&str>, is: bool) {
        let Some(Ok(id)) = instance.map(str::parse::<InstanceId>) else { return };
        let hosts = self.auto_scaling.hosts.entry(id).or_default();
        match is {
            true => hosts.insert(host),
            false => hosts.remove(&host),
        };
        if hosts.is_empty() {
            self.auto_scaling.hosts.remove(&id);
        }
        self.known_as_is_due(id);
    }

    /// Something happened to a host that may be an instance.
    pub(super) fn host_concerns_instance(&mut self, slot: HostSlot) {
        let instance = self.hosts[slot].instance_id.as_deref();
        let Some(Ok(id)) = instance.map(str::parse::<InstanceId>) else { return };
        self.known_as_is_due(id);
    }

    fn known_as_is_due(&mut self, id: InstanceId) {
        if let Some(id) = self.instance_known_as(id).map(|(_, instance)| instance.id) {
            self.instance_is_due(id);
        }
    }

    pub(super) fn all_groups_are_due(&mut self) {
        let slots: Vec<GroupSlot> = self.auto_scaling.by_name.values().copied().collect();
        for slot in slots {
            self.group_is_due(slot);
            let ids: Vec<InstanceId> =
                self.auto_scaling.arena[slot].instances.keys().copied().collect();
            ids.into_iter().for_each(|id| self.instance_is_due(id));
        }
    }
}

impl Entity for kind::AutoScalingGroup {
    fn keys(state: &State) -> Vec<AutoScalingGroupName> {
        state.auto_scaling.by_name.keys().cloned().collect()
    }

    fn row(state: &State, name: &AutoScalingGroupName) -> Option<GroupRecord> {
        state.auto_scaling_group(name.as_str()).map(Group::record)
    }

    fn restore(state: &mut State, row: GroupRecord) {
        state.insert_group(row);
    }
}
