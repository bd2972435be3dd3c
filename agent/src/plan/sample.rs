//! A task to plan for, in the tests of what is pure here.

use std::{sync::Arc, time::Duration};

use longshore_common::{
    clock::Timestamp,
    id::{FleetId, HostId, TaskId},
    protocol::{Epoch, RunOrder},
    task::TaskOverride,
    task_definition::{ContainerDefinition, TaskDefinition, TaskSpec},
    task_policy::TaskPolicy,
};

use super::{
    Intent, PullPolicy, Rules, TaskKey, efs::FileSystems,
    repository_credentials::RepositoryCredentials, task_limits::LimitRules,
};

pub(crate) const KEY: TaskKey = TaskKey { task: TaskId::new(0x7a5c), generation: 1 };

pub(crate) fn rules() -> Rules {
    Rules {
        fleet: FleetId::new(0xf1ee7),
        host: HostId::new(0x4057),
        region: "us-east-1".to_owned(),
        stop_timeout: Duration::from_secs(30),
        pull: PullPolicy::default(),
        pull_upfront: false,
        gpu_runtime: None,
        dynamic_ports: None,
        limits: LimitRules::default(),
        policy: TaskPolicy::default(),
        efs: FileSystems::default(),
        repository_credentials: RepositoryCredentials::default(),
        task_files: "/data/tasks".into(),
        metadata_files: None,
        has_objects: true,
        endpoints: None,
    }
}

pub(crate) fn container(name: &str) -> ContainerDefinition {
    ContainerDefinition {
        name: name.to_owned(),
        image: Some("web:1".to_owned()),
        ..ContainerDefinition::default()
    }
}

/// An order to run these containers.
pub(crate) fn intent(names: &[&str]) -> Arc<Intent> {
    intent_of(names.iter().map(|name| container(name)).collect())
}

pub(crate) fn intent_of(container_definitions: Vec<ContainerDefinition>) -> Arc<Intent> {
    let spec = TaskSpec { container_definitions, ..TaskSpec::default() };
    Arc::new(Intent {
        key: KEY,
        epoch: Epoch { counter: 1, incarnation: 7 },
        definition: Arc::new(TaskDefinition { family: "web".to_owned(), revision: 3, spec }),
        order: RunOrder {
            definition: 0,
            cluster: "default".to_owned(),
            task_arn: "arn:aws:ecs:us-east-1:000000000000:task/default/7a5c".to_owned(),
            overrides: TaskOverride::default(),
            group: "family:web".to_owned(),
            started_by: None,
            created_at: Timestamp(1),
            container_ids: Vec::new(),
            gpus: Vec::new(),
            image_digests: Vec::new(),
            log_driver_mode: None,
        },
    })
}
