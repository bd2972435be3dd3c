//! When a connection from a container's place is tried: after a change and at long intervals.
//!
//! A probe starts two processes and makes devices, which costs more than all else in a look. Never: a
//! look at anything; the time and what was found are given.

use std::time::Duration;

use tokio::time::Instant;

/// Interval of probes without a sign of a change: a firewall that does not tell of changes may have
/// been given a rule before ours.
const PROBE_EVERY: Duration = Duration::from_secs(600);
/// Minimum time between two probes for changes of the firewall alone: Docker changes the firewall
/// with each container that publishes a port.
const PROBE_AGAIN: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Probes {
    last: Option<Instant>,
    /// Since the last probe.
    firewall_changed: bool,
    problem: Option<String>,
}

impl Probes {
    pub(super) fn firewall_changed(&mut self) {
        self.firewall_changed = true;
    }

    /// `moved`: there is another bridge since.
    pub(super) fn is_due(&self, now: Instant, moved: bool) -> bool {
        let Some(last) = self.last else { return true };
        let pause = if self.firewall_changed { PROBE_AGAIN } else { PROBE_EVERY };
        moved || self.problem.is_some() || now.duration_since(last) >= pause
    }

    pub(super) fn ended(&mut self, now: Instant, problem: Option<String>) {
        *self = Probes { last: Some(now), firewall_changed: false, problem };
    }

    /// What the last probe found wrong.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn ended_at(now: Instant, problem: Option<&str>) -> Probes {
        let mut probes = Probes::default();
        probes.ended(now, problem.map(str::to_owned));
        probes
    }

    #[test]
    fn quiet_host_is_probed_at_first_and_each_ten_minutes() {
        let start = Instant::now();
        let mut probes = Probes::default();
        let mut probed = Vec::new();
        for minute in 0..30 {
            let now = start + MINUTE * minute;
            if probes.is_due(now, false) {
                probes.ended(now, None);
                probed.push(minute);
            }
        }
        assert_eq!(probed, [0, 10, 20]);
    }

    #[test]
    fn changes_of_the_firewall_are_probed_once_a_minute() {
        let start = Instant::now();
        let mut probes = ended_at(start, None);
        let mut probed = 0;
        for second in 1..=600 {
            let now = start + Duration::from_secs(second);
            probes.firewall_changed();
            if probes.is_due(now, false) {
                probes.ended(now, None);
                probed += 1;
            }
        }
        assert_eq!(probed, 10);
    }

    #[test]
    fn other_bridge_or_standing_problem_is_probed_at_once() {
        let start = Instant::now();
        assert!(ended_at(start, None).is_due(start, true));
        assert!(!ended_at(start, None).is_due(start, false));
        assert!(ended_at(start, Some("no answer")).is_due(start, false));
    }
}
