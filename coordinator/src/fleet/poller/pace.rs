//! How often one host is polled at the most: an account of time. A poll after one that brought nothing
//! costs a beat, any other 4 ms, and at most four beats are given on credit. An agent that holds polls
//! until it has something to say never notices; one that does not may be broken or in foreign hands,
//! and takes no more of the coordinator than others do.

use std::time::Duration;

use tokio::time::Instant;

/// Average interval between two polls when each brings something (ours): 250 a second.
const POLL_GAP: Duration = Duration::from_millis(4);
/// Maximum number of beats that may be used ahead (ours): as many polls in a row that bring
/// nothing, or hundreds that do.
const BEATS_AHEAD_MAX: u32 = 4;

/// The account of one host.
pub(super) struct Pace {
    paid_until: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Pace { paid_until: now }
    }

    /// A poll because of something new is sent.
    pub(super) fn newer(&mut self, now: Instant) {
        self.pay(now, POLL_GAP);
    }

    /// A poll is sent though nothing is new here: the one before it should have been held for a
    /// whole beat.
    pub(super) fn again(&mut self, now: Instant, beat: Duration, brought: bool) {
        self.pay(now, if brought { POLL_GAP } else { beat });
    }

    fn pay(&mut self, now: Instant, price: Duration) {
        self.paid_until = self.paid_until.max(now) + price;
    }

    /// Time until which no further poll is sent.
    pub(super) fn pause(&self, now: Instant, beat: Duration) -> Option<Instant> {
        let until = self.paid_until.checked_sub(beat * BEATS_AHEAD_MAX)?;
        (until > now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interval of the agent's beats.
    const BEAT: Duration = Duration::from_millis(500);

    /// Polls in ten seconds of an agent that answers at once.
    fn polls(brings: bool) -> usize {
        let start = Instant::now();
        let (mut now, mut pace) = (start, Pace::new(start));
        let mut polls = 0;
        while now < start + Duration::from_secs(10) {
            match pace.pause(now, BEAT) {
                Some(until) => now = until,
                None => {
                    pace.again(now, BEAT, brings);
                    polls += 1;
                }
            }
        }
        polls
    }

    #[test]
    fn agent_that_holds_no_poll_gets_one_a_beat() {
        assert!((20..=26).contains(&polls(false)), "{}", polls(false));
    }

    #[test]
    fn agent_that_always_has_something_to_say_is_bounded() {
        assert!((2500..=3010).contains(&polls(true)), "{}", polls(true));
    }

    #[test]
    fn agent_that_holds_every_poll_is_never_kept_waiting() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for beat in 0..10_000 {
            let now = start + BEAT * beat;
            assert_eq!(pace.pause(now, BEAT), None);
            pace.again(now, BEAT, false);
        }
    }
}
