//! A container engine in memory, for tests and simulations: scripted failures, latencies, crashes.
//!
//! Behaves as Docker where the agent can tell: names are unique, events come before replies, a
//! stopped container stays until removed. Never: I/O, or a clock of its own (latencies are
//! `tokio::time`, timestamps come from the injected clock).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use longshore_common::{
    clock::{Clock, Timestamp},
    protocol::NetworkBinding,
    task::HealthStatus,
};
use tokio::sync::{Notify, broadcast, oneshot, watch};

use super::{
    ByOthers, ContainerChange, ContainerConfig, ContainerDetails, ContainerRuntime,
    ContainerSummary, EventStream, EventSubject, Image, ImageSource, ImageSummary, Network,
    OwnerLabel, ProcessEnd, PullProgress, RunState, RuntimeError, RuntimeEvent, RuntimeVersion,
    TaskGroup, Unknown,
};

#[cfg(test)]
mod tests;

/// Who waits for the end of one process.
pub struct FakeProcess(Vec<oneshot::Sender<ProcessEnd>>);

impl FakeProcess {
    /// The kernel kills it for its memory, and says so.
    pub fn killed_for_memory(self) {
        self.tell(ProcessEnd { memory_kill: true });
    }

    fn tell(self, end: ProcessEnd) {
        for waits in self.0 {
            let _ = waits.send(end);
        }
    }
}

/// As many as Docker keeps for subscribers that come later.
const EVENTS_KEPT: usize = 256;
const FIRST_DYNAMIC_PORT: u16 = 49_153;
/// 127.17.0.0/16: of the loopback network, so that a test can speak from a container's address.
const LOOPBACK_PREFIX: u32 = 0x7f11_0000;
/// 128 and the number of SIGKILL, of SIGTERM.
const KILLED: i32 = 137;
const TERMINATED: i32 = 143;

/// A handle on one engine: clones are the same engine.
#[derive(Clone)]
pub struct FakeRuntime {
    engine: Arc<Mutex<Engine>>,
    clock: Arc<dyn Clock>,
    events: broadcast::Sender<Said>,
    up: Arc<watch::Sender<bool>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    Version,
    Image,
    Images,
    ImagesInUse,
    RemoveImage,
    Pull,
    Load,
    Create,
    Start,
    Stop,
    Kill,
    Remove,
    RemoveVolume,
    RemoveGroup,
    LastLines,
    Inspect,
    List,
    Events,
}

/// What happens to a call instead of, or on top of, what it does.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Not done, and this is the answer.
    Fails(RuntimeError),
    /// Done, but the reply is lost.
    ReplyLost,
    /// Done, but the reply comes when that is told of.
    ReplyHeld(Arc<Notify>),
    /// Not done, and no answer for this long; then a timeout.
    Hangs(Duration),
}

/// What an image's containers do when started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Absent: until stopped.
    pub runs_for: Option<Duration>,
    pub exit_code: i32,
    /// After the stop signal; longer than the grace means killed.
    pub stops_after: Duration,
    /// What it wrote.
    pub last_lines: Vec<String>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            runs_for: None,
            exit_code: TERMINATED,
            stops_after: Duration::ZERO,
            last_lines: Vec::new(),
        }
    }
}

/// One call, as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub verb: Verb,
    /// An id, a name or an image.
    pub target: String,
}

/// A container as a test looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeContainer {
    pub id: String,
    pub name: String,
    pub config: ContainerConfig,
    pub state: RunState,
    /// How often it was started.
    pub starts: u32,
    pub exit_code: Option<i32>,
    oom_killed: bool,
    health: Option<HealthStatus>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    bindings: Vec<NetworkBinding>,
    created_at: Timestamp,
    image_id: Option<String>,
    /// While it runs on the bridge.
    pub address: Option<IpAddr>,
}

#[derive(Clone)]
struct Said {
    event: RuntimeEvent,
    labels: BTreeMap<String, String>,
}

#[derive(Default)]
struct Engine {
    images: BTreeMap<String, Image>,
    /// Pulled once, and without a name since.
    unnamed: Vec<Image>,
    registry: BTreeMap<String, Image>,
    behaviours: BTreeMap<String, Behaviour>,
    containers: BTreeMap<String, FakeContainer>,
    made: u64,
    started: u16,
    next_port: u16,
    faults: BTreeMap<Verb, VecDeque<Fault>>,
    latencies: BTreeMap<Verb, Duration>,
    calls: Vec<Call>,
    said: VecDeque<Said>,
    /// Every image has a digest.
    containerd_images: bool,
    /// Where the log of each container is, if anywhere.
    logs: Option<PathBuf>,
    /// Who waits for the end of a container's process.
    processes: BTreeMap<String, Vec<oneshot::Sender<ProcessEnd>>>,
}

