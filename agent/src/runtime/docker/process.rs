//! The end of a container's first process, from the kernel (pidfd_open(2)).
//!
//! Docker takes some tens of milliseconds to tell of an exit, most of them spent on its own
//! clean-up. That includes the container's control group, which tells whether the kernel killed a
//! process for its memory: Docker itself often finds it gone with cgroup v2. Never: a conclusion about a process that is not surely the container's.

use std::{io, os::fd::OwnedFd, path::PathBuf};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::{Interest, unix::AsyncFd};

use crate::{kernel::control_group::ControlGroup, runtime::ProcessEnd};

pub(super) struct ContainerProcess {
    descriptor: AsyncFd<OwnedFd>,
    /// Where the kernel counts what it killed for its memory; absent where that is not seen.
    memory_kills: Option<PathBuf>,
}

impl ContainerProcess {
    /// An error if `pid` is not a process of this container here, as when the agent has another
    /// process namespace than Docker.
    pub(super) async fn open(pid: u32, container: &str) -> io::Result<Self> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let raw = raw.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let process: OwnedFd = pidfd_open(raw, PidfdFlags::NONBLOCK)?;
        // The number may have been given to another process since it was read. From here on it
        // cannot: while the descriptor is open, it means the same process or nothing.
        let groups = tokio::fs::read_to_string(format!("/proc/{pid}/cgroup")).await?;
        if !groups.contains(container) {
            let message = format!("process {pid} is not one of container {container}");
            return Err(io::Error::other(message));
        }
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types whose descriptor may change; this cannot"
        )]
        let descriptor = AsyncFd::with_interest(process, Interest::READABLE)?;
        let group = ControlGroup::among(&groups, container);
        Ok(ContainerProcess {
            descriptor,
            memory_kills: group.and_then(|group| group.memory_kills()),
        })
    }

    /// Resolves when the process has ended.
    pub(super) async fn ended(&self) -> io::Result<ProcessEnd> {
        self.descriptor.readable().await?.retain_ready();
        // At once, and not by a thread that is fetched first: the engine removes the control group.
        // The kernel makes up these few bytes, no disk is read.
        let counts = self.memory_kills.as_ref().map(std::fs::read_to_string);
        let memory_kill = counts.is_some_and(|counts| counts.is_ok_and(|c| tells_of_a_kill(&c)));
        Ok(ProcessEnd { memory_kill })
    }
}

/// Reads `memory.events` of cgroup v2, `memory.oom_control` of v1: both count in a line `oom_kill`.
fn tells_of_a_kill(counts: &str) -> bool {
    let count = counts.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse::<u64>().ok()).is_some_and(|count| count > 0)
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::process::{Child, Command};

    use super::*;

    fn child() -> (Child, u32) {
        let mut sleep = Command::new("sleep");
        let child = sleep.arg("60").stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let pid = child.id().unwrap();
        (child, pid)
    }

    #[tokio::test]
    async fn a_process_that_is_not_the_containers_is_not_waited_for() {
        let (mut child, pid) = child();
        let error = ContainerProcess::open(pid, "0123456789abcdef").await.err().unwrap();
        assert!(error.to_string().contains("is not one of container"), "{error}");
        child.kill().await.unwrap();
        assert!(ContainerProcess::open(pid, "0123456789abcdef").await.is_err());
    }

    #[test]
    fn a_memory_kill_is_read_from_both_versions_files() {
        for (counts, expected) in [
            ("low 0\nhigh 0\nmax 41\noom 1\noom_kill 1\noom_group_kill 0\n", true),
            ("low 0\nhigh 0\nmax 41\noom 1\noom_kill 0\noom_group_kill 1\n", false),
            ("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", true),
            ("oom_kill_disable 1\nunder_oom 0\noom_kill 0\n", false),
            ("oom_kill_disable 1\nunder_oom 1\n", false),
            ("oom_kill many\n", false),
            ("", false),
        ] {
            assert_eq!(tells_of_a_kill(counts), expected, "{counts}");
        }
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_seen() {
        let (mut child, pid) = child();
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let process = ContainerProcess::open(pid, groups.lines().next().unwrap()).await.unwrap();
        child.kill().await.unwrap();
        process.ended().await.unwrap();
    }
}
