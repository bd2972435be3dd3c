//! Marks what changes for the next checkpoint, and encodes it; the log lines of a batch.
//!
//! An entity that is about to change while a checkpoint is captured is encoded first as it was.

use std::fmt;

use longshore_common::{clock::Timestamp, id::HostId};

use crate::{
    checkpoint::{entity::EntityKey, record},
    event::{CapacityProviderEvent, ClusterEvent, Event, HostEvent, ServiceEvent},
    model::{name::ClusterName, service::ServiceId},
    state::{
        Forgettable, LogLine, Service, State,
        changes::LogTo,
        dirty::{Capture, Row},
    },
};

impl State {
    /// Must be called before an entity changes, appears or goes.
    pub(super) fn touch(&mut self, key: EntityKey) {
        self.note_change(&key);
        let must_capture =
            self.dirty.capture.as_mut().is_some_and(|capture| capture.pending.remove(&key));
        if must_capture {
            let row = self.row(&key);
            let capture = self.dirty.capture.as_mut().expect("checked above");
            capture.rows.push(row);
        }
        self.dirty.changed.insert(key);
    }

    /// How many entities the next checkpoint would write.
    pub fn changed_len(&self) -> usize {
        self.dirty.changed.len()
    }

    /// Fixes the moment of a checkpoint: the state as it is now, at [`State::seq`].
    pub fn begin_capture(&mut self) {
        assert!(self.dirty.capture.is_none(), "one checkpoint at a time");
        let pending = std::mem::take(&mut self.dirty.changed);
        let queue = pending.iter().cloned().collect();
        let rows = Vec::with_capacity(pending.len());
        self.dirty.capture = Some(Capture { pending, queue, rows });
    }

    /// Encodes up to `count` entities; the rows of the whole checkpoint once all are encoded.
    pub fn capture_slice(&mut self, count: usize) -> Option<Vec<Row>> {
        let mut capture = self.dirty.capture.take().expect("a capture was begun");
        let rest = capture.queue.len().saturating_sub(count);
        for key in capture.queue.split_off(rest) {
            if capture.pending.remove(&key) {
                capture.rows.push(self.row(&key));
            }
        }
        if capture.queue.is_empty() {
            return Some(capture.rows);
        }
        self.dirty.capture = Some(capture);
        None
    }

    fn row(&self, key: &EntityKey) -> Row {
        let value = self.record_of(key).map(|record| record::encode(&record));
        Row { kind: key.kind(), key: key.id(), value }
    }

    /// A row for each entity that there is.
    pub fn all_rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.all_keys().iter().map(|key| self.row(key)).collect();
        rows.sort_by(|one, other| (one.kind, &one.key).cmp(&(other.kind, &other.key)));
        rows
    }

    /// Ends a recovery at `seq`. Orders are not resent from before: a manifest tells the hosts.
    pub fn recovered_at(&mut self, seq: u64) {
        self.seq = seq;
        self.replaying = false;
        for id in self.hosts_by_id.values().copied().collect::<Vec<_>>() {
            self.hosts[id].queue.clear();
        }
        self.all_are_due();
        self.tally_all();
    }

    /// An event or a row names what is not there: it changes nothing, and the log says so, of a
    /// start too. Nothing decides such an event.
    pub(super) fn missing(&mut self, what: impl fmt::Display) {
        let LogTo { cluster, host, task, service } = LogTo::nothing();
        let what = format!("the journal names {what}, which is not in the state; it is left out");
        self.changes.log.push(LogLine { cluster, host, task, service, what });
    }

    pub(super) fn log(&mut self, to: LogTo, what: impl fmt::Display) {
        if self.replaying {
            return;
        }
        let LogTo { cluster, host, task, service } = to;
        self.changes.log.push(LogLine { cluster, host, task, service, what: what.to_string() });
    }

    /// Forgets deleted things that nobody needs to see any more: what a host or a service runs goes
    /// before it, and what a cluster holds before the cluster.
    pub(crate) fn forgettable(&self, before: Timestamp) -> impl Iterator<Item = Event> {
        let due = self.inactive.iter().take_while(move |(since, _)| *since < before);
        due.filter_map(|(_, what)| match what {
            Forgettable::Host(host) => (!self.host_has_tasks(*host))
                .then_some(Event::Host(HostEvent::HostForgotten { host: *host })),
            Forgettable::Service(service) => (!self.service_has_tasks(*service))
                .then_some(Event::Service(ServiceEvent::ServiceForgotten { service: *service })),
            Forgettable::Cluster(name) => (!self.cluster_is_referred_to(name))
                .then(|| Event::Cluster(ClusterEvent::ClusterForgotten { name: name.clone() })),
            Forgettable::CapacityProvider(name) => {
                Some(Event::CapacityProvider(CapacityProviderEvent::CapacityProviderForgotten {
                    name: name.clone(),
                }))
            }
        })
    }
}

impl State {
    fn host_has_tasks(&self, host: HostId) -> bool {
        self.host(host).is_some_and(|host| !host.tasks.is_empty())
    }

    fn service_has_tasks(&self, service: ServiceId) -> bool {
        self.service(service).is_some_and(Service::has_tasks)
    }

    /// An ACTIVE cluster, and one that hosts, tasks or services are in.
    pub(super) fn cluster_is_referred_to(&self, name: &ClusterName) -> bool {
        self.cluster(name.as_str()).is_some_and(|cluster| {
            cluster.is_active()
                || !cluster.tasks.is_empty()
                || !cluster.waiting_tasks.is_empty()
                || !cluster.hosts.is_empty()
                || !cluster.services.is_empty()
                || !cluster.inactive_services.is_empty()
        })
    }
}
