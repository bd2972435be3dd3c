//! Statistics in the shape of Docker's, which ECS passes on (ecs-behaviour 1.20).
//!
//! Read from the kernel's files when somebody asks, and not before: no stream is kept open, and an
//! idle host costs nothing. What Docker compares with, an earlier reading, is that of an earlier
//! question. Reads block: for threads that may.

use std::{collections::BTreeMap, io, path::Path, time::Duration};

use longshore_common::clock::{Monotonic, Timestamp};
use serde::Serialize;

use crate::kernel::control_group::ControlGroup;

mod reading;

pub(crate) use reading::Reading;

/// Minimum time between two readings that are compared: shorter spans say little.
const SPAN_MIN: Duration = Duration::from_secs(1);
/// Docker's word for no earlier reading.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Earlier readings of one container.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    last: Option<TimedReading>,
    before: Option<TimedReading>,
}

#[derive(Clone, Debug)]
struct TimedReading {
    at: Timestamp,
    monotonic: Monotonic,
    reading: Reading,
}

/// The container that a reading is of.
pub(crate) struct ReadingSubject<'a> {
    pub(crate) docker_id: &'a str,
    pub(crate) docker_name: &'a str,
    /// Version 4 shows rates too.
    pub(crate) rates: bool,
}

/// The host's network is not counted as a container's: `own_network` says that it has another.
pub(crate) fn read(pid: u32, docker_id: &str, own_network: bool) -> io::Result<Reading> {
    let group = ControlGroup::of(pid, docker_id)?;
    let network = own_network.then(|| format!("/proc/{pid}/net/dev"));
    Reading::take(&group, network.as_deref().map(Path::new))
}

