//! A journal in memory, for tests and simulations: what it holds survives a simulated crash.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use longshore_common::id::TaskId;
use longshore_core::{
    State,
    batch::{Batch, HistoryItems},
    memory::KeptState,
    model::{
        deployment::DeploymentRecord,
        revision::RevisionRecord,
        service::{DeploymentId, RevisionId, ServiceId},
        task::TaskRecord,
    },
};

use super::{
    Checkpoint, DeploymentEntry, DeploymentFilter, History, Journal, JournalError,
    SERVICE_EVENTS_MAX, ServiceEvent, StoppedEntry, StoppedFilter,
};

/// The "disk": shared by every journal that is opened on it.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    state: KeptState,
    stopped: BTreeMap<u64, TaskRecord>,
    numbers: BTreeMap<TaskId, u64>,
    deployments: Vec<(ServiceId, DeploymentRecord)>,
    revisions: Vec<(ServiceId, RevisionRecord)>,
    /// Events of services, each with the sequence of its batch.
    service_events: Vec<(ServiceId, u64, ServiceEvent)>,
}

pub struct MemoryJournal {
    disk: MemoryDisk,
}

impl MemoryDisk {
    pub fn journal(&self) -> MemoryJournal {
        MemoryJournal { disk: self.clone() }
    }

    /// The state that a coordinator starts with on this disk.
    pub fn recover(&self) -> State {
        self.with(|contents| contents.state.recover())
    }

    fn with<T>(&self, f: impl FnOnce(&mut Contents) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Contents {
    fn keep(&mut self, history: &HistoryItems, seq: u64) {
        for (service, deployment) in &history.deployments {
            let known = self.deployments.iter_mut().find(|(_, known)| known.id == deployment.id);
            match known {
                Some((_, known)) => known.clone_from(deployment),
                None => self.deployments.push((*service, deployment.clone())),
            }
        }
        self.revisions.extend(history.revisions.iter().cloned());
        for (service, message, at) in &history.service_events {
            let number = self.service_events.last().map_or(1, |(.., last)| last.number + 1);
            let event = ServiceEvent { number, message: message.clone(), at: *at };
            self.service_events.push((*service, seq, event));
            let of_service = self.service_events.iter().filter(|(of, ..)| of == service);
            if of_service.count() as u64 > SERVICE_EVENTS_MAX
                && let Some(oldest) = self.service_events.iter().position(|(of, ..)| of == service)
            {
                self.service_events.remove(oldest);
            }
        }
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, batches: &[Batch]) -> Result<(), JournalError> {
        self.disk.with(|contents| {
            for batch in batches {
                contents.state.append(batch);
                contents.keep(&batch.history, batch.seq);
                for task in &batch.history.stopped {
                    let number = contents.stopped.last_key_value().map_or(1, |(last, _)| last + 1);
                    contents.stopped.insert(number, task.clone());
                    contents.numbers.insert(task.id, number);
                }
            }
        });
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), JournalError> {
        self.disk.with(|contents| {
            contents.state.checkpoint(checkpoint.seq, checkpoint.rows);
        });
        Ok(())
    }

    fn history(&self) -> Box<dyn History> {
        Box::new(self.disk.clone())
    }
}

impl History for MemoryDisk {
    fn tasks(&self, ids: &[TaskId]) -> Result<Vec<TaskRecord>, JournalError> {
        Ok(self.with(|contents| {
            let known = ids.iter().filter_map(|id| contents.numbers.get(id));
            known.filter_map(|number| contents.stopped.get(number)).cloned().collect()
        }))
    }

    fn list(&self, filter: &StoppedFilter) -> Result<Vec<StoppedEntry>, JournalError> {
        let before = filter.before.map_or(u64::MAX, |entry| entry.number);
        let fits = |task: &TaskRecord| {
            task.cluster.as_str() == filter.cluster
                && filter.host.is_none_or(|host| task.host == Some(host))
                && filter.family.as_deref().is_none_or(|f| task.family.as_str() == f)
                && filter.group.as_deref().is_none_or(|g| task.group == g)
                && filter
                    .started_by
                    .as_deref()
                    .is_none_or(|s| task.started_by.as_deref() == Some(s))
        };
        Ok(self.with(|contents| {
            let newest_first = contents.stopped.range(..before).rev();
            let entries = newest_first.filter(|(_, task)| fits(task));
            let entry =
                |(&number, task): (&u64, &TaskRecord)| StoppedEntry { number, task: task.id };
            entries.map(entry).take(filter.limit).collect()
        }))
    }

    fn service_events(
        &self,
        service: ServiceId,
        until: u64,
        limit: usize,
    ) -> Result<Vec<ServiceEvent>, JournalError> {
        Ok(self.with(|contents| {
            let newest_first = contents.service_events.iter().rev();
            let said = newest_first.filter(|(of, seq, _)| *of == service && *seq <= until);
            said.map(|(.., event)| event.clone()).take(limit).collect()
        }))
    }

    fn deployments(&self, filter: &DeploymentFilter) -> Result<Vec<DeploymentEntry>, JournalError> {
        Ok(self.with(|contents| {
            let numbered = (1u64..).zip(&contents.deployments).map(|(n, entry)| (entry, n));
            let numbered = numbered.collect::<Vec<_>>().into_iter().rev();
            let fits = |(service, deployment): &(ServiceId, DeploymentRecord), number: u64| {
                *service == filter.service
                    && filter.created_after.is_none_or(|after| deployment.created_at > after)
                    && filter.created_before.is_none_or(|before| deployment.created_at < before)
                    && filter.before.is_none_or(|before| number < before)
            };
            let entries = numbered.filter(|(entry, number)| fits(entry, *number));
            let entry = |((_, deployment), number): (&(ServiceId, DeploymentRecord), u64)| {
                DeploymentEntry { number, deployment: deployment.clone() }
            };
            entries.map(entry).take(filter.limit).collect()
        }))
    }

    fn deployments_by_id(
        &self,
        ids: &[DeploymentId],
    ) -> Result<Vec<(ServiceId, DeploymentRecord)>, JournalError> {
        Ok(self.with(|contents| {
            let known = contents.deployments.iter().filter(|(_, known)| ids.contains(&known.id));
            known.cloned().collect()
        }))
    }

    fn revisions(
        &self,
        ids: &[RevisionId],
    ) -> Result<Vec<(ServiceId, RevisionRecord)>, JournalError> {
        Ok(self.with(|contents| {
            let known = contents.revisions.iter().filter(|(_, known)| ids.contains(&known.id));
            known.cloned().collect()
        }))
    }
}
