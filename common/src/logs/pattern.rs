//! CloudWatch Logs' filter patterns: terms, `?optional` and `-excluded` ones, "phrases", `%regular
//! expressions%`, and conditions on JSON.
//!
//! Pure. A pattern that is not understood is refused, never taken for something like it.

mod condition;
mod input;

pub use self::input::InvalidPattern;
use self::{
    condition::Condition,
    input::{Input, Text},
};

/// Maximum of characters of a pattern (CloudWatch Logs' model: FilterPattern).
pub const PATTERN_CHARS_MAX: usize = 1024;
/// Which messages are wanted.
#[derive(Clone, Debug)]
pub struct Pattern(Wanted);

#[derive(Clone, Debug)]
enum Wanted {
    Everything,
    Terms { all: Vec<Text>, none: Vec<Text>, any: Vec<Text> },
    Json(Condition),
}

impl Pattern {
    pub fn parse(pattern: &str) -> Result<Self, InvalidPattern> {
        if pattern.chars().count() > PATTERN_CHARS_MAX {
            return Err(InvalidPattern(format!("it has more than {PATTERN_CHARS_MAX} characters")));
        }
        let mut input = Input::of(pattern);
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

#[cfg(test)]
mod tests;
