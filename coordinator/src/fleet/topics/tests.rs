use longshore_common::topic::decode;
use proptest::prelude::*;

use super::*;

const KEY: TopicKey = TopicKey([3; 32]);

fn topic() -> TopicName {
    TopicName::coordinators()
}

fn set(key: &str, value: &str) -> TopicChange {
    TopicChange { key: key.to_owned(), value: Some(Bytes::copy_from_slice(value.as_bytes())) }
}

fn gone(key: &str) -> TopicChange {
    TopicChange { key: key.to_owned(), value: None }
}

/// A host's side of a topic, kept by the rule that agents keep.
#[derive(Default)]
struct Host {
    held: Option<(TopicMap, TopicState)>,
    wholes: usize,
}

impl Host {
    fn state(&self) -> Option<TopicState> {
        self.held.as_ref().map(|(_, state)| *state)
    }

    fn catch_up(&mut self, topics: &Topics) {
        let Some(section) = topics.section(&topic(), self.state()) else { return };
        let mut map = match section.basis {
            Basis::Nothing(key) => {
                self.wholes += 1;
                TopicMap::new(key)
            }
            Basis::Held(basis) => {
                assert_eq!(self.state().map(|held| held.hash), Some(basis.hash));
                self.held.take().unwrap().0
            }
        };
        for change in section.changes.iter().flat_map(|changes| decode(changes).unwrap()) {
            map.apply(&change);
        }
        assert_eq!(map.hash(), section.state.hash);
        self.held = Some((map, section.state));
    }

    fn entries(&self) -> BTreeMap<String, Bytes> {
        self.held.as_ref().map_or_else(BTreeMap::new, |(map, _)| map.entries().clone())
    }
}

