//! Longshore on this one machine, with a sample task that answers over HTTP.
//!
//! Stops what it started and nothing else: the machine's own engine, its containers and its
//! images are left as they are.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use longshore_harness::{
    binaries::{self, binary},
    command::run,
    credentials::Credentials,
    ecs::{EcsClient, list_all},
    fleet::REGION,
    image,
    process::{Launch, Process},
    slot::Slot,
};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    docker::Docker,
    ports::Ports,
    sample,
    terminal::{LogTap, say, show, warn},
};

/// Timeout of the agent joining and connecting.
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);
/// Timeout of the stop of all tasks at the end: their stopTimeout is 30 s by default.
const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// Timeout of the end of either program once it was asked to end.
const END_PATIENCE: Duration = Duration::from_secs(20);
const CLUSTER: &str = "default";

/// What the Makefile passes on.
#[derive(Clone, Debug, clap::Parser)]
#[command(about = "Runs Longshore and a sample task on this machine until Ctrl-C")]
pub(crate) struct Options {
    /// The coordinator's API port; its joining port is the next one.
    #[arg(long, env = "PORT", default_value_t = 8420)]
    port: u16,
    /// The agent's introspection port; its poll port is two above (ECS reserves 51678 to 51680).
    #[arg(long, env = "AGENT_PORT", default_value_t = 51678)]
    agent_port: u16,
    /// Any value but an empty one or 0: stop everything and exit once the sample has answered.
    #[arg(long, env = "ONCE", default_value = "")]
    once: String,
}

impl Options {
    fn once(&self) -> bool {
        !matches!(self.once.as_str(), "" | "0")
    }
}

/// Runs until the sample answered (once) or until Ctrl-C; either way stops what was started.
pub(crate) async fn up(options: Options) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("this needs root, to drive Docker: run `sudo -E env \"PATH=$PATH\" make run`");
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let interrupted = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(interrupted);

    let mut local = Local::new(&options)?;
    let outcome = tokio::select! {
        started = local.start() => match started {
            Ok(()) if options.once() => {
                say("ONCE is set: stopping again");
                Ok(())
            }
            Ok(()) => {
                say("running until Ctrl-C; the logs follow");
                local.tap.open();
                tokio::select! {
                    _ = &mut interrupted => Ok(()),
                    ended = local.program_ended() => ended,
                }
            }
            Err(error) => Err(error),
        },
        _ = &mut interrupted => Ok(()),
    };
    local.tap.close();
    local.stop().await;
    outcome
}

struct Local {
    ports: Ports,
    tap: Arc<LogTap>,
    agent: Option<Process>,
    coordinator: Option<Process>,
    docker: Option<Docker>,
    slot: Slot,
}

impl Local {
    fn new(options: &Options) -> Result<Local> {
        let ports = Ports::new(options.port, options.agent_port)?;
        let slot = Slot::take_named("up")?;
        Ok(Local { ports, tap: Arc::default(), agent: None, coordinator: None, docker: None, slot })
    }

    async fn start(&mut self) -> Result<()> {
        self.ports.are_free()?;
        self.docker = Some(Docker::find_or_start(&self.slot).await?);
        let engine = self.docker()?.engine();
        sample::remove_left_over(&engine).await?;
        say("making the sample image (a static busybox; no registry is asked)");
        image::import_sample(&engine, self.slot.folder()).await?;

        say(&format!("starting the coordinator on 127.0.0.1:{}", self.ports.api));
        self.start_coordinator().await?;
        say("starting the agent, which joins it with a token");
        self.start_agent().await?;
        let client = self.client()?;
        let host = client
            .eventually("ListContainerInstances", json!({}), CONNECT_PATIENCE, |hosts| {
                hosts["containerInstanceArns"][0].as_str().map(str::to_owned)
            })
            .await?;
        let describe = json!({ "containerInstances": [host] });
        client
            .eventually("DescribeContainerInstances", describe, CONNECT_PATIENCE, |hosts| {
                (hosts["containerInstances"][0]["agentConnected"] == json!(true)).then_some(())
            })
            .await?;

        say("registering and running the sample task definition");
        let sample = sample::run(&client).await?;
        say(&format!("waiting for http://{} to answer", sample.address));
        sample::answers(&sample.address).await?;
        show(&sample::table(&client, &host, &sample).await?);
        show(&self.environment()?);
        Ok(())
    }

