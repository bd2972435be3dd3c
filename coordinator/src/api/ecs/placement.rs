//! `placementConstraints` and `placementStrategy`, of whatever has tasks placed: read and shown.

use longshore_core::{
    decide::PLACEMENT_CONSTRAINTS_MAX,
    placement::{Resource, SpreadOver, Strategy},
    query::Constraint,
};
use serde::{Deserialize, Serialize};

use super::attributes;
use crate::edge::error::ApiError;

/// Maximum number of placement strategies of one task or service (ecs-behaviour 1.5).
const STRATEGIES_MAX: usize = 5;
/// What a spread over an attribute begins with.
const ATTRIBUTE_PREFIX: &str = "attribute:";

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct PlacementConstraint {
    #[serde(rename = "type")]
    kind: Option<ConstraintType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expression: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum ConstraintType {
    DistinctInstance,
    MemberOf,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct PlacementStrategy {
    #[serde(rename = "type")]
    kind: Option<StrategyType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum StrategyType {
    Random,
    Spread,
    Binpack,
}

impl PlacementConstraint {
    /// Reads a constraint as a command line says it: `distinctInstance`, or an expression.
    pub(crate) fn of_words(words: &str) -> PlacementConstraint {
        match words {
            "distinctInstance" => {
                let kind = Some(ConstraintType::DistinctInstance);
                PlacementConstraint { kind, expression: None }
            }
            expression => {
                let kind = Some(ConstraintType::MemberOf);
                PlacementConstraint { kind, expression: Some(expression.to_owned()) }
            }
        }
    }
}

impl PlacementStrategy {
    /// Reads a strategy as a command line says it: `random`, `binpack:memory`. `None`: there is no
    /// such type.
    pub(crate) fn of_words(words: &str) -> Option<PlacementStrategy> {
        let (kind, field) = match words.split_once(':') {
            Some((kind, field)) => (kind, Some(field.to_owned())),
            None => (words, None),
        };
        let kind = match kind {
            "random" => StrategyType::Random,
            "spread" => StrategyType::Spread,
            "binpack" => StrategyType::Binpack,
            _ => return None,
        };
        Some(PlacementStrategy { kind: Some(kind), field })
    }

    /// The reverse of [`PlacementStrategy::of_words`].
    pub(crate) fn words(&self) -> String {
        let kind = match self.kind {
            Some(StrategyType::Spread) => "spread",
            Some(StrategyType::Binpack) => "binpack",
            Some(StrategyType::Random) | None => "random",
        };
        match &self.field {
            Some(field) if !field.is_empty() => format!("{kind}:{field}"),
            Some(_) | None => kind.to_owned(),
        }
    }
}

/// Constraints of both kinds.
#[derive(Default)]
pub(crate) struct Constraints {
    /// Whether the tasks must be on hosts of their own.
    pub(crate) distinct_instance: bool,
    pub(crate) member_of: Vec<Constraint>,
}

pub(crate) fn parse_constraints(given: &[PlacementConstraint]) -> Result<Constraints, ApiError> {
    if given.len() > PLACEMENT_CONSTRAINTS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "placementConstraints has {} entries; at most {PLACEMENT_CONSTRAINTS_MAX} are allowed.",
            given.len()
        )));
    }
    let mut constraints = Constraints::default();
    for PlacementConstraint { kind, expression } in given {
        let expression = expression.as_deref().unwrap_or_default();
        match kind {
            None => {
                return Err(ApiError::invalid_parameter(
                    "placementConstraints.type should not be null or empty: say distinctInstance or \
                     memberOf.",
                ));
            }
            Some(ConstraintType::DistinctInstance) if expression.is_empty() => {
                constraints.distinct_instance = true;
            }
            Some(ConstraintType::DistinctInstance) => {
                return Err(ApiError::invalid_parameter(
                    "The placement constraint distinctInstance takes no expression.",
                ));
            }
            Some(ConstraintType::MemberOf) if expression.is_empty() => {
                return Err(ApiError::invalid_parameter(
                    "The placement constraint memberOf needs an expression, \
                     attribute:ecs.instance-type == t2.small for example.",
                ));
            }
            Some(ConstraintType::MemberOf) => {
                let parsed = Constraint::parse(expression).map_err(|error| {
                    ApiError::invalid_parameter(format!(
                        "Invalid expression in placementConstraints: {error}."
                    ))
                })?;
                constraints.member_of.push(parsed);
            }
        }
    }
    Ok(constraints)
}

