//! Outcomes of calls, and what is known of a container after each.
//!
//! Never: an end concluded from an unknown outcome. Such a call leaves its container as last known and
//! in doubt, and an inspect clears the doubt.

use std::time::Duration;

use longshore_common::{clock::Timestamp, task::HealthStatus};

use crate::{
    runtime::{Aim, ContainerDetails, RunState, RuntimeError, Unknown, ecs_reason, shorten},
    settings::PullPolicy,
    task::{
        desired::{DesiredContainer, DesiredTask},
        labels,
        observed::{
            ObservedTask,
            container::{Activity, ContainerNews, OUT_OF_MEMORY, ObservedContainer},
            pull::{PullFailure, PullState},
            state::{ContainerState, Ending, LastKnown, MainProcess},
        },
        rules::Rules,
    },
};

/// Number of 404s in a row after which a container counts as gone.
const MISSING_TO_BELIEVE: u32 = 2;

/// Pause between these 404s: an engine that is starting may not have read its containers yet.
const MISSING_RETRY: Duration = Duration::from_secs(1);

/// Maximum of attempts at a call that the engine answers with 5xx, before its word is final.
const ENGINE_ERRORS_MAX: u32 = 3;

/// Maximum of attempts at one pull (ecs-behaviour 1.7).
const PULL_ATTEMPTS_MAX: u32 = 5;

/// Maximum of pulls of an image that was gone when its container was to be made.
const IMAGES_LOST_MAX: u32 = 2;

/// First and longest pause between two attempts at a pull (ecs-behaviour 1.7).
const PULL_RETRY_MIN: Duration = Duration::from_millis(1100);

const PULL_RETRY_MAX: Duration = Duration::from_secs(5);

/// First and longest pause between two attempts at any other call.
const RETRY_MIN: Duration = Duration::from_millis(250);

const RETRY_MAX: Duration = Duration::from_secs(10);

const REMOVED_OUTSIDE: &str =
    "DockerStateError: the container is gone, and it was not this agent that removed it";

/// What came of one [`crate::engine::plan::Step`].
#[derive(Debug)]
pub(crate) enum CallOutcome {
    Pulled(Result<(), RuntimeError>),
    /// An image that the agent made.
    Loaded(Result<(), RuntimeError>),
    /// Nobody needed the image any more.
    PullCancelled,
    Created(Result<String, RuntimeError>),
    Started(Result<(), RuntimeError>),
    Inspected(Result<Box<ContainerDetails>, RuntimeError>),
    /// Stop or kill.
    Stopped(Result<(), RuntimeError>),
    Removed(Result<(), RuntimeError>),
    LastLines(Result<Vec<String>, RuntimeError>),
}

/// When the container's next step may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextStep {
    Now,
    After(Duration),
}

