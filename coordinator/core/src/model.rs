//! What resources are made of: names, settings and records, parsed and within their limits.
//!
//! Never: a rule that needs the state.

pub mod name;
pub mod service;
pub mod task_options;
pub mod alarm;
pub mod log_group;
pub mod auto_scaling;
pub mod capacity_provider;
pub mod strategy;
