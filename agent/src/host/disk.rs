//! Whether the file systems that tasks fill have room: those of Docker's data, of the images that
//! containerd keeps for it, and the agent's own.
//!
//! Owns the readings and what they mean by the operator's two thresholds. Never: a wait of the agent
//! for a file system, which may hang; what is done for want of room (that is `supervisor`).

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::fs::statvfs;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{host::docker_reach::DockerReach, runtime::RuntimeVersion, settings::DiskRules};

#[cfg(test)]
mod tests;

/// Where containerd keeps images, unless its own settings say otherwise.
const CONTAINERD_ROOT: &str = "/var/lib/containerd";
/// Interval of readings of every file system.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Minimum time between two readings, also when one is asked for.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Timeout of reading a file system: beyond it, the last reading counts.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Percent that a file system must fall below a threshold before it is no longer above: readings
/// near the threshold do not alternate.
const SLACK_PERCENT: u8 = 1;
/// Share of the floor, one part in 8, that must be free above it before a file system is no longer
/// below.
const FLOOR_SLACK_SHARE: u64 = 8;

/// What is done for room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskSpace {
    #[default]
    Enough,
    /// What nobody needs is removed at once.
    Short,
    /// No new task is taken besides.
    Lacking,
}

impl DiskSpace {
    pub(crate) fn name(self) -> &'static str {
        match self {
            DiskSpace::Enough => "enough",
            DiskSpace::Short => "short",
            DiskSpace::Lacking => "lacking",
        }
    }
}

/// One reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystemUsage {
    /// Where it was looked at.
    pub path: PathBuf,
    pub bytes: u64,
    /// To those who are not root.
    pub free_bytes: u64,
    /// As df(1) shows it, rounded up.
    pub used_percent: u8,
    /// 0 where inodes are not counted.
    pub inodes_used_percent: u8,
}

/// All readings, the fullest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    pub room: DiskSpace,
    /// Docker has told where its data is, so that this is among the readings.
    pub whole: bool,
    pub file_systems: Vec<FileSystemUsage>,
}

impl Disk {
    /// The state of the disks and what to do about it; nothing before a file system was read.
    pub(crate) fn advice(&self) -> Option<String> {
        let fullest = self.file_systems.first()?;
        Some(format!(
            "{fullest}; remove what it need not hold (`docker system prune`), make it larger, or change \
             disk-refuse-at and disk-floor"
        ))
    }
}

impl fmt::Display for FileSystemUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FileSystemUsage { path, bytes, free_bytes, used_percent, inodes_used_percent } = self;
        let path = path.display();
        write!(
            f,
            "the file system of {path} has {free_bytes} of {bytes} bytes free ({used_percent} % used, \
             {inodes_used_percent} % of its inodes)"
        )
    }
}

impl FileSystemUsage {
    fn fullness(&self) -> u8 {
        self.used_percent.max(self.inodes_used_percent)
    }

    fn room(&self, rules: &DiskRules, was: DiskSpace) -> DiskSpace {
        let reached = |threshold: u8, room: DiskSpace| {
            let slack = if was >= room { SLACK_PERCENT } else { 0 };
            self.fullness() >= threshold.saturating_sub(slack)
        };
        let floor_slack =
            if was == DiskSpace::Lacking { rules.floor_bytes / FLOOR_SLACK_SHARE } else { 0 };
        let floor = rules.floor_bytes.saturating_add(floor_slack);
        if reached(rules.refuse_at, DiskSpace::Lacking) || self.free_bytes < floor {
            DiskSpace::Lacking
        } else if reached(rules.clean_at, DiskSpace::Short) {
            DiskSpace::Short
        } else {
            DiskSpace::Enough
        }
    }
}

fn disk(mut file_systems: Vec<FileSystemUsage>, rules: &DiskRules, was: DiskSpace) -> Disk {
    file_systems.sort_by_key(|one| (std::cmp::Reverse(one.room(rules, was)), one.free_bytes));
    let room = file_systems.first().map_or(was, |fullest| fullest.room(rules, was));
    Disk { room, whole: false, file_systems }
}

/// The readings as they come, and a way to ask for the next.
#[derive(Clone, Debug)]
pub struct DiskWatch {
    pub(crate) seen: watch::Receiver<Disk>,
    pub(crate) again: Arc<Notify>,
}

/// Where the readings go.
pub(crate) struct DiskMonitor {
    pub(crate) seen: watch::Sender<Disk>,
    again: Arc<Notify>,
    containerd_root: PathBuf,
}

pub(crate) fn monitor() -> (DiskMonitor, DiskWatch) {
    let (sender, seen) = watch::channel(Disk::default());
    let again = Arc::new(Notify::new());
    let containerd_root = PathBuf::from(CONTAINERD_ROOT);
    (DiskMonitor { seen: sender, again: again.clone(), containerd_root }, DiskWatch { seen, again })
}

