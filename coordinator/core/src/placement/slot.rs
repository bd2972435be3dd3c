//! How the caller names hosts and groups: by small numbers of its own.

/// A host's place in the caller's arena of hosts. May be used again once the host was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostSlot(pub u32);

/// A task group's name, interned by the caller. Tasks of one group are spread and kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey(pub u32);
