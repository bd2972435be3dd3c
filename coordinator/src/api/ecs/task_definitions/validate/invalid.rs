//! Why a definition is refused, and what names may be.

/// Why a definition is refused: one sentence for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(pub(crate) String);

/// Maximum length in characters of the name of a family, a container or a volume (ecs-behaviour
/// 1.3).
pub(crate) const NAME_CHARS_MAX: usize = 255;

pub(super) fn refuse<T>(sentence: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(sentence.into()))
}

/// A name of letters, digits, underscores and hyphens; `what` begins the sentence.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), Invalid> {
    if name.is_empty() {
        return refuse(format!("{what} should not be null or empty."));
    }
    if name.len() > NAME_CHARS_MAX {
        return refuse(format!("{what} should not be longer than {NAME_CHARS_MAX} characters."));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return refuse(format!(
            "{what} contains invalid characters: `{name}`. Use letters, numbers, underscores and \
             hyphens."
        ));
    }
    Ok(())
}
