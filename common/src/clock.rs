//! Time. The only module that asks the machine for it; everything else is told.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
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

    /// The same moment, as a clock shows it that has jumped so far ahead, or back when negative.
    pub fn jumped(self, by_ms: i64) -> Self {
        Timestamp(self.0.saturating_add_signed(by_ms))
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

/// Share by which a [`SteadyClock`] goes faster or slower than time to meet the wall clock: one
/// part in 10.
const SLEW: u32 = 10;

/// Wall-clock time that never jumps and never goes back: set once, then carried on by monotonic
/// time and drawn gently towards the wall clock. What deadlines that survive a restart are kept by.
pub struct SteadyClock<C> {
    clock: C,
    last: Mutex<(Monotonic, Duration)>,
}

impl<C: Clock> SteadyClock<C> {
    pub fn new(clock: C) -> Self {
        let now = (clock.monotonic(), Duration::from_millis(clock.wall().0));
        SteadyClock { clock, last: Mutex::new(now) }
    }
}

impl<C: Clock> Clock for SteadyClock<C> {
    fn wall(&self) -> Timestamp {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, target) = (self.clock.monotonic(), Duration::from_millis(self.clock.wall().0));
        let (then, time) = *last;
        let passed = now.since(then);
        let time = time + passed;
        let most = passed / SLEW;
        let time = match target.checked_sub(time) {
            Some(behind) => time + behind.min(most),
            None => time - (time - target).min(most),
        };
        *last = (now, time);
        Timestamp(time.as_millis() as u64)
    }

    fn monotonic(&self) -> Monotonic {
        self.clock.monotonic()
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct SteppedClock {
    base: Timestamp,
    elapsed_ms: AtomicU64,
    jumped_ms: AtomicI64,
}

impl SteppedClock {
    pub fn at(base: Timestamp) -> Arc<Self> {
        Arc::new(SteppedClock { base, elapsed_ms: AtomicU64::new(0), jumped_ms: AtomicI64::new(0) })
    }

    pub fn advance(&self, by: Duration) {
        self.elapsed_ms.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }

    /// Sets the wall clock ahead, or back when negative; no time passes.
    pub fn jump(&self, by_ms: i64) {
        self.jumped_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for SteppedClock {
    fn wall(&self) -> Timestamp {
        let unmoved = Timestamp(self.base.0 + self.elapsed_ms.load(Ordering::SeqCst));
        unmoved.jumped(self.jumped_ms.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(Duration::from_millis(self.elapsed_ms.load(Ordering::SeqCst)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wall clock that is set by hand beside a monotonic one.
    struct Jumpy(AtomicU64, AtomicU64);

    impl Clock for Jumpy {
        fn wall(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::SeqCst))
        }
        fn monotonic(&self) -> Monotonic {
            Monotonic(Duration::from_millis(self.1.load(Ordering::SeqCst)))
        }
    }

    #[test]
    fn a_steady_clock_meets_a_wall_clock_that_jumped_without_jumping_itself() {
        let steady = SteadyClock::new(Jumpy(AtomicU64::new(1_000_000), AtomicU64::new(0)));
        let pass = |ms: u64, jump: i64| {
            steady.clock.1.fetch_add(ms, Ordering::SeqCst);
            let wall = steady.clock.0.load(Ordering::SeqCst) as i64;
            steady.clock.0.store((wall + ms as i64 + jump) as u64, Ordering::SeqCst);
            steady.wall().0
        };
        assert_eq!(pass(1000, 0), 1_001_000);
        // Ten years ahead, ten minutes back: a tenth of the time that passes, either way.
        assert_eq!(pass(1000, 315_360_000_000), 1_002_100);
        assert_eq!(pass(1000, -315_360_600_000), 1_003_000);
        assert_eq!(pass(1000, 0), 1_003_900);
        // Given time, it is met.
        let met = pass(10_000_000_000, 0);
        assert_eq!(met, steady.clock.0.load(Ordering::SeqCst));
    }
}
