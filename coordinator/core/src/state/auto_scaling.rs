//! Auto Scaling groups, their instances, and the hosts that these became.

use std::collections::{BTreeMap, BTreeSet};

use longshore_common::{clock::Timestamp, id::HostId, resources::Capacity};

use super::{
    GroupSlot,
    arena::Arena,
    picture::{Picture, fields},
};
use crate::model::{
    auto_scaling::{
        AutoScalingGroupName, GroupConfig, GroupRecord, Instance, InstanceId, InstanceShape,
        Lifecycle, SHAPES_MAX,
    },
    capacity_provider::CapacityPolicy,
};

pub struct Group {
    pub slot: GroupSlot,
    pub name: AutoScalingGroupName,
    pub uid: u128,
    pub config: GroupConfig,
    pub created_at: Timestamp,
    pub scaled_at: Option<Timestamp>,
    pub next_number: u64,
    pub deleting: bool,
    pub instances: BTreeMap<InstanceId, Instance>,
    /// Number of `instances` that are Pending or InService.
    pub wanted: u32,
    /// What the instance offered that registered last: the next one is taken to be like it.
    pub size: Option<Capacity>,
    /// Time since which the group has more instances than its tasks need.
    pub excess_since: Option<Timestamp>,
    /// What its instances were like for placement, the last one first: what is known of the next one
    /// while there is none.
    pub shapes: Vec<InstanceShape>,
}

/// Groups with what leads to them.
#[derive(Default)]
pub(super) struct Groups {
    pub(super) arena: Arena<GroupSlot, Group>,
    pub(super) by_name: BTreeMap<AutoScalingGroupName, GroupSlot>,
    pub(super) by_prefix: BTreeMap<u32, GroupSlot>,
    /// What launchers are to be asked, by not before when.
    pub(super) calls: BTreeSet<(Timestamp, InstanceId)>,
    /// Registered hosts by the instance that they say to be: more than one when an instance was
    /// launched twice.
    pub(super) hosts: BTreeMap<InstanceId, BTreeSet<HostId>>,
    /// Instances by the machine that they are bound to.
    pub(super) machines: BTreeMap<InstanceId, InstanceId>,
    pub(super) policy: CapacityPolicy,
}

impl Groups {
    pub(super) fn picture(&self, picture: &mut Picture) {
        let Groups { arena, by_name, by_prefix, calls, hosts, machines, policy: _ } = self;
        for group in arena.iter() {
            let Group {
                slot: _,
                name,
                uid,
                config,
                created_at,
                scaled_at,
                next_number,
                deleting,
                instances,
                wanted,
                size,
                excess_since,
                shapes,
            } = group;
            let shown = fields! {
                uid: uid,
                config: config,
                created_at: created_at,
                scaled_at: scaled_at,
                next_number: next_number,
                deleting: deleting,
                instances: instances,
                wanted: wanted,
                size: size,
                excess_since: excess_since,
                shapes: shapes,
            };
            picture.show(format!("Auto Scaling group {name}"), shown);
        }
        let named: Vec<_> = by_name.iter().map(|(name, &slot)| (name, &arena[slot].name)).collect();
        let prefixes: Vec<_> =
            by_prefix.iter().map(|(prefix, &slot)| (prefix, &arena[slot].name)).collect();
        let shown = fields! {
            by_name: named,
            by_prefix: prefixes,
            calls: calls,
            hosts: hosts,
            machines: machines,
        };
        picture.show("Auto Scaling indexes", shown);
    }
}

impl Group {
    /// Whether it may have one more instance than it is to have now. A group that is being deleted
    /// gets none, whatever its limits say.
    pub fn can_grow(&self) -> bool {
        !self.deleting && self.wanted < self.config.max
    }

    /// Whether an instance is on its way.
    pub fn has_pending(&self) -> bool {
        let mut instances = self.instances.values();
        instances.any(|instance| matches!(instance.lifecycle, Lifecycle::Pending { .. }))
    }

    pub(super) fn record(&self) -> GroupRecord {
        GroupRecord {
            name: self.name.clone(),
            uid: self.uid,
            config: self.config.clone(),
            created_at: self.created_at,
            scaled_at: self.scaled_at,
            next_number: self.next_number,
            deleting: self.deleting,
            instances: self.instances.values().cloned().collect(),
            size: self.size.clone(),
            excess_since: self.excess_since,
            shapes: self.shapes.clone(),
        }
    }

    pub(super) fn remember(&mut self, shape: &InstanceShape) {
        self.shapes.retain(|known| !known.is_like(shape));
        self.shapes.insert(0, shape.clone());
        self.shapes.truncate(SHAPES_MAX);
    }
}
