//! What the coordinator wants of one task on this host.
//!
//! Never: anything that was observed. An [`Intent`] is what the ledger keeps; a [`DesiredTask`]
//! adds what planning would otherwise derive at every step.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use longshore_common::{protocol::NetworkBinding, task::StopCause, task_definition::RestartPolicy};

use crate::{
    runtime::ImageSource,
    task::{intent::Intent, key::TaskKey},
};

/// Seconds that a container must have run before its restart policy applies, by default
/// (ecs-behaviour 1.3, restartPolicy).
const RESTART_ATTEMPT_PERIOD_S: u32 = 300;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DesiredTask {
    pub(crate) key: TaskKey,
    pub(crate) cluster: String,
    pub(crate) task_arn: String,
    pub(crate) family: String,
    pub(crate) revision: u32,
    /// Absent for a task that only its containers' labels tell of: nothing is ever started for it.
    pub(crate) intent: Option<Arc<Intent>>,
    /// Whether the intent may be launched. Not while the ledger alone tells of it: an older copy
    /// of the file may have been put back, and the task be long over.
    pub(crate) confirmed: bool,
    pub(crate) containers: Vec<DesiredContainer>,
    /// Names of the engine's volumes that are removed with the task.
    pub(crate) volumes: Vec<String>,
    /// Name of the control group around its containers, if they have one.
    pub(crate) group: Option<String>,
    /// The directory of its files on the host, if it has any; removed with it.
    pub(crate) files: Option<PathBuf>,
    /// The helper may have mounted something of the host for it, to be released with it.
    pub(crate) mounts: bool,
    /// Ordered by the coordinator.
    pub(crate) stop: Option<StopCause>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DesiredContainer {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) docker_name: String,
    /// What the engine is asked for: the definition's, or the same by its digest.
    pub(crate) image: Arc<str>,
    /// As the definition names it.
    pub(crate) named_image: Arc<str>,
    /// A file with the login for its registry, where the definition names a secret.
    pub(crate) login: Option<Arc<Path>>,
    pub(crate) essential: bool,
    pub(crate) stop_grace: Duration,
    /// The task definition gives a health check; one of the image does not count.
    pub(crate) health_check: bool,
    /// What must be so before this one is pulled and made.
    pub(crate) depends_on: Vec<Dependency>,
    /// From its start, how long those that depend on its end or its health wait.
    pub(crate) start_timeout: Option<Duration>,
    pub(crate) restart: Option<Restart>,
    /// What is bound on the host when the container runs; absent when only the engine can say.
    pub(crate) bindings: Option<Vec<NetworkBinding>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The task definition has it: what everybody but the agent knows of.
    Defined,
    /// See `agent/src/pause.rs`. The last one of its task.
    Pause,
}

/// A container that ends is started again in place (ecs-behaviour 1.7, restart policy).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Restart {
    pub(crate) ignored_exit_codes: Vec<i32>,
    /// Minimum time that the container must have run since its last start.
    pub(crate) after_running: Duration,
}

impl DesiredContainer {
    pub(crate) fn source(&self) -> ImageSource {
        ImageSource { reference: self.image.clone(), login: self.login.clone() }
    }
}

impl Restart {
    pub(crate) fn of(policy: &RestartPolicy) -> Option<Self> {
        let period = policy.restart_attempt_period.unwrap_or(RESTART_ATTEMPT_PERIOD_S);
        policy.enabled.then(|| Restart {
            ignored_exit_codes: policy.ignored_exit_codes.clone(),
            after_running: Duration::from_secs(period.into()),
        })
    }
}

impl DesiredTask {
    /// What containers are made and started by; none while nothing is to be launched.
    pub(crate) fn to_launch(&self) -> Option<&Intent> {
        self.intent.as_deref().filter(|_| self.confirmed)
    }

    /// The index of its pause container, if it has one.
    pub(crate) fn pause(&self) -> Option<usize> {
        self.containers.iter().position(|container| container.role == Role::Pause)
    }
}

/// One container needs something of another before it is pulled and made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// Index of the container that is waited for.
    pub(crate) on: usize,
    pub(crate) condition: Condition,
}

/// ECS's conditions, and what `volumesFrom` asks without saying so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Created,
    Start,
    Complete,
    Success,
    Healthy,
}

impl Condition {
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Condition::Created => "created",
            Condition::Start => "started",
            Condition::Complete => "COMPLETE",
            Condition::Success => "a SUCCESS",
            Condition::Healthy => "HEALTHY",
        }
    }
}
