//! Why commands about task sets are refused.

use crate::model::service::{RevisionId, ServiceRef};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskSetRejection {
    #[error(
        "The service {} has no task sets: its deployment controller is not EXTERNAL.", .0.name
    )]
    NotExternal(ServiceRef),
    #[error("The task set ecs-svc/{0} was not found.")]
    TaskSetNotFound(RevisionId),
    #[error(
        "The task set ecs-svc/{0} cannot be deleted while it is scaled above 0. Update its scale to 0 first, or delete it with force."
    )]
    TaskSetScaledAboveZero(RevisionId),
    #[error("A service has at most {limit} task sets. Delete one that is no longer used.")]
    TooManyTaskSets { limit: usize },
}
