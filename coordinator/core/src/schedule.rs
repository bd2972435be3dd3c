//! What a service, a host or tasks that wait need next: starts, stops, lost tasks, the next stage of a deployment.
//!
//! A pass looks at one of them and answers with events; the driver applies them, which marks what
//! they changed as due again, until a pass has nothing to say. So there is one path for a change, a
//! timer and a restart alike. Costs nothing for what is quiet. Never: I/O, clocks, chance.

mod balance;
mod daemon;
mod deployment;
mod fate;
mod instances;
mod launch;
mod lost;
mod messages;
mod rebalance;
mod scaling;
mod to_come;
mod victims;
mod waiting;
mod work;
#[cfg(test)]
pub(crate) mod tests;

use std::{collections::BTreeSet, time::Duration};

use longshore_common::{
    clock::Timestamp,
    id::{HostId, TaskId},
};

use self::work::Work;
use super::{
    event::Event,
    state::{Due, Revision, Service, Standing, State, Task},
};
use crate::{
    event::{ServiceEvent, TaskEvent},
    launch::ids::Ids,
    model::{revision::Rollout, service::LostAfter, service_status::ServiceStatus},
};

pub use self::lost::lost_hosts;
pub use self::scaling::{Scaled, scaled, scaled_of};
pub use self::work::Pass;

/// Time after a start of the coordinator until a service says that a connected host has not been
/// heard (ours): many times what an agent needs whose container engine answers.
const UNHEARD_SAID_AFTER: Duration = Duration::from_secs(60);

/// Looks at what is due. Deterministic: the same state, time and entropy give the same pass.
pub fn pass(state: &State, due: Due, at: Timestamp, entropy: u128) -> Pass {
    match due {
        Due::Host(host) => lost::pass(state, host, at),
        Due::Waiting(slot) => waiting::pass(state, slot, at, Ids::from(entropy)),
        Due::Group(slot) => instances::group_pass(state, slot, at),
        Due::Instance(id) => instances::instance_pass(state, id, at),
        Due::Service(slot) => {
            let service = state.service_at(slot);
            match service.status {
                ServiceStatus::Inactive { .. } => Pass::default(),
                ServiceStatus::Active | ServiceStatus::Draining => {
                    Work::new(state, service, at, Ids::from(entropy)).look()
                }
            }
        }
    }
}

/// How many tasks a service is to have now: of a daemon, one for each host that it belongs on.
pub fn desired(state: &State, service: &Service) -> u32 {
    Work::new(state, service, Timestamp::default(), Ids::from(0)).desired()
}

impl<'a> Work<'a> {
    /// The first kind of work that there is: what it changes makes the service due again, so that
    /// the next kind sees its effect.
    fn look(mut self) -> Pass {
        let kinds: [fn(&mut Self); 6] = [
            Self::settle,
            Self::advance_deployment,
            Self::drop_revisions,
            Self::balance,
            Self::conclude,
            Self::rebalance,
        ];
        for kind in kinds {
            kind(&mut self);
            if !self.pass.events.is_empty() {
                break;
            }
        }
        self.pass
    }

    /// Tasks without checks that ran long enough are healthy from now on. Time counts while their
    /// host is heard: what nobody saw running may have ended long ago.
    fn settle(&mut self) {
        let mut tasks = Vec::new();
        for revision in &self.service.revisions {
            for (began, id) in &revision.settling {
                let settles = began.saturating_add(self.policy.healthy_after);
                if settles > self.at {
                    self.wake_at(settles);
                    break;
                }
                let Some(task) = self.state.task(*id) else { continue };
                // Its host makes the service due when it is heard again.
                let Some(heard) = self.state.heard_since(task.host) else { continue };
                let settles = heard.max(*began).saturating_add(self.policy.healthy_after);
                match settles > self.at {
                    true => self.wake_at(settles),
                    false => tasks.push(*id),
                }
            }
        }
        if !tasks.is_empty() {
            self.pass.events.push(Event::Task(TaskEvent::TasksSettled { tasks, at: self.at }));
        }
    }

    /// Forgets revisions that have no task and that nothing goes back to.
    fn drop_revisions(&mut self) {
        let service = self.service;
        let needed = |id| {
            service.primary == Some(id) || service.completed == Some(id) || service.is_target(id)
        };
        for revision in &service.revisions {
            let drops = match &revision.record.task_set {
                Some(set) => set.draining,
                None => !needed(revision.record.id),
            };
            if revision.tasks.is_empty() && drops {
                let (service, revision) = (service.id, revision.record.id);
                self.pass
                    .events
                    .push(Event::Service(ServiceEvent::RevisionDropped { service, revision }));
            }
        }
    }

    /// Says once that nothing is left to do, and ends a service that was deleted.
    fn conclude(&mut self) {
        let (service, at) = (self.service.id, self.at);
        if self.service.status == ServiceStatus::Draining {
            if !self.service.has_tasks() {
                self.pass.events.push(Event::Service(ServiceEvent::ServiceDeleted { service, at }));
            }
            return;
        }
        if self.service.under_way().is_some() {
            self.say_what_is_unheard();
            return self.say_what_is_silent();
        }
        if self.service.steady || !self.is_steady() {
            return;
        }
        match self.is_heard() {
            true => {
                self.pass.events.push(Event::Service(ServiceEvent::ServiceSteady { service, at }))
            }
            false => self.say_what_is_unheard(),
        }
    }

