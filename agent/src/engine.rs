//! The engine: what is desired and observed of each task, one step at a time.
//!
//! Owns a task from its order to the removal of its containers. Never: a stop that nobody ordered, or
//! who may order.

pub(crate) mod plan;
pub(crate) mod images;
pub(crate) mod ledger;
pub(crate) mod report;
pub mod topics;
pub mod supervisor;
pub(crate) mod leftovers;