#[test]
fn host_that_follows_is_sent_changes_and_a_late_one_the_whole() {
    let topics = Topics::new(KEY, 1);
    topics.publish(&topic(), &[set("a", "1"), set("b", "2")]).unwrap();
    let (mut early, mut late) = (Host::default(), Host::default());
    early.catch_up(&topics);
    topics.publish(&topic(), &[gone("a")]).unwrap();
    topics.publish(&topic(), &[set("c", "3")]).unwrap();
    early.catch_up(&topics);
    late.catch_up(&topics);
    assert_eq!((early.wholes, late.wholes), (1, 1));
    assert_eq!(early.entries(), late.entries());
    assert_eq!(early.entries().into_keys().collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(topics.section(&topic(), early.state()), None);
}

#[test]
fn host_is_sent_nothing_after_a_restart_that_changed_nothing() {
    let (before, after) = (Topics::new(KEY, 1), Topics::new(KEY, 2));
    let mut host = Host::default();
    for topics in [&before, &after] {
        topics.publish(&topic(), &[set("a", "1")]).unwrap();
    }
    host.catch_up(&before);
    assert!(!after.is_ahead(&topic(), host.state()));
    // Another start knows it by its hash.
    after.publish(&topic(), &[set("b", "1")]).unwrap();
    host.catch_up(&after);
    assert_eq!((host.wholes, host.entries().len()), (1, 2));
}

#[test]
fn change_of_nothing_wakes_nobody_and_a_change_wakes_followers() {
    let topics = Topics::new(KEY, 1);
    let [follower, other] = [(); 2].map(|()| Arc::new(Signal::default()));
    topics.follow(&topic(), HostId::new(1), &follower);
    topics.follow(&topic(), HostId::new(2), &other);
    topics.unfollow(&topic(), HostId::new(2));
    let woken = |signal: &Signal| {
        use futures_util::FutureExt;
        signal.changed().now_or_never().is_some()
    };
    topics.publish(&topic(), &[set("a", "1")]).unwrap();
    assert!(woken(&follower) && !woken(&other));
    topics.publish(&topic(), &[set("a", "1"), gone("b")]).unwrap();
    assert!(!woken(&follower));
}

#[test]
fn topic_that_would_be_too_large_is_refused_and_stays_as_it_was() {
    let topics = Topics::new(KEY, 1);
    topics.publish(&topic(), &[set("a", "1")]).unwrap();
    let mut host = Host::default();
    host.catch_up(&topics);
    let large = "x".repeat(TOPIC_BYTES_MAX);
    let refused = topics.publish(&topic(), &[gone("a"), set("b", &large)]).unwrap_err();
    assert_eq!(refused.bytes, entry_bytes("b", large.as_bytes()));
    assert!(!topics.is_ahead(&topic(), host.state()));
}

#[test]
fn replace_makes_the_topic_just_what_is_given() {
    let topics = Topics::new(KEY, 1);
    topics.publish(&topic(), &[set("a", "1"), set("b", "2")]).unwrap();
    let wanted: BTreeMap<String, Bytes> =
        [("b", "3"), ("c", "4")].map(|(key, value)| (key.to_owned(), Bytes::from(value))).into();
    topics.replace(&topic(), wanted.clone()).unwrap();
    let mut host = Host::default();
    host.catch_up(&topics);
    assert_eq!(host.entries(), wanted);
}

#[test]
fn topic_that_nobody_published_takes_nothing_from_who_holds_it() {
    let (before, after) = (Topics::new(KEY, 1), Topics::new(KEY, 2));
    before.publish(&topic(), &[set("a", "1")]).unwrap();
    let mut host = Host::default();
    host.catch_up(&before);
    let signal = Arc::default();
    after.follow(&topic(), HostId::new(1), &signal);
    assert!(!after.is_ahead(&topic(), host.state()) && !after.is_ahead(&topic(), None));
    assert_eq!(after.section(&topic(), host.state()), None);
    after.replace(&topic(), BTreeMap::new()).unwrap();
    assert!(after.is_ahead(&topic(), host.state()), "it is published, and empty");
    after.unfollow(&topic(), HostId::new(1));
    assert_eq!(after.names(), [topic()]);
}

#[derive(Clone, Debug)]
enum Act {
    Publish(Vec<(u8, Option<u8>)>),
    CatchUp(u8),
    /// The host loses what it holds.
    Restart(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let change = (0u8..12, proptest::option::of(0u8..4));
    let act = prop_oneof![
        4 => proptest::collection::vec(change, 0..5).prop_map(Act::Publish),
        3 => (0u8..4).prop_map(Act::CatchUp),
        1 => (0u8..4).prop_map(Act::Restart),
    ];
    proptest::collection::vec(act, 1..400)
}

proptest! {
    /// Whoever catches up holds what was published, from however long ago.
    #[test]
    fn hosts_hold_what_is_published_once_they_catch_up(acts in acts()) {
        let topics = Topics::new(KEY, 1);
        let mut published = BTreeMap::new();
        let mut hosts: [Host; 4] = Default::default();
        let value = |value: u8| Bytes::from(vec![value; 64]);
        for act in acts {
            match act {
                Act::Publish(changes) => {
                    let changes: Vec<TopicChange> = changes
                        .into_iter()
                        .map(|(key, to)| TopicChange { key: format!("{key}"), value: to.map(value) })
                        .collect();
                    for TopicChange { key, value } in changes.clone() {
                        match value {
                            Some(value) => drop(published.insert(key, value)),
                            None => drop(published.remove(&key)),
                        }
                    }
                    topics.publish(&topic(), &changes).unwrap();
                }
                Act::CatchUp(host) => {
                    let host = &mut hosts[usize::from(host)];
                    host.catch_up(&topics);
                    prop_assert_eq!(host.entries(), published.clone());
                }
                Act::Restart(host) => hosts[usize::from(host)].held = None,
            }
        }
        let topic = topics.lock();
        if let Some(topic) = topic.get(&self::topic()) {
            prop_assert!(topic.deltas.len() <= DELTAS_MAX);
            let kept: usize = topic.deltas.iter().map(|delta| delta.encoded.len()).sum();
            prop_assert_eq!(kept, topic.delta_bytes);
            prop_assert!(kept <= topic.map.bytes().max(DELTA_BYTES_MIN));
        }
    }
}
