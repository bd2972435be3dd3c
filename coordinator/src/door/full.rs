//! Why nothing more may be held of a caller.

/// Why nothing more may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// The party's share is full of what may not be taken away.
    #[error("Requests under way from this address hold all that one address may.")]
    Party,
    /// The account is.
    #[error(
        "Requests under way hold all that there is for them, and none of them may be given up."
    )]
    Account,
    /// The connection gave way itself, and nothing more is heard on it.
    #[error("The connection gave way to others.")]
    Left,
}
