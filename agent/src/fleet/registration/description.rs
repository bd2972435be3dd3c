//! How a host describes itself to the coordinator when it registers.
//!
//! Never: a look at the machine. What is not known of a host is left out of its description.

use std::net::SocketAddr;

use longshore_common::{
    protocol::{Attribute, PROTOCOL_VERSION, RegisterRequest, Versions},
    resources::Capacity,
};

use crate::{
    host::{
        address,
        capabilities::{self, Allowed},
        ec2,
        machine::{AGENT_HASH, AGENT_VERSION, Machine},
    },
    runtime::RuntimeVersion,
    settings::Settings,
};

#[cfg(test)]
mod tests;

pub(super) fn registration(
    settings: &Settings,
    machine: &Machine,
    capacity: &Capacity,
    ec2: Option<&ec2::Ec2Instance>,
    docker: Option<&RuntimeVersion>,
    advertise: &str,
    poll_listen: SocketAddr,
) -> RegisterRequest {
    RegisterRequest {
        protocol: PROTOCOL_VERSION,
        cluster: settings.cluster.clone(),
        capacity: capacity.clone(),
        attributes: attributes(settings, machine, ec2, docker),
        tags: settings.tags.clone(),
        versions: Versions {
            agent: AGENT_VERSION.to_owned(),
            agent_hash: AGENT_HASH.to_owned(),
            docker: docker.map(|docker| docker.version.clone()),
        },
        poll_address: address::with_port(advertise, poll_listen.port()),
        advertise: advertise.to_owned(),
        instance_id: settings
            .instance_id
            .clone()
            .or_else(|| ec2.and_then(|instance| instance.id.clone())),
        boot_id: machine.boot_id.clone(),
        // Said by whoever sends it.
        run: None,
    }
}

fn attributes(
    settings: &Settings,
    machine: &Machine,
    ec2: Option<&ec2::Ec2Instance>,
    docker: Option<&RuntimeVersion>,
) -> Vec<Attribute> {
    let found =
        |field: fn(&ec2::Ec2Instance) -> &Option<String>| ec2.and_then(|i| field(i).clone());
    let known = [
        ("ecs.os-type", Some("linux".to_owned())),
        ("ecs.os-family", Some("LINUX".to_owned())),
        ("ecs.cpu-architecture", Some(machine.architecture.clone())),
        (
            "ecs.availability-zone",
            settings.availability_zone.clone().or_else(|| found(|i| &i.availability_zone)),
        ),
        (
            "ecs.instance-type",
            settings
                .instance_type
                .clone()
                .or_else(|| found(|i| &i.instance_type))
                .or_else(|| machine.model.clone()),
        ),
        ("ecs.ami-id", found(|i| &i.image).or_else(|| machine.system.clone())),
    ];
    let mut attributes: Vec<Attribute> = known
        .into_iter()
        .filter(|(_, value)| value.is_some())
        .map(|(name, value)| Attribute { name: name.to_owned(), value })
        .collect();
    attributes.extend(capabilities::attributes(allowed(settings), docker));
    attributes.extend(settings.attributes.iter().cloned());
    attributes.sort_unstable();
    attributes
}

/// What the operator lets tasks use of Docker.
pub(super) fn allowed(settings: &Settings) -> Allowed<'_> {
    Allowed {
        privileged: settings.privileged,
        task_limits: settings.task_limits.cpu_and_memory,
        logging_drivers: settings.logging_drivers.as_deref(),
        objects: settings.objects.is_some(),
        file_systems: !settings.efs.is_empty(),
        logins: !settings.registries.is_empty(),
        secret_logins: !settings.repository_credentials.is_empty(),
    }
}
