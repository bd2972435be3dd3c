//! Who counts as one peer where peers share what there is: a crowd at one address must not take the
//! share of others.

use std::net::IpAddr;

/// An IPv4 address, or a /64 of IPv6, which one machine may have whole.
pub fn one_party(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & (u128::MAX << 64)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_64_of_ipv6_is_one_party_and_a_mapped_address_is_its_ipv4() {
        let party = |text: &str| one_party(text.parse().unwrap());
        assert_eq!(party("2001:db8::1"), party("2001:db8::ffff:1"));
        assert_ne!(party("2001:db8::1"), party("2001:db8:0:1::1"));
        assert_eq!(party("::ffff:10.0.0.1"), party("10.0.0.1"));
    }
}
