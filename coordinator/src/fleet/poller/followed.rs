//! The topics that one host follows, and how far it is: what its next poll brings of them.
//!
//! The host's agent says what it follows and holds; until it answers, what was sent counts as held.
//! Never: a section sent over and over to an agent that does not take it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use longshore_common::{
    id::HostId,
    topic::{Section, Subscription, TopicName, TopicState},
};
use tokio::time::Instant;

use crate::{driver::Signal, fleet::topics::Topics};

/// Maximum of topics that one host may follow: what an agent names beyond is left out.
const SUBSCRIPTIONS_MAX: usize = 1024;
/// Maximum length of a topic's name: an ARN fits.
const TOPIC_NAME_BYTES_MAX: usize = 2048;
/// Bytes of sections in one poll after which no other is added. The next poll follows at once.
const SECTION_BYTES: usize = 1024 * 1024;
/// Pause before a section that a host did not take is sent again.
const NOT_TAKEN_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct Followed {
    host: HostId,
    signal: Arc<Signal>,
    topics: Arc<Topics>,
    /// Whether the agent has said what it follows since it was greeted last.
    known: bool,
    progress: BTreeMap<TopicName, Progress>,
}

#[derive(Default)]
struct Progress {
    held: Option<TopicState>,
    /// What the host holds once it has taken what was sent and is not answered yet.
    sent: Option<TopicState>,
    /// Set while a section that the host did not take is held back.
    not_before: Option<Instant>,
}

impl Progress {
    /// What the host is taken to hold; `None` inside when that is nothing, outside while it is to be
    /// sent nothing.
    fn counts_as_held(&self, now: Instant) -> Option<Option<TopicState>> {
        let may_send = self.not_before.is_none_or(|not_before| not_before <= now);
        may_send.then(|| self.sent.or(self.held))
    }
}

impl Followed {
    pub(super) fn new(host: HostId, signal: Arc<Signal>, topics: Arc<Topics>) -> Self {
        Followed { host, signal, topics, known: false, progress: BTreeMap::new() }
    }

    /// Polls that were under way are lost: the agent is to say anew what it holds.
    pub(super) fn greet(&mut self) {
        self.known = false;
        self.progress.values_mut().for_each(|progress| progress.sent = None);
    }

    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    /// Takes what an answer says of all that the host follows. Whether it says something new.
    pub(super) fn learn(&mut self, subscriptions: Option<&[Subscription]>, now: Instant) -> bool {
        let Some(subscriptions) = subscriptions else { return false };
        let first = !std::mem::replace(&mut self.known, true);
        let mut before = std::mem::take(&mut self.progress);
        let mut is_news = false;
        for Subscription { topic, held } in subscriptions.iter().take(SUBSCRIPTIONS_MAX) {
            if self.progress.contains_key(topic) || topic.as_str().len() > TOPIC_NAME_BYTES_MAX {
                continue;
            }
            let mut progress = before.remove(topic).unwrap_or_else(|| {
                self.topics.follow(topic, self.host, &self.signal);
                is_news = true;
                Progress { held: *held, ..Progress::default() }
            });
            is_news |= progress.held != *held;
            if first || progress.sent.or(progress.held) == *held {
                progress.not_before = None;
            } else {
                tracing::warn!(
                    host = %self.host, topic = topic.as_str(),
                    "the agent did not take what it was sent of a topic; it is sent again in {} s",
                    NOT_TAKEN_PAUSE.as_secs()
                );
                progress.not_before = Some(now + NOT_TAKEN_PAUSE);
            }
            progress.held = *held;
            progress.sent = None;
            self.progress.insert(topic.clone(), progress);
        }
        before.keys().for_each(|gone| self.topics.unfollow(gone, self.host));
        is_news || !before.is_empty()
    }

    pub(super) fn is_behind(&self, now: Instant) -> bool {
        self.progress.iter().any(|(topic, progress)| {
            progress.counts_as_held(now).is_some_and(|held| self.topics.is_ahead(topic, held))
        })
    }

