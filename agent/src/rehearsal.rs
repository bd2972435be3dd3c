//! What this agent would ask of its container engine for a task definition, up to the call itself.
//!
//! For whoever wants to judge that without running anything: it takes the agent's own way from the
//! policy to the body of the create, and opens what the task would mount. Nothing is mounted; of a
//! path that is not there, its directories are made as for a task.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use longshore_common::{
    clock::Timestamp,
    id::{FleetId, HostId, TaskId},
    protocol::{Epoch, RunOrder},
    task::TaskOverride,
    task_definition::TaskDefinition,
    task_policy::TaskPolicy,
};
use serde_json::Value;

use crate::{
    engine::plan::{container_config, refusal},
    mounts::{Helper, HelperError, MountRules},
    preparation::needs::HostMount,
    runtime::{Bind, BindSource, docker},
    settings::{FileSystems, LimitRules, PullPolicy, RepositoryCredentials},
    task::{intent::Intent, key::TaskKey, rules::Rules},
};

const STOP_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Rehearsal {
    rules: Rules,
    helper: Helper,
}

/// What became of a definition.
#[derive(Clone, Debug, PartialEq)]
pub enum Rehearsed {
    /// No container of it is made: why.
    Refused(String),
    /// The bodies of the creates, as Docker's API has them.
    Asked(Vec<Value>),
}

impl Rehearsal {
    /// An agent with these settings, whose helper keeps its files in `folder`.
    pub fn new(
        folder: &Path,
        policy: TaskPolicy,
        efs: &[String],
        engine_sockets: Vec<PathBuf>,
    ) -> Result<Self, RehearsalError> {
        let efs = FileSystems::read(efs).map_err(RehearsalError::Efs)?;
        let mount_rules = MountRules {
            policy: policy.clone(),
            file_systems: efs.clone(),
            engine_sockets,
            own_folders: Vec::new(),
        };
        let rules = Rules {
            fleet: FleetId::new(1),
            host: HostId::new(1),
            region: "us-east-1".to_owned(),
            stop_timeout: STOP_TIMEOUT,
            pull: PullPolicy::default(),
            pull_upfront: false,
            dynamic_ports: None,
            limits: LimitRules::default(),
            policy,
            efs,
            repository_credentials: RepositoryCredentials::default(),
            task_files: folder.join("tasks"),
            metadata_files: None,
            has_objects: true,
            endpoints: None,
            gpu_runtime: None,
        };
        Ok(Rehearsal { rules, helper: Helper::new(&folder.join("volumes"), mount_rules)? })
    }

    pub fn of(&self, definition: TaskDefinition) -> Rehearsed {
        let containers = definition.spec.container_definitions.len();
        let intent = intent(definition);
        if let Some(why) = refusal::refusal(&intent, &self.rules) {
            return Rehearsed::Refused(why);
        }
        let bodies = (0..containers).map(|index| self.body(&intent, index));
        match bodies.collect::<Result<_, String>>() {
            Ok(bodies) => Rehearsed::Asked(bodies),
            Err(why) => Rehearsed::Refused(why),
        }
    }

    fn body(&self, intent: &Intent, index: usize) -> Result<Value, String> {
        let mut config = container_config::container_config(intent, index, &self.rules)?;
        let needs = container_config::needs(intent, index, &self.rules)?;
        for HostMount { request, target, read_only } in needs.of_host {
            let path = self.helper.path_of(&request.source)?;
            config.binds.push(Bind {
                source: path.display().to_string(),
                target,
                read_only,
                from: BindSource::Helper,
            });
        }
        serde_json::to_value(docker::create_body_of(&config)).map_err(|error| error.to_string())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    #[error("{0}")]
    Efs(String),
    #[error("the helper's folder cannot be used")]
    Folder(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<HelperError> for RehearsalError {
    fn from(error: HelperError) -> Self {
        RehearsalError::Folder(Box::new(error))
    }
}

fn intent(definition: TaskDefinition) -> Intent {
    let key = TaskKey { task: TaskId::new(1), generation: 1 };
    Intent {
        key,
        epoch: Epoch { counter: 1, incarnation: 1 },
        order: RunOrder {
            definition: 0,
            cluster: "default".to_owned(),
            task_arn: format!("arn:aws:ecs:us-east-1:000000000000:task/default/{}", key.task),
            overrides: TaskOverride::default(),
            group: format!("family:{}", definition.family),
            started_by: None,
            created_at: Timestamp(1),
            container_ids: Vec::new(),
            gpus: Vec::new(),
            image_digests: Vec::new(),
            log_driver_mode: None,
        },
        definition: Arc::new(definition),
    }
}
