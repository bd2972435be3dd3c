//! The cells: every kind of call with every kind of fault, and what chance decides beside.

use std::{fmt, time::Duration};

use longshore_harness::recording_proxy::{CALL_KINDS, CallKind, Fault};

use crate::chance::Chance;

/// Kinds of call times kinds of fault.
const MATRIX: usize = 140;
/// Steps through the matrix by one call and a fault less.
const SHIPPED_STEP: usize = 29;
/// What a second of Docker's patience is in a scaled cell.
const SCALE: u32 = 20;
const SLOW: Duration = Duration::from_secs(60);
/// A call meets its fault so often, at most.
const TIMES_MAX: usize = 3;
/// One of so many cells is run once more at shipped timeouts.
pub(super) const SHIPPED_ONE_IN: usize = 35;

/// One way in which Docker fails.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) number: usize,
    pub(super) kind: CallKind,
    pub(super) fault: Fault,
    /// How many calls meet it.
    pub(super) times: usize,
    pub(super) variant: Variant,
    /// What Docker's timeouts are divided by.
    pub(super) scale: u32,
}

/// What chance decides of a cell beside its fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    /// The fault comes when the task runs, where it could come before too.
    pub(super) late: bool,
    /// Docker picks the host's port, so that one more inspect is needed.
    pub(super) dynamic_port: bool,
    /// Whether a failed pull is final.
    pub(super) always_pull: bool,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cell { number, kind, fault, times, variant, scale } = self;
        write!(f, "cell {number}: {times} x {kind:?} {fault:?}, {variant:?}, 1:{scale}")
    }
}

/// The whole matrix as often as it fits, each time with other chances.
pub(super) fn cells(scaled: usize, shipped: usize, seed: u64) -> Vec<Cell> {
    let chance = Chance::from_seed(seed);
    let cell = |number: usize, scale: u32| {
        let mut chance = chance.part(number as u64);
        let place = number % MATRIX;
        let kind = CALL_KINDS[place / Fault::all(SLOW).len()];
        let fault = Fault::all(SLOW / scale)[place % Fault::all(SLOW).len()];
        let times = 1 + chance.below(TIMES_MAX);
        let variant = Variant {
            late: chance.one_in(2),
            dynamic_port: chance.one_in(4),
            always_pull: chance.one_in(2),
        };
        // Two 404s for one id are believed: that is the rule, and not a fault of Docker's.
        let believed = kind == CallKind::Inspect && fault == Fault::Status(404);
        Cell { number, kind, fault, times: if believed { 1 } else { times }, variant, scale }
    };
    let quick = (0..scaled).map(|number| cell(number, SCALE));
    // Of each kind of call one or two, with other faults each.
    let patient = (0..shipped).map(|n| cell(scaled + n * SHIPPED_STEP, 1));
    quick.chain(patient).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_140_cells_are_every_call_with_every_fault() {
        let all = cells(280, 8, 5);
        for round in all[..280].chunks(MATRIX) {
            let pairs: BTreeSet<_> = round.iter().map(|cell| (cell.kind, cell.fault)).collect();
            assert_eq!(pairs.len(), MATRIX);
        }
        assert_eq!(all.len(), 280 + 8);
        let kinds: BTreeSet<_> =
            cells(700, 700 / SHIPPED_ONE_IN, 5)[700..].iter().map(|cell| cell.kind).collect();
        assert_eq!(kinds.len(), CALL_KINDS.len(), "{kinds:?}");
    }
}
