//! Daemons: one task on every host that the service belongs on, and never two (ecs-behaviour 1.9).

use super::{Work, launch::LAUNCHES_PER_PASS_MAX, messages};
use crate::{
    placement::Unplaced,
    state_machine::{
        record::Rollout,
        state::{Revision, Standing, Task},
    },
};

impl<'a> Work<'a> {
    /// How many hosts a daemon belongs on.
    pub(super) fn daemon_hosts(&self) -> u32 {
        let Some(primary) = self.service.primary() else { return 0 };
        let asked = self.asked(primary);
        let index = &self.state.cluster_at(self.service.cluster).index;
        index.daemon_hosts(&self.request(&asked, 1))
    }

    /// One task on every host; at most one, so an old one goes before a new one comes.
    pub(super) fn balance_daemon(&mut self, primary: &'a Revision) {
        let service = self.service;
        let desired = self.desired();
        let floor = service.config.deployment.healthy_floor(desired);
        let failed = primary.record.rollout == Rollout::Failed;
        let healthy: u32 = service.revisions.iter().map(|r| r.counts.of(Standing::Healthy)).sum();
        let mut spare = match service.is_active() {
            true => healthy.saturating_sub(floor),
            false => u32::MAX,
        };
        for old in service.revisions.iter().filter(|r| r.record.id != primary.record.id) {
            if failed && service.is_active() {
                continue;
            }
            let idle = [Standing::Pending, Standing::Unhealthy, Standing::Settling];
            let idle = self.tasks_of(old, &idle, false);
            self.stop_scaling(idle, usize::MAX);
            let running = self.tasks_of(old, &[Standing::Healthy], false);
            spare -= self.stop_scaling(running, spare as usize);
        }
        for revision in &service.revisions {
            self.leave_draining_hosts(revision);
            self.leave_unsuited_hosts(revision);
        }
        if !service.is_active() {
            let all = self.tasks_of(primary, &Standing::WANTED, false);
            self.stop_scaling(all, usize::MAX);
            return;
        }
        let sick = self.past_grace(primary);
        let count = sick.len();
        self.stop_sick(sick, count);
        if !failed {
            self.cover(primary);
        }
    }

    /// A daemon leaves a draining host last (ecs-behaviour 1.9).
    fn leave_draining_hosts(&mut self, revision: &'a Revision) {
        let state = self.state;
        let only_daemons = |task: &&Task| {
            let tasks = state.host_at(task.host).tasks.values();
            tasks.map(|slot| state.task_at(*slot)).all(|other| {
                other.service.as_ref().is_some_and(|of| state.service_at(of.service).is_daemon())
            })
        };
        let tasks: Vec<&Task> = self
            .tasks_of(revision, &Standing::WANTED, true)
            .into_iter()
            .filter(only_daemons)
            .collect();
        self.stop_scaling(tasks, usize::MAX);
    }

    /// A daemon leaves a host that no longer meets the placement constraints.
    fn leave_unsuited_hosts(&mut self, revision: &'a Revision) {
        let asked = self.asked(revision);
        let index = &self.state.cluster_at(self.service.cluster).index;
        let Some(keeping) = index.keeping(&self.request(&asked, 1).member_of) else { return };
        let mut tasks = self.tasks_of(revision, &Standing::WANTED, false);
        tasks.retain(|task| !keeping.has(task.host));
        self.stop_scaling(tasks, usize::MAX);
    }

    fn cover(&mut self, primary: &'a Revision) {
        let asked = self.asked(primary);
        let index = &self.state.cluster_at(self.service.cluster).index;
        let bare = index.uncovered(&self.request(&asked, 1), LAUNCHES_PER_PASS_MAX as usize);
        if bare.is_empty() || !self.may_launch() {
            return;
        }
        let fits = |slot: &_| index.check(*slot, &asked.demand, &asked.required);
        let mut hosts = Vec::new();
        let mut full = None;
        for slot in bare {
            match fits(&slot) {
                Ok(()) => hosts.push(slot),
                Err(unfit) => full = full.or(Some((slot, unfit))),
            }
        }
        self.start_on(primary, &asked, &hosts);
        if let Some(closest) = full {
            self.pass.waits_for_room = true;
            let unplaced =
                Unplaced { count: 1, hosts: 1, reasons: Vec::new(), closest: Some(closest) };
            self.say(messages::unplaced(self.state, self.service, &unplaced));
        }
    }

    pub(super) fn is_covered(&self, primary: &Revision) -> bool {
        let asked = self.asked(primary);
        let index = &self.state.cluster_at(self.service.cluster).index;
        index.uncovered(&self.request(&asked, 1), 1).is_empty()
    }
}
