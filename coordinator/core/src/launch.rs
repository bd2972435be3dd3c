//! What starting tasks takes, whoever starts them: ids, what a task asks of a host, where it would go.
//!
//! Never: whether a task is to run. `decide` and `schedule` say that.

pub(crate) mod ids;
pub(crate) mod demand;
pub(crate) mod request;
pub(crate) mod placed;
pub(crate) mod waiting;
