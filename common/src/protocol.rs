//! What the coordinator and an agent say to each other: joining, registering, polling.
//!
//! Bodies are MessagePack with field names, so that either side may be a version ahead. The rules
//! are design.md rules 3 to 5: the coordinator polls; orders are one FIFO per host, fenced by an
//! epoch; reports are acknowledged cumulatively; absence from a message never stops a task.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    id::{FleetId, HostId, TaskId},
    logs::mode::LogDriverMode,
    machine::{AgentRun, MachineMarks},
    resources::{Capacity, Transport},
    task::{HealthStatus, StopCause, TaskOverride},
    task_definition::TaskDefinition,
    topic::{Section, Subscription},
};

/// Version of the protocol, raised when a message changes in a way that the other side must know
/// of.
pub const PROTOCOL_VERSION: u32 = 1;

/// Paths of the coordinator's joining port (TLS; mutual but for [`JOIN_PATH`]).
pub const JOIN_PATH: &str = "/v1/join";
pub const RENEW_PATH: &str = "/v1/renew";
pub const REGISTER_PATH: &str = "/v1/register";
pub const TASK_PATH: &str = "/v1/task";
/// Path of the agent's poll endpoint (mutual TLS, HTTP/2).
pub const POLL_PATH: &str = "/v1/poll";

/// One start of one coordinator. A larger counter is newer; the incarnation tells two coordinators
/// apart that were started from copies of one journal.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch {
    pub counter: u64,
    pub incarnation: u64,
}

/// An agent without a certificate asks for one. Sent only after the token's CA was pinned. On a
/// connection that shows a host's certificate, the host comes back as itself.
#[derive(Clone, Serialize, Deserialize)]
pub struct JoinRequest {
    pub protocol: u32,
    /// The secret half of the join token.
    pub secret: String,
    /// PEM. Only its key counts: the coordinator sets name, role and lifetime.
    pub csr: String,
    /// A container instance made by the API beforehand, to be this host.
    #[serde(default)]
    pub host: Option<HostId>,
    #[serde(default)]
    pub run: Option<AgentRun>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RenewRequest {
    pub protocol: u32,
    pub csr: String,
    /// Who asks; absent from agents that do not say it.
    #[serde(default)]
    pub run: Option<AgentRun>,
}

/// The answer to [`JoinRequest`] and [`RenewRequest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Certificate {
    pub host: HostId,
    pub fleet: FleetId,
    /// PEM, the host's certificate first.
    pub chain: String,
    /// PEM of every CA that this fleet trusts.
    pub trusted: String,
}

