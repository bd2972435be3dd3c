//! A container of a task as it is known here: its state, the call under way for it, and what events
//! and failed calls have told beside.

use longshore_common::{clock::Timestamp, protocol::NetworkBinding, task::HealthStatus};

use super::{
    pull::{PullAmount, PullFailure, PullState},
    state::{ContainerStage, ContainerState, End, Ending, LastKnown, MainProcess, Run, Stop},
};
use crate::task::desired::{DesiredContainer, Restart, Role};

/// 128 and the number of SIGKILL: what the end of a namespace's first process does to all others.
const KILLED: i32 = 137;

pub(super) const OUT_OF_MEMORY: &str = "OutOfMemoryError: Container killed due to memory usage";

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ObservedContainer {
    pub(crate) state: ContainerState,
    pub(crate) activity: Activity,
    /// What was last known may no longer hold: the next call is an inspect. News that come during a
    /// call raise a doubt in every state and beside every activity.
    pub(crate) doubt: bool,
    pub(crate) pull: PullState,
    pub(crate) image_digest: Option<String>,
    /// Starts by the container's restart policy.
    pub(crate) restarts: u32,
    pub(super) news: ContainerNews,
    /// Pulled images that were gone when the container was to be made.
    pub(super) images_lost: u32,
    /// Calls in a row that failed.
    pub(super) failures: u32,
    /// Signs in a row that the container is gone.
    pub(super) missing: u32,
    /// Why the container never runs, if the next inspect shows that the last call was not done.
    pub(super) verdict: Option<String>,
}

/// What events have told of a container, in whatever state they found it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ContainerNews {
    /// The time of a start whose call is not answered yet.
    pub(super) started_at: Option<Timestamp>,
    /// The exit code and the time of an end that no inspect may have shown yet.
    pub(super) exit: Option<(Option<i32>, Timestamp)>,
    /// The kernel killed a process of this run for its memory.
    pub(super) memory_kill: bool,
}

/// What goes on for a container. Only an idle one takes a next step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Activity {
    #[default]
    Idle,
    /// The next call waits for a moment, after a failure.
    Waiting,
    Calling(Call),
}

/// A call under way, by what matters of it meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    Pull {
        /// Known once the engine has told of the pull's progress.
        amount: Option<PullAmount>,
    },
    Start,
    Inspect,
    Other,
}

impl ObservedContainer {
    /// The name of the container's state, for the ledger, the log and reports.
    pub(crate) fn stage(&self) -> ContainerStage {
        match self.state {
            ContainerState::Unknown(_) => ContainerStage::Unknown,
            ContainerState::Absent { .. } => ContainerStage::Absent,
            ContainerState::Created { .. } => ContainerStage::Created,
            ContainerState::Started { .. } if self.restarts == 0 => ContainerStage::Created,
            ContainerState::Started { .. } => ContainerStage::Restarting,
            ContainerState::Running { .. } => ContainerStage::Running,
            ContainerState::Restarting { .. } => ContainerStage::Restarting,
            ContainerState::Stopped { .. } => ContainerStage::Stopped,
            ContainerState::Removed { .. } => ContainerStage::Removed,
        }
    }

    /// The container engine's id.
    pub(crate) fn id(&self) -> Option<&str> {
        self.state.id()
    }

    pub(crate) fn ever_ran(&self) -> bool {
        self.state.run().is_some()
    }

    pub(crate) fn exit_code(&self) -> Option<i32> {
        self.state.end().and_then(|end| end.exit_code)
    }

    pub(crate) fn finished_at(&self) -> Option<Timestamp> {
        self.state.end().and_then(|end| end.finished_at)
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        self.state.reason()
    }

    /// The end of the container's log, once it was asked for.
    pub(crate) fn last_lines(&self) -> &[String] {
        self.state.end().and_then(|end| end.last_lines.as_deref()).unwrap_or_default()
    }

    pub(crate) fn bindings(&self) -> &[NetworkBinding] {
        self.state.run().map(|run| &*run.bindings).unwrap_or_default()
    }

    pub(crate) fn health(&self) -> Option<HealthStatus> {
        self.state.run().and_then(|run| run.health)
    }

    pub(crate) fn started_at(&self) -> Option<Timestamp> {
        match self.state.run() {
            Some(run) => run.started_at,
            None => self.news.started_at,
        }
    }

    /// When the container was started, as the clock shows it that later times are read from.
    pub(crate) fn start_by_this_clock(&self) -> Option<Timestamp> {
        let jumped_ms = self.state.run().map_or(0, |run| run.clock_jumped_ms);
        self.started_at().map(|at| at.jumped(jumped_ms))
    }

    /// What an inspect or an answered start has shown to run.
    pub(crate) fn runs(&self) -> bool {
        self.running().is_some()
    }

