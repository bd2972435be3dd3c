//! What the tests against real hosts, the benchmarks, the campaigns and `make run` are built of.
//!
//! Never: a thing that the agent or the coordinator needs in production, or a test that passes
//! because something it needs is missing on this machine.

pub mod harness;
pub mod local;
pub mod figures;
pub mod chance;
pub mod campaign;
pub mod bench;
pub mod simulation;
