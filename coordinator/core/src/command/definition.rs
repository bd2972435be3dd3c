//! What can be asked of task definitions.

use longshore_common::{
    protocol::Attribute,
    task_definition::{Compatibility, TaskSpec},
};

use crate::model::{definition::RevisionRef, name::Family, tags::Tags};

#[derive(Clone, Debug)]
pub enum DefinitionCommand {
    RegisterTaskDefinition(Box<RegisterTaskDefinition>),
    DeregisterTaskDefinition(RevisionRef),
    /// Up to ten revisions; each may fail on its own.
    DeleteTaskDefinitions(Vec<RevisionRef>),
}

#[derive(Clone, Debug)]
pub struct RegisterTaskDefinition {
    pub family: Family,
    pub spec: TaskSpec,
    /// `requiresAttributes`: names, with a value where one is required.
    pub requires_attributes: Vec<Attribute>,
    pub compatibilities: Vec<Compatibility>,
    pub registered_by: String,
    pub tags: Tags,
}