pub(crate) fn parse_strategies(given: &[PlacementStrategy]) -> Result<Vec<Strategy>, ApiError> {
    if given.len() > STRATEGIES_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "placementStrategy has {} entries; at most {STRATEGIES_MAX} are allowed.",
            given.len()
        )));
    }
    given.iter().map(parse_strategy).collect()
}

fn parse_strategy(
    PlacementStrategy { kind, field }: &PlacementStrategy,
) -> Result<Strategy, ApiError> {
    let field = field.as_deref().unwrap_or_default();
    let invalid = |valid: &str| {
        let shown: String = field.chars().take(attributes::CHARS_MAX).collect();
        ApiError::invalid_parameter(format!(
            "The placement strategy has the field `{shown}`, which is not valid. {valid}"
        ))
    };
    match kind {
        None => Err(ApiError::invalid_parameter(
            "placementStrategy.type should not be null or empty: say random, spread or binpack.",
        )),
        Some(StrategyType::Random) if field.is_empty() => Ok(Strategy::Random),
        Some(StrategyType::Random) => Err(invalid("random takes none.")),
        Some(StrategyType::Binpack) => match field.to_ascii_lowercase().as_str() {
            "cpu" => Ok(Strategy::Binpack(Resource::Cpu)),
            "memory" => Ok(Strategy::Binpack(Resource::Memory)),
            _ => Err(invalid("binpack takes cpu or memory.")),
        },
        Some(StrategyType::Spread) => match field {
            "instanceId" | "host" => Ok(Strategy::Spread(SpreadOver::Instance)),
            _ => match field.strip_prefix(ATTRIBUTE_PREFIX).filter(|name| is_name(name)) {
                Some(name) => Ok(Strategy::Spread(SpreadOver::Attribute(name.to_owned()))),
                None => Err(invalid(
                    "spread takes instanceId, host or attribute:NAME, \
                     attribute:ecs.availability-zone for example.",
                )),
            },
        },
    }
}

fn is_name(attribute: &str) -> bool {
    !attribute.is_empty() && attribute.len() <= attributes::CHARS_MAX
}

/// The constraints that [`parse_constraints`] has read.
pub(crate) fn constraints(
    distinct_instance: bool,
    member_of: &[Constraint],
) -> Vec<PlacementConstraint> {
    let kind = Some(ConstraintType::DistinctInstance);
    let distinct = PlacementConstraint { kind, expression: None };
    let members = member_of.iter().map(|constraint| PlacementConstraint {
        kind: Some(ConstraintType::MemberOf),
        expression: Some(constraint.text().to_owned()),
    });
    distinct_instance.then_some(distinct).into_iter().chain(members).collect()
}

pub(crate) fn strategies(strategies: &[Strategy]) -> Vec<PlacementStrategy> {
    let view = |strategy: &Strategy| {
        let (kind, field) = match strategy {
            Strategy::Random => (StrategyType::Random, None),
            Strategy::Binpack(Resource::Cpu) => (StrategyType::Binpack, Some("cpu".to_owned())),
            Strategy::Binpack(Resource::Memory) => {
                (StrategyType::Binpack, Some("memory".to_owned()))
            }
            Strategy::Spread(SpreadOver::Instance) => {
                (StrategyType::Spread, Some("instanceId".to_owned()))
            }
            Strategy::Spread(SpreadOver::Attribute(name)) => {
                (StrategyType::Spread, Some(format!("{ATTRIBUTE_PREFIX}{name}")))
            }
        };
        PlacementStrategy { kind: Some(kind), field }
    };
    strategies.iter().map(view).collect()
}
