//! Daemons: one task on every host that the service belongs on, and never two (ecs-behaviour 1.9).

use super::{Work, fate::Fate, launch::LAUNCHES_PER_PASS_MAX, messages};
use crate::{
    placement::{HostSlot, Unplaced},
    state::{Revision, Standing},
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
        let (members, launcher) = self.cast(primary);
        let floor = self.service.config.deployment.healthy_floor(self.desired());
        let healthy: u32 = members.iter().map(|(r, _)| r.counts.staying(Standing::Healthy)).sum();
        let mut spare = healthy.saturating_sub(floor);
        for (revision, role) in &members {
            self.stop_at_once(revision, *role);
            let going = self.of_fate(revision, *role, Fate::ReplaceFirst);
            spare -= self.stop_up_to(revision.record.id, going, spare);
            let mut last = self.of_fate(revision, *role, Fate::StopLast);
            last.retain(|task| self.has_only_daemons(task.host));
            self.stop_up_to(revision.record.id, last, u32::MAX);
        }
        if self.pass.events.is_empty() {
            members.iter().for_each(|(revision, _)| self.leave_unsuited_hosts(revision));
        }
        if let Some(launcher) = launcher {
            self.cover(launcher);
        }
    }

    fn has_only_daemons(&self, host: HostSlot) -> bool {
        self.state.host_at(host).own_tasks == 0
    }

    /// A daemon leaves a host that no longer meets the placement constraints.
    fn leave_unsuited_hosts(&mut self, revision: &'a Revision) {
        let asked = self.asked(revision);
        let index = &self.state.cluster_at(self.service.cluster).index;
        let Some(keeping) = index.keeping(&self.request(&asked, 1).member_of) else { return };
        let mut tasks = self.tasks_of(revision, &Standing::WANTED, false);
        tasks.retain(|task| !keeping.has(task.host));
        self.stop_up_to(revision.record.id, tasks, u32::MAX);
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
