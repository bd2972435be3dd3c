//! Real hosts on one machine: network namespaces, a Docker Engine in each, the two binaries as
//! they are shipped, and the AWS clients as a user runs them.
//!
//! Everything that outlives a process (mounts, namespaces, containers) belongs to a
//! [`slot::Slot`], which the next run that takes it cleans when this one crashed.

pub mod command;
pub mod slot;
pub mod process;
pub mod namespaces;
pub mod engine_api;
pub mod docker_engine;
pub mod image;
pub mod registry;
pub mod recording_proxy;
pub mod engine_history;
pub mod credentials;
pub mod ecs;
pub mod coordinator_log;
pub mod aws;
pub mod binaries;
pub mod machines;
pub mod moto;
pub mod fleet;
pub mod scaling;
pub mod lives;
pub mod service;
pub mod witness;
