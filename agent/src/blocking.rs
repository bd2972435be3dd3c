//! Work that blocks a thread, by kind: each kind has a maximum of threads.
//!
//! A file on a network that does not answer holds a thread until it does. The sum of all kinds is below
//! what the runtime has, so that the ledger always finds one. Never: a wait for another kind's work.

use std::io;

use tokio::sync::Semaphore;

/// A kind of work, and how many threads it may hold at once.
pub(crate) struct Blocking(Semaphore);

/// Logins from files.
pub(crate) static LOGINS: Blocking = Blocking(Semaphore::const_new(4));
/// Objects from a directory.
pub(crate) static OBJECTS: Blocking = Blocking(Semaphore::const_new(4));
/// Files and directories of tasks.
pub(crate) static FILES: Blocking = Blocking(Semaphore::const_new(4));
/// Maximum of threads for all kinds, for the ledger, container logs and questions about them, and
/// for names to resolve.
pub(crate) const THREADS_MAX: usize = 3 * 4 + 12;

impl Blocking {
    pub(crate) async fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let turn = self.0.acquire().await.map_err(io::Error::other)?;
        let work = move || {
            // As long as the thread is held, also when nobody waits for it any more.
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Barrier},
        time::Duration,
    };

    use super::*;

    #[tokio::test]
    async fn one_kind_that_hangs_holds_up_no_other() {
        static HANGS: Blocking = Blocking(Semaphore::const_new(2));
        static WORKS: Blocking = Blocking(Semaphore::const_new(1));
        let hang = Arc::new(Barrier::new(3));
        for _ in 0..50 {
            let hang = hang.clone();
            tokio::spawn(HANGS.run(move || hang.wait()));
        }
        while HANGS.0.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let more = tokio::time::timeout(Duration::from_millis(50), HANGS.run(|| ())).await;
        assert!(more.is_err(), "a third thread hangs");
        for number in 0..100 {
            assert_eq!(WORKS.run(move || number).await.unwrap(), number);
        }
        // The rest ends in pairs.
        let last = hang.clone();
        tokio::task::spawn_blocking(move || {
            for _ in 0..25 {
                last.wait();
            }
        })
        .await
        .unwrap();
    }
}
