//! Who may act as a host: the one agent that holds its key, on the machine that the host is known to be.
//!
//! A key proves that its holder has the host's data directory, and a data directory can be copied, with
//! a disk or an image. So an agent also says on which machine and in which run it is. The host is the
//! machine that registered; while its agent is heard, no other run of an agent acts for the host.
//!
//! A certificate that has ended still proves its key. It is renewed for the last key that was certified
//! and for the one before, whose holder may not have received the answer; any older key, and one that
//! the journal does not know, needs a join token beside it. So whoever finds an old copy of a host's key
//! cannot enter with it, and whoever holds the newest is the host until the host is deregistered.

use longshore_common::{
    clock::Timestamp,
    id::HostId,
    machine::{AgentRun, MachineMarks},
};

use super::{Answer, Decision, join_tokens};
use crate::{
    command::{CertifyHost, MemberCommand},
    event::{Event, MemberEvent, TokenEvent},
    model::{host::Membership, join_token::JoinToken},
    rejection::{MemberRejection, Rejection, TokenRejection},
    state::{Host, State},
};

pub(super) fn decide_member(
    state: &State,
    command: &MemberCommand,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    match command {
        MemberCommand::CertifyHost(asked) => certify(state, asked, at),
    }
}

/// Decides on a certificate for a host's new key.
fn certify(state: &State, certify: &CertifyHost, at: Timestamp) -> Result<Decision, Rejection> {
    may_certify(state, certify, false, at)?;
    let CertifyHost { host, key, by, .. } = *certify;
    let mut events = Vec::new();
    // A key that is known needs no token: an answer that was lost must not cost another use.
    let needs_token = by.is_none_or(|by| {
        let member = state.membership(host);
        by.ended && member.is_none_or(|member| !member.keys.contains(&by.key))
    });
    if needs_token && let Some(token) = token_used(state, certify, at)? {
        events.push(Event::Token(TokenEvent::JoinTokenUsed { id: token.id.clone() }));
        if state.membership(host).is_none() {
            events.push(Event::Member(MemberEvent::HostJoined {
                host,
                cluster: token.cluster.clone(),
                at,
            }));
        }
    }
    events.push(Event::Member(MemberEvent::HostCertified {
        host,
        key,
        by: by.map(|by| by.key),
        at,
    }));
    Ok(Decision::with(events, Answer::Host(host)))
}

/// Whether a host may have a certificate for a new key. `went_back` says that the journal is known to
/// be an old one, which may not hold every join that its CA vouches for.
pub fn may_certify(
    state: &State,
    certify: &CertifyHost,
    went_back: bool,
    at: Timestamp,
) -> Result<(), Rejection> {
    let host = certify.host;
    let member = member(state, host, went_back)?;
    let ended = certify.by.as_ref().is_some_and(|by| by.ended);
    // No join that a recovered journal lost is likely any more: a host that was deregistered and forgotten
    // since looks the same, and what that one has seen would seem to prove the journal old.
    let awaited = went_back || state.word_awaited_until().is_some();
    if member.is_none() && ended && !awaited {
        return Err(MemberRejection::HostUnknown(host).into());
    }
    let known = |key| member.is_some_and(|member| member.keys.contains(key));
    if certify.by.as_ref().is_some_and(|by| by.ended && !known(&by.key))
        && token_used(state, certify, at)?.is_none()
    {
        return Err(MemberRejection::HostKeyUnknown(host).into());
    }
    uncontested(state, host, certify.run.as_ref(), None)
}

/// The host's membership; absent for one that only an older journal's successor knew.
pub fn member(
    state: &State,
    host: HostId,
    went_back: bool,
) -> Result<Option<&Membership>, Rejection> {
    let recovering = went_back || state.has_recovered();
    match state.membership(host) {
        Some(member) if member.revoked => Err(MemberRejection::HostDeregistered(host).into()),
        Some(member) => Ok(Some(member)),
        None if recovering => Ok(None),
        None => Err(MemberRejection::HostUnknown(host).into()),
    }
}

/// The token that a host with an ended certificate brought, when it may be used.
fn token_used<'a>(
    state: &'a State,
    certify: &CertifyHost,
    at: Timestamp,
) -> Result<Option<&'a JoinToken>, Rejection> {
    let Some(secret_hash) = &certify.secret_hash else { return Ok(None) };
    let token = &join_tokens::usable(state, secret_hash, at)?.token;
    let cluster = state.membership(certify.host).and_then(|member| member.cluster.as_ref());
    match (&token.cluster, cluster) {
        (Some(allowed), Some(asked)) if allowed != asked => {
            let (allowed, asked) = (allowed.clone(), asked.clone());
            Err(TokenRejection::JoinTokenForOtherCluster { allowed, asked }.into())
        }
        _ => Ok(Some(token)),
    }
}

/// Refuses an agent that is not this host's: on another machine, or beside the host's own agent that
/// is alive. `poll_address` is where it listens, when it says so: one address has one agent.
pub fn uncontested(
    state: &State,
    id: HostId,
    run: Option<&AgentRun>,
    poll_address: Option<&str>,
) -> Result<(), Rejection> {
    let Some(host) = state.host(id).filter(|host| host.is_registered()) else { return Ok(()) };
    let Some(place) = &host.agent else { return Ok(()) };
    if run.is_some_and(|run| run.machine.differ_from(&place.machine)) {
        return Err(MemberRejection::HostOfOtherMachine(id).into());
    }
    let elsewhere = match (run, poll_address) {
        (_, Some(address)) if address == place.poll_address => false,
        (Some(run), _) => heard_session(host).is_some_and(|heard| heard != Some(run.session)),
        // Of an agent that does not say its session, only the address can tell.
        (None, Some(_)) => host.connected,
        (None, None) => false,
    };
    if elsewhere {
        let address = place.poll_address.clone();
        return Err(MemberRejection::HostLivesElsewhere { host: id, address }.into());
    }
    Ok(())
}

/// The session of the agent that is heard now. Unknown (`Some(None)`) of one that counts as connected
/// and was not heard since the coordinator's start.
fn heard_session(host: &Host) -> Option<Option<u64>> {
    host.connected.then(|| host.reports_taken.map(|taken| taken.session))
}

/// Marks by which the machine of a host that registers is known from now on.
pub(super) fn marks(state: &State, id: HostId, run: Option<&AgentRun>) -> MachineMarks {
    let said = run.map(|run| run.machine.clone()).unwrap_or_default();
    let place = state.host(id).filter(|host| host.is_registered()).and_then(|h| h.agent.as_ref());
    match place {
        Some(place) => said.or(&place.machine),
        None => said,
    }
}
