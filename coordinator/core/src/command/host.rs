//! What can be asked of hosts, which ECS calls container instances, and what is heard of them.

use longshore_common::{
    id::{HostId, TaskId},
    protocol::{
        Attribute, EngineHealth, HeldImages, RegisterRequest, Report, ReportPosition, Seen,
        StorageHealth, Versions,
    },
    resources::Capacity,
};

use crate::model::{name::ClusterName, tags::Tags};

#[derive(Clone, Debug)]
pub enum HostCommand {
    /// The API registers a host that has no agent yet.
    RegisterContainerInstance(Box<RegisterContainerInstance>),
    /// An agent registers whose certificate names `host`.
    RegisterHost {
        host: HostId,
        request: Box<RegisterRequest>,
    },
    DeregisterContainerInstance {
        cluster: ClusterName,
        host: HostId,
        force: bool,
    },
    UpdateContainerInstancesState {
        cluster: ClusterName,
        hosts: Vec<HostId>,
        status: SettableHostStatus,
    },
    PutAttributes {
        cluster: ClusterName,
        attributes: Vec<TargetedAttribute>,
    },
    DeleteAttributes {
        cluster: ClusterName,
        attributes: Vec<TargetedAttribute>,
    },
    /// What an agent's answer to a poll says that the state should know.
    AgentAnswered(Box<AgentAnswered>),
    /// The poller lost its agent (design.md rule 5: two beats missed, refused or reset).
    AgentSilent {
        host: HostId,
        why: String,
        /// The host answered that nobody listens.
        refused: bool,
    },
}

#[derive(Clone, Debug)]
pub struct RegisterContainerInstance {
    pub cluster: ClusterName,
    /// Registers an existing instance anew.
    pub host: Option<HostId>,
    pub capacity: Capacity,
    pub attributes: Vec<Attribute>,
    pub versions: Versions,
    pub instance_id: Option<String>,
    pub tags: Tags,
}

/// The two states that a user may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettableHostStatus {
    Active,
    Draining,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetedAttribute {
    pub host: HostId,
    pub attribute: Attribute,
}

#[derive(Clone, Debug)]
pub struct AgentAnswered {
    pub host: HostId,
    pub seen: Option<Seen>,
    /// The position after `reports`, or of the last one known.
    pub position: ReportPosition,
    pub reports: Vec<Report>,
    /// Those of the stop candidates among `reports` that the history knows to have ended.
    pub ended_candidates: Vec<TaskId>,
    /// Images of the host, when it has others than it said last.
    pub images: Option<HeldImages>,
    pub engine: EngineHealth,
    pub storage: StorageHealth,
    /// True when the host's machine is about to be taken away.
    pub leaving: bool,
    /// True when this answer completes what there is to know of the host's tasks.
    pub looked: bool,
}
