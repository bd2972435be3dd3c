//! `failures[]`: what a call could not do for one of its subjects, while it did the rest.

use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arn: Option<String>,
    pub(crate) reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

impl Failure {
    /// What clients look for when they ask whether something exists.
    pub(crate) fn missing(arn: String) -> Self {
        Self::of(arn, "MISSING")
    }

    pub(crate) fn of(arn: String, reason: &str) -> Self {
        Failure { arn: Some(arn), reason: reason.to_owned(), detail: None }
    }
}
