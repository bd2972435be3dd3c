//! Which callers are on this very host: its tasks, and whatever else runs here.
//!
//! A caller with an address of this host is; so is one behind a bridge that leads nowhere but to
//! containers, as Docker's do. A bridge with a real interface in it leads to other machines, and its
//! callers count as those.
//!
//! Never: a refusal. It only tells callers apart.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use longshore_common::clock::{Clock, Monotonic};

use crate::host::address::is_own;

/// Interval between two looks at the host's bridges: a network of Docker's made since is known then.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// `RTF_GATEWAY` of Linux's routes: the network is beyond another machine.
const BY_GATEWAY: u32 = 0x2;

pub(super) struct Locals {
    /// `/` but for tests.
    root: PathBuf,
    seen: Mutex<Option<(Monotonic, Vec<LocalNetwork>)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LocalNetwork {
    address: IpAddr,
    prefix: u32,
}

impl Locals {
    pub(super) fn of_this_host() -> Self {
        Self::below(Path::new("/"))
    }

    fn below(root: &Path) -> Self {
        Locals { root: root.to_owned(), seen: Mutex::default() }
    }

    pub(super) fn has(&self, caller: IpAddr, clock: &dyn Clock) -> bool {
        let caller = caller.to_canonical();
        caller.is_loopback() || is_own(caller) || self.is_behind_a_bridge(caller, clock)
    }

    fn is_behind_a_bridge(&self, caller: IpAddr, clock: &dyn Clock) -> bool {
        let now = clock.monotonic();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = seen.as_ref().is_some_and(|(at, _)| now.since(*at) < LOOK_EVERY);
        if !fresh {
            *seen = Some((now, networks(&self.root)));
        }
        seen.iter().flat_map(|(_, networks)| networks).any(|network| network.holds(caller))
    }
}

impl LocalNetwork {
    fn holds(&self, address: IpAddr) -> bool {
        let shared = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u32::from(own) ^ u32::from(other)).leading_zeros()
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (u128::from(own) ^ u128::from(other)).leading_zeros()
            }
            _ => return false,
        };
        shared >= self.prefix
    }
}

/// The networks that are reached through a bridge of containers. None where that cannot be read.
fn networks(root: &Path) -> Vec<LocalNetwork> {
    let read = |file: &str| fs_err::read_to_string(root.join("proc/net").join(file));
    let v4 = read("route").unwrap_or_default();
    let v6 = read("ipv6_route").unwrap_or_default();
    let routes = v4.lines().filter_map(route_v4).chain(v6.lines().filter_map(route_v6));
    let behind = routes.filter(|(interface, _)| is_containers_bridge(root, interface));
    behind.map(|(_, network)| network).collect()
}

/// A line of `/proc/net/route`: interface, destination, gateway, flags, …, mask; numbers in the
/// machine's order.
fn route_v4(line: &str) -> Option<(&str, LocalNetwork)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [interface, destination, _, flags, _, _, _, mask, ..] = fields[..] else { return None };
    let number = |text| u32::from_str_radix(text, 16).ok();
    if number(flags)? & BY_GATEWAY != 0 {
        return None;
    }
    let address = Ipv4Addr::from(number(destination)?.to_ne_bytes()).into();
    let prefix = u32::from_ne_bytes(number(mask)?.to_ne_bytes()).count_ones();
    (prefix > 0).then_some((interface, LocalNetwork { address, prefix }))
}

/// A line of `/proc/net/ipv6_route`: destination, its prefix, source, its prefix, next hop, metric,
/// two counts, flags, interface.
fn route_v6(line: &str) -> Option<(&str, LocalNetwork)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [destination, prefix, _, _, _, _, _, _, flags, interface] = fields[..] else { return None };
    if u32::from_str_radix(flags, 16).ok()? & BY_GATEWAY != 0 {
        return None;
    }
    let address = Ipv6Addr::from(u128::from_str_radix(destination, 16).ok()?).into();
    let prefix = u32::from_str_radix(prefix, 16).ok()?;
    (prefix > 0).then_some((interface, LocalNetwork { address, prefix }))
}

/// A bridge none of whose ports is a device of the machine.
fn is_containers_bridge(root: &Path, interface: &str) -> bool {
    let devices = root.join("sys/class/net");
    let bridge = devices.join(interface);
    if !bridge.join("bridge").exists() {
        return false;
    }
    let ports = fs_err::read_dir(bridge.join("brif")).into_iter().flatten().flatten();
    !ports.into_iter().any(|port| devices.join(port.file_name()).join("device").exists())
}

#[cfg(test)]
mod tests {
    use longshore_common::clock::{SteppedClock, Timestamp};

    use super::*;

    const HEAD: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn hex(address: [u8; 4]) -> String {
        format!("{:08X}", u32::from_ne_bytes(address))
    }

    fn route(interface: &str, to: [u8; 4], flags: &str, mask: [u8; 4]) -> String {
        let (to, gateway, mask) = (hex(to), hex([0; 4]), hex(mask));
        format!("{interface}\t{to}\t{gateway}\t{flags}\t0\t0\t0\t{mask}\t0\t0\t0\n")
    }

