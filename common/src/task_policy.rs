//! What an operator lets no task do, whatever its definition says.
//!
//! One type for the coordinator, which refuses at registration and at every run, the agent, which
//! refuses on its own host, and the helper that makes its mounts, which looks at the file itself.
//! Owns every member of a definition that leads to a path, a device, a namespace or a privilege of
//! the host. Pure: paths are compared as they are written here; the helper resolves them.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use crate::task_definition::{
    ContainerDefinition, DockerVolumeConfiguration, IpcMode, NetworkMode, PidMode, TaskSpec, Volume,
};

use self::volumes::{Kind, kind};

mod log_drivers;
#[cfg(test)]
mod tests;
mod volumes;

/// Sockets that order an engine about, where packages put them.
pub const ENGINE_SOCKETS: [&str; 10] = [
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/containerd/containerd.sock.ttrpc",
    "/run/docker/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
    "/run/buildkit/buildkitd.sock",
    "/run/k3s/containerd/containerd.sock",
];

/// Folders of engines' own sockets, of which the shims' have no fixed name.
pub const ENGINE_FOLDERS: [&str; 4] =
    ["/run/containerd", "/run/docker", "/var/run/containerd", "/var/run/docker"];

/// Where Linux shows the root of every process: all of the host is below.
const PROCESSES: &str = "/proc";

/// Options of `dockerSecurityOptions` that take the engine's confinement away.
const UNCONFINED: [&str; 6] = [
    "apparmor:unconfined",
    "label:disable",
    "label:type:spc_t",
    "label:type:unconfined_t",
    "seccomp:unconfined",
    "systempaths:unconfined",
];

/// Forbids nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskPolicy {
    pub forbidden: BTreeSet<Forbidden>,
    /// Host paths may be mounted from below these only; absent: from anywhere.
    pub bind_roots: Option<Vec<PathBuf>>,
    /// Docker volumes of these kinds may be made although paths or devices are fenced: a type of
    /// file system for the driver `local` (`nfs`), or `driver:NAME`.
    pub allowed_volumes: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Forbidden {
    Privileged,
    HostNetwork,
    HostProcesses,
    HostIpc,
    Devices,
    /// `capabilities.add`.
    Capabilities,
    /// An engine's socket, mounted itself or with a folder that it is in.
    DockerSocket,
    /// Security options that take the engine's confinement away.
    Unconfined,
    /// Options of log drivers that make the engine connect somewhere, or read a file of the host.
    LogAddresses,
}

const NAMES: [(&str, Forbidden); 9] = [
    ("privileged", Forbidden::Privileged),
    ("host-network", Forbidden::HostNetwork),
    ("host-processes", Forbidden::HostProcesses),
    ("host-ipc", Forbidden::HostIpc),
    ("devices", Forbidden::Devices),
    ("capabilities", Forbidden::Capabilities),
    ("docker-socket", Forbidden::DockerSocket),
    ("unconfined", Forbidden::Unconfined),
    ("log-addresses", Forbidden::LogAddresses),
];

/// Why an operator's words are no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPolicy {
    #[error(
        "`{0}` is not known: forbid privileged, host-network, host-processes, host-ipc, devices, \
         capabilities, docker-socket, unconfined or log-addresses"
    )]
    Unknown(String),
    #[error("`{0}` is not an absolute path: write /srv/volumes, for example")]
    NotAbsolute(String),
    #[error(
        "`{0}` is no kind of volume: name a type of file system (nfs, cifs) or a driver \
         (driver:rexray)"
    )]
    NotAKind(String),
}

impl FromStr for Forbidden {
    type Err = NotAPolicy;

    fn from_str(text: &str) -> Result<Self, NotAPolicy> {
        let found = NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, what)| *what).ok_or_else(|| NotAPolicy::Unknown(text.to_owned()))
    }
}

/// As operators write it in either program's settings.
pub fn forbidden(names: &[String]) -> Result<BTreeSet<Forbidden>, NotAPolicy> {
    names.iter().map(|name| name.parse()).collect()
}

/// As [`forbidden`].
pub fn bind_roots(paths: &[String]) -> Result<Vec<PathBuf>, NotAPolicy> {
    let root = |text: &String| match text.starts_with('/') {
        true => Ok(plain(Path::new(text))),
        false => Err(NotAPolicy::NotAbsolute(text.clone())),
    };
    paths.iter().map(root).collect()
}

/// As [`forbidden`]: what makes a volume a host path again has a setting of its own.
pub fn allowed_volumes(kinds: &[String]) -> Result<BTreeSet<String>, NotAPolicy> {
    let known = |text: &String| match volumes::may_be_allowed(text) {
        true => Ok(text.clone()),
        false => Err(NotAPolicy::NotAKind(text.clone())),
    };
    kinds.iter().map(known).collect()
}

impl TaskPolicy {
    /// What of a definition is forbidden, if anything: the member and how, for the end of a
    /// sentence.
    pub fn refusal(&self, spec: &TaskSpec) -> Option<String> {
        let task = [
            (Forbidden::HostNetwork, spec.network_mode() == NetworkMode::Host, "networkMode host"),
            (Forbidden::HostProcesses, spec.pid_mode == Some(PidMode::Host), "pidMode host"),
            (Forbidden::HostIpc, spec.ipc_mode == Some(IpcMode::Host), "ipcMode host"),
        ];
        if let Some(member) = self.first(&task) {
            return Some(member.to_owned());
        }
        let containers = &spec.container_definitions;
        let in_container = |container: &ContainerDefinition| {
            let member = self.in_container(container)?;
            Some(format!("{member} of container {}", container.name))
        };
        containers.iter().find_map(in_container).or_else(|| self.in_volumes(spec))
    }

