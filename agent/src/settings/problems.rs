//! What is wrong with settings, and why the program ends before it starts.

use std::fmt;

/// Why the program ends before it starts: help was shown, or a setting is bad.
#[derive(Debug)]
pub enum SettingsEnd {
    /// `--help` and `--version`: for standard output, exit status 0.
    Shown(String),
    /// For standard error, exit status [`EXIT_BAD_SETTINGS`].
    Bad(SettingProblems),
}

/// EX_USAGE: restarting does not help.
pub const EXIT_BAD_SETTINGS: u8 = 64;

/// Everything that is wrong with the settings.
#[derive(Debug, Default)]
pub struct SettingProblems(pub(super) Vec<SettingProblem>);

#[derive(Debug)]
pub(super) struct SettingProblem(pub(super) String);

impl SettingProblems {
    pub(super) fn push(&mut self, problem: SettingProblem) {
        self.0.push(problem);
    }
}

impl fmt::Display for SettingProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for SettingProblem(text) in &self.0 {
            writeln!(f, "longshore-agent: {text}")?;
        }
        Ok(())
    }
}
