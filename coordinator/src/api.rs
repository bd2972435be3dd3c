//! The HTTP edge: AWS's protocols in, commands out.
//!
//! A request passes server (limits) → router (which protocol) → sigv4 (who) → input (typed) →
//! one handler of one resource → driver. Never holds a rule of the state machine: a handler parses,
//! submits or reads, and renders. Wire types never leave this folder.

pub(crate) mod error;
pub(crate) mod event_stream;
pub(crate) mod input;
pub(crate) mod operation;
pub(crate) mod protocol;
pub(crate) mod service;
pub(crate) mod foreign;
pub(crate) mod router;
pub(crate) mod sigv4;
pub mod credentials;
pub mod server;
pub mod in_process;
pub mod health;
pub(crate) mod sts;
pub(crate) mod calls;
pub(crate) mod identifiers;
pub(crate) mod page;
pub(crate) mod failure;
pub(crate) mod client_token;
pub(crate) mod placement;
pub(crate) mod unsupported;
pub(crate) mod clusters;
pub(crate) mod capacity_providers;
pub(crate) mod task_definitions;
pub(crate) mod tasks;
pub(crate) mod services;
pub(crate) mod service_deployments;
pub(crate) mod service_revisions;
pub(crate) mod task_sets;
pub(crate) mod task_protection;
pub(crate) mod container_instances;
pub(crate) mod attributes;
pub(crate) mod tags;
pub(crate) mod account_settings;
pub(crate) mod discover;
pub(crate) mod alarms;
pub(crate) mod auto_scaling;
pub(crate) mod alertmanager;
pub(crate) mod logs;
pub(crate) mod fleet;
pub(crate) mod explain;
#[cfg(test)]
pub(crate) mod test_backend;
#[cfg(test)]
mod ecs_tests;

use std::sync::Arc;

use longshore_common::{arn::Identity, clock::Clock, join_token::CaHash, secret::Secret};
use longshore_core::rejection::Rejection;

use crate::{
    api::{
        credentials::{Credentials, Keyring},
        error::ApiError,
        health::{Health, Metrics},
        input::Node,
        operation::Operation,
        page::PageScope,
        router::Router,
        service::Service,
        sigv4::Verifier,
    },
    driver::Handle,
    fleet::logs::Logs,
    random::Random,
};

/// What a handler works with: who we are and who calls. Made anew for each request (a few
/// reference counts), so that a handler takes `&Api` and its input and nothing else.
#[derive(Clone)]
pub(crate) struct Api {
    /// Region and account: what ARNs are made of.
    pub(crate) identity: Arc<Identity>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) driver: Handle,
    /// Where this API is reached from outside: an URL.
    pub(crate) endpoint: Arc<str>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What a join token pins.
    pub(crate) ca: CaHash,
    /// Logs on the hosts, and those that clients put here.
    pub(crate) logs: Logs,
    /// What secrets, ids and ties of a dry run are drawn from.
    pub(crate) random: Random,
    /// What a page token of this request belongs to.
    pub(crate) page_scope: PageScope,
}

impl Api {
    /// For one request whose answer may have pages.
    pub(crate) fn paged(&self, operation: &str, unbound: &[&str], input: &Node<'_>) -> Self {
        let reads = ["List", "Describe", "Filter", "Get"];
        let page_scope = match reads.iter().any(|verb| operation.starts_with(verb)) {
            true => PageScope::of(self.ca, operation, unbound, input),
            false => PageScope::none(),
        };
        Api { page_scope, ..self.clone() }
    }

    /// A refusal of the state machine, in the words of the API.
    pub(crate) fn refusal(&self, rejection: &Rejection) -> ApiError {
        ApiError::of(rejection, &self.identity)
    }
}

/// Who signed the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The ARN of the principal: `registeredBy`, `principalArn`, GetCallerIdentity.
    pub(crate) arn: String,
    /// STS's `UserId`: the account for the root user.
    pub(crate) user_id: String,
    pub(crate) account: String,
}

/// What the API speaks for.
pub struct Backend {
    pub identity: Identity,
    pub driver: Handle,
    /// The URL at which this API is reached from outside.
    pub endpoint: String,
    /// What join tokens pin.
    pub ca: CaHash,
    /// What Alertmanager must show.
    pub webhook_token: Secret<String>,
    /// What whoever reads the metrics from another machine must show.
    pub metrics_token: Secret<String>,
    pub logs: Logs,
    pub random: Random,
}

/// Everything behind the listener of the API, shared by all its connections.
pub struct Edge {
    identity: Arc<Identity>,
    driver: Handle,
    endpoint: Arc<str>,
    ca: CaHash,
    webhook_token: Secret<String>,
    metrics_token: Secret<String>,
    logs: Logs,
    random: Random,
    verifier: Verifier,
    router: Router,
    clock: Arc<dyn Clock>,
    health: Health,
    metrics: Metrics,
}

impl Edge {
    pub fn new(
        backend: Backend,
        root: &Credentials,
        clock: Arc<dyn Clock>,
        health: Health,
        metrics: Metrics,
    ) -> Self {
        Self::with_operations(backend, root, clock, health, metrics, ecs(), longshore())
    }

