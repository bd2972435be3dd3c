//! What an order makes of its task: everything that planning would otherwise derive at every step.

use std::{path::PathBuf, sync::Arc, time::Duration};

use longshore_common::{
    protocol::NetworkBinding, resources::Transport, task_definition::NetworkMode,
};

use super::{
    container_config::{self, image_reference},
    dependencies::dependencies,
    firelens, metadata_file, namespaces, task_limits, volumes,
};
use crate::{
    pause::REFERENCE,
    task::{
        desired::{DesiredContainer, DesiredTask, Restart, Role},
        intent::Intent,
        names,
        rules::Rules,
    },
};

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
                docker_name: names::docker_name(
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
                stop_grace: rules.stop_grace(container.stop_timeout.unwrap_or_default()),
                health_check: container.health_check.is_some(),
                depends_on: dependencies(&definition.spec, container),
                start_timeout: container.start_timeout.map(|s| Duration::from_secs(s.into())),
                restart: container.restart_policy.as_ref().and_then(Restart::of),
                bindings: bindings_known_beforehand(
                    mode,
                    &container_config::published_ports(container, mode),
                    container,
                ),
            })
            .chain(
                namespaces::needs_pause(&definition.spec).then(|| DesiredContainer::pause(&intent)),
            )
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
}

impl DesiredContainer {
    fn pause(intent: &Intent) -> Self {
        DesiredContainer {
            role: Role::Pause,
            name: names::PAUSE.to_owned(),
            docker_name: namespaces::pause_name(intent),
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

/// Where files of the task are, if it has any.
fn files(intent: &Intent, rules: &Rules) -> Option<PathBuf> {
    let of_containers = || names::task_directory(intent.key, rules);
    let directory = metadata_file::are_written(rules).then(of_containers);
    directory.or_else(|| firelens::directory(intent, rules))
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
