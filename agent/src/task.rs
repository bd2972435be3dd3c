//! One task on this host: its key and names, what is wanted of it, what is known of it.
//!
//! The modules stand in the order of their layers, the lowest first (`tests/tests/tidy.rs`).
//! Values and pure rules, on which logs, engine and endpoints build. Never: a call, a clock.

pub(crate) mod key;
pub(crate) mod endpoint_names;
pub(crate) mod rules;
pub(crate) mod intent;
pub(crate) mod names;
pub(crate) mod desired;
pub(crate) mod labels;
pub(crate) mod observed;
pub(crate) mod order;
mod conclusions;
pub(crate) mod shown;
