//! Why commands about join tokens are refused.

use crate::model::name::ClusterName;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRejection {
    #[error(
        "This join token is not known to the coordinator. Ask for a new one: longshore-coordinator join-token create"
    )]
    JoinTokenUnknown,
    #[error(
        "This join token has expired. Ask for a new one: longshore-coordinator join-token create"
    )]
    JoinTokenExpired,
    #[error(
        "This join token was revoked. Ask for a new one: longshore-coordinator join-token create"
    )]
    JoinTokenRevoked,
    #[error(
        "This join token has no uses left. Ask for a new one: longshore-coordinator join-token create"
    )]
    JoinTokenUsedUp,
    #[error("This join token is for the cluster {allowed}; the host asks to be in {asked}.")]
    JoinTokenForOtherCluster { allowed: ClusterName, asked: ClusterName },
    #[error("No join token has the id {0}.")]
    NoSuchJoinToken(String),
    #[error("A join token with the id {0} exists.")]
    JoinTokenExists(String),
}