impl ObservedTask {
    /// Takes the outcome of a call for container `index`.
    pub(crate) fn record(
        &mut self,
        desired: &DesiredTask,
        index: usize,
        outcome: CallOutcome,
        rules: &Rules,
        now: Timestamp,
    ) -> NextStep {
        let wanted = &desired.containers[index];
        let container = &mut self.containers[index];
        container.activity = Activity::Idle;
        match outcome {
            CallOutcome::Pulled(result) => {
                self.pull_stopped_at = Some(now);
                container.pull_answered(result, rules.pull, Some(&wanted.image))
            }
            CallOutcome::Loaded(result) => container.pull_answered(result, rules.pull, None),
            CallOutcome::PullCancelled => {
                if container.pull.is_needed() {
                    container.pull = PullState::NEEDED;
                }
                NextStep::Now
            }
            CallOutcome::Created(Ok(id)) => {
                container.forget_failures();
                container.state = ContainerState::Created { id };
                NextStep::Now
            }
            CallOutcome::Created(Err(error)) => container.create_failed(error),
            CallOutcome::Started(Ok(())) => {
                container.started(wanted, now);
                NextStep::Now
            }
            CallOutcome::Started(Err(error)) => container.start_failed(&error),
            CallOutcome::Inspected(Ok(details)) => {
                let ours = labels::task_of(&details.labels, rules) == Some(desired.key)
                    && labels::container_index(&details.labels, desired) == Some(index);
                if ours {
                    container.inspected(*details, wanted.health_check, now)
                } else {
                    container.forget_failures();
                    container.give_up(format!(
                        "CannotCreateContainerError: the name {} is taken by a container that is \
                         not this task's; remove it",
                        wanted.docker_name
                    ));
                    NextStep::Now
                }
            }
            CallOutcome::Inspected(Err(RuntimeError::NotFound { .. })) => container.not_found(now),
            CallOutcome::Inspected(Err(_)) => {
                container.doubt = true;
                container.retry()
            }
            CallOutcome::Stopped(Ok(())) => {
                container.doubt = true;
                match container.count_stop() {
                    0 | 1 => NextStep::Now,
                    // It ran on after one that was said to be done.
                    more => NextStep::After(backoff(RETRY_MIN, RETRY_MAX, more)),
                }
            }
            CallOutcome::Stopped(Err(_)) => {
                container.count_stop();
                container.doubt = true;
                container.retry()
            }
            CallOutcome::Removed(Ok(()) | Err(RuntimeError::NotFound { .. })) => {
                container.forget_failures();
                container.doubt = false;
                let LastKnown { id, run, end } = container.state.leave();
                let ending = Ending::of(run, end.unwrap_or_default());
                container.state = ContainerState::Removed { id, ending };
                NextStep::Now
            }
            CallOutcome::Removed(Err(_)) => container.retry(),
            // They help a reader; a task's end does not wait for a second try.
            CallOutcome::LastLines(lines) => {
                if let ContainerState::Stopped { ending: Ending::Ran { end, .. }, .. } =
                    &mut container.state
                {
                    end.last_lines = Some(lines.unwrap_or_default());
                }
                NextStep::Now
            }
        }
    }
}

impl ObservedContainer {
    fn retry(&mut self) -> NextStep {
        self.failures += 1;
        NextStep::After(backoff(RETRY_MIN, RETRY_MAX, self.failures))
    }

    /// Counts a call that was to stop the container.
    fn count_stop(&mut self) -> u32 {
        let Some(stop) = self.state.run_mut().and_then(|run| run.stop.as_mut()) else { return 0 };
        stop.attempts += 1;
        stop.attempts
    }

    fn started(&mut self, wanted: &DesiredContainer, now: Timestamp) {
        self.forget_failures();
        let known = self.state.leave();
        let Some(id) = known.id.clone() else {
            // What was started by its id has one.
            self.state = ContainerState::Unknown(known);
            self.doubt = true;
            return;
        };
        let mut run = self.begin_run(known);
        run.started_at.get_or_insert(now);
        if wanted.health_check {
            run.health = Some(HealthStatus::Unknown);
        }
        self.state = match &wanted.bindings {
            // Reported as running once its ports are known, which one inspect tells.
            None => {
                self.doubt = true;
                ContainerState::Started { id, run }
            }
            Some(bindings) => {
                run.bindings.clone_from(bindings);
                let process = MainProcess::Runs { pid: None };
                ContainerState::Running { id, run, process, left_network: false }
            }
        };
    }

    /// `image` is absent for one that the agent makes itself.
    fn pull_answered(
        &mut self,
        result: Result<(), RuntimeError>,
        policy: PullPolicy,
        image: Option<&str>,
    ) -> NextStep {
        let Err(error) = result else {
            self.failures = 0;
            self.pull = PullState::Done;
            return NextStep::Now;
        };
        let again = match &error {
            RuntimeError::Unknown(Unknown::Timeout { .. }) => false,
            RuntimeError::Unknown(Unknown::Transport { .. }) => true,
            RuntimeError::Unknown(
                Unknown::Registry { .. } | Unknown::Engine { .. } | Unknown::Unreadable { .. },
            ) => self.failures + 1 < PULL_ATTEMPTS_MAX,
            RuntimeError::NotFound { .. }
            | RuntimeError::ImageNotFound { .. }
            | RuntimeError::Conflict { .. }
            | RuntimeError::Rejected { .. }
            | RuntimeError::NotPrepared { .. }
            | RuntimeError::NoLogin { .. }
            | RuntimeError::NotAsked { .. } => false,
        };
        let attempts = self.failures + 1;
        if again {
            self.failures = attempts;
            // An engine that is away fails every attempt, and is told of by itself.
            let failed = match error {
                RuntimeError::Unknown(Unknown::Transport { .. }) => None,
                error => Some(PullFailure { attempts, error: shorten(&error.to_string()) }),
            };
            self.pull = PullState::Needed { failed };
            return NextStep::After(backoff(PULL_RETRY_MIN, PULL_RETRY_MAX, self.failures));
        }
        self.failures = 0;
        let reason = match image {
            Some(image) => pull_reason(image, attempts, &error),
            None => ecs_reason(Aim::Pull, &error),
        };
        match policy {
            PullPolicy::PullFirst => {
                // What the host has will do. If it has nothing, this is why.
                self.pull = PullState::Done;
                self.verdict = Some(reason);
            }
            PullPolicy::Always | PullPolicy::Once | PullPolicy::PreferCached => {
                self.pull = PullState::NEEDED;
                self.give_up(reason);
            }
        }
        NextStep::Now
    }

