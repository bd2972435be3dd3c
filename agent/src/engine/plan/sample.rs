//! A task to plan for, in the tests of what is pure here.

use std::{sync::Arc, time::Duration};

use longshore_common::{
    clock::Timestamp,
    id::{FleetId, HostId, TaskId},
    protocol::{ContainerId, Epoch, RunOrder},
    task::{ContainerOverride, InferenceAcceleratorOverride, TaskOverride},
    task_definition::{
        ContainerDefinition, EnvironmentFile, EnvironmentFileType, EphemeralStorage, KeyValuePair,
        TaskDefinition, TaskSpec,
    },
    task_policy::TaskPolicy,
};

use crate::{
    settings::{FileSystems, LimitRules, PullPolicy, RepositoryCredentials},
    task::{intent::Intent, key::TaskKey, rules::Rules},
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

/// An order in which every member is given.
pub(crate) fn every_member() -> Intent {
    let mut intent = (*intent(&[])).clone();
    let definition = Arc::make_mut(&mut intent.definition);
    definition.spec = serde_json::from_str(include_str!("every_member.json")).unwrap();
    let text = |text: &str| text.to_owned();
    let app = &definition.spec.container_definitions[0];
    let environment = KeyValuePair { name: text("A"), value: text("c") };
    let file = EnvironmentFile { value: text("arn:b"), kind: EnvironmentFileType::S3 };
    let overridden = ContainerOverride {
        name: Some(text("app")),
        command: Some(vec![text("serve"), text("--now")]),
        environment: Some(vec![environment]),
        environment_files: Some(vec![file]),
        cpu: Some(1),
        memory: Some(2),
        memory_reservation: Some(3),
        resource_requirements: Some(app.resource_requirements.clone()),
    };
    intent.order.overrides = TaskOverride {
        container_overrides: vec![overridden, ContainerOverride::default()],
        cpu: Some(text("512")),
        inference_accelerator_overrides: vec![InferenceAcceleratorOverride {
            device_name: Some(text("d")),
            device_type: Some(text("t")),
        }],
        execution_role_arn: Some(text("arn:execution")),
        memory: Some(text("1024")),
        task_role_arn: Some(text("arn:task")),
        ephemeral_storage: Some(EphemeralStorage { size_in_gib: 40 }),
    };
    intent.order.started_by = Some(text("ecs-svc/1"));
    intent.order.container_ids = (1..=5).map(|id| ContainerId(TaskId::new(id))).collect();
    intent.order.gpus = vec![text("GPU-1")];
    intent.order.image_digests = vec![Some(text("sha256:00")), None];
    intent
}
