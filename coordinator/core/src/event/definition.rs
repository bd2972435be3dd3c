//! What became true of task definitions.

use std::sync::Arc;

use longshore_common::{
    clock::Timestamp,
    protocol::Attribute,
    task_definition::{Compatibility, TaskDefinition},
};
use serde::{Deserialize, Serialize};

use crate::model::{name::Family, tags::Tags};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DefinitionEvent {
    TaskDefinitionRegistered(Box<TaskDefinitionRegistered>),
    TaskDefinitionDeregistered { family: Family, revision: u32, at: Timestamp },
    TaskDefinitionDeleteRequested { family: Family, revision: u32, at: Timestamp },
    TaskDefinitionDeleted { family: Family, revision: u32 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskDefinitionRegistered {
    pub definition: Arc<TaskDefinition>,
    pub requires_attributes: Vec<Attribute>,
    pub compatibilities: Vec<Compatibility>,
    pub registered_by: String,
    pub tags: Tags,
    /// A host said that it runs a task of it, after `recover`: nobody may start more of them.
    #[serde(default)]
    pub taken_back: bool,
    pub at: Timestamp,
}
