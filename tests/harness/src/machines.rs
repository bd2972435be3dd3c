//! Hosts that an Auto Scaling group launches: network namespaces with an engine and an agent of their
//! own, started and ended by a launcher's program as an operator would write one.
//!
//! The program is a script that hands its verbs to this process, which holds what it starts. What can
//! go wrong with such a program is asked for by a test.

use std::{
    collections::{BTreeMap, VecDeque},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixListener, sync::Mutex as Exclusive, task::JoinHandle, time::Instant};

use crate::{
    binaries::{self, binary},
    docker_engine::{DockerEngine, EngineSettings},
    image,
    namespaces::Host,
    process::{Launch, Process},
};

/// The name of the launcher in the coordinator's settings.
pub const LAUNCHER: &str = "rack";
pub const EC2_REGION: &str = "eu-central-1";

/// What one launch does instead of what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The launcher says that it failed, and has launched nothing.
    Fails,
    /// The launcher never answers, and has launched nothing.
    Hangs,
    /// The launcher says that all is well, and has launched nothing.
    LaunchesNone,
    /// Two hosts want to be the instance. The join token is for one.
    LaunchesTwo,
}

/// What every launched host is like.
#[derive(Clone, Debug)]
pub struct MachineSettings {
    /// CPU units and MiB that each agent registers.
    pub cpu: u32,
    pub memory: u32,
    /// Parent of the control groups of its containers.
    pub control_group: String,
    pub coordinator: String,
    pub environment: Vec<(String, String)>,
    /// The launcher is a group of this name that moto has, at this endpoint, and not the program:
    /// [`Machines::boot`] does what moto only says that it does.
    pub ec2: Option<Ec2Group>,
}

/// Where AWS's API is, and which Auto Scaling group there is the launcher.
#[derive(Clone, Debug)]
pub struct Ec2Group {
    pub name: String,
    pub endpoint: String,
}

pub struct Machines {
    shared: Arc<Shared>,
    folder: PathBuf,
    serving: JoinHandle<()>,
}

struct Shared {
    settings: MachineSettings,
    folder: PathBuf,
    archive: Bytes,
    /// Networks that no machine has yet. None is used twice.
    free: Mutex<VecDeque<Host>>,
    /// By instance; two when one was launched twice. Launches of one instance wait for each other.
    running: Exclusive<BTreeMap<String, Vec<Machine>>>,
    mishaps: Mutex<VecDeque<Mishap>>,
    boots: Mutex<Vec<Duration>>,
    terminated: Mutex<Vec<String>>,
}

/// Ended in this order.
struct Machine {
    agent: Process,
    engine: DockerEngine,
}

