//! A container engine whose `awslogs` containers are followed: tells the follower what starts, ends and
//! goes, and lets no container be removed before its log is stored.
//!
//! Never: another answer than the engine's own.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use longshore_common::{clock::Timestamp, index::FastSet};
use tokio::sync::{mpsc, oneshot};

use super::{
    docker_log::folder_of_containers,
    follows::{Command, Follows},
};
use crate::{
    host::docker_reach::{hidden_data_root, is_hidden},
    logs::destination::LogDestination,
    runtime::{
        ContainerChange, ContainerConfig, ContainerDetails, ContainerRuntime, ContainerSummary,
        EventStream, EventSubject, Image, ImageSource, ImageSummary, OwnerLabel, ProcessEnd,
        PullProgress, RunState, RuntimeError, RuntimeVersion, TaskGroup,
    },
    task::labels,
};

/// Timeout of storing a container's log, for which the container's removal waits.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum of news of containers that wait to be passed on. What does not fit is seen at the next
/// listing.
const HEARD_QUEUED_MAX: usize = 4096;

/// What the engine said of a container whose log is followed.
enum LogNews {
    Runs(String),
    Ended(String),
}

async fn pass_on<R: ContainerRuntime>(
    engine: Arc<R>,
    follows: Follows,
    mut inbox: mpsc::Receiver<LogNews>,
) {
    while let Some(heard) = inbox.recv().await {
        match heard {
            LogNews::Runs(id) => follows.look(&*engine, id).await,
            LogNews::Ended(id) => follows.tell(Command::Ended { id }).await,
        }
    }
}

pub(crate) struct LoggedRuntime<R> {
    engine: Arc<R>,
    follows: Follows,
    /// One after the other, so that an end is never taken for that of a later start.
    heard: mpsc::Sender<LogNews>,
    /// Containers whose log is followed, or will be once they start.
    logged: Arc<Mutex<FastSet<String>>>,
    /// Set once a log was seen where Docker keeps them.
    readable: AtomicBool,
}

impl<R: ContainerRuntime> LoggedRuntime<R> {
    pub(crate) fn new(engine: R, follows: Follows) -> Self {
        let engine = Arc::new(engine);
        let (heard, inbox) = mpsc::channel(HEARD_QUEUED_MAX);
        tokio::spawn(pass_on(engine.clone(), follows.clone(), inbox));
        LoggedRuntime {
            engine,
            follows,
            heard,
            logged: Arc::default(),
            readable: AtomicBool::default(),
        }
    }

    /// Takes a container away again whose log could not be read: its lines would be lost unseen.
    async fn refuse_unless_readable(&self, id: &str) -> Result<(), RuntimeError> {
        if self.readable.load(Ordering::Relaxed) {
            return Ok(());
        }
        let path = self.engine.inspect(id).await?.log_path.map(PathBuf::from);
        let folder = path.as_deref().and_then(folder_of_containers);
        let Some(hidden) = folder else { return Ok(()) };
        if !is_hidden(hidden).await {
            self.readable.store(true, Ordering::Relaxed);
            return Ok(());
        }
        self.engine.remove(id).await?;
        let root = hidden.parent().unwrap_or(hidden);
        Err(RuntimeError::Rejected { message: hidden_data_root(root) })
    }

    fn is_logged(&self, id: &str) -> bool {
        self.logged.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    fn note(&self, id: &str) {
        self.logged.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
    }
}

/// Docker refuses a size without the mode that daemon.json leaves to the container.
fn with_cure(error: RuntimeError) -> RuntimeError {
    match error {
        RuntimeError::Rejected { message } if message.contains("max-buffer-size") => {
            let cure = "remove max-buffer-size from the log-opts of Docker's daemon.json, or give the \
                        container the log option mode=non-blocking";
            RuntimeError::Rejected { message: format!("{message}; {cure}") }
        }
        other => other,
    }
}

impl<R: ContainerRuntime> ContainerRuntime for LoggedRuntime<R> {
    async fn version(&self) -> Result<RuntimeVersion, RuntimeError> {
        self.engine.version().await
    }

    async fn image(&self, reference: &str) -> Result<Image, RuntimeError> {
        self.engine.image(reference).await
    }

    async fn pull(
        &self,
        source: &ImageSource,
        progress: impl FnMut(PullProgress) + Send,
    ) -> Result<(), RuntimeError> {
        self.engine.pull(source, progress).await
    }

    async fn images(&self) -> Result<Vec<ImageSummary>, RuntimeError> {
        self.engine.images().await
    }

    async fn images_in_use(&self) -> Result<BTreeSet<String>, RuntimeError> {
        self.engine.images_in_use().await
    }

