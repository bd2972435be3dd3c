//! The calls of the agent, as the engine in memory answers them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use longshore_common::clock::Timestamp;
use tokio::sync::oneshot;

use super::{KILLED, engine::FakeEvent, id_of};
use crate::runtime::{
    ContainerChange, ContainerConfig, ContainerDetails, ContainerRuntime, ContainerSummary,
    EventStream, EventSubject, Image, ImageSource, ImageSummary, OwnerLabel, ProcessEnd,
    PullProgress, RunState, RuntimeError, RuntimeVersion, TaskGroup,
    fake::{
        FakeRuntime,
        engine::{FakeContainer, Verb},
    },
};

impl ContainerRuntime for FakeRuntime {
    async fn version(&self) -> Result<RuntimeVersion, RuntimeError> {
        let version = RuntimeVersion {
            version: "fake".to_owned(),
            api_version: "1.41".to_owned(),
            log_drivers: vec!["json-file".to_owned(), "none".to_owned()],
            volume_drivers: vec!["local".to_owned()],
            security_options: Vec::new(),
            data_root: None,
            containerd_images: self.engine().containerd_images,
        };
        self.call(Verb::Version, "", |_| Ok(version)).await
    }

    async fn image(&self, reference: &str) -> Result<Image, RuntimeError> {
        let missing = || RuntimeError::NotFound { message: format!("No such image: {reference}") };
        let find = |fake: &Self| fake.engine().images.get(reference).cloned().ok_or_else(missing);
        self.call(Verb::Image, reference, find).await
    }

    async fn pull(
        &self,
        source: &ImageSource,
        mut progress: impl FnMut(PullProgress) + Send,
    ) -> Result<(), RuntimeError> {
        let reference = &*source.reference;
        progress(PullProgress { status: "Pulling".to_owned(), ..PullProgress::default() });
        let pull = |fake: &Self| {
            let mut engine = fake.engine();
            let missing = || RuntimeError::NotFound {
                message: format!("manifest for {reference} not found: manifest unknown"),
            };
            let image = engine.registry.get(reference).cloned().ok_or_else(missing)?;
            let before = engine.images.insert(reference.to_owned(), image.clone());
            if let Some(before) = before.filter(|before| before.id != image.id) {
                engine.unnamed.push(before);
            }
            Ok(())
        };
        self.call(Verb::Pull, reference, pull).await?;
        self.say_event(EventSubject::Image, BTreeMap::new());
        Ok(())
    }

    async fn images(&self) -> Result<Vec<ImageSummary>, RuntimeError> {
        let list = |fake: &Self| {
            let engine = fake.engine();
            let named = engine.images.iter().map(|(name, image)| (Some(name), image));
            let mut images: BTreeMap<&String, ImageSummary> = BTreeMap::new();
            for (name, image) in named.chain(engine.unnamed.iter().map(|image| (None, image))) {
                let summary = images.entry(&image.id).or_default();
                summary.id.clone_from(&image.id);
                summary.tags.extend(name.cloned());
                summary.digests.extend(image.digest.as_ref().map(|of| format!("any@{of}")));
            }
            Ok(images.into_values().collect())
        };
        self.call(Verb::Images, "", list).await
    }

    async fn images_in_use(&self) -> Result<BTreeSet<String>, RuntimeError> {
        let ids = |fake: &Self| {
            Ok(fake.engine().containers.values().filter_map(|c| c.image_id.clone()).collect())
        };
        self.call(Verb::ImagesInUse, "", ids).await
    }

    async fn remove_image(&self, name: &str) -> Result<(), RuntimeError> {
        let remove = |fake: &Self| {
            let mut engine = fake.engine();
            let id = engine.images.get(name).map_or(name, |image| &image.id).to_owned();
            if engine.containers.values().any(|c| c.image_id.as_ref() == Some(&id)) {
                let message = format!("conflict: unable to delete {id} (must be forced)");
                return Err(RuntimeError::Conflict { message });
            }
            let before = engine.images.len() + engine.unnamed.len();
            engine.images.remove(name);
            engine.unnamed.retain(|image| image.id != name);
            if engine.images.len() + engine.unnamed.len() == before {
                return Err(RuntimeError::NotFound { message: format!("No such image: {name}") });
            }
            Ok(())
        };
        self.call(Verb::RemoveImage, name, remove).await?;
        self.say_event(EventSubject::Image, BTreeMap::new());
        Ok(())
    }

    async fn load(&self, reference: &str, _archive: Bytes) -> Result<(), RuntimeError> {
        let load = |fake: &Self| {
            let image = Image { id: id_of(reference), digest: None };
            fake.engine().images.insert(reference.to_owned(), image);
            Ok(())
        };
        self.call(Verb::Load, reference, load).await?;
        self.say_event(EventSubject::Image, BTreeMap::new());
        Ok(())
    }

    async fn create(&self, name: &str, config: &ContainerConfig) -> Result<String, RuntimeError> {
        let create = |fake: &Self| {
            let taken = fake.engine().containers.values().any(|c| c.name == name);
            if taken {
                let message = format!("Conflict. The container name \"/{name}\" is in use");
                return Err(RuntimeError::Conflict { message });
            }
            if !fake.engine().images.contains_key(&config.image) {
                let message = format!("No such image: {}", config.image);
                return Err(RuntimeError::ImageNotFound { message });
            }
            Ok(fake.make(name, config))
        };
        self.call(Verb::Create, name, create).await
    }

