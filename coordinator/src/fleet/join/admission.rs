//! What the state machine says of a host that wants in, and how that reads to the host.

use std::sync::Arc;

use http::StatusCode;
use longshore_common::{
    arn,
    clock::Timestamp,
    id::{FleetId, HostId, TaskId},
    limits::TASK_PROTECTION_MINUTES,
    machine::AgentRun,
    mutual_tls::KeyHash,
    protocol::{RegisterRequest, Registered, TaskAsk, TaskReply, TaskRequest},
};
use longshore_core::{
    Answer, Command, Rejection, State,
    command::{CertifyHost, HostCommand, MemberCommand, TaskCommand, TokenCommand},
    decide::{identity, join_tokens},
    model::{name::ClusterName, tags::Tags},
    rejection::{MemberRejection, TokenRejection},
};

use super::{contest::Contests, denied::Denied};
use crate::driver::{Handle, Refused};

/// ECS's reason for a task that no service started.
const TASK_NOT_VALID: &str = "TASK_NOT_VALID";

/// Asks the state machine, and returns only what is durable.
#[derive(Clone)]
pub struct Admission {
    handle: Handle,
    identity: Arc<arn::Identity>,
    contests: Arc<Contests>,
}

impl Admission {
    /// `identity` is whose ARNs the hosts are told.
    pub fn new(handle: Handle, identity: Arc<arn::Identity>) -> Self {
        Admission { handle, identity, contests: Arc::default() }
    }

    /// Whether a token could be used now by whoever holds one of `keys`; its hash again when it could.
    /// Nothing is decided: of many that use it at once, the state machine says who does. What the keys
    /// are is asked only of a token that was good once: they cost a check of a signature.
    pub(super) fn judge_token(
        &self,
        secret_hash: [u8; 32],
        keys: impl FnOnce() -> Vec<KeyHash>,
        now: Timestamp,
    ) -> Result<[u8; 32], Denied> {
        let judge = |keys: &[KeyHash]| {
            self.handle.peek(|state| join_tokens::judge(state, &secret_hash, keys, now).map(drop))
        };
        let judged = match judge(&[]) {
            Err(Rejection::Token(
                TokenRejection::JoinTokenExpired | TokenRejection::JoinTokenUsedUp,
            )) => judge(&keys()),
            judged => judged,
        };
        judged.map(|()| secret_hash).map_err(Denied::from)
    }

    /// Uses a token up by one, and gives the host its id.
    pub(super) async fn join(
        &self,
        secret_hash: [u8; 32],
        requested_host: Option<HostId>,
        key: KeyHash,
    ) -> Result<HostId, Denied> {
        let command = Command::Token(TokenCommand::UseJoinToken {
            secret_hash,
            requested_host,
            key: Some(key),
        });
        match self.handle.submit(command, |_, answer| answer).await? {
            Answer::Host(host) => Ok(host),
            other => unreachable!("the use of a token answers with a host, not with {other:?}"),
        }
    }

    /// Whether the host may have a certificate for a new key; the key is remembered.
    pub(super) async fn certify(
        &self,
        certify: CertifyHost,
        now: Timestamp,
    ) -> Result<HostId, Denied> {
        let (host, run) = (certify.host, certify.run.clone());
        // A journal that went back may not know of a join that its CA vouches for. The host keeps
        // its certificate while the operator decides; orders it gets none, and nothing is written.
        let judged = if self.handle.went_back().borrow().is_some() {
            let judged =
                self.handle.read(|state| identity::may_certify(state, &certify, true, now));
            judged.await.map_err(Refused::from).and_then(|judged| Ok(judged?))
        } else {
            self.handle
                .submit(Command::Member(MemberCommand::CertifyHost(Box::new(certify))), |_, _| ())
                .await
        };
        self.judged(host, run.as_ref(), judged)?;
        Ok(host)
    }

    /// Raises an alarm where two agents claim to be one host.
    fn judged<T>(
        &self,
        host: HostId,
        run: Option<&AgentRun>,
        judged: Result<T, Refused>,
    ) -> Result<T, Denied> {
        judged.map_err(|refused| match refused {
            Refused::Rejected(
                contest @ Rejection::Member(
                    MemberRejection::HostOfOtherMachine(_)
                    | MemberRejection::HostLivesElsewhere { .. },
                ),
            ) => self.contests.refuse(host, run, &contest),
            other => other.into(),
        })
    }

