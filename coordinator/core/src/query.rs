//! ECS's cluster query language: expressions that choose container instances (ecs-behaviour 1.14).
//!
//! Owns the grammar (`parse`), Java's regular expressions as far as they can be had (`pattern`), and
//! what an expression says of one container instance ([`Expression::holds`]). Pure: no clock, no
//! I/O, and no input may panic, overflow the stack or take long. Never looks for the instances:
//! `placement` turns an expression into sets of hosts, `api` asks it of one page's.

mod condition;
mod limits;
mod parse;
mod pattern;
mod version;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

pub(crate) use self::condition::{Compared, Condition, Node, Text, in_order, said};
pub use self::{
    condition::Facts,
    limits::{DEPTH_MAX, EXPRESSION_CHARS_MAX, PATTERN_BYTES_MAX, PATTERNS_MAX},
    parse::QueryError,
    pattern::Pattern,
    version::Version,
};

/// An expression as it was given, parsed once; clones share it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Constraint(Arc<Given>);

struct Given {
    text: String,
    expression: Expression,
}

/// What a text asks of a container instance.
#[derive(Clone, Debug)]
pub struct Expression(pub(crate) Node);

impl Expression {
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        parse::expression(text).map(Expression)
    }

    pub fn holds(&self, of: &dyn Facts) -> bool {
        self.0.holds(of)
    }
}

impl Constraint {
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let expression = Expression::parse(text)?;
        Ok(Constraint(Arc::new(Given { text: text.to_owned(), expression })))
    }

    pub fn text(&self) -> &str {
        &self.0.text
    }

    pub fn expression(&self) -> &Expression {
        &self.0.expression
    }

    /// Whether it asks anything of this attribute.
    pub fn names_attribute(&self, attribute: &str) -> bool {
        self.expression().0.any(&|condition| match condition {
            Condition::HasAttribute(name)
            | Condition::Attribute(name, _)
            | Condition::AttributeOrder(name, ..) => **name == *attribute,
            Condition::AgentConnected(_)
            | Condition::AgentVersion(..)
            | Condition::InstanceId(_)
            | Condition::RegisteredAt(..)
            | Condition::RunningTasks(..)
            | Condition::HasTasks
            | Condition::TaskGroup(_) => false,
        })
    }
}

/// Reads a constraint that was journaled, and so has been parsed before. Should a later release not
/// read the text any more, no instance meets the constraint, which is shown as it was given.
impl From<String> for Constraint {
    fn from(text: String) -> Self {
        let never = |_| Expression(Node::Any(Vec::new()));
        let expression = Expression::parse(&text).unwrap_or_else(never);
        Constraint(Arc::new(Given { text, expression }))
    }
}

impl From<Constraint> for String {
    fn from(constraint: Constraint) -> Self {
        constraint.text().to_owned()
    }
}

impl PartialEq for Constraint {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Constraint {}

impl fmt::Debug for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text(), f)
    }
}