    fn create_failed(&mut self, error: RuntimeError) -> NextStep {
        match &error {
            RuntimeError::ImageNotFound { .. } => match self.pull {
                PullState::NotNeeded => self.pull = PullState::NEEDED,
                // Somebody has removed it since.
                PullState::Done if self.verdict.is_none() && self.images_lost < IMAGES_LOST_MAX => {
                    self.images_lost += 1;
                    self.pull = PullState::NEEDED;
                }
                PullState::Needed { .. } | PullState::Done => {
                    let reason = self.verdict.take();
                    self.give_up(reason.unwrap_or_else(|| ecs_reason(Aim::Create, &error)));
                }
            },
            // An earlier attempt may have made it: the labels tell.
            RuntimeError::Conflict { .. } => self.doubt = true,
            RuntimeError::NotFound { .. }
            | RuntimeError::Rejected { .. }
            | RuntimeError::NotPrepared { .. }
            | RuntimeError::NoLogin { .. }
            | RuntimeError::NotAsked { .. } => {
                self.give_up(ecs_reason(Aim::Create, &error));
            }
            RuntimeError::Unknown(unknown) => {
                self.judge(Aim::Create, unknown, &error);
                return self.retry();
            }
        }
        NextStep::Now
    }

    fn start_failed(&mut self, error: &RuntimeError) -> NextStep {
        self.doubt = true;
        match error {
            RuntimeError::NotFound { .. } => {
                // Of the container, or of something that it needs: then asking again shows it.
                self.missing = self.missing.max(1);
                if self.failures + 1 >= ENGINE_ERRORS_MAX {
                    self.verdict = Some(ecs_reason(Aim::Start, error));
                }
                return self.retry();
            }
            RuntimeError::ImageNotFound { .. }
            | RuntimeError::Conflict { .. }
            | RuntimeError::Rejected { .. }
            | RuntimeError::NotPrepared { .. }
            | RuntimeError::NoLogin { .. }
            | RuntimeError::NotAsked { .. } => self.verdict = Some(ecs_reason(Aim::Start, error)),
            RuntimeError::Unknown(unknown) => {
                self.judge(Aim::Start, unknown, error);
                return self.retry();
            }
        }
        NextStep::Now
    }

    /// After a call whose outcome is unknown: inspect, and give up if it was not done and there is
    /// no sense in trying again.
    fn judge(&mut self, aim: Aim, unknown: &Unknown, error: &RuntimeError) {
        self.doubt = true;
        let give_up = match unknown {
            Unknown::Timeout { .. } => true,
            Unknown::Registry { .. } | Unknown::Engine { .. } => {
                self.failures + 1 >= ENGINE_ERRORS_MAX
            }
            Unknown::Transport { .. } | Unknown::Unreadable { .. } => false,
        };
        if give_up {
            self.verdict = Some(ecs_reason(aim, error));
        }
    }

