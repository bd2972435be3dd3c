//! Bugs that a test plants, at the doors between the parts: the coordinator's own code is as it is
//! shipped, and what goes through a door is changed as a bug of that kind would change it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use http::StatusCode;
use longshore_common::clock::Timestamp;
use longshore_coordinator::{
    edge::in_process::{Offered, Told},
    journal::{Checkpoint, History, Journal, JournalError, sqlite::SqliteJournal},
};
use longshore_core::{
    Answer, Command, Decision, Envelope, Event, Rejection, State,
    batch::Batch,
    command::HostCommand,
    event::{HostEvent, ServiceEvent, TaskEvent},
    model::host::HostStatus,
    schedule::Pass,
    state::{Due, Task},
    step::RULES,
};
use serde_json::Value;

use super::judge::Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// A pass of the scheduler launches again and again against one look at the hosts.
    StaleSnapshot,
    /// A cluster counts one running task more than it has.
    CountKeptByHand,
    /// A host that was deregistered can still be made ACTIVE.
    GateForgotten,
    /// A host that changes is not in the checkpoints that follow.
    NotMarkedChanged,
    /// No checkpoint has join tokens.
    KindMissing,
    /// Deregistered hosts are never forgotten.
    HistoryUnbounded,
    /// A service with tasks on a draining host is not looked at.
    DrainingKept,
    /// A deleted service whose tasks are gone stays DRAINING.
    ServiceKept,
    /// A page token that is none is a server's fault.
    BadTokenBreaks,
    /// A list lacks one that is described.
    ListDisagrees,
}

pub(super) const BUGS: [Bug; 10] = [
    Bug::StaleSnapshot,
    Bug::CountKeptByHand,
    Bug::GateForgotten,
    Bug::NotMarkedChanged,
    Bug::KindMissing,
    Bug::HistoryUnbounded,
    Bug::DrainingKept,
    Bug::ServiceKept,
    Bug::BadTokenBreaks,
    Bug::ListDisagrees,
];

impl Bug {
    /// By which of the campaign's figures it is found.
    pub(super) fn shows_as(self) -> &'static [Fault] {
        match self {
            Bug::StaleSnapshot => &[Fault::NegativeRemaining],
            Bug::GateForgotten => &[Fault::Unsound, Fault::Panic],
            Bug::NotMarkedChanged | Bug::KindMissing => &[Fault::RestartDifference],
            Bug::HistoryUnbounded => &[Fault::Grown],
            Bug::DrainingKept | Bug::ServiceKept => &[Fault::Stuck],
            Bug::BadTokenBreaks => &[Fault::ServerError],
            Bug::ListDisagrees | Bug::CountKeptByHand => &[Fault::Disagreement],
        }
    }
}

/// Keys of the rows that a checkpoint wrote, each with the number of its kind.
type Written = BTreeSet<(u8, Vec<u8>)>;

/// Launches against one look.
const LAUNCHES: u128 = 8;
/// Kinds of a checkpoint's rows.
const HOSTS: u8 = 5;
const JOIN_TOKENS: u8 = 8;

/// One bug, or none.
#[derive(Clone, Debug, Default)]
pub(super) struct Planted {
    bug: Option<Bug>,
    /// Rows that the journal of this run has had, by what they are of.
    written: Arc<Mutex<Written>>,
}

impl Planted {
    pub(super) fn bug(bug: Bug) -> Self {
        Planted { bug: Some(bug), ..Planted::default() }
    }

