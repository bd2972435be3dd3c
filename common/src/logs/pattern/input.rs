//! What is left to read of a pattern, and the texts in it.

use regex::bytes::Regex;

use crate::logs::go_regex;

/// Maximum of regular expressions in a pattern (quotas of CloudWatch Logs).
const REGEXES_MAX: usize = 2;
/// Maximum of bytes of memory of a compiled expression.
const REGEX_BYTES_MAX: usize = 256 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid filter pattern: {0}")]
pub struct InvalidPattern(pub(super) String);

/// What stands in a message, or in a value.
#[derive(Clone, Debug)]
pub(super) enum Text {
    Exact(String),
    Regex(Regex),
}

impl Text {
    pub(super) fn is_in(&self, message: &str) -> bool {
        match self {
            Text::Exact(text) => message.contains(text.as_str()),
            Text::Regex(regex) => regex.is_match(message.as_bytes()),
        }
    }
}

/// What is left of a pattern.
pub(super) struct Input<'p> {
    pub(super) rest: &'p str,
    regexes: usize,
}

impl<'p> Input<'p> {
    pub(super) fn of(pattern: &'p str) -> Self {
        Input { rest: pattern.trim(), regexes: 0 }
    }

    pub(super) fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    pub(super) fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    pub(super) fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'p str {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    pub(super) fn term(&mut self) -> Result<Text, InvalidPattern> {
        match self.rest.chars().next() {
            Some('"') => Ok(Text::Exact(self.quoted()?)),
            Some('%') => Ok(Text::Regex(self.regex()?)),
            _ => {
                let term = self.take_while(|c| !c.is_whitespace());
                let fits = |c: char| c.is_alphanumeric() || c == '_';
                match term.chars().all(fits) && !term.is_empty() {
                    true => Ok(Text::Exact(term.to_owned())),
                    false => Err(InvalidPattern(format!(
                        "Invalid character(s) in term '{term}'; put it into double quotes"
                    ))),
                }
            }
        }
    }

    /// `"…"`, in which a backslash takes the next character as it is.
    pub(super) fn quoted(&mut self) -> Result<String, InvalidPattern> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return match text.is_empty() {
                        true => Err(InvalidPattern("a text in quotes is empty".to_owned())),
                        false => Ok(text),
                    };
                }
                '\\' => text.extend(chars.next().map(|(_, escaped)| escaped)),
                c => text.push(c),
            }
        }
        Err(InvalidPattern("a quote is not closed".to_owned()))
    }

    /// `%…%`.
    pub(super) fn regex(&mut self) -> Result<Regex, InvalidPattern> {
        self.regexes += 1;
        if self.regexes > REGEXES_MAX {
            return Err(InvalidPattern(format!("more than {REGEXES_MAX} regular expressions")));
        }
        let (expression, rest) = self.rest[1..]
            .split_once('%')
            .filter(|(expression, _)| !expression.is_empty())
            .ok_or_else(|| InvalidPattern("a regular expression is not closed".to_owned()))?;
        self.rest = rest;
        go_regex::compile(expression, REGEX_BYTES_MAX)
            .map_err(|error| InvalidPattern(format!("a regular expression has {error}")))
    }
}
