//! Tokens by which hosts join.

use longshore_common::clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::name::ClusterName;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Public: names the token in lists and logs.
    pub id: String,
    pub secret_hash: [u8; 32],
    /// Absent: any cluster.
    pub cluster: Option<ClusterName>,
    pub expires_at: Timestamp,
    /// Joins that are left; absent: no limit.
    pub uses_left: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct JoinTokenState {
    pub token: JoinToken,
    pub revoked: bool,
}
