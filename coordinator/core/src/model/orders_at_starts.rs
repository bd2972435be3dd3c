//! How many orders a host had been given when starts of the coordinator began: what an agent cannot have
//! seen that has seen only earlier ones.
//!
//! Never: fewer orders than there were. Of starts that are not remembered, the answer is that
//! nothing is known.

use serde::{Deserialize, Serialize};

/// Maximum number of starts that are remembered of one host (ours).
const STARTS_MAX: usize = 8;

/// (counter of the start's epoch, last order before it), of the last starts that found more orders than
/// the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrdersAtStarts(Vec<(u64, u64)>);

impl OrdersAtStarts {
    /// Makes the list of a host that registers in this start.
    pub(crate) fn since(start: u64) -> Self {
        OrdersAtStarts(vec![(start, 0)])
    }

    /// Whether a start that begins with this last order is to be remembered.
    pub(crate) fn have_grown(&self, last_order: u64) -> bool {
        last_order > self.0.last().map_or(0, |(_, order)| *order)
    }

    pub(crate) fn begin(&mut self, start: u64, last_order: u64) {
        self.0.push((start, last_order));
        if self.0.len() > STARTS_MAX {
            self.0.remove(0);
        }
    }

    /// Notes that the agent has seen a lost part's orders up to `to`: every remembered start counts
    /// as having had at least that many before it.
    pub(crate) fn skip(&mut self, start: u64, to: u64) {
        if self.0.is_empty() {
            self.0.push((start, to));
        }
        for (_, order) in &mut self.0 {
            *order = to.max(*order);
        }
    }

    /// The last order before a start, and never less: of one before those that are remembered, the last
    /// order before the first of these.
    pub fn at(&self, start: u64) -> u64 {
        let until = self.0.partition_point(|(remembered, _)| *remembered <= start);
        self.0.get(until.saturating_sub(1)).map_or(0, |(_, order)| *order)
    }

    /// The first start, up to `until`, before which there were more than `order`. 0 where that may be one
    /// before those that are remembered.
    pub fn first_beyond(&self, order: u64, until: u64) -> Option<u64> {
        match self.0.iter().position(|(_, given)| *given > order)? {
            0 => Some(0),
            first => Some(self.0[first].0).filter(|start| *start <= until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_before_a_start_are_never_told_fewer_than_there_were() {
        let mut orders = OrdersAtStarts::since(1);
        let mut given = vec![0; 2];
        for start in 2..40_u64 {
            let last_order = start / 3;
            if orders.have_grown(last_order) {
                orders.begin(start, last_order);
            }
            given.push(last_order);
            for asked in 1..=start {
                let were = given[asked as usize];
                assert!(orders.at(asked) >= were, "{start} {asked}");
                // What is remembered is exact.
                let remembered = asked + 3 * (STARTS_MAX as u64 - 1) >= start;
                assert!(!remembered || orders.at(asked) == were, "{start} {asked}");
            }
        }
    }

    #[test]
    fn start_that_is_forgotten_is_not_taken_for_one_without_orders() {
        let mut orders = OrdersAtStarts::since(1);
        orders.begin(2, 5);
        assert_eq!(orders.first_beyond(0, 2), Some(2));
        assert_eq!((orders.first_beyond(0, 1), orders.first_beyond(5, 9)), (None, None));
        for start in 3..20 {
            orders.begin(start, 5 + start);
        }
        assert_eq!(orders.first_beyond(0, 2), Some(0));
        // Rows of earlier programs hold none.
        assert_eq!(OrdersAtStarts::default().first_beyond(0, 9), None);
        let mut orders = OrdersAtStarts::default();
        orders.begin(7, 3);
        assert_eq!(orders.first_beyond(0, 5), Some(0));
    }

    #[test]
    fn skipped_orders_count_as_given_before_every_start() {
        for mut orders in [OrdersAtStarts::default(), OrdersAtStarts::since(1)] {
            orders.skip(3, 50);
            assert_eq!((orders.at(0), orders.at(9)), (50, 50));
            assert_eq!((orders.first_beyond(10, 9), orders.first_beyond(50, 9)), (Some(0), None));
        }
    }
}
