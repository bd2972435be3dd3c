//! How deployments and instances change, whoever changes them.
//!
//! Never: whether they are to change. `decide` and `schedule` say that.

pub(crate) mod deployment;
pub mod instance;
