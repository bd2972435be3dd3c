//! Join tokens: made, revoked, used. Only hashes of secrets are ever seen here.

use longshore_common::{clock::Timestamp, id::HostId};

use super::{Answer, Decision, ids::Ids};
use crate::state_machine::{
    command::JoinToken,
    event::Event,
    rejection::Rejection,
    state::{JoinTokenState, State},
};

pub(super) fn create(state: &State, token: &JoinToken) -> Result<Decision, Rejection> {
    if state.join_tokens().get(&token.id).is_some() {
        return Err(Rejection::JoinTokenExists(token.id.clone()));
    }
    Ok(Decision::of(vec![Event::JoinTokenCreated(token.clone())]))
}

pub(super) fn revoke(state: &State, id: &str) -> Result<Decision, Rejection> {
    match state.join_tokens().get(id) {
        None => Err(Rejection::NoSuchJoinToken(id.to_owned())),
        Some(token) if token.revoked => Ok(Decision::default()),
        Some(_) => Ok(Decision::of(vec![Event::JoinTokenRevoked { id: id.to_owned() }])),
    }
}

/// One use of a token gives one host id: a new one, or a registered instance that no agent has
/// joined yet. Of many that race for the last use, the first command wins.
pub(super) fn use_token(
    state: &State,
    secret_hash: &[u8; 32],
    requested: Option<HostId>,
    at: Timestamp,
    ids: Ids,
) -> Result<Decision, Rejection> {
    let token = usable(state, secret_hash, at)?;
    let host = match requested {
        None => HostId::new(ids.nth(0)),
        Some(host) => requested_host(state, host, token.token.cluster.as_ref())?,
    };
    let events = vec![
        Event::JoinTokenUsed { id: token.token.id.clone() },
        Event::HostJoined { host, cluster: token.token.cluster.clone(), at },
    ];
    Ok(Decision::with(events, Answer::Host(host)))
}

/// The token of that secret, if it may be used now.
pub(crate) fn usable<'a>(
    state: &'a State,
    secret_hash: &[u8; 32],
    at: Timestamp,
) -> Result<&'a JoinTokenState, Rejection> {
    let found = state.join_tokens().by_secret_hash(secret_hash);
    let token = found.ok_or(Rejection::JoinTokenUnknown)?;
    if token.revoked {
        return Err(Rejection::JoinTokenRevoked);
    }
    if token.token.expires_at <= at {
        return Err(Rejection::JoinTokenExpired);
    }
    if token.token.uses_left == Some(0) {
        return Err(Rejection::JoinTokenUsedUp);
    }
    Ok(token)
}

fn requested_host(
    state: &State,
    id: HostId,
    allowed: Option<&crate::state_machine::name::ClusterName>,
) -> Result<HostId, Rejection> {
    let host = state.host(id).ok_or(Rejection::HostUnknown(id))?;
    if !host.is_registered() {
        return Err(Rejection::HostDeregistered(id));
    }
    if state.membership(id).is_some() {
        return Err(Rejection::HostHasJoined(id));
    }
    let cluster = &state.cluster_at(host.cluster).name;
    match allowed {
        Some(allowed) if allowed != cluster => Err(Rejection::JoinTokenForOtherCluster {
            allowed: allowed.clone(),
            asked: cluster.clone(),
        }),
        _ => Ok(id),
    }
}
