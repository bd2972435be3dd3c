//! How the state is kept: the table of entities, and the contents of the rows of a checkpoint.
//!
//! Never: how a row is made of the state, or put back. `state` says that.

pub mod entity;
pub mod record;