/// What a host says of itself at every start of its agent: ECS's RegisterContainerInstance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegisterRequest {
    pub protocol: u32,
    /// The ECS cluster to be in; its name.
    pub cluster: String,
    pub capacity: Capacity,
    pub attributes: Vec<Attribute>,
    pub tags: Vec<(String, String)>,
    pub versions: Versions,
    /// Host and port of the poll endpoint as the coordinator is to dial it.
    pub poll_address: String,
    /// What `networkBindings` and other tasks should call this host.
    pub advertise: String,
    /// EC2's instance id where there is one, else a name the operator gave.
    pub instance_id: Option<String>,
    /// Names one boot of the host's kernel.
    pub boot_id: String,
    /// Who registers; absent from agents that do not say it.
    #[serde(default)]
    pub run: Option<AgentRun>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attribute {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    pub agent: String,
    pub agent_hash: String,
    /// As Docker says it; absent while Docker has not answered.
    pub docker: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Registered {
    pub host: HostId,
    pub fleet: FleetId,
    pub container_instance_arn: String,
    pub region: String,
    pub account: String,
}

/// What a task asks of the coordinator, passed on by the host that runs it. A host may speak for its
/// own tasks only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRequest {
    pub protocol: u32,
    pub task: TaskId,
    pub ask: TaskAsk,
    /// Who asks; absent from agents that do not say it.
    #[serde(default)]
    pub run: Option<AgentRun>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskAsk {
    /// ECS's GetTaskProtection.
    Protection,
    /// ECS's UpdateTaskProtection: for so many minutes, or no longer.
    Protect { minutes: Option<u32> },
    /// The tags of the task and of its container instance.
    Tags,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskReply {
    Protection {
        /// Absent: it is not protected.
        until: Option<Timestamp>,
    },
    /// ECS's `failures[].reason`.
    NotProtected {
        reason: String,
    },
    Tags {
        task: Vec<(String, String)>,
        container_instance: Vec<(String, String)>,
    },
}

/// A refusal on the joining port: HTTP status 4xx or 5xx with this as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub message: String,
}

/// One long poll. The agent keeps the answer until it has reports, a newer poll arrived, or
/// `hold_ms` have passed. It keeps none while `last_order` is beyond what it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PollRequest {
    pub protocol: u32,
    pub fleet: FleetId,
    pub host: HostId,
    pub epoch: Epoch,
    pub hold_ms: u32,
    /// The agent's session whose reports are acknowledged, and the last one that is durable here.
    pub acknowledged: Option<ReportPosition>,
    /// What [`RunOrder::definition`] counts into.
    pub definitions: Vec<Arc<TaskDefinition>>,
    /// In order of `seq`, from the first that the agent has not acknowledged.
    pub orders: Vec<Order>,
    /// The `seq` of the last order ever given to this host, whether or not it is in `orders`.
    pub last_order: u64,
    /// The host's desired set after `last_order`.
    pub digest: DesiredDigest,
    /// Everything desired of this host, as of `last_order`, when the agent asked for it.
    pub manifest: Option<Manifest>,
    /// As of when the coordinator knows the host's images.
    #[serde(default)]
    pub images: Option<ReportPosition>,
    /// What topics that the host follows have changed by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<Section>,
    /// The coordinator knows what the host follows, as of its last answer: it need not be told again
    /// before something of it changes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub knows_subscriptions: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReportPosition {
    /// Random, new at each start of the agent.
    pub session: u64,
    pub seq: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Counts up by one per host, never reset: part of the journaled state.
    pub seq: u64,
    pub task: TaskId,
    /// Raised when one task is ordered anew; an agent obeys the highest it has seen.
    pub generation: u32,
    pub kind: OrderKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OrderKind {
    Run(Box<RunOrder>),
    Stop(StopCause),
}

/// All that an agent needs to run a task, and to show and re-adopt it with no coordinator there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunOrder {
    /// Index into the message's `definitions`.
    pub definition: u32,
    pub cluster: String,
    pub task_arn: String,
    pub overrides: TaskOverride,
    pub group: String,
    pub started_by: Option<String>,
    pub created_at: Timestamp,
    /// Ids of the containers' ARNs, in the order of the definition's containers.
    pub container_ids: Vec<ContainerId>,
    /// Ids of the host's GPUs that are this task's: see [`crate::gpus::shares`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// In the same order: what the image is to be, whatever its tag names by now. Empty when that
    /// holds for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_digests: Vec<Option<String>>,
    /// The account's `defaultLogDriverMode` when the task was placed, for containers that log by a
    /// driver and name no mode. Absent in orders of before there was such a default: they block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_driver_mode: Option<LogDriverMode>,
}

/// Names one container of one task: the last part of its `containerArn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(pub crate::id::TaskId);

/// All that is desired of one host. A task that is not in it becomes a stop candidate, which the
/// agent reports and the coordinator confirms one by one; it is never stopped for being absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// `seq` of these orders is `last_order`; a task to be stopped is here with both its orders.
    pub orders: Vec<Order>,
    /// Of those tasks, the ones that this agent was ordered to run before, in a part of the journal
    /// that is lost. One of them that it does not hold has ended: it is not run a second time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_before: Vec<TaskId>,
    /// The last order that the agent is taken to have seen in this. One whose ledger holds less was
    /// set back meanwhile, and takes nothing for ended.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seen_order: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An order-free sum over the desired set of one host: equal sets have equal digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredDigest(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Desired {
    Run,
    Stop,
}

impl DesiredDigest {
    pub fn add(&mut self, task: TaskId, generation: u32, desired: Desired) {
        self.0 = self.0.wrapping_add(element_hash(task, generation, desired));
    }

    pub fn remove(&mut self, task: TaskId, generation: u32, desired: Desired) {
        self.0 = self.0.wrapping_sub(element_hash(task, generation, desired));
    }
}

