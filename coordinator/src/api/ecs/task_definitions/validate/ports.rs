//! Port mappings: within one container, and between the containers of one task.

use longshore_common::{
    resources::Transport,
    task_definition::{NetworkMode, PortMapping, TaskSpec, port_range},
};

use super::{Invalid, refuse};

/// Maximum number of `containerPortRange`s of one container (ecs-behaviour 1.3, portMappings).
pub(crate) const PORT_RANGES_MAX: usize = 100;
/// Maximum length of a port's name in characters (the member's documentation).
pub(crate) const PORT_NAME_CHARS_MAX: usize = 64;

pub(super) fn check(spec: &TaskSpec) -> Result<(), Invalid> {
    let mode = spec.network_mode();
    let mut names: Vec<&str> = Vec::new();
    // Ports that only one container of the task can have: the host's, or the shared namespace's.
    let mut exclusive: Vec<(Transport, u16, u16)> = Vec::new();
    for container in &spec.container_definitions {
        let mut own: Vec<(Transport, u16, u16)> = Vec::new();
        let mut published: Vec<(Transport, u16, u16)> = Vec::new();
        let twice = || format!("Container '{}' maps a container port twice", container.name);
        if mode == NetworkMode::None && !container.port_mappings.is_empty() {
            return refuse("Port mappings are not supported when networkMode=none.");
        }
        let ranges =
            container.port_mappings.iter().filter(|p| p.container_port_range.is_some()).count();
        if ranges > PORT_RANGES_MAX {
            return refuse(format!(
                "Container '{}' has {ranges} port ranges, at most {PORT_RANGES_MAX} are allowed.",
                container.name
            ));
        }
        for mapping in &container.port_mappings {
            check_mapping(mode, &container.name, mapping)?;
            if let Some(name) = mapping.name.as_deref() {
                if names.contains(&name) {
                    return refuse(format!("The port mapping name `{name}` is used twice."));
                }
                names.push(name);
            }
            let transport = mapping.protocol.unwrap_or(Transport::Tcp);
            let (first, last) = container_ports(mapping);
            // In bridge mode one container port may be published on several host ports.
            if mode == NetworkMode::Bridge && mapping.container_port_range.is_none() {
                published.push((transport, first, last));
            } else {
                claim(&mut own, (transport, first, last), twice)?;
            }
            let shared = match mode {
                NetworkMode::Bridge => mapping.host_port.filter(|p| *p != 0).map(|p| (p, p)),
                NetworkMode::Host | NetworkMode::Awsvpc => Some((first, last)),
                NetworkMode::None => None,
            };
            if let Some((first, last)) = shared {
                claim(&mut exclusive, (transport, first, last), || {
                    "Two containers of the task cannot have one host port".to_owned()
                })?;
            }
        }
        for single in published {
            claim(&mut own.clone(), single, twice)?;
        }
    }
    Ok(())
}

fn container_ports(mapping: &PortMapping) -> (u16, u16) {
    let port = mapping.container_port.unwrap_or(0);
    mapping.range().unwrap_or((port, port))
}

fn claim(
    taken: &mut Vec<(Transport, u16, u16)>,
    (transport, first, last): (Transport, u16, u16),
    sentence: impl FnOnce() -> String,
) -> Result<(), Invalid> {
    let overlaps = |&(t, f, l): &(Transport, u16, u16)| t == transport && f <= last && first <= l;
    if let Some(&(_, other, _)) = taken.iter().find(|other| overlaps(other)) {
        return refuse(format!("{}: {}/{transport}.", sentence(), first.max(other)));
    }
    taken.push((transport, first, last));
    Ok(())
}

fn check_mapping(mode: NetworkMode, container: &str, mapping: &PortMapping) -> Result<(), Invalid> {
    match (&mapping.container_port_range, mapping.container_port) {
        (Some(_), Some(_)) => {
            return refuse(format!(
                "Container '{container}' gives both containerPort and containerPortRange in one \
                 port mapping; give one of them."
            ));
        }
        (Some(text), None) => check_range(mode, container, mapping, text)?,
        (None, None | Some(0)) => {
            return refuse(format!(
                "Container '{container}' has a port mapping without a containerPort; it must be \
                 between 1 and 65535."
            ));
        }
        (None, Some(port)) => {
            let host_port = mapping.host_port.unwrap_or(0);
            let must_match = match mode {
                NetworkMode::Host => "host",
                NetworkMode::Awsvpc => "awsvpc",
                NetworkMode::Bridge | NetworkMode::None => "",
            };
            if !must_match.is_empty() && host_port != 0 && host_port != port {
                return refuse(format!(
                    "When networkMode={must_match}, the host ports and container ports in port \
                     mappings must match."
                ));
            }
        }
    }
    if let Some(name) = &mapping.name {
        check_name(name)?;
    }
    if mapping.app_protocol.is_some() && mapping.name.is_none() {
        return refuse(format!(
            "Container '{container}' has a port mapping with an appProtocol and no name; Service \
             Connect finds a port by its name."
        ));
    }
    Ok(())
}

fn check_range(
    mode: NetworkMode,
    container: &str,
    mapping: &PortMapping,
    text: &str,
) -> Result<(), Invalid> {
    if !matches!(mode, NetworkMode::Bridge | NetworkMode::Awsvpc) {
        return refuse(
            "containerPortRange is only supported with the bridge and awsvpc network modes.",
        );
    }
    if port_range(text).is_none() {
        return refuse(format!(
            "The containerPortRange `{text}` of container '{container}' must be two ports between \
             1 and 65535, the first the lower one, as in 8000-8010."
        ));
    }
    if mapping.host_port.is_some_and(|port| port != 0) {
        return refuse(format!(
            "Container '{container}' gives a hostPort with a containerPortRange; leave the \
             hostPort out."
        ));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Invalid> {
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if name.is_empty()
        || name.len() > PORT_NAME_CHARS_MAX
        || name.starts_with('-')
        || !name.bytes().all(valid)
    {
        return refuse(format!(
            "The port mapping name `{name}` must be 1 to {PORT_NAME_CHARS_MAX} lower-case letters, \
             numbers, underscores and hyphens, and not begin with a hyphen."
        ));
    }
    Ok(())
}