    /// What the next poll brings; it counts as held from now on.
    pub(super) fn sections(&mut self, now: Instant) -> Vec<Section> {
        let (mut sections, mut bytes) = (Vec::new(), 0);
        for (topic, progress) in &mut self.progress {
            let Some(held) = progress.counts_as_held(now) else { continue };
            let Some(section) = self.topics.section(topic, held) else { continue };
            bytes += section.changes.iter().map(|changes| changes.len()).sum::<usize>();
            progress.sent = Some(section.state);
            sections.push(section);
            if bytes >= SECTION_BYTES {
                break;
            }
        }
        sections
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.progress.keys().for_each(|topic| self.topics.unfollow(topic, self.host));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use longshore_common::topic::{TopicChange, TopicKey};

    use super::*;

    fn topic() -> TopicName {
        TopicName::coordinators()
    }

    fn publish(topics: &Topics, key: &str) {
        let change = TopicChange { key: key.to_owned(), value: Some(Bytes::new()) };
        topics.publish(&topic(), &[change]).unwrap();
    }

    fn following() -> (Arc<Topics>, Followed) {
        let topics = Arc::new(Topics::new(TopicKey([0; 32]), 1));
        publish(&topics, "a");
        let followed = Followed::new(HostId::new(1), Arc::default(), topics.clone());
        (topics, followed)
    }

    fn says(held: Option<TopicState>) -> [Subscription; 1] {
        [Subscription { topic: topic(), held }]
    }

    #[test]
    fn host_is_sent_nothing_before_it_follows_and_each_change_once() {
        let (topics, mut followed) = following();
        let now = Instant::now();
        assert!(!followed.is_behind(now) && followed.sections(now).is_empty());
        assert!(followed.learn(Some(&says(None)), now));
        let sent = followed.sections(now)[0].state;
        assert!(!followed.is_behind(now), "it is not answered yet");
        publish(&topics, "b");
        assert!(followed.is_behind(now));
        let sent_next = followed.sections(now)[0].state;
        assert!(sent_next.version > sent.version);
        assert!(followed.learn(Some(&says(Some(sent_next))), now));
        assert!(!followed.is_behind(now));
        // It says the same again: no news, and nothing to send.
        assert!(!followed.learn(Some(&says(Some(sent_next))), now));
        assert!(!followed.is_behind(now));
    }

    #[test]
    fn host_that_does_not_take_a_section_is_sent_it_again_seldom() {
        let (_, mut followed) = following();
        let now = Instant::now();
        followed.learn(Some(&says(None)), now);
        assert_eq!(followed.sections(now).len(), 1);
        followed.learn(Some(&says(None)), now);
        assert!(!followed.is_behind(now) && followed.sections(now).is_empty());
        let later = now + NOT_TAKEN_PAUSE;
        assert!(followed.is_behind(later));
        assert_eq!(followed.sections(later).len(), 1);
    }

    #[test]
    fn greeting_forgets_what_was_under_way() {
        let (_, mut followed) = following();
        let now = Instant::now();
        followed.learn(Some(&says(None)), now);
        assert_eq!(followed.sections(now).len(), 1);
        followed.greet();
        assert!(!followed.is_known());
        followed.learn(Some(&says(None)), now);
        assert!(followed.is_known());
        assert_eq!(followed.sections(now).len(), 1);
    }

    #[test]
    fn host_that_names_a_topic_twice_or_too_many_gains_nothing() {
        let (topics, mut followed) = following();
        let now = Instant::now();
        let twice = [says(None), says(Some(TopicState::default()))].concat();
        followed.learn(Some(&twice), now);
        assert_eq!(followed.sections(now).len(), 1);
        let names = |number: usize| format!("\"topic-{number}\"");
        let many: Vec<Subscription> = (0..2 * SUBSCRIPTIONS_MAX)
            .map(|number| Subscription {
                topic: serde_json::from_str(&names(number)).unwrap(),
                held: None,
            })
            .collect();
        followed.learn(Some(&many), now);
        assert_eq!(followed.progress.len(), SUBSCRIPTIONS_MAX);
        drop(followed);
        assert_eq!(topics.names(), [topic()], "names that a host made up are kept");
    }
}
