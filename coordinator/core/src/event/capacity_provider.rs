//! What became true of capacity providers.

use serde::{Deserialize, Serialize};

use crate::model::{capacity_provider::CapacityProvider, name::CapacityProviderName};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CapacityProviderEvent {
    /// The whole of a capacity provider, at each of its changes.
    CapacityProviderSet(Box<CapacityProvider>),
    CapacityProviderForgotten {
        name: CapacityProviderName,
    },
}
