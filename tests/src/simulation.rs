//! A whole cluster in one process under a stepped clock: the coordinator's own driver and pollers,
//! the agents' own engines, container engines in memory, and a network that loses things.
//!
//! Everything random comes from a seed. Never: a shortcut past the code that runs in production;
//! only the disk, the clock, the network and Docker are replaced.

mod acknowledged;
mod cluster;
mod course;
mod jumps;
mod network;
mod outages;
mod verdict;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use longshore_common::clock::{Clock, Monotonic, Timestamp};
use tokio::time::Instant;

pub use self::{
    cluster::Cluster,
    course::{Course, run},
    jumps::{Jumps, jump},
    outages::{Outage, suffer},
    verdict::Verdict,
};

/// 2026-01-01T00:00:00Z.
const BEGINNING: Timestamp = Timestamp(1_767_225_600_000);

/// The runtime's clock, which moves when everybody waits. Its wall clock may be set.
#[derive(Clone, Debug)]
pub struct SimulatedClock {
    began: Instant,
    jumped_ms: Arc<AtomicI64>,
}

impl SimulatedClock {
    pub fn start() -> Self {
        SimulatedClock { began: Instant::now(), jumped_ms: Arc::default() }
    }

    /// Sets the wall clock so far from where it would be by the time that has passed.
    pub fn set_ahead(&self, by_ms: i64) {
        self.jumped_ms.store(by_ms, Ordering::SeqCst);
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Clock for SimulatedClock {
    fn wall(&self) -> Timestamp {
        BEGINNING.saturating_add(self.elapsed()).jumped(self.jumped_ms.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(self.elapsed())
    }
}
