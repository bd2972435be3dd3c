//! Conditions on JSON: `{ $.status = 5* && ($.user.id > 7 || $.error EXISTS) }`.
//!
//! A member that is not there fulfils no comparison, `!=` neither.

use regex::bytes::Regex;
use serde_json::Value;

use super::input::{Input, InvalidPattern};

/// Maximum depth of nested brackets.
const DEPTH_MAX: usize = 16;

#[derive(Clone, Debug)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Test { path: Vec<Part>, test: Test },
}

/// One step from a value to one within it.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Member(String),
    Item(usize),
}

#[derive(Clone, Debug)]
pub(super) enum Test {
    Exists,
    NotExists,
    IsNull,
    Is(bool),
    Equal(Operand),
    NotEqual(Operand),
    Order(Order, f64),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// As a number, and as it was written: a text of the same letters is equal too.
    Number(f64, String),
    /// Texts that stand in this order with anything between them, where `*` was.
    Wild(Vec<String>),
    Regex(Regex),
}

pub(super) fn parse(input: &mut Input<'_>) -> Result<Condition, InvalidPattern> {
    input.take("{");
    let condition = any(input, 0)?;
    if !input.take("}") {
        return Err(unexpected(input, "`}`, && or ||"));
    }
    input.skip_space();
    match input.rest.is_empty() {
        true => Ok(condition),
        false => Err(unexpected(input, "nothing more")),
    }
}

fn any(input: &mut Input<'_>, depth: usize) -> Result<Condition, InvalidPattern> {
    let mut conditions = vec![all(input, depth)?];
    while input.take("||") {
        conditions.push(all(input, depth)?);
    }
    Ok(match conditions.len() {
        1 => conditions.remove(0),
        _ => Condition::Any(conditions),
    })
}

fn all(input: &mut Input<'_>, depth: usize) -> Result<Condition, InvalidPattern> {
    let mut conditions = vec![one(input, depth)?];
    while input.take("&&") {
        conditions.push(one(input, depth)?);
    }
    Ok(match conditions.len() {
        1 => conditions.remove(0),
        _ => Condition::All(conditions),
    })
}

fn one(input: &mut Input<'_>, depth: usize) -> Result<Condition, InvalidPattern> {
    if depth > DEPTH_MAX {
        return Err(InvalidPattern(format!("brackets nest deeper than {DEPTH_MAX}")));
    }
    input.skip_space();
    let condition = if input.take("(") {
        let inner = any(input, depth + 1)?;
        if !input.take(")") {
            return Err(unexpected(input, "`)`, && or ||"));
        }
        inner
    } else {
        let path = path(input)?;
        input.skip_space();
        Condition::Test { path, test: test(input)? }
    };
    input.skip_space();
    Ok(condition)
}

/// `$.a.b[0]["c.d"]`.
fn path(input: &mut Input<'_>) -> Result<Vec<Part>, InvalidPattern> {
    if !input.take("$") {
        return Err(unexpected(input, "a selector, `$.member`"));
    }
    let mut parts = Vec::new();
    loop {
        if input.take("[") || input.take(".[") {
            if input.rest.starts_with('"') {
                parts.push(Part::Member(input.quoted()?));
            } else {
                let digits = input.take_while(|c| c.is_ascii_digit());
                let index = digits.parse();
                parts.push(Part::Item(index.map_err(|_| unexpected(input, "an index"))?));
            }
            if !input.take("]") {
                return Err(unexpected(input, "`]`"));
            }
        } else if input.take(".") {
            let fits = |c: char| c.is_alphanumeric() || "_-@$#/:".contains(c);
            match input.take_while(fits) {
                "" => return Err(unexpected(input, "a member's name")),
                name => parts.push(Part::Member(name.to_owned())),
            }
        } else if parts.is_empty() {
            return Err(unexpected(input, "`.member` after $"));
        } else {
            return Ok(parts);
        }
    }
}

