//! A Docker Engine of our own: its own data, sockets, containerd and control group, in the
//! network of one host. It shares nothing with the machine's engine but the kernel.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::{
    engine_api::EngineApi,
    namespaces::Host,
    process::{Launch, Process},
};

/// Timeout of the first answer of an engine that says it is ready.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// Timeout of an engine stopping its containers and itself.
const STOP_PATIENCE: Duration = Duration::from_secs(60);
const CRASHED: &str = "the engine has crashed";

pub struct DockerEngine {
    /// Absent between a crash and the next start.
    dockerd: Option<Process>,
    containerd: Process,
    settings: EngineSettings,
}

#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Names its logs and its control group.
    pub name: String,
    /// Holds everything; short, because sockets are in it.
    pub folder: PathBuf,
    pub host: Option<Host>,
    /// The parent of its containers' control groups.
    pub control_group: String,
    /// Containers go on while the engine is away.
    pub live_restore: bool,
}

impl DockerEngine {
    /// Starts containerd and dockerd and waits until the engine answers.
    pub async fn start(settings: EngineSettings) -> Result<DockerEngine> {
        fs_err::create_dir_all(&settings.folder)?;
        // Not the one that dockerd would find or start: that may be the machine's, and shared.
        let containerd = Process::start(settings.containerd()?).await?;
        let dockerd = settings.start_dockerd().await?;
        Ok(DockerEngine { dockerd: Some(dockerd), containerd, settings })
    }

    pub fn api(&self) -> EngineApi {
        EngineApi::at(&self.settings.socket())
    }

    pub fn socket(&self) -> PathBuf {
        self.settings.socket()
    }

    /// Every socket that orders its containers about.
    pub fn sockets(&self) -> Vec<PathBuf> {
        ["docker.sock", "containerd.sock", "containerd.sock.ttrpc"]
            .map(|name| self.settings.folder.join(name))
            .to_vec()
    }

    /// Ends dockerd as a crash would; containerd and, with live restore, the containers go on.
    pub async fn crash(&mut self) -> Result<()> {
        self.dockerd.take().context(CRASHED)?.kill().await?;
        let _ = fs_err::remove_file(self.settings.socket());
        let _ = fs_err::remove_file(self.settings.folder.join("docker.pid"));
        Ok(())
    }

    /// After a crash: waits until the engine answers.
    pub async fn start_again(&mut self) -> Result<()> {
        self.dockerd = Some(self.settings.start_dockerd().await?);
        Ok(())
    }

    /// Hangs dockerd, or lets it go on.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.dockerd.as_ref().context(CRASHED)?.signal(signal)
    }

    /// Stops the engine as an operator would, its containers with it.
    pub async fn stop(self) -> Result<()> {
        self.dockerd.context(CRASHED)?.terminate(STOP_PATIENCE).await?;
        self.containerd.terminate(STOP_PATIENCE).await?;
        Ok(())
    }
}

impl EngineSettings {
    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    fn containerd(&self) -> Result<Launch<'_>> {
        let config = self.folder.join("containerd.toml");
        let folder = self.folder.display();
        fs_err::write(
            &config,
            format!(
                "version = 2\nroot = \"{folder}/containerd\"\nstate = \"{folder}/containerd-run\"\n\
                 disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
                 [grpc]\naddress = \"{folder}/containerd.sock\"\n\
                 [ttrpc]\naddress = \"{folder}/containerd.sock.ttrpc\"\n"
            ),
        )?;
        Ok(self.launch("containerd", vec!["--config".into(), config.display().to_string()]))
    }

    async fn start_dockerd(&self) -> Result<Process> {
        let folder = self.folder.display();
        // The machine's own daemon.json is not for this engine. A test's registry has no TLS.
        let config = r#"{"insecure-registries":["10.213.0.0/16"]}"#;
        fs_err::write(self.folder.join("daemon.json"), config)?;
        let mut arguments = vec![
            format!("--config-file={folder}/daemon.json"),
            format!("--data-root={folder}/data"),
            format!("--exec-root={folder}/exec"),
            format!("--pidfile={folder}/docker.pid"),
            format!("--host=unix://{folder}/docker.sock"),
            format!("--containerd={folder}/containerd.sock"),
            format!("--cgroup-parent={}/{}", self.control_group, self.name),
            "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
        ];
        if self.live_restore {
            arguments.push("--live-restore".to_owned());
        }
        let dockerd = Process::start(self.launch("dockerd", arguments)).await?;
        EngineApi::at(&self.socket()).ping(ANSWER_PATIENCE).await?;
        Ok(dockerd)
    }

    fn launch(&self, program: &str, arguments: Vec<String>) -> Launch<'_> {
        Launch {
            name: format!("{}-{program}", self.name),
            program: program.into(),
            arguments,
            environment: Vec::new(),
            host: self.host.as_ref(),
            folder: &self.folder,
            // Both tell systemd, and so us, when they serve.
            notifies: true,
            echo: None,
        }
    }
}
