//! The pure core: what is true ([`State`]), what is asked ([`Command`]), what follows ([`Event`]), and
//! where tasks find their hosts.
//!
//! `decide` looks at the state and a command and answers with events or a [`Rejection`]; `State`'s
//! `apply` makes an event true and cannot fail; recovery only applies. Time and entropy arrive in the
//! [`Envelope`]. Never here: async, a clock, randomness, a file or a socket. This crate cannot name tokio.
//!
//! Modules stand in the order in which they build on each other, the lowest first.

// Rules without a state.
pub mod query;
pub mod placement;
// What resources are, and what is said of them.
pub mod model;
pub mod managed_scaling;
pub mod command;
pub mod event;
pub mod rejection;
// What is true, and how it is kept.
pub mod checkpoint;
pub mod state;
// What follows: parts that decisions and the scheduler share, and these two.
pub mod launch;
pub mod lifecycle;
pub mod decide;
pub mod schedule;
// Both together, a step at a time.
pub mod batch;
pub mod step;
pub mod memory;
#[cfg(any(test, feature = "test-kit"))]
pub mod test_kit;
#[cfg(test)]
mod tests;

pub use command::{Command, Envelope};
pub use decide::{Answer, Decision, decide};
pub use event::Event;
pub use rejection::Rejection;
pub use state::State;