    async fn start_coordinator(&mut self) -> Result<()> {
        let arguments = vec![
            "serve".to_owned(),
            format!("--data-dir={}", self.coordinator_folder().display()),
            format!("--listen=127.0.0.1:{}", self.ports.api),
            format!("--join-listen=127.0.0.1:{}", self.ports.join),
            "--advertise=127.0.0.1".to_owned(),
        ];
        let launch = self.launch("coordinator", binaries::COORDINATOR, arguments)?;
        self.coordinator = Some(Process::start(launch).await?);
        Ok(())
    }

    async fn start_agent(&mut self) -> Result<()> {
        let coordinator = binary(binaries::COORDINATOR)?.display().to_string();
        let said = run(
            &coordinator,
            &[
                "join-token".to_owned(),
                "create".to_owned(),
                format!("--data-dir={}", self.coordinator_folder().display()),
                format!("--listen=127.0.0.1:{}", self.ports.api),
                "--uses=1".to_owned(),
            ],
        )?;
        let token = said.split_whitespace().find(|word| word.starts_with("v1-"));
        let token_file = self.slot.folder().join("join-token");
        fs_err::write(&token_file, token.with_context(|| format!("no token in: {said}"))?)?;
        let arguments = vec![
            format!("--data-dir={}", self.slot.folder().join("agent").display()),
            format!("--coordinator=127.0.0.1:{}", self.ports.join),
            format!("--join-token-file={}", token_file.display()),
            format!("--cluster={CLUSTER}"),
            "--advertise=127.0.0.1".to_owned(),
            format!("--poll-listen=127.0.0.1:{}", self.ports.poll),
            format!("--introspection-listen=127.0.0.1:{}", self.ports.introspection),
            // The machine's network is left as it is.
            "--task-endpoints-listen=off".to_owned(),
            "--allow-instance-metadata".to_owned(),
            // The disk of a developer's machine is often fuller than that of a host is to be; the sample
            // needs little of it.
            "--disk-refuse-at=99".to_owned(),
            format!("--docker=unix://{}", self.docker()?.engine().socket().display()),
        ];
        let launch = self.launch("agent", binaries::AGENT, arguments)?;
        self.agent = Some(Process::start(launch).await?);
        Ok(())
    }