/// Mixes one element of a desired set into 64 bits (the finaliser of SplitMix64, twice). Part of
/// the protocol: both sides must agree, so it may only change with [`PROTOCOL_VERSION`].
fn element_hash(task: TaskId, generation: u32, desired: Desired) -> u64 {
    fn mix(mut z: u64) -> u64 {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    let desired = match desired {
        Desired::Run => 0x9e37_79b9_7f4a_7c15,
        Desired::Stop => 0x6a09_e667_f3bc_c909,
    };
    let high = (task.value() >> 64) as u64;
    let low = task.value() as u64;
    mix(mix(mix(high.wrapping_add(desired)) ^ low) ^ u64::from(generation))
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PollAnswer {
    pub protocol: u32,
    pub host: HostId,
    pub boot_id: String,
    /// Names this run of the agent; report numbers count from 1 in each.
    pub session: u64,
    /// The highest epoch and order that the ledger holds; absent when the ledger is new.
    pub seen: Option<Seen>,
    /// The machine that answers.
    #[serde(default)]
    pub machine: MachineMarks,
    /// In every answer, so that none needs to be acknowledged.
    #[serde(default)]
    pub engine: EngineHealth,
    /// As `engine`, in every answer.
    #[serde(default)]
    pub storage: StorageHealth,
    /// The machine is about to be taken away: the host is to be drained.
    #[serde(default)]
    pub leaving: bool,
    /// Whether the agent has seen every container since it started and since the container engine
    /// answers, and this answer leaves nothing of that unsaid; absent from agents that do not say it.
    #[serde(default)]
    pub looked: Option<bool>,
    /// All that the host follows, when the poll does not show it to be known; absent from agents that
    /// follow nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<Vec<Subscription>>,
    pub outcome: PollOutcome,
}

impl PollAnswer {
    /// Whether it brings reports or images. What else it says is in every answer.
    pub fn tells_something(&self) -> bool {
        match &self.outcome {
            PollOutcome::Accepted { reports, images, .. } => {
                !reports.is_empty() || images.is_some()
            }
            PollOutcome::Refused(_) => false,
        }
    }
}

/// Whether the host's container engine answers its agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EngineHealth {
    /// The agent has not found out yet, or is one that does not say it.
    #[default]
    Unknown,
    Answers,
    /// Tasks that run there go on as far as anybody knows; new ones would not start.
    Silent,
}

/// Whether the host's file systems let its agent take new tasks. Those that run there go on, and
/// are stopped when that is ordered, whatever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorageHealth {
    /// The agent has not found out yet, or is one that does not say it.
    #[default]
    Unknown,
    Ready,
    /// A file system that tasks fill has less room than the operator's thresholds ask for.
    Full,
    /// The agent's ledger cannot be written, so that no order to run a task is taken.
    Unwritable,
}

impl StorageHealth {
    /// As far as is known.
    pub fn takes_tasks(self) -> bool {
        matches!(self, StorageHealth::Unknown | StorageHealth::Ready)
    }

