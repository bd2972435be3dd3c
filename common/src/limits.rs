//! Every limit has a name, and the source of its value.

use std::time::Duration;

/// Maximum of characters of the `reason` of a container or task (ecs-behaviour 1.6).
pub const REASON_CHARS_MAX: usize = 1024;
/// Maximum of characters of a reason that is kept: what ECS's `reason` has no room for is shown in
/// the task's attachments.
pub const REASON_CHARS_KEPT: usize = 4096;
/// Maximum of last lines of a container's log that stay with its stopped task.
pub const LAST_LINES_MAX: usize = 10;
/// Maximum of bytes of these lines together.
pub const LAST_LINES_BYTES_MAX: usize = 1024;
/// Maximum of host ports of one container, over IPv4 and IPv6: a hundred mappings, more only by
/// ranges.
pub const NETWORK_BINDINGS_MAX: usize = 200;
/// Maximum of orders in one poll: bounds what an agent holds in one message.
pub const ORDERS_PER_POLL_MAX: usize = 256;
/// Maximum of orders that one host can ever have been given: a thousand a second for nine thousand
/// years.
pub const ORDERS_EVER_MAX: u64 = 1 << 48;
/// Maximum of reports that one run of an agent can ever have made: a thousand a second for nine
/// thousand years.
pub const REPORTS_EVER_MAX: u64 = 1 << 48;
/// Maximum of starts of the coordinator that a restored journal may have lost: one a minute for two
/// years.
pub const STARTS_LOST_MAX: u64 = 1 << 20;
/// Maximum of reports in one answer to a poll.
pub const REPORTS_PER_POLL_MAX: usize = 256;
/// Maximum of names of images in one answer to a poll: some 200 images with a tag and a digest
/// each.
pub const IMAGES_REPORTED_MAX: usize = 400;
/// Maximum of bytes of a poll's body or its answer's: a host's full manifest fits.
pub const POLL_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Maximum of bytes of the body of a request to join, renew or register.
pub const JOIN_BODY_BYTES_MAX: usize = 256 * 1024;
/// Minimum interval of polls of an idle host (design.md rule 5).
pub const BEAT_MIN: Duration = Duration::from_millis(500);
/// Maximum of hosts that a coordinator polls in a second, when all are idle (design.md rule 5).
pub const IDLE_POLLS_PER_SECOND: u32 = 2000;
/// Maximum of beats that an answer may be late before its host counts as disconnected (design.md rule 5).
pub const BEATS_MISSED_MAX: u32 = 2;
/// Minimum of beats that a host is silent for before it counts as LOST (design.md rule 5).
pub const BEATS_UNTIL_LOST: u32 = 3;

/// Minutes for which a task may be protected (ecs-behaviour 1.13).
pub const TASK_PROTECTION_MINUTES: std::ops::RangeInclusive<u32> = 1..=2880;
/// Minutes for which a task is protected when a request names none (ecs-behaviour 1.13).
pub const TASK_PROTECTION_MINUTES_DEFAULT: u32 = 120;

/// How often an idle host among `hosts` is polled: max(0.5 s, hosts / 2000 s).
pub fn beat(hosts: usize) -> Duration {
    BEAT_MIN.max(Duration::from_secs_f64(hosts as f64 / f64::from(IDLE_POLLS_PER_SECOND)))
}

/// Maximum of bytes of one task definition as JSON (ecs-behaviour 1.3, limits).
pub const DEFINITION_BYTES_MAX: usize = 64 * 1024;

/// Maximum of characters of a task's overrides as JSON (ecs-behaviour 1.5).
pub const OVERRIDES_CHARS_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beat_is_half_a_second_until_a_thousand_hosts() {
        assert_eq!(beat(0), BEAT_MIN);
        assert_eq!(beat(1000), BEAT_MIN);
        assert_eq!(beat(10_000), Duration::from_secs(5));
    }
}
