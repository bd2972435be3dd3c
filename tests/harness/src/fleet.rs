//! A coordinator and hosts that have joined it, each an engine and an agent in its own network.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    aws::Aws,
    binaries::{self, binary},
    command::run,
    coordinator_log::id_of,
    credentials::Credentials,
    docker_engine::{DockerEngine, EngineSettings},
    ecs::{EcsClient, list_all},
    engine_api::EngineApi,
    image,
    machines::{Ec2Group, MachineSettings, Machines},
    namespaces::{Host, Network},
    process::{Launch, Process},
    recording_proxy::RecordingProxy,
    slot::Slot,
};

pub const REGION: &str = "us-east-1";
const API_PORT: u16 = 8420;
const JOIN_PORT: u16 = 8421;
/// Timeout of hosts until the API shows them connected.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// Timeout of the end of either program once it was asked to end.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// What a test wants of its hosts.
#[derive(Clone, Debug)]
pub struct FleetSettings {
    pub hosts: usize,
    /// Number of hosts, the last ones, that have an engine but no agent yet: [`Fleet::start_agent`].
    pub joining_later: usize,
    /// CPU units that each agent registers.
    pub cpu: u32,
    /// MiB that each agent registers.
    pub memory: u32,
    /// Put a [`RecordingProxy`] between each agent and its engine.
    pub record: bool,
    pub live_restore: bool,
    /// MiB of a disk for each engine's data, and of another for each agent's; absent: the
    /// machine's.
    pub disks_mib: Option<u32>,
    /// Networks for hosts that an Auto Scaling group launches, on top of `hosts`: [`Machines`].
    pub launchable: usize,
    /// The hosts come from an Auto Scaling group of AWS.
    pub ec2: Option<Ec2Group>,
    pub coordinator_arguments: Vec<String>,
    pub coordinator_environment: Vec<(String, String)>,
    pub agent_arguments: Vec<String>,
    pub agent_environment: Vec<(String, String)>,
}

impl Default for FleetSettings {
    fn default() -> Self {
        FleetSettings {
            hosts: 3,
            joining_later: 0,
            cpu: 2048,
            memory: 2048,
            record: false,
            live_restore: false,
            disks_mib: None,
            launchable: 0,
            ec2: None,
            coordinator_arguments: Vec::new(),
            coordinator_environment: Vec::new(),
            agent_arguments: Vec::new(),
            agent_environment: Vec::new(),
        }
    }
}

/// Fields are dropped in this order: programs, engines, then what they left in the slot.
pub struct Fleet {
    pub coordinator: Option<Process>,
    pub hosts: Vec<FleetHost>,
    /// What the launcher of its settings has started.
    pub machines: Option<Machines>,
    settings: FleetSettings,
    network: Network,
    slot: Slot,
}

pub struct FleetHost {
    pub agent: Option<Process>,
    pub proxy: Option<RecordingProxy>,
    pub engine: Option<DockerEngine>,
    pub network: Host,
    folder: PathBuf,
}

impl Fleet {
    /// Starts everything and waits until the API shows every host connected.
    pub async fn start(settings: FleetSettings) -> Result<Fleet> {
        let slot = Slot::take()?;
        let network = Network::create(&slot, settings.hosts + settings.launchable)?;
        let archive = image::sample_archive(slot.folder())?;
        let (ours, launchable) = network.hosts().split_at(settings.hosts);
        let engines = ours.iter().map(|host| {
            let (slot, settings, archive) = (&slot, &settings, &archive);
            async move {
                let folder = slot.folder().join(host.name());
                if let Some(mib) = settings.disks_mib {
                    // Unmounted with the slot.
                    mount_disk(&data_of(&folder), mib)?;
                    mount_disk(&agent_of(&folder), mib)?;
                }
                let engine = DockerEngine::start(EngineSettings {
                    name: host.name().to_owned(),
                    folder,
                    host: Some(host.clone()),
                    control_group: slot.control_group(),
                    live_restore: settings.live_restore,
                })
                .await?;
                image::import(&engine.api(), archive).await?;
                anyhow::Ok(engine)
            }
        });
        let engines = futures_util::future::try_join_all(engines).await?;
        let mut hosts = Vec::new();
        for (engine, host) in engines.into_iter().zip(ours) {
            let folder = slot.folder().join(host.name());
            let proxy = match settings.record {
                true => Some(RecordingProxy::start(folder.join("recorded.sock"), engine.socket())?),
                false => None,
            };
            let network = host.clone();
            hosts.push(FleetHost { agent: None, proxy, engine: Some(engine), network, folder });
        }
        let mut settings = settings;
        let machines = match launchable {
            [] => None,
            launchable => {
                let machine = MachineSettings {
                    cpu: settings.cpu,
                    memory: settings.memory,
                    control_group: slot.control_group(),
                    coordinator: format!("{}:{JOIN_PORT}", network.gateway()),
                    environment: agent_environment(&settings),
                    ec2: settings.ec2.clone(),
                };
                let launchable = launchable.to_vec();
                let machines = Machines::start(slot.folder(), launchable, archive, machine)?;
                let file = machines.coordinator_settings();
                settings.coordinator_arguments.push(format!("--config={}", file.display()));
                Some(machines)
            }
        };
        let mut fleet = Fleet { coordinator: None, hosts, machines, settings, network, slot };
        fleet.start_coordinator().await?;
        let token = fleet.join_token()?;
        fs_err::write(fleet.token_file(), token)?;
        for host in 0..fleet.hosts.len() - fleet.settings.joining_later {
            fleet.start_agent(host).await?;
        }
        if !fleet.hosts.is_empty() {
            fleet.all_connected().await?;
        }
        Ok(fleet)
    }

