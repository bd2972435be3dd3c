//! Task definitions: RegisterTaskDefinition and its kin.

pub(crate) mod input;
pub(crate) mod sizes;
pub(crate) mod validate;
pub(crate) mod compatibilities;
pub(crate) mod requires_attributes;
