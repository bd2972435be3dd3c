//! What to do next: pure functions from what is desired and what was observed to one Docker call.
//!
//! Owns the order of a task's steps and what a container is made with. Never: a call, a clock, a
//! state of its own. One step at a time per container: plan, do it, record, plan again, so that a
//! restarted agent plans as one that never stopped.

use std::{sync::Arc, time::Duration};

use longshore_common::clock::Timestamp;

use crate::{
    preparation::needs::{HostMount, Needs},
    runtime::{ContainerConfig, ImageSource, TaskGroup},
    task::{
        desired::{DesiredContainer, DesiredTask, Role},
        observed::{Activity, Call, ContainerState, MainProcess, ObservedTask, Run},
        order,
        rules::Rules,
    },
};

mod derivation;
mod dependencies;
pub(crate) mod labels;
pub(crate) mod namespaces;
pub(crate) mod awslogs;
pub(crate) mod container_config;
pub(crate) mod efs;
pub(crate) mod firelens;
pub(crate) mod pause;
pub(crate) mod metadata_file;
pub(crate) mod volumes;
pub(crate) mod refusal;
pub(crate) mod task_limits;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

/// Number of failed stops after which the kill signal is sent.
const STOPS_BEFORE_KILL: u32 = 2;

/// One call to the container engine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Pull {
        source: ImageSource,
    },
    /// The image that the agent makes itself.
    Load {
        reference: Arc<str>,
    },
    Create {
        name: String,
        config: Box<ContainerConfig>,
        needs: Box<Needs>,
    },
    Start {
        id: String,
        group: Option<TaskGroup>,
        /// What it mounts of the host.
        of_host: Vec<HostMount>,
    },
    /// By id, or by name while no id is known.
    Inspect {
        target: String,
    },
    Stop {
        id: String,
        grace: Duration,
    },
    Kill {
        id: String,
    },
    Remove {
        id: String,
    },
    LastLines {
        id: String,
    },
}

impl Step {
    pub(crate) fn call(&self) -> Call {
        match self {
            Step::Pull { .. } => Call::Pull { amount: None },
            Step::Start { .. } => Call::Start,
            Step::Inspect { .. } => Call::Inspect,
            Step::Load { .. }
            | Step::Create { .. }
            | Step::Stop { .. }
            | Step::Kill { .. }
            | Step::Remove { .. }
            | Step::LastLines { .. } => Call::Other,
        }
    }
}

/// What one container needs now; nothing while it is as desired, or while a call is under way.
pub(crate) fn next_step(
    desired: &DesiredTask,
    observed: &ObservedTask,
    index: usize,
    rules: &Rules,
    cleanup_due: bool,
    now: Timestamp,
) -> Option<Step> {
    let (wanted, container) = (&desired.containers[index], &observed.containers[index]);
    match container.activity {
        Activity::Calling(_) | Activity::Waiting => return None,
        Activity::Idle => {}
    }
    let inspect = || {
        let target = container.id().unwrap_or(&wanted.docker_name).to_owned();
        Some(Step::Inspect { target })
    };
    if container.doubt {
        return inspect();
    }
    let stopping = observed.stop_cause(desired).is_some();
    match &container.state {
        ContainerState::Unknown(_) => None,
        ContainerState::Absent { .. } if stopping => None,
        ContainerState::Absent { .. } => {
            let begins = order::may_begin(desired, observed, index);
            match container.pull.is_needed() {
                true if begins || rules.pull_upfront => pull(desired, wanted),
                false if begins => create(desired, index, rules),
                true | false => None,
            }
        }
        ContainerState::Created { id } if cleanup_due => Some(Step::Remove { id: id.clone() }),
        ContainerState::Created { .. } if stopping => None,
        // It may be left over of a task that ended before it started.
        ContainerState::Created { id } => start(desired, id, index, rules),
        ContainerState::Started { .. } => inspect(),
        ContainerState::Restarting { id, .. } if cleanup_due => {
            Some(Step::Remove { id: id.clone() })
        }
        ContainerState::Restarting { .. } if stopping => None,
        ContainerState::Restarting { id, .. } => start(desired, id, index, rules),
        // Nothing is left to stop; the engine is about to say how it ended.
        ContainerState::Running { process: MainProcess::Ended, .. } if desired.stop.is_none() => {
            None
        }
        ContainerState::Running { id, run, .. } => {
            let due = stopping && order::may_stop(desired, observed, index);
            due.then(|| stop(wanted, id.clone(), run, now))
        }
        ContainerState::Stopped { id: Some(id), .. } if container.awaits_last_lines(wanted) => {
            Some(Step::LastLines { id: id.clone() })
        }
        ContainerState::Stopped { id: Some(id), .. } if cleanup_due => {
            Some(Step::Remove { id: id.clone() })
        }
        ContainerState::Stopped { .. } | ContainerState::Removed { .. } => None,
    }
}

fn pull(desired: &DesiredTask, wanted: &DesiredContainer) -> Option<Step> {
    desired.to_launch()?;
    Some(match wanted.role {
        Role::Defined => Step::Pull { source: wanted.source() },
        Role::Pause => Step::Load { reference: wanted.image.clone() },
    })
}

fn create(desired: &DesiredTask, index: usize, rules: &Rules) -> Option<Step> {
    let (intent, wanted) = (desired.to_launch()?, &desired.containers[index]);
    let (config, needs) = match wanted.role {
        Role::Defined => (
            container_config::container_config(intent, index, rules).ok()?,
            container_config::needs(intent, index, rules).ok()?,
        ),
        Role::Pause => (pause::container_config(intent, rules), Needs::default()),
    };
    Some(Step::Create {
        name: wanted.docker_name.clone(),
        config: Box::new(config),
        needs: Box::new(needs),
    })
}

fn start(desired: &DesiredTask, id: &str, index: usize, rules: &Rules) -> Option<Step> {
    let intent = desired.to_launch()?;
    let container = intent.definition.spec.container_definitions.get(index);
    let mounts = container.and_then(|container| volumes::mounts(intent, container, rules).ok());
    let of_host = mounts.map(|mounts| mounts.of_host).unwrap_or_default();
    Some(Step::Start { id: id.to_owned(), group: task_limits::task_group(intent, rules), of_host })
}

fn stop(wanted: &DesiredContainer, id: String, run: &Run, now: Timestamp) -> Step {
    // A pause container takes no signal but the last one.
    let asks = match wanted.role {
        Role::Defined => run.stop_attempts() < STOPS_BEFORE_KILL,
        Role::Pause => false,
    };
    let grace = run.grace_left(wanted.stop_grace, now);
    match asks && (!grace.is_zero() || wanted.stop_grace.is_zero()) {
        true => Step::Stop { id, grace },
        false => Step::Kill { id },
    }
}
