//! Task definitions: families and their revisions.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use longshore_common::{
    clock::Timestamp,
    image_reference::{by_digest, familiar},
    protocol::Attribute,
    task_definition::{Compatibility, ContainerDefinition, TaskDefinition, VersionConsistency},
};

use super::{
    DefinitionSlot,
    arena::Arena,
    counter,
    picture::{Picture, fields},
};
use crate::{
    checkpoint::record::{DefinitionRecord, FamilyRecord},
    model::{
        definition::{DefinitionStatus, StatusKind},
        name::Family,
        tags::Tags,
    },
    query::Constraint,
};

pub struct Definition {
    pub family: Family,
    pub definition: Arc<TaskDefinition>,
    pub requires_attributes: Vec<Attribute>,
    /// The definition's placement constraints, which are all of that kind.
    pub member_of: Vec<Constraint>,
    /// Images of the definition's containers, in their order and in the form of [`familiar`].
    pub images: Vec<String>,
    pub compatibilities: Vec<Compatibility>,
    pub registered_by: Arc<str>,
    pub registered_at: Timestamp,
    pub status: DefinitionStatus,
    pub tags: Tags,
    /// Tasks of this revision that have not stopped.
    pub tasks: u32,
}

/// Whether all tasks of a service revision have the content that its first one found.
pub fn fixes_digest(container: &ContainerDefinition) -> bool {
    match container.version_consistency {
        Some(VersionConsistency::Disabled) => false,
        Some(VersionConsistency::Enabled) | None => true,
    }
}

impl Definition {
    /// The definition's images, those by a digest of which that is known, by the container's name.
    pub fn images_by<'a>(&'a self, digests: &BTreeMap<String, String>) -> Cow<'a, [String]> {
        if digests.is_empty() {
            return Cow::Borrowed(&self.images);
        }
        let of_container = |container: &ContainerDefinition| {
            let image = container.image.as_deref()?;
            let digest = digests.get(&container.name).filter(|_| fixes_digest(container));
            let image =
                digest.map_or(Cow::Borrowed(image), |digest| by_digest(image, digest).into());
            Some(familiar(&image).into_owned())
        };
        let containers = &self.definition.spec.container_definitions;
        Cow::Owned(containers.iter().filter_map(of_container).collect())
    }

    pub(super) fn record(&self) -> DefinitionRecord {
        DefinitionRecord {
            definition: self.definition.clone(),
            requires_attributes: self.requires_attributes.clone(),
            compatibilities: self.compatibilities.clone(),
            registered_by: self.registered_by.to_string(),
            registered_at: self.registered_at,
            status: self.status,
            tags: self.tags.clone(),
        }
    }
}

#[derive(Default)]
pub struct Definitions {
    arena: Arena<DefinitionSlot, Definition>,
    pub(super) families: BTreeMap<Family, FamilyRevisions>,
    /// Revisions by their status, each in the order of lists.
    listed: [BTreeSet<(Family, u32)>; 3],
    /// Families with a revision, by whether any is ACTIVE.
    families_listed: [BTreeSet<Family>; 2],
    /// Revisions in DELETE_IN_PROGRESS that no task uses any more.
    deletable: BTreeSet<(Family, u32)>,
}

#[derive(Default)]
pub(super) struct FamilyRevisions {
    /// The highest revision ever given: never given again, even after a deletion.
    pub(super) last_revision: u32,
    /// The highest one that was registered and not taken back from a host.
    pub(super) registered: u32,
    pub(super) revisions: BTreeMap<u32, DefinitionSlot>,
    pub(super) active: BTreeMap<u32, DefinitionSlot>,
}

impl Definitions {
    pub fn at(&self, slot: DefinitionSlot) -> &Definition {
        &self.arena[slot]
    }

    pub fn get(&self, family: &str, revision: u32) -> Option<&Definition> {
        self.slot(family, revision).map(|slot| &self.arena[slot])
    }

    pub(super) fn slot(&self, family: &str, revision: u32) -> Option<DefinitionSlot> {
        self.families.get(family)?.revisions.get(&revision).copied()
    }

    /// The latest ACTIVE revision, which a family's bare name means.
    pub fn latest_active(&self, family: &str) -> Option<&Definition> {
        let (_, &slot) = self.families.get(family)?.active.last_key_value()?;
        Some(&self.arena[slot])
    }

    /// The highest revision ever given in a family; 0 when there was none.
    pub fn last_revision(&self, family: &str) -> u32 {
        self.families.get(family).map_or(0, |f| f.last_revision)
    }

    /// The highest revision that was ever registered in a family, those left out that were taken back
    /// from hosts.
    pub fn last_registered(&self, family: &str) -> u32 {
        self.families.get(family).map_or(0, |f| f.registered)
    }

