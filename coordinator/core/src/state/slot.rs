//! Slots: positions in the arenas, reused after removal, meaningful only inside one process.
//!
//! Each arena has a type of slots of its own, and takes no other. Never: in an event or a row.

use crate::placement::{GroupKey, HostSlot};

/// A position in the arena of one kind of thing.
pub(super) trait Slot: Copy {
    fn at(position: u32) -> Self;

    fn position(self) -> u32;
}

macro_rules! slots {
    ($($of:literal $slot:ident,)*) => {$(
        #[doc = concat!("Where the state keeps ", $of, ".")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $slot(u32);

        const _: () = assert!(size_of::<$slot>() == size_of::<u32>());

        impl Slot for $slot {
            fn at(position: u32) -> Self {
                $slot(position)
            }

            fn position(self) -> u32 {
                self.0
            }
        }
    )*};
}

slots! {
    "a cluster" ClusterSlot,
    "a revision of a task definition" DefinitionSlot,
    "a task that has a host" TaskSlot,
    "a service" ServiceSlot,
    "an Auto Scaling group" GroupSlot,
    "a launch whose tasks wait for a host" WaitingSlot,
}

impl Slot for HostSlot {
    fn at(position: u32) -> Self {
        HostSlot(position)
    }

    fn position(self) -> u32 {
        self.0
    }
}

impl Slot for GroupKey {
    fn at(position: u32) -> Self {
        GroupKey(position)
    }

    fn position(self) -> u32 {
        self.0
    }
}
