//! What the tests against real hosts, the benchmarks and the campaigns are built of.
//!
//! Never: a thing that the agent or the coordinator needs in production, or a test that passes
//! because something it needs is missing on this machine.

pub mod lone_coordinator;
pub mod bare_coordinator;
pub mod figures;
pub mod chance;
pub mod campaign;
pub mod bench;
pub mod simulation;
