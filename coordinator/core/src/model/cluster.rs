//! A cluster: its settings, its capacity providers, its status.

use std::collections::BTreeMap;

use longshore_common::clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{
    capacity_provider::StrategyItem, name::CapacityProviderName, service::ServiceOptions,
};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSettings {
    /// `containerInsights`: `enabled`, `disabled` or `enhanced`.
    pub settings: BTreeMap<String, String>,
    /// ECS's `configuration`, as given (execute command, managed storage).
    #[serde(default)]
    pub configuration: Option<serde_json::Value>,
    /// The namespace's ARN of `serviceConnectDefaults`.
    #[serde(default)]
    pub service_connect_namespace: Option<String>,
    /// What the cluster's `longshore:` tags say, which holds for its services that say nothing
    /// else.
    #[serde(default)]
    pub options: ServiceOptions,
    #[serde(default)]
    pub capacity: ClusterCapacity,
}

/// A cluster's capacity providers, and the strategy of tasks and services that name none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterCapacity {
    /// Capacity providers in the order given.
    pub providers: Vec<CapacityProviderName>,
    pub default_strategy: Vec<StrategyItem>,
}

/// Whether the tasks of lost hosts are replaced (design.md rule 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Replacing {
    #[default]
    Normal,
    /// Half of the hosts were lost at once.
    Paused,
    /// Half of the hosts were lost at once, and the operator wants their tasks replaced all the
    /// same.
    Overridden,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ClusterStatus {
    Active,
    /// Deleted; still described for a while.
    Inactive {
        since: Timestamp,
    },
}
