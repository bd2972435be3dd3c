//! Why commands about clusters are refused.

use crate::model::name::ClusterName;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterRejection {
    #[error("Cluster not found.")]
    ClusterNotFound(ClusterName),
    #[error(
        "`{0}` is not a cluster name: it has 1 to 255 letters, digits, hyphens and underscores."
    )]
    InvalidClusterName(String),
    #[error(
        "The Cluster cannot be deleted while Container Instances are active or draining: {count} are registered."
    )]
    ClusterContainsContainerInstances { count: usize },
    #[error("The Cluster cannot be deleted while Tasks are active: {count} have not stopped.")]
    ClusterContainsTasks { count: usize },
    #[error(
        "The Cluster cannot be deleted while Services are active: {count} are. Delete them first."
    )]
    ClusterContainsServices { count: usize },
    #[error("The limit of {limit} clusters is reached. Delete one that is no longer used.")]
    TooManyClusters { limit: usize },
}
