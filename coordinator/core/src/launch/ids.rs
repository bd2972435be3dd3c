//! New ids from a command's entropy.

/// Derives ids from 128 random bits; the n-th is always the same.
#[derive(Clone, Copy)]
pub(crate) struct Ids(u128);

impl From<u128> for Ids {
    fn from(entropy: u128) -> Self {
        Ids(entropy)
    }
}

impl Ids {
    /// The n-th id: distinct for distinct `n`, since the low half goes through a bijection.
    pub(crate) fn nth(self, n: u64) -> u128 {
        let high = mix((self.0 >> 64) as u64 ^ n.rotate_left(32));
        let low = mix((self.0 as u64).wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        u128::from(high) << 64 | u128::from(low)
    }

    /// 64 bits that have nothing to do with the ids.
    pub(crate) fn entropy(self) -> u64 {
        mix((self.0 >> 64) as u64 ^ self.0 as u64)
    }
}

/// The finaliser of SplitMix64: a bijection that spreads every bit.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_command_differ_and_repeat() {
        let ids = Ids::from(7);
        let made: std::collections::BTreeSet<u128> = (0..10_000).map(|n| ids.nth(n)).collect();
        assert_eq!(made.len(), 10_000);
        assert_eq!(ids.nth(3), Ids::from(7).nth(3));
    }
}
