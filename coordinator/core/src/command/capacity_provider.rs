//! What can be asked of capacity providers.

use crate::model::{
    capacity_provider::{CapacityProvider, CapacityProviderChange},
    name::CapacityProviderName,
};

#[derive(Clone, Debug)]
pub enum CapacityProviderCommand {
    CreateCapacityProvider(Box<CapacityProvider>),
    UpdateCapacityProvider { name: CapacityProviderName, change: CapacityProviderChange },
    DeleteCapacityProvider { name: CapacityProviderName },
}
