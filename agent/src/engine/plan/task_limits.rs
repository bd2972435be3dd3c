//! What a whole task may use, and its containers within it (ecs-behaviour 1.7, CPU/memory).
//!
//! Owns the units: ECS's CPU units and MiB, Linux's shares, quota and bytes. Never: a call.

use super::namespaces::needs_pause;
use crate::{
    runtime::{CpuQuota, TaskGroup},
    task::{intent::Intent, names::group_name, rules::Rules},
};

/// Minimum of CPU shares that Linux takes (ecs-behaviour 1.3).
const CPU_SHARES_MIN: u32 = 2;
const CPU_SHARES_MAX: u32 = 262_144;
/// Minimum of memory that Docker takes (ecs-behaviour 1.3).
const MEMORY_MIB_MIN: u32 = 6;
pub(super) const MIB: u64 = 1024 * 1024;
const CPU_UNITS_PER_CORE: u64 = 1024;
/// Minimum CPU quota that Linux takes, in microseconds.
const CPU_QUOTA_US_MIN: u64 = 1000;

pub(crate) struct TaskLimits {
    pub(crate) cpu_units: Option<u32>,
    pub(crate) memory_mib: Option<u32>,
}

impl TaskLimits {
    /// `Err` says what cannot be read.
    pub(crate) fn of(intent: &Intent) -> Result<Self, String> {
        let (spec, overrides) = (&intent.definition.spec, &intent.order.overrides);
        let number = |text: &Option<String>, or: &Option<String>, what: &str| {
            let Some(text) = text.as_ref().or(or.as_ref()) else { return Ok(None) };
            text.parse::<u32>().map(Some).map_err(|_| format!("{what} `{text}`"))
        };
        Ok(TaskLimits {
            cpu_units: number(&overrides.cpu, &spec.cpu, "task cpu")?,
            memory_mib: number(&overrides.memory, &spec.memory, "task memory")?,
        })
    }

    /// The limits that the task is held to.
    pub(super) fn held(intent: &Intent, rules: &Rules) -> Result<Self, String> {
        match rules.limits.cpu_and_memory {
            true => TaskLimits::of(intent),
            false => Ok(TaskLimits { cpu_units: None, memory_mib: None }),
        }
    }

    pub(super) fn cpu_quota(&self, rules: &Rules) -> Option<CpuQuota> {
        let period_us = rules.limits.cpu_period_us;
        let units = u64::from(self.cpu_units?);
        let us = (units * period_us / CPU_UNITS_PER_CORE).max(CPU_QUOTA_US_MIN);
        Some(CpuQuota { us, period_us })
    }
}

/// One container is given the task's limits as its own; several share a control group.
pub(crate) fn task_group(intent: &Intent, rules: &Rules) -> Option<TaskGroup> {
    let containers = &intent.definition.spec.container_definitions;
    let (limits, processes) = (TaskLimits::held(intent, rules).ok()?, rules.limits.processes);
    let limited = limits.cpu_units.is_some() || limits.memory_mib.is_some() || processes.is_some();
    let containers_in_all = containers.len() + usize::from(needs_pause(&intent.definition.spec));
    if containers_in_all < 2 || !limited {
        return None;
    }
    let cpu = |container: &longshore_common::task_definition::ContainerDefinition| {
        let overridden = intent.order.overrides.container(&container.name).and_then(|o| o.cpu);
        shares(overridden.unwrap_or(container.cpu))
    };
    let sum = containers.iter().map(cpu).fold(0, u32::saturating_add);
    Some(TaskGroup {
        name: group_name(intent.key),
        cpu_shares: shares(limits.cpu_units.unwrap_or(sum)),
        cpu_quota: limits.cpu_quota(rules),
        memory_bytes: limits.memory_mib.map(bytes),
        processes,
    })
}

pub(super) fn shares(cpu_units: u32) -> u32 {
    cpu_units.clamp(CPU_SHARES_MIN, CPU_SHARES_MAX)
}

pub(super) fn bytes(mib: u32) -> u64 {
    u64::from(mib.max(MEMORY_MIB_MIN)) * MIB
}