    /// Families from `from` on in the order of their names; only those with an ACTIVE revision, or
    /// without any, when that is asked. Costs what is taken.
    pub fn families_from<'a>(
        &'a self,
        from: &str,
        active: Option<bool>,
    ) -> impl Iterator<Item = &'a Family> + 'a {
        let range = |of: bool| {
            let wanted = active.is_none_or(|active| active == of);
            let families = &self.families_listed[usize::from(of)];
            let families = families.range::<str, _>((Bound::Included(from), Bound::Unbounded));
            families.take_while(move |_| wanted)
        };
        let (mut inactive, mut active) = (range(false).peekable(), range(true).peekable());
        std::iter::from_fn(move || match (inactive.peek(), active.peek()) {
            (Some(one), Some(other)) if one < other => inactive.next(),
            (_, Some(_)) => active.next(),
            (_, None) => inactive.next(),
        })
    }

    /// Revisions in a status, of one family or of all, in the order of their names and numbers or
    /// backwards, those after `after` only. Costs what is taken.
    pub fn listed<'a>(
        &'a self,
        status: StatusKind,
        family: Option<&Family>,
        after: Option<&(Family, u32)>,
        backwards: bool,
    ) -> Box<dyn Iterator<Item = &'a (Family, u32)> + 'a> {
        let listed = &self.listed[status as usize];
        let mut start = family.map_or(Bound::Unbounded, |f| Bound::Included((f.clone(), 0)));
        let mut end = family.map_or(Bound::Unbounded, |f| Bound::Included((f.clone(), u32::MAX)));
        let outside = |after: &(Family, u32)| family.is_some_and(|family| *family != after.0);
        let after = after.filter(|after| !outside(after));
        match (after, backwards) {
            (None, _) => {}
            (Some(after), false) => start = Bound::Excluded(after.clone()),
            (Some(after), true) => end = Bound::Excluded(after.clone()),
        }
        // A range that is turned round panics: the cursor names a revision number that is none.
        if let (Bound::Excluded(start), Bound::Included(end)) = (&start, &end)
            && start >= end
        {
            return Box::new(std::iter::empty());
        }
        if let (Bound::Included(start), Bound::Excluded(end)) = (&start, &end)
            && start >= end
        {
            return Box::new(std::iter::empty());
        }
        match backwards {
            false => Box::new(listed.range((start, end))),
            true => Box::new(listed.range((start, end)).rev()),
        }
    }

    /// Brings the lists in line with one revision as it is now, or is no longer.
    fn list(&mut self, family: &Family, revision: u32, was: Option<DefinitionStatus>) {
        let key = (family.clone(), revision);
        if let Some(was) = was {
            self.listed[was.kind() as usize].remove(&key);
        }
        if let Some(now) = self.get(family.as_str(), revision).map(|definition| definition.status) {
            self.listed[now.kind() as usize].insert(key);
        }
        let of_family = self.families.get(family);
        let held = of_family.filter(|of_family| !of_family.revisions.is_empty());
        let is_active = held.map(|of_family| !of_family.active.is_empty());
        for (active, families) in [false, true].into_iter().zip(&mut self.families_listed) {
            match is_active == Some(active) {
                true => families.insert(family.clone()),
                false => families.remove(family),
            };
        }
    }

    /// The revisions of a family, in ascending order.
    pub fn revisions<'a>(
        &'a self,
        family: &str,
    ) -> impl DoubleEndedIterator<Item = &'a Definition> + 'a {
        self.families
            .get(family)
            .into_iter()
            .flat_map(|f| f.revisions.values())
            .map(|&slot| &self.arena[slot])
    }

    /// Revisions in DELETE_IN_PROGRESS that no task uses any more.
    pub fn deletable(&self) -> impl Iterator<Item = (Family, u32)> {
        self.deletable.iter().cloned()
    }

    pub(super) fn restore_family(&mut self, record: FamilyRecord) {
        let FamilyRecord { family, last_revision, registered } = record;
        let revisions = self.families.entry(family).or_default();
        revisions.last_revision = revisions.last_revision.max(last_revision);
        revisions.registered = registered.unwrap_or(last_revision);
    }

    pub(super) fn registered(&mut self, family: &Family, revision: u32) {
        if let Some(revisions) = self.families.get_mut(family) {
            revisions.registered = revisions.registered.max(revision);
        }
    }

    /// `None` for a family that no request can have named.
    pub(super) fn insert(&mut self, record: DefinitionRecord) -> Option<DefinitionSlot> {
        let revision = record.definition.revision;
        // Given twice in one answer of an agent by earlier releases, after `recover`.
        if let Some(known) = self.slot(record.definition.family.as_str(), revision) {
            return Some(known);
        }
        let family: Family = record.definition.family.parse().ok()?;
        let status = record.status;
        let constraints = record.definition.spec.placement_constraints.iter();
        let member_of = constraints
            .filter_map(|constraint| constraint.expression.clone())
            .map(Constraint::from)
            .collect();
        let containers = &record.definition.spec.container_definitions;
        let images = containers.iter().filter_map(|container| container.image.as_deref());
        let images = images.map(|image| familiar(image).into_owned()).collect();
        let slot = self.arena.insert(Definition {
            family: family.clone(),
            member_of,
            images,
            definition: record.definition,
            requires_attributes: record.requires_attributes,
            compatibilities: record.compatibilities,
            registered_by: record.registered_by.into(),
            registered_at: record.registered_at,
            status,
            tags: record.tags,
            tasks: 0,
        });
        let revisions = self.families.entry(family.clone()).or_default();
        revisions.last_revision = revisions.last_revision.max(revision);
        revisions.revisions.insert(revision, slot);
        match status {
            DefinitionStatus::Active => {
                revisions.active.insert(revision, slot);
            }
            DefinitionStatus::Inactive { .. } => {}
            DefinitionStatus::DeleteInProgress { .. } => {
                self.deletable.insert((family.clone(), revision));
            }
        }
        self.list(&family, revision, None);
        Some(slot)
    }

    pub(super) fn set_status(&mut self, family: &Family, revision: u32, status: DefinitionStatus) {
        let Some(revisions) = self.families.get_mut(family) else { return };
        let Some(&slot) = revisions.revisions.get(&revision) else { return };
        revisions.active.remove(&revision);
        let was = std::mem::replace(&mut self.arena[slot].status, status);
        self.list(family, revision, Some(was));
        self.note_deletable(slot);
    }

    pub(super) fn remove(&mut self, family: &Family, revision: u32) {
        let Some(revisions) = self.families.get_mut(family) else { return };
        let Some(&slot) = revisions.revisions.get(&revision) else { return };
        if self.arena[slot].tasks > 0 {
            return;
        }
        revisions.revisions.remove(&revision);
        revisions.active.remove(&revision);
        self.deletable.remove(&(family.clone(), revision));
        let gone = self.arena.remove(slot);
        self.list(family, revision, Some(gone.status));
    }

    /// One task more of this revision.
    pub(super) fn used(&mut self, slot: DefinitionSlot) {
        counter::count(&mut self.arena[slot].tasks, 1);
        let key = (self.arena[slot].family.clone(), self.arena[slot].definition.revision);
        self.deletable.remove(&key);
    }

    /// One task less.
    pub(super) fn left(&mut self, slot: DefinitionSlot) {
        counter::count(&mut self.arena[slot].tasks, -1);
        self.note_deletable(slot);
    }

    fn note_deletable(&mut self, slot: DefinitionSlot) {
        let definition = &self.arena[slot];
        let deleting = matches!(definition.status, DefinitionStatus::DeleteInProgress { .. });
        if deleting && definition.tasks == 0 {
            self.deletable.insert((definition.family.clone(), definition.definition.revision));
        }
    }

    pub(super) fn picture(&self, picture: &mut Picture) {
        let Definitions { arena, families, listed, families_listed, deletable } = self;
        for (family, revisions) in families {
            let FamilyRevisions { last_revision, registered, revisions, active } = revisions;
            let is_active: Vec<u32> = active.keys().copied().collect();
            let numbers: Vec<u32> = revisions.keys().copied().collect();
            let shown = fields! {
                last_revision: last_revision,
                registered: registered,
                revisions: numbers,
                active: is_active,
            };
            picture.show(format!("family {family}"), shown);
        }
        for definition in arena.iter() {
            let Definition {
                family,
                definition,
                requires_attributes,
                member_of,
                images,
                compatibilities,
                registered_by,
                registered_at,
                status,
                tags,
                tasks,
            } = definition;
            let shown = fields! {
                definition: definition,
                requires_attributes: requires_attributes,
                member_of: member_of,
                images: images,
                compatibilities: compatibilities,
                registered_by: registered_by,
                registered_at: registered_at,
                status: status,
                tags: tags,
                tasks: tasks,
            };
            picture.show(format!("definition {family}:{}", definition.revision), shown);
        }
        let shown = fields! {
            listed: listed,
            families_listed: families_listed,
            deletable: deletable,
        };
        picture.show("lists of definitions", shown);
    }

    pub(super) fn at_mut(&mut self, slot: DefinitionSlot) -> &mut Definition {
        &mut self.arena[slot]
    }
}
