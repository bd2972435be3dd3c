//! As much of a coordinator as one agent's engine needs: gives orders, takes reports, by the
//! protocol alone.
//!
//! Never: a decision. Who uses it decides, and judges what is reported.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Result, bail};
use longshore_agent::engine::supervisor::EngineHandle;
use longshore_common::{
    clock::Timestamp,
    id::{FleetId, HostId, TaskId},
    protocol::{
        ContainerId, Desired, DesiredDigest, Epoch, Manifest, Order, OrderKind, PROTOCOL_VERSION,
        PollAnswer, PollOutcome, PollRequest, Report, ReportBody, ReportPosition, ReportedPhase,
        RunOrder, TaskReport,
    },
    task::{StopCause, StopCode, TaskOverride},
    task_definition::{TaskDefinition, TaskSpec},
};

pub const FAMILY: &str = "cell";

#[derive(Clone)]
pub struct LoneCoordinator {
    pub fleet: FleetId,
    pub host: HostId,
    pub epoch: Epoch,
    pub last_order: u64,
    pub desired: BTreeMap<TaskId, (u32, Desired)>,
    definitions: Vec<Arc<TaskDefinition>>,
    orders: Vec<Order>,
    acknowledged: Option<ReportPosition>,
    /// The last report of each task.
    pub reports: BTreeMap<TaskId, TaskReport>,
    /// Tasks that the agent has and this does not desire.
    pub candidates: BTreeMap<TaskId, u32>,
    pub manifests_wanted: usize,
}

impl LoneCoordinator {
    pub fn new(fleet: FleetId, host: HostId, counter: u64) -> Self {
        LoneCoordinator {
            fleet,
            host,
            epoch: Epoch { counter, incarnation: 7 },
            last_order: 0,
            desired: BTreeMap::new(),
            definitions: Vec::new(),
            orders: Vec::new(),
            acknowledged: None,
            reports: BTreeMap::new(),
            candidates: BTreeMap::new(),
            manifests_wanted: 0,
        }
    }

    /// A new start on the same journal.
    pub fn restarted(&self) -> Self {
        let mut next = self.clone();
        next.epoch = Epoch { counter: self.epoch.counter + 1, incarnation: 8 };
        next.acknowledged = None;
        next
    }

    pub fn run(&mut self, task: TaskId, generation: u32, spec: TaskSpec) {
        let definition = self.definitions.len() as u32;
        let containers = spec.container_definitions.len() as u128;
        let family = FAMILY.to_owned();
        self.definitions.push(Arc::new(TaskDefinition { family, revision: 1, spec }));
        let order = RunOrder {
            definition,
            cluster: "default".to_owned(),
            task_arn: format!("arn:aws:ecs:us-east-1:000000000000:task/default/{task}"),
            overrides: TaskOverride::default(),
            group: format!("family:{FAMILY}"),
            started_by: None,
            created_at: Timestamp(1),
            container_ids: (0..containers).map(|i| ContainerId(TaskId::new(i))).collect(),
            gpus: Vec::new(),
            image_digests: Vec::new(),
            log_driver_mode: None,
        };
        self.desired.insert(task, (generation, Desired::Run));
        self.order(task, generation, OrderKind::Run(Box::new(order)));
    }

    pub fn stop(&mut self, task: TaskId) {
        let generation = self.desired.get(&task).map_or(1, |(generation, _)| *generation);
        self.desired.insert(task, (generation, Desired::Stop));
        self.order(task, generation, OrderKind::Stop(user_stop()));
    }

    fn order(&mut self, task: TaskId, generation: u32, kind: OrderKind) {
        self.last_order += 1;
        self.orders.push(Order { seq: self.last_order, task, generation, kind });
    }

    fn digest(&self) -> DesiredDigest {
        let mut digest = DesiredDigest::default();
        for (task, (generation, desired)) in &self.desired {
            digest.add(*task, *generation, *desired);
        }
        digest
    }

    pub fn request(&self, hold_ms: u32) -> PollRequest {
        PollRequest {
            protocol: PROTOCOL_VERSION,
            fleet: self.fleet,
            host: self.host,
            epoch: self.epoch,
            hold_ms,
            acknowledged: self.acknowledged,
            definitions: self.definitions.clone(),
            orders: self.orders.clone(),
            last_order: self.last_order,
            digest: self.digest(),
            manifest: None,
            images: None,
            sections: Vec::new(),
            knows_subscriptions: false,
        }
    }

    /// Only what is still desired, with both orders of what is to stop.
    pub fn manifest(&self, hold_ms: u32) -> PollRequest {
        let wanted = |order: &&Order| self.desired.contains_key(&order.task);
        let orders = self.orders.iter().filter(wanted);
        let orders = orders.map(|order| Order { seq: self.last_order, ..order.clone() });
        let manifest = Some(Manifest { orders: orders.collect(), ..Manifest::default() });
        PollRequest { manifest, orders: Vec::new(), ..self.request(hold_ms) }
    }

    /// One exchange as a coordinator makes it: polls, takes what comes, sends a manifest when the
    /// agent wants one, and has stopped what it does not desire.
    pub async fn exchange(&mut self, agent: &EngineHandle, hold_ms: u32) -> Result<()> {
        let answer = agent.poll(self.request(hold_ms)).await?;
        if self.take(&answer)? {
            let answer = agent.poll(self.manifest(hold_ms)).await?;
            self.take(&answer)?;
        }
        for (task, generation) in std::mem::take(&mut self.candidates) {
            self.order(task, generation, OrderKind::Stop(user_stop()));
        }
        Ok(())
    }

    /// Whether the agent asks for a manifest.
    fn take(&mut self, answer: &PollAnswer) -> Result<bool> {
        let PollOutcome::Accepted { reports, needs_manifest, .. } = &answer.outcome else {
            bail!("the agent refused: {answer:?}")
        };
        self.manifests_wanted += usize::from(*needs_manifest);
        for Report { seq, body } in reports {
            self.acknowledged = Some(ReportPosition { session: answer.session, seq: *seq });
            match body {
                ReportBody::Task(report) => {
                    if matches!(report.phase, ReportedPhase::Stopped(_)) {
                        self.desired.remove(&report.task);
                    }
                    self.reports.insert(report.task, (**report).clone());
                }
                ReportBody::StopCandidate { task, generation, .. } => {
                    self.candidates.insert(*task, *generation);
                }
            }
        }
        Ok(*needs_manifest)
    }
}

pub fn user_stop() -> StopCause {
    StopCause { code: StopCode::UserInitiated, reason: "enough".to_owned() }
}
