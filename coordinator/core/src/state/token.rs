//! Client tokens (idempotency of RunTask) and join tokens (how hosts enter).

use std::collections::{BTreeMap, BTreeSet};

use longshore_common::{clock::Timestamp, id::HostId};

use super::picture::{Picture, fields};
use crate::model::{
    client_token::ClientTokenUse,
    join_token::{JoinToken, JoinTokenState},
    name::ClusterName,
};

/// Time for which a client token is remembered (promises.md 2.8: 24 h).
pub(super) const CLIENT_TOKEN_LIFE: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

#[derive(Default)]
pub(super) struct ClientTokens {
    pub(super) uses: BTreeMap<(ClusterName, String), ClientTokenUse>,
    by_age: BTreeMap<Timestamp, Vec<(ClusterName, String)>>,
}

impl ClientTokens {
    pub(super) fn get(&self, cluster: &ClusterName, token: &str) -> Option<&ClientTokenUse> {
        self.uses.get(&(cluster.clone(), token.to_owned()))
    }

    pub(super) fn expired(&self, at: Timestamp) -> impl Iterator<Item = (ClusterName, String)> {
        let oldest = Timestamp(at.0.saturating_sub(CLIENT_TOKEN_LIFE.as_millis() as u64));
        self.by_age.range(..oldest).flat_map(|(_, keys)| keys).cloned()
    }

    pub(super) fn insert(&mut self, cluster: ClusterName, token_use: ClientTokenUse) {
        let key = (cluster, token_use.used.token.clone());
        self.by_age.entry(token_use.at).or_default().push(key.clone());
        self.uses.insert(key, token_use);
    }

    pub(super) fn picture(&self, picture: &mut Picture) {
        let ClientTokens { uses, by_age } = self;
        for ((cluster, token), token_use) in uses {
            let shown = fields! { token_use: token_use };
            picture.show(format!("client token {cluster}/{token}"), shown);
        }
        let mut by_age: Vec<_> =
            by_age.iter().flat_map(|(at, keys)| keys.iter().map(move |key| (at, key))).collect();
        by_age.sort();
        picture.show("client tokens by age", fields! { by_age: by_age });
    }

    pub(super) fn remove(&mut self, key: &(ClusterName, String)) {
        let Some(removed) = self.uses.remove(key) else { return };
        if let Some(keys) = self.by_age.get_mut(&removed.at) {
            keys.retain(|k| k != key);
            if keys.is_empty() {
                self.by_age.remove(&removed.at);
            }
        }
    }
}

/// Members whose hosts are deregistered or were never registered, by since when.
#[derive(Default)]
pub(super) struct IdleMembers {
    pub(super) by_age: BTreeSet<(Timestamp, HostId)>,
    since: BTreeMap<HostId, Timestamp>,
}

impl IdleMembers {
    pub(super) fn insert(&mut self, host: HostId, since: Timestamp) {
        self.by_age.insert((since, host));
        self.since.insert(host, since);
    }

    pub(super) fn remove(&mut self, host: HostId) {
        if let Some(since) = self.since.remove(&host) {
            self.by_age.remove(&(since, host));
        }
    }

    pub(super) fn hosts(&self) -> Vec<HostId> {
        self.since.keys().copied().collect()
    }
}

#[derive(Default)]
pub struct JoinTokens {
    pub(super) tokens: BTreeMap<String, JoinTokenState>,
    /// Ids by when they expire.
    expiring: BTreeSet<(Timestamp, String)>,
    /// Ids by the hashes of their secrets. A stranger asks with each attempt to join.
    by_secret: BTreeSet<([u8; 32], String)>,
}

impl JoinTokens {
    pub fn get(&self, id: &str) -> Option<&JoinTokenState> {
        self.tokens.get(id)
    }

    /// Ids of those that expired before.
    pub fn expired(&self, before: Timestamp) -> impl Iterator<Item = String> {
        let expired = self.expiring.iter().take_while(move |(at, _)| *at < before);
        expired.map(|(_, id)| id.clone())
    }

    /// Tokens in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &JoinTokenState> {
        self.tokens.values()
    }

    /// Hashes are compared, never secrets, so an early exit tells an attacker nothing useful.
    pub fn by_secret_hash(&self, hash: &[u8; 32]) -> Option<&JoinTokenState> {
        let (found, id) = self.by_secret.range((*hash, String::new())..).next()?;
        self.tokens.get(id).filter(|_| found == hash)
    }

    pub(super) fn picture(&self, picture: &mut Picture) {
        // Derived from the tokens.
        let JoinTokens { tokens, expiring, by_secret: _ } = self;
        for (id, state) in tokens {
            picture.show(format!("join token {id}"), fields! { state: state });
        }
        picture.show("expiring join tokens", fields! { expiring: expiring });
    }

    pub(super) fn insert(&mut self, state: JoinTokenState) {
        let JoinToken { id, secret_hash, expires_at, .. } = &state.token;
        self.expiring.insert((*expires_at, id.clone()));
        self.by_secret.insert((*secret_hash, id.clone()));
        self.tokens.insert(id.clone(), state);
    }

    pub(super) fn remove(&mut self, id: &str) {
        let Some(JoinTokenState { token, .. }) = self.tokens.remove(id) else { return };
        self.expiring.remove(&(token.expires_at, id.to_owned()));
        self.by_secret.remove(&(token.secret_hash, token.id));
    }
}