    /// A host with Docker's bridge, and a bridge that its own interface is in.
    fn host() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let net = root.path().join("sys/class/net");
        for folder in [
            "docker0/bridge",
            "docker0/brif/veth1",
            "br0/bridge",
            "br0/brif/eth0",
            "veth1",
            "eth0/device",
        ] {
            fs_err::create_dir_all(net.join(folder)).unwrap();
        }
        let proc = root.path().join("proc/net");
        fs_err::create_dir_all(&proc).unwrap();
        let routes = [
            HEAD.to_owned(),
            route("br0", [0, 0, 0, 0], "0003", [0; 4]),
            route("br0", [192, 0, 2, 0], "0001", [255, 255, 255, 0]),
            route("docker0", [172, 17, 0, 0], "0001", [255, 255, 0, 0]),
            route("docker0", [198, 51, 100, 0], "0003", [255, 255, 255, 0]),
        ];
        fs_err::write(proc.join("route"), routes.concat()).unwrap();
        let zero = "0".repeat(32);
        let line = |to: &str, prefix: &str, interface: &str| {
            format!(
                "{to} {prefix} {zero} 00 {zero} 00000400 00000001 00000000 00000001 {interface}\n"
            )
        };
        let docker = format!("20010db8{}", "0".repeat(24));
        let lan = format!("20010db9{}", "0".repeat(24));
        let v6 =
            [line(&docker, "40", "docker0"), line(&lan, "40", "br0"), line(&zero, "00", "br0")];
        fs_err::write(proc.join("ipv6_route"), v6.concat()).unwrap();
        root
    }

    #[test]
    fn tasks_and_this_host_are_local_and_other_machines_are_not() {
        let (root, clock) = (host(), SteppedClock::at(Timestamp(1)));
        let locals = Locals::below(root.path());
        for (caller, local) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("172.17.0.2", true),
            ("172.17.255.254", true),
            ("::ffff:172.17.0.2", true),
            ("2001:db8::2", true),
            ("192.0.2.7", false),
            ("::ffff:192.0.2.7", false),
            ("172.18.0.2", false),
            ("198.51.100.7", false),
            ("203.0.113.7", false),
            ("2001:db9::2", false),
            ("2001:dba::2", false),
        ] {
            assert_eq!(locals.has(caller.parse().unwrap(), &*clock), local, "{caller}");
        }
    }

    /// In a network of its own, since that changes how the whole host binds.
    #[test]
    fn strangers_are_not_local_where_any_address_can_be_bound() {
        const INSIDE: &str = "LONGSHORE_TEST_INSIDE";
        if std::env::var_os(INSIDE).is_none() {
            let script = "ip link set lo up; ip address add 192.0.2.1/24 dev lo; \
                          ip route add default dev lo; \
                          echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind; \
                          echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind; exec \"$@\"";
            let own = strangers_are_not_local_where_any_address_can_be_bound;
            let (_, test) = std::any::type_name_of_val(&own).split_once("::").unwrap();
            let ran = std::process::Command::new("unshare")
                .args(["--net", "sh", "-c", script, "sh"])
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", test])
                .env(INSIDE, "1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&ran.stdout);
            assert!(ran.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let (root, clock) = (tempfile::tempdir().unwrap(), SteppedClock::at(Timestamp(1)));
        let locals = Locals::below(root.path());
        assert!(std::net::UdpSocket::bind(("203.0.113.7", 0)).is_ok(), "any address can be bound");
        for (caller, local) in [
            ("127.0.0.1", true),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("203.0.113.7", false),
            ("2001:db8::7", false),
        ] {
            assert_eq!(locals.has(caller.parse().unwrap(), &*clock), local, "{caller}");
        }
    }

    #[test]
    fn a_network_made_later_is_known_after_a_while() {
        let (root, clock) = (host(), SteppedClock::at(Timestamp(1)));
        let locals = Locals::below(root.path());
        let caller = "172.18.0.2".parse().unwrap();
        assert!(!locals.has(caller, &*clock));
        let path = root.path().join("proc/net/route");
        let more = route("docker0", [172, 18, 0, 0], "0001", [255, 255, 0, 0]);
        let routes = fs_err::read_to_string(&path).unwrap() + &more;
        fs_err::write(&path, routes).unwrap();
        assert!(!locals.has(caller, &*clock));
        clock.advance(LOOK_EVERY);
        assert!(locals.has(caller, &*clock));
    }

    #[test]
    fn a_host_without_such_files_has_its_own_addresses_at_least() {
        let (root, clock) = (tempfile::tempdir().unwrap(), SteppedClock::at(Timestamp(1)));
        let locals = Locals::below(root.path());
        assert!(locals.has(Ipv4Addr::LOCALHOST.into(), &*clock));
        assert!(!locals.has("172.17.0.2".parse().unwrap(), &*clock));
    }
}
