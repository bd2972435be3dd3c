//! One poll from the state, and what an answer means: no I/O, so that tables can test it.

use std::{collections::BTreeMap, sync::Arc};

use longshore_common::{
    arn::Identity,
    id::{FleetId, TaskId},
    index::{FastMap, FastSet},
    limits::ORDERS_PER_POLL_MAX,
    protocol::{
        Desired, DesiredDigest, Manifest, Order, OrderKind, PROTOCOL_VERSION, PollRequest,
        ReportPosition, RunOrder, Seen,
    },
    task::StopCode,
    task_definition::{ContainerDefinition, TaskDefinition},
};
use longshore_core::{
    State,
    model::task::{TaskEnd, TaskRecord, Wish},
    state::{DefinitionSlot, Host, Task, fixes_digest},
};

#[cfg(test)]
mod tests;

/// Whose orders these are.
#[derive(Clone, Debug)]
pub struct Sender {
    pub fleet: FleetId,
    pub identity: Identity,
}

/// What a poll shows of a host: unchanged, there is no reason for a newer poll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostSnapshot {
    pub last_order: u64,
    pub digest: DesiredDigest,
    pub acknowledged: Option<ReportPosition>,
}

impl HostSnapshot {
    pub fn of(host: &Host) -> Self {
        HostSnapshot {
            last_order: host.last_order,
            digest: host.digest,
            acknowledged: host.reports_taken,
        }
    }
}

/// What the poller knows of the agent at the other end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer {
    /// The last order that its ledger holds, and whose; absent before its first answer.
    pub seen: Option<Seen>,
    pub needs_manifest: bool,
}

/// A poll without orders, to learn what the agent has seen.
pub fn hello(state: &State, host: &Host, sender: &Sender) -> PollRequest {
    PollRequest {
        protocol: PROTOCOL_VERSION,
        fleet: sender.fleet,
        host: host.id,
        epoch: state.epoch(),
        hold_ms: 0,
        acknowledged: host.reports_taken,
        definitions: Vec::new(),
        orders: Vec::new(),
        last_order: host.last_order,
        digest: host.digest,
        manifest: None,
        images: host.images_taken,
        sections: Vec::new(),
        knows_subscriptions: false,
    }
}

/// A poll with the orders that the agent does not have, or with the manifest it needs.
pub fn poll(state: &State, host: &Host, sender: &Sender, peer: Peer, hold_ms: u32) -> PollRequest {
    let mut request = PollRequest { hold_ms, ..hello(state, host, sender) };
    let mut definitions = DefinitionTable::default();
    let queued = match peer.needs_manifest {
        true => None,
        false => queued_orders(state, host, sender, peer, &mut definitions),
    };
    match queued {
        Some(orders) => request.orders = orders,
        None => {
            definitions = DefinitionTable::default();
            request.manifest = Some(manifest(state, host, sender, peer, &mut definitions));
        }
    }
    request.definitions = definitions.definitions;
    request
}

/// The orders after the last that the agent has; `None` when the queue does not reach back to it.
fn queued_orders(
    state: &State,
    host: &Host,
    sender: &Sender,
    peer: Peer,
    definitions: &mut DefinitionTable,
) -> Option<Vec<Order>> {
    let seen = peer.seen?.order;
    let oldest =
        host.queue.front().map_or(host.last_order.saturating_add(1), |queued| queued.order);
    if seen.saturating_add(1) < oldest {
        return None;
    }
    let missing = host.queue.iter().skip_while(|queued| queued.order <= seen);
    missing
        .take(ORDERS_PER_POLL_MAX)
        .map(|queued| {
            let kind = match &queued.stop {
                Some(cause) => OrderKind::Stop(cause.clone()),
                None => {
                    let task = state.task(queued.task).filter(|task| task.ordered().is_some());
                    run_order(state, task?, sender, definitions)
                }
            };
            let (seq, task, generation) = (queued.order, queued.task, queued.generation);
            Some(Order { seq, task, generation, kind })
        })
        .collect()
}

fn manifest(
    state: &State,
    host: &Host,
    sender: &Sender,
    peer: Peer,
    definitions: &mut DefinitionTable,
) -> Manifest {
    let mut orders = Vec::with_capacity(host.tasks.len());
    for &slot in host.tasks.values() {
        let task = state.task_at(slot);
        let Some(ordered) = task.ordered() else { continue };
        let order =
            |kind| Order { seq: host.last_order, task: task.id, generation: task.generation, kind };
        orders.push(order(run_order(state, task, sender, definitions)));
        if let (Desired::Stop, Wish::Stop { cause, .. }) = (ordered, &task.wish) {
            orders.push(order(OrderKind::Stop(cause.clone())));
        }
    }
    let given_before = given_before(state, host, peer);
    let seen_order = peer.seen.filter(|_| !given_before.is_empty()).map_or(0, |seen| seen.order);
    Manifest { orders, given_before, seen_order }
}

