//! Tasks from their start until they stop; then they are history.

use std::{sync::Arc, time::Duration};

use longshore_common::{
    clock::Timestamp,
    id::TaskId,
    logs::mode::LogDriverMode,
    protocol::{ContainerId, Desired, ReportedPhase, TaskReport},
    resources::Demand,
    task::{HealthStatus, StopCause, StopCode, TaskOverride},
    task_definition::ContainerDefinition,
};

use super::{ClusterSlot, DefinitionSlot, ServiceTask};
use crate::{
    model::{
        attachment::{AttachTime, Attachments, DetachTime},
        name::CapacityProviderName,
        tags::Tags,
        task::{AskedPlacement, Phase, Wish},
    },
    placement::{GroupKey, HostSlot},
    state::service_task::Standing,
};

/// Minimum time that a task runs until its end says nothing of how it starts (ours): as long as a
/// container must be up for Docker's restart policy to count its start as a good one.
pub(super) const RUN_MIN: Duration = Duration::from_secs(10);

pub struct Task {
    pub id: TaskId,
    pub cluster: ClusterSlot,
    pub host: HostSlot,
    pub definition: DefinitionSlot,
    pub group: GroupKey,
    pub generation: u32,
    /// ECS's `version`: one more at every change that is shown.
    pub version: u32,
    pub wish: Wish,
    pub phase: Phase,
    pub created_at: Timestamp,
    /// Shared by the tasks of one decision.
    pub demand: Arc<Demand>,
    pub overrides: Arc<TaskOverride>,
    pub tags: Arc<Tags>,
    pub started_by: Option<Arc<str>>,
    pub containers: Box<[ContainerId]>,
    /// Ids of the host's GPUs that are this task's.
    pub gpus: Box<[String]>,
    /// Health of the essential containers that have a health check; absent when none has.
    pub checked_health: Option<HealthStatus>,
    /// A container that has not started waits for the health of one that is unhealthy.
    pub blocked: bool,
    /// Absent for a task that no service started.
    pub service: Option<Box<ServiceTask>>,
    /// The agent's latest word.
    pub report: Option<Box<TaskReport>>,
    /// How long it may be RUNNING.
    pub timeout_ms: Option<u64>,
    /// The capacity provider that the task was started by.
    pub provider: Option<CapacityProviderName>,
    /// What the call that started it asked of hosts. Shared by the tasks of one decision.
    pub asked: Option<Arc<AskedPlacement>>,
    /// Log driver mode as in the task's order.
    pub log_driver_mode: Option<LogDriverMode>,
    /// The journal's sequence of the batch that gave it its host; 0 where an earlier release did.
    pub placed_seq: u64,
    /// Absent when it has none.
    pub attachments: Option<Box<Attachments>>,
}

/// What follows from how far a task and its attachments are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttachmentStep {
    /// An attachment failed: the task is to stop.
    Fail,
    /// The task's host is to be ordered to run it.
    Provision,
    /// The task is RUNNING.
    Activate,
    /// The task's host is to be ordered to stop it.
    Deactivate,
    /// The task is STOPPED.
    End,
}

/// Which of ECS's counters a task is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskCounter {
    Pending,
    Running,
    Neither,
}

impl Task {
    pub(super) fn counter(&self) -> TaskCounter {
        match self.phase {
            Phase::Provisioning | Phase::Pending | Phase::Activating => TaskCounter::Pending,
            Phase::Running { .. } => TaskCounter::Running,
            // ECS counts tasks in PENDING and RUNNING alone.
            Phase::Deactivating { .. } | Phase::Stopping { .. } | Phase::Deprovisioning { .. } => {
                TaskCounter::Neither
            }
        }
    }

    /// What its host is ordered; `None` before the order to run it, and after its containers ended.
    pub fn ordered(&self) -> Option<Desired> {
        match self.phase {
            Phase::Provisioning | Phase::Deprovisioning { .. } => None,
            Phase::Deactivating { .. } => Some(Desired::Run),
            Phase::Pending | Phase::Activating | Phase::Running { .. } | Phase::Stopping { .. } => {
                Some(self.wish.desired())
            }
        }
    }

