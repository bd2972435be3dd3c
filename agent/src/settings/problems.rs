//! What is wrong with settings, and why the program ends before it starts.

use std::fmt;

/// Why the program ends before it starts.
#[derive(Debug)]
pub enum Ended {
    /// `--help` and `--version`: for standard output, exit status 0.
    Shown(String),
    /// For standard error, exit status [`EXIT_BAD_SETTINGS`].
    Bad(Problems),
}

/// EX_USAGE: restarting does not help.
pub const EXIT_BAD_SETTINGS: u8 = 64;

/// Everything that is wrong with the settings.
#[derive(Debug, Default)]
pub struct Problems(pub(super) Vec<Problem>);

#[derive(Debug)]
pub(super) struct Problem(pub(super) String);

impl Problems {
    pub(super) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Problem(text) in &self.0 {
            writeln!(f, "longshore-agent: {text}")?;
        }
        Ok(())
    }
}