    fn with_operations(
        Backend { identity, driver, endpoint, ca, webhook_token, metrics_token, logs, random }: Backend,
        root: &Credentials,
        clock: Arc<dyn Clock>,
        health: Health,
        metrics: Metrics,
        ecs: Vec<Operation>,
        longshore: Vec<Operation>,
    ) -> Self {
        let keyring = Keyring::root(root, &identity);
        Edge {
            verifier: Verifier::new(identity.region.clone(), keyring),
            identity: Arc::new(identity),
            driver,
            endpoint: endpoint.into(),
            ca,
            webhook_token,
            metrics_token,
            logs,
            random,
            router: Router::new(ecs, longshore, services()),
            clock,
            health,
            metrics,
        }
    }
}

/// ECS's operations that are built: one line for each.
fn ecs() -> Vec<Operation> {
    vec![
        Operation::new("CreateCluster", clusters::create),
        Operation::new("DeleteCluster", clusters::delete),
        Operation::new("DescribeClusters", clusters::describe),
        Operation::new("ListClusters", clusters::list),
        Operation::new("UpdateCluster", clusters::update),
        Operation::new("UpdateClusterSettings", clusters::update_settings),
        Operation::new("RegisterTaskDefinition", task_definitions::register)
            .invalid_is_client_error(),
        Operation::new("DeregisterTaskDefinition", task_definitions::deregister),
        Operation::new("DeleteTaskDefinitions", task_definitions::delete),
        Operation::new("DescribeTaskDefinition", task_definitions::describe),
        Operation::new("ListTaskDefinitions", task_definitions::list::revisions),
        Operation::new("ListTaskDefinitionFamilies", task_definitions::list::families_of),
        Operation::new("RunTask", tasks::run::run),
        Operation::new("StartTask", tasks::start::start),
        Operation::new("StopTask", tasks::stop),
        Operation::new("DescribeTasks", tasks::describe),
        Operation::new("ListTasks", tasks::list::list),
        Operation::new("CreateService", services::create::create),
        Operation::new("UpdateService", services::update::update),
        Operation::new("DeleteService", services::delete),
        Operation::new("DescribeServices", services::describe),
        Operation::new("ListServices", services::list::list),
        Operation::new("ListServicesByNamespace", services::list::by_namespace),
        Operation::new("ListServiceDeployments", service_deployments::list::list),
        Operation::new("DescribeServiceDeployments", service_deployments::describe),
        Operation::new("StopServiceDeployment", service_deployments::stop),
        Operation::new("ContinueServiceDeployment", service_deployments::go_on),
        Operation::new("DescribeServiceRevisions", service_revisions::describe),
        Operation::new("CreateTaskSet", task_sets::create),
        Operation::new("UpdateTaskSet", task_sets::update),
        Operation::new("DeleteTaskSet", task_sets::delete),
        Operation::new("DescribeTaskSets", task_sets::describe),
        Operation::new("UpdateServicePrimaryTaskSet", task_sets::set_primary),
        Operation::new("GetTaskProtection", task_protection::get),
        Operation::new("UpdateTaskProtection", task_protection::update),
        Operation::new("RegisterContainerInstance", container_instances::register::register),
        Operation::new("DeregisterContainerInstance", container_instances::deregister),
        Operation::new("DescribeContainerInstances", container_instances::describe),
        Operation::new("ListContainerInstances", container_instances::list),
        Operation::new("UpdateContainerInstancesState", container_instances::update_state),
        Operation::new("PutAttributes", attributes::put),
        Operation::new("DeleteAttributes", attributes::delete),
        Operation::new("ListAttributes", attributes::list),
        Operation::new("TagResource", tags::tag),
        Operation::new("UntagResource", tags::untag),
        Operation::new("ListTagsForResource", tags::list),
        Operation::new("PutAccountSetting", account_settings::put),
        Operation::new("PutAccountSettingDefault", account_settings::put_default),
        Operation::new("DeleteAccountSetting", account_settings::delete),
        Operation::new("ListAccountSettings", account_settings::list),
        Operation::new("CreateCapacityProvider", capacity_providers::create),
        Operation::new("UpdateCapacityProvider", capacity_providers::update),
        Operation::new("DeleteCapacityProvider", capacity_providers::delete),
        Operation::new("DescribeCapacityProviders", capacity_providers::describe),
        Operation::new("PutClusterCapacityProviders", capacity_providers::put_for_cluster),
        Operation::new("DiscoverPollEndpoint", discover::poll_endpoint),
    ]
}

/// The other services on this endpoint.
fn services() -> Vec<Service> {
    vec![sts::service(), alarms::service(), logs::service(), auto_scaling::service()]
}

/// The operations of `Longshore_2026`.
fn longshore() -> Vec<Operation> {
    vec![
        Operation::new("CreateJoinToken", fleet::create_join_token),
        Operation::new("ListJoinTokens", fleet::list_join_tokens),
        Operation::new("RevokeJoinToken", fleet::revoke_join_token),
        Operation::new("Recover", fleet::recover),
        Operation::new("ReplaceLostTasks", fleet::replace_lost_tasks),
        Operation::new("Explain", explain::explain),
    ]
}
