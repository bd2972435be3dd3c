//! The pure core: what is true ([`State`]), what is asked ([`Command`]), what follows ([`Event`]).
//!
//! `decide` looks at the state and a command and answers with events or a [`Rejection`]; `State`'s
//! `apply` makes an event true and cannot fail; recovery only applies. Never here: async, clocks,
//! randomness, I/O. Time and entropy arrive in the [`Envelope`].

pub mod name;
pub mod service;
pub mod managed_scaling;
pub mod task_options;
pub mod alarm;
pub mod log_group;
pub mod auto_scaling;
pub mod capacity_provider;
pub mod strategy;
pub mod command;
pub mod event;
pub mod rejection;
pub mod state;
pub mod record;
pub mod decide;
pub mod schedule;

pub use command::{Command, Envelope};
pub use decide::{Answer, Decision, decide};
pub use event::Event;
pub use rejection::Rejection;
pub use state::State;

#[cfg(test)]
mod tests;
