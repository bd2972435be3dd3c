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
        desired::{DesiredTask, Role},
        intent::Intent,
        observed::{ContainerState, ObservedTask, PullState},
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

/// Failed stops after which the kill signal is sent directly.
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
    if container.in_flight || container.waiting {
        return None;
    }
    if container.doubt {
        let target = container.id.clone().unwrap_or_else(|| wanted.docker_name.clone());
        return Some(Step::Inspect { target });
    }
    let stopping = observed.stop_cause(desired).is_some();
    match (container.state, container.id.clone()) {
        (ContainerState::Unknown, _) => None,
        (ContainerState::Absent, _) if stopping => None,
        (ContainerState::Absent, _)
            if !(order::may_begin(desired, observed, index)
                || rules.pull_upfront && container.pull == PullState::Needed) =>
        {
            None
        }
        (ContainerState::Absent, _) => {
            let intent = desired.to_launch()?;
            if container.pull == PullState::Needed {
                return Some(match wanted.role {
                    Role::Defined => Step::Pull { source: wanted.source() },
                    Role::Pause => Step::Load { reference: wanted.image.clone() },
                });
            }
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
        (ContainerState::Created, Some(id)) if cleanup_due => Some(Step::Remove { id }),
        (ContainerState::Created, _) if stopping => None,
        (ContainerState::Created, Some(id)) => {
            // It may be left over of a task that ended before it started.
            desired.to_launch().map(|intent| start(intent, id, index, rules))
        }
        (ContainerState::Restarting, Some(id)) if cleanup_due => Some(Step::Remove { id }),
        (ContainerState::Restarting, Some(id)) => {
            desired.to_launch().filter(|_| !stopping).map(|intent| start(intent, id, index, rules))
        }
        // Nothing is left to stop; the engine is about to say how it ended.
        (ContainerState::Running, _) if container.process_ended && desired.stop.is_none() => None,
        (ContainerState::Running, _) if stopping && !order::may_stop(desired, observed, index) => {
            None
        }
        (ContainerState::Running, Some(id)) if stopping => {
            // A pause container takes no signal but the last one.
            let asks = match wanted.role {
                Role::Defined => container.stop_attempts < STOPS_BEFORE_KILL,
                Role::Pause => false,
            };
            let grace = container.grace_left(wanted.stop_grace, now);
            match asks && (!grace.is_zero() || wanted.stop_grace.is_zero()) {
                true => Some(Step::Stop { id, grace }),
                false => Some(Step::Kill { id }),
            }
        }
        (ContainerState::Running, _) => None,
        (ContainerState::Stopped, Some(id)) if container.awaits_last_lines() => {
            Some(Step::LastLines { id })
        }
        (ContainerState::Stopped, Some(id)) if cleanup_due => Some(Step::Remove { id }),
        (
            ContainerState::Stopped
            | ContainerState::Removed
            | ContainerState::Created
            | ContainerState::Restarting,
            _,
        ) => None,
    }
}

fn start(intent: &Intent, id: String, index: usize, rules: &Rules) -> Step {
    let container = intent.definition.spec.container_definitions.get(index);
    let mounts = container.and_then(|container| volumes::mounts(intent, container, rules).ok());
    let of_host = mounts.map(|mounts| mounts.of_host).unwrap_or_default();
    Step::Start { id, group: task_limits::task_group(intent, rules), of_host }
}
