//! What can be asked of services and their deployments.

use serde::{Deserialize, Serialize};

use super::task::ClientToken;
use crate::{
    model::{
        capacity_provider::StrategyItem,
        definition::RevisionRef,
        deployment::DeploymentRef,
        service::{
            CircuitBreaker, DeploymentAlarms, DeploymentStrategy, EarlySuccess, HookAction, HookId,
            LifecycleHook, PropagateTags, ServiceConfig, ServiceId, ServiceRef,
        },
        tags::Tags,
    },
    placement::Strategy,
    query::Constraint,
};

#[derive(Clone, Debug)]
pub enum ServiceCommand {
    CreateService(Box<CreateService>),
    UpdateService(Box<UpdateService>),
    DeleteService {
        service: ServiceRef,
        force: bool,
    },
    StopServiceDeployment {
        deployment: DeploymentRef,
        rollback: bool,
    },
    /// Answers a PAUSE hook.
    ContinueServiceDeployment {
        deployment: DeploymentRef,
        hook: HookId,
        action: HookAction,
    },
    /// What an HTTP hook answered, or that it did not.
    HookAnswered {
        service: ServiceId,
        hook: HookId,
        answer: HookAnswer,
    },
}

#[derive(Clone, Debug)]
pub struct CreateService {
    pub service: ServiceRef,
    /// Absent with the EXTERNAL controller, whose task sets bring their own.
    pub definition: Option<RevisionRef>,
    /// Configuration without the capacity provider strategy.
    pub config: ServiceConfig,
    /// As in `RunTask`.
    pub capacity: Option<Vec<StrategyItem>>,
    pub tags: Tags,
    pub created_by: String,
    pub client_token: Option<ClientToken>,
}

/// Members that are absent stay as they are.
#[derive(Clone, Debug)]
pub struct UpdateService {
    pub service: ServiceRef,
    pub definition: Option<RevisionRef>,
    pub desired: Option<u32>,
    pub deployment: DeploymentChange,
    pub distinct_instance: Option<bool>,
    pub member_of: Option<Vec<Constraint>>,
    pub strategies: Option<Vec<Strategy>>,
    /// The new strategy; empty: none any more.
    pub capacity: Option<Vec<StrategyItem>>,
    pub grace_s: Option<u32>,
    pub az_rebalancing: Option<bool>,
    pub propagate_tags: Option<PropagateTags>,
    pub managed_tags: Option<bool>,
    pub force_new_deployment: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeploymentChange {
    pub minimum_healthy_percent: Option<u32>,
    pub maximum_percent: Option<u32>,
    pub strategy: Option<DeploymentStrategy>,
    pub circuit_breaker: Option<CircuitBreaker>,
    pub alarms: Option<DeploymentAlarms>,
    pub bake_minutes: Option<u32>,
    pub hooks: Option<Vec<LifecycleHook>>,
    pub early_success: Option<EarlySuccess>,
}

/// `hookStatus` of a lifecycle hook's answer (ecs-behaviour 1.11).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookAnswer {
    Succeeded,
    Failed(String),
    /// Ask again after this number of seconds.
    InProgress {
        call_back_s: u32,
    },
}
