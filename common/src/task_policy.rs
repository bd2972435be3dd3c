//! What an operator lets no task do, whatever its definition says.
//!
//! One type for the coordinator, which refuses at registration and at every run, and the agent,
//! which has the last word on its own host. Pure: paths are compared as they are written, links are
//! not followed.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use crate::task_definition::{ContainerDefinition, IpcMode, NetworkMode, PidMode, TaskSpec};

/// Where Docker's socket is, by both of its names.
const DOCKER_SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/docker.sock"];

/// Forbids nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskPolicy {
    pub forbidden: BTreeSet<Forbidden>,
    /// Host paths may be mounted from below these only; absent: from anywhere.
    pub bind_roots: Option<Vec<PathBuf>>,
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
    /// Mounted itself, or with a folder that it is in.
    DockerSocket,
}

const NAMES: [(&str, Forbidden); 7] = [
    ("privileged", Forbidden::Privileged),
    ("host-network", Forbidden::HostNetwork),
    ("host-processes", Forbidden::HostProcesses),
    ("host-ipc", Forbidden::HostIpc),
    ("devices", Forbidden::Devices),
    ("capabilities", Forbidden::Capabilities),
    ("docker-socket", Forbidden::DockerSocket),
];

/// Why an operator's words are no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPolicy {
    #[error(
        "`{0}` is not known: forbid privileged, host-network, host-processes, host-ipc, devices, \
         capabilities or docker-socket"
    )]
    Unknown(String),
    #[error("`{0}` is not an absolute path: write /srv/volumes, for example")]
    NotAbsolute(String),
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

    fn forbids(&self, what: Forbidden) -> bool {
        self.forbidden.contains(&what)
    }

    fn in_container(&self, container: &ContainerDefinition) -> Option<&'static str> {
        let linux = container.linux_parameters.as_ref();
        let devices = linux.is_some_and(|linux| !linux.devices.is_empty());
        let added = linux.and_then(|linux| linux.capabilities.as_ref());
        let added = added.is_some_and(|capabilities| !capabilities.add.is_empty());
        let privileged = container.privileged == Some(true);
        self.first(&[
            (Forbidden::Privileged, privileged, "privileged"),
            (Forbidden::Devices, devices, "linuxParameters.devices"),
            (Forbidden::Capabilities, added, "linuxParameters.capabilities.add"),
            // It has all devices and all capabilities.
            (Forbidden::Devices, privileged, "privileged (it has all devices)"),
            (Forbidden::Capabilities, privileged, "privileged (it has all capabilities)"),
        ])
    }

    fn in_volumes(&self, spec: &TaskSpec) -> Option<String> {
        spec.volumes.iter().find_map(|volume| {
            let path = volume.host.as_ref()?.source_path.as_deref()?;
            let plain = plain(Path::new(path));
            let shows = |socket: &&str| Path::new(socket).starts_with(&plain);
            if self.forbids(Forbidden::DockerSocket) && DOCKER_SOCKETS.iter().any(shows) {
                return Some(format!("host.sourcePath {path} (Docker's socket is there)"));
            }
            let roots = self.bind_roots.as_ref()?;
            let below = roots.iter().any(|root| plain.starts_with(root));
            (!below).then(|| {
                let roots: Vec<String> = roots.iter().map(|r| r.display().to_string()).collect();
                let roots = match roots.is_empty() {
                    true => "no host path may be mounted".to_owned(),
                    false => format!("it is not below {}", roots.join(" or ")),
                };
                format!("host.sourcePath {path} ({roots})")
            })
        })
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy(names: &[&str], roots: Option<&[&str]>) -> TaskPolicy {
        let owned = |texts: &[&str]| texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>();
        TaskPolicy {
            forbidden: forbidden(&owned(names)).unwrap(),
            bind_roots: roots.map(|roots| bind_roots(&owned(roots)).unwrap()),
        }
    }

    fn refusal(policy: &TaskPolicy, task: Value, container: Value) -> Option<String> {
        let mut spec = task;
        spec["containerDefinitions"] = json!([container]);
        spec["containerDefinitions"][0]["name"] = json!("app");
        policy.refusal(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn each_thing_is_forbidden_by_its_name_and_only_then() {
        let cases = [
            ("privileged", json!({}), json!({ "privileged": true }), "privileged of container app"),
            ("host-network", json!({ "networkMode": "host" }), json!({}), "networkMode host"),
            ("host-processes", json!({ "pidMode": "host" }), json!({}), "pidMode host"),
            ("host-ipc", json!({ "ipcMode": "host" }), json!({}), "ipcMode host"),
            (
                "devices",
                json!({}),
                json!({ "linuxParameters": { "devices": [{ "hostPath": "/dev/kvm" }] } }),
                "linuxParameters.devices of container app",
            ),
            (
                "devices",
                json!({}),
                json!({ "privileged": true }),
                "privileged (it has all devices) of container app",
            ),
            (
                "capabilities",
                json!({}),
                json!({ "linuxParameters": { "capabilities": { "add": ["SYS_ADMIN"] } } }),
                "linuxParameters.capabilities.add of container app",
            ),
            (
                "docker-socket",
                json!({ "volumes": [{ "name": "v", "host": { "sourcePath": "/var/run/docker.sock" } }] }),
                json!({}),
                "host.sourcePath /var/run/docker.sock (Docker's socket is there)",
            ),
        ];
        let nothing = TaskPolicy::default();
        for (name, task, container, said) in cases {
            let policy = policy(&[name], None);
            let refused = refusal(&policy, task.clone(), container.clone());
            assert_eq!(refused.as_deref(), Some(said));
            assert_eq!(refusal(&nothing, task, container), None, "{said}");
            assert_eq!(refusal(&policy, json!({}), json!({})), None, "{said}");
        }
    }

    #[test]
    fn a_folder_that_shows_dockers_socket_is_as_good_as_it() {
        let policy = policy(&["docker-socket"], None);
        let mounts = |path: &str| {
            let volumes = json!([{ "name": "v", "host": { "sourcePath": path } }]);
            refusal(&policy, json!({ "volumes": volumes }), json!({})).is_some()
        };
        let shown = ["/", "/run", "/var", "/var/run/", "/run/docker.sock", "/srv/../run", "/./var"];
        assert!(shown.into_iter().all(mounts));
        let hidden = ["/srv", "/var/lib", "/run/user", "/var/run/docker.sock.old"];
        assert!(!hidden.into_iter().any(mounts));
    }

    #[test]
    fn host_paths_are_mounted_from_below_the_listed_roots_only() {
        let said = |roots: &[&str], path: &str| {
            let volumes = json!([{ "name": "v", "host": { "sourcePath": path } }]);
            refusal(&policy(&[], Some(roots)), json!({ "volumes": volumes }), json!({}))
        };
        for path in ["/srv", "/srv/a", "/srv/a/../b", "/data/x"] {
            assert_eq!(said(&["/srv", "/data/"], path), None, "{path}");
        }
        for path in ["/", "/srvs", "/srv/../etc", "/var"] {
            let refused = said(&["/srv", "/data"], path).unwrap();
            assert!(refused.ends_with("(it is not below /srv or /data)"), "{refused}");
        }
        let none = said(&[], "/srv").unwrap();
        assert!(none.ends_with("(no host path may be mounted)"), "{none}");
        let volumes = json!([{ "name": "v" }]);
        let kept = refusal(&policy(&[], Some(&[])), json!({ "volumes": volumes }), json!({}));
        assert_eq!(kept, None, "a volume of Docker's is no host path");
    }
}
