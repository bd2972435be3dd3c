//! Where a container's processes are accounted for, and whether a process is one of them: cgroup v2,
//! or v1 where the machine still has that.
//!
//! Reads files of the kernel, so it is for threads that may block. Never: a walk over all processes
//! of the machine.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::host_socket::HostSocket;

const CGROUPS: &str = "/sys/fs/cgroup";
/// Where v2 is when v1 has the other place.
const UNIFIED: &str = "/sys/fs/cgroup/unified";
/// Maximum of groups inside a container's group that are looked into.
const GROUPS_MAX: usize = 256;
/// Maximum of processes of these groups that are looked into.
const PROCESSES_MAX: usize = 1024;
/// Maximum of descriptors of each process that are looked at.
const DESCRIPTORS_MAX: usize = 4096;

/// The control groups of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ControlGroup {
    V2(PathBuf),
    /// A directory for each controller, by its name.
    V1(Vec<(String, PathBuf)>),
}

impl ControlGroup {
    /// Of a container whose first process is `pid`. An error when that process is not of this
    /// container: numbers of processes are given out again.
    pub(crate) fn of(pid: u32, docker_id: &str) -> io::Result<Self> {
        let lines = fs_err::read_to_string(format!("/proc/{pid}/cgroup"))?;
        Self::among(&lines, docker_id).ok_or_else(|| {
            io::Error::other(format!("process {pid} is not one of container {docker_id}"))
        })
    }

    /// The same from what /proc/PID/cgroup says.
    pub(crate) fn among(lines: &str, docker_id: &str) -> Option<Self> {
        Self::parse(lines, docker_id, Path::new(UNIFIED).exists())
    }

    /// The file in which the kernel counts the processes that it killed for their memory.
    pub(crate) fn memory_kills(&self) -> Option<PathBuf> {
        let name = match self {
            ControlGroup::V2(_) => "memory.events",
            ControlGroup::V1(_) => "memory.oom_control",
        };
        self.controller("memory").map(|directory| directory.join(name))
    }

    fn parse(lines: &str, docker_id: &str, hybrid: bool) -> Option<Self> {
        let mut v1 = Vec::new();
        let mut v2 = None;
        for line in lines.lines() {
            let mut fields = line.splitn(3, ':');
            let (_, names, path) = (fields.next()?, fields.next()?, fields.next()?);
            // A path that leads out of our view of the tree begins with `/..`.
            if !path.contains(docker_id) || path.starts_with("/..") {
                continue;
            }
            let path = path.trim_start_matches('/');
            if names.is_empty() {
                let root = if hybrid { UNIFIED } else { CGROUPS };
                v2 = Some(Path::new(root).join(path));
                continue;
            }
            let directory = Path::new(CGROUPS).join(names.trim_start_matches("name=")).join(path);
            v1.extend(names.split(',').map(|name| (name.to_owned(), directory.clone())));
        }
        match (v1.is_empty(), v2) {
            (false, _) => Some(ControlGroup::V1(v1)),
            (true, Some(v2)) => Some(ControlGroup::V2(v2)),
            (true, None) => None,
        }
    }

    /// Where a controller of v1 has its files; with v2 the one place for all.
    pub(crate) fn controller(&self, name: &str) -> Option<&Path> {
        match self {
            ControlGroup::V2(path) => Some(path),
            ControlGroup::V1(paths) => {
                paths.iter().find(|(known, _)| known == name).map(|(_, path)| path.as_path())
            }
        }
    }

    /// Whether a process of this container opened the socket. An error when it cannot be told.
    pub(crate) fn holds(&self, socket: &HostSocket) -> io::Result<bool> {
        match self {
            ControlGroup::V2(path) => {
                let wanted = socket.control_group.ok_or_else(|| {
                    io::Error::other("this kernel does not tell the control group of a socket")
                })?;
                // The number of a group is that of its directory.
                Ok(groups(path)?
                    .iter()
                    .any(|group| std::fs::metadata(group).is_ok_and(|group| group.ino() == wanted)))
            }
            ControlGroup::V1(paths) => {
                let (_, path) = paths.first().ok_or(io::ErrorKind::NotFound)?;
                let wanted = format!("socket:[{}]", socket.inode);
                let mut denied = None;
                for process in processes(path)? {
                    match has_descriptor(process, &wanted) {
                        Ok(true) => return Ok(true),
                        Ok(false) => {}
                        // It has ended.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => denied = Some(error),
                    }
                }
                denied.map_or(Ok(false), Err)
            }
        }
    }
}

