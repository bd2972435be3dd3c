//! The HTTP edge: AWS's protocols in, commands out.
//!
//! A request passes server (limits) → router (which protocol) → sigv4 (who) → input (typed) →
//! one handler of one resource → driver. Never holds a rule of the state machine: a handler parses,
//! submits or reads, and renders. Wire types never leave this folder.

pub(crate) mod error;
pub(crate) mod input;
pub(crate) mod operation;
pub(crate) mod protocol;
pub(crate) mod router;
pub(crate) mod sigv4;
pub mod credentials;
pub mod server;
pub mod health;
pub(crate) mod sts;
pub(crate) mod tags;
pub(crate) mod task_definitions;

use std::sync::Arc;

use longshore_common::{arn::Identity, clock::Clock};

use crate::{
    api::{
        credentials::{Credentials, Keyring},
        error::ApiError,
        health::{Health, Metrics},
        operation::Operation,
        router::Router,
        sigv4::Verifier,
    },
    state_machine::rejection::Rejection,
};

/// What a handler works with: who we are and who calls. Made anew for each request (a few
/// reference counts), so that a handler takes `&Api` and its input and nothing else.
#[derive(Clone)]
pub(crate) struct Api {
    /// Region and account: what ARNs are made of.
    pub(crate) identity: Arc<Identity>,
    pub(crate) caller: Arc<Caller>,
}

impl Api {
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

/// Everything behind the listener of the API, shared by all its connections.
pub struct Edge {
    identity: Arc<Identity>,
    verifier: Verifier,
    router: Router,
    clock: Arc<dyn Clock>,
    health: Health,
    metrics: Metrics,
}

impl Edge {
    pub fn new(
        identity: Identity,
        root: &Credentials,
        clock: Arc<dyn Clock>,
        health: Health,
        metrics: Metrics,
    ) -> Self {
        Self::with_operations(identity, root, clock, health, metrics, ecs(), longshore())
    }

    fn with_operations(
        identity: Identity,
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
            router: Router::new(ecs, longshore),
            clock,
            health,
            metrics,
        }
    }
}

/// ECS's operations that are built: one line for each resource.
fn ecs() -> Vec<Operation> {
    Vec::new()
}

/// The operations of `Longshore_2026`.
fn longshore() -> Vec<Operation> {
    Vec::new()
}
