//! Tags: the rules of all resources, and TagResource, UntagResource, ListTagsForResource.
//!
//! `longshore:` tags say what ECS's API cannot (design.md rule 10). This release knows none, so each
//! is refused here, with the list, before it can be stored and mean nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::ApiError;

/// User tags of one resource (ecs-behaviour 1.22).
pub(crate) const TAGS_MAX: usize = 50;
/// ecs-behaviour 1.22.
pub(crate) const KEY_CHARS_MAX: usize = 128;
/// ecs-behaviour 1.22.
pub(crate) const VALUE_CHARS_MAX: usize = 256;
/// What extensions are written with.
const EXTENSION_PREFIX: &str = "longshore:";
/// Extensions that this release knows.
const EXTENSIONS: [&str; 0] = [];

/// By key.
pub(crate) type Tags = BTreeMap<String, String>;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TagInput {
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TagView {
    key: String,
    value: String,
}

pub(crate) fn view(tags: &Tags) -> Vec<TagView> {
    tags.iter().map(|(key, value)| TagView { key: key.clone(), value: value.clone() }).collect()
}

/// The tags that a user gives a resource.
pub(crate) fn parse(given: Vec<TagInput>) -> Result<Tags, ApiError> {
    if given.len() > TAGS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "Too many tags: {} given, a resource has at most {TAGS_MAX}.",
            given.len()
        )));
    }
    let mut tags = Tags::new();
    for TagInput { key, value } in given {
        let key = key.unwrap_or_default();
        check_key(&key)?;
        let value = value.unwrap_or_default();
        check_value(&key, &value)?;
        if tags.contains_key(&key) {
            return Err(ApiError::invalid_parameter(format!(
                "Duplicate tag keys found: `{key}` is given twice."
            )));
        }
        tags.insert(key, value);
    }
    Ok(tags)
}

fn check_key(key: &str) -> Result<(), ApiError> {
    let chars = key.chars().count();
    if chars == 0 || chars > KEY_CHARS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "A tag key must be 1 to {KEY_CHARS_MAX} characters long; one of {chars} was given."
        )));
    }
    check_chars("key", key)?;
    if is_reserved(key) {
        return Err(ApiError::invalid_parameter(format!(
            "The tag key `{key}` begins with aws:, which is reserved for Amazon Web Services."
        )));
    }
    if key.starts_with(EXTENSION_PREFIX) {
        return Err(unknown_extension(key));
    }
    Ok(())
}

fn unknown_extension(key: &str) -> ApiError {
    let known = match EXTENSIONS.as_slice() {
        [] => "This release knows none".to_owned(),
        known => format!("Known ones: {}", known.join(", ")),
    };
    ApiError::invalid_parameter(format!(
        "The tag `{key}` is not an extension that Longshore knows. {known}; use a key that does not \
         begin with `{EXTENSION_PREFIX}` for a tag of your own."
    ))
}

fn check_value(key: &str, value: &str) -> Result<(), ApiError> {
    let chars = value.chars().count();
    if chars > VALUE_CHARS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "The value of the tag `{key}` is {chars} characters long; at most {VALUE_CHARS_MAX} \
             are allowed."
        )));
    }
    check_chars("value", value)?;
    if is_reserved(value) {
        return Err(ApiError::invalid_parameter(format!(
            "The value of the tag `{key}` begins with aws:, which is reserved for Amazon Web \
             Services."
        )));
    }
    Ok(())
}

fn is_reserved(text: &str) -> bool {
    text.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:"))
}

/// ECS's pattern for both, `[\p{L}\p{Z}\p{N}_.:/=+\-@]*`.
fn check_chars(what: &str, text: &str) -> Result<(), ApiError> {
    let allowed = |c: char| {
        c.is_alphanumeric() || c.is_whitespace() && !c.is_control() || "_.:/=+-@".contains(c)
    };
    if let Some(bad) = text.chars().find(|c| !allowed(*c)) {
        return Err(ApiError::invalid_parameter(format!(
            "The tag {what} `{}` contains the character {bad:?}. Use letters, numbers, spaces and \
             _.:/=+-@.",
            text.escape_debug()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> TagInput {
        TagInput { key: Some(key.to_owned()), value: Some(value.to_owned()) }
    }

    fn refusal(tags: Vec<TagInput>) -> String {
        parse(tags).map_or_else(|error| error.message, |_| "ok".to_owned())
    }

    #[test]
    fn tags_have_keys_and_perhaps_values() {
        let parsed =
            parse(vec![tag("team", "a b"), TagInput { key: Some("x".into()), value: None }]);
        let parsed = parsed.unwrap();
        assert_eq!(parsed.get("team").map(String::as_str), Some("a b"));
        assert_eq!(parsed.get("x").map(String::as_str), Some(""));
        assert_eq!(refusal(vec![tag(&"k".repeat(128), &"v".repeat(256))]), "ok");
        assert_eq!(refusal(vec![tag("größe", "_.:/=+-@")]), "ok");
    }

    #[test]
    fn what_breaks_a_rule_is_refused_with_the_rule() {
        for (tags, begins) in [
            (vec![TagInput { key: None, value: None }], "A tag key must be 1 to 128"),
            (vec![tag("", "")], "A tag key must be 1 to 128"),
            (vec![tag(&"k".repeat(129), "")], "A tag key must be 1 to 128"),
            (vec![tag("k", &"v".repeat(257))], "The value of the tag `k` is 257"),
            (vec![tag("k\n", "")], "The tag key `k\\n` contains the character '\\n'"),
            (vec![tag("k", "a#b")], "The tag value `a#b` contains the character '#'"),
            (vec![tag("aws:x", "")], "The tag key `aws:x` begins with aws:"),
            (vec![tag("AwS:x", "")], "The tag key `AwS:x` begins with aws:"),
            (vec![tag("k", "aws:x")], "The value of the tag `k` begins with aws:"),
            (vec![tag("k", "1"), tag("k", "2")], "Duplicate tag keys found: `k`"),
            (
                vec![tag("longshore:timeout", "1h")],
                "The tag `longshore:timeout` is not an extension",
            ),
            (vec![tag("k", ""); 51], "Too many tags: 51 given"),
        ] {
            let said = refusal(tags);
            assert!(said.starts_with(begins), "{said}");
        }
    }
}
