//! A numbered place for one run on this machine: a folder, a subnet, names for network devices
//! and a control group. Its lock is held by the run, so that a slot whose lock is free but which
//! still holds something was left by a run that crashed, and is cleaned by whoever takes it.
//!
//! Never touches a process, mount, network device or rule that does not carry the slot's name.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, Signal, kill_process},
};

use crate::command::{run, sh, succeeds};

/// Runs that may be on this machine at once.
const SLOTS_MAX: u8 = 32;
/// Only these programs are ended when a crashed run left them.
const OUR_PROGRAMS: [&str; 6] = [
    "dockerd",
    "containerd",
    "containerd-shim",
    "docker-proxy",
    "longshore-agent",
    "longshore-coord",
];
/// Timeout of the end of a killed process.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

pub struct Slot {
    name: String,
    folder: PathBuf,
    number: u8,
    keep_folder: bool,
    _lock: File,
}

impl Slot {
    /// Takes the first free slot for a test, benchmark or campaign.
    pub fn take() -> Result<Slot> {
        let base = base_folder();
        for number in 0..SLOTS_MAX {
            if let Some(slot) = Slot::try_at(&base, &format!("ls{number}"), number)? {
                return Ok(slot);
            }
        }
        bail!("all {SLOTS_MAX} slots in {} are taken by runs that are alive", base.display())
    }

    /// Takes the slot of this name; its subnet is the last one.
    pub fn take_named(name: &str) -> Result<Slot> {
        let base = base_folder();
        match Slot::try_at(&base, name, u8::MAX)? {
            Some(mut slot) => {
                slot.keep_folder = true;
                Ok(slot)
            }
            None => bail!(
                "another run holds {}: stop it first (it prints its folder when it starts)",
                base.join(name).display()
            ),
        }
    }

