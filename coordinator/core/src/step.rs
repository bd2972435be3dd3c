//! One step: a batch of requests against the state, and what the scheduler makes of it. No thread,
//! no clock, no I/O, so that a simulation runs the same code.

use longshore_common::{clock::Timestamp, id::HostId};

use crate::{
    Answer, Command, Decision, Envelope, Event, Rejection, State,
    batch::{Batch, HistoryItems},
    decide::{Note, decide},
    event::TaskEvent,
    schedule::{self, Pass},
    state::{Due, LogLine},
};

/// Maximum number of the scheduler's looks in one step (ours), which bounds the time under the
/// write lock; the next step continues.
const PASSES_PER_STEP_MAX: usize = 64;
/// Maximum number of events, and of tasks in events, after which a step looks no further (ours),
/// which bounds a row of the journal.
const WEIGHT_PER_STEP_MAX: usize = 2_000;

/// Random bits for new ids, from the operating system or from a simulation's seed.
pub type Entropy = Box<dyn FnMut() -> u128 + Send>;

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
    /// The state asks for something outside.
    pub effects: bool,
    pub log: Vec<LogLine>,
    /// Entities that the next checkpoint would write.
    pub changed: usize,
    /// The scheduler has more to look at: step again though nobody asks.
    pub more: bool,
    /// When to step again though nobody asks.
    pub wake: Option<Timestamp>,
}

/// The pure functions that a step calls: the state machine's own, or in a test some that err.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    pub decide: &'a dyn Fn(&State, &Envelope) -> Result<Decision, Rejection>,
    /// Looks at what is due.
    pub look: &'a dyn Fn(&State, Due, Timestamp, u128) -> Pass,
}

/// The state machine's own functions, which production runs.
pub const RULES: Rules<'static> = Rules { decide: &decide, look: &schedule::pass };

/// Decides and applies each request in turn, then lets the scheduler look at what they changed.
pub fn step(
    state: &mut State,
    requests: Vec<Request>,
    at: Timestamp,
    entropy: &mut Entropy,
) -> Flush {
    step_with(&RULES, state, requests, at, entropy)
}

pub fn step_with(
    rules: &Rules<'_>,
    state: &mut State,
    requests: Vec<Request>,
    at: Timestamp,
    entropy: &mut Entropy,
) -> Flush {
    let seq = state.seq() + 1;
    let mut events = Vec::new();
    let mut replies = Vec::with_capacity(requests.len());
    for Request { mut command, respond } in requests {
        let outcome = loop {
            let envelope = Envelope { at, entropy: entropy(), command };
            let decision = match (rules.decide)(state, &envelope) {
                Ok(decision) => decision,
                Err(rejection) => break Err(rejection),
            };
            apply(state, decision.events, seq, &mut events);
            // A note shows nothing that the journal keeps, unless this step changed it.
            let note_seq = if events.is_empty() { state.seq() } else { seq };
            decision.notes.into_iter().for_each(|said| take_note(state, said, note_seq, at));
            match decision.rest {
                Some(rest) => command = *rest,
                None => break Ok(decision.answer),
            }
        };
        replies.push(respond(state, outcome));
    }
    look_at_due(rules, state, at, entropy, seq, &mut events);
    if !events.is_empty() {
        state.set_seq(seq);
    }
    let changes = state.take_changes();
    let epoch = state.epoch().counter;
    let history = HistoryItems {
        stopped: changes.stopped,
        deployments: changes.deployments,
        revisions: changes.revisions,
        service_events: changes.service_events,
    };
    let batch = (!events.is_empty()).then_some(Batch { seq, epoch, events, history });
    Flush {
        batch,
        seq: state.seq(),
        replies,
        hosts: changes.hosts,
        effects: changes.effects,
        log: changes.log,
        changed: state.changed_len(),
        more: state.schedules() && state.has_due(),
        wake: next_wake(state),
    }
}

/// When to step again. Nothing is looked at, and no deadline met, until the scheduler works: the
/// wake would come again at once.
fn next_wake(state: &State) -> Option<Timestamp> {
    let wakes = [state.next_wake(), state.next_deadline(), state.word_awaited_until()];
    wakes.into_iter().flatten().min().filter(|_| state.schedules())
}

fn look_at_due(
    rules: &Rules<'_>,
    state: &mut State,
    at: Timestamp,
    entropy: &mut Entropy,
    seq: u64,
    events: &mut Vec<Event>,
) {
    if !state.schedules() {
        return;
    }
    state.wake(at);
    let mut weight = 0;
    for _ in 0..PASSES_PER_STEP_MAX {
        if weight >= WEIGHT_PER_STEP_MAX {
            return;
        }
        let Some(due) = state.take_due() else { return };
        let Pass { events: found, wake, waits_for_room, wanted } =
            (rules.look)(state, due, at, entropy());
        weight += found.iter().map(weight_of).sum::<usize>();
        apply(state, found, seq, events);
        state.set_wake(due, wake);
        state.set_waiting(due, waits_for_room);
        state.set_wanted(due, wanted);
    }
}

/// What an event takes of a journal's row, in tasks.
fn weight_of(event: &Event) -> usize {
    match event {
        Event::Task(TaskEvent::TasksStarted(started)) => 1 + started.tasks.len(),
        Event::Task(TaskEvent::TasksStopRequested { tasks, .. })
        | Event::Task(TaskEvent::TasksSettled { tasks, .. })
        | Event::Task(TaskEvent::TasksLost { tasks, .. })
        | Event::Task(TaskEvent::TasksReturned { tasks, .. }) => 1 + tasks.len() / 4,
        _ => 1,
    }
}

fn take_note(state: &mut State, note: Note, seq: u64, at: Timestamp) {
    match note {
        Note::OrdersTaken { host, order } => state.orders_taken(host, order),
        Note::ReportsTaken { host, position } => state.reports_taken(host, position, seq),
        Note::HostHeard { host } => state.host_heard(host, at),
        Note::ImagesHeld { host, images } => state.images_held(host, &images),
        Note::RoomWanted => state.wake_all_waiting(),
        Note::SchedulingBegins => state.begin_scheduling(),
    }
}

fn apply(state: &mut State, found: Vec<Event>, seq: u64, events: &mut Vec<Event>) {
    for event in found {
        state.apply(&event, seq);
        events.push(event);
    }
}
