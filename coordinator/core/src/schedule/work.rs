//! One look at what is due, and what comes of it.

use longshore_common::clock::Timestamp;

use super::messages;
use crate::{
    event::{Event, ServiceEvent},
    launch::ids::Ids,
    managed_scaling::Group,
    model::{name::CapacityProviderName, service::ServicePolicy},
    placement::Taken,
    state::{Service, State, hash_of},
};

/// What one pass found and made.
#[derive(Debug, Default)]
pub struct Pass {
    pub events: Vec<Event>,
    /// When to look again though nothing happens.
    pub wake: Option<Timestamp>,
    /// A task found no host: look again when room comes free in the cluster.
    pub waits_for_room: bool,
    /// Tasks of a service that found no host of their capacity provider.
    pub wanted: Vec<(CapacityProviderName, Group)>,
}

/// One look at one service.
pub(super) struct Work<'a> {
    pub(super) state: &'a State,
    pub(super) service: &'a Service,
    pub(super) policy: ServicePolicy,
    pub(super) at: Timestamp,
    pub(super) ids: Ids,
    /// What this look starts: whatever it places next sees that.
    pub(super) taken: Taken,
    /// What this look stops makes the service wait: the next look knows for how long.
    pub(super) backs_off: bool,
    pub(super) pass: Pass,
}

impl<'a> Work<'a> {
    pub(super) fn new(state: &'a State, service: &'a Service, at: Timestamp, ids: Ids) -> Self {
        let policy = state.policy(service);
        Work {
            state,
            service,
            policy,
            at,
            ids,
            taken: Taken::default(),
            backs_off: false,
            pass: Pass::default(),
        }
    }

    pub(super) fn wake_at(&mut self, at: Timestamp) {
        self.pass.wake = Some(self.pass.wake.map_or(at, |earlier| earlier.min(at)));
    }

    /// Says something in the service's events, unless it was said lately and still holds
    /// (ecs-behaviour 1.8).
    pub(super) fn say(&mut self, message: String) {
        let said = self.service.said.get(&hash_of(&message));
        let due = said.map_or(self.at, |said| said.saturating_add(messages::REPEATED_AFTER));
        if due > self.at {
            // What holds then is said again, though nothing else happens.
            self.wake_at(due);
            return;
        }
        self.wake_at(self.at.saturating_add(messages::REPEATED_AFTER));
        let (service, at) = (self.service.id, self.at);
        self.pass.events.push(Event::Service(ServiceEvent::ServiceLogged { service, message, at }));
    }
}
