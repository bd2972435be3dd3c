//! How many requests a task may make (ecs-behaviour 1.20: 40 a second, 60 at once).

use std::sync::{Mutex, PoisonError};

use longshore_common::clock::Monotonic;

use crate::settings::RequestRate;

/// A token bucket, full at first.
#[derive(Debug)]
pub(crate) struct Limiter {
    rate: RequestRate,
    left: Mutex<(f64, Option<Monotonic>)>,
}

impl Limiter {
    pub(crate) fn new(rate: RequestRate) -> Self {
        Limiter { rate, left: Mutex::new((rate.burst.into(), None)) }
    }

    /// Whether one more request may be answered.
    pub(crate) fn admits(&self, now: Monotonic) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, since) = *left;
        let passed = since.map_or(0.0, |since| now.since(since).as_secs_f64());
        let tokens = (tokens + passed * f64::from(self.rate.steady)).min(self.rate.burst.into());
        let admitted = tokens >= 1.0;
        *left = (if admitted { tokens - 1.0 } else { tokens }, Some(now));
        admitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RATE: RequestRate = RequestRate { steady: 40, burst: 60 };

    fn admitted(limiter: &Limiter, at_ms: u64, asked: usize) -> usize {
        let now = Monotonic(Duration::from_millis(at_ms));
        (0..asked).filter(|_| limiter.admits(now)).count()
    }

    #[test]
    fn a_burst_then_the_steady_rate() {
        let limiter = Limiter::new(RATE);
        assert_eq!(admitted(&limiter, 0, 100), 60);
        assert_eq!(admitted(&limiter, 500, 100), 20);
        assert_eq!(admitted(&limiter, 1500, 100), 40);
    }

    #[test]
    fn a_pause_gives_back_no_more_than_a_burst() {
        let limiter = Limiter::new(RATE);
        assert_eq!(admitted(&limiter, 0, 60), 60);
        assert_eq!(admitted(&limiter, 3_600_000, 100), 60);
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_gives_nothing() {
        let limiter = Limiter::new(RATE);
        assert_eq!(admitted(&limiter, 1000, 60), 60);
        assert_eq!(admitted(&limiter, 500, 10), 0);
    }
}
