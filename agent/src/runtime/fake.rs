//! A container engine in memory, for tests and simulations: scripted failures, latencies, crashes.
//!
//! Behaves as Docker where the agent can tell: names are unique, events come before replies, a
//! stopped container stays until removed. Never: I/O, or a clock of its own (latencies are
//! `tokio::time`, timestamps come from the injected clock).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use longshore_common::{clock::Clock, protocol::NetworkBinding, task::HealthStatus};
use tokio::sync::{broadcast, oneshot, watch};

use super::{
    ByOthers, ContainerChange, ContainerConfig, EventSubject, Image, Network, ProcessEnd, RunState,
    RuntimeError, RuntimeEvent, Unknown,
};

mod calls;
mod engine;
#[cfg(test)]
mod tests;

pub use self::engine::{Behaviour, FakeCall, FakeContainer, Fault, Verb};
use self::engine::{FIRST_DYNAMIC_PORT, FakeEngine, FakeEvent};

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
/// 127.17.0.0/16: of the loopback network, so that a test can speak from a container's address.
const LOOPBACK_PREFIX: u32 = 0x7f11_0000;
/// 128 and the number of SIGKILL.
const KILLED: i32 = 137;

/// A handle on one engine: clones are the same engine.
#[derive(Clone)]
pub struct FakeRuntime {
    engine: Arc<Mutex<FakeEngine>>,
    clock: Arc<dyn Clock>,
    events: broadcast::Sender<FakeEvent>,
    up: Arc<watch::Sender<bool>>,
}

impl FakeRuntime {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        FakeRuntime {
            engine: Arc::new(Mutex::new(FakeEngine {
                next_port: FIRST_DYNAMIC_PORT,
                ..FakeEngine::default()
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

    pub fn calls(&self) -> Vec<FakeCall> {
        self.engine().calls.clone()
    }

    /// Calls of this verb so far.
    pub fn count(&self, verb: Verb) -> usize {
        self.engine().calls.iter().filter(|call| call.verb == verb).count()
    }

    pub fn forget_calls(&self) {
        self.engine().calls.clear();
    }

    fn engine(&self) -> MutexGuard<'_, FakeEngine> {
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
        self.engine().calls.push(FakeCall { verb, target: target.to_owned() });
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
        let said = FakeEvent { event: RuntimeEvent { at: self.clock.wall(), subject }, labels };
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

fn id_of(reference: &str) -> String {
    format!("sha256:id-of-{reference}")
}