    fn first(&self, members: &[(Forbidden, bool, &'static str)]) -> Option<&'static str> {
        let forbidden = members.iter().find(|(what, used, _)| *used && self.forbids(*what));
        forbidden.map(|(_, _, member)| *member)
    }

    pub fn forbids(&self, what: Forbidden) -> bool {
        self.forbidden.contains(&what)
    }

    /// Whether host paths or devices are fenced in, so that no other way may lead to them.
    pub fn fences_host(&self) -> bool {
        self.bind_roots.is_some()
            || self.forbids(Forbidden::DockerSocket)
            || self.forbids(Forbidden::Devices)
    }

    fn in_container(&self, container: &ContainerDefinition) -> Option<String> {
        let linux = container.linux_parameters.as_ref();
        let devices = linux.is_some_and(|linux| !linux.devices.is_empty());
        let added = linux.and_then(|linux| linux.capabilities.as_ref());
        let added = added.is_some_and(|capabilities| !capabilities.add.is_empty());
        let privileged = container.privileged == Some(true);
        let member = self.first(&[
            (Forbidden::Privileged, privileged, "privileged"),
            (Forbidden::Devices, devices, "linuxParameters.devices"),
            (Forbidden::Capabilities, added, "linuxParameters.capabilities.add"),
            // It has all devices and all capabilities.
            (Forbidden::Devices, privileged, "privileged (it has all devices)"),
            (Forbidden::Capabilities, privileged, "privileged (it has all capabilities)"),
            (Forbidden::Unconfined, privileged, "privileged (nothing confines it)"),
        ]);
        if let Some(member) = member {
            return Some(member.to_owned());
        }
        let mut options = container.docker_security_options.iter();
        let unconfined = options.find(|option| UNCONFINED.contains(&option.as_str()));
        if let Some(option) = unconfined.filter(|_| self.forbids(Forbidden::Unconfined)) {
            return Some(format!("the dockerSecurityOptions entry `{option}`"));
        }
        let log = container.log_configuration.as_ref()?;
        let reaches = log_drivers::reaches(log)?;
        self.forbids(Forbidden::LogAddresses).then(|| format!("logConfiguration with {reaches}"))
    }

    fn in_volumes(&self, spec: &TaskSpec) -> Option<String> {
        spec.volumes.iter().find_map(|volume| self.in_volume(volume))
    }

    fn in_volume(&self, volume: &Volume) -> Option<String> {
        if let Some(path) = volume.host.as_ref().and_then(|host| host.source_path.as_deref()) {
            let why = self.path_refusal(path)?;
            return Some(format!("host.sourcePath {path} ({why})"));
        }
        let config = volume.docker_volume_configuration.as_ref()?;
        if !self.fences_host() {
            return None;
        }
        let member = format!("dockerVolumeConfiguration of volume {}", volume.name);
        match kind(config) {
            Kind::Plain => None,
            Kind::Bind(path) => {
                self.path_refusal(path).map(|why| format!("{member} with o=bind of {path} ({why})"))
            }
            Kind::Named(name) if self.allowed_volumes.contains(&name) => None,
            Kind::Named(name) => Some(format!(
                "{member} of the kind {name} (the setting allow_volumes does not name it)"
            )),
            Kind::Unknown(why) => Some(format!("{member} with {why}")),
        }
    }

    /// Why no path of the host that is written so may be mounted.
    fn path_refusal(&self, path: &str) -> Option<String> {
        let plain = plain(Path::new(path));
        let shows = |socket: &&str| Path::new(socket).starts_with(&plain);
        let below = |folder: &&str| plain.starts_with(folder);
        if plain.starts_with(PROCESSES)
            && (self.forbids(Forbidden::DockerSocket) || self.forbids(Forbidden::Devices))
        {
            return Some("every process's root is there, with sockets and devices".to_owned());
        }
        if self.forbids(Forbidden::DockerSocket)
            && (ENGINE_SOCKETS.iter().any(shows) || ENGINE_FOLDERS.iter().any(below))
        {
            return Some("a container engine's socket is there".to_owned());
        }
        let roots = self.bind_roots.as_ref()?;
        let below = roots.iter().any(|root| plain.starts_with(root));
        (!below).then(|| not_below(roots))
    }
}

/// The path of the host that a volume of Docker's driver `local` would bind, if it would.
pub fn bound_path(config: &DockerVolumeConfiguration) -> Option<&str> {
    match kind(config) {
        Kind::Bind(path) => Some(path),
        Kind::Plain | Kind::Named(_) | Kind::Unknown(_) => None,
    }
}

/// Why a path is refused that is below none of these.
pub fn not_below(roots: &[PathBuf]) -> String {
    let shown: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
    match shown.is_empty() {
        true => "no host path may be mounted".to_owned(),
        false => format!("it is not below {}", shown.join(" or ")),
    }
}

/// Without `.` and `..`, of which the latter never leads above the root.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => drop(plain.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain
}
