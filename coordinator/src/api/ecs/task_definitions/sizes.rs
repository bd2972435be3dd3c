//! Task-level `cpu` and `memory`: ECS takes "1024", "1 vCPU" and "1GB", and keeps "1024".

/// Minimum of a task's CPU units on hosts of one's own (ecs-behaviour 1.3, sizes).
pub(crate) const TASK_CPU_MIN: u32 = 128;
/// Maximum of a task's CPU units on hosts of one's own (ecs-behaviour 1.3, sizes).
pub(crate) const TASK_CPU_MAX: u32 = 196_608;
/// Minimum memory that Docker reserves for one container, in MiB (ecs-behaviour 1.3, sizes).
pub(crate) const CONTAINER_MEMORY_MIN: u32 = 6;

/// CPU units of "1024", "1 vCPU" or ".5 vcpu".
pub(crate) fn cpu_units(text: &str) -> Option<u32> {
    units(text, "vcpu", 1024)
}

/// MiB of "1024", "1GB" or "0.5 gb".
pub(crate) fn memory_mib(text: &str) -> Option<u32> {
    units(text, "gb", 1024)
}

/// A whole number, or a decimal one of `suffix`, each of which is `factor`.
fn units(text: &str, suffix: &str, factor: u32) -> Option<u32> {
    let text = text.trim().to_ascii_lowercase();
    let Some(number) = text.strip_suffix(suffix) else {
        return whole(&text);
    };
    let number = number.trim_end();
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    if integer.is_empty() && fraction.is_empty() || fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    let integer = if integer.is_empty() { 0 } else { u64::from(whole(integer)?) };
    let scale = 10_u64.pow(fraction.len() as u32);
    let fraction = if fraction.is_empty() { 0 } else { u64::from(whole(fraction)?) };
    let units = (integer * scale + fraction) * u64::from(factor);
    units.is_multiple_of(scale).then_some(units / scale).and_then(|units| u32::try_from(units).ok())
}

/// Maximum number of digits after the point that can still name a whole number of units, and cannot
/// overflow.
const FRACTION_DIGITS_MAX: usize = 9;

fn whole(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_units_or_virtual_cpus() {
        for (text, units) in [
            ("1024", Some(1024)),
            ("1 vCPU", Some(1024)),
            ("1vcpu", Some(1024)),
            (".25 vCPU", Some(256)),
            ("0.5 vcpu", Some(512)),
            ("192 vCPU", Some(196_608)),
            ("", None),
            ("vCPU", None),
            ("one", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("0.3 vCPU", None),
            ("99999999999", None),
            ("9999999 vCPU", None),
            ("0.0000000001 vCPU", None),
        ] {
            assert_eq!(cpu_units(text), units, "{text}");
        }
    }

    #[test]
    fn memory_is_mebibytes_or_gigabytes() {
        for (text, mib) in [
            ("512", Some(512)),
            ("1GB", Some(1024)),
            ("1 GB", Some(1024)),
            ("0.5gb", Some(512)),
            ("30 GB", Some(30_720)),
            ("1 MB", None),
            ("GB", None),
            (".", None),
        ] {
            assert_eq!(memory_mib(text), mib, "{text}");
        }
    }
}
