//! Which host ports tasks are given that ask for any.

/// The lowest and the highest of some ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortBounds {
    pub first: u16,
    pub last: u16,
}