    /// The id and the first process of a container that runs.
    pub(crate) fn running(&self) -> Option<(&str, &MainProcess)> {
        match &self.state {
            ContainerState::Running { id, process, .. } => Some((id, process)),
            ContainerState::Unknown(_)
            | ContainerState::Absent { .. }
            | ContainerState::Created { .. }
            | ContainerState::Started { .. }
            | ContainerState::Restarting { .. }
            | ContainerState::Stopped { .. }
            | ContainerState::Removed { .. } => None,
        }
    }

    /// A call for the container leaves.
    pub(crate) fn call_leaves(&mut self, call: Call) {
        // What an inspect shows is newer than every doubt so far.
        self.doubt &= call != Call::Inspect;
        self.activity = Activity::Calling(call);
    }

    /// Whether a call is under way.
    pub(crate) fn is_called(&self) -> bool {
        matches!(self.activity, Activity::Calling(_))
    }

    pub(super) fn is_being_started(&self) -> bool {
        self.activity == Activity::Calling(Call::Start)
    }

    /// The pause after a failure is over.
    pub(crate) fn pause_ends(&mut self) {
        if self.activity == Activity::Waiting {
            self.activity = Activity::Idle;
        }
    }

    /// The engine tells how far a pull is.
    pub(crate) fn pull_progresses(&mut self, by_now: PullAmount) {
        if let Activity::Calling(Call::Pull { amount }) = &mut self.activity {
            *amount = Some(by_now);
        }
    }

    /// How far the pull under way is, once the engine has told.
    pub(crate) fn pulled(&self) -> Option<PullAmount> {
        match self.activity {
            Activity::Calling(Call::Pull { amount }) => amount,
            Activity::Calling(Call::Start | Call::Inspect | Call::Other)
            | Activity::Idle
            | Activity::Waiting => None,
        }
    }

    pub(crate) fn pull_failure(&self) -> Option<&PullFailure> {
        match &self.pull {
            PullState::Needed { failed } => failed.as_ref(),
            PullState::NotNeeded | PullState::Done => None,
        }
    }

    /// Whether a container of a task that is to stop does not run, and no call could make it run.
    pub(crate) fn is_over(&self) -> bool {
        let still = match self.state {
            ContainerState::Unknown(_)
            | ContainerState::Started { .. }
            | ContainerState::Running { .. } => false,
            ContainerState::Absent { .. }
            | ContainerState::Created { .. }
            | ContainerState::Restarting { .. }
            | ContainerState::Stopped { .. }
            | ContainerState::Removed { .. } => true,
        };
        still && !self.is_called() && !self.doubt
    }

    /// The container ended, and what it wrote last was not asked for yet. A pause container writes
    /// nothing.
    pub(crate) fn awaits_last_lines(&self, wanted: &DesiredContainer) -> bool {
        let unread = match &self.state {
            ContainerState::Stopped { id: Some(_), ending: Ending::Ran { end, .. } } => {
                end.last_lines.is_none()
            }
            ContainerState::Stopped { .. }
            | ContainerState::Unknown(_)
            | ContainerState::Absent { .. }
            | ContainerState::Created { .. }
            | ContainerState::Started { .. }
            | ContainerState::Running { .. }
            | ContainerState::Restarting { .. }
            | ContainerState::Removed { .. } => false,
        };
        unread && wanted.role == Role::Defined
    }

    /// A call came out well. A doubt stays: it came up while the call was under way, and what was
    /// seen then may be newer than the reply.
    pub(super) fn forget_failures(&mut self) {
        self.failures = 0;
        self.missing = 0;
        self.verdict = None;
    }

    /// Whether the container has ended, also before the engine has said how.
    pub(in crate::task) fn has_ended(&self) -> bool {
        match &self.state {
            ContainerState::Stopped { .. } => true,
            ContainerState::Running { process, .. } => *process == MainProcess::Ended,
            ContainerState::Unknown(_)
            | ContainerState::Absent { .. }
            | ContainerState::Created { .. }
            | ContainerState::Started { .. }
            | ContainerState::Restarting { .. }
            | ContainerState::Removed { .. } => false,
        }
    }

    /// The container was started by us or seen to run, and nothing was heard of an end since.
    pub(super) fn has_begun(&self) -> bool {
        let begun = match self.state {
            ContainerState::Started { .. } | ContainerState::Running { .. } => true,
            ContainerState::Unknown(_)
            | ContainerState::Absent { .. }
            | ContainerState::Created { .. }
            | ContainerState::Restarting { .. }
            | ContainerState::Stopped { .. }
            | ContainerState::Removed { .. } => false,
        };
        begun && !self.end_is_known()
    }

    /// The container was known to run, and not since `at` already. An exact time comes with the
    /// event: the first one is that of our own clock.
    pub(super) fn started_before(&self, at: Timestamp) -> bool {
        let known = self.state.run().and_then(|run| run.started_at);
        self.end_is_known() && known.is_some_and(|known| known < at)
    }

