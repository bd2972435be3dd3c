//! What a Docker volume really is, by its driver and options.
//!
//! Docker's driver `local` hands `type`, `o` and `device` to mount(2): with other words it mounts
//! any path or device of the host. Known is what is listed here; all else has to be allowed by name.

use std::path::Path;

use crate::task_definition::DockerVolumeConfiguration;

const LOCAL: &str = "local";
/// All that the driver `local` takes.
const OPTIONS: [&str; 4] = ["type", "o", "device", "size"];
const TMPFS: &str = "tmpfs";
/// What a tmpfs may be told, before the `=`.
const TMPFS_OPTIONS: [&str; 16] = [
    "size",
    "mode",
    "uid",
    "gid",
    "nr_inodes",
    "nr_blocks",
    "ro",
    "rw",
    "nosuid",
    "suid",
    "nodev",
    "noexec",
    "exec",
    "noatime",
    "nodiratime",
    "relatime",
];
/// Words for which mount(2) does something else than to mount the type that is named.
const OTHER_CALLS: [&str; 13] = [
    "bind",
    "rbind",
    "remount",
    "move",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "private",
    "rprivate",
    "unbindable",
    "runbindable",
    "mand",
];
/// What a bind may be told besides.
const BIND_OPTIONS: [&str; 9] =
    ["bind", "rbind", "ro", "rw", "nosuid", "nodev", "noexec", "private", "rprivate"];
/// Types that no setting allows: they show the kernel, its devices or other mounts.
const NEVER: [&str; 14] = [
    "none",
    "bind",
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "cgroup",
    "cgroup2",
    "debugfs",
    "tracefs",
    "securityfs",
    "configfs",
    "mqueue",
    "overlay",
];
const DRIVER: &str = "driver:";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// Docker keeps it in its own data, or it is in memory.
    Plain,
    /// This path of the host.
    Bind(&'a str),
    /// As `allow_volumes` names it.
    Named(String),
    /// Says what of it is not understood.
    Unknown(String),
}

pub(super) fn may_be_allowed(kind: &str) -> bool {
    let name = kind.strip_prefix(DRIVER);
    let word = |text: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
        !text.is_empty() && text.chars().all(known)
    };
    match name {
        Some(name) => word(name) && name != LOCAL,
        None => word(kind) && !kind.contains(['/', ':']) && !NEVER.contains(&kind),
    }
}

pub(super) fn kind(config: &DockerVolumeConfiguration) -> Kind<'_> {
    let driver = config.driver.as_deref().unwrap_or(LOCAL);
    if driver != LOCAL {
        return Kind::Named(format!("{DRIVER}{driver}"));
    }
    let options = &config.driver_opts;
    if let Some(name) = options.keys().find(|name| !OPTIONS.contains(&name.as_str())) {
        return Kind::Unknown(format!("the option {name}, which the driver local does not know"));
    }
    let option = |name: &str| options.get(name).map_or("", String::as_str);
    let (of, device) = (option("type"), option("device"));
    let words: Vec<&str> = option("o").split(',').filter(|word| !word.is_empty()).collect();
    if of.is_empty() && device.is_empty() && words.is_empty() {
        return Kind::Plain;
    }
    if words.iter().any(|word| matches!(*word, "bind" | "rbind")) {
        return bind(device, &words);
    }
    if let Some(word) = words.iter().find(|word| OTHER_CALLS.contains(word)) {
        return Kind::Unknown(format!("the mount option {word}"));
    }
    match of {
        TMPFS => tmpfs(&words),
        "" => Kind::Unknown("options and no type".to_owned()),
        never if NEVER.contains(&never) => Kind::Unknown(format!("the type {never}")),
        "nfs4" => Kind::Named("nfs".to_owned()),
        other => Kind::Named(other.to_owned()),
    }
}

fn bind<'a>(device: &'a str, words: &[&str]) -> Kind<'a> {
    if let Some(word) = words.iter().find(|word| !BIND_OPTIONS.contains(word)) {
        return Kind::Unknown(format!("the mount option {word} beside bind"));
    }
    match Path::new(device).is_absolute() {
        true => Kind::Bind(device),
        false => Kind::Unknown(format!("o=bind of `{device}`, which is no absolute path")),
    }
}

fn tmpfs(words: &[&str]) -> Kind<'static> {
    let name = |word: &&str| word.split('=').next().is_some_and(|n| TMPFS_OPTIONS.contains(&n));
    match words.iter().find(|word| !name(word)) {
        Some(word) => Kind::Unknown(format!("the option {word} of a tmpfs")),
        None => Kind::Plain,
    }
}
