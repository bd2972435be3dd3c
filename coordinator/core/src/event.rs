//! What became true. Events are the journal: variants and fields are only ever added, with
//! defaults, and an old journal is a golden file.
//!
//! Each resource has an enum of its own, in a file of its name. In the journal an event is named by its
//! variant alone, so that a name stands for one variant of one resource.
//! Modules stand in the order in which they build on each other, the lowest first.

pub mod epoch;
pub mod cluster;
pub mod definition;
pub mod task;
pub mod attachment;
pub mod waiting;
pub mod member;
pub mod host;
pub mod token;
pub mod tag;
pub mod setting;
pub mod service;
pub mod alarm;
pub mod log_group;
pub mod auto_scaling;
pub mod capacity_provider;
mod names;
mod journaled;
#[cfg(test)]
mod tests;

pub use self::{
    alarm::AlarmEvent,
    attachment::{AttachmentEvent, AttachmentMove},
    auto_scaling::AutoScalingEvent,
    capacity_provider::CapacityProviderEvent,
    cluster::ClusterEvent,
    definition::{DefinitionEvent, TaskDefinitionRegistered},
    epoch::EpochEvent,
    host::{HostEvent, HostRegistered},
    log_group::LogGroupEvent,
    member::MemberEvent,
    service::{ServiceCreated, ServiceEvent},
    setting::SettingEvent,
    tag::TagEvent,
    task::{PlacedTask, TaskAdopted, TaskEvent, TasksStarted},
    token::TokenEvent,
    waiting::{TasksWaiting, WaitingEvent, WaitingTask},
};

macro_rules! resources {
    ($($resource:ident($events:ident) in $file:ident,)*) => {
        /// An event of any resource.
        #[derive(Clone, PartialEq)]
        pub enum Event {
            $($resource($events),)*
        }

        $(impl From<$events> for Event {
            fn from(event: $events) -> Self {
                Event::$resource(event)
            }
        })*

        impl std::fmt::Debug for Event {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Event::$resource(event) => std::fmt::Debug::fmt(event, f),)*
                }
            }
        }

        impl serde::Serialize for Event {
            /// Writes the event as the resource's enum does: the journal does not say whose event
            /// it is.
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Event::$resource(event) => event.serialize(serializer),)*
                }
            }
        }

        /// The resources, as numbers to look them up by.
        #[derive(Clone, Copy)]
        enum Resource {
            $($resource,)*
        }

        /// The names of every resource's events.
        const NAMES: &[(Resource, fn() -> &'static [&'static str])] =
            &[$((Resource::$resource, names::of::<$events>),)*];

        fn read<'de, A: serde::de::EnumAccess<'de>>(
            resource: Resource,
            access: A,
        ) -> Result<Event, A::Error> {
            let access = serde::de::value::EnumAccessDeserializer::new(access);
            match resource {
                $(Resource::$resource => {
                    <$events as serde::Deserialize>::deserialize(access).map(Event::$resource)
                })*
            }
        }
    };
}

resources! {
    Epoch(EpochEvent) in epoch,
    Cluster(ClusterEvent) in cluster,
    Definition(DefinitionEvent) in definition,
    Task(TaskEvent) in task,
    Attachment(AttachmentEvent) in attachment,
    Waiting(WaitingEvent) in waiting,
    Member(MemberEvent) in member,
    Host(HostEvent) in host,
    Token(TokenEvent) in token,
    Tag(TagEvent) in tag,
    Setting(SettingEvent) in setting,
    Service(ServiceEvent) in service,
    Alarm(AlarmEvent) in alarm,
    LogGroup(LogGroupEvent) in log_group,
    AutoScaling(AutoScalingEvent) in auto_scaling,
    CapacityProvider(CapacityProviderEvent) in capacity_provider,
}