    async fn start(&self, container: &str, _group: Option<&TaskGroup>) -> Result<(), RuntimeError> {
        let start = |fake: &Self| fake.start_now(container);
        self.call(Verb::Start, container, start).await
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<(), RuntimeError> {
        let behaviour = {
            let mut engine = self.engine();
            let image = engine.container(container).map(|c| c.config.image.clone());
            image.map(|image| engine.behaviour(&image)).unwrap_or_default()
        };
        self.note(Verb::Stop, container);
        let killed = behaviour.stops_after > grace;
        let ending = behaviour.stops_after.min(grace);
        if ending > Duration::ZERO && *self.up.borrow() {
            let mut up = self.up.subscribe();
            tokio::select! {
                () = tokio::time::sleep(ending) => {}
                _ = up.wait_for(|up| !up) => return Err(RuntimeError::transport("EOF")),
            }
        }
        let stop = |fake: &Self| {
            let id = fake.engine().container(container)?.id.clone();
            fake.end(&id, if killed { KILLED } else { behaviour.exit_code }, false);
            Ok(())
        };
        self.carry_out(Verb::Stop, stop).await
    }

    async fn kill(&self, container: &str) -> Result<(), RuntimeError> {
        let kill = |fake: &Self| {
            let id = fake.engine().container(container)?.id.clone();
            fake.end(&id, KILLED, false);
            Ok(())
        };
        self.call(Verb::Kill, container, kill).await
    }

    async fn remove(&self, container: &str) -> Result<(), RuntimeError> {
        let remove = |fake: &Self| {
            let (id, state) = {
                let mut engine = fake.engine();
                let container = engine.container(container)?;
                (container.id.clone(), container.state)
            };
            if state == RunState::Running {
                let message = format!("You cannot remove a running container {id}");
                return Err(RuntimeError::Conflict { message });
            }
            fake.say(&id, ContainerChange::Removed);
            fake.engine().containers.remove(&id);
            Ok(())
        };
        self.call(Verb::Remove, container, remove).await
    }

    async fn remove_volume(&self, volume: &str) -> Result<(), RuntimeError> {
        self.call(Verb::RemoveVolume, volume, |_| Ok(())).await
    }

    async fn remove_group(&self, group: &str) -> Result<(), RuntimeError> {
        self.call(Verb::RemoveGroup, group, |_| Ok(())).await
    }

    async fn process_ends(
        &self,
        container: &str,
        _pid: Option<u32>,
    ) -> Result<ProcessEnd, RuntimeError> {
        let (waits, ended) = oneshot::channel();
        self.engine().processes.entry(container.to_owned()).or_default().push(waits);
        ended.await.map_err(|_| RuntimeError::transport("the engine told it first"))
    }

    async fn inspect(&self, container: &str) -> Result<ContainerDetails, RuntimeError> {
        let inspect = |fake: &Self| {
            let mut engine = fake.engine();
            let c = engine.container(container)?.clone();
            let log = engine.logs.as_ref().map(|folder| folder.join(format!("{}-json.log", c.id)));
            Ok(ContainerDetails {
                id: c.id,
                name: c.name,
                labels: c.config.labels,
                state: c.state,
                pid: None,
                log_path: log.map(|path| path.display().to_string()),
                exit_code: c.exit_code,
                oom_killed: c.oom_killed,
                error: None,
                started_at: c.started_at,
                finished_at: c.finished_at,
                health: c.health,
                bindings: c.bindings,
                created_at: Some(c.created_at),
                image_id: c.image_id,
                addresses: c.address.into_iter().collect(),
                mounts: Vec::new(),
            })
        };
        self.call(Verb::Inspect, container, inspect).await
    }

    async fn last_lines(&self, container: &str) -> Result<Vec<String>, RuntimeError> {
        let lines = |fake: &Self| {
            let mut engine = fake.engine();
            let image = engine.container(container)?.config.image.clone();
            Ok(engine.behaviour(&image).last_lines)
        };
        self.call(Verb::LastLines, container, lines).await
    }

    async fn list(&self, owner: &OwnerLabel) -> Result<Vec<ContainerSummary>, RuntimeError> {
        let listed = |c: &FakeContainer| owner.is_on(&c.config.labels);
        self.call(Verb::List, &owner.value, |fake: &Self| Ok(fake.engine().listed(listed))).await
    }

    async fn list_labelled(&self, label: &str) -> Result<Vec<ContainerSummary>, RuntimeError> {
        let listed = |c: &FakeContainer| c.config.labels.contains_key(label);
        self.call(Verb::List, label, |fake: &Self| Ok(fake.engine().listed(listed))).await
    }

    async fn events(
        &self,
        owner: &OwnerLabel,
        since: Timestamp,
    ) -> Result<EventStream, RuntimeError> {
        let subscribe = |fake: &Self| {
            let receiver = fake.events.subscribe();
            let earlier: Vec<FakeEvent> =
                fake.engine().said.iter().filter(|said| said.event.at >= since).cloned().collect();
            Ok((receiver, earlier))
        };
        let (receiver, earlier) = self.call(Verb::Events, &owner.value, subscribe).await?;
        let live =
            stream::unfold((receiver, self.up.subscribe()), |(mut receiver, mut up)| async {
                let said = tokio::select! {
                    said = receiver.recv() => said.ok()?,
                    _ = up.wait_for(|up| !up) => return None,
                };
                Some((said, (receiver, up)))
            });
        let owner = owner.clone();
        let events = stream::iter(earlier).chain(live).filter_map(move |said| {
            let wanted = match said.event.subject {
                EventSubject::Container { .. } => owner.is_on(&said.labels),
                EventSubject::Image => true,
            };
            std::future::ready(wanted.then_some(Ok(said.event)))
        });
        Ok(events.boxed())
    }
}
