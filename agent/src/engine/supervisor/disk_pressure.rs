//! How short room is on the disks that tasks fill, as the engine knows it.

use longshore_common::{
    protocol::StorageHealth,
    task::{StopCause, StopCode},
};

use crate::host::disk::{DiskWatch, Room};

/// What the engine knows of it.
#[derive(Default)]
pub(super) struct Rooms {
    pub(super) watch: Option<DiskWatch>,
    pub(super) room: Room,
    /// All that there is to read was read.
    pub(super) whole: bool,
    pub(super) timer_set: bool,
}

impl Rooms {
    pub(super) fn watched(watch: Option<DiskWatch>) -> Self {
        Rooms { watch, ..Rooms::default() }
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
    pub(super) fn look_again(&self) {
        if let Some(watch) = &self.watch {
            watch.again.notify_one();
        }
    }

    /// What the coordinator is told. Unknown until Docker's own file system was read: the others may
    /// have room where that has none.
    pub(super) fn storage(&self) -> StorageHealth {
        match self.room {
            Room::Lacking => StorageHealth::Full,
            Room::Enough | Room::Short if self.whole || self.watch.is_none() => {
                StorageHealth::Ready
            }
            Room::Enough | Room::Short => StorageHealth::Unknown,
        }
    }

    pub(super) fn is_short(&self) -> bool {
        self.room != Room::Enough
    }

    /// Why a task that is ordered now is not taken, if it is not.
    pub(super) fn refusal(&self) -> Option<StopCause> {
        (self.room == Room::Lacking).then(|| StopCause {
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