    /// The kernel tells that the process has ended. False unless the container is known to run.
    pub(crate) fn process_ends(&mut self) -> bool {
        let ContainerState::Running { process, .. } = &mut self.state else { return false };
        *process = MainProcess::Ended;
        true
    }

    pub(super) fn process_has_ended(&self) -> bool {
        self.running().is_some_and(|(_, process)| *process == MainProcess::Ended)
    }

    /// The kernel has killed a process of this container for its memory. Docker does not say so where
    /// the control group went with its only process (cgroup v2). True when that is news.
    pub(crate) fn kernel_killed_for_memory(&mut self) -> bool {
        self.news.memory_kill = true;
        let known = self.reason().map(str::to_owned);
        // The end may have been seen before.
        self.explain_by_memory();
        self.reason() != known.as_deref()
    }

    /// A process that was stopped for another reason is not said to be killed for its memory.
    fn explain_by_memory(&mut self) {
        let ContainerState::Stopped { ending: Ending::Ran { run, end }, .. } = &mut self.state
        else {
            return;
        };
        if self.news.memory_kill && end.exit_code == Some(KILLED) && run.stop.is_none() {
            end.reason.get_or_insert_with(|| OUT_OF_MEMORY.to_owned());
        }
    }

    /// The container was heard to end, and no inspect has shown how.
    pub(super) fn end_is_known(&self) -> bool {
        self.process_has_ended() || self.news.exit.is_some()
    }

    /// The container runs, perhaps not for the first time: the run that its next state is of. What
    /// was known of an earlier run that has ended is forgotten, but for ports and health, which hold
    /// until they are known anew.
    pub(super) fn begin_run(&mut self, known: LastKnown) -> Run {
        let has_ended = known.end.is_some_and(|end| end.finished_at.is_some());
        match known.run {
            Some(Run { bindings, health, .. }) if has_ended => {
                self.news = ContainerNews::default();
                Run { bindings, health, ..Run::default() }
            }
            Some(run) => run,
            None => self.first_run(),
        }
    }

    pub(super) fn first_run(&mut self) -> Run {
        Run { started_at: self.news.started_at.take(), ..Run::default() }
    }

    pub(in crate::task) fn give_up(&mut self, reason: String) {
        self.state = self.state.leave().give_up(reason);
    }

    pub(super) fn conclude_end(&mut self, known: LastKnown, exit_code: Option<i32>, at: Timestamp) {
        self.forget_failures();
        self.doubt = false;
        let run = known.run.unwrap_or_else(|| self.first_run());
        let end = End { exit_code, finished_at: Some(at), ..known.end.unwrap_or_default() };
        self.state = ContainerState::Stopped { id: known.id, ending: Ending::Ran { run, end } };
        self.explain_by_memory();
    }

    /// The time to stop begins, unless it has begun already. Nothing happens unless the container runs.
    pub(in crate::task) fn stop_begins(&mut self, by: Timestamp) {
        if let ContainerState::Running { run, .. } = &mut self.state {
            run.stop.get_or_insert(Stop { by, attempts: 0 });
        }
    }

    /// The container is gone, and others show that it ran: with success, if known, before `succeeded`. It
    /// is inspected, and not made again.
    pub(in crate::task) fn counts_as_run(&mut self, succeeded: Option<Timestamp>) {
        let known = LastKnown { run: Some(Run::default()), ..self.state.leave() };
        (self.state, self.doubt) = (ContainerState::Unknown(known), true);
        self.news.exit = succeeded.map(|at| (Some(0), at));
    }

    /// Whether the end is surely not that of another container's namespace, which kills.
    pub(in crate::task) fn ended_in_its_own_way(&self) -> bool {
        self.exit_code().is_some_and(|code| code != KILLED)
    }

    /// Has a container that ended started again, where its restart policy says so (ecs-behaviour 1.7).
    pub(in crate::task) fn start_again(&mut self, policy: &Restart) {
        let ContainerState::Stopped { id: Some(id), ending: Ending::Ran { run, end } } =
            &self.state
        else {
            return;
        };
        let ran = self.start_by_this_clock().zip(end.finished_at);
        let ran = ran.map(|(from, until)| until.since(from));
        let ignored = |code: &i32| policy.ignored_exit_codes.contains(code);
        let applies = !self.doubt
            && !end.restart_refused
            && end.exit_code.is_some_and(|code| !ignored(&code))
            && ran.is_some_and(|ran| ran >= policy.after_running);
        if applies {
            let (id, run, end) = (id.clone(), run.clone(), end.clone());
            self.state = ContainerState::Restarting { id, run, end };
            self.restarts += 1;
        }
    }
}
