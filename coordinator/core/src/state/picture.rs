//! The whole state in words, so that two states can be compared though their slots differ.
//!
//! For tests, simulations and the `check` subcommand; a picture costs what the whole state costs.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug, Write},
};

/// What is shown of each entity and index, by its name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Picture(BTreeMap<String, String>);

impl Picture {
    pub(super) fn show(&mut self, what: impl Into<String>, fields: &[(&str, &dyn Debug)]) {
        let mut text = String::new();
        for (name, value) in fields {
            writeln!(text, "{name}: {value:?}").expect("text can be written to a string");
        }
        let what = what.into();
        let before = self.0.insert(what.clone(), text);
        assert!(before.is_none(), "{what} is in the state twice");
    }

    /// A sentence for each thing that the other picture shows otherwise, or not at all.
    pub fn differences(&self, other: &Picture) -> Vec<String> {
        let mut found = Vec::new();
        for (what, shown) in &self.0 {
            match other.0.get(what) {
                None => found.push(format!("{what} is missing: {shown}")),
                Some(theirs) if theirs != shown => {
                    found.push(format!("{what} differs: {}", line_differences(shown, theirs)));
                }
                Some(_) => {}
            }
        }
        let extra = other.0.iter().filter(|(what, _)| !self.0.contains_key(*what));
        found.extend(extra.map(|(what, shown)| format!("{what} is new: {shown}")));
        found
    }
}

/// The fields that differ.
fn line_differences(left: &str, right: &str) -> String {
    let differing = left.lines().zip(right.lines()).filter(|(left, right)| left != right);
    let shown = differing.map(|(left, right)| format!("{left} here, {right} there"));
    shown.collect::<Vec<_>>().join("; ")
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(what, shown)| writeln!(f, "== {what}\n{shown}"))
    }
}

macro_rules! fields {
    ($($name:ident: $value:expr),* $(,)?) => {
        &[$((stringify!($name), &$value as &dyn std::fmt::Debug)),*]
    };
}
pub(super) use fields;
