//! What can be asked at starts of the coordinator, at `recover`, and as time passes.

use longshore_common::{id::HostId, protocol::Epoch};

#[derive(Clone, Debug)]
pub enum EpochCommand {
    /// The first command of every start.
    StartEpoch { incarnation: u64 },
    /// Every host that can be heard has said what it has seen: after a start, the scheduler does
    /// nothing before.
    BeginScheduling,
    /// The operator accepts that the journal went back (design.md rule 3). `beyond` is the highest
    /// epoch counter that any agent has shown; `proved` the epoch by which one has proved it, none
    /// where the operator knew it before.
    Recover { beyond: u64, incarnation: u64, proved: Option<Epoch> },
    /// After `recover`, this agent has shown that it took orders up to `to` of the lost part of
    /// the journal: ours must be numbered above them.
    SkipLostOrders { host: HostId, to: u64 },
    /// Time has passed: expire what is due.
    Tick,
}

/// An epoch as [`EpochCommand::StartEpoch`] makes it from the state's last one.
pub fn next_epoch(last: Epoch, incarnation: u64) -> Epoch {
    Epoch { counter: last.counter.saturating_add(1), incarnation }
}
