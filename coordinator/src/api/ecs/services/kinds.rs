//! What kinds of services there are: who deploys them, and how their tasks are counted and spread.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum SchedulingStrategy {
    Replica,
    Daemon,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct DeploymentController {
    #[serde(rename = "type")]
    pub(super) kind: DeploymentControllerType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum DeploymentControllerType {
    Ecs,
    CodeDeploy,
    External,
}