/// A group and the groups inside of it.
fn groups(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![path.to_owned()];
    let mut next = 0;
    while next < found.len() && found.len() < GROUPS_MAX {
        for entry in fs_err::read_dir(&found[next])? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.push(entry.path());
            }
        }
        next += 1;
    }
    Ok(found)
}

fn processes(path: &Path) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for group in groups(path)? {
        let listed = fs_err::read_to_string(group.join("cgroup.procs"))?;
        found.extend(listed.lines().filter_map(|line| line.parse::<u32>().ok()));
        found.truncate(PROCESSES_MAX);
    }
    Ok(found)
}

fn has_descriptor(process: u32, wanted: &str) -> io::Result<bool> {
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd"))?;
    let wanted = Path::new(wanted);
    Ok(descriptors
        .take(DESCRIPTORS_MAX)
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .any(|target| target == wanted))
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        process::{Command, Stdio},
    };

    use super::*;
    use crate::kernel::host_socket;

    #[test]
    fn the_groups_of_a_container_are_found_on_v1_v2_and_both() {
        let v1 =
            "9:name=systemd:/docker/abc\n8:pids:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n";
        let group = ControlGroup::parse(v1, "abc", false).unwrap();
        let path = |name: &str| group.controller(name).map(|path| path.display().to_string());
        assert_eq!(path("pids").as_deref(), Some("/sys/fs/cgroup/pids/docker/abc"));
        assert_eq!(path("cpuacct").as_deref(), Some("/sys/fs/cgroup/cpu,cpuacct/docker/abc"));
        assert_eq!(path("memory"), None);

        let v2 = "0::/system.slice/docker-abc.scope\n";
        let place = |hybrid| ControlGroup::parse(v2, "abc", hybrid);
        let at = |path: &str| Some(ControlGroup::V2(path.into()));
        assert_eq!(place(false), at("/sys/fs/cgroup/system.slice/docker-abc.scope"));
        assert_eq!(place(true), at("/sys/fs/cgroup/unified/system.slice/docker-abc.scope"));
    }

    #[test]
    fn another_containers_group_or_one_out_of_view_is_none() {
        for lines in ["0::/docker/other\n", "0::/../docker/abc\n", "8:pids:/\n0::/\n", "x\n", ""] {
            assert_eq!(ControlGroup::parse(lines, "abc", false), None, "{lines}");
        }
    }

    /// A hierarchy of v2 to make groups in, mounted for the test: that takes root.
    struct Hierarchy(tempfile::TempDir);

    impl Hierarchy {
        fn mount() -> Option<Self> {
            let directory = tempfile::tempdir().unwrap();
            let mut mount = Command::new("mount");
            mount.args(["-t", "cgroup2", "none"]).arg(directory.path()).stderr(Stdio::null());
            mount.status().is_ok_and(|status| status.success()).then_some(Hierarchy(directory))
        }
    }

    impl Drop for Hierarchy {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(self.0.path()).status();
        }
    }

    /// Where only root may mount, there is nothing to look at.
    #[test]
    fn with_v2_a_sockets_group_or_one_inside_of_it_is_the_containers() {
        let Some(hierarchy) = Hierarchy::mount() else { return };
        let name = format!("longshore-test-{}", std::process::id());
        let container = hierarchy.0.path().join(&name);
        let (inner, other) = (container.join("inner"), hierarchy.0.path().join(name + "-other"));
        for group in [&container, &inner, &other] {
            std::fs::create_dir(group).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        for (group, expected) in [(&container, true), (&inner, true), (&other, false)] {
            let connect = format!(
                "echo $$ > {}/cgroup.procs && exec 3<>/dev/tcp/127.0.0.1/{} && sleep 60",
                group.display(),
                local.port()
            );
            let mut speaker = Command::new("bash").args(["-c", &connect]).spawn().unwrap();
            let (_connection, peer) = listener.accept().unwrap();
            let socket = host_socket::find(peer, local).unwrap().unwrap();
            let held = ControlGroup::V2(container.clone()).holds(&socket).unwrap();
            // The shell's child has the socket too, and is in the same group.
            let members = std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
            for member in members.lines() {
                let _ = Command::new("kill").args(["-9", member]).status();
            }
            speaker.wait().unwrap();
            assert_eq!(held, expected, "{}", group.display());
        }
        for group in [&inner, &container, &other] {
            let gone = || std::fs::remove_dir(group).is_ok();
            // The kernel lets go of a group a moment after its last process has ended.
            while !gone() {
                std::thread::yield_now();
            }
        }
    }
}
