//! What a task asks of a host and what a host offers, in ECS's units.

use std::fmt;

use serde::{Deserialize, Serialize};

/// CPU units: 1024 are one core.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct CpuUnits(pub u32);

/// Memory in MiB.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MemoryMib(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Tcp,
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        })
    }
}

/// A host port that a task needs for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostPort {
    pub transport: Transport,
    pub port: u16,
}

/// What one task takes of its host (ecs-behaviour 1.7, host accounting): CPU is the task's or the
/// sum of its containers', memory the task's or the sum of reservations (else limits).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Demand {
    pub cpu: CpuUnits,
    pub memory: MemoryMib,
    /// Static host ports only, sorted and without repetition; dynamic ones are found by the host.
    pub ports: Box<[HostPort]>,
    /// How many of the host's GPUs it has for itself.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gpus: u32,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What a host offers to tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    pub cpu: CpuUnits,
    pub memory: MemoryMib,
    /// Ports that no task may ask for, sorted: ECS's defaults and the operator's.
    pub reserved_ports: Box<[HostPort]>,
    /// Ids of its GPUs, in the order in which they are given away.
    #[serde(default, skip_serializing_if = "<[String]>::is_empty")]
    pub gpus: Box<[String]>,
}

/// Host ports that ECS reserves on every instance (ecs-behaviour 1.3): ssh, Docker's API, the agent.
pub const DEFAULT_RESERVED_PORTS: [u16; 6] = [22, 2375, 2376, 51678, 51679, 51680];