    /// What an agent does not know changes nothing, and nobody need be told that a host which
    /// takes tasks goes on to do so.
    pub fn is_news_after(self, known: StorageHealth) -> bool {
        let takes_as_before = self.takes_tasks() && known.takes_tasks();
        self != StorageHealth::Unknown && self != known && !takes_as_before
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seen {
    pub epoch: Epoch,
    pub order: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PollOutcome {
    Accepted {
        /// In order of `seq`.
        reports: Vec<Report>,
        /// The digests differ, or the ledger was lost: send [`PollRequest::manifest`].
        needs_manifest: bool,
        /// When they are others than the poll shows to be known.
        #[serde(default)]
        images: Option<HeldImages>,
    },
    Refused(Refusal),
}

/// The images of a host. A hint for placement: nothing is wrong when it is late or incomplete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldImages {
    /// Counts the changes that the agent saw.
    pub position: ReportPosition,
    /// Tags and digests in the form of [`familiar`](crate::image_reference::familiar), at most
    /// [`IMAGES_REPORTED_MAX`](crate::limits::IMAGES_REPORTED_MAX).
    pub references: Vec<String>,
}

/// Why an agent took nothing of a poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The poll is from an older start of the coordinator than `seen`, or of one restored from an
    /// older journal.
    StaleEpoch,
    OtherFleet(FleetId),
    OtherHost,
    /// `orders` did not begin right after `seen.order`.
    OrderGap {
        expected: u64,
    },
    UnknownProtocol {
        supported: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub seq: u64,
    pub body: ReportBody,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ReportBody {
    /// The whole of what the agent knows of one task; the latest report wins.
    Task(Box<TaskReport>),
    /// A task that this agent runs and the manifest did not name. Nothing happens to it until
    /// the coordinator orders its stop.
    StopCandidate {
        task: TaskId,
        generation: u32,
        /// What the task was run with, when the ledger still knows: after `recover` the
        /// coordinator takes the task back by it.
        run: Option<Box<RunIntent>>,
    },
}

/// A run order with its definition beside it; the order's index means nothing here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunIntent {
    pub definition: TaskDefinition,
    pub order: RunOrder,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    pub task: TaskId,
    pub generation: u32,
    pub phase: ReportedPhase,
    /// In the order of the definition's containers.
    pub containers: Vec<ContainerReport>,
    pub pull_started_at: Option<Timestamp>,
    pub pull_stopped_at: Option<Timestamp>,
    /// When the last essential container began to stop, or was told to.
    pub stopping_at: Option<Timestamp>,
    /// When every container had stopped.
    pub execution_stopped_at: Option<Timestamp>,
    /// Images that are being pulled for it.
    #[serde(default)]
    pub pulls: Vec<PullReport>,
}

/// How far a task is, as its agent sees it (ecs-behaviour 1.6). Only ever moves downwards here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportedPhase {
    /// The order is in the ledger; the host has not begun.
    Pending,
    /// Pulling, creating, starting.
    Activating,
    /// Every essential container runs.
    Running,
    /// Stop signals are on their way.
    Stopping(StopCause),
    /// Every container has stopped or was never made.
    Stopped(StopCause),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerReport {
    pub name: String,
    pub status: ContainerStatus,
    /// Docker's id.
    pub runtime_id: Option<String>,
    pub image_digest: Option<String>,
    pub exit_code: Option<i32>,
    /// `<ErrorName>: <message>` as ecs-behaviour 1.6, at most 1024 characters.
    pub reason: Option<String>,
    pub network_bindings: Vec<NetworkBinding>,
    /// Absent when the task definition gives no health check.
    pub health: Option<HealthStatus>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// The end of its log, at most [`LAST_LINES_MAX`](crate::limits::LAST_LINES_MAX) lines.
    #[serde(default)]
    pub last_lines: Vec<String>,
}

/// How far one pull is, over the layers that the engine has told of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullReport {
    pub image: String,
    pub bytes: u64,
    pub of_bytes: u64,
    /// Attempts that have failed; another follows.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub failed_attempts: u32,
    /// What the last of them failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

fn is_none_yet(attempts: &u32) -> bool {
    *attempts == 0
}

/// ECS's `lastStatus` of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ContainerStatus {
    #[default]
    Pending,
    Running,
    Stopped,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkBinding {
    #[serde(rename = "bindIP")]
    pub bind_ip: String,
    pub container_port: u16,
    pub host_port: u16,
    pub protocol: Transport,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(elements: &[(u128, u32, Desired)]) -> DesiredDigest {
        let mut digest = DesiredDigest::default();
        for &(task, generation, desired) in elements {
            digest.add(TaskId::new(task), generation, desired);
        }
        digest
    }

    #[test]
    fn a_digest_does_not_depend_on_order() {
        let (a, b) = ((1, 1, Desired::Run), (2, 1, Desired::Stop));
        assert_eq!(digest(&[a, b]), digest(&[b, a]));
    }

    #[test]
    fn a_digest_tells_tasks_generations_and_desires_apart() {
        let base = digest(&[(1, 1, Desired::Run)]);
        assert_ne!(base, digest(&[(2, 1, Desired::Run)]));
        assert_ne!(base, digest(&[(1, 2, Desired::Run)]));
        assert_ne!(base, digest(&[(1, 1, Desired::Stop)]));
    }

    #[test]
    fn removing_what_was_added_restores_the_digest() {
        let mut changed = digest(&[(1, 1, Desired::Run)]);
        changed.add(TaskId::new(2), 1, Desired::Run);
        changed.remove(TaskId::new(2), 1, Desired::Run);
        assert_eq!(changed, digest(&[(1, 1, Desired::Run)]));
    }
}
