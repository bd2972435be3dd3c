//! From a request's body to a typed input, or to a sentence about what is wrong with it.
//!
//! Owns design.md rule 9 at the edge: an unknown member is refused by name unless its value says
//! nothing, a null member is an absent one, a member given twice is refused. Knows no operation;
//! what a value may be beyond its type is the handler's.

mod node;
mod decode;
#[cfg(test)]
mod tests;

use serde::de::DeserializeOwned;

use crate::edge::error::{ApiError, ErrorCode};
use decode::{Fault, FaultKind, Segment};
use node::quoted;
pub(crate) use node::{DEPTH_MAX, Node, VALUES_MAX};

/// Maximum size of a request's body in bytes (promises.md 4; the largest legal one is a 64 KiB
/// definition).
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Maximum number of suggestions for an unknown member (ours).
const SUGGESTIONS_MAX: usize = 3;

/// Reads `body` as a `T`. `invalid` is the code for a missing or ill-valued member; a member of
/// the wrong type, or a body that is no JSON object, is a SerializationException.
#[cfg(test)]
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8], invalid: ErrorCode) -> Result<T, ApiError> {
    typed(&read(body)?, invalid)
}

/// Reads a whole body as JSON.
pub(crate) fn read(body: &[u8]) -> Result<Node<'_>, ApiError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(ApiError::new(
            ErrorCode::RequestTooLarge,
            format!("The request body is larger than {BODY_BYTES_MAX} bytes."),
        ));
    }
    read_json(body)
}

/// Reads a body as JSON.
pub(crate) fn read_json(body: &[u8]) -> Result<Node<'_>, ApiError> {
    node::read(body).map_err(ApiError::serialization)
}

/// Reads what a body held as a `T`.
pub(crate) fn typed<T: DeserializeOwned>(
    node: &Node<'_>,
    invalid: ErrorCode,
) -> Result<T, ApiError> {
    if !matches!(node, Node::Object(_)) {
        return Err(ApiError::serialization(format!(
            "The request body must be an object, but it is {}.",
            node.kind()
        )));
    }
    T::deserialize(node).map_err(|fault| explain(fault, invalid))
}

fn explain(fault: Fault, invalid: ErrorCode) -> ApiError {
    let place = Place(&fault.path);
    match fault.kind {
        FaultKind::WrongType { expected, found } => {
            ApiError::serialization(format!("{place} must be {expected}, but it is {found}."))
        }
        FaultKind::OutOfRange { expected, found } => {
            ApiError::new(invalid, format!("{place} must be {expected}, but it is {found}."))
        }
        FaultKind::NotOneOf { found, allowed } => ApiError::new(
            invalid,
            format!(
                "{place} must be one of {}, but it is \"{}\".",
                allowed.join(", "),
                quoted(&found)
            ),
        ),
        FaultKind::Missing(member) => {
            ApiError::new(invalid, format!("{} is required.", place.member(member)))
        }
        FaultKind::Unknown { name, known } => ApiError::new(
            invalid,
            format!("{} is not a known member. {}", place.member(&name), hint(&name, known)),
        ),
        FaultKind::Other(message) => ApiError::new(invalid, format!("{place}: {message}.")),
    }
}

/// Names the nearest known members, or all of them when nothing is near.
fn hint(name: &str, known: &[&str]) -> String {
    let name = quoted(name).to_lowercase();
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .map(|member| (strsim::osa_distance(&name, &member.to_lowercase()), *member))
        .filter(|(distance, _)| *distance <= (name.chars().count() / 3).max(1))
        .collect();
    near.sort();
    near.truncate(SUGGESTIONS_MAX);
    if near.is_empty() {
        return match known {
            [] => "This object has no members.".to_owned(),
            known => format!("Known members: {}.", known.join(", ")),
        };
    }
    let near: Vec<String> = near.into_iter().map(|(_, member)| format!("`{member}`")).collect();
    format!("Did you mean {}?", near.join(" or "))
}

/// A place in the request: `containerDefinitions[0].portMappings[1].hostPort`.
struct Place<'a>(&'a [Segment]);

impl Place<'_> {
    /// A member of the object at this place.
    fn member(&self, name: &str) -> String {
        match self.path() {
            path if path.is_empty() => format!("`{}`", quoted(name)),
            path => format!("`{path}.{}`", quoted(name)),
        }
    }

    fn path(&self) -> String {
        let mut path = String::new();
        // A fault collects its path from the inside out.
        for segment in self.0.iter().rev() {
            match segment {
                Segment::Index(index) => path.push_str(&format!("[{index}]")),
                Segment::Member(name) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&quoted(name));
                }
            }
        }
        path
    }
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.path() {
            path if path.is_empty() => f.write_str("The request"),
            path => write!(f, "`{path}`"),
        }
    }
}
