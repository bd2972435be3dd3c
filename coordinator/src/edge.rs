//! What the services of AWS share: AWS's protocols in, typed calls out, and nothing of any one operation.
//!
//! A request passes server (limits) → router (which protocol) → sigv4 (who) → input (typed) → a handler
//! of `api`, which is handed a [`context::Api`]. Never: the name of an operation of ours, or of a resource.

pub(crate) mod error;
pub(crate) mod input;
pub(crate) mod sigv4;
pub(crate) mod protocol;
pub(crate) mod event_stream;
pub mod credentials;
pub mod health;
pub(crate) mod page;
pub(crate) mod context;
pub(crate) mod calls;
pub(crate) mod client_token;
pub(crate) mod operation;
pub(crate) mod service;
pub(crate) mod router;
pub(crate) mod foreign;
pub mod server;
pub mod in_process;
#[cfg(test)]
pub(crate) mod test_backend;

use std::sync::Arc;

use longshore_common::{arn::Identity, clock::Clock, join_token::CaHash, secret::Secret};

use crate::{
    driver::Handle,
    edge::{
        credentials::{Credentials, Keyring},
        health::{Health, Metrics},
        operation::Operation,
        router::Router,
        service::Service,
        sigv4::Verifier,
    },
    fleet::logs::Logs,
    random::Random,
};

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
    pub(crate) fn with_operations(
        Backend { identity, driver, endpoint, ca, webhook_token, metrics_token, logs, random }: Backend,
        root: &Credentials,
        clock: Arc<dyn Clock>,
        health: Health,
        metrics: Metrics,
        ecs: Vec<Operation>,
        longshore: Vec<Operation>,
        services: Vec<Service>,
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
            router: Router::new(ecs, longshore, services),
            clock,
            health,
            metrics,
        }
    }
}
