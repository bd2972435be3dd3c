//! Where this host finds its fleet's coordinators: the address in its settings, and those that the
//! coordinators tell it of.
//!
//! What was told is kept in a file, so that an agent that starts while the address in its settings is
//! of no coordinator any more finds another one. Never: a join with a token anywhere but at the address in
//! the settings, or trust in an address: whoever answers must prove to be this fleet's coordinator.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use longshore_common::{
    coordinator_address::{COORDINATORS_MAX, is_coordinator_address},
    secret_file,
    telemetry::chain,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::engine::topics::Entries;

/// Within the agent's data directory.
const FILE: &str = "coordinators.json";
/// Interval of attempts to write the file.
const WRITE_AGAIN: Duration = Duration::from_secs(60);
/// Cheap to clone; all clones know the same addresses.
#[derive(Clone, Debug)]
pub struct Coordinators(Arc<CoordinatorList>);

#[derive(Debug)]
struct CoordinatorList {
    /// `HOST:PORT`, as the settings say it.
    configured: String,
    path: PathBuf,
    known: Mutex<KnownCoordinators>,
}

#[derive(Debug, Default)]
struct KnownCoordinators {
    told: Vec<String>,
    /// The file holds `told`.
    is_kept: bool,
    answered_last: Option<String>,
}

/// The file's format.
#[derive(Serialize, Deserialize)]
struct CoordinatorsFile {
    coordinators: Vec<String>,
}

impl Coordinators {
    /// With what the file in `directory` holds; one that cannot be read counts as none.
    pub(crate) fn open(configured: &str, directory: &Path) -> Self {
        let path = directory.join(FILE);
        let kept =
            fs_err::read(&path).ok().and_then(|content| serde_json::from_slice(&content).ok());
        let told = kept.map_or_else(Vec::new, |kept: CoordinatorsFile| usable(kept.coordinators));
        let known = Mutex::new(KnownCoordinators { told, is_kept: true, answered_last: None });
        Coordinators(Arc::new(CoordinatorList { configured: configured.to_owned(), path, known }))
    }

    /// The address in the settings.
    pub(crate) fn configured(&self) -> &str {
        &self.0.configured
    }

    /// Where to ask, in this order: who answered last, the address in the settings, the others.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let known = self.lock();
        let all = known.answered_last.iter().chain([&self.0.configured]).chain(&known.told);
        let mut addresses: Vec<String> = Vec::new();
        for address in all {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses
    }

    /// The coordinator at `address` answered.
    pub(crate) fn answered(&self, address: &str) {
        let mut known = self.lock();
        if known.answered_last.as_deref() != Some(address) {
            if known.answered_last.is_some() || address != self.0.configured {
                tracing::info!(coordinator = address, "another coordinator of this fleet answers");
            }
            known.answered_last = Some(address.to_owned());
        }
    }

    /// Keeps what the topic holds, until `shutdown`.
    pub async fn keep_learning(
        self,
        mut topic: watch::Receiver<Option<Entries>>,
        shutdown: CancellationToken,
    ) {
        loop {
            let entries = topic.borrow_and_update().clone();
            let is_kept =
                entries.is_none_or(|entries| self.learn(entries.keys().cloned().collect()));
            let changed = async {
                match is_kept {
                    true => topic.changed().await,
                    false => {
                        let waited = tokio::time::timeout(WRITE_AGAIN, topic.changed()).await;
                        waited.unwrap_or(Ok(()))
                    }
                }
            };
            match shutdown.run_until_cancelled(changed).await {
                Some(Ok(())) => {}
                Some(Err(_)) | None => break,
            }
        }
    }

    /// Whether the list is in the file.
    fn learn(&self, told: Vec<String>) -> bool {
        let told = usable(told);
        {
            let mut known = self.lock();
            if known.told == told && known.is_kept {
                return true;
            }
            known.told.clone_from(&told);
            known.is_kept = false;
        }
        tracing::info!(coordinators = told.join(", "), "the fleet's coordinators are");
        let kept = serde_json::to_vec_pretty(&CoordinatorsFile { coordinators: told });
        let kept = kept.expect("plain values only");
        if let Err(error) = secret_file::replace(&self.0.path, &kept) {
            let error = chain(&error);
            tracing::warn!(error, "cannot keep the list of coordinators; trying again in a while");
            return false;
        }
        self.lock().is_kept = true;
        true
    }

    fn lock(&self) -> MutexGuard<'_, KnownCoordinators> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Addresses that can be dialled, as far as their form tells.
fn usable(mut addresses: Vec<String>) -> Vec<String> {
    addresses.retain(|address| is_coordinator_address(address));
    addresses.truncate(COORDINATORS_MAX);
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(addresses: &[&str]) -> Vec<String> {
        addresses.iter().map(|&address| address.to_owned()).collect()
    }

    #[test]
    fn addresses_begin_with_who_answered_last_and_outlive_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let coordinators = Coordinators::open("a:8421", directory.path());
        assert_eq!(coordinators.addresses(), ["a:8421"]);
        coordinators.learn(list(&["b:8421", "a:8421", "c:8421"]));
        assert_eq!(coordinators.addresses(), ["a:8421", "b:8421", "c:8421"]);
        coordinators.answered("c:8421");
        assert_eq!(coordinators.addresses(), ["c:8421", "a:8421", "b:8421"]);
        let restarted = Coordinators::open("a:8421", directory.path());
        assert_eq!(restarted.addresses(), ["a:8421", "b:8421", "c:8421"]);
        restarted.learn(Vec::new());
        assert_eq!(Coordinators::open("a:8421", directory.path()).addresses(), ["a:8421"]);
    }

    #[test]
    fn addresses_that_cannot_be_dialled_are_left_out() {
        assert_eq!(usable(list(&["b", "[::1]:8421", "b:0"])), ["[::1]:8421"]);
        assert_eq!(usable(vec!["b:1".to_owned(); 99]).len(), COORDINATORS_MAX);
    }

    #[test]
    fn damaged_file_counts_as_none() {
        let directory = tempfile::tempdir().unwrap();
        fs_err::write(directory.path().join(FILE), "{\"coordinators\": 5").unwrap();
        assert_eq!(Coordinators::open("a:8421", directory.path()).addresses(), ["a:8421"]);
    }
}