    /// Takes down what the host is.
    pub(super) async fn register(
        &self,
        fleet: FleetId,
        host: HostId,
        request: RegisterRequest,
    ) -> Result<Registered, Denied> {
        let (cluster, run) = (request.cluster.clone(), request.run.clone());
        let command = Command::Host(HostCommand::RegisterHost { host, request: Box::new(request) });
        let judged = self.handle.submit(command, |_, _| ()).await;
        self.judged(host, run.as_ref(), judged)?;
        Ok(Registered {
            host,
            fleet,
            container_instance_arn: self.identity.container_instance(&cluster, host),
            region: self.identity.region.clone(),
            account: self.identity.account.clone(),
        })
    }
}

impl Admission {
    /// Answers a task of this host. Of any other the host hears only that it is not its own.
    pub(super) async fn task(
        &self,
        host: HostId,
        request: TaskRequest,
        now: Timestamp,
    ) -> Result<TaskReply, Denied> {
        let went_back = self.handle.went_back().borrow().is_some();
        let member = self.handle.read(|state| identity::member(state, host, went_back).map(drop));
        member.await.map_err(Refused::from)??;
        let id = request.task;
        let foreign = || Denied::new(StatusCode::NOT_FOUND, "this host runs no such task");
        let find = |state: &State| {
            let task = state.task(id)?;
            let runs_it = state.host_at(task.host);
            let cluster = state.cluster_at(task.cluster).name.clone();
            let service = task.service.as_ref();
            let until = service.map(|of| of.protected_until.filter(|_| of.is_protected(now)));
            let tags = |tags: &Tags| tags.clone().into_iter().collect();
            let tags = (request.ask == TaskAsk::Tags).then(|| TaskReply::Tags {
                task: tags(&task.tags),
                container_instance: tags(&runs_it.tags),
            });
            (runs_it.id == host).then_some((cluster, until, tags))
        };
        let found = self.handle.read(find).await.map_err(Refused::from)?;
        let (cluster, until, tags) = found.ok_or_else(foreign)?;
        let run = request.run.as_ref();
        let judged = self.handle.read(|state| identity::uncontested(state, host, run, None)).await;
        let judged = judged.map_err(Refused::from).and_then(|judged| Ok(judged?));
        self.judged(host, run, judged)?;
        match request.ask {
            TaskAsk::Protection => Ok(until.map_or_else(
                || TaskReply::NotProtected { reason: TASK_NOT_VALID.to_owned() },
                |until| TaskReply::Protection { until },
            )),
            TaskAsk::Tags => tags.ok_or_else(foreign),
            TaskAsk::Protect { minutes } => self.protect(cluster, id, minutes, now).await,
        }
    }

    async fn protect(
        &self,
        cluster: ClusterName,
        id: TaskId,
        minutes: Option<u32>,
        now: Timestamp,
    ) -> Result<TaskReply, Denied> {
        if minutes.is_some_and(|minutes| !TASK_PROTECTION_MINUTES.contains(&minutes)) {
            let sentence = format!(
                "ExpiresInMinutes must be between {} and {}.",
                TASK_PROTECTION_MINUTES.start(),
                TASK_PROTECTION_MINUTES.end()
            );
            return Err(Denied::new(StatusCode::BAD_REQUEST, sentence));
        }
        let command =
            Command::Task(TaskCommand::UpdateTaskProtection { cluster, tasks: vec![id], minutes });
        let shown = move |state: &State, answer| {
            let Answer::Protected { failures, .. } = answer else {
                unreachable!("protecting answers with what is protected, not with {answer:?}");
            };
            if let Some((_, reason)) = failures.first() {
                return TaskReply::NotProtected { reason: (*reason).to_owned() };
            }
            let of = state.task(id).and_then(|task| task.service.as_ref());
            let of = of.filter(|of| of.is_protected(now));
            TaskReply::Protection { until: of.and_then(|of| of.protected_until) }
        };
        Ok(self.handle.submit(command, shown).await?)
    }
}
