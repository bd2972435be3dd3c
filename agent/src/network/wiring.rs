//! How tasks reach the endpoints, and what they must not reach: the host's network set up for both.
//!
//! The endpoints' address is one of this host, on its loopback device, and the agent listens on it
//! itself, so that a task on the bridge comes by its gateway with its own address, and one on the
//! host's network directly. Not on the port that tasks ask at, 80: who listens there on one address
//! keeps it from all who want it on every address, such as a task with host port 80. What is sent to
//! it is redirected, before Docker's own rules, to the port that ECS's agent has for this, and let
//! through a firewall that drops what it does not know. EC2's instance metadata is kept from tasks on
//! the bridge, since it would give them the host's own credentials: by a routing rule and by the
//! firewall, because either of them may be cleared by others.
//!
//! All of it needs CAP_NET_ADMIN. The service has no capability: `longshore-agent prepare-host` does
//! this for it, run by systemd beforehand, and `longshore-agent network` keeps it so. Everything here
//! may be done again. Never: a change that another agent on this host depends on, or one at the
//! agent's end: containers go on.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use futures_util::TryStreamExt;
use longshore_common::telemetry::chain;
use rtnetlink::{
    Handle, IpVersion,
    packet_route::{
        address::AddressScope,
        rule::{RuleAction, RuleAttribute, RuleMessage},
    },
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use rustix::net::sockopt::{set_ip_freebind, set_ipv6_freebind};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::{host::address::is_own, runtime::docker::DEFAULT_BRIDGE, settings::Settings};

use super::{
    firewall::{Firewall, FirewallPrograms, InstalledPrograms, Rule},
    report::{NetworkReport, REPORT_FILE},
};

const LOOPBACK: &str = "lo";
/// linux/capability.h.
const CAP_NET_ADMIN: u64 = 1 << 12;
/// EC2's instance metadata.
const METADATA_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
/// Priority of the routing rule: before every rule of an operator's that need not be the very
/// first. Ours is known by it.
const PRIORITY: u32 = 169;

/// Where ECS's agent serves its tasks; reserved on every host (ecs-behaviour 1.3, portMappings).
const AGENT_PORT: u16 = 51679;
/// Ports below are redirected from: they take a capability, and others want them.
const FIRST_OWN_PORT: u16 = 1024;
/// What comes from outside, and what comes from this host.
const CHAINS: [&str; 2] = ["PREROUTING", "OUTPUT"];
/// Maximum of connections that wait to be accepted, as tokio's own listeners have it.
const QUEUED_CONNECTIONS_MAX: u32 = 1024;
/// Timeout of a connection within this host.
const PROBE_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub(crate) enum WiringError {
    #[error("no netlink socket could be had")]
    NoNetlink(#[source] io::Error),
    #[error("the address {0} cannot be given to this host's loopback device")]
    Address(IpAddr, #[source] io::Error),
    #[error("the firewall cannot be told of {0}: {1}")]
    Firewall(IpAddr, String),
    #[error("the routing rule about instance metadata cannot be changed")]
    Rule(#[source] io::Error),
}

/// Prepares the host as the settings say, as far as it is not so already; `longshore-agent
/// prepare-host`. `bridge` is the device that containers are on. Whether anything was missing.
pub(crate) async fn prepare(settings: &Settings, bridge: &str) -> Result<bool, WiringError> {
    let mut firewall = Firewall::new(InstalledPrograms);
    let mut changed = false;
    if let Some(public) = settings.task_endpoints_listen {
        changed |= way_to(public, bridge, &mut firewall).await?;
    }
    let allowed = settings.allow_instance_metadata;
    Ok(changed | instance_metadata(allowed, bridge, MetadataRule::AsSet, &mut firewall).await?)
}

/// Whether this process has CAP_NET_ADMIN, and so may do all of this itself.
pub(crate) fn may_prepare() -> bool {
    let effective = fs_err::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    effective.is_some_and(|effective| effective & CAP_NET_ADMIN != 0)
}

/// At the agent's start: prepares what is missing, and listens. Nothing when tasks could not reach
/// it, or it is turned off; the log then says why.
pub(crate) async fn open(settings: &Settings) -> Option<TcpListener> {
    let allowed = settings.allow_instance_metadata;
    // Who reports keeps it too, knows which bridge Docker has, and mends what is missing later.
    let is_kept = NetworkReport::read(Path::new(REPORT_FILE)).is_some();
    let mut firewall = Firewall::new(InstalledPrograms);
    if !allowed
        && !is_kept
        && let Err(error) =
            instance_metadata(allowed, DEFAULT_BRIDGE, MetadataRule::OnlyAdded, &mut firewall).await
    {
        warn!(
            error = chain(&error),
            "tasks may be able to reach EC2's instance metadata: run `longshore-agent prepare-host` \
             as root with these settings, or give the agent CAP_NET_ADMIN"
        );
    }
    let public = settings.task_endpoints_listen?;
    let way = way_to(public, DEFAULT_BRIDGE, &mut firewall).await;
    let opened = async {
        let listener = listen(listens_at(public))?;
        let reached = reached(&listener, public).await;
        io::Result::Ok((listener, reached))
    };
    match opened.await {
        Ok((listener, Ok(()))) => Some(listener),
        Ok((listener, Err(error))) if is_kept || may_prepare() => {
            warn!(
                %error, address = %public,
                "tasks do not reach their metadata endpoints yet: the way is laid again, and /healthz \
                 says when it cannot be"
            );
            Some(listener)
        }
        Ok((_, Err(error))) | Err(error) => {
            let way = way.err().map(|error| chain(&error));
            warn!(
                %error, way, address = %public,
                "tasks are told of no metadata endpoints: run `longshore-agent prepare-host` as \
                 root with these settings and start the agent again, or give the agent \
                 CAP_NET_ADMIN; with a second agent on this host give another address by \
                 --task-endpoints-listen, or `off`"
            );
            None
        }
    }
}

/// Also at an address that this host has not got yet.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    match address {
        SocketAddr::V4(_) => set_ip_freebind(&socket, true)?,
        SocketAddr::V6(_) => set_ipv6_freebind(&socket, true)?,
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUED_CONNECTIONS_MAX)
}

/// Where the agent itself listens for what is sent to `public`.
pub(crate) fn listens_at(public: SocketAddr) -> SocketAddr {
    let own = if public.port() < FIRST_OWN_PORT { AGENT_PORT } else { public.port() };
    SocketAddr::new(public.ip(), own)
}

/// Whether anybody listens for what is sent to `public`: an agent that is being restarted does not,
/// and no firewall is to blame for it.
pub(super) async fn is_served(public: SocketAddr) -> bool {
    let connect = TcpStream::connect(listens_at(public));
    tokio::time::timeout(PROBE_WITHIN, connect).await.is_ok_and(|connected| connected.is_ok())
}

/// Whether a connection to `public` arrives here; else why not.
async fn reached(listener: &TcpListener, public: SocketAddr) -> io::Result<()> {
    let probe = async {
        let stream = TcpStream::connect(public).await?;
        let own = stream.local_addr()?;
        // Somebody else may have been quicker.
        while listener.accept().await?.1 != own {}
        io::Result::Ok(())
    };
    match tokio::time::timeout(PROBE_WITHIN, probe).await {
        Ok(probed) => probed,
        Err(_) => Err(io::Error::other("a connection to it from this host does not arrive")),
    }
}

/// Whether anything was missing.
async fn way_to(
    public: SocketAddr,
    bridge: &str,
    firewall: &mut Firewall<impl FirewallPrograms>,
) -> Result<bool, WiringError> {
    let (handle, _serving) = netlink()?;
    let changed = give_address(&handle, public.ip()).await?;
    Ok(changed | way_through_firewall(public, bridge, firewall).await?)
}

/// To the agent's own port, and through a firewall that drops what it does not know.
async fn way_through_firewall(
    public: SocketAddr,
    bridge: &str,
    firewall: &mut Firewall<impl FirewallPrograms>,
) -> Result<bool, WiringError> {
    let own = listens_at(public);
    let mut rules = Vec::new();
    if own != public {
        rules.extend(CHAINS.map(|chain| redirect(public, own, chain)));
    }
    rules.push(let_in(own, bridge));
    let mut changed = false;
    for rule in rules {
        let laid = firewall.ensure(public.ip(), &rule).await;
        if laid.map_err(|why| WiringError::Firewall(public.ip(), why))? {
            let rule = rule.to_string();
            info!(rule, bridge, "the firewall lets tasks reach their endpoints");
            changed = true;
        }
    }
    Ok(changed)
}

/// The connection ends with its handle.
pub(super) fn netlink() -> Result<(Handle, AbortOnDropHandle<()>), WiringError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(WiringError::NoNetlink)?;
    Ok((handle, AbortOnDropHandle::new(tokio::spawn(connection))))
}

/// Before Docker's rules: those would send what is for any address of this host, and a port that a
/// task has published, to that task.
fn redirect(public: SocketAddr, own: SocketAddr, chain: &'static str) -> Rule {
    let (address, port, to) = (public.ip().to_string(), public.port().to_string(), own.to_string());
    let words =
        ["-d", &address, "-p", "tcp", "--dport", &port, "-j", "DNAT", "--to-destination", &to];
    Rule::new("nat", chain, &words)
}

fn let_in(own: SocketAddr, bridge: &str) -> Rule {
    let (address, port) = (own.ip().to_string(), own.port().to_string());
    let words = ["-i", bridge, "-d", &address, "-p", "tcp", "--dport", &port, "-j", "ACCEPT"];
    Rule::new("filter", "INPUT", &words)
}

/// What may be done about instance metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetadataRule {
    AsSet,
    /// The rule may be another agent's: one that allows what that one forbids does not take it away.
    OnlyAdded,
}

