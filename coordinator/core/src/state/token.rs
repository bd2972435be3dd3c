//! Client tokens (idempotency of RunTask) and join tokens (how hosts enter).

use std::collections::{BTreeMap, BTreeSet};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    mutual_tls::KeyHash,
};

use super::{
    EntityKey, Host, State,
    entity::{Entity, kind},
    picture::{Picture, fields},
};
use crate::{
    checkpoint::record::ClientTokenRecord,
    model::{
        client_token::{ClientTokenUse, UsedClientToken},
        host::Membership,
        join_token::{JoinToken, JoinTokenState},
        name::ClusterName,
    },
};

/// How long a client token is remembered (promises.md 2.8: 24 h).
pub(super) const CLIENT_TOKEN_LIFE: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

#[derive(Default)]
pub(super) struct ClientTokens {
    uses: BTreeMap<(ClusterName, String), ClientTokenUse>,
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

    fn remove(&mut self, key: &(ClusterName, String)) {
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
    by_age: BTreeSet<(Timestamp, HostId)>,
    since: BTreeMap<HostId, Timestamp>,
}

impl IdleMembers {
    fn insert(&mut self, host: HostId, since: Timestamp) {
        self.by_age.insert((since, host));
        self.since.insert(host, since);
    }

    fn remove(&mut self, host: HostId) {
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
    tokens: BTreeMap<String, JoinTokenState>,
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

    /// In the order of their ids.
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

    fn remove(&mut self, id: &str) {
        let Some(JoinTokenState { token, .. }) = self.tokens.remove(id) else { return };
        self.expiring.remove(&(token.expires_at, id.to_owned()));
        self.by_secret.remove(&(token.secret_hash, token.id));
    }
}

impl State {
    pub(super) fn client_token_used(
        &mut self,
        cluster: &ClusterName,
        used: &UsedClientToken,
        tasks: Vec<TaskId>,
        at: Timestamp,
    ) {
        self.touch(EntityKey::ClientToken((cluster.clone(), used.token.clone())));
        self.client_tokens
            .insert(cluster.clone(), ClientTokenUse { used: used.clone(), tasks, at });
    }

    pub(super) fn client_tokens_expired(&mut self, tokens: &[(ClusterName, String)]) {
        for key in tokens {
            self.touch(EntityKey::ClientToken(key.clone()));
            self.client_tokens.remove(key);
        }
    }

    pub(super) fn join_token_created(&mut self, token: &JoinToken) {
        self.touch(EntityKey::JoinToken(token.id.clone()));
        self.join_tokens.insert(JoinTokenState { token: token.clone(), revoked: false });
    }

    pub(super) fn join_token_used(&mut self, id: &str) {
        self.touch(EntityKey::JoinToken(id.to_owned()));
        if let Some(state) = self.join_tokens.tokens.get_mut(id) {
            state.token.uses_left = state.token.uses_left.map(|left| left.saturating_sub(1));
        }
    }

    pub(super) fn join_token_revoked(&mut self, id: &str) {
        self.touch(EntityKey::JoinToken(id.to_owned()));
        if let Some(state) = self.join_tokens.tokens.get_mut(id) {
            state.revoked = true;
        }
    }

    pub(super) fn join_tokens_expired(&mut self, ids: &[String]) {
        for id in ids {
            self.touch(EntityKey::JoinToken(id.clone()));
            self.join_tokens.remove(id);
        }
    }

    pub(super) fn host_joined(
        &mut self,
        host: HostId,
        cluster: &Option<ClusterName>,
        at: Timestamp,
    ) {
        self.touch(EntityKey::Member(host));
        let cluster = cluster.clone();
        let membership = Membership { cluster, joined_at: at, revoked: false, keys: Vec::new() };
        self.insert_member(host, membership);
    }

    pub(super) fn insert_member(&mut self, host: HostId, membership: Membership) {
        // When a host was deregistered, its row does not say.
        let since = if membership.revoked { Timestamp::default() } else { membership.joined_at };
        self.members.insert(host, membership);
        self.index_keys(host);
        self.member_may_be_idle(host, since);
    }

