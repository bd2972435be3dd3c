//! How much of large bodies is in memory at once.
//!
//! The [door](super) says who may have a body read, and takes that back when others need the room; a
//! body that it took back is in memory until its connection's task has noticed. Here each body has
//! its room until its memory is free, and one for which there is no room yet stays where it is, with its
//! sender. Never: whose body it is.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::Full;

/// Of what memory is counted in, so that a count fits the semaphore's.
const UNIT_BYTES: usize = 1024;

/// Bounds of the bodies of one kind of callers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyRoom {
    /// Maximum bytes of all together.
    pub(crate) bytes_max: usize,
    /// Bodies up to here are not counted: whoever may have one read holds more besides.
    pub(crate) small_max: usize,
    /// Timeout of the wait for room.
    pub(crate) wait_max: Duration,
}

pub(crate) struct Bodies {
    room: BodyRoom,
    free: Arc<Semaphore>,
}

/// The room of one body, until it is dropped.
pub(crate) struct InMemory(#[expect(dead_code, reason = "held")] Option<OwnedSemaphorePermit>);

impl Bodies {
    pub(crate) fn new(room: BodyRoom) -> Self {
        Bodies { room, free: Arc::new(Semaphore::new(room.bytes_max / UNIT_BYTES)) }
    }

    /// Waits, first come first served, until a body of `bytes` has room.
    pub(crate) async fn enter(&self, bytes: usize) -> Result<InMemory, Full> {
        if bytes <= self.room.small_max {
            return Ok(InMemory(None));
        }
        let units = bytes.min(self.room.bytes_max).div_ceil(UNIT_BYTES) as u32;
        let entering = self.free.clone().acquire_many_owned(units);
        match timeout(self.room.wait_max, entering).await {
            Ok(Ok(permit)) => Ok(InMemory(Some(permit))),
            Ok(Err(_)) | Err(_) => Err(Full),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, future::join_all};

    use super::*;

    const ROOM: BodyRoom =
        BodyRoom { bytes_max: 8 * 1024, small_max: 1024, wait_max: Duration::from_secs(30) };

    #[tokio::test]
    async fn body_waits_until_the_memory_of_others_is_free() {
        let bodies = Bodies::new(ROOM);
        let first = bodies.enter(5 * 1024).await.unwrap();
        let second = bodies.enter(3 * 1024).await.unwrap();
        let mut third = Box::pin(bodies.enter(4 * 1024));
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.await.is_ok());
    }

    #[tokio::test]
    async fn small_body_waits_for_nobody() {
        let bodies = Bodies::new(ROOM);
        let _all = bodies.enter(8 * 1024).await.unwrap();
        assert!(bodies.enter(1024).now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn body_larger_than_all_room_has_all_of_it() {
        let bodies = Bodies::new(ROOM);
        let large = bodies.enter(9 * 1024).await.unwrap();
        assert!(bodies.enter(2048).now_or_never().is_none());
        drop(large);
        assert!(bodies.enter(2048).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn body_is_refused_after_a_long_wait() {
        let bodies = Bodies::new(ROOM);
        let _all = bodies.enter(8 * 1024).await.unwrap();
        let refused = join_all([bodies.enter(2048), bodies.enter(2048)]).await;
        assert!(refused.iter().all(Result::is_err));
    }
}
