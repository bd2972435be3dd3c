//! Panics that must stay where they are: one host's poller, one call of a hook or a launcher.
//!
//! A panic is a fault of ours, said in the log. What belongs to one host or one call costs that one a
//! pause; whatever is not contained here ends the coordinator, which its service manager starts again.
//! Never: a panic inside of the state or the journal.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::task::JoinError;

/// Time for which something that panicked rests (ours), so that one that panics each time costs
/// little.
const REST: Duration = Duration::from_secs(30);

/// What `work` gives, or nothing, after a rest, when it panicked.
pub(crate) async fn contained<T>(
    what: &'static str,
    of: impl std::fmt::Display,
    work: impl Future<Output = T>,
) -> Option<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => Some(done),
        Err(_panic) => {
            tracing::error!(
                what, %of, rest = ?REST,
                "a part of the coordinator panicked: it is begun again after a rest; please report \
                 the message above"
            );
            tokio::time::sleep(REST).await;
            None
        }
    }
}

/// Panics as the task did. One that was cancelled ended with its runtime, and ends nothing.
pub(crate) fn resume(ended: JoinError) {
    if let Ok(panic) = ended.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn panic_costs_a_rest_and_nothing_else() {
        let began = tokio::time::Instant::now();
        assert_eq!(contained("call", 1, async { 7 }).await, Some(7));
        assert_eq!(began.elapsed(), Duration::ZERO);
        let broken: Option<()> = contained("call", 2, async { panic!("planted") }).await;
        assert_eq!(broken, None);
        assert_eq!(began.elapsed(), REST);
    }
}