    /// What there is to be found, when there is.
    pub(super) fn shows_as(&self) -> &'static [Fault] {
        self.bug.map_or(&[], Bug::shows_as)
    }

    /// By the bug's name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let bug = BUGS.into_iter().find(|bug| format!("{bug:?}") == name);
        bug.map(Planted::bug)
    }

    pub(super) fn decide(&self, state: &State, envelope: &Envelope) -> Result<Decision, Rejection> {
        let decided = (RULES.decide)(state, envelope);
        let Some(bug) = self.bug else { return decided };
        let mut decision = match (bug, &envelope.command) {
            (
                Bug::GateForgotten,
                Command::Host(HostCommand::UpdateContainerInstancesState {
                    cluster, hosts, ..
                }),
            ) => {
                let cluster = state.cluster(cluster.as_str());
                let known = cluster.into_iter().flat_map(|cluster| &cluster.hosts);
                let gone = known.filter(|(id, _)| hosts.contains(id)).map(|(id, _)| *id);
                let gone: Vec<_> = gone
                    .filter(|id| state.host(*id).is_some_and(|host| !host.is_registered()))
                    .collect();
                if gone.is_empty() {
                    return decided;
                }
                let activate = |host: &_| {
                    Event::Host(HostEvent::HostActivated { host: *host, at: envelope.at })
                };
                let answer = Answer::Hosts { changed: gone.clone(), failures: Vec::new() };
                let events = gone.iter().map(activate).collect();
                return Ok(Decision { events, answer, ..Decision::default() });
            }
            _ => decided?,
        };
        if bug == Bug::HistoryUnbounded {
            decision
                .events
                .retain(|event| !matches!(event, Event::Host(HostEvent::HostForgotten { .. })));
        }
        Ok(decision)
    }

    pub(super) fn look(&self, state: &State, due: Due, at: Timestamp, entropy: u128) -> Pass {
        let mut pass = (RULES.look)(state, due, at, entropy);
        match self.bug {
            Some(Bug::StaleSnapshot) => {
                for again in 1..LAUNCHES {
                    let again = (RULES.look)(state, due, at, entropy ^ again << 96);
                    let launched =
                        |event: &Event| matches!(event, Event::Task(TaskEvent::TasksStarted(_)));
                    pass.events.extend(again.events.into_iter().filter(launched));
                }
            }
            Some(Bug::DrainingKept) if is_on_draining_host(state, due) => return Pass::default(),
            Some(Bug::ServiceKept) => {
                pass.events.retain(|event| {
                    !matches!(event, Event::Service(ServiceEvent::ServiceDeleted { .. }))
                });
            }
            _ => {}
        }
        pass
    }

    /// What a client is told.
    pub(super) fn tell(&self, offered: Offered, mut told: Told) -> Told {
        let text = || String::from_utf8_lossy(&told.body).into_owned();
        match self.bug {
            Some(Bug::BadTokenBreaks)
                if told.status == StatusCode::BAD_REQUEST && text().contains("nextToken") =>
            {
                told.status = StatusCode::INTERNAL_SERVER_ERROR;
            }
            Some(Bug::ListDisagrees) if offered.operation == "ListContainerInstances" => {
                let answer: Result<Value, _> = serde_json::from_slice(&told.body);
                if let Ok(mut answer) = answer {
                    if let Some(hosts) = answer["containerInstanceArns"].as_array_mut() {
                        hosts.pop();
                    }
                    told.body = answer.to_string().into();
                }
            }
            Some(Bug::CountKeptByHand) if offered.operation == "DescribeClusters" => {
                let answer: Result<Value, _> = serde_json::from_slice(&told.body);
                if let Ok(mut answer) = answer {
                    for cluster in answer["clusters"].as_array_mut().into_iter().flatten() {
                        let counted = cluster["runningTasksCount"].as_u64().unwrap_or_default();
                        cluster["runningTasksCount"] = (counted + 1).into();
                    }
                    told.body = answer.to_string().into();
                }
            }
            _ => {}
        }
        told
    }
}

/// Whether a service has tasks on a draining host.
fn is_on_draining_host(state: &State, due: Due) -> bool {
    let Due::Service(service) = due else { return false };
    let mut draining = state.hosts().filter(|host| host.status == HostStatus::Draining);
    let is_of_service = |task: &Task| task.service.as_ref().is_some_and(|of| of.service == service);
    draining.any(|host| host.tasks.values().any(|slot| is_of_service(state.task_at(*slot))))
}

/// The journal, and the bug in front of it.
pub(super) struct Door {
    pub(super) journal: SqliteJournal,
    planted: Planted,
}

impl Door {
    pub(super) fn to(journal: SqliteJournal, planted: Planted) -> Self {
        Door { journal, planted }
    }
}

impl Journal for Door {
    fn append(&mut self, batches: &[Batch]) -> Result<(), JournalError> {
        self.journal.append(batches)
    }

    fn checkpoint(&mut self, mut checkpoint: Checkpoint) -> Result<(), JournalError> {
        match self.planted.bug {
            Some(Bug::KindMissing) => checkpoint.rows.retain(|row| row.kind != JOIN_TOKENS),
            Some(Bug::NotMarkedChanged) => {
                let mut written =
                    self.planted.written.lock().unwrap_or_else(PoisonError::into_inner);
                checkpoint.rows.retain(|row| {
                    row.kind != HOSTS
                        || row.value.is_none()
                        || written.insert((row.kind, row.key.clone()))
                });
            }
            _ => {}
        }
        self.journal.checkpoint(checkpoint)
    }

    fn history(&self) -> Box<dyn History> {
        self.journal.history()
    }
}