impl Readings {
    /// Shows a reading beside an earlier one, and keeps it.
    pub(crate) fn show(
        &mut self,
        reading: Reading,
        of: &ReadingSubject<'_>,
        at: Timestamp,
        monotonic: Monotonic,
    ) -> Stats {
        let taken = TimedReading { at, monotonic, reading };
        // Counters that went back are of an earlier start of the container.
        let earlier = |kept: &Option<TimedReading>| {
            kept.clone().filter(|kept| kept.reading.cpu.total <= taken.reading.cpu.total)
        };
        let spans = |kept: &TimedReading| monotonic.since(kept.monotonic) >= SPAN_MIN;
        let (last, before) = (earlier(&self.last), earlier(&self.before));
        let previous = match last {
            Some(last) if spans(&last) => {
                (self.before, self.last) = (Some(last.clone()), Some(taken.clone()));
                Some(last)
            }
            Some(_) => before,
            None => {
                (self.before, self.last) = (None, Some(taken.clone()));
                None
            }
        };
        stats(&taken, previous.as_ref(), of)
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Stats {
    read: String,
    preread: String,
    pids_stats: Pids,
    blkio_stats: Blkio,
    /// Windows counts processes.
    num_procs: u32,
    storage_stats: EmptyObject,
    cpu_stats: Cpu,
    precpu_stats: Cpu,
    memory_stats: Memory,
    name: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    networks: Option<BTreeMap<String, reading::Interface>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_rate_stats: Option<Rates>,
}

#[derive(Debug, Serialize)]
struct EmptyObject {}

#[derive(Debug, Serialize)]
struct Pids {
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

/// The lists that kernels of today leave empty are Docker's all the same.
#[derive(Debug, Serialize)]
struct Blkio {
    io_service_bytes_recursive: Vec<reading::Io>,
    io_serviced_recursive: Vec<reading::Io>,
    io_queue_recursive: [u8; 0],
    io_service_time_recursive: [u8; 0],
    io_wait_time_recursive: [u8; 0],
    io_merged_recursive: [u8; 0],
    io_time_recursive: [u8; 0],
    sectors_recursive: [u8; 0],
}

#[derive(Debug, Default, Serialize)]
struct Cpu {
    cpu_usage: CpuUsage,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_cpu_usage: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    online_cpus: Option<u32>,
    throttling_data: reading::Throttling,
}

/// Nanoseconds.
#[derive(Debug, Default, Serialize)]
struct CpuUsage {
    total_usage: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_usage: Vec<u64>,
    usage_in_kernelmode: u64,
    usage_in_usermode: u64,
}

/// Bytes.
#[derive(Debug, Serialize)]
struct Memory {
    usage: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_usage: Option<u64>,
    stats: BTreeMap<String, u64>,
    limit: u64,
}

#[derive(Debug, Serialize)]
struct Rates {
    rx_bytes_per_sec: f64,
    tx_bytes_per_sec: f64,
}

fn stats(taken: &TimedReading, previous: Option<&TimedReading>, of: &ReadingSubject<'_>) -> Stats {
    let Reading { pids, io_bytes, io_operations, memory, networks, .. } = taken.reading.clone();
    Stats {
        read: taken.at.to_string(),
        preread: previous.map_or_else(|| NEVER.to_owned(), |previous| previous.at.to_string()),
        pids_stats: Pids { current: pids.current, limit: pids.limit },
        blkio_stats: Blkio {
            io_service_bytes_recursive: io_bytes,
            io_serviced_recursive: io_operations,
            io_queue_recursive: [],
            io_service_time_recursive: [],
            io_wait_time_recursive: [],
            io_merged_recursive: [],
            io_time_recursive: [],
            sectors_recursive: [],
        },
        num_procs: 0,
        storage_stats: EmptyObject {},
        cpu_stats: cpu(&taken.reading),
        precpu_stats: previous.map(|previous| cpu(&previous.reading)).unwrap_or_default(),
        memory_stats: Memory {
            usage: memory.usage,
            max_usage: memory.max_usage,
            stats: memory.stats,
            limit: memory.limit,
        },
        name: format!("/{}", of.docker_name),
        id: of.docker_id.to_owned(),
        network_rate_stats: previous.filter(|_| of.rates && networks.is_some()).map(|previous| {
            let seconds = taken.monotonic.since(previous.monotonic).as_secs_f64();
            let (now, then) = (taken.reading.network_bytes(), previous.reading.network_bytes());
            let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
            Rates { rx_bytes_per_sec: rate(now.0, then.0), tx_bytes_per_sec: rate(now.1, then.1) }
        }),
        networks,
    }
}

fn cpu(reading: &Reading) -> Cpu {
    let cpu = &reading.cpu;
    Cpu {
        cpu_usage: CpuUsage {
            total_usage: cpu.total,
            percpu_usage: cpu.per_cpu.clone(),
            usage_in_kernelmode: cpu.kernel,
            usage_in_usermode: cpu.user,
        },
        system_cpu_usage: Some(cpu.machine),
        online_cpus: Some(cpu.online),
        throttling_data: cpu.throttling.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(readings: &mut Readings, total: u64, received: u64, at_ms: u64) -> Stats {
        let mut reading = Reading::default();
        reading.cpu.total = total;
        let interface = reading::Interface { rx_bytes: received, ..Default::default() };
        reading.networks = Some([("eth0".to_owned(), interface)].into());
        let of = ReadingSubject { docker_id: "abc", docker_name: "ecs-web", rates: true };
        readings.show(reading, &of, Timestamp(at_ms), Monotonic(Duration::from_millis(at_ms)))
    }

    #[test]
    fn a_reading_is_compared_with_one_a_second_old_or_older() {
        let mut readings = Readings::default();
        let first = shown(&mut readings, 100, 0, 1000);
        assert_eq!((first.preread.as_str(), first.precpu_stats.cpu_usage.total_usage), (NEVER, 0));
        // Too soon: there is nothing to compare with yet.
        assert_eq!(shown(&mut readings, 110, 0, 1500).preread, NEVER);
        let second = shown(&mut readings, 300, 2000, 3000);
        assert_eq!(second.preread, Timestamp(1000).to_string());
        assert_eq!(second.precpu_stats.cpu_usage.total_usage, 100);
        assert_eq!(second.network_rate_stats.unwrap().rx_bytes_per_sec, 1000.0);
        // Too soon after the second: the first still is the one.
        assert_eq!(shown(&mut readings, 310, 2000, 3100).preread, Timestamp(1000).to_string());
    }

    #[test]
    fn a_container_that_was_started_again_is_compared_with_nothing() {
        let mut readings = Readings::default();
        shown(&mut readings, 900, 0, 1000);
        assert_eq!(shown(&mut readings, 10, 0, 9000).preread, NEVER);
        assert_eq!(shown(&mut readings, 20, 0, 11_000).preread, Timestamp(9000).to_string());
    }

    #[test]
    fn it_has_the_members_that_docker_gives() {
        let mut readings = Readings::default();
        let stats = serde_json::to_value(shown(&mut readings, 1, 0, 1)).unwrap();
        let members: Vec<&str> = stats.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            members,
            [
                "blkio_stats",
                "cpu_stats",
                "id",
                "memory_stats",
                "name",
                "networks",
                "num_procs",
                "pids_stats",
                "precpu_stats",
                "preread",
                "read",
                "storage_stats",
            ]
        );
        assert_eq!(stats["name"], "/ecs-web");
    }
}
