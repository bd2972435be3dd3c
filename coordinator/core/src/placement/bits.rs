//! Sets of hosts, and numbers over hosts, as lines of bits: 512 hosts are one cache line.
//!
//! A *row* is the number that [`super::ClusterIndex`] gives a host. Lines in which nothing is set
//! are not stored, so a set costs what its members cost, not what the cluster costs.

/// 512 rows.
pub(super) type Line = [u64; WORDS];
/// Line in which no row is set.
pub(super) const EMPTY: Line = [0; WORDS];
/// Number of 64-bit words in one line.
const WORDS: usize = 8;
/// Number of rows in one line.
pub(super) const ROWS_PER_LINE: u32 = 64 * WORDS as u32;

pub(super) fn and(a: &Line, b: &Line) -> Line {
    std::array::from_fn(|word| a[word] & b[word])
}

pub(super) fn and_not(a: &Line, b: &Line) -> Line {
    std::array::from_fn(|word| a[word] & !b[word])
}

pub(super) fn or(a: &Line, b: &Line) -> Line {
    std::array::from_fn(|word| a[word] | b[word])
}

pub(super) fn is_empty(line: &Line) -> bool {
    line.iter().fold(0, |any, word| any | word) == 0
}

pub(super) fn ones(line: &Line) -> u32 {
    line.iter().map(|word| word.count_ones()).sum()
}

/// Where a row's bit is: its block, and word and mask within the block's line.
pub(super) fn place_of(row: u32) -> (u32, usize, u64) {
    (row / ROWS_PER_LINE, (row % ROWS_PER_LINE / 64) as usize, 1 << (row % 64))
}

pub(super) fn rows_of(block: u32, line: &Line) -> impl Iterator<Item = u32> + use<> {
    let words = *line;
    words.into_iter().enumerate().flat_map(move |(at, mut word)| {
        std::iter::from_fn(move || {
            let bit = (word != 0).then(|| word.trailing_zeros())?;
            word &= word - 1;
            Some(block * ROWS_PER_LINE + 64 * at as u32 + bit)
        })
    })
}

/// Which blocks are stored, in order. Mostly all of them, so that a block is at its own number.
fn find(blocks: &[u32], block: u32) -> Result<usize, usize> {
    match blocks.get(block as usize) {
        Some(&there) if there == block => Ok(block as usize),
        _ => blocks.binary_search(&block),
    }
}

/// A set of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    blocks: Vec<u32>,
    lines: Vec<Line>,
    len: u32,
}

impl Bits {
    pub(super) fn insert(&mut self, row: u32) {
        let (block, word, mask) = place_of(row);
        let at = find(&self.blocks, block).unwrap_or_else(|at| {
            self.blocks.insert(at, block);
            self.lines.insert(at, EMPTY);
            at
        });
        let word = &mut self.lines[at][word];
        self.len += u32::from(*word & mask == 0);
        *word |= mask;
    }

    pub(super) fn remove(&mut self, row: u32) {
        let (block, word, mask) = place_of(row);
        let Ok(at) = find(&self.blocks, block) else { return };
        let line = &mut self.lines[at];
        self.len -= u32::from(line[word] & mask != 0);
        line[word] &= !mask;
        if is_empty(line) {
            self.blocks.remove(at);
            self.lines.remove(at);
        }
    }

    pub(super) fn set(&mut self, row: u32, member: bool) {
        if member { self.insert(row) } else { self.remove(row) }
    }

