//! What events do to task definitions, and the rows of revisions and families.

use longshore_common::clock::Timestamp;

use super::entity::Entity;
use crate::{
    checkpoint::{
        entity::{EntityKey, kind},
        record::{DefinitionRecord, FamilyRecord},
    },
    event::{DefinitionEvent, TaskDefinitionRegistered},
    model::{definition::DefinitionStatus, name::Family},
    state::{State, definition::Definition},
};

impl State {
    pub(super) fn apply_definition(&mut self, event: &DefinitionEvent) {
        match event {
            DefinitionEvent::TaskDefinitionRegistered(registered) => {
                self.definition_registered(registered)
            }
            DefinitionEvent::TaskDefinitionDeregistered { family, revision, at } => {
                self.definition_deregistered(family, *revision, *at);
            }
            DefinitionEvent::TaskDefinitionDeleteRequested { family, revision, at } => {
                self.definition_delete_requested(family, *revision, *at);
            }
            DefinitionEvent::TaskDefinitionDeleted { family, revision } => {
                self.definition_deleted(family, *revision);
            }
        }
    }

    pub(super) fn definition_registered(&mut self, registered: &TaskDefinitionRegistered) {
        let definition = &registered.definition;
        let Ok(family) = definition.family.parse::<Family>() else {
            return self.missing(format_args!("the family {}", definition.family));
        };
        self.touch(EntityKey::Definition((family.clone(), definition.revision)));
        self.touch(EntityKey::Family(family.clone()));
        let status = match registered.taken_back {
            true => DefinitionStatus::Inactive { deregistered_at: registered.at },
            false => DefinitionStatus::Active,
        };
        self.definitions.insert(DefinitionRecord {
            definition: definition.clone(),
            requires_attributes: registered.requires_attributes.clone(),
            compatibilities: registered.compatibilities.clone(),
            registered_by: registered.registered_by.clone(),
            registered_at: registered.at,
            status,
            tags: registered.tags.clone(),
        });
        if !registered.taken_back {
            self.definitions.registered(&family, definition.revision);
        }
    }

    pub(super) fn definition_deregistered(
        &mut self,
        family: &Family,
        revision: u32,
        at: Timestamp,
    ) {
        self.touch(EntityKey::Definition((family.clone(), revision)));
        let status = DefinitionStatus::Inactive { deregistered_at: at };
        self.definitions.set_status(family, revision, status);
    }

    pub(super) fn definition_delete_requested(
        &mut self,
        family: &Family,
        revision: u32,
        at: Timestamp,
    ) {
        self.touch(EntityKey::Definition((family.clone(), revision)));
        let deregistered_at = match self.definitions.get(family.as_str(), revision) {
            Some(Definition { status: DefinitionStatus::Inactive { deregistered_at }, .. }) => {
                *deregistered_at
            }
            Some(Definition { status: DefinitionStatus::DeleteInProgress { .. }, .. }) => return,
            _ => at,
        };
        let status = DefinitionStatus::DeleteInProgress { deregistered_at, requested_at: at };
        self.definitions.set_status(family, revision, status);
    }

    pub(super) fn definition_deleted(&mut self, family: &Family, revision: u32) {
        self.touch(EntityKey::Definition((family.clone(), revision)));
        self.definitions.remove(family, revision);
    }
}

impl Entity for kind::Definition {
    fn keys(state: &State) -> Vec<(Family, u32)> {
        let families = state.definitions.families.iter();
        let revisions = families.flat_map(|(family, of_family)| {
            of_family.revisions.keys().map(|revision| (family.clone(), *revision))
        });
        revisions.collect()
    }

    fn row(state: &State, (family, revision): &(Family, u32)) -> Option<DefinitionRecord> {
        state.definitions.get(family.as_str(), *revision).map(Definition::record)
    }

    fn restore(state: &mut State, row: DefinitionRecord) {
        state.definitions.insert(row);
    }
}

impl Entity for kind::Family {
    fn keys(state: &State) -> Vec<Family> {
        state.definitions.families.keys().cloned().collect()
    }

    fn row(state: &State, family: &Family) -> Option<FamilyRecord> {
        let last_revision = state.definitions.last_revision(family.as_str());
        let registered = Some(state.definitions.last_registered(family.as_str()));
        Some(FamilyRecord { family: family.clone(), last_revision, registered })
    }

    fn restore(state: &mut State, row: FamilyRecord) {
        state.definitions.restore_family(row);
    }
}
