//! The coordinator's side of the fleet: how hosts join it, and how they are polled.
//!
//! Never: a decision about tasks (that is the state machine's), or a word to an agent that is not
//! durable here.

pub mod join;
pub mod client;
pub mod logs;
pub mod topics;
pub mod poller;
