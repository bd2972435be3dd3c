//! What a failed exchange with Docker says.

use crate::runtime::{RuntimeError, Unknown};

pub(super) fn failed_by_status(status: u16, message: String) -> RuntimeError {
    let message = match message.trim() {
        "" => format!("Docker answered with status {status}"),
        text => text.to_owned(),
    };
    match status {
        404 => RuntimeError::NotFound { message },
        409 => RuntimeError::Conflict { message },
        400..500 => RuntimeError::Rejected { message },
        _ => Unknown::Engine { message }.into(),
    }
}

/// hyper's errors say little without what caused them.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
