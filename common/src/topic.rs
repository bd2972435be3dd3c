//! Topics of the poll: what a host must know beyond its own tasks.
//!
//! A topic is a map from keys to values that the coordinator publishes and each subscribed host follows.
//! A poll carries [`Section`]s: the changes that one topic needs at one host. Both sides name what they
//! hold by a [`TopicState`]: a version, and a keyed hash of the map, so that a difference is seen whatever
//! caused it. Never: a meaning of keys and values, which belongs to the topic's publisher and follower.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// Maximum of one topic's entries, as [`TopicMap::bytes`] counts them. A change that would exceed it is
/// refused where it is published.
pub const TOPIC_BYTES_MAX: usize = 1024 * 1024;
/// Maximum of bytes of an encoded entry beside its key and its value.
const ENTRY_BYTES: usize = 16;
/// Bytes of a [`TopicHash`].
const HASH_BYTES: usize = 16;
const TOPIC_KEY_BYTES: usize = 32;

/// Names a topic. A host is sent what it subscribed to and nothing else, so that neither side meets a
/// name that it does not know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopicName(String);

impl TopicName {
    /// The coordinators of the fleet: `HOST:PORT` of a joining port each, without a value.
    pub fn coordinators() -> Self {
        TopicName("coordinators".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Counts a topic's changes within one start of its coordinator. Versions of different starts are not
/// compared.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct TopicVersion {
    /// [`Epoch::incarnation`](crate::protocol::Epoch::incarnation) of the coordinator: a journal that was
    /// restored repeats the counter of a start that it has lost.
    pub start: u64,
    pub change: u64,
}

/// What one side holds of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicState {
    pub version: TopicVersion,
    pub hash: TopicHash,
}

/// A sum over the entries of a topic, mod 2^128, of a keyed hash of each: it does not depend on their
/// order, and costs a change what the change is large. The key keeps whoever names entries (tenants
/// name services) from making two maps of one hash.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TopicHash(u128);

impl std::fmt::Debug for TopicHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for TopicHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0.to_be_bytes())
    }
}

impl<'de> Deserialize<'de> for TopicHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fixed_bytes(deserializer).map(u128::from_be_bytes).map(TopicHash)
    }
}

/// Keys the hashes of a fleet's topics. Told to the fleet's hosts alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TopicKey(pub [u8; TOPIC_KEY_BYTES]);

impl std::fmt::Debug for TopicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[topic key]")
    }
}

impl Serialize for TopicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for TopicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fixed_bytes(deserializer).map(TopicKey)
    }
}

fn fixed_bytes<'de, const N: usize, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<[u8; N], D::Error> {
    let bytes = Bytes::deserialize(deserializer)?;
    <[u8; N]>::try_from(&bytes[..])
        .map_err(|_| de::Error::custom(format_args!("{} bytes where {N} belong", bytes.len())))
}

/// One change of a topic: the key's new value, or none when the entry goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicChange {
    pub key: String,
    pub value: Option<Bytes>,
}

/// A topic's entries with their hash.
#[derive(Clone, Debug)]
pub struct TopicMap {
    key: TopicKey,
    entries: BTreeMap<String, Bytes>,
    hash: TopicHash,
    bytes: usize,
}

impl TopicMap {
    pub fn new(key: TopicKey) -> Self {
        TopicMap { key, entries: BTreeMap::new(), hash: TopicHash::default(), bytes: 0 }
    }

    /// Whether it changed anything.
    pub fn apply(&mut self, change: &TopicChange) -> bool {
        let old = match &change.value {
            Some(value) => self.entries.insert(change.key.clone(), value.clone()),
            None => self.entries.remove(&change.key),
        };
        if old == change.value {
            return false;
        }
        let parts = [(&old, false), (&change.value, true)];
        for (value, is_new) in parts {
            let Some(value) = value else { continue };
            let hash = entry_hash(&self.key, &change.key, value);
            let bytes = entry_bytes(&change.key, value);
            if is_new {
                self.hash.0 = self.hash.0.wrapping_add(hash);
                self.bytes += bytes;
            } else {
                self.hash.0 = self.hash.0.wrapping_sub(hash);
                self.bytes -= bytes;
            }
        }
        true
    }

    pub fn hash(&self) -> TopicHash {
        self.hash
    }

