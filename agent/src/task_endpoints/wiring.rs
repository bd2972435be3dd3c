//! How tasks reach the endpoints, and what they must not reach: the host's network set up for both.
//!
//! The endpoints' address is one of this host, on its loopback device, and the agent listens on it
//! itself. So a task on the bridge comes by its gateway with its own address, and one on the host's
//! network directly; nothing is translated. EC2's instance metadata is kept from tasks on the bridge
//! by a routing rule, since it would give them the host's own credentials.
//!
//! Both need CAP_NET_ADMIN. The service has no capability: `longshore-agent prepare-host` does this
//! for it, run by systemd beforehand. Everything here may be done again. Never: a change that another
//! agent on this host depends on, or one at the agent's end: containers go on.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
};

use futures_util::TryStreamExt;
use rtnetlink::{
    Handle, IpVersion,
    packet_route::{
        address::AddressScope,
        rule::{RuleAction, RuleAttribute, RuleMessage},
    },
};
use tracing::{info, warn};

use crate::settings::Settings;

const LOOPBACK: &str = "lo";
/// Docker's default bridge, the only one that tasks are on.
const BRIDGE: &str = "docker0";
/// EC2's instance metadata.
const METADATA_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
/// Before every rule of an operator's that has no reason to be the very first; also how ours is known.
const PRIORITY: u32 = 169;

#[derive(Debug, thiserror::Error)]
pub(crate) enum WiringError {
    #[error("no netlink socket could be had")]
    NoNetlink(#[source] io::Error),
    #[error("the address {0} cannot be given to this host's loopback device")]
    Address(IpAddr, #[source] io::Error),
    #[error("the routing rule about instance metadata cannot be changed")]
    Rule(#[source] io::Error),
}

/// Prepares the host as the settings say, as far as it is not so already; `longshore-agent
/// prepare-host`.
pub(crate) async fn prepare(settings: &Settings) -> Result<(), WiringError> {
    wire(settings, Rule::AsAsked).await
}

/// What may be done about instance metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    AsAsked,
    /// The rule may be another agent's: one that allows what that one forbids does not take it away.
    OnlyAdded,
}

async fn wire(settings: &Settings, rule: Rule) -> Result<(), WiringError> {
    let allowed = settings.allow_instance_metadata;
    if settings.task_endpoints_listen.is_none() && allowed && rule == Rule::OnlyAdded {
        return Ok(());
    }
    let (connection, handle, _) = rtnetlink::new_connection().map_err(WiringError::NoNetlink)?;
    let serving = tokio::spawn(connection);
    let prepared = async {
        if let Some(listen) = settings.task_endpoints_listen {
            give_address(&handle, listen.ip()).await?;
        }
        instance_metadata(&handle, allowed, rule).await
    };
    let prepared = prepared.await;
    serving.abort();
    prepared
}

/// At the agent's start: as [`prepare`], and says in the log what could not be done. Whether the
/// endpoints' address is there.
pub(crate) async fn prepared(settings: &Settings) -> bool {
    let Err(error) = wire(settings, Rule::OnlyAdded).await else { return true };
    let error = longshore_common::telemetry::chain(&error);
    if settings.task_endpoints_listen.is_none_or(|listen| is_local(listen.ip())) {
        warn!(
            error,
            "tasks may be able to reach EC2's instance metadata: run `longshore-agent prepare-host` \
             as root with these settings, or give the agent CAP_NET_ADMIN"
        );
        return true;
    }
    warn!(
        error,
        "tasks are told of no metadata endpoints: run `longshore-agent prepare-host` as root with \
         these settings and start the agent again, give the agent CAP_NET_ADMIN, or turn them off \
         by --task-endpoints-listen=off"
    );
    false
}

/// Only an address of this host can be bound.
fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

async fn give_address(handle: &Handle, address: IpAddr) -> Result<(), WiringError> {
    if is_local(address) {
        return Ok(());
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
            Ok(())
        }
        Err(error) => Err(failed(error)),
    }
}

async fn instance_metadata(handle: &Handle, allowed: bool, rule: Rule) -> Result<(), WiringError> {
    for address in [IpAddr::V4(METADATA_V4), IpAddr::V6(METADATA_V6)] {
        let version = if address.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 };
        let rules = handle.rule().get(version).execute().try_collect::<Vec<_>>().await;
        let ours = match rules {
            Ok(rules) => rules.into_iter().find(|rule| is_ours(rule, address)),
            // A host without IPv6 has nothing to keep from anybody.
            Err(_) if address.is_ipv6() => continue,
            Err(error) => return Err(WiringError::Rule(io_error(error))),
        };
        let changed = match (ours, allowed) {
            (Some(_), false) | (None, true) => continue,
            (None, false) => add_rule(handle, address).await,
            (Some(_), true) if rule == Rule::OnlyAdded => continue,
            (Some(rule), true) => done(handle.rule().del(rule).execute().await),
        };
        changed.map_err(WiringError::Rule)?;
        let now = if allowed { "can reach" } else { "cannot reach" };
        info!(%address, "tasks on the bridge {now} EC2's instance metadata");
    }
    Ok(())
}

/// `iif docker0 to <address> prohibit`: whether there is such a bridge yet does not matter.
async fn add_rule(handle: &Handle, address: IpAddr) -> io::Result<()> {
    let rule = handle.rule().add().input_interface(BRIDGE).action(RuleAction::Prohibit);
    let rule = rule.priority(PRIORITY);
    done(match address {
        IpAddr::V4(address) => rule.v4().destination_prefix(address, 32).execute().await,
        IpAddr::V6(address) => rule.v6().destination_prefix(address, 128).execute().await,
    })
}

fn is_ours(rule: &RuleMessage, address: IpAddr) -> bool {
    let has = |wanted: RuleAttribute| rule.attributes.contains(&wanted);
    rule.header.action == RuleAction::Prohibit
        && has(RuleAttribute::Priority(PRIORITY))
        && has(RuleAttribute::Destination(address))
        && has(RuleAttribute::Iifname(BRIDGE.to_owned()))
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
