//! Control groups around the containers of one task: what they may use together.
//!
//! Owns where such a group is, its limits and its removal, for both versions of control groups and
//! both of Docker's drivers. It lies beside Docker's own containers, so that its share of a busy
//! CPU is weighed against theirs. Never: a group that is not named as one of ours.

use std::{
    io::{self, ErrorKind},
    path::PathBuf,
};

use tokio::process::Command;

use crate::runtime::{RuntimeError, TaskGroup, Unknown};

#[cfg(test)]
mod tests;

/// Where systemd and Docker mount control groups.
const ROOT: &str = "/sys/fs/cgroup";
/// Docker's own group, where it was not told otherwise (`--cgroup-parent`).
const DOCKERS: &str = "docker";
/// systemd's period of a CPU quota in microseconds, where no other is given.
const SYSTEMD_PERIOD_US: u64 = 100_000;
const SYSTEMCTL: &str = "systemctl";

/// How the engine keeps control groups (`CgroupVersion` and `CgroupDriver` of Docker's `/info`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ControlGroups {
    root: PathBuf,
    version: CgroupVersion,
    driver: CgroupDriver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CgroupVersion {
    V1,
    V2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CgroupDriver {
    Cgroupfs,
    Systemd,
}

impl ControlGroups {
    pub(super) fn new(version: Option<&str>, driver: Option<&str>) -> Self {
        ControlGroups {
            root: PathBuf::from(ROOT),
            version: if version == Some("2") { CgroupVersion::V2 } else { CgroupVersion::V1 },
            driver: if driver == Some("systemd") {
                CgroupDriver::Systemd
            } else {
                CgroupDriver::Cgroupfs
            },
        }
    }

    /// What Docker calls the group as the parent of a container's.
    pub(super) fn parent(&self, group: &str) -> String {
        match self.driver {
            CgroupDriver::Cgroupfs => format!("/{DOCKERS}/{group}"),
            CgroupDriver::Systemd => slice(group),
        }
    }

    /// Makes the group, or gives the one that is there its limits again: a boot forgets them.
    pub(super) async fn ensure(&self, group: &TaskGroup) -> Result<(), RuntimeError> {
        let done = match self.driver {
            CgroupDriver::Systemd => systemctl(set_property(group)).await,
            CgroupDriver::Cgroupfs => {
                let (groups, group) = (self.clone(), group.clone());
                in_background(move || groups.write(&group)).await
            }
        };
        done.map_err(|error| RuntimeError::Rejected {
            message: format!(
                "the control group {} of the task cannot be made: {error} (the agent's unit must \
                 not have ProtectControlGroups=yes)",
                self.parent(&group.name)
            ),
        })
    }

    /// `Ok` too when there is none.
    pub(super) async fn remove(&self, group: &str) -> Result<(), RuntimeError> {
        let done = match self.driver {
            CgroupDriver::Systemd => match systemctl(stop(group)).await {
                Ok(()) => systemctl(revert(group)).await,
                stays => stays,
            },
            CgroupDriver::Cgroupfs => {
                let (groups, group) = (self.clone(), group.to_owned());
                in_background(move || groups.delete(&group)).await
            }
        };
        done.map_err(|error| {
            let name = self.parent(group);
            Unknown::Engine { message: format!("control group {name} remains: {error}") }.into()
        })
    }

    /// Makes Docker's own group where Docker has not made it yet. The top of a hierarchy may be
    /// written to by nobody but root with all capabilities, which the agent's service is not: all
    /// that it makes later lies below this group.
    fn prepare(&self) -> io::Result<()> {
        let hierarchies: &[&str] = match self.version {
            CgroupVersion::V1 => &["cpu", "memory", "pids"],
            CgroupVersion::V2 => &[""],
        };
        hierarchies.iter().map(|name| self.root.join(name)).try_for_each(|hierarchy| {
            // Where a hierarchy is not mounted, Docker cannot use it either.
            if hierarchy.exists() {
                fs_err::create_dir_all(hierarchy.join(DOCKERS))?;
            }
            Ok(())
        })
    }

    fn write(&self, group: &TaskGroup) -> io::Result<()> {
        for GroupLimits { controller, values } in limits(self.version, group) {
            let dockers = self.root.join(controller).join(DOCKERS);
            let directory = dockers.join(&group.name);
            fs_err::create_dir_all(&directory)?;
            if self.version == CgroupVersion::V2 {
                let passed = match group.processes {
                    Some(_) => "+cpu +memory +pids",
                    None => "+cpu +memory",
                };
                for parent in [&self.root, &dockers] {
                    fs_err::write(parent.join("cgroup.subtree_control"), passed)?;
                }
            }
            for (file, value) in values {
                fs_err::write(directory.join(file), value)?;
            }
        }
        Ok(())
    }

    /// Docker makes the group in every hierarchy, not only in those that limit.
    fn delete(&self, group: &str) -> io::Result<()> {
        let hierarchies: Vec<PathBuf> = match self.version {
            CgroupVersion::V2 => vec![self.root.clone()],
            CgroupVersion::V1 => fs_err::read_dir(&self.root)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<io::Result<_>>()?,
        };
        for hierarchy in hierarchies {
            match fs_err::remove_dir(hierarchy.join(DOCKERS).join(group)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // A file, or a link to a hierarchy that has its own entry.
                Err(error) if error.kind() == ErrorKind::NotADirectory => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What a host's boot has to do once, with all rights, so that the service can limit tasks
/// whatever Docker's driver is or becomes.
pub(crate) fn prepare_control_groups() -> io::Result<()> {
    let unified = PathBuf::from(ROOT).join("cgroup.controllers").exists();
    ControlGroups::new(unified.then_some("2"), None).prepare()
}

/// Files of one hierarchy, and what they are to hold.
#[derive(Debug)]
struct GroupLimits {
    controller: &'static str,
    values: Vec<(&'static str, String)>,
}

/// In the one hierarchy of version 2, or in one for each controller.
fn limits(version: CgroupVersion, group: &TaskGroup) -> Vec<GroupLimits> {
    let quota = group.cpu_quota.map(|quota| (quota.us, quota.period_us));
    match version {
        CgroupVersion::V1 => {
            let mut cpu = vec![("cpu.shares", group.cpu_shares.to_string())];
            if let Some((quota, period)) = quota {
                cpu.push(("cpu.cfs_period_us", period.to_string()));
                cpu.push(("cpu.cfs_quota_us", quota.to_string()));
            }
            let bytes = group.memory_bytes.iter();
            let memory = bytes.map(|bytes| ("memory.limit_in_bytes", bytes.to_string())).collect();
            let mut all = vec![
                GroupLimits { controller: "cpu", values: cpu },
                GroupLimits { controller: "memory", values: memory },
            ];
            all.extend(group.processes.map(|processes| GroupLimits {
                controller: "pids",
                values: vec![("pids.max", processes.to_string())],
            }));
            all
        }
        CgroupVersion::V2 => {
            let mut values = vec![("cpu.weight", weight(group.cpu_shares).to_string())];
            values.extend(quota.map(|(quota, period)| ("cpu.max", format!("{quota} {period}"))));
            values.extend(group.memory_bytes.map(|bytes| ("memory.max", bytes.to_string())));
            values.extend(group.processes.map(|processes| ("pids.max", processes.to_string())));
            vec![GroupLimits { controller: "", values }]
        }
    }
}

/// Shares of 2 to 262,144 as the weight of 1 to 10,000 that runc makes of a container's.
fn weight(shares: u32) -> u32 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// A dash in a slice's name stands for its parent: beside Docker's scopes in `system.slice`.
fn slice(group: &str) -> String {
    format!("system-{group}.slice")
}

/// Holds also for a slice that is started later, until the next boot.
fn set_property(group: &TaskGroup) -> Vec<String> {
    let mut line = vec!["set-property".to_owned(), "--runtime".to_owned(), slice(&group.name)];
    line.push(format!("CPUWeight={}", weight(group.cpu_shares)));
    if let Some(quota) = group.cpu_quota {
        // A percentage of one CPU.
        line.push(format!("CPUQuota={}%", (quota.us * 100 / quota.period_us).max(1)));
        if quota.period_us != SYSTEMD_PERIOD_US {
            line.push(format!("CPUQuotaPeriodSec={}us", quota.period_us));
        }
    }
    line.extend(group.memory_bytes.map(|bytes| format!("MemoryMax={bytes}")));
    line.extend(group.processes.map(|processes| format!("TasksMax={processes}")));
    line
}

fn stop(group: &str) -> Vec<String> {
    vec!["stop".to_owned(), slice(group)]
}

/// Forgets the properties. What is stopped needs no reload, which holds up all that starts meanwhile.
fn revert(group: &str) -> Vec<String> {
    vec!["--no-reload".to_owned(), "revert".to_owned(), slice(group)]
}

async fn systemctl(line: Vec<String>) -> io::Result<()> {
    let ran = Command::new(SYSTEMCTL).args(&line).kill_on_drop(true).output().await?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    Err(io::Error::other(format!("systemctl {}: {}", line.join(" "), said.trim())))
}

async fn in_background(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
