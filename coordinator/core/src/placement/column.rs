//! One resource over all hosts: how much each has left, ready to be compared.
//!
//! Two views of the same numbers. *Thresholds* answer "who has at least so much" in one pass: for
//! each of a few steps of quantity, the set of rows that have it. *Planes* hold the exact numbers,
//! and settle what lies between two steps and who has least.

use super::bits::{Bits, EMPTY, Line, Planes, and, and_not, is_empty, or};

#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    /// Rows by [`step_of`]: those that have at least [`quantity_of`] that step. Step 0, nothing, is
    /// left empty: all rows have that.
    thresholds: Vec<Bits>,
    pub(super) planes: Planes,
}

/// Number of binary digits that tell the steps within one power of two apart: steps are at most an
/// eighth.
const STEP_DIGITS: u32 = 3;

/// The lower binary digits of a quantity that its step leaves open.
fn digits_below_step(quantity: u32) -> u32 {
    (u32::BITS - quantity.leading_zeros()).saturating_sub(STEP_DIGITS + 1)
}

/// The greatest step that is not above the quantity.
fn step_of(quantity: u32) -> usize {
    let below = digits_below_step(quantity);
    ((below << STEP_DIGITS) + (quantity >> below)) as usize
}

fn quantity_of(step: usize) -> u32 {
    let step = step as u32;
    let below = (step >> STEP_DIGITS).saturating_sub(1);
    (step - (below << STEP_DIGITS)) << below
}

impl Column {
    /// `old` is what the row had before, 0 for a new one.
    pub(super) fn change(&mut self, row: u32, old: u32, new: u32) {
        let (from, to) = (step_of(old), step_of(new));
        if to >= self.thresholds.len() {
            self.thresholds.resize_with(to + 1, Bits::default);
        }
        for step in from + 1..=to {
            self.thresholds[step].insert(row);
        }
        for step in to + 1..=from {
            self.thresholds[step].remove(row);
        }
        self.planes.change(row, old, new);
    }

    /// The rows that have at least `need`, line by line.
    pub(super) fn at_least(&self, need: u32) -> AtLeast<'_> {
        let step = step_of(need);
        let exact = quantity_of(step) == need;
        let beyond = (!exact).then(|| self.thresholds.get(step + 1));
        AtLeast { column: self, need, near: self.thresholds.get(step), beyond }
    }

    /// Rows counted by what they have, for the tests to compare with what hosts say.
    #[cfg(test)]
    pub(super) fn assert_holds(&self, row: u32, quantity: u32) {
        assert_eq!(self.planes.get(row), quantity, "row {row}");
        for (step, rows) in self.thresholds.iter().enumerate().skip(1) {
            assert_eq!(rows.contains(row), quantity_of(step) <= quantity, "row {row} step {step}");
        }
    }
}

/// See [`Column::at_least`].
#[derive(Clone, Copy, Debug)]
pub(super) struct AtLeast<'a> {
    column: &'a Column,
    need: u32,
    /// Rows at the step of `need` or above; absent when there are none.
    near: Option<&'a Bits>,
    /// Rows at the upper step or above, as far as there are any, when `need` is between two steps.
    beyond: Option<Option<&'a Bits>>,
}

impl AtLeast<'_> {
    /// Those of a line's rows that have enough.
    pub(super) fn of(&self, block: u32, line: &Line) -> Line {
        let Some(near) = self.near else { return EMPTY };
        let near = and(line, near.line(block));
        let Some(beyond) = self.beyond else { return near };
        let enough = beyond.map_or(EMPTY, |beyond| and(line, beyond.line(block)));
        // The others share their upper digits with `need`, so the lower ones decide.
        let mut equal = and_not(&near, &enough);
        if is_empty(&equal) {
            return enough;
        }
        let mut greater = enough;
        let lower = digits_below_step(self.need) as usize;
        let digits = self.column.planes.digits(block);
        for digit in (0..lower.min(digits.len())).rev() {
            let ones = and(&equal, &digits[digit]);
            if self.need >> digit & 1 == 1 {
                equal = ones;
            } else {
                greater = or(&greater, &ones);
                equal = and_not(&equal, &ones);
            }
        }
        or(&greater, &equal)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::candidates::Candidates, *};

    #[test]
    fn every_step_is_where_its_quantity_says_and_they_rise() {
        for step in 0..step_of(u32::MAX) {
            assert_eq!(step_of(quantity_of(step)), step);
            assert!(quantity_of(step) < quantity_of(step + 1));
        }
    }

    #[test]
    fn usual_sizes_are_steps_themselves() {
        for quantity in [128, 256, 512, 768, 1024, 1536, 2048, 4096, 30720] {
            assert_eq!(quantity_of(step_of(quantity)), quantity);
        }
    }

    fn quantity() -> impl Strategy<Value = u32> {
        prop_oneof![0u32..40, 240u32..300, 60_000u32..70_000, any::<u32>()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_column_compares_like_its_numbers(
            quantities in prop::collection::vec((quantity(), quantity()), 1..1200),
            need in quantity().prop_filter("nothing is no threshold", |need| *need > 0),
        ) {
            let (mut column, mut all) = (Column::default(), Bits::default());
            for (row, (first, then)) in quantities.iter().enumerate() {
                column.change(row as u32, 0, *first);
                column.change(row as u32, *first, *then);
                column.assert_holds(row as u32, *then);
                all.insert(row as u32);
            }
            let rows_where = |wanted: &dyn Fn(u32) -> bool| -> Vec<u32> {
                let rows = (0..).zip(&quantities);
                rows.filter(|(_, (_, then))| wanted(*then)).map(|(row, _)| row).collect()
            };
            let enough = column.at_least(need);
            let mut candidates = Candidates::new(&all, |block, line| enough.of(block, line));
            prop_assert_eq!(candidates.rows().collect::<Vec<_>>(), rows_where(&|has| has >= need));
            prop_assert_eq!(candidates.len() as usize, candidates.rows().count());
            if let Some(least) = quantities.iter().map(|(_, has)| *has).filter(|has| *has >= need).min() {
                candidates.keep_least(&column.planes);
                prop_assert_eq!(candidates.rows().collect::<Vec<_>>(), rows_where(&|has| has == least));
            }
            let mut candidates = Candidates::new(&all, |_, line| *line);
            let greatest = quantities.iter().map(|(_, has)| *has).max().unwrap();
            candidates.keep_greatest(&column.planes);
            prop_assert_eq!(candidates.rows().collect::<Vec<_>>(), rows_where(&|has| has == greatest));
        }
    }
}