    pub fn folder(&self) -> &Path {
        self.slot.folder()
    }

    /// The address at which its hosts reach the machine.
    pub fn gateway(&self) -> &str {
        self.network.gateway()
    }

    /// The bridge that its hosts are on, in the machine's own network.
    pub fn bridge(&self) -> &str {
        self.slot.name()
    }

    /// The ARN of the container instance of one of its hosts.
    pub async fn host_arn(&self, host: usize) -> Result<String> {
        let client = self.ecs()?;
        let arns =
            list_all(&client, "ListContainerInstances", json!({}), "containerInstanceArns").await?;
        let log = self.hosts[host].agent.as_ref().context("no agent")?.log().lines();
        let known = arns.into_iter().find(|arn| log.iter().any(|line| line.contains(id_of(arn))));
        known.context("the agent's log does not name its container instance")
    }

    pub fn coordinator_folder(&self) -> PathBuf {
        self.slot.folder().join("coordinator")
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.api_address())
    }

    pub fn api_address(&self) -> String {
        format!("{}:{API_PORT}", self.network.gateway())
    }

    pub fn credentials_file(&self) -> PathBuf {
        self.coordinator_folder().join("root-credentials")
    }

    pub fn aws(&self) -> Aws {
        Aws::new(&self.endpoint(), REGION, &self.credentials_file())
    }

    pub fn ecs(&self) -> Result<EcsClient> {
        let credentials = Credentials::read(&self.credentials_file())?;
        Ok(EcsClient::new(&self.api_address(), REGION, credentials))
    }

    pub async fn start_coordinator(&mut self) -> Result<()> {
        let mut coordinator = self.spawn_coordinator().await?;
        coordinator.ready().await?;
        self.coordinator = Some(coordinator);
        Ok(())
    }

    /// Starts a coordinator without waiting until it serves.
    pub async fn spawn_coordinator(&self) -> Result<Process> {
        let gateway = self.network.gateway();
        let mut arguments = vec![
            "serve".to_owned(),
            format!("--data-dir={}", self.coordinator_folder().display()),
            format!("--listen={gateway}:{API_PORT}"),
            format!("--join-listen={gateway}:{JOIN_PORT}"),
            format!("--advertise={gateway}"),
            "--log-format=json".to_owned(),
        ];
        arguments.extend(self.settings.coordinator_arguments.iter().cloned());
        let mut environment = as_in_units();
        environment.extend(self.settings.coordinator_environment.iter().cloned());
        let launch = Launch {
            name: "coordinator".to_owned(),
            program: binary(binaries::COORDINATOR)?,
            arguments,
            environment,
            host: None,
            folder: self.slot.folder(),
            notifies: true,
            echo: None,
        };
        Process::spawn(launch).await
    }

    pub fn coordinator(&self) -> Result<&Process> {
        self.coordinator.as_ref().context("the coordinator is not running")
    }

    pub async fn kill_coordinator(&mut self) -> Result<()> {
        self.coordinator.take().context("the coordinator is not running")?.kill().await
    }

    pub async fn stop_coordinator(&mut self) -> Result<()> {
        let coordinator = self.coordinator.take().context("the coordinator is not running")?;
        end_well(coordinator).await
    }

    /// What a subcommand of the coordinator prints.
    pub fn coordinator_says(&self, words: &[&str]) -> Result<String> {
        let coordinator = binary(binaries::COORDINATOR)?.display().to_string();
        let mut arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        arguments.push(format!("--data-dir={}", self.coordinator_folder().display()));
        arguments.push(format!("--listen={}", self.api_address()));
        run(&coordinator, &arguments)
    }

    /// A token that every host of this fleet joins with.
    pub fn join_token(&self) -> Result<String> {
        let said = self.coordinator_says(&["join-token", "create"])?;
        let token = said.split_whitespace().find(|word| word.starts_with("v1-"));
        token.map(str::to_owned).with_context(|| format!("no token in: {said}"))
    }

    fn token_file(&self) -> PathBuf {
        self.slot.folder().join("join-token")
    }

    pub async fn start_agent(&mut self, host: usize) -> Result<()> {
        let mut agent = self.spawn_agent(host).await?;
        agent.ready().await?;
        self.hosts[host].agent = Some(agent);
        Ok(())
    }

    /// Starts an agent without waiting until it is ready: it may be one that is refused.
    pub async fn spawn_agent(&self, host: usize) -> Result<Process> {
        let gateway = self.network.gateway();
        let on = &self.hosts[host];
        let mut arguments = vec![
            format!("--data-dir={}", on.agent_folder().display()),
            format!("--coordinator={gateway}:{JOIN_PORT}"),
            format!("--join-token-file={}", self.token_file().display()),
            format!("--advertise={}", on.network.address()),
            format!("--docker=unix://{}", on.docker_socket()?.display()),
            format!("--cpu={}", self.settings.cpu),
            format!("--memory={}", self.settings.memory),
            "--log-format=json".to_owned(),
        ];
        // A test's engine is at no usual place.
        let sockets = on.engine.as_ref().map(DockerEngine::sockets).unwrap_or_default();
        let sockets: Vec<String> = sockets.iter().map(|s| s.display().to_string()).collect();
        arguments.push(format!("--engine-sockets={}", sockets.join(",")));
        arguments.extend(self.settings.agent_arguments.iter().cloned());
        let environment = agent_environment(&self.settings);
        let launch = Launch {
            name: "agent".to_owned(),
            program: binary(binaries::AGENT)?,
            arguments,
            environment,
            host: Some(&on.network),
            folder: &on.folder,
            notifies: true,
            echo: None,
        };
        Process::spawn(launch).await
    }

    pub async fn kill_agent(&mut self, host: usize) -> Result<()> {
        let agent = self.hosts[host].agent.take().context("the agent is not running")?;
        agent.kill().await
    }

    pub async fn stop_agent(&mut self, host: usize) -> Result<()> {
        end_well(self.hosts[host].agent.take().context("the agent is not running")?).await
    }

    /// Waits until the API shows every host connected.
    pub async fn all_connected(&self) -> Result<()> {
        let wanted = self.hosts.iter().filter(|host| host.agent.is_some()).count();
        self.connected_is(wanted).await
    }

    /// Waits until the API shows just so many hosts connected.
    pub async fn connected_is(&self, wanted: usize) -> Result<()> {
        let client = self.ecs()?;
        let count = |hosts: &Value| {
            let hosts = hosts["containerInstances"].as_array().map_or(&[][..], |hosts| hosts);
            hosts.iter().filter(|host| host["agentConnected"] == json!(true)).count()
        };
        let joined = wanted.max(self.hosts.len() - self.settings.joining_later);
        let arns = client
            .eventually("ListContainerInstances", json!({}), CONNECT_PATIENCE, |hosts| {
                let arns = hosts["containerInstanceArns"].as_array()?;
                (arns.len() >= joined).then(|| arns.clone())
            })
            .await?;
        let describe = json!({ "containerInstances": arns });
        client
            .eventually("DescribeContainerInstances", describe, CONNECT_PATIENCE, |hosts| {
                (count(hosts) == wanted).then_some(())
            })
            .await
    }
}

