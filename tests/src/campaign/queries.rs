//! P27, of the cluster query language: no text makes its reader panic, overflow or hang, and what
//! is said of a host is what was meant.
//!
//! Expressions are made together with what they must say of one host, reckoned here without their
//! text. Some are read as they are; the others are spoilt first, and need only be survived: taken
//! or refused at a column that they have.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use longshore_core::query::{Constraint, Expression, Facts, Version};
use rustix::time::{ClockId, clock_gettime};

use crate::{
    chance::Chance,
    figures::{count, figure, milliseconds, progress, reached},
};

pub(super) const EXECUTIONS: usize = 10_000_000;
/// No text may take longer; some hundred times what the slowest ones do.
const SLOWEST_MS_MAX: f64 = 2000.0;
/// Of the expressions that are made, those within one another at most.
const DEPTH: usize = 4;

/// What a run is to do.
pub struct Queries {
    executions: usize,
    seed: u64,
}

#[derive(Clone, Debug, Default)]
pub struct QueriesCounts {
    asked: usize,
    seed: u64,
    pub executions: usize,
    pub whole: usize,
    pub spoilt_taken: usize,
    pub spoilt_refused: usize,
    pub holding: usize,
    pub slowest_ms: f64,
}

/// A host of which every subject says something.
struct Host {
    connected: bool,
    version: [u32; 3],
    parsed: Option<Version>,
    id: String,
    registered_at_s: u32,
    running: u32,
    rack: Option<Option<String>>,
    groups: Vec<&'static str>,
}

const GROUPS: [&str; 3] = ["service:web", "family:batch", "x"];
const RACKS: [&str; 4] = ["r1", "r2", "10", "9"];
const DATES: [(&str, u32); 3] = [
    ("2018-06-18", 1_529_280_000),
    ("2018-06-18T22:28:28", 1_529_360_908),
    ("2018-06-18T22:28:28+00:00", 1_529_360_908),
];
const ORDERS: [(&str, &str); 6] = [
    ("==", "equals"),
    ("!=", "not_equals"),
    ("<", "less_than"),
    ("<=", "less_than_equal"),
    (">", "greater_than"),
    (">=", "greater_than_equal"),
];

impl Host {
    fn new(chance: &mut Chance) -> Host {
        let version = std::array::from_fn(|_| chance.below(3) as u32);
        let text = version.map(|number| number.to_string()).join(".");
        let racked = chance.below(4);
        let value = RACKS[chance.below(RACKS.len())].to_owned();
        Host {
            connected: chance.one_in(2),
            version,
            parsed: Version::parse(&text),
            id: format!("i-{}", chance.below(3)),
            registered_at_s: 1_529_280_000 + 80_908 * chance.below(3) as u32,
            running: chance.below(4) as u32,
            rack: [None, Some(None), Some(Some(value.clone())), Some(Some(value))][racked].clone(),
            groups: GROUPS.into_iter().filter(|_| chance.one_in(3)).collect(),
        }
    }

    fn rack(&self) -> Option<&str> {
        self.rack.as_ref()?.as_deref()
    }
}

impl Facts for Host {
    fn agent_connected(&self) -> bool {
        self.connected
    }
    fn agent_version(&self) -> Option<&Version> {
        self.parsed.as_ref()
    }
    fn instance_id(&self) -> Option<&str> {
        Some(&self.id)
    }
    fn registered_at_s(&self) -> u32 {
        self.registered_at_s
    }
    fn running_tasks(&self) -> u32 {
        self.running
    }
    fn attribute(&self, name: &str) -> Option<Option<&str>> {
        let rack = self.rack.as_ref().filter(|_| name == "rack");
        rack.map(|value| value.as_deref())
    }
    fn has_group(&self, wanted: &mut dyn FnMut(&str) -> bool) -> bool {
        self.groups.iter().any(|group| wanted(group))
    }
}

/// A text, and whether it holds of the host.
type Made = (String, bool);

/// An order's sign or word, and whether two things are so ordered.
fn order<T: PartialOrd>(chance: &mut Chance, left: &T, right: &T) -> (&'static str, bool) {
    let at = chance.below(ORDERS.len());
    let holds =
        [left == right, left != right, left < right, left <= right, left > right, left >= right];
    let (sign, word) = ORDERS[at];
    (if chance.one_in(3) { word } else { sign }, holds[at])
}

