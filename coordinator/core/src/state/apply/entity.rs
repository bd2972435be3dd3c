//! How an entity becomes a row of a checkpoint, and a row an entity again.

use super::super::State;
use crate::checkpoint::entity::{EntityKey, Kind, Record, entities, kind};

/// Implemented on the marker of each kind, beside the code of its resource.
pub(super) trait Entity: Kind {
    /// Keys of every entity that there is.
    fn keys(state: &State) -> Vec<Self::Key>;

    /// Absent for one that there is not, whose row is deleted.
    fn row(state: &State, key: &Self::Key) -> Option<Self::Row>;

    /// Puts a row back. What it refers to is there: its kind comes before.
    fn restore(state: &mut State, row: Self::Row);
}

macro_rules! rows {
    ($($(#[$comment:meta])* $number:literal $name:ident: $key:ty => $row:ty,)*) => {
        impl State {
            pub(super) fn record_of(&self, key: &EntityKey) -> Option<Record> {
                match key {
                    $(EntityKey::$name(key) => {
                        let row = <kind::$name as Entity>::row(self, key)?;
                        Some(Record::$name(Box::new(row)))
                    })*
                }
            }

            /// Puts a checkpoint's row back. Rows come in the order of their kinds.
            pub fn restore(&mut self, record: Record) {
                match record {
                    $(Record::$name(row) => <kind::$name as Entity>::restore(self, *row),)*
                }
            }

            /// Keys of every entity that there is.
            pub(super) fn all_keys(&self) -> Vec<EntityKey> {
                let mut keys = Vec::new();
                $(keys.extend(<kind::$name as Entity>::keys(self).into_iter().map(EntityKey::$name));)*
                keys
            }
        }
    };
}

entities!(rows);
