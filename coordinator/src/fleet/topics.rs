//! Topics of the poll as this coordinator publishes them: each map, its last changes, and who follows it.
//!
//! A change is encoded once; pollers hand it to their hosts as a pointer. Work for a change grows with
//! the change and with the hosts that follow the topic, never with the fleet. Never: what a host holds.
//! Hosts say that, and a host that is behind by more than what is kept gets the whole topic.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use longshore_common::{
    id::HostId,
    topic::{
        Basis, Section, TOPIC_BYTES_MAX, TopicChange, TopicKey, TopicMap, TopicName, TopicState,
        TopicVersion, encode, entry_bytes,
    },
};

use crate::driver::Signal;

#[cfg(test)]
mod tests;

/// Maximum number of changes of one topic that are kept for hosts that are behind (ours).
const DELTAS_MAX: usize = 256;
/// Minimum number of bytes of changes that are kept of even the smallest topic (ours).
const DELTA_BYTES_MIN: usize = 4096;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the topic {} would hold {bytes} bytes, and {TOPIC_BYTES_MAX} is the most of one topic", .topic.as_str())]
pub struct TopicTooLarge {
    topic: TopicName,
    bytes: usize,
}

/// All topics of one start of the coordinator.
pub struct Topics {
    key: TopicKey,
    /// [`Epoch::incarnation`](longshore_common::protocol::Epoch::incarnation) of this start.
    start: u64,
    published: Mutex<BTreeMap<TopicName, Published>>,
}

struct Published {
    /// False while hosts follow it and nobody has published it: what they hold of it stands.
    is_published: bool,
    map: TopicMap,
    version: TopicVersion,
    /// The whole map, encoded; absent until a host asks for it after a change.
    whole: Option<Bytes>,
    /// The last changes, oldest first.
    deltas: VecDeque<Delta>,
    /// Number of bytes of all deltas, encoded.
    delta_bytes: usize,
    /// Pollers of the hosts that follow it.
    followers: BTreeMap<HostId, Arc<Signal>>,
}

/// One change of a topic.
struct Delta {
    before: TopicState,
    encoded: Bytes,
}

impl Topics {
    pub fn new(key: TopicKey, start: u64) -> Self {
        Topics { key, start, published: Mutex::default() }
    }

    /// Changes a topic and wakes who follows it. Callers publish what is durable.
    pub fn publish(&self, name: &TopicName, changes: &[TopicChange]) -> Result<(), TopicTooLarge> {
        let mut published = self.lock();
        self.topic(&mut published, name).publish(name, changes)
    }

    /// Makes a topic hold just these entries.
    pub fn replace(
        &self,
        name: &TopicName,
        entries: BTreeMap<String, Bytes>,
    ) -> Result<(), TopicTooLarge> {
        let mut published = self.lock();
        let topic = self.topic(&mut published, name);
        let held = topic.map.entries().keys();
        let gone: Vec<String> = held.filter(|key| !entries.contains_key(*key)).cloned().collect();
        let gone = gone.into_iter().map(|key| TopicChange { key, value: None });
        let set = entries.into_iter().map(|(key, value)| TopicChange { key, value: Some(value) });
        let changes: Vec<TopicChange> = gone.chain(set).collect();
        topic.publish(name, &changes)
    }

    /// Makes changes of the topic wake `signal` from now on.
    pub fn follow(&self, name: &TopicName, host: HostId, signal: &Arc<Signal>) {
        let mut published = self.lock();
        self.topic(&mut published, name).followers.insert(host, signal.clone());
    }

    pub fn unfollow(&self, name: &TopicName, host: HostId) {
        let mut published = self.lock();
        let Some(topic) = published.get_mut(name) else { return };
        topic.followers.remove(&host);
        // Whatever names hosts make up, nothing is kept of one that nobody publishes.
        if topic.followers.is_empty() && !topic.is_published {
            published.remove(name);
        }
    }

    /// Whether a host that holds `held` of a topic does not hold what it is now.
    pub fn is_ahead(&self, name: &TopicName, held: Option<TopicState>) -> bool {
        let published = self.lock();
        published.get(name).is_some_and(|topic| topic.is_published && !topic.is_held_by(held))
    }

