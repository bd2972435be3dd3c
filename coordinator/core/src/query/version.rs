//! Versions of agents, in their own order: 1.9 is before 1.10.

use std::cmp::Ordering;

/// Numbers with dots between them, and what stands behind a hyphen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Numbers without zeros at the end, so that 1.2 is 1.2.0.
    numbers: Box<[u32]>,
    /// A version that is not released yet comes before the release.
    prerelease: Option<Box<str>>,
}

impl Version {
    /// `1.94.0`, `v1.94.0` or `1.95.0-rc.1`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        // What was built from is no part of the order.
        let text = text.split('+').next().unwrap_or_default();
        let (numbers, prerelease) = match text.split_once('-') {
            Some((_, "")) => return None,
            Some((numbers, prerelease)) => (numbers, Some(prerelease.into())),
            None => (text, None),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let number = |part: &str| part.parse().ok().filter(|_| digits(part));
        let mut numbers: Vec<u32> = numbers.split('.').map(number).collect::<Option<_>>()?;
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        Some(Version { numbers: numbers.into(), prerelease })
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let released = |version: &Version| version.prerelease.is_none();
        let by_numbers = self.numbers.cmp(&other.numbers);
        by_numbers
            .then_with(|| released(self).cmp(&released(other)))
            .then_with(|| self.prerelease.cmp(&other.prerelease))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let given = ["0.1.0", "v1.2-alpha", "1.2-beta", "1.2.0", "1.2.1+b7", "1.10", "2"];
        let versions: Vec<Version> = given.iter().map(|v| Version::parse(v).unwrap()).collect();
        assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
        assert_eq!(Version::parse("1.2"), Version::parse("v1.2.0.0"));
        for text in ["", "1.", "1..2", "a", "1.x", "-1", "1.2-", "+1", "99999999999"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }
}
