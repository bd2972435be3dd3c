//! What events do to launches that wait for a host, and their rows.

use longshore_common::{clock::Timestamp, id::TaskId, task::StopCause};

use super::entity::Entity;
use crate::{
    checkpoint::entity::{EntityKey, kind},
    event::{TasksStarted, TasksWaiting, WaitingEvent},
    model::task::{Phase, TaskEnd, TaskRecord, Wish},
    state::{
        Cluster, ClusterSlot, Due, State, TaskSlot, WaitingSlot,
        changes::LogTo,
        waiting::{Deadline, Waiting},
    },
};

impl State {
    pub(super) fn apply_waiting(&mut self, event: &WaitingEvent, seq: u64) {
        match event {
            WaitingEvent::TasksWaiting(waiting) => self.tasks_waiting(waiting, seq),
            WaitingEvent::WaitingTasksEnded { launch, tasks, cause, at } => {
                self.waiting_tasks_ended(*launch, tasks, cause, *at);
            }
        }
    }

    pub fn waiting(&self, launch: TaskId) -> Option<&Waiting> {
        self.waiting_by_launch.get(&launch).map(|&slot| &self.waiting[slot])
    }

    /// The launch in a cluster that a task waits by.
    pub fn waiting_with(&self, cluster: &Cluster, task: TaskId) -> Option<&Waiting> {
        cluster.waiting_tasks.get(&task).map(|&slot| &self.waiting[slot])
    }

    /// Whether a launch may have had its hosts since, and its tasks may be over: the launch waited
    /// in a journal that was old when `recover` continued from that journal.
    pub fn may_have_run(&self, waiting: &Waiting) -> bool {
        self.is_unsure(waiting.launch.at, waiting.launch.asked_seq)
    }

    pub fn waiting_at(&self, slot: WaitingSlot) -> &Waiting {
        &self.waiting[slot]
    }

    /// What is overdue at `at`, the oldest first.
    pub fn overdue(&self, at: Timestamp) -> impl Iterator<Item = Deadline> + use<'_> {
        self.deadlines.iter().take_while(move |(when, _)| *when <= at).map(|(_, what)| *what)
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn tasks_waiting(&mut self, waiting: &TasksWaiting, seq: u64) {
        self.touch(EntityKey::Waiting(waiting.launch));
        let mut launch = TasksWaiting { asked_seq: seq, ..waiting.clone() };
        if let Some(token) = launch.client_token.take() {
            let own = launch.tasks.iter().map(|waiting| waiting.task);
            let tasks = token.others.iter().copied().chain(own).collect();
            self.client_token_used(&launch.cluster, &token, tasks, launch.at);
        }
        for task in &launch.tasks {
            self.log(
                LogTo::waiting(&launch.cluster, task.task),
                format_args!("task of {}:{} waits for a host", launch.family, launch.revision),
            );
        }
        self.insert_waiting(launch);
    }

    pub(super) fn insert_waiting(&mut self, launch: TasksWaiting) {
        let definition = self.definitions.slot(launch.family.as_str(), launch.revision);
        let cluster = self.cluster_slot(&launch.cluster);
        let (Some(definition), Some(cluster)) = (definition, cluster) else {
            let id = launch.launch;
            return self.missing(format_args!("the cluster or the definition of the launch {id}"));
        };
        if self.waiting_by_launch.contains_key(&launch.launch) || launch.tasks.is_empty() {
            return;
        }
        self.definitions.used(definition);
        let unsure = self.is_unsure(launch.at, launch.asked_seq);
        if let Some(until) = launch.until.filter(|_| !unsure) {
            self.deadlines.insert((until, Deadline::Wait(launch.launch)));
        }
        let (id, tasks, provider) = (launch.launch, launch.tasks.clone(), launch.provider.clone());
        let slot = self.waiting.insert(Waiting { cluster, definition, launch });
        self.waiting_by_launch.insert(id, slot);
        let waiting = &mut self.clusters[cluster].waiting_tasks;
        waiting.extend(tasks.iter().map(|waiting| (waiting.task, slot)));
        self.use_provider(cluster, provider.as_ref(), tasks.len() as i32);
        self.provider_is_wanted(provider.as_ref());
        self.is_due(Due::Waiting(slot));
    }

    /// The scheduler ends these, when hosts have had their time to say what they run.
    pub(super) fn unsure_launches_keep_no_deadline(&mut self) {
        let unsure = |what: &Deadline| match what {
            Deadline::Wait(launch) => self.waiting(*launch).is_some_and(|w| self.may_have_run(w)),
            Deadline::Run(_) | Deadline::Attachments(_) => false,
        };
        let unsure: Vec<_> =
            self.deadlines.iter().filter(|(_, what)| unsure(what)).copied().collect();
        for deadline in unsure {
            self.deadlines.remove(&deadline);
        }
    }

