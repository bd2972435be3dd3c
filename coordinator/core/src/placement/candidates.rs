//! The hosts still in question while one task is placed: a set of rows that only gets narrower.

use super::bits::{
    Bits, EMPTY, Line, Planes, ROWS_PER_LINE, and, and_not, is_empty, ones, place_of, rows_of,
};

/// Dense lines and the list of those that matter. Every step visits the live lines only, so a set
/// that became small stays cheap.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    lines: Vec<Line>,
    /// Blocks whose line is not empty, in order. Lines of other blocks mean nothing.
    live: Vec<u32>,
}

impl Candidates {
    /// The rows of `bits`, each line as `change` leaves it.
    pub(super) fn new(bits: &Bits, change: impl Fn(u32, &Line) -> Line) -> Self {
        let mut lines = Vec::with_capacity(bits.blocks_end() as usize);
        let mut live = Vec::with_capacity(bits.blocks_end() as usize);
        for (block, line) in bits.lines() {
            let line = change(block, line);
            lines.resize(block as usize, EMPTY);
            lines.push(line);
            if !is_empty(&line) {
                live.push(block);
            }
        }
        Candidates { lines, live }
    }

    /// Becomes equal to `other`, in the memory it has.
    pub(super) fn copy_from(&mut self, other: &Candidates) {
        self.live.clone_from(&other.live);
        self.lines.clone_from(&other.lines);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    pub(super) fn len(&self) -> u32 {
        self.live.iter().map(|&block| ones(&self.lines[block as usize])).sum()
    }

    pub(super) fn contains(&self, row: u32) -> bool {
        let (block, word, mask) = place_of(row);
        self.live.binary_search(&block).is_ok() && self.lines[block as usize][word] & mask != 0
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = u32> {
        self.live.iter().flat_map(|&block| rows_of(block, &self.lines[block as usize]))
    }

    pub(super) fn first(&self) -> Option<u32> {
        self.rows().next()
    }

    pub(super) fn remove(&mut self, row: u32) {
        let (block, word, mask) = place_of(row);
        let Ok(at) = self.live.binary_search(&block) else { return };
        let line = &mut self.lines[block as usize];
        line[word] &= !mask;
        if is_empty(line) {
            self.live.remove(at);
        }
    }

    pub(super) fn map(&mut self, change: impl Fn(u32, &Line) -> Line) {
        let lines = &mut self.lines;
        self.live.retain(|&block| {
            let line = &mut lines[block as usize];
            *line = change(block, line);
            !is_empty(line)
        });
    }

    /// Keeps the rows of a set given line by line, unless none would be left: then nothing
    /// changes.
    pub(super) fn keep_if_any(&mut self, set: &[Line]) -> bool {
        let line_of = |block: u32| set.get(block as usize).unwrap_or(&EMPTY);
        let hits = |block: &u32| !is_empty(&and(&self.lines[*block as usize], line_of(*block)));
        if !self.live.iter().any(hits) {
            return false;
        }
        self.map(|block, line| and(line, line_of(block)));
        true
    }

    /// Keeps the rows that are in `bits`, unless none would be left: then nothing changes.
    pub(super) fn keep_members_if_any(&mut self, bits: &Bits) -> bool {
        let hits = |block: &u32| !is_empty(&and(&self.lines[*block as usize], bits.line(*block)));
        if !self.live.iter().any(hits) {
            return false;
        }
        self.map(|block, line| and(line, bits.line(block)));
        true
    }

    /// Keeps the rows that share the least number.
    pub(super) fn keep_least(&mut self, numbers: &Planes) {
        self.keep_extreme(numbers, and_not, 0);
    }

    /// Keeps the rows that share the greatest number.
    pub(super) fn keep_greatest(&mut self, numbers: &Planes) {
        self.keep_extreme(numbers, and, 1);
    }

    /// Digit by digit from the greatest, keeps of each block the rows that have the preferred
    /// digit, if any has; then the blocks that did best. `preferring` keeps those rows of a line.
    fn keep_extreme(
        &mut self,
        numbers: &Planes,
        preferring: impl Fn(&Line, &Line) -> Line,
        preferred: u32,
    ) {
        // How often, weighted by digit, a block had to do without the preferred digit.
        let mut least_loss = u32::MAX;
        let mut kept = 0;
        'blocks: for at in 0..self.live.len() {
            let block = self.live[at];
            let digits = numbers.digits(block);
            let mut line = self.lines[block as usize];
            // Digits that are not stored are 0.
            let mut loss = 0;
            if digits.is_empty() && preferred == 1 {
                loss = numbers.greatest();
            }
            for (digit, ones) in digits.iter().enumerate().rev() {
                let better = preferring(&line, ones);
                if is_empty(&better) {
                    loss |= 1 << digit;
                    if loss > least_loss {
                        continue 'blocks;
                    }
                } else {
                    line = better;
                }
            }
            if loss > least_loss {
                continue;
            }
            if loss < least_loss {
                (least_loss, kept) = (loss, 0);
            }
            self.lines[block as usize] = line;
            self.live[kept] = block;
            kept += 1;
        }
        self.live.truncate(kept);
    }

    /// Any of the rows, each as likely as the other; `None` when there are none.
    pub(super) fn pick(&self, entropy: &mut Entropy) -> Option<u32> {
        if self.live.is_empty() {
            return None;
        }
        // Most sets are either dense, so that a few throws hit, or small, so that counting is cheap.
        for _ in 0..THROWS {
            let block = self.live[entropy.below(self.live.len() as u32) as usize];
            let row = block * ROWS_PER_LINE + entropy.below(ROWS_PER_LINE);
            let (_, word, mask) = place_of(row);
            if self.lines[block as usize][word] & mask != 0 {
                return Some(row);
            }
        }
        let mut nth = entropy.below(self.len());
        for &block in &self.live {
            for (at, &word) in self.lines[block as usize].iter().enumerate() {
                if nth < word.count_ones() {
                    let word = (0..nth).fold(word, |word, _| word & (word - 1));
                    return Some(block * ROWS_PER_LINE + 64 * at as u32 + word.trailing_zeros());
                }
                nth -= word.count_ones();
            }
        }
        None
    }
}

/// Maximum number of random throws at the rows before they are counted instead (ours).
const THROWS: u32 = 24;

/// Numbers drawn from the request's entropy (SplitMix64): equal requests draw equal numbers.
#[derive(Clone, Debug)]
pub(super) struct Entropy(pub(super) u64);

impl Entropy {
    /// A number below `bound`, which is not 0. Its bias is below `bound` / 2^32.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((u64::from(z as u32) * u64::from(bound)) >> 32) as u32
    }
}
