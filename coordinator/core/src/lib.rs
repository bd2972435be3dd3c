//! What the coordinator decides, as values: commands become events, events become the state, and tasks
//! find their hosts.
//!
//! Never: a clock, randomness, a file or a socket. This crate cannot even name tokio.

pub mod batch;
pub mod memory;
pub mod placement;
pub mod query;
pub mod state_machine;
pub mod step;
#[cfg(any(test, feature = "test-kit"))]
pub mod test_kit;
