//! The topics that one host follows, and how far it is: what its next poll brings of them.
//!
//! The host's agent says what it follows and holds; until it answers, what was sent counts as held, and
//! nothing more is sent. Never: a section sent over and over to an agent that does not take it, or more of
//! topics to one host than [`BYTES_PER_SECOND`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use longshore_common::{
    id::HostId,
    topic::{Section, Subscription, TopicName, TopicState},
};
use tokio::time::Instant;

use crate::{driver::Signal, fleet::topics::Topics};

/// Maximum number of topics that one host may follow (ours): what an agent names beyond is left
/// out. Each turn of a poller looks at all of them.
const SUBSCRIPTIONS_MAX: usize = 64;
/// Maximum length of a topic's name in bytes (ours).
const TOPIC_NAME_BYTES_MAX: usize = 256;
/// Number of bytes of sections in one poll after which no other is added (ours).
const SECTION_BYTES: usize = 1024 * 1024;
/// Maximum number of bytes of sections to one host in a second, whatever its agent says that it
/// lacks (ours).
const BYTES_PER_SECOND: usize = 1024 * 1024;
/// Minimum interval between two polls with sections (ours): changes meanwhile are sent together.
const SECTIONS_GAP: Duration = Duration::from_millis(20);
/// Interval after a poll with sections that was not answered, doubled each time (ours). Orders are
/// sent without sections meanwhile.
const UNANSWERED_PAUSE: Duration = Duration::from_secs(1);
/// Maximum interval after a poll with sections that was not answered (ours).
const NOT_TAKEN_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct Followed {
    host: HostId,
    signal: Arc<Signal>,
    topics: Arc<Topics>,
    /// Whether the agent has said what it follows since it was greeted last.
    known: bool,
    progress: BTreeMap<TopicName, Progress>,
    /// A poll with sections has left and is not answered.
    under_way: bool,
    /// Time before which no section is sent.
    not_before: Instant,
    /// Polls with sections in a row that were lost, or left the host without what they brought.
    failures: u32,
}

#[derive(Default)]
struct Progress {
    held: Option<TopicState>,
    /// What the host holds once it has taken what was sent and is not answered yet.
    sent: Option<TopicState>,
}

impl Followed {
    pub(super) fn new(host: HostId, signal: Arc<Signal>, topics: Arc<Topics>) -> Self {
        Followed {
            host,
            signal,
            topics,
            known: false,
            progress: BTreeMap::new(),
            under_way: false,
            not_before: Instant::now(),
            failures: 0,
        }
    }

    /// Polls that were under way are lost: the agent is to say anew what it holds.
    pub(super) fn greet(&mut self, now: Instant) {
        self.known = false;
        if self.under_way {
            self.fail(now);
        }
        self.forget_sent();
    }

    /// The agent took nothing of a poll.
    pub(super) fn refused(&mut self) {
        self.forget_sent();
    }

    fn forget_sent(&mut self) {
        self.under_way = false;
        self.progress.values_mut().for_each(|progress| progress.sent = None);
    }

    fn fail(&mut self, now: Instant) {
        let pause = UNANSWERED_PAUSE * 2u32.saturating_pow(self.failures.min(5));
        self.failures += 1;
        self.not_before = self.not_before.max(now + pause.min(NOT_TAKEN_PAUSE));
    }

    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    /// Takes what an answer says of all that the host follows. Whether it says something new.
    pub(super) fn learn(&mut self, subscriptions: Option<&[Subscription]>, now: Instant) -> bool {
        let Some(subscriptions) = subscriptions else { return false };
        let first = !std::mem::replace(&mut self.known, true);
        let mut before = std::mem::take(&mut self.progress);
        let (mut is_news, mut not_taken) = (false, None);
        for Subscription { topic, held } in subscriptions.iter().take(SUBSCRIPTIONS_MAX) {
            if self.progress.contains_key(topic) || topic.as_str().len() > TOPIC_NAME_BYTES_MAX {
                continue;
            }
            let progress = before.remove(topic).unwrap_or_else(|| {
                self.topics.follow(topic, self.host, &self.signal);
                is_news = true;
                Progress { held: *held, sent: None }
            });
            is_news |= progress.held != *held;
            let expected = progress.sent.or(progress.held);
            if !first && expected.map(|expected| expected.hash) != held.map(|held| held.hash) {
                not_taken = Some(topic);
            }
            self.progress.insert(topic.clone(), Progress { held: *held, sent: None });
        }
        before.keys().for_each(|gone| self.topics.unfollow(gone, self.host));
        self.under_way = false;
        match not_taken {
            None if first => {}
            None => self.failures = 0,
            Some(topic) => {
                // Once may be an answer that crossed what was sent.
                if self.failures == 1 {
                    tracing::warn!(
                        host = %self.host, topic = topic.as_str(),
                        "the agent does not hold what it was sent of a topic; it is sent again, ever more seldom"
                    );
                }
                self.fail(now);
            }
        }
        is_news || !before.is_empty()
    }

