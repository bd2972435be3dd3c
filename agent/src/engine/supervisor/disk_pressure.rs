//! How short room is on the disks that tasks fill, as the engine knows it.

use longshore_common::{
    protocol::StorageHealth,
    task::{StopCause, StopCode},
};

use crate::host::disk::{DiskSpace, DiskWatch};

/// What the engine knows of it.
#[derive(Default)]
pub(super) struct DiskPressure {
    pub(super) watch: Option<DiskWatch>,
    pub(super) room: DiskSpace,
    /// All that there is to read was read.
    pub(super) whole: bool,
    pub(super) timer_set: bool,
}

impl DiskPressure {
    pub(super) fn watched(watch: Option<DiskWatch>) -> Self {
        DiskPressure { watch, ..DiskPressure::default() }
    }

    /// Resolves at the next reading; never where nobody reads.
    pub(super) async fn changed(&mut self) {
        if let Some(watch) = &mut self.watch
            && watch.seen.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Something that takes room or gives it has happened.
    pub(super) fn request_reading(&self) {
        if let Some(watch) = &self.watch {
            watch.again.notify_one();
        }
    }

    /// What the coordinator is told. Unknown until Docker's own file system was read: the others may
    /// have room where that has none.
    pub(super) fn storage(&self) -> StorageHealth {
        match self.room {
            DiskSpace::Lacking => StorageHealth::Full,
            DiskSpace::Enough | DiskSpace::Short if self.whole || self.watch.is_none() => {
                StorageHealth::Ready
            }
            DiskSpace::Enough | DiskSpace::Short => StorageHealth::Unknown,
        }
    }

    pub(super) fn is_short(&self) -> bool {
        self.room != DiskSpace::Enough
    }

    /// Why a task that is ordered now is not taken, if it is not.
    pub(super) fn refusal(&self) -> Option<StopCause> {
        (self.room == DiskSpace::Lacking).then(|| StopCause {
            code: StopCode::TaskFailedToStart,
            reason: format!(
                "ResourceInitializationError: no space left on this host: {}",
                self.advice().unwrap_or_default()
            ),
        })
    }

    pub(super) fn advice(&self) -> Option<String> {
        self.watch.as_ref()?.seen.borrow().advice()
    }
}
