//! Which limits whole tasks are held to.

/// Default period of a CPU quota in microseconds, as ECS's agent has it.
const CPU_PERIOD_US: u64 = 100_000;

/// What an operator says of tasks' limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitRules {
    /// The limits of the definition count; else only those of single containers.
    pub cpu_and_memory: bool,
    /// Processes and threads that one task may have.
    pub processes: Option<u32>,
    /// Period of CPU quotas in microseconds.
    pub cpu_period_us: u64,
}

impl Default for LimitRules {
    fn default() -> Self {
        LimitRules { cpu_and_memory: true, processes: None, cpu_period_us: CPU_PERIOD_US }
    }
}
