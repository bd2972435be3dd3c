//! Tells when something changed that tasks' network depends on: routing rules, addresses, nftables.
//!
//! Says only of which kind a change was, never what: whoever waits looks for itself.

use std::{io, time::Duration};

use netlink_sys::{
    AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket,
    protocols::{NETLINK_NETFILTER, NETLINK_ROUTE},
};
use rustix::io::Errno;
use tokio::time::timeout;

/// linux/rtnetlink.h: IPv4 addresses, and routing rules of IPv4 and IPv6. Not IPv6 addresses: every
/// container's device gets one, and so does a probe's.
const ROUTING_GROUPS: [u32; 3] = [5, 8, 19];
/// linux/netfilter/nfnetlink.h: NFNLGRP_NFTABLES, which iptables' usual back end changes too.
const NFTABLES_GROUP: u32 = 7;
/// Pause without a change after which changes are told: Docker makes many at once.
const SETTLES_WITHIN: Duration = Duration::from_millis(300);
/// Maximum time after which changes that come without a pause are told.
const SETTLED_AT_LAST: Duration = Duration::from_secs(2);

/// What was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NetworkChange {
    pub(super) firewall: bool,
}

/// Both subscriptions. Without rights for one of them, changes there are found by looking only.
pub(super) struct NetworkChanges {
    routing: TokioSocket,
    firewall: Option<TokioSocket>,
}

impl NetworkChanges {
    pub(super) fn subscribe() -> io::Result<NetworkChanges> {
        let routing = subscribed(NETLINK_ROUTE, &ROUTING_GROUPS)?;
        let firewall = subscribed(NETLINK_NETFILTER, &[NFTABLES_GROUP]).ok();
        Ok(NetworkChanges { routing, firewall })
    }

    /// Waits until something changed, and a moment longer for what belongs to it.
    pub(super) async fn next(&mut self) -> io::Result<NetworkChange> {
        let mut changed = self.one().await?;
        let settling = async {
            while let Ok(more) = timeout(SETTLES_WITHIN, self.one()).await {
                changed.firewall |= more?.firewall;
            }
            io::Result::Ok(())
        };
        timeout(SETTLED_AT_LAST, settling).await.unwrap_or(Ok(()))?;
        Ok(changed)
    }

    async fn one(&mut self) -> io::Result<NetworkChange> {
        let firewall = async {
            match &self.firewall {
                Some(socket) => socket.recv_from_full().await,
                None => std::future::pending().await,
            }
        };
        let (heard, firewall) = tokio::select! {
            heard = self.routing.recv_from_full() => (heard, false),
            heard = firewall => (heard, true),
        };
        match heard {
            // What it says does not matter.
            Ok(_) => Ok(NetworkChange { firewall }),
            // More came than the socket holds: that is a change too.
            Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                Ok(NetworkChange { firewall })
            }
            Err(error) => Err(error),
        }
    }
}

fn subscribed(protocol: isize, groups: &[u32]) -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(protocol)?;
    let inner = socket.socket_mut();
    inner.bind(&SocketAddr::new(0, 0))?;
    groups.iter().try_for_each(|group| inner.add_membership(*group))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// How long nothing may be heard.
    const QUIET: Duration = Duration::from_millis(500);

    fn ip(line: &str) {
        let ran = Command::new("ip").args(line.split(' ')).status().unwrap();
        assert!(ran.success(), "ip {line}");
    }

    /// Every container's device gets an IPv6 address, and so does the probe's, which woke the helper
    /// for another probe.
    #[test]
    fn devices_of_containers_are_no_news_and_rules_are() {
        let own = std::env::current_exe().unwrap();
        let (_, inside) =
            std::any::type_name_of_val(&inside_a_network_of_its_own).split_once("::").unwrap();
        let mut command = Command::new("unshare");
        let ran = command.arg("--net").arg(own).args(["--exact", inside, "--ignored"]).output();
        let ran = ran.unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    }

    #[tokio::test]
    #[ignore = "run by the test above"]
    async fn inside_a_network_of_its_own() {
        ip("link set lo up");
        let mut changes = NetworkChanges::subscribe().unwrap();
        ip("link add longshore-test type veth peer name longshore-peer");
        ip("link set longshore-peer up");
        ip("link set longshore-test up");
        ip("-6 address add fd00::7/128 dev lo");
        assert_eq!(timeout(QUIET, changes.next()).await.ok().map(Result::unwrap), None);
        ip("link del longshore-test");
        assert_eq!(timeout(QUIET, changes.next()).await.ok().map(Result::unwrap), None);
        ip("rule add iif docker0 to 10.0.0.9 prohibit");
        assert_eq!(changes.next().await.unwrap(), NetworkChange { firewall: false });
        let rule = ["-I", "INPUT", "1", "-d", "10.0.0.9", "-j", "ACCEPT"];
        // Without nftables in the kernel there is nothing to hear of.
        if Command::new("iptables-nft").args(rule).status().is_ok_and(|ran| ran.success()) {
            assert_eq!(changes.next().await.unwrap(), NetworkChange { firewall: true });
        }
    }
}
