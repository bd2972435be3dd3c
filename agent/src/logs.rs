//! The logs of containers with the `awslogs` driver: read from Docker's own logs, kept on this host,
//! found again for the coordinator.
//!
//! A container writes to Docker, whatever this agent does; what Docker holds is read from a cursor that
//! is stored with the events themselves, so that a restart of the agent loses and repeats nothing.
//! Never: a container's file changed, a container removed before its log was read to the end.

pub(crate) mod destination;
mod record;
mod assembly;
mod docker_log;
mod follower;
mod follows;
mod watch;
mod runtime;
mod answer;
#[cfg(test)]
mod stored;

pub(crate) use self::{
    answer::LogReader,
    follower::{KeepLogs, start},
    runtime::LoggedRuntime,
};
pub use answer::Unanswered;