fn test(input: &mut Input<'_>) -> Result<Test, InvalidPattern> {
    let orders = [
        ("<=", Order::LessOrEqual),
        (">=", Order::GreaterOrEqual),
        ("<", Order::Less),
        (">", Order::Greater),
    ];
    if input.take("!=") {
        return Ok(Test::NotEqual(operand(input)?));
    }
    if input.take("=") {
        return Ok(Test::Equal(operand(input)?));
    }
    for (written, order) in orders {
        if input.take(written) {
            return match operand(input)? {
                Operand::Number(number, _) => Ok(Test::Order(order, number)),
                Operand::Wild(_) | Operand::Regex(_) => {
                    Err(InvalidPattern(format!("{written} compares with a number only")))
                }
            };
        }
    }
    let test = match word(input).as_str() {
        "EXISTS" => Some(Test::Exists),
        "NOT" => (word(input) == "EXISTS").then_some(Test::NotExists),
        "IS" => match word(input).as_str() {
            "NULL" => Some(Test::IsNull),
            "TRUE" => Some(Test::Is(true)),
            "FALSE" => Some(Test::Is(false)),
            _ => None,
        },
        _ => None,
    };
    test.ok_or_else(|| {
        unexpected(input, "=, !=, <, >, <=, >=, EXISTS, NOT EXISTS, IS NULL, IS TRUE or IS FALSE")
    })
}

fn word(input: &mut Input<'_>) -> String {
    input.skip_space();
    input.take_while(|c| c.is_ascii_alphabetic()).to_ascii_uppercase()
}

fn operand(input: &mut Input<'_>) -> Result<Operand, InvalidPattern> {
    input.skip_space();
    let wild = |text: &str| Operand::Wild(text.split('*').map(str::to_owned).collect());
    match input.rest.chars().next() {
        Some('"') => Ok(wild(&input.quoted()?)),
        Some('%') => Ok(Operand::Regex(input.regex()?)),
        _ => {
            let text = input.take_while(|c| !c.is_whitespace() && !"(){}&|\"=<>".contains(c));
            match text.parse::<f64>() {
                _ if text.is_empty() => Err(unexpected(input, "a value")),
                Ok(number) if number.is_finite() => Ok(Operand::Number(number, text.to_owned())),
                _ => Ok(wild(text)),
            }
        }
    }
}

fn unexpected(input: &Input<'_>, expected: &str) -> InvalidPattern {
    match input.rest {
        "" => InvalidPattern(format!("it ends where {expected} is expected")),
        rest => InvalidPattern(format!("expected {expected} at `{rest}`")),
    }
}

impl Condition {
    pub(super) fn holds(&self, message: &Value) -> bool {
        match self {
            Condition::All(conditions) => conditions.iter().all(|c| c.holds(message)),
            Condition::Any(conditions) => conditions.iter().any(|c| c.holds(message)),
            Condition::Test { path, test } => {
                let found = path.iter().try_fold(message, |value, part| match part {
                    Part::Member(name) => value.get(name),
                    Part::Item(index) => value.get(index),
                });
                match (test, found) {
                    (Test::NotExists, found) => found.is_none(),
                    (_, None) => false,
                    (Test::Exists, Some(_)) => true,
                    (Test::IsNull, Some(value)) => value.is_null(),
                    (Test::Is(wanted), Some(value)) => value.as_bool() == Some(*wanted),
                    (Test::Equal(operand), Some(value)) => operand.is(value),
                    (Test::NotEqual(operand), Some(value)) => !operand.is(value),
                    (Test::Order(order, bound), Some(value)) => {
                        value.as_f64().is_some_and(|number| order.holds(number, *bound))
                    }
                }
            }
        }
    }
}

impl Order {
    fn holds(self, number: f64, bound: f64) -> bool {
        match self {
            Order::Less => number < bound,
            Order::LessOrEqual => number <= bound,
            Order::Greater => number > bound,
            Order::GreaterOrEqual => number >= bound,
        }
    }
}

impl Operand {
    fn is(&self, value: &Value) -> bool {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return false,
        };
        match self {
            Operand::Number(number, written) => match value.as_f64() {
                Some(value) => value == *number,
                None => text == *written,
            },
            Operand::Wild(parts) => is_wild(&text, parts),
            Operand::Regex(regex) => regex.is_match(text.as_bytes()),
        }
    }
}

fn is_wild(text: &str, parts: &[String]) -> bool {
    let [first, middle @ .., last] = parts else {
        return parts.first().is_some_and(|only| only == text);
    };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for part in middle {
        match rest.find(part.as_str()) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}
