//! The thread that moves the write-ahead log into the database file, so that no commit waits for it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
};

use rusqlite::Connection;

use super::format::configure;

/// Moves the write-ahead log into the database file when told to, and after a while of its own
/// accord when anything was written, on its own connection. That is
/// closed when this is dropped: nothing changes the file once the directory's lock is given back.
pub(super) struct WalMover {
    /// Absent while this is dropped.
    wake: Option<mpsc::SyncSender<()>>,
    /// Something was committed since the last move.
    pub(super) written: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl WalMover {
    pub(super) fn start(path: &Path, every: std::time::Duration) -> Result<Self, rusqlite::Error> {
        Self::start_with(path, every, || ())
    }

    /// Calls `looked` after each time that it looked whether there is anything to move.
    pub(super) fn start_with(
        path: &Path,
        every: std::time::Duration,
        looked: impl Fn() + Send + 'static,
    ) -> Result<Self, rusqlite::Error> {
        let connection = Connection::open(path)?;
        configure(&connection)?;
        let (wake, woken) = mpsc::sync_channel(1);
        let written = Arc::new(AtomicBool::new(true));
        let since_last = written.clone();
        let work = move || {
            loop {
                match woken.recv_timeout(every) {
                    Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                if since_last.swap(false, Ordering::Relaxed) {
                    let moved =
                        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
                    if let Err(error) = moved {
                        tracing::warn!(%error, "the write-ahead log could not be moved; trying later");
                    }
                }
                looked();
            }
        };
        let thread = std::thread::Builder::new()
            .name("wal-mover".to_owned())
            .spawn(work)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        Ok(WalMover { wake: Some(wake), written, thread: Some(thread) })
    }

    /// Wakes the mover, once for all that was committed meanwhile.
    pub(super) fn wake(&self) {
        if let Some(wake) = &self.wake {
            let _ = wake.try_send(());
        }
    }
}

impl Drop for WalMover {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say but that it panicked, which its own message said.
            let _ = thread.join();
        }
    }
}
