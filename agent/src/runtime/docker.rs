//! Docker Engine 20.10 and later, by its unix socket. The only module that knows bollard.
//!
//! Owns each verb's timeout (ecs-behaviour 1.7) and what Docker's answers mean as errors. Reads
//! (inspect, list) go past bollard, in [`read`]: its types refuse an answer for one member that
//! they do not know, and an answer that is refused is an unknown container. So does start: bollard
//! does not tell done from already done. Never: TCP, a decision, a retry.

use std::{
    collections::BTreeSet,
    future::Future,
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use bollard::{
    errors::Error,
    models::EventMessage,
    query_parameters::{
        CreateContainerOptions, CreateImageOptions, EventsOptions, ImportImageOptions,
        KillContainerOptions, RemoveContainerOptions, RemoveImageOptions, RemoveVolumeOptions,
        StopContainerOptions,
    },
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use longshore_common::{clock::Timestamp, image_reference::name_and_tag, limits::LAST_LINES_MAX};
use tokio::sync::Semaphore;
use tracing::warn;

use self::{
    failure::{failed_by_status, with_causes},
    process::ContainerProcess,
    pull_error::as_the_registry_says,
    read::health_status,
    task_group::ControlGroups,
};
use super::{
    ByOthers, ContainerChange, ContainerConfig, ContainerDetails, ContainerRuntime,
    ContainerSummary, EventStream, EventSubject, Image, ImageSource, ImageSummary, OwnerLabel,
    ProcessEnd, PullProgress, RunState, RuntimeError, RuntimeEvent, RuntimeVersion, TaskGroup,
    Unknown, shorten,
};
use crate::settings::{Registries, Timeouts};

mod bridge;
mod create_body;
mod failure;
mod images;
mod last_lines;
mod process;
mod pull_error;
mod read;
mod registries;
mod task_group;
#[cfg(test)]
mod tests;

/// As it is sent, but for what only the engine tells.
pub(crate) fn create_body_of(config: &ContainerConfig) -> bollard::models::ContainerCreateBody {
    create_body::create_body(config, create_body::EngineFacts::default())
}

/// Time by which bollard's own timeout is longer than ours: it counts whole seconds, and only until
/// an answer's head.
const CLIENT_TIMEOUT_MARGIN: Duration = Duration::from_secs(2);

pub(crate) use bridge::{Bridge, BridgeAddresses, DEFAULT_BRIDGE};
pub(crate) use task_group::prepare_control_groups;

/// Among an engine's security options.
const SELINUX: &str = "selinux";

/// Docker's container and image events that say something here.
const EVENTS: [&str; 18] = [
    "start",
    "oom",
    "die",
    "health_status",
    "destroy",
    "pause",
    "unpause",
    "rename",
    "update",
    "commit",
    // Of the network that a container is taken from or given to.
    "disconnect",
    "connect",
    "pull",
    "tag",
    "untag",
    "delete",
    "load",
    "import",
];

/// Maximum of inspections for the processes of containers that started together: nobody waits for
/// the answers, and more at once would only take more memory.
const PROCESS_LOOKUPS_AT_ONCE: usize = 4;

/// A Docker Engine behind a unix socket. Making one does no I/O: the engine may come later.
#[derive(Debug)]
pub struct Docker {
    socket: PathBuf,
    timeouts: Timeouts,
    registries: Registries,
    /// Once an API version was agreed on.
    client: Mutex<Option<bollard::Docker>>,
    /// As the engine last said.
    control_groups: Mutex<Option<ControlGroups>>,
    /// Whether the engine labels files for SELinux; as the engine last said.
    selinux: OnceLock<bool>,
    /// Where the engine keeps its data; as it last said.
    data_root: Mutex<Option<PathBuf>>,
    process_lookups: Semaphore,
}

impl Docker {
    /// `address` is a path, with or without `unix://` before it.
    pub fn new(
        address: &str,
        timeouts: Timeouts,
        registries: Registries,
    ) -> Result<Self, NotAUnixSocket> {
        let path = address.strip_prefix("unix://").unwrap_or(address);
        if !path.starts_with('/') {
            return Err(NotAUnixSocket { address: address.to_owned() });
        }
        Ok(Docker {
            socket: PathBuf::from(path),
            timeouts,
            registries,
            client: Mutex::default(),
            control_groups: Mutex::default(),
            selinux: OnceLock::new(),
            data_root: Mutex::default(),
            process_lookups: Semaphore::new(PROCESS_LOOKUPS_AT_ONCE),
        })
    }

    /// A client whose requests name the agreed API version.
    async fn client(&self, timeout: Duration) -> Result<bollard::Docker, RuntimeError> {
        let known = self.known_client();
        let client = match known {
            Some(client) => client,
            None => self.connect().await?,
        };
        Ok(client.with_timeout(timeout + CLIENT_TIMEOUT_MARGIN))
    }

    fn known_client(&self) -> Option<bollard::Docker> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn connect(&self) -> Result<bollard::Docker, RuntimeError> {
        let timeout = self.timeouts.version;
        let seconds = (timeout + CLIENT_TIMEOUT_MARGIN).as_secs();
        let socket = self.socket.to_string_lossy();
        let version = bollard::API_DEFAULT_VERSION;
        let client = bollard::Docker::connect_with_unix(&socket, seconds, version)
            .map_err(|error| failed(error, timeout))?;
        let client = within(timeout, client.negotiate_version()).await?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }

    /// Docker would make a volume that is not there.
    async fn volume_exists(&self, volume: &str) -> Result<(), RuntimeError> {
        let path = format!("/volumes/{}", read::escaped(volume));
        match self.read(&path, self.timeouts.inspect).await {
            Ok(_) => Ok(()),
            Err(RuntimeError::NotFound { .. }) => Err(RuntimeError::Rejected {
                message: format!(
                    "there is no shared volume `{volume}` on this host; make it with `docker \
                     volume create {volume}`, or set autoprovision in its \
                     dockerVolumeConfiguration"
                ),
            }),
            Err(error) => Err(error),
        }
    }

    /// With the agreed API version.
    async fn path(&self, what: &str) -> Result<String, RuntimeError> {
        let version = self.client(self.timeouts.version).await?.client_version();
        Ok(format!("/v{}.{}{what}", version.major_version, version.minor_version))
    }

    async fn info(&self) -> Result<read::EngineInfo, RuntimeError> {
        let info = read::engine_info(&self.read("/info", self.timeouts.version).await?)?;
        let groups =
            ControlGroups::new(info.cgroup_version.as_deref(), info.cgroup_driver.as_deref());
        *self.control_groups.lock().unwrap_or_else(PoisonError::into_inner) = Some(groups);
        let root = info.data_root.clone();
        *self.data_root.lock().unwrap_or_else(PoisonError::into_inner) = root;
        self.selinux.get_or_init(|| info.security_options.iter().any(|name| name == SELINUX));
        Ok(info)
    }

    async fn labels_files(&self) -> Result<bool, RuntimeError> {
        if let Some(known) = self.selinux.get() {
            return Ok(*known);
        }
        self.info().await?;
        Ok(self.selinux.get().copied().unwrap_or(false))
    }

    async fn data_root(&self) -> Result<Option<PathBuf>, RuntimeError> {
        let known = self.data_root.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(root) => Ok(Some(root)),
            None => Ok(self.info().await?.data_root),
        }
    }

    async fn control_groups(&self) -> Result<ControlGroups, RuntimeError> {
        let known = || self.control_groups.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known() {
            return Ok(known);
        }
        self.info().await?;
        let none = "the engine does not tell how it keeps control groups".to_owned();
        known().ok_or_else(|| Unknown::Unreadable { message: none }.into())
    }

    async fn read(
        &self,
        what: &str,
        timeout: Duration,
    ) -> Result<read::DockerAnswer, RuntimeError> {
        let path = self.path(what).await?;
        match tokio::time::timeout(timeout, read::get(&self.socket, &path)).await {
            Ok(answer) => answer,
            Err(_) => Err(Unknown::Timeout { after: timeout }.into()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "`{address}` is not the path of a unix socket: this agent talks to Docker by its unix socket \
     only, unix:///var/run/docker.sock for example"
)]
pub struct NotAUnixSocket {
    address: String,
}

impl ContainerRuntime for Docker {
    async fn version(&self) -> Result<RuntimeVersion, RuntimeError> {
        // The engine may be another one than before.
        let client = self.connect().await?;
        let api = client.client_version();
        let version = within(self.timeouts.version, client.version()).await?;
        let info = self.info().await?;
        Ok(RuntimeVersion {
            log_drivers: info.log_drivers,
            volume_drivers: info.volume_drivers,
            security_options: info.security_options,
            data_root: info.data_root,
            containerd_images: info.containerd_images,
            version: version.version.unwrap_or_default(),
            api_version: format!("{}.{}", api.major_version, api.minor_version),
        })
    }

    async fn image(&self, reference: &str) -> Result<Image, RuntimeError> {
        let path = format!("/images/{}/json", read::escaped(reference));
        let answer = self.read(&path, self.timeouts.inspect).await?;
        read::image(&answer, reference)
    }

    async fn pull(
        &self,
        source: &ImageSource,
        mut progress: impl FnMut(PullProgress) + Send,
    ) -> Result<(), RuntimeError> {
        let (name, tag) = name_and_tag(&source.reference);
        let options = CreateImageOptions {
            from_image: Some(name.to_owned()),
            tag: Some(tag.to_owned()),
            ..CreateImageOptions::default()
        };
        let (mut silence, later) = (self.timeouts.manifest, self.timeouts.pull_silence);
        let client = self.client(silence.max(later)).await?;
        let login = self.registries.login(source).await?;
        let pulling = async {
            let mut lines = Box::pin(client.create_image(Some(options), None, login));
            while let Some(line) = said_within(silence, lines.try_next()).await? {
                silence = later;
                let detail = line.progress_detail.unwrap_or_default();
                let bytes = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
                progress(PullProgress {
                    layer: line.id,
                    status: line.status.unwrap_or_default(),
                    current_bytes: bytes(detail.current),
                    total_bytes: bytes(detail.total),
                });
            }
            Ok(())
        };
        match tokio::time::timeout(self.timeouts.pull, pulling).await {
            Ok(result) => result.map_err(as_the_registry_says),
            Err(_) => Err(Unknown::Timeout { after: self.timeouts.pull }.into()),
        }
    }

    async fn images(&self) -> Result<Vec<ImageSummary>, RuntimeError> {
        images::listed(&self.read("/images/json", self.timeouts.list).await?)
    }

    async fn images_in_use(&self) -> Result<BTreeSet<String>, RuntimeError> {
        images::of_containers(&self.read("/containers/json?all=true", self.timeouts.list).await?)
    }

    async fn remove_image(&self, name: &str) -> Result<(), RuntimeError> {
        let timeout = self.timeouts.remove;
        let client = self.client(timeout).await?;
        let unforced = None::<RemoveImageOptions>;
        within(timeout, client.remove_image(name, unforced, None)).await.map(drop)
    }

    async fn load(&self, reference: &str, archive: Bytes) -> Result<(), RuntimeError> {
        let timeout = self.timeouts.load;
        let client = self.client(timeout).await?;
        let options = ImportImageOptions { quiet: true, ..ImportImageOptions::default() };
        let loading = client.import_image(options, bollard::body_full(archive), None);
        within(timeout, loading.try_for_each(|_| std::future::ready(Ok(())))).await?;
        // An engine says what it has made of an archive in prose only.
        self.image(reference).await.map(|_| ())
    }

    async fn create(&self, name: &str, config: &ContainerConfig) -> Result<String, RuntimeError> {
        let timeout = self.timeouts.create;
        for volume in config.volumes.iter().filter(|volume| volume.must_exist) {
            self.volume_exists(&volume.name).await?;
        }
        let client = self.client(timeout).await?;
        let options = CreateContainerOptions { name: Some(name.to_owned()), ..Default::default() };
        let parent = match &config.group {
            Some(group) => Some(self.control_groups().await?.parent(group)),
            None => None,
        };
        let selinux = self.labels_files().await?;
        let engine = create_body::EngineFacts { group: parent, selinux };
        let body = create_body::create_body(config, engine);
        match within(timeout, client.create_container(Some(options), body)).await {
            Ok(created) => {
                for warning in created.warnings {
                    let warning = shorten(&warning);
                    warn!(container = name, warning, "Docker warns of a container that it made");
                }
                Ok(created.id)
            }
            Err(RuntimeError::NotFound { message }) if message.contains("o such image") => {
                Err(RuntimeError::ImageNotFound { message })
            }
            Err(error) => Err(error),
        }
    }

    async fn start(&self, container: &str, group: Option<&TaskGroup>) -> Result<(), RuntimeError> {
        if let Some(group) = group {
            self.control_groups().await?.ensure(group).await?;
        }
        let timeout = self.timeouts.start;
        let path = self.path(&format!("/containers/{}/start", read::escaped(container))).await?;
        let started = match tokio::time::timeout(timeout, read::post(&self.socket, &path)).await {
            Ok(started) => started?,
            Err(_) => return Err(Unknown::Timeout { after: timeout }.into()),
        };
        // What runs already was started by a call whose answer was lost. If it does not, Docker
        // has said what is not so, and the call may be made again.
        if !started && self.inspect(container).await?.state == RunState::Created {
            let message = format!("Docker says that {container} runs, and it was never started");
            return Err(Unknown::Engine { message }.into());
        }
        Ok(())
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<(), RuntimeError> {
        let timeout = grace + self.timeouts.stop;
        let client = self.client(timeout).await?;
        // Whole seconds, and never less than there is.
        let seconds = grace.as_millis().div_ceil(1000);
        let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
        let options = StopContainerOptions { t: Some(seconds), signal: None };
        within(timeout, client.stop_container(container, Some(options))).await
    }

    async fn kill(&self, container: &str) -> Result<(), RuntimeError> {
        let timeout = self.timeouts.stop;
        let client = self.client(timeout).await?;
        let options = KillContainerOptions { signal: "SIGKILL".to_owned() };
        match within(timeout, client.kill_container(container, Some(options))).await {
            // It does not run.
            Err(RuntimeError::Conflict { .. }) => Ok(()),
            result => result,
        }
    }

    async fn remove(&self, container: &str) -> Result<(), RuntimeError> {
        let timeout = self.timeouts.remove;
        let client = self.client(timeout).await?;
        let options = RemoveContainerOptions { v: true, force: false, link: false };
        within(timeout, client.remove_container(container, Some(options))).await
    }

    async fn remove_volume(&self, volume: &str) -> Result<(), RuntimeError> {
        let timeout = self.timeouts.remove;
        let client = self.client(timeout).await?;
        match within(timeout, client.remove_volume(volume, None::<RemoveVolumeOptions>)).await {
            Err(RuntimeError::NotFound { .. }) => Ok(()),
            result => result,
        }
    }

    async fn remove_group(&self, group: &str) -> Result<(), RuntimeError> {
        self.control_groups().await?.remove(group).await
    }

    async fn inspect(&self, container: &str) -> Result<ContainerDetails, RuntimeError> {
        let path = format!("/containers/{}/json", read::escaped(container));
        let answer = self.read(&path, self.timeouts.inspect).await?;
        let inspected = read::inspected(&answer)?;
        let root = match inspected.keeps_local_log() {
            true => self.data_root().await?,
            false => None,
        };
        Ok(inspected.details(root.as_deref()))
    }

    async fn process_ends(
        &self,
        container: &str,
        pid: Option<u32>,
    ) -> Result<ProcessEnd, RuntimeError> {
        let pid = match pid {
            Some(pid) => Some(pid),
            None => {
                let _turn = self.process_lookups.acquire().await;
                // Boxed, because every running container has one of these futures for as long as it runs.
                Box::pin(self.inspect(container)).await?.pid
            }
        };
        let unknown = |message| RuntimeError::from(Unknown::Unreadable { message });
        let pid = pid.ok_or_else(|| unknown("it shows no process".to_owned()))?;
        let process = ContainerProcess::open(pid, container).await;
        let process = process.map_err(|error| unknown(error.to_string()))?;
        process.ended().await.map_err(|error| unknown(error.to_string()))
    }

    async fn last_lines(&self, container: &str) -> Result<Vec<String>, RuntimeError> {
        let path = format!(
            "/containers/{}/logs?stdout=true&stderr=true&tail={LAST_LINES_MAX}",
            read::escaped(container)
        );
        let answer = self.read(&path, self.timeouts.last_lines).await?;
        Ok(last_lines::last_lines(answer.bytes()))
    }

    async fn list(&self, owner: &OwnerLabel) -> Result<Vec<ContainerSummary>, RuntimeError> {
        self.list_labelled(&format!("{}={}", owner.name, owner.value)).await
    }

    async fn list_labelled(&self, label: &str) -> Result<Vec<ContainerSummary>, RuntimeError> {
        let filters = serde_json::json!({ "label": [label] }).to_string();
        let path = format!("/containers/json?all=true&filters={}", read::escaped(&filters));
        let answer = self.read(&path, self.timeouts.list).await?;
        read::containers(&answer)
    }

    async fn events(
        &self,
        owner: &OwnerLabel,
        since: Timestamp,
    ) -> Result<EventStream, RuntimeError> {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let filters = [
            ("type".to_owned(), texts(&["container", "image", "network"])),
            ("event".to_owned(), texts(&EVENTS)),
        ];
        let options = EventsOptions {
            since: Some(format!("{}.{:03}", since.0 / 1000, since.0 % 1000)),
            until: None,
            filters: Some(filters.into_iter().collect()),
        };
        let timeout = self.timeouts.version;
        let client = self.client(timeout).await?;
        let owner = owner.clone();
        let events = client.events(Some(options)).filter_map(move |event| {
            let event = match event {
                Ok(event) => runtime_event(event, &owner).map(Ok),
                Err(error) => Some(Err(failed(error, timeout))),
            };
            std::future::ready(event)
        });
        Ok(events.boxed())
    }
}

fn runtime_event(event: EventMessage, owner: &OwnerLabel) -> Option<RuntimeEvent> {
    let at = Timestamp(u64::try_from(event.time_nano.unwrap_or_default()).ok()? / 1_000_000);
    let actor = event.actor?;
    let attributes = actor.attributes.unwrap_or_default();
    if event.typ == Some(bollard::models::EventMessageTypeEnum::IMAGE) {
        return Some(RuntimeEvent { at, subject: EventSubject::Image });
    }
    let action = event.action?;
    if event.typ == Some(bollard::models::EventMessageTypeEnum::NETWORK) {
        // Of any container: the network's labels are not the container's. Unknown ones are left out
        // by who reads this.
        let change = match action.as_str() {
            "disconnect" => ContainerChange::LeftNetwork,
            "connect" => ContainerChange::JoinedNetwork,
            _ => return None,
        };
        let id = attributes.get("container")?.clone();
        return Some(RuntimeEvent { at, subject: EventSubject::Container { id, change } });
    }
    if attributes.get(&owner.name) != Some(&owner.value) {
        return None;
    }
    let change = match action.as_str() {
        "start" => ContainerChange::Started,
        "oom" => ContainerChange::OutOfMemory,
        "die" => ContainerChange::Exited {
            exit_code: attributes.get("exitCode").and_then(|code| code.parse().ok()),
        },
        "destroy" => ContainerChange::Removed,
        "pause" => ContainerChange::ByOthers(ByOthers::Paused),
        "unpause" => ContainerChange::ByOthers(ByOthers::Unpaused),
        "rename" => ContainerChange::ByOthers(ByOthers::Renamed),
        "update" => ContainerChange::ByOthers(ByOthers::Updated),
        "commit" => ContainerChange::ByOthers(ByOthers::Committed),
        other => {
            let health = other.strip_prefix("health_status")?.trim_start_matches([':', ' ']);
            ContainerChange::Health(health_status(health))
        }
    };
    Some(RuntimeEvent { at, subject: EventSubject::Container { id: actor.id?, change } })
}

/// A pull that says nothing waits for its registry, and may be tried again.
async fn said_within<T>(
    silence: Duration,
    line: impl Future<Output = Result<T, Error>>,
) -> Result<T, RuntimeError> {
    match tokio::time::timeout(silence, line).await {
        Ok(Err(Error::RequestTimeoutError)) | Err(_) => {
            let seconds = silence.as_secs();
            let message = format!("the pull made no progress for {seconds} s");
            Err(Unknown::Registry { message }.into())
        }
        Ok(said) => said.map_err(|error| failed(error, silence)),
    }
}

/// bollard's own timeout ends with an answer's head; a body may hang too.
async fn within<T>(
    timeout: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, RuntimeError> {
    match tokio::time::timeout(timeout, call).await {
        Ok(result) => result.map_err(|error| failed(error, timeout)),
        Err(_) => Err(Unknown::Timeout { after: timeout }.into()),
    }
}

fn failed(error: Error, timeout: Duration) -> RuntimeError {
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            failed_by_status(status_code, message)
        }
        Error::RequestTimeoutError => Unknown::Timeout { after: timeout }.into(),
        Error::DockerStreamError { error } => Unknown::Engine { message: error }.into(),
        Error::JsonDataError { message, .. } => Unknown::Unreadable { message }.into(),
        Error::JsonSerdeError { err } => Unknown::Unreadable { message: err.to_string() }.into(),
        other => RuntimeError::transport(with_causes(&other)),
    }
}