    /// Bytes that the entries have when they are encoded, at most.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn entries(&self) -> &BTreeMap<String, Bytes> {
        &self.entries
    }
}

/// Bytes that one entry has when it is encoded, at most.
pub fn entry_bytes(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY_BYTES
}

/// SHA-256 of the key and the entry, cut to 128 bits: without the cut, what is hashed could be prolonged.
fn entry_hash(key: &TopicKey, name: &str, value: &[u8]) -> u128 {
    let mut hasher = Sha256::new();
    hasher.update(key.0);
    // The length keeps `ab` + `c` and `a` + `bc` apart.
    hasher.update((name.len() as u64).to_be_bytes());
    hasher.update(name);
    hasher.update(value);
    let digest = hasher.finalize();
    let mut first = [0; HASH_BYTES];
    first.copy_from_slice(&digest[..HASH_BYTES]);
    u128::from_be_bytes(first)
}

/// What a section's changes are to be applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Basis {
    /// Nothing: they are the whole topic, hashed with this key.
    Nothing(TopicKey),
    /// What the host holds, whose hash must be this one's.
    Held(TopicState),
}

/// What a host needs to follow one topic, in a poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    pub topic: TopicName,
    pub basis: Basis,
    /// What the host holds when it has applied them.
    pub state: TopicState,
    /// Lists of [`TopicChange`] by [`encode`]: encoded once, for all hosts.
    pub changes: Vec<Bytes>,
}

/// In MessagePack.
pub fn encode(changes: &[TopicChange]) -> Bytes {
    rmp_serde::to_vec(changes).expect("plain values only").into()
}

/// What [`encode`] made.
pub fn decode(changes: &[u8]) -> Result<Vec<TopicChange>, rmp_serde::decode::Error> {
    rmp_serde::from_slice(changes)
}

/// What a host follows and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    pub topic: TopicName,
    /// Absent while it holds nothing of it.
    pub held: Option<TopicState>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: TopicKey = TopicKey([7; TOPIC_KEY_BYTES]);

    fn change(key: &str, value: Option<&'static str>) -> TopicChange {
        TopicChange {
            key: key.to_owned(),
            value: value.map(|value| Bytes::from_static(value.as_bytes())),
        }
    }

    fn map(changes: &[TopicChange]) -> TopicMap {
        let mut map = TopicMap::new(KEY);
        for change in changes {
            map.apply(change);
        }
        map
    }

    #[test]
    fn hash_depends_on_entries_and_not_on_the_way_to_them() {
        let straight = map(&[change("a", Some("1")), change("b", Some("2"))]);
        let around =
            [("b", Some("3")), ("c", Some("4")), ("a", Some("1")), ("b", Some("2")), ("c", None)];
        let around = map(&around.map(|(key, value)| change(key, value)));
        assert_eq!((straight.hash(), straight.bytes()), (around.hash(), around.bytes()));
        assert_eq!(straight.entries(), around.entries());
    }

    #[test]
    fn hash_tells_where_a_key_ends_and_what_keys_it() {
        let (one, other) = (map(&[change("ab", Some("c"))]), map(&[change("a", Some("bc"))]));
        assert_ne!(one.hash(), other.hash());
        let mut elsewhere = TopicMap::new(TopicKey([8; TOPIC_KEY_BYTES]));
        elsewhere.apply(&change("ab", Some("c")));
        assert_ne!(one.hash(), elsewhere.hash());
    }

    #[test]
    fn change_that_changes_nothing_says_so() {
        let mut map = map(&[change("a", Some("1"))]);
        let before = map.hash();
        assert!(!map.apply(&change("a", Some("1"))) && !map.apply(&change("b", None)));
        assert_eq!(map.hash(), before);
    }

    #[test]
    fn section_survives_the_wire_and_shows_no_key() {
        let changes = vec![change("a", Some("1")), change("b", None)];
        let state =
            TopicState { version: TopicVersion { start: 3, change: 4 }, hash: TopicHash(5) };
        let section = Section {
            topic: TopicName::coordinators(),
            basis: Basis::Nothing(KEY),
            state,
            changes: vec![encode(&changes)],
        };
        let bytes = rmp_serde::to_vec_named(&section).unwrap();
        let back: Section = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(back, section);
        assert_eq!(decode(&back.changes[0]).unwrap(), changes);
        assert!(!format!("{section:?}").contains("7, 7"), "{section:?}");
    }
}
