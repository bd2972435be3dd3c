//! What users ask for: the services of AWS that answer here, a folder for each, and a file for each of
//! their resources.
//!
//! A handler parses, submits or reads, and renders. Never: a rule of the state machine, or a protocol.

mod refusal;
mod calls;
pub(crate) mod ecs;
pub(crate) mod cloudwatch;
pub(crate) mod logs;
pub(crate) mod autoscaling;
pub(crate) mod sts;
pub(crate) mod longshore;
pub(crate) mod alertmanager;

use std::sync::Arc;

use longshore_common::clock::Clock;

use crate::{
    credentials::Credentials,
    edge::{
        Backend, Edge, Offer,
        health::{Health, Metrics},
    },
};

impl Edge {
    /// Makes the edge with every operation that is built.
    pub fn new(
        backend: Backend,
        root: &Credentials,
        clock: Arc<dyn Clock>,
        health: Health,
        metrics: Metrics,
    ) -> Self {
        Self::with(backend, root, clock, health, metrics, offer())
    }
}

/// The services on this endpoint. The first one is asked by JSON that names none of them, the first that
/// speaks the query protocol by such forms.
pub(crate) fn offer() -> Offer {
    let services = vec![
        ecs::service(),
        longshore::service(),
        sts::service(),
        cloudwatch::service(),
        logs::service(),
        autoscaling::service(),
    ];
    Offer { services, webhook: alertmanager::webhook() }
}
