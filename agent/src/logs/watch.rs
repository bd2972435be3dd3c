//! Wakes the follower when Docker writes: inotify on the folders of the logs.
//!
//! Never: an answer that can be relied on. A change that is missed is found by the next sweep.

use std::{
    collections::BTreeMap,
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{fs::inotify, io::Errno};
use tokio::sync::mpsc;

/// Maximum of bytes of changes that are read at once.
const CHANGES_BYTES: usize = 16 * 1024;
/// Maximum of changes that wait to be looked at. What does not fit waits in the kernel.
const CHANGES_QUEUED_MAX: usize = 16;
/// Bytes of stack of the thread that waits for changes: more than it needs.
const STACK_BYTES: usize = 128 * 1024;

pub(super) struct LogWatch {
    inotify: Arc<OwnedFd>,
    changes: mpsc::Receiver<Vec<i32>>,
    watched: BTreeMap<i32, String>,
    by_container: BTreeMap<String, i32>,
}

impl LogWatch {
    /// Also starts the thread that waits for changes. It ends with the first one that nobody takes.
    pub(super) fn new() -> io::Result<Self> {
        let inotify = Arc::new(inotify::init(inotify::CreateFlags::CLOEXEC)?);
        let (sender, changes) = mpsc::channel(CHANGES_QUEUED_MAX);
        let waited_on = inotify.clone();
        std::thread::Builder::new()
            .name("log-watch".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || wait(&waited_on, &sender))?;
        Ok(LogWatch { inotify, changes, watched: BTreeMap::new(), by_container: BTreeMap::new() })
    }

    /// Watches the folder in which a container's log is.
    pub(super) fn add(&mut self, container: &str, log: &Path) -> io::Result<()> {
        let folder = log.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
        let changes = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
        let watch = inotify::add_watch(&self.inotify, &folder, changes)?;
        self.watched.insert(watch, container.to_owned());
        self.by_container.insert(container.to_owned(), watch);
        Ok(())
    }

    pub(super) fn remove(&mut self, container: &str) {
        if let Some(watch) = self.by_container.remove(container) {
            self.watched.remove(&watch);
            // It is gone already when the folder is.
            let _ = inotify::remove_watch(&self.inotify, watch);
        }
    }

    /// Waits until something was written, and says of which containers; none when no more changes
    /// can be heard of.
    pub(super) async fn changed(&mut self) -> Option<Vec<String>> {
        let watches = self.changes.recv().await?;
        Some(watches.iter().filter_map(|watch| self.watched.get(watch).cloned()).collect())
    }
}

fn wait(inotify: &OwnedFd, changes: &mpsc::Sender<Vec<i32>>) {
    let mut buffer = [MaybeUninit::uninit(); CHANGES_BYTES];
    loop {
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        let mut watches = Vec::new();
        // What one read brought, and no more.
        loop {
            match reader.next() {
                Ok(change) => watches.push(change.wd()),
                Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::warn!(%error, "changes of container logs are watched no more");
                    return;
                }
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        watches.dedup();
        if changes.blocking_send(watches).is_err() {
            return;
        }
    }
}
