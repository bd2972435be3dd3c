//! Names that users choose, checked where they enter: a command holds no other.

use std::{borrow::Borrow, fmt, marker::PhantomData, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Maximum length in characters of the name of a cluster, family or service (ecs-behaviour 1.3,
/// 1.8: up to 255 letters, digits, `-`, `_`).
pub const NAME_CHARS_MAX: usize = 255;

/// A name of kind `K`: 1 to 255 of `A-Z a-z 0-9 _ -`. Cheap to clone.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<K>(Arc<str>, PhantomData<fn() -> K>);

pub type ClusterName = Name<kind::Cluster>;
pub type Family = Name<kind::Family>;
pub type ServiceName = Name<kind::Service>;
pub type CapacityProviderName = Name<kind::CapacityProvider>;

/// What a [`Name`] can name. These types have no values.
pub mod kind {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Cluster {}
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Family {}
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Service {}
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum CapacityProvider {}
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to {NAME_CHARS_MAX} letters, digits, hyphens and underscores")]
pub struct NotAName;

impl<K> Name<K> {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<K> FromStr for Name<K> {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if text.is_empty() || text.len() > NAME_CHARS_MAX || !text.bytes().all(allowed) {
            return Err(NotAName);
        }
        Ok(Name(text.into(), PhantomData))
    }
}

impl<K> Clone for Name<K> {
    fn clone(&self) -> Self {
        Name(self.0.clone(), PhantomData)
    }
}

impl<K> Borrow<str> for Name<K> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<K> fmt::Display for Name<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<K> fmt::Debug for Name<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<K> Serialize for Name<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de, K> Deserialize<'de> for Name<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_letters_digits_hyphens_and_underscores() {
        assert!("web-1_B".parse::<ClusterName>().is_ok());
        assert!("a".repeat(255).parse::<Family>().is_ok());
        for bad in ["", "a b", "ä", "a/b", "a:1", &"a".repeat(256)] {
            assert_eq!(bad.parse::<Family>(), Err(NotAName), "{bad}");
        }
    }
}
