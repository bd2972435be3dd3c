//! The course of one cell: start, fail, run, stop, clean up, judge.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use longshore_agent::{
    engine::supervisor::{EngineConfig, EngineHandle, start},
    runtime::docker::Docker,
    settings::{PullPolicy, Registries, Timeouts},
};
use longshore_common::{
    clock::SystemClock,
    id::{FleetId, HostId, TaskId},
    protocol::{ReportedPhase, TaskReport},
    task::{StopCause, StopCode},
    task_definition::{
        ContainerDefinition, DockerVolumeConfiguration, MountPoint, NetworkMode, PortMapping,
        TaskSpec, Volume, VolumeScope,
    },
};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    matrix::Cell,
    model::{may_fail_to_start, may_leave_its_volume},
};
use crate::lone_coordinator::{LoneCoordinator, user_stop};
use longshore_harness::{
    engine_api::{EngineApi, percent_encoded},
    engine_history::EngineHistory,
    image::SAMPLE_IMAGE,
    recording_proxy::{CallKind, Fault, RecordingProxy},
};

const FLEET: FleetId = FleetId::new(0xce11);
const HOLD_MS: u32 = 250;
const STOP_GRACE_S: u32 = 2;
/// Stops that must fail before the agent kills.
const STOPS_BEFORE_KILL: usize = 2;
/// Shorter than the scaled five minutes: cells do not wait for what another cell has shown.
const RESYNC: Duration = Duration::from_secs(3);
const CLEANUP_WAIT: Duration = Duration::from_millis(500);
/// For each stage of a cell at shipped timeouts; a scaled one has a twentieth, and the time that
/// a busy engine takes.
const STAGE_PATIENCE: Duration = Duration::from_secs(20 * 60);
const BUSY_ENGINE: Duration = Duration::from_secs(60);

/// How much of each call a failure shows.
const CALL_CHARS_SHOWN: usize = 40;

/// What a cell that came out well has done.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) ran: bool,
    pub(super) faults: usize,
    pub(super) state_changing_calls: usize,
}

/// What all cells share.
pub(super) struct Place {
    pub(super) engine: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) history: EngineHistory,
}

impl Place {
    fn folder(&self) -> &Path {
        &self.folder
    }
}

struct Running {
    cell: Cell,
    place: Arc<Place>,
    proxy: RecordingProxy,
    agent: EngineHandle,
    coordinator: LoneCoordinator,
    host: HostId,
    task: TaskId,
}

pub(super) async fn run(cell: Cell, place: Arc<Place>) -> Result<Course> {
    let number = cell.number;
    let host = HostId::new(number as u128 + 1);
    // Its containers' names come from it, and all cells share one engine.
    let task = TaskId::new(number as u128 + 1);
    let socket = place.folder().join(format!("c{number}.sock"));
    let proxy = RecordingProxy::start(socket, place.engine.clone())?;
    proxy.answer_pulls();
    if !cell.is_late() {
        cell.arm(&proxy);
    }
    if cell.kind == CallKind::VolumeInspect {
        let volume = json!({ "Name": cell.shared_volume() });
        EngineApi::at(&place.engine).post("/volumes/create", volume).await?;
    }
    let socket = proxy.socket().display().to_string();
    let docker = Docker::new(&socket, timeouts(cell.scale), Registries::default())?;
    let shutdown = CancellationToken::new();
    let _ends = shutdown.clone().drop_guard();
    let (agent, engine) =
        start(cell.config(host, &place), docker, Arc::new(SystemClock::start()), shutdown.clone())?;
    let coordinator = LoneCoordinator::new(FLEET, host, 1);
    let mut running = Running { cell, place, proxy, agent, coordinator, host, task };
    let course = running.course().await;
    shutdown.cancel();
    engine.await??;
    course.with_context(|| {
        let calls = running.proxy.calls();
        let calls = calls.iter().map(|call| format!("{} {}", call.method, call.path));
        let short = calls.map(|call| call.chars().take(CALL_CHARS_SHOWN).collect());
        format!("after {:?}", short.collect::<Vec<String>>())
    })
}

