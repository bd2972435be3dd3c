//! What the coordinator wants of one task on this host.
//!
//! Never: anything that was observed. An [`Intent`] is what the ledger keeps; a [`DesiredTask`]
//! adds what planning would otherwise derive at every step.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use longshore_common::{
    id::TaskId,
    protocol::{Epoch, NetworkBinding, RunOrder},
    resources::Transport,
    task::StopCause,
    task_definition::{NetworkMode, RestartPolicy, TaskDefinition},
};
use serde::{Deserialize, Serialize};

use super::labels;
use crate::{
    engine::{
        plan::{
            Rules,
            container_config::{self, image_reference},
            firelens, metadata_file,
            order::{self, Dependency},
            pause, task_limits, volumes,
        },
        task::observed::ObservedTask,
    },
    pause::REFERENCE,
    runtime::ImageSource,
};

/// ecs-behaviour 1.3, restartPolicy.
const RESTART_ATTEMPT_PERIOD_S: u32 = 300;

/// One task, as often as it was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct TaskKey {
    pub(crate) task: TaskId,
    pub(crate) generation: u32,
}

/// An order to run a task, whole, as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) key: TaskKey,
    pub(crate) epoch: Epoch,
    pub(crate) definition: Arc<TaskDefinition>,
    pub(crate) order: RunOrder,
}

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
    /// See [`pause`]. The last one of its task.
    Pause,
}

/// A container that ends is started again in place (ecs-behaviour 1.7, restart policy).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Restart {
    pub(crate) ignored_exit_codes: Vec<i32>,
    /// It must have run so long since it was last started.
    pub(crate) after_running: Duration,
}

impl DesiredContainer {
    pub(crate) fn source(&self) -> ImageSource {
        ImageSource { reference: self.image.clone(), login: self.login.clone() }
    }
}

impl Restart {
    fn of(policy: &RestartPolicy) -> Option<Self> {
        let period = policy.restart_attempt_period.unwrap_or(RESTART_ATTEMPT_PERIOD_S);
        policy.enabled.then(|| Restart {
            ignored_exit_codes: policy.ignored_exit_codes.clone(),
            after_running: Duration::from_secs(period.into()),
        })
    }
}

impl DesiredTask {
    pub(crate) fn of(intent: Arc<Intent>, rules: &Rules) -> Self {
        let definition = intent.definition.clone();
        let mode = definition.spec.network_mode();
        let containers = definition
            .spec
            .container_definitions
            .iter()
            .enumerate()
            .map(|(index, container)| DesiredContainer {
                role: Role::Defined,
                name: container.name.clone(),
                docker_name: labels::docker_name(
                    &definition.family,
                    definition.revision,
                    &container.name,
                    intent.key,
                ),
                image: image_reference(&intent, index).unwrap_or_default().into(),
                named_image: container.image.as_deref().unwrap_or_default().into(),
                // Without it the task was refused.
                login: rules.repository_credentials.login(container).ok().flatten(),
                essential: container.is_essential(),
                stop_grace: stop_grace(container.stop_timeout.unwrap_or_default(), rules),
                health_check: container.health_check.is_some(),
                depends_on: order::dependencies(&definition.spec, container),
                start_timeout: container.start_timeout.map(|s| Duration::from_secs(s.into())),
                restart: container.restart_policy.as_ref().and_then(Restart::of),
                bindings: bindings_known_beforehand(
                    mode,
                    &container_config::published_ports(container, mode),
                    container,
                ),
            })
            .chain(pause::is_needed(&definition.spec).then(|| DesiredContainer::pause(&intent)))
            .collect();
        DesiredTask {
            key: intent.key,
            cluster: intent.order.cluster.clone(),
            task_arn: intent.order.task_arn.clone(),
            family: definition.family.clone(),
            revision: definition.revision,
            containers,
            volumes: volumes::of_task(&intent),
            files: files(&intent, rules),
            group: task_limits::task_group(&intent, rules).map(|group| group.name),
            mounts: volumes::may_mount_of_host(&definition.spec),
            intent: Some(intent),
            confirmed: true,
            stop: None,
        }
    }

    /// What containers are made and started by; none while nothing is to be launched.
    pub(crate) fn to_launch(&self) -> Option<&Intent> {
        self.intent.as_deref().filter(|_| self.confirmed)
    }

    /// The index of its pause container, if it has one.
    pub(crate) fn pause(&self) -> Option<usize> {
        self.containers.iter().position(|container| container.role == Role::Pause)
    }

    /// Why this task is to stop, if it is: the first of an order and what happened by itself.
    pub(crate) fn stop_cause<'a>(&'a self, observed: &'a ObservedTask) -> Option<&'a StopCause> {
        observed.own_stop.as_ref().or(self.stop.as_ref())
    }
}

/// As ECS's agent takes `stopTimeout`: 0 is the host's, as when none is given.
pub(crate) fn stop_grace(stop_timeout_s: u32, rules: &Rules) -> Duration {
    match stop_timeout_s {
        0 => rules.stop_timeout,
        seconds => Duration::from_secs(seconds.into()),
    }
}

/// Where files of the task are, if it has any.
fn files(intent: &Intent, rules: &Rules) -> Option<PathBuf> {
    let of_containers = || labels::task_directory(intent.key, rules);
    let directory = metadata_file::are_written(rules).then(of_containers);
    directory.or_else(|| firelens::directory(intent, rules))
}

impl DesiredContainer {
    fn pause(intent: &Intent) -> Self {
        DesiredContainer {
            role: Role::Pause,
            name: pause::NAME.to_owned(),
            docker_name: pause::docker_name(intent),
            image: REFERENCE.as_str().into(),
            named_image: REFERENCE.as_str().into(),
            login: None,
            // Without it the others do not share what they are to share.
            essential: true,
            stop_grace: Duration::ZERO,
            health_check: false,
            depends_on: Vec::new(),
            start_timeout: None,
            restart: None,
            bindings: Some(Vec::new()),
        }
    }
}

fn bindings_known_beforehand(
    mode: NetworkMode,
    published: &[crate::runtime::PublishedPort],
    container: &longshore_common::task_definition::ContainerDefinition,
) -> Option<Vec<NetworkBinding>> {
    let binding = |container_port, host_port, protocol| NetworkBinding {
        bind_ip: "0.0.0.0".to_owned(),
        container_port,
        host_port,
        protocol,
    };
    match mode {
        NetworkMode::Bridge => published
            .iter()
            .map(|port| Some(binding(port.container_port, port.host_port?, port.transport)))
            .collect(),
        NetworkMode::Host => Some(
            container
                .port_mappings
                .iter()
                .filter_map(|mapping| {
                    // A range is refused in this mode.
                    let port = mapping.container_port?;
                    Some(binding(port, port, mapping.protocol.unwrap_or(Transport::Tcp)))
                })
                .collect(),
        ),
        NetworkMode::None | NetworkMode::Awsvpc => Some(Vec::new()),
    }
}