impl DiskMonitor {
    /// Looks until `shutdown`, at Docker's data as soon as Docker has told where that is.
    pub(crate) async fn run(
        self,
        rules: DiskRules,
        data_dir: PathBuf,
        mut docker: watch::Receiver<DockerReach>,
        shutdown: CancellationToken,
    ) {
        let readings = async {
            let mut places: Vec<WatchedPath> = vec![WatchedPath::at(data_dir.clone())];
            loop {
                let whole = match &docker.borrow_and_update().last {
                    Some(docker) => {
                        self.follow_docker(&mut places, &data_dir, docker);
                        true
                    }
                    None => false,
                };
                for place in &mut places {
                    place.look().await;
                }
                let read = places.iter().filter_map(|place| place.last.clone()).collect();
                let was = self.seen.borrow().room;
                let disk = Disk { whole, ..disk(read, &rules, was) };
                tell(&disk, was);
                self.seen.send_replace(disk);
                tokio::time::sleep(LOOK_PAUSE).await;
                tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY - LOOK_PAUSE) => {}
                    () = self.again.notified() => {}
                    Ok(()) = docker.changed(), if !whole => {}
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = readings => {}
        }
    }

    /// Keeps what was seen of places that are looked at further on.
    fn follow_docker(
        &self,
        places: &mut Vec<WatchedPath>,
        data_dir: &Path,
        docker: &RuntimeVersion,
    ) {
        let images = docker.containerd_images.then(|| WatchedPath {
            // A containerd of Docker's own has its images below Docker's data.
            may_be_missing: true,
            ..WatchedPath::at(self.containerd_root.clone())
        });
        let wanted: Vec<WatchedPath> =
            docker.data_root.clone().map(WatchedPath::at).into_iter().chain(images).collect();
        if wanted.is_empty() {
            return;
        }
        places.retain(|place| {
            place.path == data_dir || wanted.iter().any(|wanted| wanted.path == place.path)
        });
        for place in wanted {
            if places.iter().all(|known| known.path != place.path) {
                places.push(place);
            }
        }
    }
}

fn tell(disk: &Disk, was: DiskSpace) {
    let Some(fullest) = disk.file_systems.first().filter(|_| disk.room != was) else { return };
    match disk.room {
        DiskSpace::Enough => info!("there is room again: {fullest}"),
        DiskSpace::Short => warn!("room is short, what no task needs is removed: {fullest}"),
        DiskSpace::Lacking => warn!(
            "there is no room for new tasks; those that run go on: {}",
            disk.advice().unwrap_or_default()
        ),
    }
}

struct WatchedPath {
    path: PathBuf,
    last: Option<FileSystemUsage>,
    /// From a thread that has not answered yet.
    awaited: Option<oneshot::Receiver<io::Result<FileSystemUsage>>>,
    /// The log has told that it cannot be read.
    told: bool,
    may_be_missing: bool,
}

impl WatchedPath {
    fn at(path: PathBuf) -> Self {
        WatchedPath { path, last: None, awaited: None, told: false, may_be_missing: false }
    }

    async fn look(&mut self) {
        let mut answer = self.awaited.take().unwrap_or_else(|| read_aside(&self.path));
        let failed = match tokio::time::timeout(ANSWERS_WITHIN, &mut answer).await {
            Ok(Ok(Ok(file_system))) => {
                self.last = Some(file_system);
                self.told = false;
                return;
            }
            Ok(Ok(Err(error)))
                if self.may_be_missing && error.kind() == io::ErrorKind::NotFound =>
            {
                self.last = None;
                return;
            }
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(_)) => "no thread could be started".to_owned(),
            Err(_) => {
                // One that hangs holds one thread, however often it is looked at.
                self.awaited = Some(answer);
                "it does not answer".to_owned()
            }
        };
        if !std::mem::replace(&mut self.told, true) {
            let path = self.path.display();
            warn!(%path, error = failed, "a file system cannot be looked at; its room is not watched");
        }
    }
}

/// By a thread of its own, and not one of the runtime's, for whose end the agent's would wait.
fn read_aside(path: &Path) -> oneshot::Receiver<io::Result<FileSystemUsage>> {
    let (answer, awaited) = oneshot::channel();
    let path = path.to_owned();
    // One that cannot be started drops the sender, which the receiver sees.
    let _ = std::thread::Builder::new().name("disk".to_owned()).spawn(move || {
        // Nobody may wait any more.
        let _ = answer.send(read(&path));
    });
    awaited
}

fn read(path: &Path) -> io::Result<FileSystemUsage> {
    let stat = statvfs(path)?;
    Ok(FileSystemUsage {
        path: path.to_owned(),
        bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        used_percent: percent(stat.f_blocks.saturating_sub(stat.f_bfree), stat.f_bavail),
        inodes_used_percent: percent(stat.f_files.saturating_sub(stat.f_ffree), stat.f_favail),
    })
}

/// As df(1) does: what is kept for root counts neither way.
fn percent(used: u64, free: u64) -> u8 {
    let all = u128::from(used) + u128::from(free);
    let percent = (u128::from(used) * 100).div_ceil(all.max(1));
    u8::try_from(percent).unwrap_or(u8::MAX)
}
