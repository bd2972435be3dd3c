//! Which tasks go when some must: the mirror of where tasks are placed (ecs-behaviour 1.9).

use std::collections::{BTreeMap, BTreeSet};

use longshore_common::{clock::Timestamp, id::TaskId};

use super::Work;
use crate::{
    model::service::Reconcile,
    placement::{AVAILABILITY_ZONE, HostSlot, SpreadOver, Strategy},
    state::{Revision, Standing, Task},
};

impl<'a> Work<'a> {
    /// Tasks of a revision that stand so, on hosts that drain or on the others, in the order of
    /// their ids.
    pub(super) fn tasks_of(
        &self,
        revision: &'a Revision,
        standings: &[Standing],
        draining: bool,
    ) -> Vec<&'a Task> {
        let counts = &revision.counts;
        let stand = |standing: &Standing| match draining {
            true => counts.draining(*standing),
            false => counts.of(*standing) - counts.draining(*standing),
        };
        if standings.iter().map(stand).sum::<u32>() == 0 {
            return Vec::new();
        }
        let state = self.state;
        let stands = |task: &&Task| task.standing().is_some_and(|s| standings.contains(&s));
        let tasks = revision.tasks.values().map(|slot| state.task_at(*slot)).filter(stands);
        tasks.filter(|task| self.is_draining(task) == draining).collect()
    }

    pub(super) fn is_draining(&self, task: &Task) -> bool {
        let status = self.state.host_at(task.host).status;
        status == crate::model::host::HostStatus::Draining
    }

    pub(super) fn is_protected(&self, task: &Task) -> bool {
        task.service.as_ref().is_some_and(|of| of.is_protected(self.at))
    }

    /// `count` of these tasks: first what came back from a lost host or took its place, as the
    /// service's policy says; then from the zone with the most tasks of the service, there from
    /// the host with the most, there the youngest.
    pub(super) fn mirror_of_placement(
        &self,
        candidates: Vec<&'a Task>,
        count: usize,
    ) -> Vec<&'a Task> {
        self.mirror_beside(&[], candidates, count)
    }

    /// Chooses as [`Self::mirror_of_placement`] does, while `going` end too: what is left beside
    /// both is even.
    pub(super) fn mirror_beside(
        &self,
        going: &[&'a Task],
        candidates: Vec<&'a Task>,
        count: usize,
    ) -> Vec<&'a Task> {
        if count == 0 {
            return Vec::new();
        }
        if candidates.len() <= count {
            return candidates;
        }
        let mut chosen = self.losers(&candidates, count);
        let rest = candidates.into_iter().filter(|task| !chosen.iter().any(|c| c.id == task.id));
        let rest: Vec<&Task> = rest.collect();
        let gone: BTreeSet<TaskId> = going.iter().chain(&chosen).map(|task| task.id).collect();
        let mut crowd = Crowd::of(self, &rest, &gone);
        while chosen.len() < count
            && let Some(task) = crowd.take()
        {
            chosen.push(task);
        }
        chosen
    }

    /// Chooses which of the copies end that are too many after a lost host came back.
    fn losers(&self, candidates: &[&'a Task], count: usize) -> Vec<&'a Task> {
        let returned = |task: &&Task| task.service.as_ref().is_some_and(|of| of.returned);
        let back: Vec<&Task> = candidates.iter().copied().filter(returned).collect();
        if back.is_empty() {
            return Vec::new();
        }
        let mut losers: Vec<&Task> = match self.policy.reconcile {
            Reconcile::KeepReplacement => back,
            Reconcile::KeepOriginal | Reconcile::LongestRunning => candidates.to_vec(),
        };
        // A replacement is younger than what it replaced, also one that was lost itself.
        losers.sort_by_key(|task| {
            let age = match self.policy.reconcile {
                Reconcile::KeepOriginal => task.created_at,
                Reconcile::KeepReplacement | Reconcile::LongestRunning => age_of(task),
            };
            std::cmp::Reverse((age, task.id))
        });
        losers.truncate(count);
        losers
    }
}

/// The younger the greater.
fn age_of(task: &Task) -> Timestamp {
    task.phase.started_at().unwrap_or(task.created_at)
}

/// Tasks by zone and host, with how many tasks of the service each has.
struct Crowd<'a> {
    zones: BTreeMap<Option<String>, Zone<'a>>,
}

#[derive(Default)]
struct Zone<'a> {
    tasks: usize,
    /// Tasks of each host, by (number of the service's tasks there, host): the last host is the
    /// fullest.
    hosts: BTreeMap<(usize, HostSlot), Vec<&'a Task>>,
}

impl<'a> Crowd<'a> {
    fn of(work: &Work<'a>, candidates: &[&'a Task], gone: &BTreeSet<TaskId>) -> Self {
        let zone_attribute =
            work.service.config.strategies.first().map_or(Some(AVAILABILITY_ZONE), |first| {
                match first {
                    Strategy::Spread(SpreadOver::Attribute(name)) => Some(name.as_str()),
                    Strategy::Spread(SpreadOver::Instance)
                    | Strategy::Binpack(_)
                    | Strategy::Random => None,
                }
            });
        let mut counts: BTreeMap<HostSlot, usize> = BTreeMap::new();
        for revision in &work.service.revisions {
            for task in revision.tasks.values().map(|slot| work.state.task_at(*slot)) {
                let wanted = task.standing().is_some_and(Standing::is_wanted);
                if wanted && !gone.contains(&task.id) {
                    *counts.entry(task.host).or_default() += 1;
                }
            }
        }
        let zone_of = |host: HostSlot| {
            let name = zone_attribute?;
            work.state.host_at(host).attribute(name).flatten().map(str::to_owned)
        };
        let mut zones: BTreeMap<Option<String>, Zone<'a>> = BTreeMap::new();
        for (host, count) in &counts {
            zones.entry(zone_of(*host)).or_default().tasks += count;
        }
        let mut by_host: BTreeMap<HostSlot, Vec<&'a Task>> = BTreeMap::new();
        for task in candidates {
            by_host.entry(task.host).or_default().push(task);
        }
        for (host, mut tasks) in by_host {
            // The youngest is the last, which is taken first.
            tasks.sort_by_key(|task| (age_of(task), task.id));
            let count = counts.get(&host).copied().unwrap_or(tasks.len());
            zones.entry(zone_of(host)).or_default().hosts.insert((count, host), tasks);
        }
        zones.retain(|_, zone| !zone.hosts.is_empty());
        Crowd { zones }
    }

    fn take(&mut self) -> Option<&'a Task> {
        let fullest =
            self.zones.iter().max_by_key(|(_, zone)| zone.tasks).map(|(n, _)| n.clone())?;
        let zone = self.zones.get_mut(&fullest)?;
        let ((count, host), mut tasks) = zone.hosts.pop_last()?;
        let taken = tasks.pop();
        zone.tasks = zone.tasks.saturating_sub(1);
        if !tasks.is_empty() {
            zone.hosts.insert((count.saturating_sub(1), host), tasks);
        }
        if zone.hosts.is_empty() {
            self.zones.remove(&fullest);
        }
        taken
    }
}
