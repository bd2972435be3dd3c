//! Pulls that no second attempt can mend, whatever status Docker gives them.
//!
//! Docker answers 404 or 400 for most, but 500 for some registries' words, and an error in the
//! middle of its answer carries no status at all: then the text is all there is.

use crate::runtime::{RuntimeError, Unknown};

/// What registries and Docker say when the image is not there, or not for this host or user.
/// Lower case.
const FINAL: [&str; 14] = [
    "manifest unknown",
    "manifest_unknown",
    "name unknown",
    "name_unknown",
    "repository does not exist",
    "does not exist or no pull access",
    "repository name not known",
    "pull access denied",
    "requested access to the resource is denied",
    "invalid reference format",
    "invalid repository name",
    "no matching manifest for",
    "unauthorized: authentication required",
    "no basic auth credentials",
];

/// What a registry says that may be otherwise soon, also beside one of the above.
const PASSING: [&str; 4] = ["toomanyrequests", "too many requests", "i/o timeout", "connection re"];

/// What Docker says when a registry cannot be reached at all, or says nothing. Lower case.
const SILENT: [&str; 9] = [
    "i/o timeout",
    "client.timeout exceeded",
    "tls handshake timeout",
    "connection refused",
    "connection reset",
    "no such host",
    "no route to host",
    "network is unreachable",
    "context deadline exceeded",
];

/// An engine error of a pull that will be the same next time becomes one that is not retried, and one
/// of a registry that does not answer says so.
pub(super) fn as_the_registry_says(error: RuntimeError) -> RuntimeError {
    let RuntimeError::Unknown(Unknown::Engine { message }) = error else { return error };
    let text = message.to_ascii_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    match says(&FINAL) && !says(&PASSING) {
        true => RuntimeError::Rejected { message },
        false if says(&SILENT) => Unknown::Registry { message }.into(),
        false => Unknown::Engine { message }.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_final(message: &str) -> bool {
        let error = Unknown::Engine { message: message.to_owned() }.into();
        match as_the_registry_says(error) {
            RuntimeError::Rejected { message: kept } => {
                assert_eq!(kept, message);
                true
            }
            RuntimeError::Unknown(
                Unknown::Engine { message: kept } | Unknown::Registry { message: kept },
            ) => {
                assert_eq!(kept, message);
                false
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_image_that_is_not_there_is_not_asked_for_again() {
        for message in [
            "manifest for 10.0.0.1:5000/web:gone not found: manifest unknown: manifest unknown",
            "API error (500): manifest unknown: manifest unknown",
            "MANIFEST_UNKNOWN",
            "name unknown: The repository with name 'web' does not exist in the registry",
            "repository docker.io/nobody/web not found: does not exist or no pull access",
            "pull access denied for web, repository does not exist or may require 'docker login'",
            "denied: requested access to the resource is denied",
            "invalid reference format: repository name must be lowercase",
            "no matching manifest for linux/amd64 in the manifest list entries",
            "unauthorized: authentication required",
            "Head https://registry/v2/web/manifests/1: no basic auth credentials",
        ] {
            assert!(is_final(message), "{message}");
        }
    }

    #[test]
    fn what_a_network_or_a_busy_registry_says_is_tried_again() {
        for message in [
            "Get https://registry/v2/: dial tcp: lookup registry: no such host",
            "Get http://10.0.0.1:5000/v2/: dial tcp 10.0.0.1:5000: connect: connection refused",
            "Get https://registry/v2/: net/http: request canceled (Client.Timeout exceeded)",
            "Head https://registry/v2/web/manifests/1: dial tcp: i/o timeout: manifest unknown",
            "received unexpected HTTP status: 503 Service Unavailable",
            "toomanyrequests: You have reached your unauthenticated pull rate limit",
            "unexpected EOF",
        ] {
            assert!(!is_final(message), "{message}");
        }
    }

    #[test]
    fn a_registry_that_does_not_answer_is_told_from_one_that_does() {
        for (message, silent) in [
            ("Get https://registry/v2/: dial tcp: lookup registry: no such host", true),
            ("dial tcp 10.0.0.1:5000: connect: connection refused", true),
            ("net/http: request canceled (Client.Timeout exceeded while awaiting headers)", true),
            ("net/http: TLS handshake timeout", true),
            ("received unexpected HTTP status: 503 Service Unavailable", false),
            ("toomanyrequests: You have reached your unauthenticated pull rate limit", false),
        ] {
            let error = Unknown::Engine { message: message.to_owned() }.into();
            let said = as_the_registry_says(error);
            let is_silent = matches!(said, RuntimeError::Unknown(Unknown::Registry { .. }));
            assert_eq!(is_silent, silent, "{message}");
        }
    }

    #[test]
    fn other_errors_stay_what_they_are() {
        let transport = RuntimeError::transport("manifest unknown");
        let kept = as_the_registry_says(transport);
        assert!(matches!(kept, RuntimeError::Unknown(Unknown::Transport { .. })), "{kept:?}");
    }
}
