//! This machine: what it has, and what of it is offered to tasks.
//!
//! Reads the machine once at the start. Never: a guess. What is not known is left out.

use longshore_common::{
    machine::MachineMarks,
    resources::{Capacity, CpuUnits, DEFAULT_RESERVED_PORTS, HostPort, MemoryMib, Transport},
};

use crate::settings::Settings;

/// What the coordinator and the log call this version of the agent.
pub(crate) const AGENT_VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that the agent was built from, when whoever built it said so.
pub(crate) const AGENT_HASH: &str = match option_env!("LONGSHORE_COMMIT") {
    Some(commit) => commit,
    None => "unreleased",
};

const CPU_UNITS_PER_CORE: u32 = 1024;
const BYTES_PER_MIB: u64 = 1024 * 1024;
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";
/// Id of the installed system: machine-id(5).
const INSTALLATION_ID_FILE: &str = "/etc/machine-id";
/// Id of the hardware or the virtual machine, by its firmware.
const HARDWARE_ID_FILE: &str = "/sys/class/dmi/id/product_uuid";
const MODEL_FILE: &str = "/sys/class/dmi/id/product_name";
/// os-release(5).
const SYSTEM_FILE: &str = "/etc/os-release";
/// Maximum of characters of an attribute's value (ecs-behaviour 1.2, attributes).
const ATTRIBUTE_VALUE_CHARS_MAX: usize = 128;

/// The machine's facts. They do not change while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) cores: u32,
    pub(crate) memory: MemoryMib,
    /// As ECS says it: `x86_64`, `arm64`.
    pub(crate) architecture: String,
    /// Names one boot of the kernel.
    pub(crate) boot_id: String,
    pub(crate) marks: MachineMarks,
    /// What the firmware calls this model of machine.
    pub(crate) model: Option<String>,
    /// The operating system and its version.
    pub(crate) system: Option<String>,
}

impl Machine {
    pub(crate) fn read() -> Result<Machine, MachineError> {
        let mut system = sysinfo::System::new().map_err(MachineError::System)?;
        system.refresh_memory_specifics(sysinfo::MemoryRefreshKind::nothing().with_ram());
        system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
        Ok(Machine {
            cores: u32::try_from(system.cpus().len()).unwrap_or(u32::MAX).max(1),
            memory: MemoryMib(
                u32::try_from(system.total_memory() / BYTES_PER_MIB).unwrap_or(u32::MAX),
            ),
            architecture: match std::env::consts::ARCH {
                "aarch64" => "arm64".to_owned(),
                other => other.to_owned(),
            },
            boot_id: fs_err::read_to_string(BOOT_ID_FILE)
                .map_err(MachineError::Boot)?
                .trim()
                .to_owned(),
            marks: marks(),
            model: fs_err::read_to_string(MODEL_FILE)
                .ok()
                .and_then(|model| attribute_value(&model)),
            system: fs_err::read_to_string(SYSTEM_FILE).ok().and_then(|text| system_of(&text)),
        })
    }
}

/// `ID` and `VERSION_ID` of os-release(5): `debian-12`.
fn system_of(os_release: &str) -> Option<String> {
    let value = |name: &str| {
        let mut lines = os_release.lines().filter_map(|line| line.split_once('='));
        let found = lines.find(|(key, _)| *key == name).map(|(_, value)| value);
        found.map(|value| value.trim_matches(['"', '\''])).filter(|value| !value.is_empty())
    };
    let id = value("ID")?;
    attribute_value(&match value("VERSION_ID") {
        Some(version) => format!("{id}-{version}"),
        None => id.to_owned(),
    })
}

/// In the characters that a value may have: any other becomes a hyphen.
fn attribute_value(text: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./@:+ ".contains(c);
    let text: String = text
        .trim()
        .chars()
        .take(ATTRIBUTE_VALUE_CHARS_MAX)
        .map(|c| if allowed(c) { c } else { '-' })
        .collect();
    (!text.is_empty()).then_some(text)
}

/// Not every machine has them.
fn marks() -> MachineMarks {
    let read = |path: &str| fs_err::read_to_string(path).ok();
    let (installation, hardware) = (read(INSTALLATION_ID_FILE), read(HARDWARE_ID_FILE));
    MachineMarks::new(installation.as_deref(), hardware.as_deref())
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum MachineError {
    #[error("this machine's processors and memory cannot be read")]
    System(#[source] sysinfo::Error),
    #[error("the id of this boot cannot be read: is /proc mounted?")]
    Boot(#[source] std::io::Error),
}

/// What this host offers to tasks.
pub(crate) fn capacity(
    settings: &Settings,
    machine: &Machine,
    gpus: Vec<String>,
) -> Result<Capacity, NoCapacity> {
    let cpu = settings.cpu.unwrap_or(CpuUnits(machine.cores.saturating_mul(CPU_UNITS_PER_CORE)));
    let memory = match settings.memory {
        Some(memory) => memory,
        None => {
            let left = machine.memory.0.saturating_sub(settings.reserved_memory.0);
            if left == 0 {
                return Err(NoCapacity {
                    reserved: settings.reserved_memory,
                    total: machine.memory,
                });
            }
            MemoryMib(left)
        }
    };
    Ok(Capacity { cpu, memory, reserved_ports: reserved_ports(settings), gpus: gpus.into() })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} MiB of memory are reserved and this machine has {}: reserve less by --reserved-memory, or \
     say by --memory what tasks may use",
    reserved.0,
    total.0
)]
pub(crate) struct NoCapacity {
    reserved: MemoryMib,
    total: MemoryMib,
}

/// ECS's, the operator's, and those where this agent listens.
fn reserved_ports(settings: &Settings) -> Box<[HostPort]> {
    let tcp = |port| HostPort { transport: Transport::Tcp, port };
    let own = [settings.poll_listen.port(), settings.introspection_listen.port()];
    let mut ports: Vec<HostPort> = DEFAULT_RESERVED_PORTS
        .into_iter()
        .chain(own.into_iter().filter(|port| *port != 0))
        .map(tcp)
        .chain(settings.reserved_ports.iter().copied())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports.into()
}

#[cfg(test)]
pub(crate) mod tests;
