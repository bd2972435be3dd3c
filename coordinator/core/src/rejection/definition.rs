//! Why commands about task definitions are refused, and what is not run of them.

use crate::model::{honoured::instead_of, name::Family};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionRejection {
    #[error("Unable to describe task definition.")]
    TaskDefinitionNotFound { family: Family, revision: Option<u32> },
    #[error("TaskDefinition is inactive")]
    TaskDefinitionInactive { family: Family, revision: u32 },
    #[error("The family {family} has reached the limit of {limit} revisions.")]
    TooManyRevisions { family: Family, limit: u32 },
    #[error(
        "The task definition {family}:{revision} asks for what no host of this release can honour: {needs}. Remove it from the task definition{}",
        instead_of(needs)
    )]
    NotHonoured { family: Family, revision: u32, needs: String },
    #[error(
        "The operator of this cluster lets no task have {member}. Take it out of the task \
         definition, or have the coordinator's settings `forbid`, `bind_roots` and `allow_volumes` \
         changed."
    )]
    Forbidden { member: String },
}
