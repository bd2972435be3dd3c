//! The end of a container's first process, from the kernel (pidfd_open(2)).
//!
//! Docker takes some tens of milliseconds to tell of an exit, most of them spent on its own
//! clean-up. Never: a conclusion about a process that is not surely the container's.

use std::{io, os::fd::OwnedFd};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::{Interest, unix::AsyncFd};

pub(super) struct Process(AsyncFd<OwnedFd>);

impl Process {
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
        let process = AsyncFd::with_interest(process, Interest::READABLE)?;
        Ok(Process(process))
    }

    /// Resolves when the process has ended.
    pub(super) async fn ended(&self) -> io::Result<()> {
        self.0.readable().await.map(|mut ready| ready.retain_ready())
    }
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
        let error = Process::open(pid, "0123456789abcdef").await.err().unwrap();
        assert!(error.to_string().contains("is not one of container"), "{error}");
        child.kill().await.unwrap();
        assert!(Process::open(pid, "0123456789abcdef").await.is_err());
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_seen() {
        let (mut child, pid) = child();
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let process = Process::open(pid, groups.lines().next().unwrap()).await.unwrap();
        child.kill().await.unwrap();
        process.ended().await.unwrap();
    }
}
