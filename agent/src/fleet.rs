//! The fleet: who this host is, how it joins and registers, and who may order.

pub mod identity;
pub mod tls;
pub mod coordinators;
pub mod join;
pub(crate) mod registration;
pub(crate) mod coordinator_reach;
pub mod poll_endpoint;
pub(crate) mod noted_polls;
