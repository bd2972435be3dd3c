//! Why commands about tasks are refused.

use longshore_common::id::TaskId;

use crate::model::name::ClusterName;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskRejection {
    #[error("The referenced task was not found.")]
    TaskNotFound(TaskId),
    #[error("{0}")]
    InvalidOverride(String),
    #[error(
        "There are {would_be} placement constraints with those of the task definition; at most {limit} are allowed."
    )]
    TooManyPlacementConstraints { limit: usize, would_be: usize },
    #[error("No Container Instances were found in your cluster.")]
    NoContainerInstances,
    #[error("The client token was used before with other parameters.")]
    ClientTokenConflict { task_ids: Vec<TaskId>, cluster: ClusterName },
}
