//! One reading of the kernel's counters of a container, from cgroup v2 or v1.
//!
//! A file that is not there, as when a controller is off, counts as zero or is left out; only a
//! container whose whole group is gone is an error.

use std::{collections::BTreeMap, io, path::Path};

use fs_err as fs;
use serde::Serialize;

use crate::kernel::control_group::ControlGroup;

/// Nanoseconds of a tick, in which the kernel counts CPU time in /proc/stat and cpuacct.stat
/// (USER_HZ).
const TICK_NS: u64 = 1_000_000_000 / 100;
const US_NS: u64 = 1000;
/// Number of fields of /proc/stat's first line that Docker counts as the machine's time: user to softirq.
const MACHINE_FIELDS: usize = 7;

#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    pub(super) cpu: CpuTime,
    pub(super) memory: MemoryUse,
    pub(super) pids: PidCount,
    pub(super) io_bytes: Vec<Io>,
    pub(super) io_operations: Vec<Io>,
    /// Absent with the host's network.
    pub(super) networks: Option<BTreeMap<String, Interface>>,
}

/// Nanoseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct CpuTime {
    pub(super) total: u64,
    pub(super) user: u64,
    pub(super) kernel: u64,
    pub(super) per_cpu: Vec<u64>,
    pub(super) machine: u64,
    pub(super) online: u32,
    pub(super) throttling: Throttling,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Throttling {
    pub(super) periods: u64,
    pub(super) throttled_periods: u64,
    pub(super) throttled_time: u64,
}

/// Bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryUse {
    pub(super) usage: u64,
    pub(super) max_usage: Option<u64>,
    pub(super) limit: u64,
    pub(super) stats: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct PidCount {
    pub(super) current: Option<u64>,
    pub(super) limit: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Io {
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) op: String,
    pub(super) value: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Interface {
    pub(super) rx_bytes: u64,
    pub(super) rx_packets: u64,
    pub(super) rx_errors: u64,
    pub(super) rx_dropped: u64,
    pub(super) tx_bytes: u64,
    pub(super) tx_packets: u64,
    pub(super) tx_errors: u64,
    pub(super) tx_dropped: u64,
}

impl Reading {
    /// `network` is the container's `/proc/<pid>/net/dev`.
    pub(crate) fn take(group: &ControlGroup, network: Option<&Path>) -> io::Result<Self> {
        let machine = fs::read_to_string("/proc/stat")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let mut reading = match group {
            ControlGroup::V2(path) => v2(path)?,
            ControlGroup::V1(_) => v1(group)?,
        };
        (reading.cpu.machine, reading.cpu.online) = machine_time(&machine);
        // As Docker shows no limit.
        reading.memory.limit = reading.memory.limit.min(total_memory(&memory));
        reading.networks = match network {
            Some(path) => Some(interfaces(&fs::read_to_string(path)?)),
            None => None,
        };
        Ok(reading)
    }

    /// Received and sent, on all interfaces.
    pub(super) fn network_bytes(&self) -> (u64, u64) {
        let all = self.networks.iter().flat_map(BTreeMap::values);
        all.fold((0, 0), |(rx, tx), one| (rx + one.rx_bytes, tx + one.tx_bytes))
    }
}

fn v2(path: &Path) -> io::Result<Reading> {
    let text = |name: &str| fs::read_to_string(path.join(name)).unwrap_or_default();
    let number = |name: &str| text(name).trim().parse().ok();
    // In every group that exists.
    let cpu = pairs(&fs::read_to_string(path.join("cpu.stat"))?);
    let of = |name: &str| cpu.get(name).copied().unwrap_or_default();
    let (io_bytes, io_operations) = v2_io(&text("io.stat"));
    Ok(Reading {
        cpu: CpuTime {
            total: of("usage_usec") * US_NS,
            user: of("user_usec") * US_NS,
            kernel: of("system_usec") * US_NS,
            throttling: Throttling {
                periods: of("nr_periods"),
                throttled_periods: of("nr_throttled"),
                throttled_time: of("throttled_usec") * US_NS,
            },
            ..CpuTime::default()
        },
        memory: MemoryUse {
            usage: number("memory.current").unwrap_or_default(),
            max_usage: number("memory.peak"),
            limit: number("memory.max").unwrap_or(u64::MAX),
            stats: pairs(&text("memory.stat")),
        },
        pids: PidCount { current: number("pids.current"), limit: number("pids.max") },
        io_bytes,
        io_operations,
        networks: None,
    })
}

fn v1(group: &ControlGroup) -> io::Result<Reading> {
    let text = |controller: &str, name: &str| {
        let file = group.controller(controller).map(|path| path.join(name));
        file.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default()
    };
    let number = |controller: &str, name: &str| text(controller, name).trim().parse::<u64>().ok();
    let usage = group.controller("cpuacct").ok_or(io::ErrorKind::NotFound)?;
    let usage = fs::read_to_string(usage.join("cpuacct.usage"))?;
    let (cpu, throttling) =
        (pairs(&text("cpuacct", "cpuacct.stat")), pairs(&text("cpu", "cpu.stat")));
    let of =
        |pairs: &BTreeMap<String, u64>, name: &str| pairs.get(name).copied().unwrap_or_default();
    let per_cpu = text("cpuacct", "cpuacct.usage_percpu");
    let memory = |name: &str| number("memory", name);
    Ok(Reading {
        cpu: CpuTime {
            total: usage.trim().parse().unwrap_or_default(),
            user: of(&cpu, "user") * TICK_NS,
            kernel: of(&cpu, "system") * TICK_NS,
            per_cpu: per_cpu.split_whitespace().filter_map(|time| time.parse().ok()).collect(),
            throttling: Throttling {
                periods: of(&throttling, "nr_periods"),
                throttled_periods: of(&throttling, "nr_throttled"),
                throttled_time: of(&throttling, "throttled_time"),
            },
            ..CpuTime::default()
        },
        memory: MemoryUse {
            usage: memory("memory.usage_in_bytes").unwrap_or_default(),
            max_usage: memory("memory.max_usage_in_bytes"),
            limit: memory("memory.limit_in_bytes").unwrap_or(u64::MAX),
            stats: pairs(&text("memory", "memory.stat")),
        },
        pids: PidCount {
            current: number("pids", "pids.current"),
            limit: number("pids", "pids.max"),
        },
        io_bytes: v1_io(&text("blkio", "blkio.throttle.io_service_bytes_recursive")),
        io_operations: v1_io(&text("blkio", "blkio.throttle.io_serviced_recursive")),
        networks: None,
    })
}

/// Lines of a name and a number.
fn pairs(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`: bytes and operations.
fn v2_io(text: &str) -> (Vec<Io>, Vec<Io>) {
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split(' ');
        let Some((major, minor)) = words.next().and_then(device) else { continue };
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            let Ok(value) = value.parse() else { continue };
            let (list, op) = match name {
                "rbytes" => (&mut bytes, "read"),
                "wbytes" => (&mut bytes, "write"),
                "rios" => (&mut operations, "read"),
                "wios" => (&mut operations, "write"),
                _ => continue,
            };
            list.push(Io { major, minor, op: op.to_owned(), value });
        }
    }
    (bytes, operations)
}

/// `8:0 Read 1`.
fn v1_io(text: &str) -> Vec<Io> {
    let io = |line: &str| {
        let mut words = line.split(' ');
        let (major, minor) = device(words.next()?)?;
        let (op, value) = (words.next()?.to_lowercase(), words.next()?.parse().ok()?);
        Some(Io { major, minor, op, value })
    };
    text.lines().filter_map(io).collect()
}

fn device(word: &str) -> Option<(u64, u64)> {
    let (major, minor) = word.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Nanoseconds of all CPUs together, and how many there are.
fn machine_time(stat: &str) -> (u64, u32) {
    let all = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: u64 = all.take(MACHINE_FIELDS).filter_map(|field| field.parse::<u64>().ok()).sum();
    let is_cpu = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    (ticks * TICK_NS, stat.lines().filter(is_cpu).count() as u32)
}

fn total_memory(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib * 1024)
}

/// Every interface but the loopback.
fn interfaces(text: &str) -> BTreeMap<String, Interface> {
    let interface = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let counters: Vec<u64> =
            counters.split_whitespace().filter_map(|counter| counter.parse().ok()).collect();
        let &[
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            _,
            _,
            _,
            _,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
            ..,
        ] = &counters[..]
        else {
            return None;
        };
        let interface = Interface {
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
        };
        Some((name.trim().to_owned(), interface))
    };
    text.lines().filter_map(interface).filter(|(name, _)| name != "lo").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &Path, files: &[(&str, &str)]) {
        for (name, content) in files {
            std::fs::write(directory.join(name), content).unwrap();
        }
    }

    #[test]
    fn a_group_of_v2_is_read() {
        let directory = tempfile::tempdir().unwrap();
        files(
            directory.path(),
            &[
                (
                    "cpu.stat",
                    "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\nnr_throttled 1\nthrottled_usec 7\n",
                ),
                ("memory.current", "4096\n"),
                ("memory.max", "max\n"),
                ("memory.stat", "anon 12\nfile 3\n"),
                ("pids.current", "2\n"),
                ("pids.max", "max\n"),
                ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n"),
            ],
        );
        let network = directory.path().join("dev");
        std::fs::write(&network, "Inter-| Receive\n face |bytes\n    lo: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n  eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n").unwrap();
        let group = ControlGroup::V2(directory.path().to_owned());
        let reading = Reading::take(&group, Some(&network)).unwrap();
        assert_eq!(
            (reading.cpu.total, reading.cpu.user, reading.cpu.kernel),
            (30_000, 20_000, 10_000)
        );
        assert_eq!(reading.cpu.throttling.throttled_time, 7_000);
        assert!(reading.cpu.machine > 0 && reading.cpu.online > 0);
        // No limit is the machine's memory.
        assert!(reading.memory.limit < u64::MAX && reading.memory.limit > 4096);
        assert_eq!((reading.memory.usage, reading.memory.stats["anon"]), (4096, 12));
        assert_eq!((reading.pids.current, reading.pids.limit), (Some(2), None));
        let io = |op: &str, value| Io { major: 8, minor: 0, op: op.to_owned(), value };
        assert_eq!(reading.io_bytes, [io("read", 1), io("write", 2)]);
        assert_eq!(reading.io_operations, [io("read", 3), io("write", 4)]);
        assert_eq!(reading.network_bytes(), (1, 5));
        assert!(!reading.networks.unwrap().contains_key("lo"));
    }

    #[test]
    fn groups_of_v1_are_read() {
        let directory = tempfile::tempdir().unwrap();
        files(
            directory.path(),
            &[
                ("cpuacct.usage", "300\n"),
                ("cpuacct.usage_percpu", "100 200 \n"),
                ("cpuacct.stat", "user 2\nsystem 1\n"),
                ("cpu.stat", "nr_periods 4\nnr_throttled 1\nthrottled_time 7\n"),
                ("memory.usage_in_bytes", "4096\n"),
                ("memory.max_usage_in_bytes", "8192\n"),
                ("memory.limit_in_bytes", "16384\n"),
                ("memory.stat", "rss 12\n"),
                ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 1\n8:0 Write 2\nTotal 3\n"),
            ],
        );
        let names = ["cpu", "cpuacct", "memory", "blkio"];
        let path = directory.path().to_owned();
        let group = ControlGroup::V1(names.map(|name| (name.to_owned(), path.clone())).into());
        let reading = Reading::take(&group, None).unwrap();
        assert_eq!((reading.cpu.total, reading.cpu.user), (300, 20_000_000));
        assert_eq!(reading.cpu.per_cpu, [100, 200]);
        assert_eq!((reading.memory.max_usage, reading.memory.limit), (Some(8192), 16384));
        assert_eq!(reading.io_bytes.len(), 2);
        assert_eq!(reading.pids.current, None);
        assert!(reading.networks.is_none());
    }

    #[test]
    fn a_group_that_is_gone_is_an_error() {
        let group = ControlGroup::V2("/nowhere".into());
        assert!(Reading::take(&group, None).is_err());
    }
}
