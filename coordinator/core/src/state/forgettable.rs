//! What was deleted and is still described for a while.

use longshore_common::id::HostId;

use crate::model::{
    name::{CapacityProviderName, ClusterName},
    service::ServiceId,
};

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Forgettable {
    Host(HostId),
    Cluster(ClusterName),
    Service(ServiceId),
    CapacityProvider(CapacityProviderName),
}
