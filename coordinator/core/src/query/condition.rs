//! An expression once it is read: conditions on a container instance, and what holds of one.

use std::cmp;

use super::{pattern::Pattern, version::Version};

/// `!=`, `!in`, `!~` and `!exists` are the negation of their counterparts, so they hold of an
/// instance that lacks the attribute.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Not(Box<Node>),
    All(Vec<Node>),
    /// One of these; never, when there are none.
    Any(Vec<Node>),
    Is(Condition),
}

#[derive(Clone, Debug)]
pub(crate) enum Condition {
    AgentConnected(Text),
    AgentVersion(Compared, Version),
    InstanceId(Text),
    /// Seconds since the Unix epoch.
    RegisteredAt(Compared, u32),
    RunningTasks(Compared, u32),
    HasAttribute(Box<str>),
    /// An attribute without a value is none of these.
    Attribute(Box<str>, Text),
    /// Compares as numbers when both are numbers, else as texts.
    AttributeOrder(Box<str>, Compared, Box<str>),
    HasTasks,
    /// Compares the group of any task on the host.
    TaskGroup(Text),
}

#[derive(Clone, Debug)]
pub(crate) enum Text {
    /// Any of these; one for `==`.
    OneOf(Vec<Box<str>>),
    /// Java's whole match.
    Matches(Pattern),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What is known of one container instance.
pub trait Facts {
    fn agent_connected(&self) -> bool;
    /// Absent when the agent gave none that is one.
    fn agent_version(&self) -> Option<&Version>;
    fn instance_id(&self) -> Option<&str>;
    /// Seconds since the Unix epoch.
    fn registered_at_s(&self) -> u32;
    fn running_tasks(&self) -> u32;
    /// `Some(None)`: it has no value.
    fn attribute(&self, name: &str) -> Option<Option<&str>>;
    /// Whether any of its tasks' groups is `wanted`.
    fn has_group(&self, wanted: &mut dyn FnMut(&str) -> bool) -> bool;
}

impl Node {
    pub(super) fn holds(&self, of: &dyn Facts) -> bool {
        match self {
            Node::Not(node) => !node.holds(of),
            Node::All(nodes) => nodes.iter().all(|node| node.holds(of)),
            Node::Any(nodes) => nodes.iter().any(|node| node.holds(of)),
            Node::Is(condition) => condition.holds(of),
        }
    }

    /// Whether any condition is such a one.
    pub(crate) fn any(&self, such: &dyn Fn(&Condition) -> bool) -> bool {
        match self {
            Node::Not(node) => node.any(such),
            Node::All(nodes) | Node::Any(nodes) => nodes.iter().any(|node| node.any(such)),
            Node::Is(condition) => such(condition),
        }
    }
}

impl Condition {
    fn holds(&self, of: &dyn Facts) -> bool {
        match self {
            Condition::AgentConnected(text) => text.holds(said(of.agent_connected())),
            Condition::AgentVersion(compared, than) => {
                of.agent_version().is_some_and(|version| compared.holds(version.cmp(than)))
            }
            Condition::InstanceId(text) => of.instance_id().is_some_and(|id| text.holds(id)),
            Condition::RegisteredAt(compared, than) => {
                compared.holds(of.registered_at_s().cmp(than))
            }
            Condition::RunningTasks(compared, than) => compared.holds(of.running_tasks().cmp(than)),
            Condition::HasAttribute(name) => of.attribute(name).is_some(),
            Condition::Attribute(name, text) => {
                of.attribute(name).flatten().is_some_and(|value| text.holds(value))
            }
            Condition::AttributeOrder(name, compared, than) => {
                let value = of.attribute(name).flatten();
                value.is_some_and(|value| compared.holds(in_order(value, than)))
            }
            Condition::HasTasks => of.has_group(&mut |_| true),
            Condition::TaskGroup(text) => of.has_group(&mut |group| text.holds(group)),
        }
    }
}

impl Text {
    pub(crate) fn holds(&self, value: &str) -> bool {
        match self {
            Text::OneOf(texts) => texts.iter().any(|text| **text == *value),
            Text::Matches(pattern) => pattern.matches(value),
        }
    }
}

impl Compared {
    pub(crate) fn holds(self, order: cmp::Ordering) -> bool {
        match self {
            Compared::Equal => order.is_eq(),
            Compared::Less => order.is_lt(),
            Compared::LessOrEqual => order.is_le(),
            Compared::Greater => order.is_gt(),
            Compared::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// How `agentConnected` is written.
pub(crate) fn said(connected: bool) -> &'static str {
    if connected { "true" } else { "false" }
}

/// Numbers in the order of numbers, anything else in that of texts.
pub(crate) fn in_order(value: &str, than: &str) -> cmp::Ordering {
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    let numbers = number(value).zip(number(than));
    let order = numbers.and_then(|(value, than)| value.partial_cmp(&than));
    order.unwrap_or_else(|| value.cmp(than))
}
