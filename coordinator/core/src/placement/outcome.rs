//! What placement answers.

use super::{
    slot::HostSlot,
    unplaced::{Unfit, Unplaced},
};

/// Where tasks go, in the order in which they were chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub hosts: Vec<HostSlot>,
    /// Present when there are fewer hosts than tasks asked for.
    pub unplaced: Option<Unplaced>,
}

/// See [`explain`](super::ClusterIndex::explain).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    pub placement: Placement,
    /// The closest hosts in order, none when every task has a host; each with all that it lacks.
    pub closest: Vec<(HostSlot, Vec<Unfit>)>,
}
