//! What a checkpoint keeps: one table of all kinds of entities, in the order in which their rows are
//! restored. How a row is made and put back stands beside the code of its resource, in `state`.
//!
//! A kind that is in the table and cannot be made a row of does not compile, and what is not in the table
//! has no key to be marked as changed by. Kinds are never renumbered, names of rows never changed.

use super::record::{
    ClientTokenRecord, ClusterRecord, DefinitionRecord, FamilyRecord, HostRecord, MemberRecord,
    MetaRecord, ServiceRecord, SettingRecord,
};
use crate::{
    event::TasksWaiting,
    model::{
        alarm::{Alarm, AlarmName},
        auto_scaling::{AutoScalingGroupName, GroupRecord},
        capacity_provider::CapacityProvider,
        join_token::JoinTokenState,
        log_group::{LogGroup, LogGroupName},
        name::{CapacityProviderName, ClusterName, Family, Name},
        service::ServiceId,
        setting::SettingScope,
        task::TaskRecord,
    },
};
use longshore_common::id::{HostId, Id, TaskId};

/// One kind of row, as a marker in [`kind`].
pub trait Kind {
    /// Names one entity of the kind.
    type Key: RowId;
    /// What its row holds.
    type Row;
}

/// Names a row among those of its kind: different for different keys.
pub trait RowId {
    fn row_id(&self) -> Vec<u8>;
}

/// Hands the table to a macro. What is referred to comes before what refers to it.
macro_rules! entities {
    ($with:ident) => {
        $with! {
            /// The epochs.
            0 Meta: () => MetaRecord,
            1 Cluster: ClusterName => ClusterRecord,
            2 Definition: (Family, u32) => DefinitionRecord,
            3 Family: Family => FamilyRecord,
            14 CapacityProvider: CapacityProviderName => CapacityProvider,
            13 AutoScalingGroup: AutoScalingGroupName => GroupRecord,
            /// An agent that joined.
            4 Member: HostId => MemberRecord,
            5 Host: HostId => HostRecord,
            11 Service: ServiceId => ServiceRecord,
            6 Task: TaskId => TaskRecord,
            7 ClientToken: (ClusterName, String) => ClientTokenRecord,
            8 JoinToken: String => JoinTokenState,
            /// An account setting.
            9 Setting: (SettingScope, String) => SettingRecord,
            10 Alarm: AlarmName => Alarm,
            12 LogGroup: LogGroupName => LogGroup,
            /// Tasks of one launch that wait for a host, by the launch's id.
            15 Waiting: TaskId => TasksWaiting,
        }
    };
}
pub(crate) use entities;

macro_rules! keys_and_rows {
    ($($(#[$comment:meta])* $number:literal $name:ident: $key:ty => $row:ty,)*) => {
        /// A marker for each kind.
        pub mod kind {
            $($(#[$comment])* pub struct $name;)*
        }

        $(impl Kind for kind::$name {
            type Key = $key;
            type Row = $row;
        })*

        /// Names one row of a checkpoint.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EntityKey {
            $($(#[$comment])* $name($key),)*
        }

        /// One row of a checkpoint.
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub enum Record {
            $($(#[$comment])* $name(Box<$row>),)*
        }

        /// The kinds in the order in which they are restored.
        pub const RESTORE_ORDER: [u8; [$($number),*].len()] = [$($number),*];

        impl EntityKey {
            pub(crate) fn kind(&self) -> u8 {
                match self {
                    $(EntityKey::$name(_) => $number,)*
                }
            }

            pub(crate) fn id(&self) -> Vec<u8> {
                match self {
                    $(EntityKey::$name(key) => key.row_id(),)*
                }
            }
        }
    };
}

entities!(keys_and_rows);

/// Checks at compile time that each number stands for one kind only.
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

impl RowId for () {
    fn row_id(&self) -> Vec<u8> {
        Vec::new()
    }
}

impl RowId for String {
    fn row_id(&self) -> Vec<u8> {
        self.as_bytes().into()
    }
}

impl<K> RowId for Id<K>
where
    Id<K>: Copy,
{
    fn row_id(&self) -> Vec<u8> {
        self.value().to_be_bytes().into()
    }
}

impl<K> RowId for Name<K> {
    fn row_id(&self) -> Vec<u8> {
        self.as_str().into()
    }
}

impl RowId for AlarmName {
    fn row_id(&self) -> Vec<u8> {
        self.as_str().into()
    }
}

impl RowId for LogGroupName {
    fn row_id(&self) -> Vec<u8> {
        self.as_str().into()
    }
}

impl RowId for AutoScalingGroupName {
    fn row_id(&self) -> Vec<u8> {
        self.as_str().into()
    }
}

impl RowId for (Family, u32) {
    fn row_id(&self) -> Vec<u8> {
        let (family, revision) = self;
        [family.as_str().as_bytes(), b":", &revision.to_be_bytes()].concat()
    }
}

impl RowId for (ClusterName, String) {
    fn row_id(&self) -> Vec<u8> {
        let (cluster, token) = self;
        format!("{cluster}/{token}").into()
    }
}

impl RowId for (SettingScope, String) {
    fn row_id(&self) -> Vec<u8> {
        let (scope, name) = self;
        match scope {
            SettingScope::Default => format!("/{name}").into(),
            SettingScope::Principal(principal) => format!("{principal}/{name}").into(),
        }
    }
}