impl Running {
    async fn course(&mut self) -> Result<Course> {
        let (cell, host) = (self.cell.clone(), self.host.to_string());
        self.coordinator.run(self.task, 1, cell.spec());
        let begun = |report: &TaskReport| {
            matches!(report.phase, ReportedPhase::Running | ReportedPhase::Stopped(_))
        };
        let report = self.until("that the task runs or fails", begun).await?;
        let ran = report.phase == ReportedPhase::Running;
        if ran {
            self.fail_while_it_runs().await?;
            self.coordinator.stop(self.task);
            let stopped = |r: &TaskReport| matches!(r.phase, ReportedPhase::Stopped(_));
            let report = self.until("that the task stops", stopped).await?;
            cell.judge_stopped(&report)?;
        } else {
            cell.judge_failed(&report)?;
        }
        ensure!(self.running_containers().await? == 0, "reported STOPPED, and it runs");
        self.cleaned_up().await?;
        let history = &self.place.history;
        // One that ran was made, whether or not the engine has told of it yet.
        let ended = history.until(|history| {
            let made = history.count(&host, "create").max(usize::from(ran));
            history.count(&host, "destroy") >= made
        });
        timeout(BUSY_ENGINE, ended).await.context("the engine tells of no end")??;
        let starts = history.count(&host, "start");
        ensure!(starts == usize::from(ran), "{starts} starts of one container, ran: {ran}");
        let creates = history.count(&host, "create");
        ensure!(creates <= 1 || !ran, "{creates} containers made for one");
        let faults = *self.proxy.faults_done().borrow();
        ensure!(faults >= 1, "no call met the fault");
        let state_changing_calls = self.proxy.changes().len();
        Ok(Course { ran, faults, state_changing_calls })
    }

    /// Exchanges until the task's last report is as wanted, and no report is a false one.
    async fn until(
        &mut self,
        what: &str,
        is_so: impl Fn(&TaskReport) -> bool,
    ) -> Result<TaskReport> {
        let found = async {
            loop {
                if let Some(report) = self.coordinator.reports.get(&self.task).filter(|r| is_so(r))
                {
                    return anyhow::Ok(report.clone());
                }
                self.coordinator.exchange(&self.agent, HOLD_MS).await?;
            }
        };
        let patience = self.cell.patience();
        match timeout(patience, found).await {
            Ok(found) => found,
            Err(_) => bail!(
                "{what} did not come in {patience:?}; last heard: {:?}",
                self.coordinator.reports.get(&self.task)
            ),
        }
    }

    /// What goes wrong once the task runs.
    async fn fail_while_it_runs(&mut self) -> Result<()> {
        let cell = self.cell.clone();
        ensure!(self.running_containers().await? == 1, "reported RUNNING, and it does not run");
        if cell.is_late() {
            cell.arm(&self.proxy);
        }
        let of_the_watch = [CallKind::Version, CallKind::Info, CallKind::List, CallKind::Events];
        if !of_the_watch.contains(&cell.kind) {
            return Ok(());
        }
        if cell.is_late() {
            self.proxy.cut_streams();
        }
        let mut done = self.proxy.faults_done();
        let met = async {
            tokio::select! {
                met = done.wait_for(|done| *done >= cell.times) => met.map(drop).map_err(Into::into),
                error = self.keep_exchanging() => Err(error),
            }
        };
        timeout(cell.patience(), met).await.context("not every fault was met")??;
        ensure!(self.running_containers().await? == 1, "a task was stopped for Docker's silence");
        let phase = self.coordinator.reports.get(&self.task).map(|report| report.phase.clone());
        ensure!(phase == Some(ReportedPhase::Running), "reported {phase:?} for Docker's silence");
        Ok(())
    }

    async fn keep_exchanging(&mut self) -> anyhow::Error {
        loop {
            if let Err(error) = self.coordinator.exchange(&self.agent, HOLD_MS).await {
                return error;
            }
        }
    }

    async fn running_containers(&self) -> Result<usize> {
        let filters = json!({ "label": [format!("longshore.host={}", self.host)] }).to_string();
        let path = format!("/containers/json?filters={}", percent_encoded(&filters));
        let listed = EngineApi::at(&self.place.engine).get_json(&path).await?;
        Ok(listed.as_array().map_or(0, Vec::len))
    }

    /// Waits until neither the engine nor the agent has anything of the task.
    async fn cleaned_up(&mut self) -> Result<()> {
        let engine = EngineApi::at(&self.place.engine);
        let filters = json!({ "label": [format!("longshore.host={}", self.host)] }).to_string();
        let filters = percent_encoded(&filters);
        let containers = format!("/containers/json?all=1&filters={filters}");
        let volumes = format!("/volumes?filters={filters}");
        let excused = may_leave_its_volume(&self.cell);
        let patience = self.cell.patience();
        let cleaned = async {
            loop {
                self.coordinator.exchange(&self.agent, HOLD_MS).await?;
                let containers = engine.get_json(&containers).await?;
                let volumes = engine.get_json(&volumes).await?["Volumes"].clone();
                let left = containers.as_array().map_or(0, Vec::len);
                let kept = volumes.as_array().map_or(0, Vec::len);
                if left == 0 && (kept == 0 || excused) && self.agent.tasks().await?.is_empty() {
                    return anyhow::Ok(());
                }
            }
        };
        match timeout(patience, cleaned).await {
            Ok(cleaned) => cleaned,
            Err(_) => bail!("not cleaned up after {patience:?}: {:?}", self.agent.tasks().await?),
        }
    }
}

