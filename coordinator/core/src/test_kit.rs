//! A cluster on a stepped clock, for the tests of this crate and of those that use it.
//!
//! Never: in a program.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]
#![allow(clippy::new_without_default, reason = "a world is never a default of anything")]

pub mod group;
pub mod recorder;
pub mod scenario;
pub mod world;
