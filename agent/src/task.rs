//! One task on this host: its key and names, what is wanted of it, what is known of it.
//!
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
pub(crate) mod shown;
