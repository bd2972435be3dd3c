//! Why a host does not get what it asked for, and how that reads to it.

use http::StatusCode;
use longshore_core::{Rejection, rejection::ClusterRejection};

use crate::driver::{Refused, Unavailable};

/// Why a host does not get what it asked for, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl Denied {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Denied { status, message: message.into() }
    }
}

impl From<Refused> for Denied {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Rejected(rejection) => rejection.into(),
            Refused::Unavailable(Unavailable) | Refused::JournalWentBack(_) => {
                Denied::new(StatusCode::SERVICE_UNAVAILABLE, refused.to_string())
            }
        }
    }
}

impl From<Rejection> for Denied {
    /// The agent gives up on all of these; the sentence is for its operator.
    fn from(rejection: Rejection) -> Self {
        let sentence = match &rejection {
            Rejection::Cluster(ClusterRejection::ClusterNotFound(name)) => format!(
                "{rejection} Make it with `aws ecs create-cluster --cluster-name {name}`, or name \
                 another in the agent's setting `cluster`"
            ),
            _ => rejection.to_string(),
        };
        Denied::new(StatusCode::FORBIDDEN, sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_of_an_unknown_cluster_is_told_how_to_make_it() {
        let denied = Denied::from(Rejection::Cluster(ClusterRejection::ClusterNotFound(
            "web".parse().unwrap(),
        )));
        assert_eq!(denied.status, StatusCode::FORBIDDEN);
        assert!(denied.message.starts_with("Cluster not found. "), "{}", denied.message);
        assert!(denied.message.contains("create-cluster --cluster-name web"), "{}", denied.message);
    }
}
