//! What can be asked of tags, whatever carries them.

use crate::model::{tagged::Resource, tags::Tags};

#[derive(Clone, Debug)]
pub enum TagCommand {
    Tag { resource: Resource, tags: Tags },
    Untag { resource: Resource, keys: Vec<String> },
}