impl FakeRuntime {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        FakeRuntime {
            engine: Arc::new(Mutex::new(Engine {
                next_port: FIRST_DYNAMIC_PORT,
                ..Engine::default()
            })),
            clock,
            events: broadcast::Sender::new(EVENTS_KEPT),
            up: Arc::new(watch::Sender::new(true)),
        }
    }

    /// From now on containers have a log in a folder, which the test writes.
    pub fn keep_logs_in(&self, folder: &Path) {
        self.engine().logs = Some(folder.to_owned());
    }

    /// From now on an image that was built on the host has a digest too, as in containerd's store.
    pub fn keep_images_in_containerd(&self) {
        self.engine().containerd_images = true;
    }

    /// An image that the host has, built there.
    pub fn add_image(&self, reference: &str, behaviour: Behaviour) {
        let mut engine = self.engine();
        let digest = engine.containerd_images.then(|| format!("sha256:of-{reference}"));
        engine.images.insert(reference.to_owned(), Image { id: id_of(reference), digest });
        engine.behaviours.insert(reference.to_owned(), behaviour);
        drop(engine);
        self.say_event(EventSubject::Image, BTreeMap::new());
    }

    /// Whether the host has it.
    pub fn has_image(&self, reference: &str) -> bool {
        self.engine().images.contains_key(reference)
    }

    /// An image that can be pulled.
    pub fn publish_image(&self, reference: &str, behaviour: Behaviour) {
        let digest = Some(format!("sha256:{reference}"));
        let mut engine = self.engine();
        engine.registry.insert(reference.to_owned(), Image { id: id_of(reference), digest });
        engine.behaviours.insert(reference.to_owned(), behaviour);
    }

    /// Another image under a name that is published: who pulls gets this one.
    pub fn publish_anew(&self, reference: &str, version: u32) {
        let digest = Some(format!("sha256:{reference}-{version}"));
        let id = format!("{}-{version}", id_of(reference));
        self.engine().registry.insert(reference.to_owned(), Image { id, digest });
    }

    /// Ids of the images that the host has.
    pub fn image_ids(&self) -> BTreeSet<String> {
        let engine = self.engine();
        engine.images.values().chain(&engine.unnamed).map(|image| image.id.clone()).collect()
    }

    /// Somebody else removes an image.
    pub fn remove_image_outside(&self, reference: &str) {
        self.engine().images.remove(reference);
        self.say_event(EventSubject::Image, BTreeMap::new());
    }

    /// The next call of this verb without a fault gets this one; several queue up.
    pub fn fail_next(&self, verb: Verb, fault: Fault) {
        self.engine().faults.entry(verb).or_default().push_back(fault);
    }

    /// No call fails any more that was to.
    pub fn forget_faults(&self) {
        self.engine().faults.clear();
    }

    pub fn set_latency(&self, verb: Verb, latency: Duration) {
        self.engine().latencies.insert(verb, latency);
    }

    /// The engine goes away; containers run on, as with Docker's live-restore.
    pub fn go_down(&self) {
        self.up.send_replace(false);
    }

    /// The engine goes away, and all that runs with it.
    pub fn crash(&self) {
        self.go_down();
        let now = self.clock.wall();
        for container in self.engine().containers.values_mut() {
            if container.state == RunState::Running {
                container.state = RunState::Exited;
                container.exit_code = Some(KILLED);
                container.finished_at = Some(now);
            }
        }
    }

    pub fn come_up(&self) {
        self.up.send_replace(true);
    }

    /// The container's process ends by itself.
    pub fn exit(&self, name: &str, exit_code: i32) {
        self.end(&self.find(name), exit_code, false);
    }

    /// The container's process ends, and the engine has not noticed yet: [`Self::exit`] follows.
    pub fn end_process(&self, name: &str) {
        self.process(name).tell(ProcessEnd::default());
    }

    /// The container's process, which ends before or after the engine tells of it.
    pub fn process(&self, name: &str) -> FakeProcess {
        let id = self.find(name);
        FakeProcess(self.engine().processes.remove(&id).unwrap_or_default())
    }

    /// The kernel kills the container's process for its memory.
    pub fn run_out_of_memory(&self, name: &str) {
        let id = self.find(name);
        self.say(&id, ContainerChange::OutOfMemory);
        self.end(&id, KILLED, true);
    }

    pub fn set_health(&self, name: &str, health: HealthStatus) {
        let id = self.find(name);
        if let Some(container) = self.engine().containers.get_mut(&id) {
            container.health = Some(health);
        }
        self.say(&id, ContainerChange::Health(health));
    }

    /// Somebody else starts a container that does not run: it has other ports then.
    pub fn start_outside(&self, name: &str) {
        let id = self.find(name);
        let _ = self.start_now(&id);
    }

    /// Somebody else takes a running container from its network, and its ports with it.
    pub fn disconnect_outside(&self, name: &str) {
        let id = self.find(name);
        if let Some(container) = self.engine().containers.get_mut(&id) {
            container.bindings.clear();
            container.address = None;
        }
        self.say(&id, ContainerChange::LeftNetwork);
    }

    /// Somebody else gives a container another name.
    pub fn rename_outside(&self, name: &str, to: &str) {
        let id = self.find(name);
        if let Some(container) = self.engine().containers.get_mut(&id) {
            to.clone_into(&mut container.name);
        }
        self.say(&id, ContainerChange::ByOthers(ByOthers::Renamed));
    }

    /// Somebody else does what leaves a container as it is.
    pub fn change_outside(&self, name: &str, what: ByOthers) {
        self.say(&self.find(name), ContainerChange::ByOthers(what));
    }

    /// The ports that it holds on the host now.
    pub fn ports_held(&self, name: &str) -> Vec<NetworkBinding> {
        let id = self.find(name);
        let engine = self.engine();
        engine.containers.get(&id).map(|c| c.bindings.clone()).unwrap_or_default()
    }

    /// Somebody else removes the container, whatever its state.
    pub fn remove_outside(&self, name: &str) {
        let id = self.find(name);
        self.end(&id, KILLED, false);
        self.say(&id, ContainerChange::Removed);
        self.engine().containers.remove(&id);
    }

    /// Somebody else makes a container: nothing tells that it is not the agent's but its labels.
    pub fn create_outside(&self, name: &str, config: ContainerConfig) {
        self.make(name, &config);
    }

    pub fn containers(&self) -> Vec<FakeContainer> {
        self.engine().containers.values().cloned().collect()
    }

    pub fn calls(&self) -> Vec<Call> {
        self.engine().calls.clone()
    }

    /// Calls of this verb so far.
    pub fn count(&self, verb: Verb) -> usize {
        self.engine().calls.iter().filter(|call| call.verb == verb).count()
    }

    pub fn forget_calls(&self) {
        self.engine().calls.clear();
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of a container by its id, name, or the task definition's name of it.
    fn find(&self, name: &str) -> String {
        self.engine().find(name).unwrap_or_default()
    }

    /// Takes the call down, waits its latency, and does it or what the script says instead.
    async fn call<T>(
        &self,
        verb: Verb,
        target: &str,
        work: impl FnOnce(&Self) -> Result<T, RuntimeError>,
    ) -> Result<T, RuntimeError> {
        self.note(verb, target);
        self.carry_out(verb, work).await
    }

    fn note(&self, verb: Verb, target: &str) {
        self.engine().calls.push(Call { verb, target: target.to_owned() });
    }

    async fn carry_out<T>(
        &self,
        verb: Verb,
        work: impl FnOnce(&Self) -> Result<T, RuntimeError>,
    ) -> Result<T, RuntimeError> {
        let (latency, fault) = {
            let mut engine = self.engine();
            let fault = engine.faults.get_mut(&verb).and_then(VecDeque::pop_front);
            (engine.latencies.get(&verb).copied(), fault)
        };
        if let Some(latency) = latency {
            tokio::time::sleep(latency).await;
        }
        if !*self.up.borrow() {
            return Err(RuntimeError::transport("connection refused"));
        }
        match fault {
            None => work(self),
            Some(Fault::Fails(error)) => Err(error),
            Some(Fault::ReplyLost) => {
                drop(work(self));
                Err(RuntimeError::transport("connection reset"))
            }
            Some(Fault::ReplyHeld(released)) => {
                let reply = work(self);
                released.notified().await;
                reply
            }
            Some(Fault::Hangs(after)) => {
                tokio::time::sleep(after).await;
                Err(Unknown::Timeout { after }.into())
            }
        }
    }

    fn make(&self, name: &str, config: &ContainerConfig) -> String {
        let mut engine = self.engine();
        engine.made += 1;
        let id = format!("{:064x}", engine.made);
        let container = FakeContainer {
            id: id.clone(),
            name: name.to_owned(),
            config: config.clone(),
            state: RunState::Created,
            starts: 0,
            exit_code: None,
            oom_killed: false,
            health: config.health.as_ref().map(|_| HealthStatus::Unknown),
            started_at: None,
            finished_at: None,
            bindings: Vec::new(),
            created_at: self.clock.wall(),
            image_id: engine.images.get(&config.image).map(|image| image.id.clone()),
            address: None,
        };
        engine.containers.insert(id.clone(), container);
        id
    }

    fn start_now(&self, container: &str) -> Result<(), RuntimeError> {
        let now = self.clock.wall();
        let (id, behaviour) = {
            let mut engine = self.engine();
            let config = engine.container(container)?.config.clone();
            let bindings = engine.bindings(&config);
            engine.started = engine.started.wrapping_add(1);
            let address = LOOPBACK_PREFIX | u32::from(engine.started);
            let address = IpAddr::from(Ipv4Addr::from_bits(address));
            let behaviour = engine.behaviour(&config.image);
            let container = engine.container(container)?;
            if container.state == RunState::Running {
                return Ok(());
            }
            container.state = RunState::Running;
            container.starts += 1;
            (container.exit_code, container.finished_at) = (None, None);
            container.oom_killed = false;
            container.started_at = Some(now);
            container.bindings = bindings;
            container.address = (config.network == Network::Bridge).then_some(address);
            (container.id.clone(), behaviour)
        };
        self.say(&id, ContainerChange::Started);
        match behaviour.runs_for {
            Some(Duration::ZERO) => self.end(&id, behaviour.exit_code, false),
            Some(time) => {
                let fake = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    fake.end(&id, behaviour.exit_code, false);
                });
            }
            None => {}
        }
        Ok(())
    }

    fn end(&self, id: &str, exit_code: i32, oom_killed: bool) {
        let now = self.clock.wall();
        {
            let mut engine = self.engine();
            let Some(container) = engine.containers.get_mut(id) else { return };
            if container.state != RunState::Running {
                return;
            }
            container.state = RunState::Exited;
            container.exit_code = Some(exit_code);
            container.oom_killed = oom_killed;
            container.finished_at = Some(now);
            container.bindings.clear();
            container.address = None;
            engine.processes.remove(id);
        }
        self.say(id, ContainerChange::Exited { exit_code: Some(exit_code) });
    }

    fn say(&self, id: &str, change: ContainerChange) {
        let labels = match self.engine().containers.get(id) {
            Some(container) => container.config.labels.clone(),
            None => return,
        };
        let subject = EventSubject::Container { id: id.to_owned(), change };
        self.say_event(subject, labels);
    }

    fn say_event(&self, subject: EventSubject, labels: BTreeMap<String, String>) {
        let said = Said { event: RuntimeEvent { at: self.clock.wall(), subject }, labels };
        let mut engine = self.engine();
        if engine.said.len() == EVENTS_KEPT {
            engine.said.pop_front();
        }
        engine.said.push_back(said.clone());
        if *self.up.borrow() {
            // Nobody may listen.
            let _ = self.events.send(said);
        }
    }
}

