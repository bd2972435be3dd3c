//! Container instances: what they offer, whether their agent is heard, and the orders on their way.

use std::collections::{BTreeMap, VecDeque};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    protocol::{Attribute, DesiredDigest, EngineHealth, ReportPosition, StorageHealth, Versions},
    resources::Capacity,
    task::StopCause,
};

use super::{ClusterSlot, TaskSlot};
use crate::{
    model::{
        host::{AgentPlace, HostStatus},
        orders_at_starts::OrdersAtStarts,
        tags::Tags,
    },
    placement::{Eligibility, HostSlot, Particulars},
};

/// Maximum number of orders to one host that are kept for resending (ours). A host that falls
/// further behind gets a manifest instead.
pub(super) const QUEUED_ORDERS_MAX: usize = 4096;

pub struct Host {
    pub id: HostId,
    pub slot: HostSlot,
    pub cluster: ClusterSlot,
    pub status: HostStatus,
    pub capacity: Capacity,
    /// Attributes as registered; the next registration replaces them.
    pub attributes: Vec<Attribute>,
    /// Attributes from PutAttributes; they stay.
    pub custom_attributes: Vec<Attribute>,
    /// Attributes from RegisterContainerInstance: an agent that takes the instance over has them
    /// too, but for those that the agent registers itself.
    pub given_attributes: Vec<Attribute>,
    pub tags: Tags,
    pub versions: Versions,
    pub instance_id: Option<String>,
    /// Absent while no agent has registered as this host.
    pub agent: Option<AgentPlace>,
    pub registered_at: Timestamp,
    pub connected: bool,
    /// True when a host that is not connected answers, but nobody listens there: its agent may be
    /// restarting.
    pub refused: bool,
    /// When the host last ceased to refuse in the silence that continues: until then the host was
    /// up.
    pub refused_until: Timestamp,
    /// When `connected` last changed.
    pub connectivity_at: Timestamp,
    /// Time since which the host's agent is heard without a pause and has looked at its tasks;
    /// volatile: a new coordinator has heard nobody.
    pub(super) heard_since: Option<Timestamp>,
    /// What its agent says of the container engine.
    pub engine: EngineHealth,
    /// When `engine` last changed.
    pub engine_at: Timestamp,
    /// What its agent says of the disks.
    pub storage: StorageHealth,
    /// When `storage` last changed.
    pub storage_at: Timestamp,
    /// ECS's `version`: one more at every change that is shown.
    pub version: u64,

    /// Every task here that has not stopped.
    pub tasks: BTreeMap<TaskId, TaskSlot>,
    /// GPUs that its tasks have, sorted.
    pub used_gpus: Vec<String>,
    pub running_tasks: u32,
    pub pending_tasks: u32,
    /// Tasks that are no daemon's.
    pub own_tasks: u32,
    /// Digest of what is desired of this host, for the agent to compare.
    pub digest: DesiredDigest,
    /// Number of the last order given; journaled, never reset.
    pub last_order: u64,
    pub orders_at_starts: OrdersAtStarts,
    /// The journal's sequence when its orders were last numbered above those of a lost part of the
    /// journal. Tasks that were placed until then may have numbers that the agent took for old.
    pub skipped_seq: u64,
    /// The `recover` since which it has told everything that it runs, by its epoch's counter.
    pub told_all: u64,
    /// Orders that the agent may not have: volatile, rebuilt by a manifest after a restart.
    pub queue: VecDeque<QueuedOrder>,
    /// The journal's sequence of the last change that a poll of this host shows.
    pub changed_seq: u64,
    /// The last report that was taken; volatile, agents repeat what is not acknowledged.
    pub reports_taken: Option<ReportPosition>,
    /// Position of the host's list of images that placement knows; volatile, agents tell their
    /// images to a coordinator that does not know them.
    pub images_taken: Option<ReportPosition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedOrder {
    pub order: u64,
    pub task: TaskId,
    pub generation: u32,
    /// Absent: run it; its content is the task's own.
    pub stop: Option<StopCause>,
}

impl Host {
    pub fn is_registered(&self) -> bool {
        !matches!(self.status, HostStatus::Inactive { .. })
    }

    /// Time since which the host's agent was not heard; `None` while it is, and while there is none
    /// to hear.
    pub(super) fn silent_since(&self) -> Option<Timestamp> {
        let silent = self.is_registered() && !self.connected && self.agent.is_some();
        silent.then_some(self.connectivity_at)
    }

    /// The value of a registered or custom attribute; `Some(None)` when it has no value.
    pub fn attribute(&self, name: &str) -> Option<Option<&str>> {
        self.all_attributes().find(|a| a.name == name).map(|a| a.value.as_deref())
    }

    /// Custom attributes win over registered ones of the same name.
    pub fn all_attributes(&self) -> impl Iterator<Item = &Attribute> {
        let overridden =
            |name: &str| self.custom_attributes.iter().any(|custom| custom.name == name);
        self.attributes.iter().filter(move |a| !overridden(&a.name)).chain(&self.custom_attributes)
    }

    /// GPUs that no task has, in the order in which they are given away.
    pub fn free_gpus(&self) -> impl Iterator<Item = &String> {
        self.capacity.gpus.iter().filter(|gpu| self.used_gpus.binary_search(gpu).is_err())
    }

    pub(super) fn take_gpus(&mut self, gpus: &[String]) {
        self.used_gpus.extend_from_slice(gpus);
        self.used_gpus.sort_unstable();
    }

    pub(super) fn give_back_gpus(&mut self, gpus: &[String]) {
        for gpu in gpus {
            if let Ok(at) = self.used_gpus.binary_search(gpu) {
                self.used_gpus.remove(at);
            }
        }
    }

    pub(super) fn eligibility(&self) -> Eligibility {
        Eligibility {
            active: self.status == HostStatus::Active,
            connected: self.connected,
            engine_answers: self.engine != EngineHealth::Silent,
            has_room: self.storage.takes_tasks(),
        }
    }

    pub(super) fn particulars(&self) -> Particulars<'_> {
        Particulars {
            instance_id: self.instance_id.as_deref(),
            agent_version: &self.versions.agent,
            registered_at: self.registered_at,
        }
    }
}

/// What a machine is called that nobody gave an instance id: as ECS calls hosts outside of EC2, `mi-`
/// and 17 hexadecimal digits, here those that the host's id begins with.
pub fn managed_instance_id(host: HostId) -> String {
    format!("mi-{:017x}", host.value() >> (128 - 17 * 4))
}