    /// Whether the next poll has sections to bring.
    pub(super) fn is_behind(&self, now: Instant) -> bool {
        now >= self.not_before && self.lacks()
    }

    /// When the next poll will have sections to bring, if it has none yet.
    pub(super) fn behind_from(&self, now: Instant) -> Option<Instant> {
        (now < self.not_before && self.lacks()).then_some(self.not_before)
    }

    fn lacks(&self) -> bool {
        let lacks = |(topic, progress): (&TopicName, &Progress)| {
            self.topics.is_ahead(topic, progress.sent.or(progress.held))
        };
        !self.under_way && self.progress.iter().any(lacks)
    }

    /// What the next poll brings; it counts as held from now on.
    pub(super) fn sections(&mut self, now: Instant) -> Vec<Section> {
        let (mut sections, mut bytes) = (Vec::new(), 0);
        if self.under_way || now < self.not_before {
            return sections;
        }
        for (topic, progress) in &mut self.progress {
            let Some(section) = self.topics.section(topic, progress.held) else { continue };
            bytes += section.changes.iter().map(|changes| changes.len()).sum::<usize>();
            progress.sent = Some(section.state);
            sections.push(section);
            if bytes >= SECTION_BYTES {
                break;
            }
        }
        if !sections.is_empty() {
            self.under_way = true;
            let takes = Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND as f64);
            self.not_before = now + takes.max(SECTIONS_GAP);
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

    fn following() -> (Arc<Topics>, Followed, Instant) {
        let topics = Arc::new(Topics::new(TopicKey([0; 32]), 1));
        publish(&topics, "a");
        let followed = Followed::new(HostId::new(1), Arc::default(), topics.clone());
        (topics, followed, Instant::now())
    }

    fn says(held: Option<TopicState>) -> [Subscription; 1] {
        [Subscription { topic: topic(), held }]
    }

    #[test]
    fn host_is_sent_nothing_before_it_follows_and_each_change_once() {
        let (topics, mut followed, now) = following();
        assert!(!followed.is_behind(now) && followed.sections(now).is_empty());
        assert!(followed.learn(Some(&says(None)), now));
        let sent = followed.sections(now)[0].state;
        publish(&topics, "b");
        assert!(!followed.is_behind(now + SECTIONS_GAP), "what was sent is not answered yet");
        assert!(followed.learn(Some(&says(Some(sent))), now));
        assert_eq!(followed.behind_from(now), Some(now + SECTIONS_GAP), "changes go together");
        let now = now + SECTIONS_GAP;
        assert!(followed.is_behind(now));
        let sent_next = followed.sections(now)[0].state;
        assert!(sent_next.version > sent.version);
        assert!(followed.learn(Some(&says(Some(sent_next))), now));
        // It says the same again: no news, and nothing to send.
        assert!(!followed.learn(Some(&says(Some(sent_next))), now));
        assert!(!followed.is_behind(now + SECTIONS_GAP) && followed.behind_from(now).is_none());
    }

    #[test]
    fn host_that_does_not_take_a_section_is_sent_it_ever_more_seldom() {
        let (_, mut followed, start) = following();
        let mut now = start;
        followed.learn(Some(&says(None)), now);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert_eq!(followed.sections(now).len(), 1);
            followed.learn(Some(&says(None)), now);
            let next = followed.behind_from(now).unwrap();
            pauses.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn poll_that_is_lost_or_refused_brings_its_sections_again() {
        let (_, mut followed, now) = following();
        followed.learn(Some(&says(None)), now);
        assert_eq!(followed.sections(now).len(), 1);
        followed.refused();
        let now = now + SECTIONS_GAP;
        assert_eq!(followed.sections(now).len(), 1);
        followed.greet(now);
        assert!(!followed.is_known());
        followed.learn(Some(&says(None)), now);
        assert!(followed.is_known() && !followed.is_behind(now), "orders go first");
        assert_eq!(followed.behind_from(now), Some(now + UNANSWERED_PAUSE));
        assert_eq!(followed.sections(now + UNANSWERED_PAUSE).len(), 1);
    }

    #[test]
    fn host_that_flaps_is_sent_no_more_than_its_share() {
        let (topics, mut followed, start) = following();
        let large = "x".repeat(500 * 1024);
        publish(&topics, &large);
        let (mut bytes, span) = (0, Duration::from_secs(10));
        for tenth in 0..100 {
            let now = start + span * tenth / 100;
            followed.learn(Some(&[]), now);
            followed.learn(Some(&says(None)), now);
            let sections = followed.sections(now);
            bytes +=
                sections.iter().flat_map(|section| &section.changes).map(Bytes::len).sum::<usize>();
        }
        assert!(bytes <= 11 * BYTES_PER_SECOND, "{bytes}");
    }

    #[test]
    fn host_that_names_a_topic_twice_or_too_many_gains_nothing() {
        let (topics, mut followed, now) = following();
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