/// Tasks that the agent was ordered to run before: one that it does not hold has ended, and this
/// journal has lost that. Not those whose orders it has not seen, as far as the queue tells, or has
/// taken for those of a lost part of the journal.
fn given_before(state: &State, host: &Host, peer: Peer) -> Vec<TaskId> {
    let Some(seen) = peer.seen else { return Vec::new() };
    let obeys = seen.epoch == state.epoch();
    // Nothing that was placed since a start that the agent has not seen was given to it.
    let last = if obeys { state.start() } else { state.first_start_beside(seen.epoch) };
    let unseen_from = if obeys { u64::MAX } else { last.seq };
    let all_seen_before = match host.orders_at_starts.first_beyond(seen.order, last.counter) {
        Some(start) => state.start_before(start).seq,
        None => last.seq,
    };
    let oldest =
        host.queue.front().map_or(host.last_order.saturating_add(1), |queued| queued.order);
    let reaches_back = seen.order.saturating_add(1) >= oldest;
    let unseen =
        host.queue.iter().filter(|queued| queued.order > seen.order && queued.stop.is_none());
    let unseen: FastSet<TaskId> = unseen.map(|queued| queued.task).collect();
    let tasks = host.tasks.values().map(|&slot| state.task_at(slot));
    tasks
        .filter(|task| {
            let by_queue = reaches_back && !unseen.contains(&task.id);
            let seen = by_queue && task.placed_seq < unseen_from;
            let given = (seen || task.placed_seq < all_seen_before) && was_given(state, host, task);
            given && task.ordered().is_some()
        })
        .map(|task| task.id)
        .collect()
}

/// Whether the number of the task's order is below what an agent has seen because it has seen that
/// order, and no other of the same number.
fn was_given(state: &State, host: &Host, task: &Task) -> bool {
    let numbered_since_the_skip = match task.placed_seq {
        // Earlier releases did not tell.
        0 => !state.has_recovered(),
        placed => placed > host.skipped_seq,
    };
    numbered_since_the_skip || state.is_unsure(task.created_at, task.placed_seq)
}

/// Whether a task that a host runs has ended by what the history holds of it. One that found no host
/// was given up unseen: it had got one in a part of the journal that is lost.
pub fn has_ended(record: &TaskRecord) -> bool {
    let found_none = |end: &TaskEnd| end.cause.code == StopCode::TaskFailedToStart;
    record.host.is_some() || !record.end.as_ref().is_some_and(found_none)
}

fn run_order(
    state: &State,
    task: &Task,
    sender: &Sender,
    definitions: &mut DefinitionTable,
) -> OrderKind {
    let definition = &state.definition_at(task.definition).definition;
    let cluster = state.cluster_at(task.cluster).name.as_str();
    OrderKind::Run(Box::new(RunOrder {
        definition: definitions.index(task.definition, definition),
        cluster: cluster.to_owned(),
        task_arn: sender.identity.task(cluster, task.id),
        overrides: (*task.overrides).clone(),
        group: state.group_name(task.group).to_owned(),
        started_by: task.started_by.as_deref().map(str::to_owned),
        created_at: task.created_at,
        container_ids: task.containers.to_vec(),
        gpus: task.gpus.to_vec(),
        image_digests: image_digests(state, task, definition),
        log_driver_mode: task.log_driver_mode,
    }))
}

/// The images that a task is to have: those that it has said to have, else those of its revision.
fn image_digests(state: &State, task: &Task, definition: &TaskDefinition) -> Vec<Option<String>> {
    let revision = task
        .service
        .as_ref()
        .and_then(|of| state.service_at(of.service).revision(of.revision))
        .map(|revision| &revision.record.image_digests)
        .filter(|digests| !digests.is_empty());
    let Some(revision) = revision else { return Vec::new() };
    let reported = task.report.iter().flat_map(|report| &report.containers);
    let reported: BTreeMap<&str, &String> = reported
        .filter_map(|container| Some((container.name.as_str(), container.image_digest.as_ref()?)))
        .collect();
    let digest = |container: &ContainerDefinition| {
        let name = container.name.as_str();
        let known = reported.get(name).copied().or_else(|| revision.get(name));
        known.filter(|_| fixes_digest(container)).cloned()
    };
    definition.spec.container_definitions.iter().map(digest).collect()
}

/// Each definition once in a message, however many tasks have it.
#[derive(Default)]
struct DefinitionTable {
    definitions: Vec<Arc<TaskDefinition>>,
    indexes: FastMap<DefinitionSlot, u32>,
}

impl DefinitionTable {
    fn index(&mut self, slot: DefinitionSlot, definition: &Arc<TaskDefinition>) -> u32 {
        let definitions = &mut self.definitions;
        *self.indexes.entry(slot).or_insert_with(|| {
            definitions.push(definition.clone());
            definitions.len() as u32 - 1
        })
    }
}
