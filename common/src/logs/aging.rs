//! By which time log events grow old: the wall clock's, once it has gone on steadily for a day.
//!
//! A clock that jumps ahead would make everything old at once, and what is deleted does not come back.
//! What is too much goes by its size meanwhile. Never: a time that the wall clock does not show.

use std::time::Duration;

use crate::clock::{Clock, Monotonic, Timestamp};

/// Time that a clock which jumped must go on before events grow old by it.
const WAITED_OUT: Duration = Duration::from_secs(24 * 60 * 60);
/// The wall clock has jumped when it leaves the monotonic one by this: ten times what a clock that
/// is being corrected gains on it in the longest pause between two looks.
const JUMP_MIN: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Aging {
    ahead_ms: i64,
    believed_from: Monotonic,
}

impl Aging {
    /// `newest` is when the newest event was stored, if any was: a clock that is far from that has
    /// jumped while nobody looked, or the host was off for as long, which waits as well.
    pub fn begun(clock: &dyn Clock, newest: Option<Timestamp>) -> Self {
        let (wall, now) = (clock.wall(), clock.monotonic());
        let steady = newest
            .is_none_or(|newest| wall.since(newest) < WAITED_OUT && newest.since(wall) < JUMP_MIN);
        let wait = if steady { Duration::ZERO } else { WAITED_OUT };
        Aging { ahead_ms: ahead_ms(clock), believed_from: Monotonic(now.0.saturating_add(wait)) }
    }

    /// The time by which events are old; none while the clock is not believed.
    pub fn now(&mut self, clock: &dyn Clock) -> Option<Timestamp> {
        let (now, ahead) = (clock.monotonic(), ahead_ms(clock));
        if u128::from(ahead.abs_diff(self.ahead_ms)) >= JUMP_MIN.as_millis() {
            self.believed_from = Monotonic(now.0.saturating_add(WAITED_OUT));
        }
        self.ahead_ms = ahead;
        (now >= self.believed_from).then(|| clock.wall())
    }
}

fn ahead_ms(clock: &dyn Clock) -> i64 {
    let (wall, monotonic) = (clock.wall().0 as i64, clock.monotonic().0.as_millis() as i64);
    wall.saturating_sub(monotonic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SteppedClock;

    const START: Timestamp = Timestamp(1_700_000_000_000);
    const WEEK_MS: i64 = 7 * 24 * 60 * 60 * 1000;

    #[test]
    fn a_jump_is_waited_out_and_a_steady_clock_is_believed() {
        for jump in [-WEEK_MS, -120_000, 120_000, WEEK_MS] {
            let clock = SteppedClock::at(START);
            let mut aging = Aging::begun(&*clock, Some(START));
            assert_eq!(aging.now(&*clock), Some(START));
            clock.jump(jump);
            for _ in 0..23 {
                assert_eq!(aging.now(&*clock), None, "jumped by {jump} ms");
                clock.advance(Duration::from_secs(3600));
            }
            // Set right again: that is a jump too.
            clock.jump(-jump);
            for _ in 0..24 {
                assert_eq!(aging.now(&*clock), None, "back from {jump} ms");
                clock.advance(Duration::from_secs(3600));
            }
            assert_eq!(aging.now(&*clock), Some(clock.wall()));
        }
    }

    #[test]
    fn a_clock_that_is_corrected_slowly_is_believed() {
        let clock = SteppedClock::at(START);
        let mut aging = Aging::begun(&*clock, None);
        for _ in 0..10_000 {
            clock.advance(Duration::from_secs(10));
            clock.jump(5);
            assert!(aging.now(&*clock).is_some());
        }
    }

    #[test]
    fn a_start_far_from_what_was_written_waits() {
        for (newest, waits) in [
            (None, false),
            (Some(0), false),
            (Some(-3_600_000), false),
            (Some(-WEEK_MS), true),
            (Some(WEEK_MS), true),
        ] {
            let clock = SteppedClock::at(START);
            let mut aging = Aging::begun(&*clock, newest.map(|by| START.jumped(by)));
            assert_eq!(aging.now(&*clock).is_none(), waits, "{newest:?}");
            clock.advance(WAITED_OUT);
            assert_eq!(aging.now(&*clock), Some(clock.wall()));
        }
    }
}
