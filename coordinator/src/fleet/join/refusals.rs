//! How many refusals the log tells of: a caller must not fill it. All of them are counted in the metrics.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use longshore_common::clock::Monotonic;

/// Maximum number of refusals that are told in each [`WINDOW`] (ours): of strangers together, and
/// of hosts of this fleet together, so that strangers do not hide what a host is refused for.
const TOLD_MAX: u32 = 10;
/// Interval in which refusals are counted (ours).
const WINDOW: Duration = Duration::from_secs(60);

/// Counts refused requests of the joining port, by HTTP status.
pub(crate) const JOINS_REFUSED: &str = "longshore_joins_refused_total";

#[derive(Default)]
pub(super) struct Refusals {
    strangers: Mutex<Window>,
    hosts: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    since: Option<Monotonic>,
    told: u32,
    untold: u64,
}

impl Refusals {
    /// Whether a refusal is told of, and how many were not since the last one that was.
    pub(super) fn tell(&self, of_a_host: bool, now: Monotonic) -> Option<u64> {
        let window = if of_a_host { &self.hosts } else { &self.strangers };
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.since.is_none_or(|since| now.since(since) >= WINDOW) {
            window.since = Some(now);
            window.told = 0;
        }
        if window.told == TOLD_MAX {
            window.untold += 1;
            return None;
        }
        window.told += 1;
        Some(std::mem::take(&mut window.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    #[test]
    fn log_tells_of_few_refusals_and_how_many_it_left_out() {
        let refusals = Refusals::default();
        let told: Vec<_> = (0..1_000).filter_map(|_| refusals.tell(false, at(5))).collect();
        assert_eq!(told, [0; TOLD_MAX as usize]);
        assert_eq!(refusals.tell(true, at(5)), Some(0), "a host's is told all the same");
        assert_eq!(refusals.tell(false, at(64)), None);
        assert_eq!(refusals.tell(false, at(65)), Some(991));
        assert_eq!(refusals.tell(false, at(66)), Some(0));
    }
}
