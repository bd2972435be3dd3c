//! A whole cluster in one process under a stepped clock: the coordinator's own driver and pollers,
//! the agents' own engines, container engines in memory, and a network that loses things.
//!
//! Everything random comes from a seed. Never: a shortcut past the code that runs in production;
//! only the disk, the clock, the network and Docker are replaced.

mod cluster;
mod course;
mod network;
mod verdict;

use std::time::Duration;

use longshore_common::clock::{Clock, Monotonic, Timestamp};
use tokio::time::Instant;

pub use self::{
    cluster::Cluster,
    course::{Course, run},
    verdict::Verdict,
};

/// 2026-01-01T00:00:00Z.
const BEGINNING: Timestamp = Timestamp(1_767_225_600_000);

/// The runtime's clock, which moves when everybody waits.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedClock {
    began: Instant,
}

impl SimulatedClock {
    pub fn start() -> Self {
        SimulatedClock { began: Instant::now() }
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Clock for SimulatedClock {
    fn wall(&self) -> Timestamp {
        BEGINNING.saturating_add(self.elapsed())
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(self.elapsed())
    }
}
