//! How long a coordinator that was killed takes to serve again with 100,000 tasks in its journal.
//!
//! The journal is made by the coordinator's own driver and state machine, which hosts that exist
//! only here have told of 100,000 running tasks; then the shipped program is started on it.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use longshore_common::{
    clock::{Clock, SystemClock, Timestamp},
    id::{FleetId, HostId, TaskId},
    protocol::{
        ContainerReport, ContainerStatus, EngineHealth, PROTOCOL_VERSION, RegisterRequest, Report,
        ReportBody, ReportPosition, ReportedPhase, StorageHealth, TaskReport, Versions,
    },
    resources::{Capacity, CpuUnits, MemoryMib},
    task::TaskOverride,
    task_definition::{ContainerDefinition, TaskSpec},
};
use longshore_coordinator::{
    driver::{self, Handle},
    journal::{
        recovery::recover,
        sqlite::{OpenError, SqliteJournal},
    },
    pki::Authority,
};
use longshore_core::{
    Answer, Command,
    command::{
        AgentAnswered, ClusterCommand, DefinitionCommand, EpochCommand, HostCommand,
        RegisterTaskDefinition, RunTask, TaskCommand, TaskLaunch, TokenCommand,
    },
    model::{cluster::ClusterSettings, definition::RevisionRef, join_token::JoinToken},
};
use longshore_harness::{image::SAMPLE_IMAGE, slot::Slot};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    bare_coordinator::BareCoordinator,
    figures::{count, disk_baseline, figure, median, progress},
};

const FLEET: FleetId = FleetId::new(1);
const TASKS: usize = 100_000;
const HOSTS: usize = 100;
/// Tasks of one command: what a service would place at once.
const TASKS_PER_COMMAND: u32 = 1_000;
const REPORTS_PER_ANSWER: usize = 256;
const RESTARTS: usize = 5;
const TOKEN_LIFE: Duration = Duration::from_secs(3600);
const SERVE_PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run() -> Result<()> {
    let slot = Slot::take()?;
    let folder = slot.folder().join("coordinator");
    fs_err::create_dir_all(&folder)?;
    disk_baseline(slot.folder())?;
    progress("restart: making the journal");
    let made = fill(&folder).await?;
    until_let_go(&folder).await?;
    count("tasks", made)?;
    let journal: u64 = fs_err::read_dir(&folder)?
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|file| file.len())
        .sum();
    figure("journal_mib", journal as f64 / (1024.0 * 1024.0), "MiB")?;
    // Its hosts trust no other: a coordinator makes none where it knows hosts.
    Authority::make(&folder, FLEET, SystemClock::start().wall())?;
    let mut took = Vec::new();
    for restart in 0..=RESTARTS {
        let seconds = serve_again(slot.folder(), &folder).await?;
        progress(&format!("restart: served after {seconds:.3} s"));
        // The first also makes the root key that a data folder has from then on.
        if restart > 0 {
            took.push(seconds);
        }
    }
    figure("seconds_100k_tasks", median(&took)?, "s")
}