impl Machines {
    /// Ready to be asked. `hosts` are networks to launch machines on.
    pub fn start(
        folder: &Path,
        hosts: Vec<Host>,
        archive: Bytes,
        settings: MachineSettings,
    ) -> Result<Machines> {
        let socket = folder.join("launcher.sock");
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("no launcher at {}", socket.display()))?;
        let script = format!(
            "#!/bin/sh\n\
             # Verbs of a launcher, handed on: launch ID JOIN-TOKEN, terminate ID, list.\n\
             said=$(curl --silent --show-error --fail-with-body --unix-socket {} \
             --data-binary \"$3\" \"http://launcher/$1/$2\") || {{ echo \"$said\" >&2; exit 1; }}\n\
             printf '%s\\n' \"$said\"\n",
            socket.display()
        );
        let program = folder.join("launcher");
        fs_err::write(&program, script)?;
        fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        let what = match &settings.ec2 {
            None => format!("kind = \"exec\"\nprogram = \"{}\"", program.display()),
            Some(Ec2Group { name, endpoint }) => format!(
                "kind = \"aws\"\ngroup = \"{name}\"\nregion = \"{EC2_REGION}\"\n\
                 endpoint = \"{endpoint}\""
            ),
        };
        let (cpu, memory) = (settings.cpu, settings.memory);
        let table = format!(
            "[launch.{LAUNCHER}]\n{what}\ntimeout = 30\nboot_deadline = 30\ncpu = {cpu}\n\
             memory = {memory}\n"
        );
        fs_err::write(folder.join("coordinator.toml"), table)?;
        let shared = Arc::new(Shared {
            settings,
            folder: folder.to_owned(),
            archive,
            free: Mutex::new(hosts.into()),
            running: Exclusive::default(),
            mishaps: Mutex::default(),
            boots: Mutex::default(),
            terminated: Mutex::default(),
        });
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Ok(Machines { shared, folder: folder.to_owned(), serving })
    }

    /// Settings of a coordinator that knows this launcher.
    pub fn coordinator_settings(&self) -> PathBuf {
        self.folder.join("coordinator.toml")
    }

    /// The next launches go wrong like this, one each.
    pub fn go_wrong(&self, mishaps: &[Mishap]) {
        lock(&self.shared.mishaps).extend(mishaps);
    }

    /// Starts the machine that EC2 says to have as this instance: its user data has the token.
    pub async fn boot(&self, id: &str, token: &str) -> Result<()> {
        self.shared.launch(id, token).await.map(drop)
    }

    /// Ends it, as EC2 says to have done.
    pub async fn end_one(&self, id: &str) -> Result<()> {
        self.shared.terminate(id).await.map(drop)
    }

    /// Instances that have a machine, with how many.
    pub async fn running(&self) -> BTreeMap<String, usize> {
        let running = self.shared.running.lock().await;
        running.iter().map(|(id, machines)| (id.clone(), machines.len())).collect()
    }

    /// From the call of the program until the agent had joined, of each launch so far.
    pub fn boots(&self) -> Vec<Duration> {
        lock(&self.shared.boots).clone()
    }

    /// Instances whose machines were ended, in that order.
    pub fn terminated(&self) -> Vec<String> {
        lock(&self.shared.terminated).clone()
    }

    /// Ends everything that still runs.
    pub async fn end(self) {
        self.serving.abort();
        self.shared.running.lock().await.clear();
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: UnixListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            let answering = service_fn(move |request| answer(shared.clone(), request));
            // A caller that was killed is gone.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answering)
                .await;
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let token = String::from_utf8_lossy(&body).into_owned();
    let done = match path.split('/').skip(1).collect::<Vec<_>>()[..] {
        // What is under way goes on when its caller was killed, as a real launch would.
        ["launch", id] => {
            let id = id.to_owned();
            joined(tokio::spawn(async move { shared.launch(&id, &token).await })).await
        }
        ["terminate", id] => {
            let id = id.to_owned();
            joined(tokio::spawn(async move { shared.terminate(&id).await })).await
        }
        ["list", ..] => shared.list().await,
        _ => Err(anyhow::anyhow!("unknown verb: {path}")),
    };
    let (status, text) = match done {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Ok(response)
}

async fn joined(task: JoinHandle<Result<String>>) -> Result<String> {
    task.await?
}

impl Shared {
    async fn launch(&self, id: &str, token: &str) -> Result<String> {
        ensure!(!token.is_empty(), "launch {id} came without a join token");
        let began = Instant::now();
        let mishap = lock(&self.mishaps).pop_front();
        let twice = match mishap {
            None => false,
            Some(Mishap::LaunchesTwo) => true,
            Some(Mishap::LaunchesNone) => return Ok(String::new()),
            Some(Mishap::Fails) => anyhow::bail!("the power is off"),
            Some(Mishap::Hangs) => std::future::pending().await,
        };
        if self.running.lock().await.contains_key(id) {
            return Ok(String::new());
        }
        let mut first = self.boot(id, token).await?;
        first.agent.ready().await?;
        let mut machines = vec![first];
        if twice {
            machines.push(self.boot(id, token).await?);
        }
        lock(&self.boots).push(began.elapsed());
        self.running.lock().await.insert(id.to_owned(), machines);
        Ok(String::new())
    }

    /// One whose agent is about to join.
    async fn boot(&self, id: &str, token: &str) -> Result<Machine> {
        let host = lock(&self.free).pop_front().context("there are no more machines")?;
        let folder = self.folder.join(host.name());
        let engine = DockerEngine::start(EngineSettings {
            name: host.name().to_owned(),
            folder: folder.clone(),
            host: Some(host.clone()),
            control_group: self.settings.control_group.clone(),
            live_restore: false,
        })
        .await?;
        image::import(&engine.api(), &self.archive).await?;
        let token_file = folder.join("join-token");
        fs_err::write(&token_file, token)?;
        let agent = Process::spawn(Launch {
            name: "agent".to_owned(),
            program: binary(binaries::AGENT)?,
            arguments: vec![
                format!("--data-dir={}", folder.join("agent").display()),
                format!("--coordinator={}", self.settings.coordinator),
                format!("--join-token-file={}", token_file.display()),
                format!("--advertise={}", host.address()),
                format!("--docker=unix://{}", engine.socket().display()),
                format!("--cpu={}", self.settings.cpu),
                format!("--memory={}", self.settings.memory),
                format!("--instance-id={id}"),
                "--log-format=json".to_owned(),
            ],
            environment: self.settings.environment.clone(),
            host: Some(&host),
            folder: &folder,
            notifies: true,
            echo: None,
        })
        .await?;
        Ok(Machine { agent, engine })
    }

    async fn terminate(&self, id: &str) -> Result<String> {
        let machines = self.running.lock().await.remove(id).unwrap_or_default();
        if !machines.is_empty() {
            lock(&self.terminated).push(id.to_owned());
        }
        for Machine { agent, engine } in machines {
            agent.kill().await?;
            engine.stop().await?;
        }
        Ok(String::new())
    }

    async fn list(&self) -> Result<String> {
        let running = self.running.lock().await;
        Ok(running.keys().map(|id| format!("{id}\n")).collect())
    }
}
