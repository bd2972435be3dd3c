//! The topics of the poll that this host follows: what it holds of each, and whom it tells.
//!
//! Never: a change that does not fit what is held, or a topic whose hash is not what the coordinator
//! says it is. The coordinator is told what is held, and sends what is missing, or the whole.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use longshore_common::topic::{
    Basis, Section, Subscription, TOPIC_BYTES_MAX, TopicMap, TopicName, TopicState, TopicVersion,
    decode,
};
use tokio::sync::watch;

#[cfg(test)]
mod tests;

/// A topic's entries, as of its last change that was taken.
pub type Entries = Arc<BTreeMap<String, Bytes>>;

/// All topics that this host follows.
#[derive(Clone, Debug, Default)]
pub struct Topics {
    followed: BTreeMap<TopicName, Following>,
    /// The coordinator has been told what is held.
    told: bool,
}

#[derive(Clone, Debug)]
struct Following {
    held: Option<HeldTopic>,
    /// Whoever uses the topic; absent until something of it was held.
    shown: watch::Sender<Option<Entries>>,
}

#[derive(Clone, Debug)]
struct HeldTopic {
    map: TopicMap,
    version: TopicVersion,
}

impl HeldTopic {
    fn state(&self) -> TopicState {
        TopicState { version: self.version, hash: self.map.hash() }
    }
}

/// Why a section was not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("it changes a state of the topic that is not held here")]
    OtherBasis,
    #[error("its changes cannot be read")]
    Unreadable(#[source] rmp_serde::decode::Error),
    #[error("with it the topic would be larger than {TOPIC_BYTES_MAX} bytes")]
    TooLarge,
    #[error("with it the topic is not what the coordinator says it is")]
    OtherHash,
}

impl Topics {
    /// Follows a topic from now on.
    pub fn follow(&mut self, topic: TopicName) -> watch::Receiver<Option<Entries>> {
        let (shown, entries) = watch::channel(None);
        self.followed.insert(topic, Following { held: None, shown });
        self.told = false;
        entries
    }

    /// Takes what a poll brings.
    pub(crate) fn take(&mut self, sections: &[Section]) {
        for section in sections {
            // Sent before the coordinator heard that the topic is not followed any more.
            let Some(following) = self.followed.get_mut(&section.topic) else { continue };
            self.told = false;
            match following.take(section) {
                Ok(()) => {}
                Err(not_taken) => {
                    tracing::warn!(
                        topic = section.topic.as_str(),
                        error = &not_taken as &dyn std::error::Error,
                        "did not take what a poll brought of a topic: telling the coordinator what is held"
                    );
                    // What a section of another basis found here stands.
                    if !matches!(not_taken, NotTaken::OtherBasis) {
                        following.held = None;
                    }
                }
            }
        }
    }

    /// Something is held or followed that the coordinator was not told of.
    pub(crate) fn has_news(&self) -> bool {
        !self.told && !self.followed.is_empty()
    }

    /// What an answer says, to a coordinator that `knows` what the last one said.
    pub(crate) fn to_tell(&self, knows: bool) -> Option<Vec<Subscription>> {
        if self.followed.is_empty() || knows && self.told {
            return None;
        }
        let all = self.followed.iter().map(|(topic, following)| Subscription {
            topic: topic.clone(),
            held: following.held.as_ref().map(HeldTopic::state),
        });
        Some(all.collect())
    }

    pub(crate) fn are_told(&mut self) {
        self.told = true;
    }
}

impl Following {
    fn take(&mut self, section: &Section) -> Result<(), NotTaken> {
        let overtaken = |held: &HeldTopic| {
            held.version.start == section.state.version.start
                && held.version.change >= section.state.version.change
        };
        if self.held.as_ref().is_some_and(overtaken) {
            return Ok(());
        }
        let mut map = match section.basis {
            Basis::Nothing(key) => TopicMap::new(key),
            Basis::Held(basis) => {
                let held = self.held.take_if(|held| held.map.hash() == basis.hash);
                held.ok_or(NotTaken::OtherBasis)?.map
            }
        };
        for changes in &section.changes {
            for change in decode(changes).map_err(NotTaken::Unreadable)? {
                map.apply(&change);
            }
            if map.bytes() > TOPIC_BYTES_MAX {
                return Err(NotTaken::TooLarge);
            }
        }
        if map.hash() != section.state.hash {
            return Err(NotTaken::OtherHash);
        }
        self.shown.send_replace(Some(Arc::new(map.entries().clone())));
        self.held = Some(HeldTopic { map, version: section.state.version });
        Ok(())
    }
}