    /// What a host needs that holds `held` of a topic; nothing when it holds all of it.
    pub fn section(&self, name: &TopicName, held: Option<TopicState>) -> Option<Section> {
        let mut published = self.lock();
        published.get_mut(name)?.section(name, self.key, held)
    }

    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<TopicName> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicName, Published>> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topic<'a>(
        &self,
        published: &'a mut BTreeMap<TopicName, Published>,
        name: &TopicName,
    ) -> &'a mut Published {
        published.entry(name.clone()).or_insert_with(|| Published {
            is_published: false,
            map: TopicMap::new(self.key),
            version: TopicVersion { start: self.start, change: 0 },
            whole: None,
            deltas: VecDeque::new(),
            delta_bytes: 0,
            followers: BTreeMap::new(),
        })
    }
}

impl Published {
    fn state(&self) -> TopicState {
        TopicState { version: self.version, hash: self.map.hash() }
    }

    /// Whether a host holds the same entries, whatever start of the coordinator they are from.
    fn is_held_by(&self, held: Option<TopicState>) -> bool {
        held.is_some_and(|held| held.hash == self.map.hash())
    }

    fn publish(&mut self, name: &TopicName, changes: &[TopicChange]) -> Result<(), TopicTooLarge> {
        // Counted before anything is applied: a refused change leaves the topic as it was.
        let bytes = self.bytes_after(changes);
        if bytes > TOPIC_BYTES_MAX {
            return Err(TopicTooLarge { topic: name.clone(), bytes });
        }
        self.is_published = true;
        self.change(changes);
        Ok(())
    }

    /// Bytes of the map once `changes` are made.
    fn bytes_after(&self, changes: &[TopicChange]) -> usize {
        let size = |key: &str, value: &Bytes| entry_bytes(key, value);
        let last: BTreeMap<&str, Option<&Bytes>> =
            changes.iter().map(|change| (change.key.as_str(), change.value.as_ref())).collect();
        last.into_iter().fold(self.map.bytes(), |bytes, (key, value)| {
            let old = self.map.entries().get(key).map_or(0, |old| size(key, old));
            bytes - old + value.map_or(0, |value| size(key, value))
        })
    }

    fn change(&mut self, changes: &[TopicChange]) {
        let before = self.state();
        let changed: Vec<TopicChange> =
            changes.iter().filter(|change| self.map.apply(change)).cloned().collect();
        if changed.is_empty() {
            return;
        }
        self.version.change += 1;
        self.whole = None;
        let encoded = encode(&changed);
        self.delta_bytes += encoded.len();
        self.deltas.push_back(Delta { before, encoded });
        // A host that is behind by more than the whole topic is long is given that instead.
        while self.deltas.len() > DELTAS_MAX
            || self.delta_bytes > self.map.bytes().max(DELTA_BYTES_MIN)
        {
            let Some(oldest) = self.deltas.pop_front() else { break };
            self.delta_bytes -= oldest.encoded.len();
        }
        self.followers.values().for_each(|signal| signal.nudge());
    }

    fn section(
        &mut self,
        name: &TopicName,
        key: TopicKey,
        held: Option<TopicState>,
    ) -> Option<Section> {
        let state = self.state();
        if !self.is_published || self.is_held_by(held) {
            return None;
        }
        let behind = held.and_then(|held| {
            let oldest = self.deltas.front()?.before.version;
            let at = match held.version.start == oldest.start {
                // Versions count up, so that the one sought is found without a look at the rest.
                true => usize::try_from(held.version.change.checked_sub(oldest.change)?).ok()?,
                // From another start, which may have held the same once.
                false => self.deltas.iter().rposition(|delta| delta.before.hash == held.hash)?,
            };
            let delta = self.deltas.get(at)?;
            (delta.before.hash == held.hash).then_some((held, at))
        });
        let (basis, changes) = match behind {
            Some((held, at)) => {
                let changes = self.deltas.range(at..).map(|delta| delta.encoded.clone()).collect();
                (Basis::Held(held), changes)
            }
            None => {
                let map = &self.map;
                let whole = self.whole.get_or_insert_with(|| {
                    let set = |(key, value): (&String, &Bytes)| TopicChange {
                        key: key.clone(),
                        value: Some(value.clone()),
                    };
                    encode(&map.entries().iter().map(set).collect::<Vec<_>>())
                });
                (Basis::Nothing(key), vec![whole.clone()])
            }
        };
        Some(Section { topic: name.clone(), basis, state, changes })
    }
}
