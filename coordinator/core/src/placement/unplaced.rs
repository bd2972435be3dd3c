//! Why a host does not fit, and why a task has no host: data first, then ECS's words and a sentence.

use std::fmt;

use longshore_common::{protocol::Attribute, resources::HostPort};

use super::{HostSlot, cure::cure};
use crate::query::Constraint;

/// Why one host cannot take one task, with the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    NotActive,
    AgentDisconnected,
    /// The host's agent says that its container engine does not answer.
    EngineSilent,
    /// The host's agent says that the disks have no room for new tasks.
    NoRoom,
    /// The required attribute that the host lacks.
    Attribute(Attribute),
    /// The constraint that the host does not meet.
    MemberOf(Constraint),
    /// A task of the same group is there already.
    DistinctInstance,
    /// CPU units. What remains is negative on a host whose capacity was lowered under its tasks.
    Cpu {
        needed: u32,
        remaining: i64,
    },
    /// MiB, otherwise like `Cpu`.
    Memory {
        needed: u32,
        remaining: i64,
    },
    /// The port is in use by another task, or reserved.
    Port(HostPort),
    /// How many, otherwise like `Cpu`.
    Gpu {
        needed: u32,
        remaining: i64,
    },
}

/// The kinds of [`Unfit`], in the order in which a host is asked: what no task can change first,
/// resources last. A host counts for the first one that it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    NotActive,
    AgentDisconnected,
    EngineSilent,
    NoRoom,
    Attribute,
    MemberOf,
    DistinctInstance,
    Port,
    Gpu,
    Cpu,
    Memory,
}

/// Why `count` tasks have no host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced {
    pub count: u32,
    /// Hosts in the cluster. With none, ECS refuses the whole call.
    pub hosts: u32,
    /// How many hosts fail for what first, in the order of [`Reason`]; no zeros.
    pub reasons: Vec<(Reason, u32)>,
    /// The host that comes closest, and all that it lacks in the order of [`Reason`]: one whose
    /// first failure comes latest, CPU and memory counting as one. Of hosts short of these, first
    /// those short of only one, by the least share of what is needed; then by the most memory left.
    pub closest: Option<(HostSlot, Vec<Unfit>)>,
}

impl Reason {
    pub const ALL: [Reason; 11] = [
        Reason::NotActive,
        Reason::AgentDisconnected,
        Reason::EngineSilent,
        Reason::NoRoom,
        Reason::Attribute,
        Reason::MemberOf,
        Reason::DistinctInstance,
        Reason::Port,
        Reason::Gpu,
        Reason::Cpu,
        Reason::Memory,
    ];

    /// `reason` of ECS's `failures[]` (ecs-behaviour 1.5).
    pub fn as_ecs(self) -> &'static str {
        match self {
            Reason::NotActive => "INACTIVE",
            Reason::AgentDisconnected | Reason::EngineSilent | Reason::NoRoom => "AGENT",
            Reason::Attribute => "ATTRIBUTE",
            Reason::MemberOf => "MemberOf placement constraint unsatisfied",
            Reason::DistinctInstance => "DistinctInstance placement constraint unsatisfied",
            Reason::Port => "RESOURCE:PORTS",
            Reason::Gpu => "RESOURCE:GPU",
            Reason::Cpu => "RESOURCE:CPU",
            Reason::Memory => "RESOURCE:MEMORY",
        }
    }
}

impl Unfit {
    pub fn reason(&self) -> Reason {
        match self {
            Unfit::NotActive => Reason::NotActive,
            Unfit::AgentDisconnected => Reason::AgentDisconnected,
            Unfit::EngineSilent => Reason::EngineSilent,
            Unfit::NoRoom => Reason::NoRoom,
            Unfit::Attribute(_) => Reason::Attribute,
            Unfit::MemberOf(_) => Reason::MemberOf,
            Unfit::DistinctInstance => Reason::DistinctInstance,
            Unfit::Port(_) => Reason::Port,
            Unfit::Gpu { .. } => Reason::Gpu,
            Unfit::Cpu { .. } => Reason::Cpu,
            Unfit::Memory { .. } => Reason::Memory,
        }
    }
}

impl Unplaced {
    /// The one reason that each unplaced task is refused for: what the closest host lacks, by the
    /// first of it in the order of [`Reason`]. So a full host that would otherwise do is told of
    /// as `RESOURCE:…` (waiting helps), whatever the other hosts fail for. `None`: no hosts.
    pub fn reason(&self) -> Option<Reason> {
        self.closest.as_ref().and_then(|(_, unfit)| unfit.first()).map(Unfit::reason)
    }

    /// The sentence for `detail` of a failure. `name` is what the caller calls the closest host.
    pub fn sentence(&self, name: impl FnOnce(HostSlot) -> String) -> String {
        let Some((slot, unfit)) = &self.closest else {
            return "the cluster has no container instances".to_owned();
        };
        let counts: Vec<String> =
            self.reasons.iter().map(|(reason, hosts)| format!("{hosts} {reason}")).collect();
        let lacks: Vec<String> = unfit.iter().map(Unfit::to_string).collect();
        format!(
            "no container instance can take the task (of {}: {}); the closest container instance {} {}",
            self.hosts,
            counts.join(", "),
            name(*slot),
            lacks.join(" and "),
        )
    }
}

/// Completes "3 …".
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NotActive => "not ACTIVE",
            Reason::AgentDisconnected => "with a disconnected agent",
            Reason::EngineSilent => "with a container engine that does not answer",
            Reason::NoRoom => "without room on their disks",
            Reason::Attribute => "without a required attribute",
            Reason::MemberOf => "outside of a memberOf constraint",
            Reason::DistinctInstance => "with a task of the group already",
            Reason::Port => "with a needed port taken",
            Reason::Gpu => "short of GPUs",
            Reason::Cpu => "short of CPU",
            Reason::Memory => "short of memory",
        })
    }
}

/// Completes "container instance X …".
impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::NotActive => f.write_str(
                "is not ACTIVE (if it is DRAINING, update-container-instances-state --status ACTIVE \
                 ends that)",
            ),
            Unfit::AgentDisconnected => f.write_str("has a disconnected agent"),
            Unfit::EngineSilent => f.write_str("has a container engine that does not answer"),
            Unfit::NoRoom => f.write_str(
                "has no room for new tasks on its disks (/healthz and the log of its agent say on which; \
                 remove what it need not hold, make it larger, or change disk-refuse-at and disk-floor)",
            ),
            Unfit::Attribute(Attribute { name, value: None }) => {
                write!(f, "lacks the attribute {name}")?;
                cure(name).map_or(Ok(()), |cure| write!(f, " ({cure})"))
            }
            Unfit::Attribute(Attribute { name, value: Some(value) }) => {
                write!(f, "lacks the attribute {name} with the value {value}")
            }
            Unfit::MemberOf(constraint) => {
                write!(f, "does not meet the constraint `{}`", constraint.text())
            }
            Unfit::DistinctInstance => f.write_str("runs a task of the same group already"),
            Unfit::Cpu { needed, remaining } => {
                write!(f, "has {} of the {needed} CPU units needed", remaining.max(&0))
            }
            Unfit::Memory { needed, remaining } => {
                write!(f, "has {} of the {needed} MiB needed", remaining.max(&0))
            }
            Unfit::Port(HostPort { transport, port }) => {
                write!(f, "has {transport} port {port} in use")
            }
            Unfit::Gpu { needed, remaining } => {
                write!(f, "has {} of the {needed} GPUs needed", remaining.max(&0))
            }
        }
    }
}
