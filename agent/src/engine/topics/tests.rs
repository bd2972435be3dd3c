use longshore_common::topic::{TopicChange, TopicKey, encode};

use super::*;

const KEY: TopicKey = TopicKey([3; 32]);

fn topic() -> TopicName {
    TopicName::coordinators()
}

fn set(key: &str) -> TopicChange {
    TopicChange { key: key.to_owned(), value: Some(Bytes::from_static(b"v")) }
}

/// What a coordinator holds, and the sections it sends of it.
struct Coordinator {
    map: TopicMap,
    version: TopicVersion,
}

impl Coordinator {
    fn new() -> Self {
        Coordinator { map: TopicMap::new(KEY), version: TopicVersion { start: 1, change: 0 } }
    }

    fn state(&self) -> TopicState {
        TopicState { version: self.version, hash: self.map.hash() }
    }

    fn change(&mut self, change: TopicChange) -> Section {
        let basis = Basis::Held(self.state());
        self.map.apply(&change);
        self.version.change += 1;
        Section { topic: topic(), basis, state: self.state(), changes: vec![encode(&[change])] }
    }

    fn whole(&self) -> Section {
        let keys: Vec<TopicChange> = self.map.entries().keys().map(|key| set(key)).collect();
        let basis = Basis::Nothing(KEY);
        Section { topic: topic(), basis, state: self.state(), changes: vec![encode(&keys)] }
    }
}

fn held(topics: &Topics) -> Option<TopicState> {
    topics.to_tell(false).unwrap()[0].held
}

fn keys(entries: &watch::Receiver<Option<Entries>>) -> Vec<String> {
    entries.borrow().as_ref().map_or_else(Vec::new, |entries| entries.keys().cloned().collect())
}

#[test]
fn topic_is_shown_as_it_changes_and_told_once() {
    let (mut topics, mut coordinator) = (Topics::default(), Coordinator::new());
    assert_eq!(topics.to_tell(false), None);
    let entries = topics.follow(topic());
    assert_eq!((topics.has_news(), held(&topics)), (true, None));
    coordinator.change(set("a"));
    topics.take(&[coordinator.whole()]);
    topics.are_told();
    assert_eq!((topics.has_news(), topics.to_tell(true)), (false, None));
    topics.take(&[coordinator.change(set("b"))]);
    assert_eq!(keys(&entries), ["a", "b"]);
    assert!(topics.has_news());
    assert_eq!(topics.to_tell(true).unwrap()[0].held, Some(coordinator.state()));
}

#[test]
fn section_that_does_not_fit_is_dropped_and_told() {
    let mut coordinator = Coordinator::new();
    coordinator.change(set("a"));
    let whole = coordinator.whole();
    let lost = coordinator.change(set("b"));
    let later = coordinator.change(set("c"));
    let other_hash = Section { state: TopicState { hash: whole.state.hash, ..lost.state }, ..lost };
    let unreadable = Section { changes: vec![Bytes::from_static(b"\xc1")], ..other_hash.clone() };
    // A section that overtook another one leaves what is held; the others leave nothing that is sure.
    let intact = Some(whole.state);
    for (wrong, left) in [(later, intact), (other_hash, None), (unreadable, None)] {
        let mut topics = Topics::default();
        let entries = topics.follow(topic());
        topics.take(&[whole.clone(), wrong]);
        assert_eq!(held(&topics), left);
        assert!(topics.has_news());
        // Whoever uses the topic goes on with what was held last.
        assert_eq!(keys(&entries), ["a"]);
        topics.take(&[coordinator.whole()]);
        assert_eq!(keys(&entries), ["a", "b", "c"]);
    }
}

#[test]
fn section_that_was_overtaken_changes_nothing() {
    let (mut topics, mut coordinator) = (Topics::default(), Coordinator::new());
    let entries = topics.follow(topic());
    coordinator.change(set("a"));
    let overtaken = coordinator.whole();
    let newer = coordinator.change(set("b"));
    topics.take(&[overtaken.clone(), newer.clone(), overtaken, newer]);
    assert_eq!(
        (keys(&entries), held(&topics)),
        (vec!["a".into(), "b".into()], Some(coordinator.state()))
    );
}

#[test]
fn topic_that_is_too_large_or_not_followed_is_not_taken() {
    let mut topics = Topics::default();
    let mut coordinator = Coordinator::new();
    topics.take(&[coordinator.change(set("a"))]);
    assert_eq!(topics.to_tell(false), None);
    topics.follow(topic());
    let large = TopicChange { key: "x".to_owned(), value: Some(vec![0; TOPIC_BYTES_MAX].into()) };
    coordinator.map.apply(&large);
    let changes = vec![encode(&[set("a"), large])];
    topics.take(&[Section { changes, ..coordinator.whole() }]);
    assert_eq!(held(&topics), None);
}