    /// The member that a key was certified for last.
    pub(crate) fn host_of_key(&self, key: &KeyHash) -> Option<HostId> {
        let host = *self.hosts_by_key.get(key)?;
        let member = self.members.get(&host)?;
        member.keys.contains(key).then_some(host)
    }

    fn index_keys(&mut self, host: HostId) {
        let keys = self.members.get(&host).map(|member| member.keys.as_slice()).unwrap_or_default();
        self.hosts_by_key.extend(keys.iter().map(|key| (*key, host)));
    }

    /// Of a key that is one of another member's by now, nothing is forgotten.
    fn unindex_keys(&mut self, host: HostId) {
        let keys = self.members.get(&host).map(|member| member.keys.as_slice()).unwrap_or_default();
        for key in keys {
            if self.hosts_by_key.get(key) == Some(&host) {
                self.hosts_by_key.remove(key);
            }
        }
    }

    pub(super) fn members_forgotten(&mut self, hosts: &[HostId]) {
        for &host in hosts {
            self.touch(EntityKey::Member(host));
            self.unindex_keys(host);
            self.members.remove(&host);
            self.idle_members.remove(host);
        }
    }

    /// Members that no host has needed since before, as many as one event may name. None before
    /// the epoch itself is that old: a start does not know since when.
    pub fn forgettable_members(&self, before: Timestamp) -> impl Iterator<Item = HostId> {
        let knows = self.epoch_started_at < before;
        let idle = self.idle_members.by_age.iter().take_while(move |(since, _)| *since < before);
        idle.filter(move |_| knows).map(|(_, host)| *host)
    }

    /// A membership, or whether its host is registered, changed.
    pub(super) fn member_may_be_idle(&mut self, host: HostId, since: Timestamp) {
        self.idle_members.remove(host);
        let in_use = self.host(host).is_some_and(Host::is_registered);
        if self.members.get(&host).is_some_and(|member| member.revoked || !in_use) {
            self.idle_members.insert(host, since);
        }
    }

    /// The key that asked stays beside the new one: its holder may never receive the answer.
    pub(super) fn host_certified(
        &mut self,
        host: HostId,
        key: KeyHash,
        by: Option<KeyHash>,
        at: Timestamp,
    ) {
        self.touch(EntityKey::Member(host));
        if !self.members.contains_key(&host) {
            self.host_joined(host, &None, at);
        }
        self.unindex_keys(host);
        if let Some(member) = self.members.get_mut(&host) {
            member.keys = by.into_iter().filter(|by| *by != key).chain([key]).collect();
        }
        self.index_keys(host);
    }
}

impl Entity for kind::ClientToken {
    type Key = (ClusterName, String);
    type Row = ClientTokenRecord;

    fn id((cluster, token): &(ClusterName, String)) -> Vec<u8> {
        format!("{cluster}/{token}").into()
    }

    fn keys(state: &State) -> Vec<(ClusterName, String)> {
        state.client_tokens.uses.keys().cloned().collect()
    }

    fn row(state: &State, (cluster, token): &(ClusterName, String)) -> Option<ClientTokenRecord> {
        let token_use = state.client_tokens.get(cluster, token)?.clone();
        Some(ClientTokenRecord { cluster: cluster.clone(), token_use })
    }

    fn restore(state: &mut State, row: ClientTokenRecord) {
        state.client_tokens.insert(row.cluster, row.token_use);
    }
}

impl Entity for kind::JoinToken {
    type Key = String;
    type Row = JoinTokenState;

    fn id(id: &String) -> Vec<u8> {
        id.as_bytes().into()
    }

    fn keys(state: &State) -> Vec<String> {
        state.join_tokens.tokens.keys().cloned().collect()
    }

    fn row(state: &State, id: &String) -> Option<JoinTokenState> {
        state.join_tokens.get(id).cloned()
    }

    fn restore(state: &mut State, row: JoinTokenState) {
        state.join_tokens.insert(row);
    }
}
