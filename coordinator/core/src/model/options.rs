//! Options that tags give, `longshore:` and a name: how their values are read.

/// What every setting's name begins with.
pub const OPTION_PREFIX: &str = "longshore:";
/// Maximum time that an option may name, in seconds (ours).
const OPTION_SECONDS_MAX: f64 = 7.0 * 24.0 * 3600.0;

/// `10`, `0.5` or `10s`, in milliseconds; at most a week.
pub fn parse_seconds(text: &str) -> Option<u64> {
    let number = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
    let number = number.filter(|number| (0.0..=OPTION_SECONDS_MAX).contains(number));
    number.map(|seconds| (seconds * 1000.0).round() as u64)
}

pub(crate) fn not_a_time(name: &str, value: &str) -> String {
    format!("The tag {name} is `{value}`; say a time in seconds, 10 or 0.5 for example.")
}
