//! The coordinator: polls the agents, keeps the cluster's state, assigns tasks to hosts, answers
//! ECS's API.
//!
//! The pure core is a crate below this one, `longshore_core`: what is true, what may become true, and where a
//! task goes. Never: a decision outside that crate.
//!
//! The modules stand in the order of their layers. A module takes nothing from one that stands after it, which
//! `tests/tests/tidy.rs` checks.
//!
//! - values and helpers: `random`, `blocking`, `contained`, `credentials`, `signature`, `settings`
//! - `pki`: the fleet's CA
//! - `journal`: what survives
//! - `driver`: the one writer
//! - `door`: what callers of any listener may hold
//! - `fleet`: the agents
//! - `effects`: the world outside
//! - `edge`: AWS's protocols
//! - `api`: what users ask for
//! - `cluster_metrics`, `client`, `running`, `edge_runtime`, `serve`, `subcommands`: the program

pub mod random;
mod blocking;
mod contained;
pub mod credentials;
mod signature;
pub mod settings;
pub mod pki;
pub mod journal;
pub mod driver;
pub(crate) mod door;
pub mod fleet;
pub mod effects;
pub mod edge;
pub mod api;
pub mod cluster_metrics;
pub mod client;
pub mod running;
pub mod edge_runtime;
pub mod serve;
pub mod subcommands;
