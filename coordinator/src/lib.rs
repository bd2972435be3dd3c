//! The coordinator: polls the agents, keeps the cluster's state, assigns tasks to hosts, answers
//! ECS's API.
//!
//! Reading order: `longshore_core` (what is true, what may become true, and where a task goes; pure),
//! `driver` (the one writer), `journal` (what survives), `fleet` (the agents), `effects` (the world
//! outside), `edge` (AWS's protocols), `api` (the users). Never: a decision outside the pure core.

pub mod pki;
pub mod driver;
pub mod journal;
pub mod fleet;
pub(crate) mod door;
pub mod edge_runtime;
pub mod effects;
pub mod edge;
pub mod api;
pub mod cluster_metrics;
mod contained;
mod blocking;
pub mod client;
pub mod random;
pub mod running;
pub mod settings;
pub mod serve;
pub mod subcommands;
