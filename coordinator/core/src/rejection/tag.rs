//! Why commands about tags are refused, whatever carries them.

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagRejection {
    #[error("The specified resource was not found: {0}")]
    ResourceNotFound(String),
    #[error("The specified {kind} is inactive. Specify an active {kind} and try again.")]
    ResourceInactive { kind: &'static str },
    #[error("A resource has at most {limit} tags; this would make {would_be}.")]
    TooManyTags { limit: usize, would_be: usize },
    #[error("{0}")]
    InvalidOption(String),
}
