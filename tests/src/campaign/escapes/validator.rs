//! Judges what is asked of Docker, on its way there: whether a container reaches a path, socket,
//! device, namespace or privilege of the host that its policy keeps from it.
//!
//! It shares no code with the agent, and does not ask how a path was written: it looks at the files
//! that the host has there now, by device and inode. A member that it does not know is an escape.

use std::{
    collections::BTreeSet,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::Result;
use longshore_common::task_policy::{self, TaskPolicy};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat};
use serde_json::Value;

use super::ground::{Ground, Sockets};

/// A directory with more below it than any that tasks may have here.
const FILES_MAX: usize = 20_000;
/// How often a file is looked for below the roots before it counts as an escape.
const LOOKS: usize = 50;

type Identity = (u64, u64);

/// What a mount shows.
#[derive(Default)]
struct Shown {
    files: BTreeSet<Identity>,
    devices: bool,
}

/// What is forbidden, in the agent's words and in the validator's.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) name: &'static str,
    forbid: &'static [&'static str],
    roots: Roots,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Roots {
    Anywhere,
    Nowhere,
    Srv,
}

pub(super) const EVERYTHING: &[&str] = &[
    "privileged",
    "host-network",
    "host-processes",
    "host-ipc",
    "devices",
    "capabilities",
    "docker-socket",
    "unconfined",
    "log-addresses",
];

impl Policy {
    pub(super) fn none() -> Policy {
        Policy { name: "none", forbid: &[], roots: Roots::Anywhere }
    }

    /// Three, and one that forbids nothing.
    pub(super) fn all() -> [Policy; 4] {
        let of = |name, forbid, roots| Policy { name, forbid, roots };
        [
            of("closed", EVERYTHING, Roots::Nowhere),
            of("roots", EVERYTHING, Roots::Srv),
            of(
                "sockets",
                &["docker-socket", "privileged", "devices", "capabilities", "unconfined"],
                Roots::Anywhere,
            ),
            Policy::none(),
        ]
    }

    /// The same, as the agent's settings give it.
    pub(super) fn of_task(&self, ground: &Ground) -> Result<TaskPolicy> {
        let names: Vec<String> = self.forbid.iter().map(|name| (*name).to_owned()).collect();
        let roots = match self.roots {
            Roots::Anywhere => None,
            Roots::Nowhere => Some(Vec::new()),
            Roots::Srv => Some(vec![ground.path("srv")]),
        };
        Ok(TaskPolicy {
            forbidden: task_policy::forbidden(&names)?,
            bind_roots: roots,
            allowed_volumes: BTreeSet::new(),
        })
    }

    pub(super) fn forbids_nothing(&self) -> bool {
        self.forbid.is_empty()
    }

    /// The agent's settings on this ground.
    pub(super) fn agent_arguments(&self, ground: &Ground) -> Vec<String> {
        let mut arguments = vec![format!("--efs={}", ground.file_systems().join(","))];
        arguments.extend(self.arguments(&ground.path("srv")));
        arguments
    }

    fn arguments(&self, srv: &Path) -> Vec<String> {
        let forbid =
            (!self.forbid.is_empty()).then(|| format!("--forbid={}", self.forbid.join(",")));
        let roots = match self.roots {
            Roots::Anywhere => None,
            // No path of any definition is below it.
            Roots::Nowhere => Some("--bind-roots=/nonexistent".to_owned()),
            Roots::Srv => Some(format!("--bind-roots={}", srv.display())),
        };
        forbid.into_iter().chain(roots).collect()
    }

    /// Without a policy the validator asks for the strictest one.
    pub(super) fn for_validation(&self, ground: &Ground) -> Checked {
        let forbid = if self.forbids_nothing() { EVERYTHING } else { self.forbid };
        let roots = match (self.forbids_nothing(), self.roots) {
            (true, _) | (false, Roots::Nowhere) => Some(Vec::new()),
            (false, Roots::Srv) => Some(vec![ground.path("srv")]),
            (false, Roots::Anywhere) => None,
        };
        Checked { forbid, roots, efs: ground.path("efs") }
    }
}

