//! Slots: positions in the arenas, reused after removal, meaningful only inside one process.
//!
//! Never: in an event or a row.

pub type ClusterSlot = u32;
pub type DefinitionSlot = u32;
pub type TaskSlot = u32;
pub type ServiceSlot = u32;
pub type GroupSlot = u32;
pub type WaitingSlot = u32;
