//! Time. The only module that asks the machine for it; everything else is told.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Wall-clock time, milliseconds since the Unix epoch: what the API shows and the journal keeps.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Seconds with a fraction, the form of ECS's JSON.
    pub fn as_epoch_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    pub fn saturating_add(self, duration: Duration) -> Self {
        Timestamp(self.0.saturating_add(duration.as_millis() as u64))
    }

    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0 as i64) {
            Ok(time) => fmt::Display::fmt(&time, f),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// Monotonic time since an arbitrary start: what every timeout and interval is measured by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(pub Duration);

impl Monotonic {
    pub fn since(self, earlier: Monotonic) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where time comes from. Only the two drivers hold one.
pub trait Clock: Send + Sync + 'static {
    fn wall(&self) -> Timestamp;
    fn monotonic(&self) -> Monotonic;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn wall(&self) -> Timestamp {
        (**self).wall()
    }
    fn monotonic(&self) -> Monotonic {
        (**self).monotonic()
    }
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that may ask the machine")]
    pub fn start() -> Self {
        SystemClock { start: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that may ask the machine")]
    fn wall(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(since_epoch.as_millis() as u64)
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(self.start.elapsed())
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct SteppedClock {
    base: Timestamp,
    elapsed_ms: AtomicU64,
}

impl SteppedClock {
    pub fn at(base: Timestamp) -> Arc<Self> {
        Arc::new(SteppedClock { base, elapsed_ms: AtomicU64::new(0) })
    }

    pub fn advance(&self, by: Duration) {
        self.elapsed_ms.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for SteppedClock {
    fn wall(&self) -> Timestamp {
        Timestamp(self.base.0 + self.elapsed_ms.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(Duration::from_millis(self.elapsed_ms.load(Ordering::SeqCst)))
    }
}