    async fn remove_image(&self, name: &str) -> Result<(), RuntimeError> {
        self.engine.remove_image(name).await
    }

    async fn load(&self, reference: &str, archive: Bytes) -> Result<(), RuntimeError> {
        self.engine.load(reference, archive).await
    }

    async fn create(&self, name: &str, config: &ContainerConfig) -> Result<String, RuntimeError> {
        let id = self.engine.create(name, config).await.map_err(with_cure)?;
        if LogDestination::of(&config.labels).is_some() {
            self.refuse_unless_readable(&id).await?;
            self.note(&id);
        }
        Ok(id)
    }

    async fn start(&self, container: &str, group: Option<&TaskGroup>) -> Result<(), RuntimeError> {
        self.engine.start(container, group).await
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<(), RuntimeError> {
        self.engine.stop(container, grace).await
    }

    async fn kill(&self, container: &str) -> Result<(), RuntimeError> {
        self.engine.kill(container).await
    }

    async fn remove(&self, container: &str) -> Result<(), RuntimeError> {
        if !self.is_logged(container) {
            return self.engine.remove(container).await;
        }
        self.follows.look(&*self.engine, container.to_owned()).await;
        let (done, stored) = oneshot::channel();
        self.follows.tell(Command::Drain { id: container.to_owned(), done }).await;
        if tokio::time::timeout(DRAIN_TIMEOUT, stored).await.is_err() {
            let message = "its log is not stored yet".to_owned();
            return Err(RuntimeError::Conflict { message });
        }
        self.engine.remove(container).await?;
        self.logged.lock().unwrap_or_else(PoisonError::into_inner).remove(container);
        self.follows.tell(Command::Forget { id: container.to_owned() }).await;
        Ok(())
    }

    async fn remove_volume(&self, volume: &str) -> Result<(), RuntimeError> {
        self.engine.remove_volume(volume).await
    }

    async fn remove_group(&self, group: &str) -> Result<(), RuntimeError> {
        self.engine.remove_group(group).await
    }

    async fn inspect(&self, container: &str) -> Result<ContainerDetails, RuntimeError> {
        self.engine.inspect(container).await
    }

    async fn process_ends(
        &self,
        container: &str,
        pid: Option<u32>,
    ) -> Result<ProcessEnd, RuntimeError> {
        self.engine.process_ends(container, pid).await
    }

    async fn last_lines(&self, container: &str) -> Result<Vec<String>, RuntimeError> {
        self.engine.last_lines(container).await
    }

    async fn list(&self, owner: &OwnerLabel) -> Result<Vec<ContainerSummary>, RuntimeError> {
        let since = self.follows.told();
        let listing = self.engine.list(owner).await?;
        let is_logged = |summary: &&ContainerSummary| {
            LogDestination::of(&summary.labels).is_some() && labels::name_fits(summary)
        };
        let logged = listing.iter().filter(is_logged);
        let (mut present, mut to_look_at) = (BTreeSet::new(), Vec::new());
        for summary in logged {
            self.note(&summary.id);
            present.insert(summary.id.clone());
            match summary.state {
                RunState::Created => {}
                RunState::Running | RunState::Exited => to_look_at.push(summary.id.clone()),
            }
        }
        self.follows.tell(Command::Present { ids: present, since }).await;
        for id in to_look_at {
            let _ = self.heard.try_send(LogNews::Runs(id));
        }
        Ok(listing)
    }

    async fn list_labelled(&self, label: &str) -> Result<Vec<ContainerSummary>, RuntimeError> {
        self.engine.list_labelled(label).await
    }

    async fn events(
        &self,
        owner: &OwnerLabel,
        since: Timestamp,
    ) -> Result<EventStream, RuntimeError> {
        let events = self.engine.events(owner, since).await?;
        let (heard, logged) = (self.heard.clone(), self.logged.clone());
        let told = events.inspect(move |event| {
            let Ok(event) = event else { return };
            let EventSubject::Container { id, change } = &event.subject else { return };
            if !logged.lock().unwrap_or_else(PoisonError::into_inner).contains(id) {
                return;
            }
            let news = match change {
                ContainerChange::Started => LogNews::Runs(id.clone()),
                ContainerChange::Exited { .. } => LogNews::Ended(id.clone()),
                ContainerChange::OutOfMemory
                | ContainerChange::Health(_)
                | ContainerChange::LeftNetwork
                | ContainerChange::JoinedNetwork
                | ContainerChange::ByOthers(_)
                | ContainerChange::Removed => return,
            };
            let _ = heard.try_send(news);
        });
        Ok(told.boxed())
    }
}

#[cfg(test)]
mod tests;