    /// Whether the service has what it is to have, and nothing moves (ecs-behaviour 1.8).
    fn is_steady(&self) -> bool {
        let service = self.service;
        if service.under_way().is_some() || service.moving.is_some() || self.pass.waits_for_room {
            return false;
        }
        if service.is_external() {
            let sets = !service.revisions.is_empty();
            return sets
                && service.revisions.iter().all(|revision| {
                    revision.record.task_set.as_ref().is_some_and(|set| set.stable && !set.draining)
                });
        }
        let Some(primary) = service.primary() else { return false };
        let counts = &primary.counts;
        let others = service.revisions.iter().filter(|r| r.record.id != primary.record.id);
        let only = match service.is_daemon() {
            true => others.into_iter().all(|other| self.is_gone(&other.counts)),
            false => others.into_iter().all(|other| other.tasks.is_empty()),
        };
        // A daemon stays on a host that drains as long as it is of use there.
        let none_drain = service.is_daemon() || counts.wanted_draining() == 0;
        let wanted = counts.wanted() - counts.wanted_draining();
        only && none_drain
            && primary.record.rollout != Rollout::Failed
            && counts.leaving() == 0
            && wanted == counts.staying(Standing::Healthy)
            && wanted == self.desired()
    }

    /// Whether every host that has tasks of the service was heard by this coordinator: until then
    /// it knows what an earlier one knew, and calls nothing done. A host that is silent for too long
    /// is waited for no more: its tasks are lost, or stand as they were when they never are.
    fn is_heard(&mut self) -> bool {
        let never = self.policy.lost_after == LostAfter::Never;
        for revision in &self.service.revisions {
            for task in self.unheard_tasks(revision) {
                if task.service.as_ref().is_some_and(|of| of.lost) {
                    continue;
                }
                let host = self.state.host_at(task.host);
                let gives_up = lost::earliest_loss_at(self.state, host).filter(|_| never);
                match gives_up {
                    Some(ends) if ends <= self.at => {}
                    Some(ends) => {
                        self.wake_at(ends);
                        return false;
                    }
                    None => return false,
                }
            }
        }
        true
    }

    /// Says which hosts are waited for although their agents are connected: nothing ends that but a word
    /// of their container engines.
    fn say_what_is_unheard(&mut self) {
        let revisions = self.service.revisions.iter();
        let unheard = revisions.flat_map(|revision| self.unheard_tasks(revision));
        let unheard = unheard.filter(|task| task.service.as_ref().is_some_and(|of| !of.lost));
        let hosts = unheard.map(|task| self.state.host_at(task.host));
        let hosts: BTreeSet<HostId> = hosts.filter(|host| host.connected).map(|h| h.id).collect();
        if hosts.is_empty() {
            return;
        }
        match self.state.epoch_started_at().saturating_add(UNHEARD_SAID_AFTER) {
            later if later > self.at => self.wake_at(later),
            _ => self.say(messages::waits_for_engines(self.service, &hosts)),
        }
    }

    /// Says which tasks a deployment waits for that no timer ends: their hosts are silent and are
    /// never taken for lost.
    fn say_what_is_silent(&mut self) {
        let service = self.service;
        if self.policy.lost_after != LostAfter::Never {
            return;
        }
        let silent = self.state.cluster_at(service.cluster).silent.iter();
        let tasks = silent.flat_map(|(_, slot)| self.state.host_at(*slot).tasks.values());
        let tasks = tasks.map(|slot| self.state.task_at(*slot));
        let own = |task: &&Task| task.service.as_ref().is_some_and(|of| of.service == service.slot);
        let waited_for = |task: &&Task| {
            !matches!(
                task.standing(),
                Some(Standing::Healthy | Standing::Stopping | Standing::Deprovisioning)
            )
        };
        let tasks: Vec<TaskId> = tasks.filter(own).filter(waited_for).map(|task| task.id).collect();
        if !tasks.is_empty() {
            self.say(messages::waits_for_silent_hosts(service, &tasks));
        }
    }

    /// Tasks of a revision on hosts that this coordinator has not heard yet. Costs nothing once all
    /// hosts were heard, and while some are silent no more than what runs there.
    fn unheard_tasks(&self, revision: &Revision) -> Vec<&'a Task> {
        let state = self.state;
        if state.unheard_len() >= revision.tasks.len() {
            let tasks = revision.tasks.values().map(|slot| state.task_at(*slot));
            return tasks.filter(|task| state.is_unheard(task.host)).collect();
        }
        let hosts = state.unheard_hosts();
        let tasks = hosts.flat_map(|host| host.tasks.values()).map(|slot| state.task_at(*slot));
        tasks
            .filter(|task| {
                task.service.as_ref().is_some_and(|of| {
                    of.service == self.service.slot && of.revision == revision.record.id
                })
            })
            .collect()
    }

    /// How many tasks the service is to have in all.
    fn desired(&self) -> u32 {
        match self.service.status {
            ServiceStatus::Draining | ServiceStatus::Inactive { .. } => 0,
            ServiceStatus::Active if self.service.is_daemon() => self.daemon_hosts(),
            ServiceStatus::Active => self.service.config.desired,
        }
    }
}
