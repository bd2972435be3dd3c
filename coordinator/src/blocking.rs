//! Where work that waits for a disk is done: beside the threads that answer everybody, or, where one
//! seed is to have one course, at once.

use tokio::task::JoinError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocking {
    Aside,
    AtOnce,
}

impl Blocking {
    /// The error is the panic of the work, or the end of the runtime.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        match self {
            Blocking::Aside => tokio::task::spawn_blocking(work).await,
            Blocking::AtOnce => Ok(work()),
        }
    }
}
