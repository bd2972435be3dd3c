//! Why the state machine refuses a command. Knows no HTTP: `api/refusal.rs` of the coordinator maps each
//! refusal to an error of its service.
//!
//! Each resource has an enum of its own, in a file of its name.
//! Modules stand in the order in which they build on each other, the lowest first.

pub mod cluster;
pub mod definition;
pub mod task;
pub mod attachment;
pub mod member;
pub mod host;
pub mod token;
pub mod tag;
pub mod service;
pub mod task_set;
pub mod alarm;
pub mod log_group;
pub mod auto_scaling;
pub mod capacity_provider;

pub use self::{
    alarm::AlarmRejection, attachment::AttachmentRejection, auto_scaling::AutoScalingRejection,
    capacity_provider::CapacityProviderRejection, cluster::ClusterRejection,
    definition::DefinitionRejection, host::HostRejection, log_group::LogGroupRejection,
    member::MemberRejection, service::ServiceRejection, tag::TagRejection, task::TaskRejection,
    task_set::TaskSetRejection, token::TokenRejection,
};

/// A refusal of a command about any resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error(transparent)]
    Cluster(#[from] ClusterRejection),
    #[error(transparent)]
    Definition(#[from] DefinitionRejection),
    #[error(transparent)]
    Task(#[from] TaskRejection),
    #[error(transparent)]
    Attachment(#[from] AttachmentRejection),
    #[error(transparent)]
    Member(#[from] MemberRejection),
    #[error(transparent)]
    Host(#[from] HostRejection),
    #[error(transparent)]
    Token(#[from] TokenRejection),
    #[error(transparent)]
    Tag(#[from] TagRejection),
    #[error(transparent)]
    Service(#[from] ServiceRejection),
    #[error(transparent)]
    TaskSet(#[from] TaskSetRejection),
    #[error(transparent)]
    Alarm(#[from] AlarmRejection),
    #[error(transparent)]
    LogGroup(#[from] LogGroupRejection),
    #[error(transparent)]
    AutoScaling(#[from] AutoScalingRejection),
    #[error(transparent)]
    CapacityProvider(#[from] CapacityProviderRejection),
}