    fn inspected(
        &mut self,
        details: ContainerDetails,
        health_check: bool,
        now: Timestamp,
    ) -> NextStep {
        self.missing = 0;
        let finished_at = details.finished_at.unwrap_or(now);
        match details.state {
            RunState::Created => {
                let known = LastKnown { id: Some(details.id.clone()), ..self.state.leave() };
                if let Some(reason) = self.verdict.take() {
                    self.state = known.give_up(reason);
                } else if known.run.is_some() {
                    // It ran and shows no exit: some engine's way to say that it is gone.
                    self.conclude_end(known, None, finished_at);
                } else {
                    self.state = ContainerState::Created { id: details.id };
                }
            }
            RunState::Running => self.seen_running(details, health_check),
            RunState::Exited => {
                let restarting = matches!(self.state, ContainerState::Restarting { .. });
                let mut known = LastKnown { id: Some(details.id), ..self.state.leave() };
                if details.oom_killed {
                    known.end.get_or_insert_default().reason = Some(OUT_OF_MEMORY.to_owned());
                }
                let verdict = self.verdict.take();
                if known.run.is_none()
                    && details.started_at.is_none()
                    && let Some(reason) = verdict
                {
                    self.state = known.give_up(reason);
                    return NextStep::Now;
                }
                let mut run = known.run.take().unwrap_or_else(|| self.first_run());
                run.started_at = details.started_at.or(run.started_at);
                known.run = Some(run);
                if restarting && let Some(reason) = verdict {
                    let end = known.end.get_or_insert_default();
                    (end.restart_refused, end.reason) = (true, Some(reason));
                }
                self.conclude_end(known, details.exit_code, finished_at);
            }
        }
        NextStep::Now
    }

    fn seen_running(&mut self, details: ContainerDetails, health_check: bool) {
        self.forget_failures();
        let another_run = details.started_at.is_some_and(|at| self.started_before(at));
        let process = match self.process_has_ended() && !another_run {
            true => MainProcess::Ended,
            false => MainProcess::Runs { pid: details.pid },
        };
        let mut known = self.state.leave();
        if another_run {
            // What was known of the end was the end of an earlier run.
            self.news = ContainerNews::default();
            if let Some(run) = &mut known.run {
                run.stop = None;
            }
        }
        let mut run = self.begin_run(known);
        run.started_at = details.started_at.or(run.started_at);
        run.bindings = details.bindings;
        if health_check {
            run.health = Some(details.health.unwrap_or_default());
        }
        self.state = ContainerState::Running { id: details.id, run, process, left_network: false };
    }

    fn not_found(&mut self, now: Timestamp) -> NextStep {
        self.missing += 1;
        // Its exit was seen: the 404 adds nothing that a second one could change.
        if self.missing < MISSING_TO_BELIEVE && self.news.exit.is_none() {
            self.doubt = true;
            return NextStep::After(MISSING_RETRY);
        }
        let verdict = self.verdict.take();
        self.doubt = false;
        self.missing = 0;
        if let ContainerState::Stopped { id, ending } = &mut self.state {
            let (id, ending) = (id.take(), ending.clone());
            self.state = ContainerState::Removed { id, ending };
            return NextStep::Now;
        }
        let mut known = self.state.leave();
        if known.run.is_some() || (self.news.exit.is_some() && verdict.is_none()) {
            // An exit is the end of something that ran, also if its start was never answered.
            let (exit_code, at) = self.news.exit.unwrap_or((None, now));
            if self.news.exit.is_none() {
                let end = known.end.get_or_insert_default();
                end.reason.get_or_insert_with(|| REMOVED_OUTSIDE.to_owned());
            }
            self.conclude_end(LastKnown { id: None, ..known }, exit_code, at);
        } else if let Some(reason) = verdict {
            self.state = known.give_up(reason);
        } else {
            self.state = ContainerState::Absent { listed: None };
        }
        NextStep::Now
    }
}

/// ECS's reason, with the image if the error does not name it, and the attempts if there were more.
fn pull_reason(image: &str, attempts: u32, error: &RuntimeError) -> String {
    let reason = ecs_reason(Aim::Pull, error);
    let names_its_subject =
        matches!(error, RuntimeError::NoLogin { .. } | RuntimeError::NotPrepared { .. });
    let tried = match attempts {
        1 if names_its_subject || reason.contains(image) => return reason,
        1 => format!("image {image}"),
        more => format!("image {image} was tried {more} times"),
    };
    match reason.split_once(": ") {
        Some((name, message)) => shorten(&format!("{name}: {tried}: {message}")),
        None => reason,
    }
}

/// Doubles with each failure.
pub(crate) fn backoff(min: Duration, max: Duration, failures: u32) -> Duration {
    min.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(max)
}
