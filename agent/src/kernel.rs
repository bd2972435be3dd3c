//! What the kernel tells of the processes and sockets of this host.

pub(crate) mod control_group;
pub(crate) mod host_socket;
