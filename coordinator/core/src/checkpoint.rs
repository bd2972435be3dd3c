//! How the state is kept: the contents of the rows of a checkpoint.

pub mod record;
