//! Join tokens: made, revoked, used. Only hashes of secrets are ever seen here.

use longshore_common::{clock::Timestamp, id::HostId, mutual_tls::KeyHash};

use super::{Answer, Decision};
use crate::{
    command::TokenCommand,
    event::{Event, MemberEvent, TokenEvent},
    launch::ids::Ids,
    model::join_token::{JoinToken, JoinTokenState},
    rejection::{MemberRejection, Rejection, TokenRejection},
    state::State,
};

pub(super) fn decide_token(
    state: &State,
    command: &TokenCommand,
    at: Timestamp,
    ids: Ids,
) -> Result<Decision, Rejection> {
    match command {
        TokenCommand::CreateJoinToken(token) => create(state, token),
        TokenCommand::RevokeJoinToken { id } => revoke(state, id),
        TokenCommand::UseJoinToken { secret_hash, requested_host, key } => {
            use_token(state, secret_hash, *requested_host, *key, at, ids)
        }
    }
}

fn create(state: &State, token: &JoinToken) -> Result<Decision, Rejection> {
    if state.join_tokens().get(&token.id).is_some() {
        return Err(TokenRejection::JoinTokenExists(token.id.clone()).into());
    }
    Ok(Decision::of(vec![Event::Token(TokenEvent::JoinTokenCreated(token.clone()))]))
}

fn revoke(state: &State, id: &str) -> Result<Decision, Rejection> {
    match state.join_tokens().get(id) {
        None => Err(TokenRejection::NoSuchJoinToken(id.to_owned()).into()),
        Some(token) if token.revoked => Ok(Decision::default()),
        Some(_) => {
            Ok(Decision::of(vec![Event::Token(TokenEvent::JoinTokenRevoked { id: id.to_owned() })]))
        }
    }
}

/// One use of a token gives one host id: a new one, or a registered instance that no agent has
/// joined yet. Of many that race for the last use, the first command wins. The same key asks again when
/// the answer was lost on its way: it is the same host, and nothing is used up.
fn use_token(
    state: &State,
    secret_hash: &[u8; 32],
    requested: Option<HostId>,
    key: Option<KeyHash>,
    at: Timestamp,
    ids: Ids,
) -> Result<Decision, Rejection> {
    let Judged { token, again } = judge(state, secret_hash, key.as_slice(), at)?;
    if let Some(host) = again {
        return Ok(Decision::with(Vec::new(), Answer::Host(host)));
    }
    let host = match requested {
        None => HostId::new(ids.nth(0)),
        Some(host) => requested_host(state, host, token.token.cluster.as_ref())?,
    };
    let mut events = vec![
        Event::Token(TokenEvent::JoinTokenUsed { id: token.token.id.clone() }),
        Event::Member(MemberEvent::HostJoined { host, cluster: token.token.cluster.clone(), at }),
    ];
    // In the same batch, or a crash between the two would use the token up for nobody.
    events.extend(
        key.map(|key| Event::Member(MemberEvent::HostCertified { host, key, by: None, at })),
    );
    Ok(Decision::with(events, Answer::Host(host)))
}

/// A token that may be used.
pub struct Judged<'a> {
    pub(super) token: &'a JoinTokenState,
    /// The host that one of the caller's keys is already certified for.
    pub(super) again: Option<HostId>,
}

/// Whether the token of that secret may be used by whoever holds `keys`. A host that is in already needs no
/// use of it: the token may be used up by that very host, and may have expired meanwhile.
pub fn judge<'a>(
    state: &'a State,
    secret_hash: &[u8; 32],
    keys: &[KeyHash],
    at: Timestamp,
) -> Result<Judged<'a>, Rejection> {
    let found = state.join_tokens().by_secret_hash(secret_hash);
    let token = found.ok_or(TokenRejection::JoinTokenUnknown)?;
    if token.revoked {
        return Err(TokenRejection::JoinTokenRevoked.into());
    }
    let of_token = |host: &HostId| {
        let member = state.membership(*host);
        member.is_some_and(|member| !member.revoked && member.cluster == token.token.cluster)
    };
    let again = keys.iter().find_map(|key| state.host_of_key(key).filter(of_token));
    if again.is_none() {
        usable(state, secret_hash, at)?;
    }
    Ok(Judged { token, again })
}

