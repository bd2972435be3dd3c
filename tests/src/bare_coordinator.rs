//! The coordinator's program without hosts: on free ports of this machine, with a data folder that is
//! given.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use longshore_coordinator::running::Running;
use longshore_harness::{
    aws::Aws,
    binaries::{self, binary},
    credentials::Credentials,
    ecs::EcsClient,
    fleet::{REGION, as_in_units},
    process::{Launch, Process},
};

pub struct BareCoordinator {
    pub process: Process,
    pub running: Running,
    folder: PathBuf,
}

impl BareCoordinator {
    /// Waits until it serves. Its log goes to `logs`.
    pub async fn start(logs: &Path, folder: &Path, more: &[&str]) -> Result<BareCoordinator> {
        let mut arguments = vec![
            "serve".to_owned(),
            format!("--data-dir={}", folder.display()),
            "--advertise=127.0.0.1".to_owned(),
        ];
        for (flag, address) in [("--listen", "127.0.0.1:0"), ("--join-listen", "127.0.0.1:0")] {
            if !more.iter().any(|given| given.starts_with(&format!("{flag}="))) {
                arguments.push(format!("{flag}={address}"));
            }
        }
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let launch = Launch {
            name: "coordinator".to_owned(),
            program: binary(binaries::COORDINATOR)?,
            arguments,
            environment: as_in_units(),
            host: None,
            folder: logs,
            notifies: true,
            echo: None,
        };
        let process = Process::start(launch).await?;
        let running = Running::read(folder)?.context("the coordinator does not say where it is")?;
        Ok(BareCoordinator { process, running, folder: folder.to_owned() })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.running.endpoint())
    }

    pub fn ecs(&self) -> Result<EcsClient> {
        let credentials = Credentials::read(&self.folder.join("root-credentials"))?;
        Ok(EcsClient::new(&self.running.endpoint(), &self.running.region, credentials))
    }

    pub fn aws(&self) -> Aws {
        Aws::new(&self.endpoint(), REGION, &self.folder.join("root-credentials"))
    }

    pub async fn kill(self) -> Result<()> {
        self.process.kill().await
    }
}
