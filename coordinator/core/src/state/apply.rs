//! How events become state: `apply` hands each event to its resource's file, where the rows of a checkpoint
//! are made and put back, too.
//!
//! Every change of an entity begins with `touch`. Never: a refusal.

mod alarm;
mod attachment;
mod auto_scaling;
mod capacity_provider;
mod cluster;
mod definition;
mod deployment;
mod dirty;
mod due;
mod entity;
mod epoch;
mod host;
mod log_group;
mod picture;
mod service;
mod service_task;
mod setting;
mod tags;
mod tally;
mod task;
mod token;
mod waiting;

use super::State;
use crate::event::Event;

impl State {
    /// Makes an event true. `seq` is the batch it belongs to.
    pub fn apply(&mut self, event: &Event, seq: u64) {
        match event {
            Event::Epoch(event) => self.apply_epoch(event, seq),
            Event::Cluster(event) => self.apply_cluster(event),
            Event::Definition(event) => self.apply_definition(event),
            Event::Task(event) => self.apply_task(event, seq),
            Event::Attachment(event) => self.apply_attachment(event, seq),
            Event::Waiting(event) => self.apply_waiting(event, seq),
            Event::Member(event) => self.apply_member(event),
            Event::Host(event) => self.apply_host(event, seq),
            Event::Token(event) => self.apply_token(event),
            Event::Tag(event) => self.apply_tag(event),
            Event::Setting(event) => self.apply_setting(event),
            Event::Service(event) => self.apply_service(event),
            Event::Alarm(event) => self.apply_alarm(event),
            Event::LogGroup(event) => self.apply_log_group(event),
            Event::AutoScaling(event) => self.apply_auto_scaling(event),
            Event::CapacityProvider(event) => self.apply_capacity_provider(event),
        }
    }
}
