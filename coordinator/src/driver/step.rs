//! One step: a batch of requests against the state. No thread, no clock, no I/O, so that a
//! simulation runs the same code.

use longshore_common::{clock::Timestamp, id::HostId};

use super::Entropy;
use crate::{
    journal::Batch,
    state_machine::{
        Answer, Command, Envelope, Rejection, State,
        decide::{Note, decide},
        state::LogLine,
    },
};

/// A command with what is to be done with its outcome.
pub struct Request {
    pub command: Command,
    pub respond: Respond,
}

/// Looks at the state right after the command was applied; what it returns runs once that is
/// durable.
pub type Respond =
    Box<dyn FnOnce(&State, Result<Answer, Rejection>) -> Box<dyn FnOnce() + Send> + Send>;

/// What a step leaves to be made durable, and to be done after.
pub struct Flush {
    /// Absent when nothing changed that the journal keeps.
    pub batch: Option<Batch>,
    /// What is durable once `batch` is: the state's sequence after the step.
    pub seq: u64,
    pub replies: Vec<Box<dyn FnOnce() + Send>>,
    /// Hosts whose next poll has something new.
    pub hosts: Vec<HostId>,
    pub log: Vec<LogLine>,
    /// Entities that the next checkpoint would write.
    pub changed: usize,
}

/// Decides and applies each request in turn.
pub fn step(
    state: &mut State,
    requests: Vec<Request>,
    at: Timestamp,
    entropy: &mut Entropy,
) -> Flush {
    let seq = state.seq() + 1;
    let mut events = Vec::new();
    let mut replies = Vec::with_capacity(requests.len());
    for Request { command, respond } in requests {
        let envelope = Envelope { at, entropy: entropy(), command };
        let outcome = match decide(state, &envelope) {
            Ok(decision) => {
                for event in decision.events {
                    state.apply(&event, seq);
                    events.push(event);
                }
                // A note shows nothing that the journal keeps, unless this step changed it.
                let note_seq = if events.is_empty() { state.seq() } else { seq };
                for note in decision.notes {
                    match note {
                        Note::OrdersTaken { host, order } => state.orders_taken(host, order),
                        Note::ReportsTaken { host, position } => {
                            state.reports_taken(host, position, note_seq);
                        }
                    }
                }
                Ok(decision.answer)
            }
            Err(rejection) => Err(rejection),
        };
        replies.push(respond(state, outcome));
    }
    if !events.is_empty() {
        state.set_seq(seq);
    }
    let changes = state.take_changes();
    let epoch = state.epoch().counter;
    let batch =
        (!events.is_empty()).then_some(Batch { seq, epoch, events, stopped: changes.stopped });
    Flush {
        batch,
        seq: state.seq(),
        replies,
        hosts: changes.hosts,
        log: changes.log,
        changed: state.changed_len(),
    }
}
