//! How everybody else asks and reads: the API, the pollers, the joining port.

use std::{
    fmt,
    sync::{Arc, RwLock, atomic::AtomicU64},
};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
    protocol::Epoch,
};
use longshore_core::{
    Answer, Command, Rejection, State, command::EpochCommand, model::task::TaskRecord,
    step::Request,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Signals, hearing::Hearing};
use crate::{
    blocking::Blocking,
    journal::{History, StoppedEntry, StoppedFilter},
};

#[derive(Clone)]
pub struct Handle {
    pub(super) state: Arc<RwLock<State>>,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) durable: watch::Receiver<u64>,
    pub(super) failed: watch::Receiver<bool>,
    pub(super) history: Arc<dyn History>,
    pub(super) signals: Arc<Signals>,
    /// Set while the journal is known to be old: from the start on when a backup was restored, else once
    /// an agent proves it; cleared by `recover`.
    pub(super) went_back: Arc<watch::Sender<Option<JournalWentBack>>>,
    pub(super) hearing: Arc<Hearing>,
    /// When the scheduler wants to look again though nothing happens.
    pub(super) wakes: watch::Receiver<Option<Timestamp>>,
    pub(super) checkpoints: Arc<AtomicU64>,
    /// Where the history is read.
    pub(super) blocking: Blocking,
}

/// The coordinator cannot answer: its journal failed, or it is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator is stopping; try again when it has restarted")]
pub struct Unavailable;

/// Why a command had no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error(transparent)]
    JournalWentBack(JournalWentBack),
}

/// How it is known that the journal is older than what its hosts do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalWentBack {
    /// A host has seen more than it holds.
    Proved(Proof),
    /// The operator has put a backup into its place. Hosts may prove it as well.
    Restored { proof: Option<Proof> },
}

impl JournalWentBack {
    /// The proof of the host that has seen the latest epoch.
    pub fn proof(&self) -> Option<&Proof> {
        match self {
            JournalWentBack::Proved(proof) => Some(proof),
            JournalWentBack::Restored { proof } => proof.as_ref(),
        }
    }

    /// Keeps the proof that shows the latest epoch.
    fn hear(&mut self, heard: Proof) {
        let later = self.proof().is_none_or(|known| known.seen < heard.seen);
        match self {
            JournalWentBack::Proved(proof) if later => *proof = heard,
            JournalWentBack::Restored { proof } if later => *proof = Some(heard),
            JournalWentBack::Proved(_) | JournalWentBack::Restored { .. } => {}
        }
    }
}

/// An agent has seen more than the journal holds (design.md rule 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub host: HostId,
    /// What the host's ledger holds.
    pub seen: Epoch,
    pub seen_order: u64,
    /// What this journal holds, and the last order that it gave this host before or in that start.
    pub epoch: Epoch,
    pub last_order: u64,
}

impl std::error::Error for JournalWentBack {}

impl fmt::Display for JournalWentBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalWentBack::Proved(proof) => write!(
                f,
                "This coordinator's journal is older than what its hosts have seen: {proof}. No orders are given and nothing is changed. Restore the newest journal, or go on from this one with: longshore-coordinator recover. If the host's word is false, deregister it (DeregisterContainerInstance with force), which passes, and restart the coordinator"
            ),
            JournalWentBack::Restored { proof } => {
                f.write_str(
                    "A backup was restored as this coordinator's journal: hosts may have done more than it holds. No orders are given and nothing is changed. Go on from it with: longshore-coordinator recover. If a newer backup exists, stop the coordinator and restore that one first",
                )?;
                proof.iter().try_for_each(|proof| write!(f, " ({proof})"))
            }
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "host {} has seen order {} of start {}; this journal, now at start {}, had given it {} by then",
            self.host,
            self.seen_order,
            self.seen.counter,
            self.epoch.counter,
            match self.last_order {
                0 => "no order".to_owned(),
                last => format!("order {last} as the last one"),
            }
        )
    }
}

