//! What resources are made of: names, settings and records, parsed and within their limits.
//!
//! Never: a rule that needs the state.

pub mod name;
pub mod options;
pub mod tags;
pub mod auto_scaling;
pub mod capacity_provider;
pub mod strategy;
pub mod attachment;
pub mod service;
pub mod task_options;
pub mod cluster;
pub mod setting;
pub mod definition;
pub mod honoured;
pub mod orders_at_starts;
pub mod host;
pub mod join_token;
pub mod client_token;
pub mod task;
pub mod revision;
pub mod deployment;
pub mod service_status;
pub mod alarm;
pub mod log_group;
pub mod tagged;
