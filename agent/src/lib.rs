//! The agent: registers one host with a coordinator, and drives the host's Docker Engine as the
//! coordinator orders.
//!
//! Never: a decision about which host runs what, a stop that nobody ordered, a touch of a container
//! that is not labelled as ours.
//!
//! Reading order: the engine (what is desired and observed, one step at a time), the fleet (who we
//! are, who may order), the shell (what this machine is, how the process starts and stops).

// The engine: what is desired and observed, one step at a time.
mod plan;
pub mod runtime;
mod observed;
mod report;
mod ledger;
pub mod supervisor;

// The fleet: who we are, who may order.
pub mod identity;
pub mod tls;
pub mod join;
pub mod poll_endpoint;

// The shell: what this machine is, how the process starts and stops.
pub mod settings;
mod host;
mod capabilities;