impl Handle {
    /// Has a command decided. `view` looks at the state right after; its result is returned once
    /// the journal holds what it saw. Refused while the journal is known to be old, but for what
    /// [mends](Command::passes_an_old_journal) that.
    pub async fn submit<T: Send + 'static>(
        &self,
        command: Command,
        view: impl FnOnce(&State, Answer) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        if let Some(evidence) = self.went_back.borrow().clone()
            && !command.passes_an_old_journal()
        {
            return Err(Refused::JournalWentBack(evidence));
        }
        self.submit_always(command, view).await
    }

    /// Submits a command that must be taken with an old journal too: the fleet's own words and
    /// `recover`.
    pub async fn submit_always<T: Send + 'static>(
        &self,
        command: Command,
        view: impl FnOnce(&State, Answer) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let (sender, receiver) = oneshot::channel();
        let respond = Box::new(move |state: &State, outcome: Result<Answer, Rejection>| {
            let outcome = outcome.map(|answer| view(state, answer));
            let send = move || {
                // A caller that went away does not need the answer.
                let _ = sender.send(outcome);
            };
            Box::new(send) as Box<dyn FnOnce() + Send>
        });
        self.requests.send(Request { command, respond }).await.map_err(|_| Unavailable)?;
        let outcome = receiver.await.map_err(|_| Unavailable)?;
        Ok(outcome?)
    }

    /// Looks at the state; the result is returned once the journal holds what it shows. `view`
    /// must copy what it needs and return soon: nothing is decided meanwhile.
    pub async fn read<T>(&self, view: impl FnOnce(&State) -> T) -> Result<T, Unavailable> {
        let (result, seq) = self.peek(|state| (view(state), state.seq()));
        self.durable(seq).await?;
        Ok(result)
    }

    /// What is to be done outside: looks at the state as [`Handle::read`] does, but not while an
    /// agent proves that the journal went back. The one gate of all effects: what an old journal
    /// asks for may long have been done.
    pub async fn read_to_act<T>(&self, view: impl FnOnce(&State) -> T) -> Result<T, Unavailable> {
        self.journal_stands().await?;
        self.read(view).await
    }

    /// Waits while an agent proves that the journal went back. Whether it had to.
    pub async fn journal_stands(&self) -> Result<bool, Unavailable> {
        let mut went_back = self.went_back.subscribe();
        if went_back.borrow().is_none() {
            return Ok(false);
        }
        let cleared = went_back.wait_for(Option::is_none).await;
        cleared.map(|_| true).map_err(|_| Unavailable)
    }

    /// Looks at the state as it is, durable or not: for metrics, and for those who wait for
    /// [`Handle::durable`] themselves.
    pub fn peek<T>(&self, view: impl FnOnce(&State) -> T) -> T {
        view(&self.state.read().expect("a panic in the state ends the process"))
    }

    /// Waits until the journal holds everything up to `seq`.
    pub async fn durable(&self, seq: u64) -> Result<(), Unavailable> {
        let mut durable = self.durable.clone();
        let reached = durable.wait_for(|durable| *durable >= seq).await;
        reached.map(|_| ()).map_err(|_| Unavailable)
    }

    /// Stopped tasks by their ids.
    pub async fn stopped_tasks(&self, ids: Vec<TaskId>) -> Result<Vec<TaskRecord>, Unavailable> {
        self.ask_history(move |history| history.tasks(&ids)).await
    }

    /// A page of a cluster's stopped tasks, the latest first.
    pub async fn list_stopped(
        &self,
        filter: StoppedFilter,
    ) -> Result<Vec<StoppedEntry>, Unavailable> {
        self.ask_history(move |history| history.list(&filter)).await
    }

    /// What the history knows of services.
    pub async fn service_history<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn History) -> Result<T, crate::journal::JournalError> + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.ask_history(ask).await
    }

    async fn ask_history<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn History) -> Result<T, crate::journal::JournalError> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let history = self.history.clone();
        let asked = self.blocking.run(move || ask(&*history)).await;
        match asked {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the history of stopped tasks could not be read");
                Err(Unavailable)
            }
            Err(_) => Err(Unavailable),
        }
    }

    /// When the state machine must be told that time has passed.
    pub fn wakes(&self) -> watch::Receiver<Option<Timestamp>> {
        self.wakes.clone()
    }

    pub fn signals(&self) -> &Signals {
        &self.signals
    }

    /// How many checkpoints were written since the start.
    pub fn checkpoints(&self) -> &AtomicU64 {
        &self.checkpoints
    }

    /// Up to where the journal holds what was decided.
    pub fn durable_seq(&self) -> u64 {
        *self.durable.borrow()
    }

    pub fn has_failed(&self) -> bool {
        *self.failed.borrow()
    }

    /// How it is known that the journal went back, while that stands.
    pub fn went_back(&self) -> watch::Receiver<Option<JournalWentBack>> {
        self.went_back.subscribe()
    }

    /// Whether the journal is known to be old, and waits for the operator.
    pub fn is_held(&self) -> bool {
        self.went_back.borrow().is_some()
    }

    /// Which hosts have said what they have seen since the start.
    pub fn hearing(&self) -> &Hearing {
        &self.hearing
    }

    /// Raises the alarm. The proof with the latest epoch is kept: `recover` goes beyond it.
    pub fn raise_went_back(&self, proof: Proof) {
        let evidence = JournalWentBack::Proved(proof.clone());
        let raised = self.went_back.send_if_modified(|current| match current {
            Some(known) => {
                known.hear(proof.clone());
                false
            }
            None => {
                *current = Some(evidence.clone());
                true
            }
        });
        if raised {
            tracing::error!(host = %proof.host, "ALARM: {evidence}");
        }
    }

    /// Continues from an older journal for the operator: a new epoch above all that any agent has
    /// seen, and what agents run beyond the journal is taken back from them.
    pub async fn recover(&self, incarnation: u64) -> Result<(), Refused> {
        self.hearing.over().await;
        let evidence = self.went_back.borrow().clone();
        let seen = evidence.as_ref().and_then(|evidence| evidence.proof()).map(|proof| proof.seen);
        let proved = match &evidence {
            Some(JournalWentBack::Proved(proof)) => Some(proof.seen),
            // Nothing was asked for since, so that all there is is from before.
            Some(JournalWentBack::Restored { .. }) | None => None,
        };
        let beyond = seen.map_or(0, |seen| seen.counter);
        let recover = Command::Epoch(EpochCommand::Recover { beyond, incarnation, proved });
        self.submit_always(recover, |_, _| ()).await?;
        self.went_back.send_replace(None);
        self.submit_always(Command::Epoch(EpochCommand::BeginScheduling), |_, _| ()).await?;
        tracing::warn!("recovered: hosts obey again, and tasks they run are adopted from them");
        Ok(())
    }
}
