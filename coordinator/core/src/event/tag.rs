//! What became true of tags, of whatever carries them.

use serde::{Deserialize, Serialize};

use crate::model::{tagged::Resource, tags::Tags};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TagEvent {
    Tagged { resource: Resource, tags: Tags },
    Untagged { resource: Resource, keys: Vec<String> },
}
