//! Completes the metadata file of each container that runs: what only the engine can tell of it.
//!
//! Never: what is in the file (that is `plan::metadata_file`), or a task that waits for it.

use std::{sync::Arc, time::Duration};

use tracing::debug;

use super::{finished::Finished, state::Engine, timer::Timer};
use crate::{
    engine::plan::metadata_file,
    preparation,
    runtime::{ContainerRuntime, RuntimeError},
    task::{intent::Intent, key::TaskKey, rules::Rules},
};

/// Pause before a metadata file that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(5);

impl<R: ContainerRuntime> Engine<R> {
    /// Once for each start of a container, and again by a restarted agent: the same is written.
    pub(super) fn complete_metadata_files(&mut self, key: TaskKey) {
        if !metadata_file::are_written(&self.rules) || !self.synced {
            return;
        }
        let Some(task) = self.tasks.get_mut(&key) else { return };
        let Some(intent) = task.desired.intent.clone() else { return };
        for index in 0..intent.definition.spec.container_definitions.len() {
            let container = &task.observed.containers[index];
            let Some((id, _)) = container.running() else { continue };
            let run = Some((id.to_owned(), container.restarts));
            if task.metadata_of[index] == run {
                continue;
            }
            let id = id.to_owned();
            task.metadata_of[index] = run;
            let (runtime, rules, intent) =
                (self.runtime.clone(), self.rules.clone(), intent.clone());
            let serial = task.serial;
            self.steps.spawn(async move {
                let result = complete(&*runtime, &intent, index, &rules, &id).await;
                Finished::MetadataFile { key, serial, index, result }
            });
        }
    }

    pub(super) fn metadata_file_completed(
        &mut self,
        key: TaskKey,
        serial: u64,
        index: usize,
        result: Result<(), RuntimeError>,
    ) {
        let Some(task) = self.tasks.get_mut(&key).filter(|task| task.serial == serial) else {
            return;
        };
        if let Err(error) = result {
            debug!(
                host = %self.config.host, task = %key.task,
                container = task.desired.containers[index].name, %error,
                "a metadata file is not complete yet",
            );
            task.metadata_of[index] = None;
            self.set_timer(RETRY, Timer::MetadataFiles(key));
        }
    }
}

async fn complete<R: ContainerRuntime>(
    runtime: &R,
    intent: &Arc<Intent>,
    index: usize,
    rules: &Rules,
    id: &str,
) -> Result<(), RuntimeError> {
    let details = runtime.inspect(id).await?;
    let text = metadata_file::text(intent, index, rules, Some(&details));
    match text.map_err(|message| RuntimeError::NotPrepared { message })? {
        Some(text) => preparation::rewrite(&metadata_file::path(intent, index, rules), text).await,
        None => Ok(()),
    }
}
