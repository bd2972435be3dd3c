//! CloudWatch Logs' filter patterns: terms, `?optional` and `-excluded` ones, "phrases", `%regular
//! expressions%`, and conditions on JSON.
//!
//! Pure. A pattern that is not understood is refused, never taken for something like it.

mod condition;

use regex::bytes::Regex;

use super::go_regex;
use condition::Condition;

/// CloudWatch Logs' model: FilterPattern.
pub const PATTERN_CHARS_MAX: usize = 1024;
/// CloudWatch Logs' limit.
const REGEXES_MAX: usize = 2;
const REGEX_BYTES_MAX: usize = 256 * 1024;

/// Which messages are wanted.
#[derive(Clone, Debug)]
pub struct Pattern(Wanted);

#[derive(Clone, Debug)]
enum Wanted {
    Everything,
    Terms { all: Vec<Text>, none: Vec<Text>, any: Vec<Text> },
    Json(Condition),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid filter pattern: {0}")]
pub struct InvalidPattern(String);

/// What stands in a message, or in a value.
#[derive(Clone, Debug)]
enum Text {
    Exact(String),
    Regex(Regex),
}

impl Text {
    fn is_in(&self, message: &str) -> bool {
        match self {
            Text::Exact(text) => message.contains(text.as_str()),
            Text::Regex(regex) => regex.is_match(message.as_bytes()),
        }
    }
}

impl Pattern {
    pub fn parse(pattern: &str) -> Result<Self, InvalidPattern> {
        if pattern.chars().count() > PATTERN_CHARS_MAX {
            return Err(InvalidPattern(format!("it has more than {PATTERN_CHARS_MAX} characters")));
        }
        let mut input = Input { rest: pattern.trim(), regexes: 0 };
        let wanted = match input.rest.chars().next() {
            None => Wanted::Everything,
            Some('{') => Wanted::Json(condition::parse(&mut input)?),
            Some('[') => {
                return Err(InvalidPattern(
                    "patterns for space-delimited events ([a, b, …]) are not supported by this \
                     version of Longshore; use terms or a regular expression"
                        .to_owned(),
                ));
            }
            Some(_) => terms(&mut input)?,
        };
        Ok(Pattern(wanted))
    }

    pub fn matches(&self, message: &str) -> bool {
        match &self.0 {
            Wanted::Everything => true,
            Wanted::Terms { all, none, any } => {
                all.iter().all(|term| term.is_in(message))
                    && !none.iter().any(|term| term.is_in(message))
                    && (any.is_empty() || any.iter().any(|term| term.is_in(message)))
            }
            Wanted::Json(condition) => serde_json::from_str::<serde_json::Value>(message)
                .is_ok_and(|value| value.is_object() && condition.holds(&value)),
        }
    }
}

/// CloudWatch Logs ignores optional terms beside others.
fn terms(input: &mut Input<'_>) -> Result<Wanted, InvalidPattern> {
    let (mut all, mut none, mut any) = (Vec::new(), Vec::new(), Vec::new());
    while !input.rest.is_empty() {
        let list = if input.take("?") {
            &mut any
        } else if input.take("-") {
            &mut none
        } else {
            &mut all
        };
        list.push(input.term()?);
        if !input.rest.is_empty() && !input.rest.starts_with(char::is_whitespace) {
            return Err(InvalidPattern(format!("a space is missing before `{}`", input.rest)));
        }
        input.skip_space();
    }
    if !all.is_empty() || !none.is_empty() {
        any.clear();
    }
    Ok(Wanted::Terms { all, none, any })
}

/// What is left of a pattern.
struct Input<'p> {
    rest: &'p str,
    regexes: usize,
}

impl<'p> Input<'p> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'p str {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn term(&mut self) -> Result<Text, InvalidPattern> {
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
    fn quoted(&mut self) -> Result<String, InvalidPattern> {
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
    fn regex(&mut self) -> Result<Regex, InvalidPattern> {
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

#[cfg(test)]
mod tests;
