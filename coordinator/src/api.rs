//! What users ask for: the services of AWS that answer here, a folder for each, and a file for each of
//! their resources.
//!
//! A handler parses, submits or reads, and renders. Never: a rule of the state machine, or a protocol.

pub(crate) mod ecs;
pub(crate) mod cloudwatch;
pub(crate) mod logs;
pub(crate) mod autoscaling;
pub(crate) mod sts;
pub(crate) mod longshore;
pub(crate) mod alertmanager;

use std::sync::Arc;

use longshore_common::clock::Clock;

use crate::edge::{
    Backend, Edge,
    credentials::Credentials,
    health::{Health, Metrics},
    service::Service,
};

impl Edge {
    /// With every operation that is built.
    pub fn new(
        backend: Backend,
        root: &Credentials,
        clock: Arc<dyn Clock>,
        health: Health,
        metrics: Metrics,
    ) -> Self {
        Self::with_operations(
            backend,
            root,
            clock,
            health,
            metrics,
            ecs::operations(),
            longshore::operations(),
            services(),
        )
    }
}

/// The other services on this endpoint.
pub(crate) fn services() -> Vec<Service> {
    vec![
        sts::service(),
        cloudwatch::alarms::service(),
        logs::service(),
        autoscaling::groups::service(),
    ]
}