async fn give_address(handle: &Handle, address: IpAddr) -> Result<bool, WiringError> {
    if is_own(address) {
        return Ok(false);
    }
    let failed = |error| WiringError::Address(address, error);
    let mut links = Box::pin(handle.link().get().match_name(LOOPBACK).execute());
    let loopback = links.try_next().await.map_err(|error| failed(io_error(error)))?;
    let loopback = loopback.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?.header.index;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let mut request = handle.address().add(loopback, address, bits);
    // Of no use to anybody else: it is not chosen as a source to other machines.
    request.message_mut().header.scope = AddressScope::Host;
    match done(request.execute().await) {
        Ok(()) => {
            info!(%address, "the address of the task endpoints is on this host's loopback device");
            Ok(true)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Whether anything was not as it is to be.
async fn instance_metadata(
    allowed: bool,
    bridge: &str,
    asked: MetadataRule,
    firewall: &mut Firewall<impl FirewallPrograms>,
) -> Result<bool, WiringError> {
    let mut changed = false;
    for address in [IpAddr::V4(METADATA_V4), IpAddr::V6(METADATA_V6)] {
        let routing = routing_rule(address, allowed, bridge, asked).await?;
        let Some(routing) = routing else { continue };
        let filtered = firewall_rules(address, allowed, bridge, asked, firewall).await?;
        if routing || filtered {
            let now = if allowed { "can reach" } else { "cannot reach" };
            info!(%address, bridge, "tasks on the bridge {now} EC2's instance metadata");
            changed = true;
        }
    }
    Ok(changed)
}

/// `iif BRIDGE to ADDRESS prohibit`: whether it was changed. Absent on a host without IPv6, which has
/// nothing to keep from anybody.
async fn routing_rule(
    address: IpAddr,
    allowed: bool,
    bridge: &str,
    asked: MetadataRule,
) -> Result<Option<bool>, WiringError> {
    let (handle, _serving) = netlink()?;
    let version = if address.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 };
    let rules = handle.rule().get(version).execute().try_collect::<Vec<_>>().await;
    let ours = match rules {
        Ok(rules) => rules.into_iter().find(|rule| is_ours(rule, address, bridge)),
        Err(_) if address.is_ipv6() => return Ok(None),
        Err(error) => return Err(WiringError::Rule(io_error(error))),
    };
    let changed = match (ours, allowed) {
        (Some(_), false) | (None, true) => return Ok(Some(false)),
        (None, false) => add_rule(&handle, address, bridge).await,
        (Some(_), true) if asked == MetadataRule::OnlyAdded => return Ok(Some(false)),
        (Some(rule), true) => done(handle.rule().del(rule).execute().await),
    };
    changed.map(|()| Some(true)).map_err(WiringError::Rule)
}

/// What is for another machine, and what is for this one where it stands in for EC2.
async fn firewall_rules(
    address: IpAddr,
    allowed: bool,
    bridge: &str,
    asked: MetadataRule,
    firewall: &mut Firewall<impl FirewallPrograms>,
) -> Result<bool, WiringError> {
    let to = address.to_string();
    let words = ["-i", bridge, "-d", &to, "-j", "REJECT"];
    let mut changed = false;
    for chain in ["FORWARD", "INPUT"] {
        let rule = Rule::new("filter", chain, &words);
        let done = match (allowed, asked) {
            (false, _) => firewall.ensure(address, &rule).await,
            (true, MetadataRule::OnlyAdded) => Ok(false),
            (true, MetadataRule::AsSet) => firewall.remove(address, &rule).await,
        };
        changed |= done.map_err(|why| WiringError::Firewall(address, why))?;
    }
    Ok(changed)
}

/// Whether there is such a bridge yet does not matter.
async fn add_rule(handle: &Handle, address: IpAddr, bridge: &str) -> io::Result<()> {
    let rule = handle.rule().add().input_interface(bridge.to_owned()).action(RuleAction::Prohibit);
    let rule = rule.priority(PRIORITY);
    done(match address {
        IpAddr::V4(address) => rule.v4().destination_prefix(address, 32).execute().await,
        IpAddr::V6(address) => rule.v6().destination_prefix(address, 128).execute().await,
    })
}

fn is_ours(rule: &RuleMessage, address: IpAddr, bridge: &str) -> bool {
    let has = |wanted: RuleAttribute| rule.attributes.contains(&wanted);
    rule.header.action == RuleAction::Prohibit
        && has(RuleAttribute::Priority(PRIORITY))
        && has(RuleAttribute::Destination(address))
        && has(RuleAttribute::Iifname(bridge.to_owned()))
}

/// Another agent on this host may have been quicker.
fn done(result: Result<(), rtnetlink::Error>) -> io::Result<()> {
    match result.map_err(io_error) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

fn io_error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::firewall::tests::Fake, *};

    /// All that a look does with the firewall.
    async fn look(fake: &Fake) -> bool {
        let mut firewall = Firewall::new(fake);
        let public: SocketAddr = "169.254.170.2:80".parse().unwrap();
        let mut changed = way_through_firewall(public, "docker0", &mut firewall).await.unwrap();
        for address in [IpAddr::V4(METADATA_V4), IpAddr::V6(METADATA_V6)] {
            let asked = MetadataRule::AsSet;
            changed |=
                firewall_rules(address, false, "docker0", asked, &mut firewall).await.unwrap();
        }
        changed
    }

    #[tokio::test]
    async fn look_at_a_prepared_host_runs_one_program_a_family() {
        let fake = Fake { denies: true, ..Fake::default() };
        assert!(look(&fake).await);
        let added = fake.take();
        assert_eq!(added.iter().filter(|line| line.contains(" -I ")).count(), 7, "{added:#?}");
        assert!(!look(&fake).await);
        assert_eq!(fake.take(), ["iptables-save", "ip6tables-save"]);
    }

    #[tokio::test]
    async fn flushed_family_is_laid_again_whole() {
        let fake = Fake { denies: true, ..Fake::default() };
        look(&fake).await;
        fake.take();
        fake.rules.lock().unwrap()[0].clear();
        assert!(look(&fake).await);
        let added = fake.take();
        assert_eq!(added.iter().filter(|line| line.contains(" -I ")).count(), 5, "{added:#?}");
    }

    /// An agent that starts before its address is laid serves once it is there.
    #[tokio::test]
    async fn listener_is_had_before_the_host_has_its_address() {
        // TEST-NET-1 of RFC 5737, which no host has.
        let elsewhere: SocketAddr = "192.0.2.77:0".parse().unwrap();
        assert!(TcpListener::bind(elsewhere).await.is_err());
        assert_eq!(listen(elsewhere).unwrap().local_addr().unwrap().ip(), elsewhere.ip());
        let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = listen(here).unwrap();
        let taken = listener.local_addr().unwrap();
        assert!(listen(taken).is_err(), "two agents listen at {taken}");
        reached(&listener, taken).await.unwrap();
    }
}