/// One of two forms, the second of which says the opposite.
fn negated(chance: &mut Chance, forms: [&'static str; 4], holds: bool) -> (&'static str, bool) {
    let at = chance.below(4);
    (forms[at], holds == (at < 2))
}

const EQUAL: [&str; 4] = ["==", "equals", "!=", "not_equals"];
const IN: [&str; 4] = ["in", "in", "!in", "not_in"];
const MATCHES: [&str; 4] = ["=~", "matches", "!~", "not_matches"];
const EXISTS: [&str; 4] = ["exists", "exists", "!exists", "not_exists"];

fn condition(chance: &mut Chance, host: &Host) -> Made {
    match chance.below(12) {
        0 => {
            let (word, is) = if chance.one_in(2) { ("true", true) } else { ("false", false) };
            let (op, holds) = negated(chance, EQUAL, host.connected == is);
            (format!("agentConnected {op} {word}"), holds)
        }
        1 => {
            let with: [u32; 3] = std::array::from_fn(|_| chance.below(3) as u32);
            let (op, holds) = order(chance, &host.version, &with);
            (format!("agentVersion {op} {}", with.map(|n| n.to_string()).join(".")), holds)
        }
        2 => {
            let id = format!("i-{}", chance.below(4));
            let (op, holds) = negated(chance, EQUAL, host.id == id);
            (format!("ec2InstanceId {op} '{id}'"), holds)
        }
        3 => {
            let (a, b) = (format!("i-{}", chance.below(4)), format!("i-{}", chance.below(4)));
            let (op, holds) = negated(chance, IN, host.id == a || host.id == b);
            (format!("ec2InstanceId {op} [{a},\"{b}\" ]"), holds)
        }
        4 => {
            let (text, seconds) = DATES[chance.below(DATES.len())];
            let (op, holds) = order(chance, &host.registered_at_s, &seconds);
            (format!("registeredAt {op} {text}"), holds)
        }
        5 => {
            let with = chance.below(4) as u32;
            let (op, holds) = order(chance, &host.running, &with);
            (format!("runningTasksCount {op} {with}"), holds)
        }
        6 => {
            let (op, holds) = negated(chance, EXISTS, host.rack.is_some());
            (format!("attribute:rack {op}"), holds)
        }
        7 => {
            let value = RACKS[chance.below(RACKS.len())];
            let (op, holds) = negated(chance, EQUAL, host.rack() == Some(value));
            (format!("attribute:rack {op} {value}"), holds)
        }
        8 => {
            let [a, b] = [(); 2].map(|()| RACKS[chance.below(RACKS.len())]);
            let is = host.rack().is_some_and(|rack| rack == a || rack == b);
            let (op, holds) = negated(chance, IN, is);
            (format!("attribute:rack {op} [ {a} , {b} ]"), holds)
        }
        9 => {
            let digit = chance.below(10);
            let is = host.rack().is_some_and(|rack| rack.starts_with('r') || rack.ends_with('9'));
            let (op, holds) = negated(chance, MATCHES, is);
            let pattern = ["(r.*|.?9)", "'[q-r]\\d+|(?:[09]{0,1})9'", "(?i)R[0-9]+?|9"];
            (format!("attribute:rack {op} {}", pattern[digit % 3]), holds)
        }
        10 => {
            let group = GROUPS[chance.below(GROUPS.len())];
            let (op, holds) = negated(chance, EQUAL, host.groups.contains(&group));
            (format!("task:group {op} {group}"), holds)
        }
        _ => {
            let is = host.groups.iter().any(|group| group.contains(':'));
            let (op, holds) = negated(chance, MATCHES, is);
            (format!("task:group {op} \\w+:[a-z]*"), holds)
        }
    }
}

fn made(chance: &mut Chance, host: &Host, depth: usize) -> Made {
    match if depth == 0 { 0 } else { chance.below(5) } {
        1 => {
            let (text, holds) = made(chance, host, depth - 1);
            let not = ["not ", "!", "not"][chance.below(3)];
            (format!("{not}({text})"), !holds)
        }
        2 => {
            let parts = [(); 2].map(|()| made(chance, host, depth - 1));
            let and = [" and ", " && ", "&&"][chance.below(3)];
            let [a, b] = parts;
            (format!("({}){and}({})", a.0, b.0), a.1 && b.1)
        }
        3 => {
            let [a, b] = [(); 2].map(|()| made(chance, host, depth - 1));
            let or = [" or ", " || ", "||"][chance.below(3)];
            (format!("({}){or}({})", a.0, b.0), a.1 || b.1)
        }
        4 => {
            // `and` binds closer.
            let [a, b, c] = [(); 3].map(|()| condition(chance, host));
            (format!("{} or {}  and {}", a.0, b.0, c.0), a.1 || (b.1 && c.1))
        }
        _ => condition(chance, host),
    }
}

/// Parts of texts that are put where they do not belong.
const PIECES: [&str; 36] = [
    "(",
    ")",
    "[",
    "]",
    ",",
    "'",
    "\"",
    "!",
    "=",
    "==",
    "=~",
    "!~",
    "!in",
    "!exists",
    "and",
    "or",
    "not",
    "&&",
    "||",
    "attribute:",
    "task:group",
    "\\",
    "\\Q",
    "(?=",
    "(?<n>",
    "{9999}",
    "{2,1}",
    "*+",
    "[^]",
    "[a-",
    "\\p{L}",
    "é",
    "\u{0}",
    " ",
    "\n",
    "99999999999999999999",
];

fn spoil(chance: &mut Chance, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=chance.below(3) {
        let at = chance.below(chars.len() + 1);
        let end = (at + chance.below(12)).min(chars.len());
        match chance.below(6) {
            0 => drop(chars.drain(at..end)),
            1 => {
                let again = chars[at..end].to_vec();
                let most = if chance.one_in(20) { 400 } else { 3 };
                let times = 1 + chance.below(most);
                let again = again.repeat(times);
                drop(chars.splice(at..at, again));
            }
            2 if at < end => chars[at] = char::from_u32(chance.below(0x300) as u32).unwrap_or('x'),
            3 => chars.truncate(at),
            4 => chars[at..end].reverse(),
            _ => {
                let piece = PIECES[chance.below(PIECES.len())];
                let times = if chance.one_in(50) { 1 + chance.below(3000) } else { 1 };
                drop(chars.splice(at..at, piece.repeat(times).chars().collect::<Vec<char>>()));
            }
        }
    }
    chars.into_iter().collect()
}

impl Queries {
    pub fn of(executions: usize, seed: u64) -> Queries {
        Queries { executions, seed }
    }

    pub fn run(self) -> Result<QueriesCounts> {
        progress(&format!("query: {} executions, seed {}", self.executions, self.seed));
        let mut counts =
            QueriesCounts { asked: self.executions, seed: self.seed, ..Default::default() };
        let mut chance = Chance::from_seed(self.seed).part(0);
        while counts.executions < self.executions {
            let host = Host::new(&mut chance);
            let depth = chance.below(DEPTH + 1);
            let (whole, expected) = made(&mut chance, &host, depth);
            let spoilt = spoil(&mut chance, &whole);
            for (text, expected) in [(&whole, Some(expected)), (&spoilt, None)] {
                let begun = own_time();
                let outcome = catch_unwind(AssertUnwindSafe(|| execute(text, &host, expected)));
                match outcome {
                    Ok(outcome) => counts.add(outcome?, expected.is_some()),
                    Err(_) => bail!("a text made its reader panic: {text:?}"),
                }
                counts.slowest_ms = counts.slowest_ms.max(milliseconds(own_time() - begun));
            }
        }
        Ok(counts)
    }
}

/// What this thread has computed for: what others do meanwhile does not count.
fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Reads a text and asks it of a host: what it says, or nothing when it is refused.
fn execute(text: &str, host: &Host, expected: Option<bool>) -> Result<Option<bool>> {
    match Expression::parse(text) {
        Ok(expression) => {
            let holds = expression.holds(host);
            ensure!(expected.is_none_or(|expected| holds == expected), "{text:?} says {holds}");
            if let Ok(not) = Expression::parse(&format!("not ({text})")) {
                ensure!(not.holds(host) != holds, "{text:?} and its negation agree");
            }
            Ok(Some(holds))
        }
        Err(error) => {
            ensure!(expected.is_none(), "{text:?} is refused: {error}");
            let columns = 1..=text.chars().count() + 1;
            ensure!(columns.contains(&error.column), "{text:?} has no column of {error}");
            let kept = Constraint::from(text.to_owned());
            ensure!(!kept.expression().holds(host), "{text:?} is refused and holds");
            Ok(None)
        }
    }
}

impl QueriesCounts {
    fn add(&mut self, said: Option<bool>, is_whole: bool) {
        self.executions += 1;
        self.holding += usize::from(said == Some(true));
        match (is_whole, said) {
            (true, _) => self.whole += 1,
            (false, Some(_)) => self.spoilt_taken += 1,
            (false, None) => self.spoilt_refused += 1,
        }
    }

    pub fn print_and_judge(&self) -> Result<()> {
        figure("seed", self.seed as f64, "seed")?;
        count("executions", self.executions)?;
        count("whole", self.whole)?;
        count("holding", self.holding)?;
        count("spoilt_taken", self.spoilt_taken)?;
        count("spoilt_refused", self.spoilt_refused)?;
        figure("slowest", self.slowest_ms, "ms")?;
        self.judge()
    }

    pub fn judge(&self) -> Result<()> {
        reached("executions", self.executions, self.asked)?;
        for (what, times) in [
            ("expressions that hold", self.holding),
            ("spoilt ones that are taken", self.spoilt_taken),
            ("spoilt ones that are refused", self.spoilt_refused),
        ] {
            reached(what, times, self.asked / 50)?;
        }
        let slowest = self.slowest_ms;
        ensure!(slowest < SLOWEST_MS_MAX, "one execution took {slowest} ms");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_harms_its_reader_and_what_is_said_is_what_was_meant() {
        Queries::of(5_000, 7).run().unwrap().judge().unwrap();
    }
}