/// Waits until the driver that filled the journal has written its last checkpoint and ended.
async fn until_let_go(folder: &Path) -> Result<()> {
    loop {
        match SqliteJournal::open(folder, FLEET) {
            Ok(_) => return Ok(()),
            Err(OpenError::InUse(_)) => tokio::task::yield_now().await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// From the start of the program to its first answer that shows the tasks; then it is killed.
async fn serve_again(logs: &Path, folder: &Path) -> Result<f64> {
    let started = Instant::now();
    let coordinator = BareCoordinator::start(logs, folder, &[]).await?;
    let client = coordinator.ecs()?;
    let shown = client
        .eventually("DescribeClusters", json!({}), SERVE_PATIENCE, |answer| {
            answer["clusters"][0]["runningTasksCount"].as_u64()
        })
        .await?;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(shown as usize == TASKS, "{shown} tasks are shown, not {TASKS}");
    coordinator.kill().await?;
    Ok(seconds)
}

/// Makes the journal; how many tasks are in it.
async fn fill(folder: &Path) -> Result<usize> {
    let journal = SqliteJournal::open(folder, FLEET)?;
    let (state, _) = recover(&journal)?;
    let mut next = 0_u128;
    let entropy = Box::new(move || {
        // Distinct, and spread over all bits as random ones are.
        next += 1;
        next.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    });
    let clock = Arc::new(SystemClock::start());
    let (driver, _failed) = driver::start(state, journal, clock.clone(), entropy);
    driver.submit(Command::Epoch(EpochCommand::StartEpoch { incarnation: 1 }), |_, _| ()).await?;
    let create = Command::Cluster(ClusterCommand::CreateCluster {
        name: "default".parse()?,
        settings: ClusterSettings::default(),
        tags: Default::default(),
    });
    driver.submit(create, |_, _| ()).await?;
    driver.submit(definition()?, |_, _| ()).await?;
    let token = JoinToken {
        id: "restart".to_owned(),
        secret_hash: [7; 32],
        cluster: None,
        expires_at: clock.wall().saturating_add(TOKEN_LIFE),
        uses_left: None,
    };
    driver.submit(Command::Token(TokenCommand::CreateJoinToken(token)), |_, _| ()).await?;
    let mut hosts = Vec::new();
    for _ in 0..HOSTS {
        let join = Command::Token(TokenCommand::UseJoinToken {
            secret_hash: [7; 32],
            requested_host: None,
            key: None,
        });
        let host = driver
            .submit(join, |_, answer| match answer {
                Answer::Host(host) => Some(host),
                _ => None,
            })
            .await?
            .context("joining gave no host")?;
        let register =
            Command::Host(HostCommand::RegisterHost { host, request: Box::new(registration()) });
        driver.submit(register, |_, _| ()).await?;
        answer(&driver, host, 0, Vec::new()).await?;
        hosts.push(host);
    }
    let mut tasks = Vec::new();
    while tasks.len() < TASKS {
        let run = run_tasks(TASKS_PER_COMMAND)?;
        let placed = driver
            .submit(run, |state, answer| match answer {
                Answer::Tasks { tasks, .. } => tasks
                    .into_iter()
                    .filter_map(|id| {
                        let task = state.task(id)?;
                        Some((state.host_at(task.host).id, id, task.generation))
                    })
                    .collect::<Vec<_>>(),
                _ => Vec::new(),
            })
            .await?;
        ensure!(!placed.is_empty(), "no task could be placed after {}", tasks.len());
        tasks.extend(placed);
    }
    tasks.sort();
    let now = clock.wall();
    for host in &hosts {
        let of_host = tasks.iter().filter(|(on, ..)| on == host);
        let reports: Vec<_> =
            of_host.map(|(_, task, generation)| running(*task, *generation, now)).collect();
        for (number, some) in reports.chunks(REPORTS_PER_ANSWER).enumerate() {
            answer(&driver, *host, number * REPORTS_PER_ANSWER, some.to_vec()).await?;
        }
    }
    Ok(tasks.len())
}

pub(super) fn definition() -> Result<Command> {
    let container = ContainerDefinition {
        name: "main".to_owned(),
        image: Some(SAMPLE_IMAGE.to_owned()),
        cpu: 1,
        memory: Some(6),
        essential: Some(true),
        ..Default::default()
    };
    Ok(Command::Definition(DefinitionCommand::RegisterTaskDefinition(Box::new(
        RegisterTaskDefinition {
            family: "restart".parse()?,
            spec: TaskSpec { container_definitions: vec![container], ..Default::default() },
            requires_attributes: Vec::new(),
            compatibilities: Vec::new(),
            registered_by: "arn:aws:iam::000000000000:root".to_owned(),
            tags: Default::default(),
        },
    ))))
}

pub(super) fn registration() -> RegisterRequest {
    RegisterRequest {
        protocol: PROTOCOL_VERSION,
        cluster: "default".to_owned(),
        capacity: Capacity { cpu: CpuUnits(8_192), memory: MemoryMib(8_192), ..Default::default() },
        attributes: Vec::new(),
        tags: Vec::new(),
        versions: Versions::default(),
        // Nobody listens there: the restarted coordinator meets hosts that do not answer.
        poll_address: "127.0.0.1:9".to_owned(),
        advertise: "127.0.0.1".to_owned(),
        instance_id: None,
        boot_id: "restart".to_owned(),
        run: None,
    }
}

fn run_tasks(count: u32) -> Result<Command> {
    Ok(Command::Task(TaskCommand::RunTask(Box::new(RunTask {
        launch: TaskLaunch {
            cluster: "default".parse()?,
            definition: RevisionRef { family: "restart".parse()?, revision: None },
            overrides: TaskOverride::default(),
            group: None,
            started_by: Some("restart".to_owned()),
            tags: Default::default(),
            options: Default::default(),
            propagate_tags: false,
            managed_tags: false,
        },
        count,
        distinct_instance: false,
        member_of: Vec::new(),
        strategies: Vec::new(),
        capacity: None,
        client_token: None,
    }))))
}

async fn answer(
    driver: &Handle,
    host: HostId,
    after: usize,
    bodies: Vec<TaskReport>,
) -> Result<()> {
    let mut seq = after as u64;
    let mut reports = Vec::new();
    for body in bodies {
        seq += 1;
        reports.push(Report { seq, body: ReportBody::Task(Box::new(body)) });
    }
    let answered = AgentAnswered {
        host,
        seen: None,
        position: ReportPosition { session: 1, seq },
        reports,
        ended_candidates: Vec::new(),
        images: None,
        engine: EngineHealth::Unknown,
        storage: StorageHealth::Unknown,
        leaving: false,
        looked: true,
    };
    let command = Command::Host(HostCommand::AgentAnswered(Box::new(answered)));
    driver.submit(command, |_, _| ()).await.context("an agent's answer")
}

pub(super) fn running(task: TaskId, generation: u32, at: Timestamp) -> TaskReport {
    TaskReport {
        task,
        generation,
        phase: ReportedPhase::Running,
        containers: vec![ContainerReport {
            name: "main".to_owned(),
            status: ContainerStatus::Running,
            runtime_id: Some(format!("{:064x}", task.value())),
            image_digest: Some(format!("sha256:{:064x}", 7)),
            started_at: Some(at),
            ..Default::default()
        }],
        pull_started_at: Some(at),
        pull_stopped_at: Some(at),
        stopping_at: None,
        execution_stopped_at: None,
        pulls: Vec::new(),
    }
}
