//! Addresses of coordinators' joining ports, `HOST:PORT`, as settings and the topic of coordinators say them.

/// Maximum of coordinators that a fleet tells its hosts of.
pub const COORDINATORS_MAX: usize = 16;
/// Maximum length of an address: a DNS name, a colon and a port.
const ADDRESS_BYTES_MAX: usize = 253 + 1 + 5;

/// Whether `address` can be dialled, as far as its form tells.
pub fn is_coordinator_address(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    // An IPv6 address has colons of its own, and brackets that say where it ends.
    let is_host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.ends_with(']'),
        None => !host.contains(':'),
    };
    is_host
        && !host.is_empty()
        && address.len() <= ADDRESS_BYTES_MAX
        && address.bytes().all(|byte| byte.is_ascii_graphic())
        && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_a_host_and_a_port() {
        for address in ["a:1", "10.0.0.1:8421", "[::1]:8421", "coordinator.example:65535"] {
            assert!(is_coordinator_address(address), "{address}");
        }
        let long = format!("{}:1", "x".repeat(ADDRESS_BYTES_MAX));
        for address in ["", "b", "b:", ":1", "b:0", "b:65536", "b c:1", "b\n:1", "::1:8421", &long]
        {
            assert!(!is_coordinator_address(address), "{address:?}");
        }
    }
}
