//! Identities. Each kind of thing has its own type, so that a host id never stands for a task id.
//!
//! New ids are never drawn here: entropy arrives with the command (see the coordinator's driver),
//! which keeps the state machine pure and simulations repeatable.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// 128 bits that name one thing of kind `K`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id<K>(u128, PhantomData<K>);

/// A task: the last part of its ARN.
pub type TaskId = Id<kind::Task>;
/// A host, which ECS calls a container instance: the last part of its ARN.
pub type HostId = Id<kind::Host>;
/// One coordinator's journal, from its first start on. Agents obey orders of one fleet only.
pub type FleetId = Id<kind::Fleet>;

/// What an [`Id`] can name. These types have no values.
pub mod kind {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Task {}
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Host {}
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Fleet {}
}

impl<K> Id<K> {
    pub const fn new(value: u128) -> Self {
        Id(value, PhantomData)
    }

    pub fn value(self) -> u128 {
        self.0
    }
}

impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K> FromStr for Id<K> {
    type Err = NotAnId;

    /// Exactly 32 lower-case hexadecimal digits, as in ECS's ARNs.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let canonical =
            text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !canonical {
            return Err(NotAnId);
        }
        u128::from_str_radix(text, 16).map(Self::new).map_err(|_| NotAnId)
    }
}

impl<K> Serialize for Id<K> {
    /// 16 raw bytes in binary formats (journal, poll protocol), 32 digits in readable ones.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0.to_be_bytes())
        }
    }
}

impl<'de, K> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = if deserializer.is_human_readable() {
            deserializer.deserialize_str(IdVisitor)
        } else {
            deserializer.deserialize_bytes(IdVisitor)
        };
        id.map(Self::new)
    }
}

struct IdVisitor;

impl de::Visitor<'_> for IdVisitor {
    type Value = u128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id of 32 hexadecimal digits or 16 bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u128, E> {
        text.parse::<FleetId>().map(Id::value).map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<u128, E> {
        bytes.try_into().map(u128::from_be_bytes).map_err(E::custom)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of 32 lower-case hexadecimal digits")]
pub struct NotAnId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_prints() {
        let id = TaskId::new(0x00ab << 64);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn only_32_lower_case_hexadecimal_digits_are_an_id() {
        for bad in ["", "12", &"A".repeat(32), &"+".repeat(32), &"0".repeat(33)] {
            assert_eq!(bad.parse::<HostId>(), Err(NotAnId), "{bad}");
        }
    }
}