    /// A task that waits here runs on a host already.
    pub(super) fn adopted_from_waiting(&mut self, cluster: ClusterSlot, task: TaskId) {
        let Some(waiting) = self.waiting_with(&self.clusters[cluster], task) else { return };
        self.wait_no_longer(waiting.launch.launch, &[task]);
    }

    /// Ends the waiting of tasks of a launch that have a host now, and returns when they were first
    /// asked for.
    pub(super) fn waited(&mut self, launch: TaskId, started: &TasksStarted) -> Timestamp {
        let Some(&slot) = self.waiting_by_launch.get(&launch) else { return started.at };
        let (asked_at, cluster) = (self.waiting[slot].launch.at, self.waiting[slot].cluster);
        let placed: Vec<TaskId> = started.tasks.iter().map(|placed| placed.task).collect();
        self.wait_no_longer(launch, &placed);
        // There may be room for the next one too.
        self.wake_waiting(cluster, 1);
        asked_at
    }

    pub(super) fn waiting_tasks_ended(
        &mut self,
        launch: TaskId,
        tasks: &[TaskId],
        cause: &StopCause,
        at: Timestamp,
    ) {
        let Some(waiting) = self.waiting(launch) else { return };
        let definition = self.definition_at(waiting.definition);
        let containers = &definition.definition.spec.container_definitions;
        let ended = waiting.launch.tasks.iter().filter(|waiting| tasks.contains(&waiting.task));
        let records: Vec<TaskRecord> = ended
            .map(|one| TaskRecord {
                end: Some(TaskEnd {
                    at,
                    cause: cause.clone(),
                    containers: containers.clone(),
                    host_connected: false,
                }),
                // StopTask's documentation: the tags of a task go when it stops.
                tags: Default::default(),
                version: 2,
                ..waiting.record(one)
            })
            .collect();
        for mut record in records {
            record.attachments.give_up();
            let to = LogTo::waiting(&record.cluster, record.id);
            self.log(to, format_args!("task is STOPPED: {}", cause.reason));
            if !self.replaying {
                self.changes.stopped.push(record);
            }
        }
        self.wait_no_longer(launch, tasks);
    }

    fn wait_no_longer(&mut self, launch: TaskId, tasks: &[TaskId]) {
        let Some(&slot) = self.waiting_by_launch.get(&launch) else { return };
        self.touch(EntityKey::Waiting(launch));
        let waiting = &mut self.waiting[slot];
        let before = waiting.launch.tasks.len();
        waiting.launch.tasks.retain(|waiting| !tasks.contains(&waiting.task));
        let gone = before - waiting.launch.tasks.len();
        let provider = waiting.launch.provider.clone();
        let (cluster, is_empty) = (waiting.cluster, waiting.launch.tasks.is_empty());
        for task in tasks {
            self.clusters[cluster].waiting_tasks.remove(task);
        }
        self.use_provider(cluster, provider.as_ref(), -(gone as i32));
        self.provider_is_wanted(provider.as_ref());
        if is_empty {
            self.set_waiting(Due::Waiting(slot), false);
            self.forget_due_waiting(slot);
            self.waiting_by_launch.remove(&launch);
            let waiting = self.waiting.remove(slot);
            self.definitions.left(waiting.definition);
            if let Some(until) = waiting.launch.until {
                self.deadlines.remove(&(until, Deadline::Wait(launch)));
            }
        }
    }

    pub(super) fn task_timeout_set(&mut self, task: TaskId, timeout_ms: Option<u64>) {
        let Some(&slot) = self.tasks_by_id.get(&task) else { return };
        self.touch(EntityKey::Task(task));
        self.set_deadlines(slot, false);
        self.tasks[slot].timeout_ms = timeout_ms;
        self.set_deadlines(slot, true);
    }

    /// Sets or clears the time at which a task that is RUNNING has run for as long as it may.
    pub(super) fn set_run_deadline(&mut self, slot: TaskSlot, set: bool) {
        let task = &self.tasks[slot];
        let Some(at) = task.run_deadline() else { return };
        let deadline = (at, Deadline::Run(task.id));
        let runs = task.wish == Wish::Run && matches!(task.phase, Phase::Running { .. });
        match set && runs {
            true => self.deadlines.insert(deadline),
            false => self.deadlines.remove(&deadline),
        };
    }
}

impl Entity for kind::Waiting {
    fn keys(state: &State) -> Vec<TaskId> {
        state.waiting_by_launch.keys().copied().collect()
    }

    fn row(state: &State, launch: &TaskId) -> Option<TasksWaiting> {
        state.waiting(*launch).map(|waiting| waiting.launch.clone())
    }

    fn restore(state: &mut State, row: TasksWaiting) {
        state.insert_waiting(row);
    }
}