    pub(super) fn contains(&self, row: u32) -> bool {
        let (block, word, mask) = place_of(row);
        self.line(block)[word] & mask != 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// One more than the last block that is stored.
    pub(super) fn blocks_end(&self) -> u32 {
        self.blocks.last().map_or(0, |block| block + 1)
    }

    pub(super) fn line(&self, block: u32) -> &Line {
        find(&self.blocks, block).map_or(&EMPTY, |at| &self.lines[at])
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = (u32, &Line)> {
        self.blocks.iter().copied().zip(&self.lines)
    }
}

/// A number for each row, 0 unless set, stored one line per binary digit. Comparing a set of rows
/// costs one pass over the set for each digit, however many rows there are in a line.
#[derive(Clone, Debug, Default)]
pub(super) struct Planes {
    /// Binary digits kept, the same for every block.
    depth: usize,
    blocks: Vec<u32>,
    /// `depth` lines for each block, the least digit first.
    lines: Vec<Line>,
}

impl Planes {
    pub(super) fn get(&self, row: u32) -> u32 {
        let (block, word, mask) = place_of(row);
        let digits = self.digits(block).iter().enumerate();
        digits.map(|(digit, line)| u32::from(line[word] & mask != 0) << digit).sum()
    }

    /// `old` is what [`Planes::get`] would return.
    pub(super) fn change(&mut self, row: u32, old: u32, new: u32) {
        let mut flips = old ^ new;
        if flips == 0 {
            return;
        }
        self.deepen((u32::BITS - flips.leading_zeros()) as usize);
        let (block, word, mask) = place_of(row);
        let at = find(&self.blocks, block).unwrap_or_else(|at| {
            self.blocks.insert(at, block);
            let lines = std::iter::repeat_n(EMPTY, self.depth);
            self.lines.splice(at * self.depth..at * self.depth, lines);
            at
        });
        let digits = at * self.depth..(at + 1) * self.depth;
        let lines = &mut self.lines[digits.clone()];
        while flips != 0 {
            lines[flips.trailing_zeros() as usize][word] ^= mask;
            flips &= flips - 1;
        }
        if new == 0 && lines.iter().all(is_empty) {
            self.blocks.remove(at);
            self.lines.drain(digits);
        }
    }

    /// The lines of one block's digits, the least first; none when the block's numbers are all 0.
    pub(super) fn digits(&self, block: u32) -> &[Line] {
        match find(&self.blocks, block) {
            Ok(at) => &self.lines[at * self.depth..(at + 1) * self.depth],
            Err(_) => &[],
        }
    }

    /// The greatest number that the digits kept can say.
    pub(super) fn greatest(&self) -> u32 {
        ((1_u64 << self.depth) - 1) as u32
    }

    /// Each block's rows whose number is not 0.
    pub(super) fn nonzero(&self) -> impl Iterator<Item = (u32, Line)> {
        self.blocks.iter().map(|&block| (block, self.nonzero_line(block)))
    }

    /// A block's rows whose number is not 0.
    pub(super) fn nonzero_line(&self, block: u32) -> Line {
        self.digits(block).iter().fold(EMPTY, |any, line| or(&any, line))
    }

    /// The sum over the rows of a set.
    pub(super) fn sum(&self, over: &Bits) -> u64 {
        let block_sum = |(block, line): (u32, &Line)| -> u64 {
            let digits = self.digits(block).iter().enumerate();
            digits.map(|(digit, ones_of)| u64::from(ones(&and(line, ones_of))) << digit).sum()
        };
        over.lines().map(block_sum).sum()
    }

    fn deepen(&mut self, depth: usize) {
        if depth <= self.depth {
            return;
        }
        let mut lines = Vec::with_capacity(depth * self.blocks.len());
        for at in 0..self.blocks.len() {
            lines.extend_from_slice(&self.lines[at * self.depth..(at + 1) * self.depth]);
            lines.extend(std::iter::repeat_n(EMPTY, depth - self.depth));
        }
        self.lines = lines;
        self.depth = depth;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_behave_like_an_ordered_set(
            changes in prop::collection::vec((0u32..3000, any::<bool>()), 0..200),
        ) {
            let (mut bits, mut model) = (Bits::default(), BTreeSet::new());
            for (row, member) in changes {
                bits.set(row, member);
                if member { model.insert(row); } else { model.remove(&row); }
            }
            let rows = |bits: &Bits| -> BTreeSet<u32> {
                bits.lines().flat_map(|(block, line)| rows_of(block, line)).collect()
            };
            prop_assert_eq!(rows(&bits), model.clone());
            prop_assert_eq!(bits.len() as usize, model.len());
            prop_assert!(bits.lines().all(|(_, line)| !is_empty(line)));
        }

        #[test]
        fn planes_behave_like_a_map_of_numbers(
            changes in prop::collection::vec((0u32..3000, prop_oneof![0u32..4, any::<u32>()]), 0..100),
        ) {
            let (mut planes, mut model) = (Planes::default(), BTreeMap::new());
            let mut all = Bits::default();
            for (row, number) in changes {
                planes.change(row, model.insert(row, number).unwrap_or(0), number);
                all.insert(row);
            }
            for (row, number) in &model {
                prop_assert_eq!(planes.get(*row), *number);
            }
            let sum: u64 = model.values().map(|number| u64::from(*number)).sum();
            prop_assert_eq!(planes.sum(&all), sum);
            let nonzero: BTreeSet<u32> =
                (0..6).flat_map(|block| rows_of(block, &planes.nonzero_line(block))).collect();
            model.retain(|_, number| *number > 0);
            prop_assert_eq!(nonzero, model.into_keys().collect());
        }
    }
}
