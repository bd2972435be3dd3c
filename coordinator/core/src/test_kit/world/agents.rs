//! The agents of the cluster: what they run and what they say.

use std::collections::BTreeMap;

use longshore_common::{
    id::{HostId, TaskId},
    protocol::{
        ContainerReport, ContainerStatus, Desired, EngineHealth, HeldImages, Report, ReportBody,
        ReportPosition, ReportedPhase, StorageHealth, TaskReport,
    },
    task::{HealthStatus, StopCause, StopCode},
};

use super::{CLUSTER, World};
use crate::{
    Answer, Command, Rejection,
    command::{
        AgentAnswered, AttachmentCommand, AttachmentStateChange, AttachmentStatus, EpochCommand,
        HostCommand,
    },
    model::{
        attachment::AttachmentState,
        task::{Phase, Wish},
    },
};

impl World {
    /// An agent tells that this is the one image on its host.
    pub fn holds_image(&mut self, host: HostId, name: &str) {
        self.looks += 1;
        let taken = self.reports.get(&host).copied().unwrap_or_default();
        let answered = AgentAnswered {
            host,
            seen: None,
            position: ReportPosition { session: 7, seq: taken },
            reports: vec![],
            ended_candidates: vec![],
            images: Some(HeldImages {
                position: ReportPosition { session: 7, seq: self.looks },
                references: vec![name.to_owned()],
            }),
            engine: EngineHealth::Unknown,
            storage: StorageHealth::Unknown,
            leaving: false,
            looked: true,
        };
        self.call(Command::Host(HostCommand::AgentAnswered(Box::new(answered)))).unwrap();
    }

    pub fn answer(&mut self, host: HostId, reports: Vec<(TaskId, ReportedPhase)>) {
        self.answer_with(host, reports, |_| {});
    }

    /// The answer of an agent, with changes to what it says.
    pub fn answer_with(
        &mut self,
        host: HostId,
        reports: Vec<(TaskId, ReportedPhase)>,
        change: impl FnOnce(&mut AgentAnswered),
    ) {
        let seq = self.reports.entry(host).or_default();
        let reports: Vec<Report> = reports
            .into_iter()
            .map(|(task, phase)| {
                *seq += 1;
                let health = self.health.get(&task).copied();
                let body = ReportBody::Task(Box::new(TaskReport {
                    task,
                    generation: 1,
                    phase,
                    containers: vec![ContainerReport {
                        name: "main".to_owned(),
                        status: ContainerStatus::Running,
                        health,
                        ..Default::default()
                    }],
                    pull_started_at: None,
                    pull_stopped_at: None,
                    stopping_at: None,
                    execution_stopped_at: None,
                    pulls: Vec::new(),
                }));
                Report { seq: *seq, body }
            })
            .collect();
        let position = ReportPosition { session: 7, seq: *seq };
        let mut answered = AgentAnswered {
            host,
            seen: None,
            position,
            reports,
            ended_candidates: vec![],
            images: None,
            engine: EngineHealth::Unknown,
            storage: StorageHealth::Unknown,
            leaving: false,
            looked: true,
        };
        change(&mut answered);
        self.call(Command::Host(HostCommand::AgentAnswered(Box::new(answered)))).unwrap();
    }

    /// An agent says so of a task's containers.
    pub fn report_containers(
        &mut self,
        task: TaskId,
        phase: ReportedPhase,
        containers: Vec<ContainerReport>,
    ) {
        let host = self.state.host_at(self.state.task(task).unwrap().host).id;
        let seq = self.reports.entry(host).or_default();
        *seq += 1;
        let body = ReportBody::Task(Box::new(TaskReport {
            task,
            generation: 1,
            phase,
            containers,
            pull_started_at: None,
            pull_stopped_at: None,
            stopping_at: None,
            execution_stopped_at: None,
            pulls: Vec::new(),
        }));
        let answered = AgentAnswered {
            host,
            seen: None,
            position: ReportPosition { session: 7, seq: *seq },
            reports: vec![Report { seq: *seq, body }],
            ended_candidates: vec![],
            images: None,
            engine: EngineHealth::Unknown,
            storage: StorageHealth::Unknown,
            leaving: false,
            looked: true,
        };
        self.call(Command::Host(HostCommand::AgentAnswered(Box::new(answered)))).unwrap();
    }

