//! What can be asked of the state machine. Everything in a command is parsed and within limits;
//! what depends on the state is `decide`'s to judge.
//!
//! Each resource has an enum of its own, in a file of its name.
//! Modules stand in the order in which they build on each other, the lowest first.

pub mod epoch;
pub mod cluster;
pub mod definition;
pub mod task;
pub mod attachment;
pub mod member;
pub mod host;
pub mod token;
pub mod tag;
pub mod setting;
pub mod service;
pub mod task_set;
pub mod alarm;
pub mod log_group;
pub mod auto_scaling;
pub mod capacity_provider;

use longshore_common::clock::Timestamp;

pub use self::{
    alarm::AlarmCommand,
    attachment::{
        ATTACHMENT_CHANGES_MAX, AttachmentCommand, AttachmentStateChange, AttachmentStatus,
    },
    auto_scaling::{AutoScalingCommand, MachinesListed},
    capacity_provider::CapacityProviderCommand,
    cluster::{ClusterChange, ClusterCommand},
    definition::{DefinitionCommand, RegisterTaskDefinition},
    epoch::{EpochCommand, next_epoch},
    host::{
        AgentAnswered, HostCommand, RegisterContainerInstance, SettableHostStatus,
        TargetedAttribute,
    },
    log_group::LogGroupCommand,
    member::{CertifyHost, MemberCommand, ShownKey},
    service::{CreateService, DeploymentChange, HookAnswer, ServiceCommand, UpdateService},
    setting::SettingCommand,
    tag::TagCommand,
    task::{ClientToken, RunTask, StartTask, TaskCommand, TaskLaunch},
    task_set::{CreateTaskSet, TaskSetCommand},
    token::TokenCommand,
};

/// A command with all that it needs of the outside: the time and 128 random bits, from which new
/// ids are derived.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub at: Timestamp,
    pub entropy: u128,
    pub command: Command,
}

macro_rules! resources {
    ($($resource:ident($commands:ident),)*) => {
        /// A command about any resource.
        #[derive(Clone)]
        pub enum Command {
            $($resource($commands),)*
        }

        $(impl From<$commands> for Command {
            fn from(command: $commands) -> Self {
                Command::$resource(command)
            }
        })*

        impl std::fmt::Debug for Command {
            /// Shows the command as the resource's enum does.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Command::$resource(command) => std::fmt::Debug::fmt(command, f),)*
                }
            }
        }
    };
}

resources! {
    Epoch(EpochCommand),
    Cluster(ClusterCommand),
    Definition(DefinitionCommand),
    Task(TaskCommand),
    Attachment(AttachmentCommand),
    Member(MemberCommand),
    Host(HostCommand),
    Token(TokenCommand),
    Tag(TagCommand),
    Setting(SettingCommand),
    Service(ServiceCommand),
    TaskSet(TaskSetCommand),
    Alarm(AlarmCommand),
    LogGroup(LogGroupCommand),
    AutoScaling(AutoScalingCommand),
    CapacityProvider(CapacityProviderCommand),
}

impl Command {
    /// Whether the operator may have it done while a host proves that the journal is old: to throw out
    /// a host whose proof he does not believe.
    pub fn passes_an_old_journal(&self) -> bool {
        matches!(self, Command::Host(HostCommand::DeregisterContainerInstance { .. }))
    }
}
