//! A task definition as ECS shows it.

use std::sync::Arc;

use longshore_common::{
    arn::Identity,
    clock::Timestamp,
    protocol::Attribute,
    task_definition::{Compatibility, TaskDefinition, TaskSpec},
};
use longshore_core::{model::definition::DefinitionStatus, state::Definition};
use serde::{Serialize, Serializer};

use crate::api::ecs::attributes::AttributeView;

/// What of a revision is shown, taken out of the state.
pub(crate) struct DefinitionSnapshot {
    definition: Arc<TaskDefinition>,
    requires_attributes: Vec<Attribute>,
    compatibilities: Vec<Compatibility>,
    registered_by: String,
    registered_at: Timestamp,
    status: DefinitionStatus,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskDefinitionView {
    task_definition_arn: String,
    family: String,
    revision: u32,
    status: &'static str,
    #[serde(flatten)]
    spec: SpecView,
    requires_attributes: Vec<AttributeView>,
    compatibilities: Vec<Compatibility>,
    registered_at: f64,
    registered_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deregistered_at: Option<f64>,
}

/// The definition as it was registered; shared with the state, not copied.
struct SpecView(Arc<TaskDefinition>);

impl Serialize for SpecView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        TaskSpec::serialize(&self.0.spec, serializer)
    }
}

impl DefinitionSnapshot {
    pub(crate) fn of(definition: &Definition) -> Self {
        DefinitionSnapshot {
            definition: definition.definition.clone(),
            requires_attributes: definition.requires_attributes.clone(),
            compatibilities: definition.compatibilities.clone(),
            registered_by: definition.registered_by.to_string(),
            registered_at: definition.registered_at,
            status: definition.status,
        }
    }

    pub(crate) fn view(&self, identity: &Identity) -> TaskDefinitionView {
        let TaskDefinition { family, revision, .. } = &*self.definition;
        let (status, deregistered_at) = match self.status {
            DefinitionStatus::Active => ("ACTIVE", None),
            DefinitionStatus::Inactive { deregistered_at } => ("INACTIVE", Some(deregistered_at)),
            DefinitionStatus::DeleteInProgress { deregistered_at, .. } => {
                ("DELETE_IN_PROGRESS", Some(deregistered_at))
            }
        };
        TaskDefinitionView {
            task_definition_arn: identity.task_definition(family, *revision),
            family: family.clone(),
            revision: *revision,
            status,
            spec: SpecView(self.definition.clone()),
            requires_attributes: self.requires_attributes.iter().map(AttributeView::bare).collect(),
            compatibilities: self.compatibilities.clone(),
            registered_at: self.registered_at.as_epoch_seconds(),
            registered_by: self.registered_by.clone(),
            deregistered_at: deregistered_at.map(Timestamp::as_epoch_seconds),
        }
    }
}
