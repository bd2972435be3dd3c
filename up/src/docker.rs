//! The Docker Engine of `make run`: the machine's own when it answers, else one of ours, which
//! goes again at the end.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use longshore_harness::{
    command::succeeds,
    docker_engine::{DockerEngine, EngineSettings},
    engine_api::EngineApi,
    slot::Slot,
};
use tokio::process::Command;

use crate::{
    terminal::{say, warn},
    traces::Traces,
};

const MACHINES_SOCKET: &str = "/var/run/docker.sock";
/// Timeout of an engine, which answers at once if it is there.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// iptables is what dockerd cannot do without; the rest of docker.io's wishes are not ours.
const PACKAGES: [&str; 2] = ["docker.io", "iptables"];

pub(crate) enum Docker {
    Machines(EngineApi),
    Ours(Box<DockerEngine>, Traces),
}

impl Docker {
    pub(crate) async fn find_or_start(slot: &Slot) -> Result<Docker> {
        if let Some(engine) = machines_engine().await? {
            return Ok(engine);
        }
        if !succeeds("dockerd --version") {
            install().await?;
            // A machine with an init system has started it by now.
            if let Some(engine) = machines_engine().await? {
                return Ok(engine);
            }
        }
        say("no Docker Engine answers: starting one for this run");
        let settings = EngineSettings {
            name: "docker".to_owned(),
            folder: slot.folder().join("engine"),
            host: None,
            control_group: slot.control_group(),
            live_restore: false,
        };
        let traces = Traces::before();
        let engine = DockerEngine::start(settings).await.context(
            "the Docker Engine did not start; where the machine has one, start it \
             (`systemctl start docker`) and run this again",
        )?;
        Ok(Docker::Ours(Box::new(engine), traces))
    }

    pub(crate) fn engine(&self) -> EngineApi {
        match self {
            Docker::Machines(engine) => engine.clone(),
            Docker::Ours(engine, _) => engine.api(),
        }
    }

    pub(crate) async fn stop(self) {
        match self {
            Docker::Machines(_) => say("left the machine's own Docker Engine as it was"),
            Docker::Ours(engine, traces) => {
                match engine.stop().await {
                    Ok(()) => say("stopped the Docker Engine of this run"),
                    Err(error) => warn(&format!("{error:#}")),
                }
                if let Err(error) = traces.undo() {
                    warn(&format!("Docker's bridge or rules are still there: {error:#}"));
                }
            }
        }
    }
}

async fn machines_engine() -> Result<Option<Docker>> {
    let socket = match std::env::var("DOCKER_HOST") {
        Ok(host) if !host.is_empty() => match host.strip_prefix("unix://") {
            Some(path) => PathBuf::from(path),
            None => bail!(
                "DOCKER_HOST is {host}, but the agent speaks to Docker by a unix socket only: \
                 run `unset DOCKER_HOST`"
            ),
        },
        _ => PathBuf::from(MACHINES_SOCKET),
    };
    let engine = EngineApi::at(&socket);
    if engine.ping(ANSWER_PATIENCE).await.is_err() {
        return Ok(None);
    }
    say(&format!("using the Docker Engine at {}", socket.display()));
    Ok(Some(Docker::Machines(engine)))
}

/// Installs Docker Engine from the distribution, its progress on the terminal.
async fn install() -> Result<()> {
    say("no Docker Engine on this machine: installing the distribution's");
    if !succeeds("apt-get --version") {
        bail!("this machine has no apt-get: install Docker Engine 20.10 or later and start it");
    }
    let install = ["install", "-y", "--no-install-recommends"];
    let install: Vec<&str> = install.into_iter().chain(PACKAGES).collect();
    if apt_get(&install).await? {
        return Ok(());
    }
    say("the package lists may be old or missing: updating them");
    if apt_get(&["update"]).await? && apt_get(&install).await? {
        return Ok(());
    }
    bail!(
        "apt-get could not install {}: its messages are above. Without a network, install Docker \
         Engine 20.10 or later by other means, start it, and run this again",
        PACKAGES.join(" ")
    )
}

async fn apt_get(arguments: &[&str]) -> Result<bool> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status()
        .await
        .context("apt-get could not be started")?;
    Ok(status.success())
}
