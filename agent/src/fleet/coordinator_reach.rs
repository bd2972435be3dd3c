//! Whether the coordinator polls this host: logged once when its polls stop, and once when they come
//! again. The registration learns of a silence that lasts.
//!
//! Never: a conclusion about a task. Tasks run on, however long the coordinator is silent.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    fleet::registration::random_share,
    status::{AWAY_AFTER, Status},
};

/// Silence after which this host asks whether it is still a member of the fleet, at the least. Up to as
/// much again is added by chance: a coordinator that was away for a moment is not asked by all its
/// hosts at once.
const ASK_AFTER: Duration = Duration::from_secs(30);
/// Interval between two looks at the last poll's age.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A change that the log has not told yet.
#[derive(Debug, PartialEq, Eq)]
enum SilenceNews {
    Away,
    Back { after: Duration },
}

/// What the log has told last.
#[derive(Default)]
struct SilenceWatch {
    /// The silence at the last look, while the coordinator counts as away.
    away: Option<Duration>,
}

impl SilenceWatch {
    fn look(&mut self, silence: Duration) -> Option<SilenceNews> {
        if silence >= AWAY_AFTER {
            return self.away.replace(silence).is_none().then_some(SilenceNews::Away);
        }
        self.away.take().map(|after| SilenceNews::Back { after })
    }
}

/// Looks until `shutdown`. `silent` is true while the silence is long enough to ask why.
pub(crate) async fn keep_watching(
    status: Arc<Status>,
    coordinator: String,
    silent: watch::Sender<bool>,
    shutdown: CancellationToken,
) {
    let mut watch = SilenceWatch::default();
    let ask_after = ASK_AFTER.mul_f64(1.0 + random_share());
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(looks.tick()).await.is_some() {
        let silence = status.silence().unwrap_or_default();
        match watch.look(silence) {
            Some(SilenceNews::Away) => tracing::warn!(
                coordinator,
                silent_for_s = silence.as_secs(),
                "the coordinator does not poll this host: its tasks run on, and new orders wait \
                 until it does"
            ),
            Some(SilenceNews::Back { after }) => tracing::info!(
                coordinator,
                silent_for_s = after.as_secs(),
                "the coordinator polls this host again"
            ),
            None => {}
        }
        let asks = silence >= ask_after;
        silent.send_if_modified(|silent| std::mem::replace(silent, asks) != asks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_said_once_and_so_is_its_end() {
        let mut watch = SilenceWatch::default();
        let silences = [0, 14, 15, 16, 300, 301, 2, 1, 15, 0];
        let said: Vec<_> = silences
            .into_iter()
            .filter_map(|seconds| watch.look(Duration::from_secs(seconds)))
            .collect();
        let back = |seconds| SilenceNews::Back { after: Duration::from_secs(seconds) };
        assert_eq!(said, [SilenceNews::Away, back(301), SilenceNews::Away, back(15)]);
    }
}
