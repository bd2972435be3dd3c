//! What can be asked of clusters.

use std::collections::BTreeMap;

use crate::model::{
    cluster::{ClusterCapacity, ClusterSettings},
    name::ClusterName,
    tags::Tags,
};

#[derive(Clone, Debug)]
pub enum ClusterCommand {
    CreateCluster {
        name: ClusterName,
        settings: ClusterSettings,
        tags: Tags,
    },
    UpdateCluster {
        name: ClusterName,
        change: ClusterChange,
    },
    DeleteCluster {
        name: ClusterName,
    },
    PutClusterCapacityProviders {
        cluster: ClusterName,
        capacity: ClusterCapacity,
    },
    /// The operator lets the tasks of lost hosts be replaced though half of them are lost.
    ReplaceLostTasks {
        cluster: ClusterName,
    },
}

/// Members that are absent stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterChange {
    pub settings: Option<BTreeMap<String, String>>,
    pub configuration: Option<serde_json::Value>,
    /// The empty string removes it.
    pub service_connect_namespace: Option<String>,
}
