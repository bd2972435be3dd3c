//! What became true of clusters.

use longshore_common::clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{cluster::ClusterSettings, name::ClusterName, tags::Tags};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ClusterEvent {
    ClusterCreated {
        name: ClusterName,
        settings: ClusterSettings,
        tags: Tags,
        at: Timestamp,
    },
    ClusterUpdated {
        name: ClusterName,
        settings: ClusterSettings,
    },
    ClusterDeleted {
        name: ClusterName,
        at: Timestamp,
    },
    /// No longer described either.
    ClusterForgotten {
        name: ClusterName,
    },
    /// Half of a cluster's hosts were lost at once: their tasks are not replaced.
    ReplacingPaused {
        cluster: ClusterName,
        lost_hosts: u32,
        hosts: u32,
        at: Timestamp,
    },
    /// The hosts are back, or the operator said so.
    ReplacingResumed {
        cluster: ClusterName,
        /// True when the operator said so while the hosts were still lost.
        overridden: bool,
        at: Timestamp,
    },
}