/// The token of that secret, if it may be used now.
pub(super) fn usable<'a>(
    state: &'a State,
    secret_hash: &[u8; 32],
    at: Timestamp,
) -> Result<&'a JoinTokenState, Rejection> {
    let found = state.join_tokens().by_secret_hash(secret_hash);
    let token = found.ok_or(TokenRejection::JoinTokenUnknown)?;
    if token.revoked {
        return Err(TokenRejection::JoinTokenRevoked.into());
    }
    if token.token.expires_at <= at {
        return Err(TokenRejection::JoinTokenExpired.into());
    }
    if token.token.uses_left == Some(0) {
        return Err(TokenRejection::JoinTokenUsedUp.into());
    }
    Ok(token)
}

fn requested_host(
    state: &State,
    id: HostId,
    allowed: Option<&crate::model::name::ClusterName>,
) -> Result<HostId, Rejection> {
    let host = state.host(id).ok_or(MemberRejection::HostUnknown(id))?;
    if !host.is_registered() {
        return Err(MemberRejection::HostDeregistered(id).into());
    }
    if state.membership(id).is_some() {
        return Err(MemberRejection::HostHasJoined(id).into());
    }
    let cluster = &state.cluster_at(host.cluster).name;
    match allowed {
        Some(allowed) if allowed != cluster => Err(TokenRejection::JoinTokenForOtherCluster {
            allowed: allowed.clone(),
            asked: cluster.clone(),
        }
        .into()),
        _ => Ok(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, command::TokenCommand, test_kit::world::World};

    const SECRET: [u8; 32] = [9; 32];

    fn world(uses: u32) -> World {
        let mut world = World::new();
        let expires_at = world.at.saturating_add(std::time::Duration::from_secs(60));
        let token = JoinToken {
            id: "once".into(),
            secret_hash: SECRET,
            cluster: None,
            expires_at,
            uses_left: Some(uses),
        };
        world.call(Command::Token(TokenCommand::CreateJoinToken(token))).unwrap();
        world
    }

    fn join(world: &mut World, key: u8) -> Result<Answer, Rejection> {
        let key = Some([key; 32]);
        world.call(Command::Token(TokenCommand::UseJoinToken {
            secret_hash: SECRET,
            requested_host: None,
            key,
        }))
    }

    #[test]
    fn same_key_joins_again_as_the_same_host() {
        let mut world = world(1);
        let first = join(&mut world, 1).unwrap();
        assert_eq!(join(&mut world, 1).unwrap(), first, "the first answer may be lost");
        assert_eq!(join(&mut world, 2), Err(Rejection::Token(TokenRejection::JoinTokenUsedUp)));
        // A reply that takes long, too.
        world.pass(120.0);
        assert_eq!(join(&mut world, 1).unwrap(), first);
        assert_eq!(join(&mut world, 2), Err(Rejection::Token(TokenRejection::JoinTokenExpired)));
        assert_eq!(world.state.check(), Vec::<String>::new());
    }

    #[test]
    fn token_is_used_once_for_each_key() {
        let mut world = world(3);
        for _ in 0..5 {
            join(&mut world, 1).unwrap();
            join(&mut world, 2).unwrap();
        }
        join(&mut world, 3).unwrap();
        assert_eq!(join(&mut world, 4), Err(Rejection::Token(TokenRejection::JoinTokenUsedUp)));
    }

    #[test]
    fn revoked_token_lets_nobody_in_again() {
        let mut world = world(1);
        join(&mut world, 1).unwrap();
        world.call(Command::Token(TokenCommand::RevokeJoinToken { id: "once".into() })).unwrap();
        assert_eq!(join(&mut world, 1), Err(Rejection::Token(TokenRejection::JoinTokenRevoked)));
    }

    #[test]
    fn token_is_found_by_its_secret_until_it_is_forgotten() {
        let mut world = world(1);
        let found = |world: &World, secret: [u8; 32]| {
            world.state.join_tokens().by_secret_hash(&secret).map(|found| found.token.id.clone())
        };
        let other = JoinToken {
            id: "other".into(),
            secret_hash: [10; 32],
            expires_at: Timestamp(world.at.0 + 365 * 24 * 3_600_000),
            ..world.state.join_tokens().get("once").unwrap().token.clone()
        };
        world.call(Command::Token(TokenCommand::CreateJoinToken(other))).unwrap();
        for (secret, id) in [(SECRET, Some("once")), ([10; 32], Some("other")), ([8; 32], None)] {
            assert_eq!(found(&world, secret).as_deref(), id);
        }
        // Listed for a while after its end.
        world.pass(24.0 * 3600.0);
        assert_eq!(world.state.join_tokens().get("once"), None);
        assert_eq!(found(&world, SECRET), None);
        assert_eq!(found(&world, [10; 32]).as_deref(), Some("other"));
    }
}