impl Engine {
    fn listed(&self, wanted: impl Fn(&FakeContainer) -> bool) -> Vec<ContainerSummary> {
        let summary = |c: &FakeContainer| ContainerSummary {
            id: c.id.clone(),
            name: c.name.clone(),
            labels: c.config.labels.clone(),
            state: c.state,
            addresses: c.address.into_iter().collect(),
        };
        self.containers.values().filter(|c| wanted(c)).map(summary).collect()
    }

    fn find(&self, name: &str) -> Option<String> {
        let is = |c: &&FakeContainer| {
            let label = c.config.labels.get("com.amazonaws.ecs.container-name");
            c.id == name || c.name == name || label.is_some_and(|label| label == name)
        };
        self.containers.values().find(is).map(|container| container.id.clone())
    }

    fn container(&mut self, id_or_name: &str) -> Result<&mut FakeContainer, RuntimeError> {
        let missing =
            || RuntimeError::NotFound { message: format!("No such container: {id_or_name}") };
        self.containers
            .values_mut()
            .find(|c| c.id == id_or_name || c.name == id_or_name)
            .ok_or_else(missing)
    }

    fn behaviour(&self, image: &str) -> Behaviour {
        self.behaviours.get(image).cloned().unwrap_or_default()
    }

    fn bindings(&mut self, config: &ContainerConfig) -> Vec<NetworkBinding> {
        if config.network != Network::Bridge {
            return Vec::new();
        }
        let mut bind = |port: &super::PublishedPort| {
            let host_port = port.host_port.unwrap_or_else(|| {
                let free = self.next_port;
                self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_DYNAMIC_PORT);
                free
            });
            NetworkBinding {
                bind_ip: "0.0.0.0".to_owned(),
                container_port: port.container_port,
                host_port,
                protocol: port.transport,
            }
        };
        config.ports.iter().map(&mut bind).collect()
    }
}

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
            let earlier: Vec<Said> =
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

fn id_of(reference: &str) -> String {
    format!("sha256:id-of-{reference}")
}
