//! What events do to client tokens, join tokens and the hosts that joined, and their rows.

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    mutual_tls::KeyHash,
};

use super::entity::Entity;
use crate::{
    checkpoint::{
        entity::{EntityKey, kind},
        record::{ClientTokenRecord, MemberRecord},
    },
    event::{MemberEvent, TokenEvent},
    model::{
        client_token::{ClientTokenUse, UsedClientToken},
        host::Membership,
        join_token::{JoinToken, JoinTokenState},
        name::ClusterName,
    },
    state::{Host, State},
};

impl State {
    pub(super) fn apply_token(&mut self, event: &TokenEvent) {
        match event {
            TokenEvent::ClientTokensExpired { tokens } => self.client_tokens_expired(tokens),
            TokenEvent::JoinTokenCreated(token) => self.join_token_created(token),
            TokenEvent::JoinTokenUsed { id } => self.join_token_used(id),
            TokenEvent::JoinTokenRevoked { id } => self.join_token_revoked(id),
            TokenEvent::JoinTokensExpired { ids } => self.join_tokens_expired(ids),
        }
    }

    pub(super) fn apply_member(&mut self, event: &MemberEvent) {
        match event {
            MemberEvent::HostJoined { host, cluster, at } => self.host_joined(*host, cluster, *at),
            MemberEvent::HostCertified { host, key, by, at } => {
                self.host_certified(*host, *key, *by, *at);
            }
            MemberEvent::MembersForgotten { hosts } => self.members_forgotten(hosts),
        }
    }

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

    /// Forgets the host's keys, except any that is another member's by now.
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

impl Entity for kind::Member {
    fn keys(state: &State) -> Vec<HostId> {
        state.members.keys().copied().collect()
    }

    fn row(state: &State, host: &HostId) -> Option<MemberRecord> {
        let membership = state.members.get(host)?.clone();
        Some(MemberRecord { host: *host, membership })
    }

    fn restore(state: &mut State, row: MemberRecord) {
        state.insert_member(row.host, row.membership);
    }
}
