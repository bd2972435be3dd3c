//! What became true of starts of the coordinator, and which journal a recovery continued from.

use longshore_common::{clock::Timestamp, protocol::Epoch};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EpochEvent {
    EpochStarted {
        epoch: Epoch,
        at: Timestamp,
    },
    /// The operator continued from an older journal: agents' unknown tasks are adopted, not
    /// stopped.
    Recovered {
        epoch: Epoch,
        at: Timestamp,
        /// Time before which what was asked for may have been done, as earlier releases told it.
        #[serde(default)]
        unsure_before: Option<Timestamp>,
        /// What was asked for by a batch below this one was, before the journal was old.
        #[serde(default)]
        unsure_below: Option<u64>,
    },
    /// Hosts have had their time since the last `recover`: what they run has come to light.
    WordAwaited,
}
