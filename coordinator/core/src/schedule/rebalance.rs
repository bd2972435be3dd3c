//! Moving tasks of a steady service to where there are fewer of them (ecs-behaviour 1.13): first
//! another task starts there, and once it is healthy, one stops where there are most.

use std::collections::BTreeMap;

use longshore_common::id::TaskId;

use super::{Work, messages};
use crate::{
    event::{Event, ServiceEvent, TaskEvent},
    model::{name::CapacityProviderName, service_status::Move},
    placement::{AVAILABILITY_ZONE, HostSlot, SpreadOver, Strategy},
    state::{Revision, Standing, Task},
};

/// Over what a service is evened out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Zones,
    Hosts,
}

impl<'a> Work<'a> {
    /// Goes on with the move that is under way, ends it, or begins one.
    pub(super) fn rebalance(&mut self) {
        let service = self.service;
        let Some(primary) = service.primary() else { return };
        match service.moving {
            Some(moving) => self.continue_move(primary, moving),
            None if service.steady => {
                for over in self.evens_out() {
                    for provider in self.providers() {
                        if self.pass.events.is_empty() {
                            self.begin_move(primary, over, provider);
                        }
                    }
                }
            }
            None => {}
        }
    }

    /// How many tasks more than desired a move allows.
    pub(super) fn moving_allowance(&self) -> u32 {
        match self.service.moving {
            Some(moving) if self.may_continue(moving) => 1,
            Some(_) | None => 0,
        }
    }

    fn may_continue(&self, moving: Move) -> bool {
        let stands = |id: TaskId| self.state.task(id).and_then(Task::standing);
        let wanted = |id| stands(id).is_some_and(Standing::is_wanted);
        self.service.is_active()
            && self.service.under_way().is_none()
            && stands(moving.arriving) != Some(Standing::Unhealthy)
            && wanted(moving.arriving)
            && wanted(moving.leaving)
    }

    fn continue_move(&mut self, primary: &'a Revision, moving: Move) {
        let (service, at) = (self.service.id, self.at);
        if !self.may_continue(moving) {
            return self
                .pass
                .events
                .push(Event::Service(ServiceEvent::TaskMoved { service, moving: None }));
        }
        let arriving = self.state.task(moving.arriving);
        if arriving.and_then(Task::standing) != Some(Standing::Healthy) {
            return;
        }
        let leaving = self.state.task(moving.leaving).filter(|task| !self.is_protected(task));
        if let Some(leaving) = leaving {
            let mut tasks = vec![leaving.id];
            if !self.may_stop(&mut tasks) {
                return;
            }
            let message = messages::stopped(self.service, &tasks);
            let cause = messages::rebalanced(primary.record.id);
            self.pass.events.push(Event::Task(TaskEvent::TasksStopRequested {
                tasks,
                cause,
                failed: false,
                at,
            }));
            self.pass.events.push(Event::Service(ServiceEvent::ServiceLogged {
                service,
                message,
                at,
            }));
        }
        self.pass.events.push(Event::Service(ServiceEvent::TaskMoved { service, moving: None }));
    }

    /// A task moves among the hosts of its own capacity provider, which keeps the strategy's shares.
    fn providers(&self) -> Vec<Option<&'a CapacityProviderName>> {
        let strategy = &self.service.config.capacity;
        match strategy.is_empty() {
            true => vec![None],
            false => strategy.iter().map(|item| Some(&item.provider)).collect(),
        }
    }

    fn begin_move(
        &mut self,
        primary: &'a Revision,
        over: Over,
        provider: Option<&'a CapacityProviderName>,
    ) {
        let asked = self.asked_of(primary, provider);
        let cluster = self.state.cluster_at(self.service.cluster);
        let by_instance = [Strategy::Spread(SpreadOver::Instance)];
        let mut request = self.request(&asked, 1);
        if over == Over::Hosts {
            request.strategies = &by_instance;
        }
        let Some(&to) = cluster.index.place(&request).hosts.first() else { return };
        // Hosts are evened out within a zone, or the two would undo each other's moves.
        let zones_too = over == Over::Hosts && self.service.config.az_rebalancing;
        let zone = self.crowd_of(Over::Zones, to);
        let mut tasks = self.tasks_of(primary, &[Standing::Healthy], false);
        tasks.retain(|task| !zones_too || self.crowd_of(Over::Zones, task.host) == zone);
        let mut crowds: BTreeMap<String, Vec<&Task>> = BTreeMap::new();
        for task in tasks {
            crowds.entry(self.crowd_of(over, task.host)).or_default().push(task);
        }
        let here = crowds.get(&self.crowd_of(over, to)).map_or(0, Vec::len);
        // The fullest of those with a task that could go there, so that each move makes it more even.
        let may_leave =
            |task: &&Task| task.provider.as_ref() == provider && !self.is_protected(task);
        let fuller = crowds.values().filter(|tasks| tasks.len() >= here + 2);
        let fuller = fuller.filter(|tasks| tasks.iter().any(may_leave));
        let Some(crowd) = fuller.max_by_key(|tasks| tasks.len()) else { return };
        let movable = crowd.iter().copied().filter(may_leave).collect();
        let Some(leaving) = self.mirror_of_placement(movable, 1).first().map(|task| task.id) else {
            return;
        };
        if !self.may_launch() {
            return;
        }
        let counts: Vec<String> =
            crowds.iter().map(|(name, tasks)| format!("{} tasks in {name}", tasks.len())).collect();
        let (service, at) = (self.service.id, self.at);
        let message = messages::not_balanced(self.service, &counts.join(", "));
        self.pass.events.push(Event::Service(ServiceEvent::ServiceLogged { service, message, at }));
        self.start_on(primary, &asked, &[to]);
        let started = self.pass.events.iter().rev().find_map(|event| match event {
            Event::Task(TaskEvent::TasksStarted(started)) => {
                started.tasks.first().map(|placed| placed.task)
            }
            _ => None,
        });
        let moving = started.map(|arriving| Move { leaving, arriving });
        self.pass.events.push(Event::Service(ServiceEvent::TaskMoved { service, moving }));
    }

    /// ecs-behaviour 1.13: not with a maximum that leaves no room for another task, and only where
    /// tasks are spread over zones to begin with; over hosts by the service's own tag.
    fn evens_out(&self) -> Vec<Over> {
        let config = &self.service.config;
        let shown = self.service.running() + self.service.pending();
        // A move has one copy too many for a while, which a service that never runs twice rules out.
        let eligible = self.policy.replace
            && self.service.is_active()
            && !self.service.is_daemon()
            && !self.service.is_external()
            && config.deployment.running_ceiling(self.desired()) > shown;
        let over_zones = match config.strategies.first() {
            None => true,
            Some(Strategy::Spread(SpreadOver::Attribute(name))) => name == AVAILABILITY_ZONE,
            Some(
                Strategy::Spread(SpreadOver::Instance) | Strategy::Binpack(_) | Strategy::Random,
            ) => false,
        };
        let zones = (config.az_rebalancing && over_zones).then_some(Over::Zones);
        let hosts = self.policy.rebalance_hosts.then_some(Over::Hosts);
        zones.into_iter().chain(hosts).filter(|_| eligible).collect()
    }

    fn crowd_of(&self, over: Over, host: HostSlot) -> String {
        let host = self.state.host_at(host);
        match over {
            Over::Zones => {
                host.attribute(AVAILABILITY_ZONE).flatten().unwrap_or_default().to_owned()
            }
            Over::Hosts => host.id.to_string(),
        }
    }
}