    pub fn report(&mut self, task: TaskId, phase: ReportedPhase) {
        let Some(found) = self.state.task(task) else { return };
        let host = self.state.host_at(found.host).id;
        self.answer(host, vec![(task, phase)]);
    }

    pub fn set_health(&mut self, task: TaskId, health: HealthStatus) {
        self.health.insert(task, health);
        self.report(task, ReportedPhase::Running);
    }

    /// Every agent that is heard starts what it is to start, and stops what it is to stop.
    pub fn agents_work(&mut self) {
        for _ in 0..1000 {
            let mut work: BTreeMap<HostId, Vec<(TaskId, ReportedPhase)>> = BTreeMap::new();
            for task in self.tasks() {
                let host = self.state.host_at(task.host);
                let says_running =
                    task.report.as_ref().is_some_and(|said| said.phase == ReportedPhase::Running);
                let phase = match (task.ordered(), &task.wish) {
                    (Some(Desired::Stop), Wish::Stop { cause, .. }) => {
                        ReportedPhase::Stopped(cause.clone())
                    }
                    (Some(Desired::Run), _)
                        if !says_running && !matches!(task.phase, Phase::Running { .. }) =>
                    {
                        ReportedPhase::Running
                    }
                    _ => continue,
                };
                if host.connected {
                    work.entry(host.id).or_default().push((task.id, phase));
                }
            }
            // To a new coordinator everybody says something.
            let unheard = self.state.unheard_hosts().filter(|host| host.connected);
            unheard.for_each(|host| {
                work.entry(host.id).or_default();
            });
            if work.is_empty() {
                return;
            }
            for (host, reports) in work {
                self.answer(host, reports);
            }
        }
        panic!("the scheduler never comes to rest");
    }

    /// Starts every pending task and lets it fail before it runs.
    pub fn starts_fail(&mut self) {
        let pending: Vec<TaskId> = self
            .tasks()
            .into_iter()
            .filter(|task| task.wish == Wish::Run && task.phase == Phase::Pending)
            .map(|task| task.id)
            .collect();
        for task in pending {
            let reason = "CannotPullContainerError: no such image".to_owned();
            let cause = StopCause { code: StopCode::TaskFailedToStart, reason };
            self.report(task, ReportedPhase::Stopped(cause));
        }
    }

    pub fn exits(&mut self, task: TaskId) {
        let reason = "Essential container in task exited".to_owned();
        let cause = StopCause { code: StopCode::EssentialContainerExited, reason };
        self.report(task, ReportedPhase::Stopped(cause));
    }

    /// A program of the user's says how far an attachment is.
    pub fn submit(
        &mut self,
        task: TaskId,
        attachment: u32,
        status: AttachmentStatus,
    ) -> Result<Answer, Rejection> {
        let changes = vec![AttachmentStateChange { task, attachment, status }];
        let cluster = CLUSTER.parse().unwrap();
        let submit = AttachmentCommand::SubmitAttachmentStateChanges { cluster, changes };
        let answer = self.call(Command::Attachment(submit));
        self.call(Command::Epoch(EpochCommand::Tick)).unwrap();
        answer
    }

    /// Whoever attaches and detaches does what is asked of it.
    pub fn attachments_follow(&mut self) {
        let mut asked = Vec::new();
        for task in self.tasks() {
            let list = task.attachments.iter().flat_map(|attachments| &attachments.list);
            for (position, attachment) in (0..).zip(list) {
                match attachment.state {
                    AttachmentState::Attaching { .. } => {
                        asked.push((task.id, position, AttachmentStatus::Attached));
                    }
                    AttachmentState::Detaching { .. } => {
                        asked.push((task.id, position, AttachmentStatus::Detached));
                    }
                    _ => {}
                }
            }
        }
        for (task, position, status) in asked {
            self.submit(task, position, status).unwrap();
        }
    }

    pub fn cut(&mut self, host: HostId) {
        let why = "nothing was heard".to_owned();
        self.call(Command::Host(HostCommand::AgentSilent { host, why, refused: false })).unwrap();
    }

    pub fn heal(&mut self, host: HostId) {
        self.answer(host, Vec::new());
    }
}