    /// What follows for it now from how far its attachments are.
    pub(crate) fn attachment_step(&self) -> Option<AttachmentStep> {
        let attachments = self.attachments.as_deref()?;
        let is_wanted = self.wish == Wish::Run;
        let fails = is_wanted && attachments.failure().is_some();
        let containers_run =
            self.report.as_ref().is_some_and(|report| report.phase == ReportedPhase::Running);
        match self.phase {
            Phase::Stopping { .. } => None,
            Phase::Deprovisioning { .. } => attachments.are_gone().then_some(AttachmentStep::End),
            Phase::Deactivating { .. } => attachments
                .are_detached(DetachTime::BeforeStop)
                .then_some(AttachmentStep::Deactivate),
            _ if fails => Some(AttachmentStep::Fail),
            Phase::Provisioning => attachments
                .are_attached(AttachTime::BeforeStart)
                .then_some(AttachmentStep::Provision),
            Phase::Activating if is_wanted && containers_run => {
                attachments.are_attached(AttachTime::AfterStart).then_some(AttachmentStep::Activate)
            }
            Phase::Pending | Phase::Activating | Phase::Running { .. } => None,
        }
    }

    /// When something is to be done about the task's attachments; the beginning of time when at
    /// once.
    pub(crate) fn attachment_deadline(&self) -> Option<Timestamp> {
        match self.attachment_step() {
            Some(_) => Some(Timestamp::default()),
            None => self.attachments.as_ref()?.until(),
        }
    }

    /// When the task has run for as long as it may.
    pub fn run_deadline(&self) -> Option<Timestamp> {
        let timeout = Duration::from_millis(self.timeout_ms?);
        Some(self.phase.started_at()?.saturating_add(timeout))
    }
}

/// The worst health of the essential containers that have a health check (ecs-behaviour 1.6);
/// `None` when none has one.
pub fn checked_health(
    containers: &[ContainerDefinition],
    report: Option<&TaskReport>,
) -> Option<HealthStatus> {
    let checked = containers.iter().filter(|c| c.is_essential() && c.health_check.is_some());
    let mut worst = None;
    for container in checked {
        let reported = report.and_then(|report| {
            report.containers.iter().find(|reported| reported.name == container.name)
        });
        match (reported.and_then(|reported| reported.health), worst) {
            (Some(HealthStatus::Unhealthy), _) => return Some(HealthStatus::Unhealthy),
            (Some(HealthStatus::Unknown) | None, _) => worst = Some(HealthStatus::Unknown),
            (Some(HealthStatus::Healthy), None) => worst = Some(HealthStatus::Healthy),
            (Some(HealthStatus::Healthy), Some(_)) => {}
        }
    }
    worst
}

impl Task {
    /// How a task of a service counts; `None` for one that belongs to none.
    pub fn standing(&self) -> Option<Standing> {
        let service = self.service.as_ref()?;
        if service.lost {
            return Some(Standing::Lost);
        }
        let wanted = match self.wish {
            Wish::Run => true,
            Wish::Stop { .. } => false,
        };
        Some(match self.phase {
            Phase::Provisioning | Phase::Pending | Phase::Activating if wanted => {
                match self.blocked {
                    true => Standing::Blocked,
                    false => Standing::Pending,
                }
            }
            Phase::Provisioning | Phase::Pending | Phase::Activating => Standing::LeavingPending,
            Phase::Deactivating { .. } | Phase::Stopping { .. } => Standing::Stopping,
            Phase::Deprovisioning { .. } => Standing::Deprovisioning,
            Phase::Running { .. } if !wanted => Standing::LeavingRunning,
            Phase::Running { .. } => match self.checked_health {
                None if service.settled => Standing::Healthy,
                None => Standing::Settling,
                Some(HealthStatus::Healthy) => Standing::Healthy,
                Some(HealthStatus::Unknown) => Standing::Settling,
                Some(HealthStatus::Unhealthy) => Standing::Unhealthy,
            },
        })
    }
}

/// Whether a task of a service that ends now stopped of itself right after it began to run.
pub fn ran_briefly(task: &Task, ended: &StopCause, at: Timestamp) -> bool {
    let ran = task.phase.started_at().map(|began| at.since(began));
    task.service.is_some() && stopped_itself(task, ended) && ran.is_some_and(|ran| ran < RUN_MIN)
}

pub(super) fn stopped_itself(task: &Task, ended: &StopCause) -> bool {
    let by_itself = match ended.code {
        StopCode::TaskFailedToStart | StopCode::EssentialContainerExited => true,
        StopCode::UserInitiated
        | StopCode::ServiceSchedulerInitiated
        | StopCode::SpotInterruption
        | StopCode::TerminationNotice
        | StopCode::InfrastructureHealth => false,
    };
    by_itself && task.wish == Wish::Run
}