pub(super) struct Checked {
    pub(super) forbid: &'static [&'static str],
    pub(super) roots: Option<Vec<PathBuf>>,
    pub(super) efs: PathBuf,
}

pub(super) struct Validator {
    policy: Checked,
    sockets: BTreeSet<Identity>,
    /// Where the agent keeps files of its own for containers.
    own_files: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    creates: usize,
    escapes: Vec<String>,
}

impl Validator {
    pub(super) fn new(policy: Checked, sockets: Sockets, own_files: PathBuf) -> Result<Validator> {
        let sockets = sockets.iter().map(|socket| Ok(identity(&fs_err::metadata(socket)?)));
        let sockets = sockets.collect::<Result<_>>()?;
        Ok(Validator { policy, sockets, own_files, seen: Mutex::default() })
    }

    pub(super) fn seen(&self) -> (usize, Vec<String>) {
        let seen = self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        (seen.creates, seen.escapes.clone())
    }

    pub(super) fn look(&self, name: &str, body: &Value) {
        let found = self.judge(body);
        let mut seen = self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        seen.creates += 1;
        seen.escapes.extend(found.map(|what| format!("{name}: {what}")));
    }

    fn forbids(&self, what: &str) -> bool {
        self.policy.forbid.contains(&what)
    }

    /// What of the host a create reaches although it may not, if anything.
    pub(super) fn judge(&self, body: &Value) -> Option<String> {
        let host = body["HostConfig"].as_object()?;
        host.iter().find_map(|(member, value)| {
            if says_nothing(value) {
                return None;
            }
            self.by_member(member, value)
        })
    }

    fn by_member(&self, member: &str, value: &Value) -> Option<String> {
        let text = value.as_str().unwrap_or_default();
        let when = |forbidden: bool| forbidden.then(|| format!("{member} {value}"));
        match member {
            "Privileged" => when(self.forbids("privileged")),
            "CapAdd" => when(self.forbids("capabilities")),
            "Devices" | "DeviceRequests" => when(self.forbids("devices")),
            "PidMode" => when(text == "host" && self.forbids("host-processes")),
            "IpcMode" => when(text == "host" && self.forbids("host-ipc")),
            "NetworkMode" => when(text == "host" && self.forbids("host-network")),
            "SecurityOpt" => when(takes_confinement(value) && self.forbids("unconfined")),
            "LogConfig" => when(connects(value) && self.forbids("log-addresses")),
            "VolumesFrom" => items(value).find_map(|from| {
                let own = from.as_str().is_some_and(|name| name.starts_with("ecs-"));
                (!own).then(|| format!("{member} {from}"))
            }),
            "Binds" => items(value).find_map(|bind| self.bind(bind.as_str().unwrap_or_default())),
            "Mounts" => items(value).find_map(|mount| self.mount(mount)),
            "Sysctls" => {
                when(value.as_object().into_iter().flatten().any(|(name, _)| !is_namespaced(name)))
            }
            "CgroupParent" => when(!text.contains("longshore_")),
            "CpuShares" | "CpuPeriod" | "CpuQuota" | "Memory" | "MemoryReservation"
            | "MemorySwap" | "MemorySwappiness" | "PortBindings" | "Links" | "Dns"
            | "DnsSearch" | "ExtraHosts" | "CapDrop" | "Init" | "ShmSize" | "Tmpfs" | "Ulimits"
            | "ReadonlyRootfs" => None,
            _ => Some(format!("the unknown member {member} {value}")),
        }
    }

    /// The agent's own files come so.
    fn bind(&self, bind: &str) -> Option<String> {
        let source = Path::new(bind.split(':').next().unwrap_or_default());
        let own = source.canonicalize().is_ok_and(|path| path.starts_with(&self.own_files));
        if own { None } else { self.source(source) }
    }