impl FleetHost {
    pub fn engine(&self) -> Result<EngineApi> {
        Ok(self.engine.as_ref().context("the engine is not running")?.api())
    }

    pub fn agent_folder(&self) -> PathBuf {
        agent_of(&self.folder)
    }

    /// Where its engine keeps images and containers.
    pub fn engine_data(&self) -> PathBuf {
        data_of(&self.folder)
    }

    fn docker_socket(&self) -> Result<PathBuf> {
        match &self.proxy {
            Some(proxy) => Ok(proxy.socket().to_owned()),
            None => Ok(self.engine.as_ref().context("the engine is not running")?.socket()),
        }
    }
}

fn agent_of(folder: &Path) -> PathBuf {
    folder.join("agent")
}

fn data_of(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn mount_disk(at: &Path, mib: u32) -> Result<()> {
    fs_err::create_dir_all(at)?;
    let options = format!("size={mib}m,mode=0700");
    run(
        "mount",
        &[
            "-t".as_ref(),
            "tmpfs".as_ref(),
            "-o".as_ref(),
            options.as_ref(),
            "tmpfs".as_ref(),
            at.as_os_str(),
        ],
    )?;
    Ok(())
}

fn agent_environment(settings: &FleetSettings) -> Vec<(String, String)> {
    let mut environment = as_in_units();
    // The image is made here: there is no registry to ask for a newer one.
    environment.push(("ECS_IMAGE_PULL_BEHAVIOR".into(), "prefer-cached".into()));
    environment.extend(settings.agent_environment.iter().cloned());
    environment
}

/// What both units set for their program.
pub fn as_in_units() -> Vec<(String, String)> {
    vec![("MALLOC_ARENA_MAX".to_owned(), "2".to_owned())]
}

async fn end_well(process: Process) -> Result<()> {
    let name = process.log_file().display().to_string();
    let status = process.terminate(STOP_PATIENCE).await?;
    if !status.success() {
        bail!("{name}: ended with {status} after SIGTERM");
    }
    Ok(())
}

/// Hangs a program, or lets it go on.
pub fn pause(process: &Process, paused: bool) -> Result<()> {
    process.signal(if paused { Signal::STOP } else { Signal::CONT })
}