    fn try_at(base: &Path, name: &str, number: u8) -> Result<Option<Slot>> {
        fs_err::create_dir_all(base)?;
        let lock = File::create(base.join(format!("{name}.lock")))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error).context("could not lock a slot"),
        }
        let folder = base.join(name);
        let slot = Slot { name: name.to_owned(), folder, number, keep_folder: false, _lock: lock };
        slot.clean().with_context(|| format!("what an earlier run left of slot {name}"))?;
        fs_err::create_dir_all(&slot.folder)?;
        Ok(Some(slot))
    }

    /// The slot's name, also of its bridge, with which its hosts' and devices' names begin.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The first three numbers of the slot's own subnet, a /24 that never leaves this machine.
    pub fn subnet(&self) -> String {
        format!("10.213.{}", self.number)
    }

    /// The parent of the control groups of this slot's containers.
    pub fn control_group(&self) -> String {
        format!("/longshore-{}", self.name)
    }

    /// Ends and removes all that carries this slot's name.
    fn clean(&self) -> Result<()> {
        for pid in self.left_over_programs()? {
            kill_and_wait(pid);
        }
        for pid in self.contained_processes() {
            kill_and_wait(pid);
        }
        for mount in self.mounts()? {
            run("umount", &["-l", &mount])?;
        }
        self.remove_network()?;
        for group in self.control_groups() {
            // A group with a process in it refuses to go; the kernel says so, and so do we.
            let _ = fs_err::remove_dir(&group);
        }
        if self.folder.exists() {
            fs_err::remove_dir_all(&self.folder)?;
        }
        Ok(())
    }

    fn left_over_programs(&self) -> Result<Vec<i32>> {
        let ours = format!("{}/", self.folder.display());
        let mut found = Vec::new();
        for entry in fs_err::read_dir("/proc")? {
            let entry = entry?;
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
            let program = fs_err::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let arguments = fs_err::read(entry.path().join("cmdline")).unwrap_or_default();
            let known = OUR_PROGRAMS.iter().any(|name| program.trim_end().starts_with(name));
            if known && String::from_utf8_lossy(&arguments).contains(&ours) {
                found.push(pid);
            }
        }
        Ok(found)
    }

    /// Every control group of this slot's containers, the deepest first, in both versions.
    fn control_groups(&self) -> Vec<PathBuf> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            let Ok(entries) = std::fs::read_dir(folder) else { return };
            for entry in entries.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    walk(&entry.path(), found);
                }
            }
            found.push(folder.to_owned());
        }
        let root = Path::new("/sys/fs/cgroup");
        let controllers = std::fs::read_dir(root).into_iter().flatten().flatten();
        let mut roots: Vec<PathBuf> = controllers.map(|entry| entry.path()).collect();
        roots.push(root.to_owned());
        let mut found = Vec::new();
        for root in roots {
            let group = root.join(self.control_group().trim_start_matches('/'));
            if group.is_dir() {
                walk(&group, &mut found);
            }
        }
        found
    }

    fn contained_processes(&self) -> Vec<i32> {
        let groups = self.control_groups();
        let lists = groups.iter().map(|group| group.join("cgroup.procs"));
        let texts = lists.filter_map(|list| std::fs::read_to_string(list).ok());
        let mut pids: Vec<i32> = texts
            .flat_map(|text| text.lines().filter_map(|l| l.parse().ok()).collect::<Vec<_>>())
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Mount points below the slot's folder, the innermost first.
    fn mounts(&self) -> Result<Vec<String>> {
        let ours = format!("{}/", self.folder.display());
        let table = fs_err::read_to_string("/proc/self/mounts")?;
        let points = table.lines().filter_map(|line| line.split(' ').nth(1));
        let mut found: Vec<String> =
            points.filter(|point| point.starts_with(&ours)).map(str::to_owned).collect();
        found.reverse();
        Ok(found)
    }

    fn remove_network(&self) -> Result<()> {
        let prefix = format!("{}h", self.name);
        if let Ok(names) = std::fs::read_dir("/run/netns") {
            for entry in names.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let number = name.strip_prefix(&prefix);
                if number.is_some_and(|rest| rest.parse::<u8>().is_ok()) {
                    sh(&format!("ip netns del {name}"))?;
                }
            }
        }
        // A namespace's devices go with it, but some time after it: these go now.
        for entry in fs_err::read_dir("/sys/class/net")?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let number = name.strip_prefix(&prefix);
            if name == self.name || number.is_some_and(|rest| rest.parse::<u8>().is_ok()) {
                // It may have gone with its namespace meanwhile.
                let gone = succeeds(&format!("ip link del {name}"));
                ensure!(gone || !entry.path().exists(), "the device {name} cannot be removed");
            }
        }
        let rule = self.forward_rule();
        while succeeds(&format!("iptables -w -D {rule}")) {}
        Ok(())
    }

    /// Puts the logs of a test that failed aside, where the next run does not remove them.
    fn keep_logs(&self) {
        let aside = self.folder.with_extension("failed");
        let _ = std::fs::remove_dir_all(&aside);
        let Ok(listed) =
            run("find", &[self.folder.as_os_str(), "-name".as_ref(), "*.log".as_ref()])
        else {
            return;
        };
        for log in listed.lines().map(Path::new) {
            let Ok(name) = log.strip_prefix(&self.folder) else { continue };
            let to = aside.join(name);
            let _ = to.parent().map(std::fs::create_dir_all);
            let _ = std::fs::copy(log, to);
        }
        eprintln!("the logs of this run are in {}", aside.display());
    }

    /// Lets frames pass between this slot's hosts where a Docker Engine of the machine's own has
    /// set FORWARD to DROP and bridged frames go through iptables.
    pub(crate) fn forward_rule(&self) -> String {
        format!("FORWARD -i {0} -o {0} -j ACCEPT", self.name)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.keep_folder {
            // What a person may want to read after the run; the next one begins anew.
            return;
        }
        if std::thread::panicking() {
            self.keep_logs();
        }
        if let Err(error) = self.clean() {
            tracing::warn!("slot {} was not cleaned, the next run will: {error:#}", self.name);
        }
    }
}

/// Short, because the paths of unix sockets are limited to 107 bytes, and on a disk.
fn base_folder() -> PathBuf {
    std::env::var_os("LONGSHORE_RUN_DIR")
        .map_or_else(|| PathBuf::from("/var/tmp/longshore"), PathBuf::from)
}

fn kill_and_wait(pid: i32) {
    let Some(process) = Pid::from_raw(pid) else { return };
    // It may be gone by now, which is what we want.
    let _ = kill_process(process, Signal::KILL);
    let nap = Duration::from_millis(2);
    let mut waited = Duration::ZERO;
    while is_alive(pid) && waited < KILL_PATIENCE {
        std::thread::sleep(nap);
        waited += nap;
    }
}

/// A zombie is not alive: its parent has yet to hear of its end.
fn is_alive(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    state.is_some_and(|state| state != 'Z')
}