    fn launch(&self, name: &str, program: &str, arguments: Vec<String>) -> Result<Launch<'_>> {
        let tap = self.tap.clone();
        Ok(Launch {
            name: name.to_owned(),
            program: binary(program)?,
            arguments,
            // The sample's image is made here: there is no registry to ask for a newer one.
            environment: vec![("ECS_IMAGE_PULL_BEHAVIOR".into(), "prefer-cached".into())],
            host: None,
            folder: self.slot.folder(),
            notifies: true,
            echo: Some(Arc::new(move |name, line| tap.line(name, line))),
        })
    }

    /// Says so when a program ends that nobody asked to.
    async fn program_ended(&mut self) -> Result<()> {
        let coordinator = self.coordinator.as_mut().context("no coordinator")?;
        let agent = self.agent.as_mut().context("no agent")?;
        let (name, status) = tokio::select! {
            status = coordinator.ended() => ("coordinator", status?),
            status = agent.ended() => ("agent", status?),
        };
        bail!("the {name} ended with {status}; its log is in {}", self.slot.folder().display())
    }

    /// Stops what was started, in the opposite order, and says so; a failure is said and does not
    /// keep the rest from being stopped.
    async fn stop(mut self) {
        say(&format!("stopping (a task may take {} s to end) …", STOP_PATIENCE.as_secs()));
        if self.agent.is_some()
            && let Err(error) = self.stop_tasks().await
        {
            warn(&format!("the tasks could not all be stopped: {error:#}"));
        }
        for (name, program) in
            [("agent", self.agent.take()), ("coordinator", self.coordinator.take())]
        {
            let Some(program) = program else { continue };
            match program.terminate(END_PATIENCE).await {
                Ok(_) => say(&format!("stopped the {name}")),
                Err(error) => warn(&format!("{error:#}")),
            }
        }
        if let Some(docker) = self.docker.take() {
            if let Err(error) = sample::remove_left_over(&docker.engine()).await {
                warn(&format!("the sample's container is still there: {error:#}"));
            }
            docker.stop().await;
        }
        say(&format!("all stopped; the logs are in {}", self.slot.folder().display()));
    }

    /// Tasks run here by others than us as well: their coordinator goes, and so must they.
    async fn stop_tasks(&self) -> Result<()> {
        let client = self.client()?;
        let running = list_all(&client, "ListTasks", json!({}), "taskArns").await?;
        for task in &running {
            let stop = json!({ "task": task, "reason": "make run was stopped" });
            client.call("StopTask", stop).await?;
        }
        for task in &running {
            let describe = json!({ "tasks": [task] });
            let stopped = |tasks: &Value| {
                let status = &tasks["tasks"][0]["lastStatus"];
                (*status == json!("STOPPED")).then_some(())
            };
            client.eventually("DescribeTasks", describe, STOP_PATIENCE, stopped).await?;
        }
        if let Some(docker) = &self.docker {
            sample::remove_containers_of(&docker.engine(), &running).await?;
        }
        say(&format!("stopped {} task(s) and removed their containers", running.len()));
        Ok(())
    }

    fn docker(&self) -> Result<&Docker> {
        self.docker.as_ref().context("no Docker Engine yet")
    }

    fn coordinator_folder(&self) -> PathBuf {
        self.slot.folder().join("coordinator")
    }

    fn credentials(&self) -> Result<Credentials> {
        Credentials::read(&self.coordinator_folder().join("root-credentials"))
    }

    fn client(&self) -> Result<EcsClient> {
        let address = format!("127.0.0.1:{}", self.ports.api);
        Ok(EcsClient::new(&address, REGION, self.credentials()?))
    }

    /// What to paste into another terminal. The CLI that gets no endpoint for a service asks Amazon.
    fn environment(&self) -> Result<String> {
        let key = self.credentials()?;
        let endpoint = format!("http://127.0.0.1:{}", self.ports.api);
        let (logs, docker) = (sample::LOG_GROUP, self.docker()?.engine());
        let docker = docker.socket().display();
        Ok(format!(
            "\nFor the AWS CLI and boto3, in another terminal:\n\n  \
             export AWS_ENDPOINT_URL_ECS={endpoint}\n  \
             export AWS_ENDPOINT_URL_CLOUDWATCH_LOGS={endpoint}\n  \
             export AWS_ACCESS_KEY_ID={}\n  \
             export AWS_SECRET_ACCESS_KEY={}\n  \
             export AWS_DEFAULT_REGION={REGION}\n\n  \
             aws ecs list-tasks\n  \
             aws --endpoint-url {endpoint} ecs list-tasks    # a CLI that ignores \
             AWS_ENDPOINT_URL_ECS\n  \
             aws logs filter-log-events --log-group-name {logs}\n  \
             docker --host unix://{docker} ps    # the engine that runs the tasks\n  \
             python3 -c 'import boto3; print(boto3.client(\"ecs\").list_tasks()[\"taskArns\"])'\n",
            key.access_key_id, key.secret_access_key
        ))
    }
}