    fn mount(&self, mount: &Value) -> Option<String> {
        match mount["Type"].as_str().unwrap_or_default() {
            "bind" => self.source(Path::new(mount["Source"].as_str().unwrap_or_default())),
            "volume" => {
                let driver = &mount["VolumeOptions"]["DriverConfig"];
                let named = driver["Name"].as_str().is_some_and(|name| name != "local");
                let options = driver["Options"].as_object();
                let of = |name: &str| driver["Options"][name].as_str().unwrap_or_default();
                let flags = of("o").split(',').any(|word| word.ends_with("bind"));
                let tmpfs = of("type") == "tmpfs" && !flags;
                let plain = options.is_none_or(|options| options.is_empty()) || tmpfs;
                (named || !plain).then(|| format!("a volume of {driver}"))
            }
            other => Some(format!("a mount of type {other}")),
        }
    }

    /// What is bound, as the host resolves it now.
    fn source(&self, source: &Path) -> Option<String> {
        let Ok(found) = std::fs::metadata(source) else {
            return Some(format!("{} is not there: Docker decides", source.display()));
        };
        let shown = everything_below(source);
        let Some(shown) = shown else {
            return Some(format!("{} shows a great part of the host", source.display()));
        };
        if shown.devices && self.forbids("devices") {
            return Some(format!("{} shows a device", source.display()));
        }
        let shows_socket = shown.files.iter().any(|identity| self.sockets.contains(identity));
        if shows_socket && self.forbids("docker-socket") {
            return Some(format!("{} shows an engine's socket", source.display()));
        }
        let roots = self.policy.roots.as_ref()?;
        // A name that is exchanged meanwhile may be missed by one look.
        let mut looks = 0..LOOKS;
        let allowed = looks.any(|_| {
            roots.iter().chain([&self.policy.efs]).any(|root| {
                everything_below(root).is_some_and(|below| below.files.contains(&identity(&found)))
            })
        });
        (!allowed).then(|| format!("{} is no file that may be mounted", source.display()))
    }
}

fn identity(found: &std::fs::Metadata) -> Identity {
    (found.dev(), found.ino())
}

/// The files below a path by identity, none by way of a link; none at all if there are too many to
/// be a task's.
fn everything_below(path: &Path) -> Option<Shown> {
    let named = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let first = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut found = Shown::default();
    let mut files = vec![first];
    while let Some(file) = files.pop() {
        // What is looked into is the file that was identified, whatever its name means by now.
        let about = fstat(&file).ok()?;
        found.files.insert((about.st_dev, about.st_ino));
        if found.files.len() > FILES_MAX {
            return None;
        }
        let kind = FileType::from_raw_mode(about.st_mode);
        found.devices |= matches!(kind, FileType::BlockDevice | FileType::CharacterDevice);
        let read = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(folder) = openat(&file, ".", read, Mode::empty()) else { continue };
        let Ok(entries) = Dir::read_from(&folder) else { continue };
        for entry in entries.flatten() {
            if entry.file_name() != c"." && entry.file_name() != c".." {
                files.extend(openat(&folder, entry.file_name(), named, Mode::empty()).ok());
            }
        }
    }
    Some(found)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

fn takes_confinement(options: &Value) -> bool {
    let taking = ["unconfined", "disable", "spc_t"];
    items(options)
        .filter_map(Value::as_str)
        .any(|option| taking.iter().any(|word| option.ends_with(word)))
}

fn connects(log: &Value) -> bool {
    let options = log["Config"].as_object();
    let mut names = options.into_iter().flatten().map(|(name, value)| (name.as_str(), value));
    let of_router = |name: &str, value: &Value| {
        name == "fluentd-address" && value.as_str().is_some_and(|v| v.ends_with("/fluent.sock"))
    };
    let reaches = |name: &str| {
        ["address", "url", "capath", "ca-cert", "tls-cert", "tls-key"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    let driver = log["Type"].as_str().unwrap_or_default();
    match driver {
        "json-file" | "local" | "none" | "journald" | "" => false,
        "syslog" => names.any(|(name, _)| reaches(name)),
        "fluentd" => !names.any(|(name, value)| of_router(name, value)),
        _ => true,
    }
}

/// Settings that a container has for itself.
fn is_namespaced(name: &str) -> bool {
    let begins = ["net.", "kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];
    begins.iter().any(|begin| name.starts_with(begin))
}
