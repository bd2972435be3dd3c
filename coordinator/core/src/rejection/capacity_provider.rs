//! Why commands about capacity providers are refused.

use crate::model::name::CapacityProviderName;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapacityProviderRejection {
    #[error(
        "The specified capacity provider was not found. Specify a valid name or ARN and try again: there is none named {0}. Make it with CreateCapacityProvider."
    )]
    CapacityProviderNotFound(CapacityProviderName),
    #[error(
        "A capacity provider with the name {0} exists with other settings. Give another name, or change it with UpdateCapacityProvider."
    )]
    CapacityProviderExists(CapacityProviderName),
    #[error(
        "The specified capacity provider is in use and cannot be removed: {0}. Stop the tasks that go by it, or change their services' strategies, first."
    )]
    CapacityProviderInUse(CapacityProviderName),
    #[error("{0}")]
    InvalidCapacityProvider(String),
    #[error(
        "The limit of {limit} capacity providers is reached. Delete one that is no longer used."
    )]
    TooManyCapacityProviders { limit: usize },
}
