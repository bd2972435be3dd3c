//! How deployments, instances and the attachments of tasks change, whoever changes them.
//!
//! Never: whether they are to change. `decide` and `schedule` say that.

pub(crate) mod attachment;
pub(crate) mod deployment;
pub mod instance;
