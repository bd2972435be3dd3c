//! What a checkpoint keeps: one table of all kinds of entities, in the order in which their rows are
//! restored. A resource's own file says how its row is made and put back.
//!
//! A kind that is in the table and has no [`Entity`] does not compile, and what is not in the table
//! has no key to be marked as changed by. Kinds are never renumbered, names of rows never changed.

use super::State;

/// One kind of row. Implemented on a marker in [`kind`] beside the code of its resource.
pub trait Entity {
    /// Names one entity of the kind.
    type Key;
    /// What its row holds.
    type Row;

    /// As the row's id: different for different keys.
    fn id(key: &Self::Key) -> Vec<u8>;

    /// Of every entity that there is.
    fn keys(state: &State) -> Vec<Self::Key>;

    /// Absent for one that there is not, whose row is deleted.
    fn row(state: &State, key: &Self::Key) -> Option<Self::Row>;

    /// Puts a row back. What it refers to is there: its kind comes before.
    fn restore(state: &mut State, row: Self::Row);
}

macro_rules! entities {
    ($($(#[$comment:meta])* $number:literal $name:ident,)*) => {
        /// A marker for each kind.
        pub(super) mod kind {
            $($(#[$comment])* pub struct $name;)*
        }

        /// Names one row of a checkpoint.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EntityKey {
            $($(#[$comment])* $name(<kind::$name as Entity>::Key),)*
        }

        /// One row of a checkpoint.
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub enum Record {
            $($(#[$comment])* $name(Box<<kind::$name as Entity>::Row>),)*
        }

        /// The kinds in the order in which they are restored.
        pub const RESTORE_ORDER: [u8; [$($number),*].len()] = [$($number),*];

        impl EntityKey {
            pub(super) fn kind(&self) -> u8 {
                match self {
                    $(EntityKey::$name(_) => $number,)*
                }
            }

            pub(super) fn id(&self) -> Vec<u8> {
                match self {
                    $(EntityKey::$name(key) => <kind::$name as Entity>::id(key),)*
                }
            }
        }

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

            /// Of every entity that there is.
            pub(super) fn all_keys(&self) -> Vec<EntityKey> {
                let mut keys = Vec::new();
                $(keys.extend(<kind::$name as Entity>::keys(self).into_iter().map(EntityKey::$name));)*
                keys
            }
        }
    };
}

// What is referred to comes before what refers to it.
entities! {
    /// The epochs.
    0 Meta,
    1 Cluster,
    2 Definition,
    3 Family,
    14 CapacityProvider,
    13 AutoScalingGroup,
    /// An agent that joined.
    4 Member,
    5 Host,
    11 Service,
    6 Task,
    7 ClientToken,
    8 JoinToken,
    /// An account setting.
    9 Setting,
    10 Alarm,
    12 LogGroup,
    /// Tasks of one launch that wait for a host.
    15 Waiting,
}

/// A number stands for one kind only.
const _: () = {
    let mut at = 0;
    while at < RESTORE_ORDER.len() {
        let mut other = at + 1;
        while other < RESTORE_ORDER.len() {
            assert!(RESTORE_ORDER[at] != RESTORE_ORDER[other]);
            other += 1;
        }
        at += 1;
    }
};