impl Cell {
    /// Whether the fault waits until the task runs.
    fn is_late(&self) -> bool {
        match self.kind {
            CallKind::Stop | CallKind::Kill | CallKind::Remove | CallKind::VolumeRemove => true,
            CallKind::Version | CallKind::Info | CallKind::List | CallKind::Events => {
                self.variant.late
            }
            // Before the task runs only a port that Docker picked is asked for.
            CallKind::Inspect => self.variant.late || !self.variant.dynamic_port,
            CallKind::ImageInspect
            | CallKind::Pull
            | CallKind::Create
            | CallKind::Start
            | CallKind::VolumeInspect => false,
        }
    }

    fn arm(&self, proxy: &RecordingProxy) {
        if self.kind == CallKind::Kill {
            proxy.arm(CallKind::Stop, Fault::Status(500), STOPS_BEFORE_KILL);
        }
        proxy.arm(self.kind, self.fault, self.times);
    }

    fn patience(&self) -> Duration {
        STAGE_PATIENCE / self.scale + BUSY_ENGINE
    }

    fn shared_volume(&self) -> String {
        format!("shared-{}", self.number)
    }

    fn config(&self, host: HostId, place: &Place) -> EngineConfig {
        let ledger = place.folder().join(format!("c{}.ledger", self.number));
        let pulls = self.kind == CallKind::Pull;
        EngineConfig {
            session: self.number as u64 + 1,
            cleanup_wait: CLEANUP_WAIT,
            resync: RESYNC,
            pull: match (pulls, self.variant.always_pull) {
                (true, true) => PullPolicy::Always,
                (true, false) => PullPolicy::PullFirst,
                (false, _) => PullPolicy::PreferCached,
            },
            ..EngineConfig::new(FLEET, host, ledger)
        }
    }

    fn spec(&self) -> TaskSpec {
        let volume = |name: &str, scope| Volume {
            name: name.to_owned(),
            docker_volume_configuration: Some(DockerVolumeConfiguration {
                scope: Some(scope),
                ..DockerVolumeConfiguration::default()
            }),
            ..Volume::default()
        };
        let volumes = match self.kind {
            CallKind::VolumeInspect => vec![volume(&self.shared_volume(), VolumeScope::Shared)],
            CallKind::VolumeRemove => vec![volume("own", VolumeScope::Task)],
            _ => Vec::new(),
        };
        let mount = |volume: &Volume| MountPoint {
            source_volume: Some(volume.name.clone()),
            container_path: Some("/mounted".to_owned()),
            ..MountPoint::default()
        };
        let port = PortMapping { container_port: Some(80), ..PortMapping::default() };
        let (network_mode, port_mappings) = match self.variant.dynamic_port {
            true => (NetworkMode::Bridge, vec![port]),
            false => (NetworkMode::Host, Vec::new()),
        };
        let script = "trap 'exit 0' TERM; sleep 100000 & wait";
        let container = ContainerDefinition {
            name: "main".to_owned(),
            image: Some(SAMPLE_IMAGE.to_owned()),
            memory: Some(16),
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            stop_timeout: Some(STOP_GRACE_S),
            mount_points: volumes.iter().map(mount).collect(),
            port_mappings,
            ..ContainerDefinition::default()
        };
        TaskSpec {
            container_definitions: vec![container],
            network_mode: Some(network_mode),
            volumes,
            ..TaskSpec::default()
        }
    }

    fn judge_stopped(&self, report: &TaskReport) -> Result<()> {
        let phase = &report.phase;
        ensure!(*phase == ReportedPhase::Stopped(user_stop()), "stopped as {phase:?}");
        let code = report.containers[0].exit_code;
        // Killed, or stopped before the shell has its trap.
        ensure!(matches!(code, Some(0 | 137 | 143)), "stopped with exit code {code:?}");
        Ok(())
    }

    fn judge_failed(&self, report: &TaskReport) -> Result<()> {
        let ReportedPhase::Stopped(StopCause { code, reason }) = &report.phase else {
            bail!("{:?} is no end", report.phase)
        };
        let Some(allowed) = may_fail_to_start(self) else {
            bail!("it should run, and stopped as {:?}", report.phase)
        };
        ensure!(*code == StopCode::TaskFailedToStart, "stopped as {code:?}: {reason}");
        ensure!(reason.starts_with(allowed), "its reason is {reason}");
        Ok(())
    }
}

/// The shipped ones, scaled.
fn timeouts(scale: u32) -> Timeouts {
    let shipped = Timeouts::default();
    Timeouts {
        version: shipped.version / scale,
        pull: shipped.pull / scale,
        manifest: shipped.manifest / scale,
        pull_silence: shipped.pull_silence / scale,
        load: shipped.load / scale,
        create: shipped.create / scale,
        start: shipped.start / scale,
        stop: shipped.stop / scale,
        inspect: shipped.inspect / scale,
        list: shipped.list / scale,
        remove: shipped.remove / scale,
        last_lines: shipped.last_lines / scale,
    }
}
