//! An order to run a task, whole, as the ledger keeps it.

use std::sync::Arc;

use longshore_common::{
    protocol::{Epoch, RunOrder},
    task_definition::TaskDefinition,
};
use serde::{Deserialize, Serialize};

use super::key::TaskKey;

/// An order to run a task, whole, as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) key: TaskKey,
    pub(crate) epoch: Epoch,
    pub(crate) definition: Arc<TaskDefinition>,
    pub(crate) order: RunOrder,
}
