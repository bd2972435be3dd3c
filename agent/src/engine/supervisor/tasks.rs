//! The tasks of this host in memory: where they come from, and what is concluded after each change.
//!
//! Owns [`Engine::advance`], through which every change goes: settle, tell, plan. Never: a call to
//! the container engine, or an answer to a poll.

use std::{collections::BTreeMap, sync::Arc};

use longshore_common::{
    id::HostId,
    protocol::{ReportBody, ReportedPhase},
    task::{StopCause, StopCode},
};
use tracing::{debug, info, warn};

use super::{
    state::Engine,
    task::{Logged, Task, TaskLeftovers, WatchedProcess},
    timer::Timer,
};
use crate::{
    engine::{
        plan::{Step, next_step, refusal::refusal},
        report::{phase_name, task_report},
    },
    runtime::{ContainerRuntime, ContainerSummary, ProcessEnd, RunState},
    settings::PullPolicy,
    task::{
        desired::{DesiredTask, Role},
        intent::Intent,
        key::TaskKey,
        labels,
        observed::{
            Activity, ContainerStage, ContainerState, MainProcess, ObservedTask, record::TaskRecord,
        },
        order,
    },
};

impl<R: ContainerRuntime> Engine<R> {
    /// Takes an order to run. Containers that were found before it came are adopted.
    pub(super) fn run_ordered(&mut self, intent: Arc<Intent>) {
        let key = intent.key;
        let desired = DesiredTask::of(intent, &self.rules);
        let pull = self.rules.pull;
        info!(
            host = %self.config.host, cluster = desired.cluster, task = %key.task,
            definition = %format_args!("{}:{}", desired.family, desired.revision),
            "task ordered to run",
        );
        let found = self.tasks.remove(&key);
        let mut observed = match &found {
            Some(found) => adopted(found, &desired, pull),
            None if self.synced => ObservedTask::new(&desired, pull),
            None => ObservedTask::default().unseen(&desired, pull),
        };
        if pull == PullPolicy::Once {
            observed.reuse(&desired, |image| self.images.was_pulled(image));
        }
        let was_found = found.is_some();
        if !was_found {
            self.disk_pressure.request_reading();
        }
        self.insert(desired, observed);
        if was_found && self.synced {
            self.inspect_again(key);
        }
        if let Some(task) = self.tasks.get_mut(&key) {
            task.unrecorded = was_found || !self.synced;
        }
        if self.synced {
            self.refuse_what_never_ran(key, !was_found);
        }
    }

    /// A task of which there is no container may still be refused: by the policy, and, when its order
    /// `is_new`, for want of room. Not before the containers were listed: it may run.
    fn refuse_what_never_ran(&mut self, key: TaskKey, is_new: bool) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        let Some(intent) = &task.desired.intent else { return };
        if task.observed.containers.iter().any(|c| c.id().is_some() || c.ever_ran()) {
            return;
        }
        let by_policy = refusal(intent, &self.rules)
            .map(|reason| StopCause { code: StopCode::TaskFailedToStart, reason });
        let for_room = self.disk_pressure.refusal().filter(|_| is_new);
        let own_stop = &mut task.observed.own_stop;
        *own_stop = own_stop.take().or(by_policy).or(for_room);
    }

    /// Takes a task from the ledger, to be compared with the container engine. Nothing is launched
    /// for it before a coordinator has shown that it wants the same ([`Self::confirm`]): the file
    /// may be an older copy, from before the task ended.
    pub(super) fn known_by_ledger(&mut self, intent: Arc<Intent>, record: TaskRecord) {
        let desired = DesiredTask { confirmed: false, ..DesiredTask::of(intent, &self.rules) };
        let key = desired.key;
        let known = ObservedTask::from(record);
        let mut observed = known.clone().unseen(&desired, self.rules.pull);
        if self.rules.pull == PullPolicy::Once {
            observed.reuse(&desired, |image| self.images.was_pulled(image));
        }
        self.insert(desired, observed);
        if let Some(task) = self.tasks.get_mut(&key) {
            // Not before an order to stop it was found, by which its phase is told.
            task.logged = Logged::of(&task.desired, &known);
        }
    }

    /// The coordinator wants what the ledger holds: all of it may be launched.
    pub(super) fn confirm(&mut self) {
        let waiting = self.tasks.iter_mut().filter(|(_, task)| task.counts());
        let confirmed: Vec<TaskKey> = waiting
            .filter_map(|(key, task)| {
                (!std::mem::replace(&mut task.desired.confirmed, true)).then_some(*key)
            })
            .collect();
        if confirmed.is_empty() {
            return;
        }
        info!(
            host = %self.config.host, tasks = confirmed.len(),
            "the coordinator confirms what the ledger holds",
        );
        for key in confirmed {
            self.advance(key);
        }
    }

    fn insert(&mut self, mut desired: DesiredTask, observed: ObservedTask) {
        let key = desired.key;
        desired.stop = self.stops_of_unknown.remove(&key);
        self.tasks_made += 1;
        self.tasks.insert(key, Task::new(self.tasks_made, desired, observed));
        self.mark_superseded();
        self.index_containers(key);
        self.publish(key);
    }

    pub(super) fn stop_ordered(&mut self, key: TaskKey, cause: StopCause) {
        let Some(task) = self.tasks.get_mut(&key) else {
            debug!(host = %self.config.host, task = %key.task, "ordered to stop, but unknown here");
            if self.synced {
                self.unwritten.forgotten.push(key);
            } else {
                self.stops_of_unknown.insert(key, cause);
            }
            return;
        };
        if task.observed.acknowledged || task.desired.stop.is_some() {
            return;
        }
        info!(
            host = %self.config.host, cluster = task.desired.cluster, task = %key.task,
            reason = cause.reason, "task ordered to stop",
        );
        task.desired.stop = Some(cause);
    }

    /// Older generations of a task stop before the newest one starts.
    fn mark_superseded(&mut self) {
        let mut newer: Option<TaskKey> = None;
        for (key, task) in self.tasks.iter_mut().rev() {
            if newer.is_some_and(|newer| newer.task == key.task) {
                task.superseded = true;
                task.desired.stop.get_or_insert_with(|| StopCause {
                    code: StopCode::TerminationNotice,
                    reason: "The task was ordered anew".to_owned(),
                });
                self.outbox.withdraw(*key);
            } else if task.desired.intent.is_some() {
                newer = Some(*key);
            }
        }
    }

    fn waits_for_older(&self, key: TaskKey) -> bool {
        let first = TaskKey { generation: 0, ..key };
        self.tasks.range(first..key).any(|(_, older)| !older.observed.has_stopped())
    }

    fn index_containers(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.get(&key) else { return };
        for (index, container) in task.observed.containers.iter().enumerate() {
            // What was found by its labels may have stood elsewhere in its task than it does now.
            if let Some(id) = container.id()
                && self.by_container.get(id) != Some(&(key, index))
            {
                self.by_container.insert(id.to_owned(), (key, index));
            }
        }
    }

    /// After every change of a task: conclude, tell, and take the next steps.
    pub(super) fn advance(&mut self, key: TaskKey) {
        let now = self.now();
        let Some(task) = self.tasks.get_mut(&key) else { return };
        let had_stopped = task.observed.has_stopped();
        if task.unrecorded && task.observed.is_seen() {
            task.unrecorded = false;
            task.observed.gone_after_they_ran(&task.desired, now);
        }
        task.observed.settle(&task.desired, now);
        // What runs has not ended, so the rest of it may follow.
        task.desired.confirmed |= task.observed.runs();
        let just_stopped = !had_stopped && task.observed.has_stopped();
        self.leave_pulls(key);
        self.index_containers(key);
        self.publish(key);
        self.tell(key);
        self.note_inspections(key);
        self.watch_processes(key);
        self.complete_metadata_files(key);
        self.set_deadline(key);
        self.set_cleanup(key);
        if just_stopped {
            self.advance_newer(key);
        }
        if !self.forget_if_clean(key) && self.synced {
            self.plan(key);
        }
    }

    fn plan(&mut self, key: TaskKey) {
        let now = self.now();
        let blocked = self.waits_for_older(key);
        let mut steps = Vec::new();
        if let Some(task) = self.tasks.get(&key) {
            let (desired, observed) = (&task.desired, &task.observed);
            if blocked && observed.stop_cause(desired).is_none() {
                return;
            }
            // What is there is looked at before it is concluded what is not.
            let only_looks = task.unrecorded;
            steps.extend((0..desired.containers.len()).filter_map(|index| {
                let due = task.cleanup_due;
                let step = next_step(desired, observed, index, &self.rules, due, now)?;
                let looks = matches!(step, Step::Inspect { .. });
                (looks || !only_looks).then_some((index, step))
            }));
        }
        for (index, step) in steps {
            self.take(key, index, step);
        }
    }

    fn advance_newer(&mut self, key: TaskKey) {
        let newest = TaskKey { generation: u32::MAX, ..key };
        let newer: Vec<TaskKey> =
            self.tasks.range(key..=newest).map(|(k, _)| *k).filter(|k| *k != key).collect();
        for key in newer {
            self.advance(key);
        }
    }

    /// Logs and reports what changed.
    pub(super) fn tell(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        log_changes(task, self.config.host);
        if !task.is_reported() {
            return;
        }
        let report = task_report(&task.desired, &task.observed);
        let quiet = match report.phase {
            ReportedPhase::Pending => true,
            // The start itself is not worth a message: what follows comes in a moment, unless
            // containers wait for each other.
            ReportedPhase::Activating => {
                let pause = task.desired.pause();
                let mut waits = task.desired.containers.iter().flat_map(|c| &c.depends_on);
                report.pull_started_at.is_none() && waits.all(|one| Some(one.on) == pause)
            }
            ReportedPhase::Running | ReportedPhase::Stopping(_) | ReportedPhase::Stopped(_) => {
                false
            }
        };
        if quiet || task.reported.as_ref() == Some(&report) {
            return;
        }
        task.reported = Some(report.clone());
        self.unwritten.observations.insert(key, TaskRecord::from(&task.observed));
        self.outbox.push(key, ReportBody::Task(Box::new(report)));
    }

    /// The coordinator holds the end of these tasks.
    pub(super) fn acknowledged(&mut self, ended: Vec<TaskKey>) {
        for key in ended {
            if let Some(task) = self.tasks.get_mut(&key) {
                task.observed.acknowledged = true;
                self.unwritten.observations.insert(key, TaskRecord::from(&task.observed));
                self.advance(key);
            }
        }
    }

    /// Says of every task once more how it is, also of those that no manifest named.
    pub(super) fn report_all_anew(&mut self) {
        let keys: Vec<TaskKey> = self.tasks.keys().copied().collect();
        for key in keys {
            let Some(task) = self.tasks.get_mut(&key) else { continue };
            task.report_anew();
            match task.candidate && !task.observed.has_stopped() && task.desired.stop.is_none() {
                true => self.outbox.push(key, task.stop_candidate()),
                false => self.tell(key),
            }
        }
    }

    /// Waits for the process of every container: the kernel tells what killed it. An essential
    /// container's end stops the task, which is worth knowing at once. Not where a restart policy asks
    /// how it ended first, and not where the end of a pause container may be why: that one's is seen
    /// then. Costs an inspect unless one has shown the process: that waits while containers are being
    /// started.
    fn watch_processes(&mut self, key: TaskKey) {
        let launching = self.lanes.is_launching();
        let Some(task) = self.tasks.get_mut(&key) else { return };
        let paused = task.desired.pause().is_some();
        let containers = task.desired.containers.iter().zip(&task.observed.containers);
        for (index, (wanted, container)) in containers.enumerate() {
            let concludes = match paused {
                true => wanted.role == Role::Pause,
                false => wanted.essential && wanted.restart.is_none(),
            };
            let Some((id, process)) = container.running() else {
                // It may be started again, by its policy or by somebody.
                task.watched[index] = None;
                continue;
            };
            let pid = match process {
                MainProcess::Runs { .. } if task.watched[index].as_deref() == Some(id) => continue,
                MainProcess::Runs { pid } => *pid,
                MainProcess::Ended => continue,
            };
            if pid.is_none() && launching {
                self.unwatched.insert(key);
                continue;
            }
            let id = id.to_owned();
            task.watched[index] = Some(id.clone());
            let runtime = self.runtime.clone();
            let serial = task.serial;
            let process = WatchedProcess { key, serial, index, docker_id: id.clone(), concludes };
            self.processes.spawn(async move {
                runtime.process_ends(&id, pid).await.ok().map(|end| (process, end))
            });
        }
    }

    /// No container is being started any more.
    pub(super) fn watch_what_was_started(&mut self) {
        for key in std::mem::take(&mut self.unwatched) {
            self.watch_processes(key);
        }
    }

    pub(super) fn process_ended(&mut self, process: &WatchedProcess, end: ProcessEnd) {
        let WatchedProcess { key, serial, index, ref docker_id, concludes } = *process;
        let Some(task) = self.tasks.get_mut(&key).filter(|task| task.serial == serial) else {
            return;
        };
        if concludes {
            task.watched[index] = None;
        }
        let container = &mut task.observed.containers[index];
        if container.id() != Some(docker_id) {
            return;
        }
        let with_disk_advice = end.memory_kill && container.kernel_killed_for_memory();
        let ended = concludes && container.process_ends();
        if ended || with_disk_advice {
            self.advance(key);
        }
    }

    /// Looks again when the next dependency is given up.
    fn set_deadline(&mut self, key: TaskKey) {
        let now = self.now();
        let Some(task) = self.tasks.get_mut(&key) else { return };
        let next = match task.observed.stop_cause(&task.desired) {
            None => order::next_deadline(&task.desired, &task.observed),
            Some(_) => None,
        };
        if let Some(at) = next.filter(|at| task.deadline.is_none_or(|set| *at < set)) {
            task.deadline = Some(at);
            self.set_timer(at.since(now), Timer::Deadline(key));
        }
    }

    fn set_cleanup(&mut self, key: TaskKey) {
        let now = self.now();
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if task.cleanup_set || !task.may_be_forgotten() {
            return;
        }
        task.cleanup_set = true;
        let stopped_at = task.observed.execution_stopped_at.unwrap_or(now);
        let wait = self.config.cleanup_wait.saturating_sub(now.since(stopped_at));
        self.set_timer(wait, Timer::Cleanup(key));
        self.stopped.insert((stopped_at, key));
        self.keep_newest_stopped(self.config.stopped_tasks_kept);
    }

    fn forget_if_clean(&mut self, key: TaskKey) -> bool {
        let Some(task) = self.tasks.get_mut(&key) else { return true };
        let without_containers = task.cleanup_due
            && task.may_be_forgotten()
            && task.observed.containers.iter().all(|container| {
                let removed = matches!(container.state, ContainerState::Removed { .. });
                let gone = container.id().is_none() || removed;
                gone && !container.is_called() && !container.doubt
            });
        if without_containers && task.leftovers == TaskLeftovers::There && self.synced {
            task.leftovers = TaskLeftovers::BeingRemoved;
            self.remove_leftovers(key);
            return false;
        }
        let clean = without_containers && task.leftovers == TaskLeftovers::Gone;
        if clean {
            debug!(host = %self.config.host, task = %key.task, "task cleaned up");
            for id in task.observed.containers.iter().filter_map(|c| c.id()) {
                self.by_container.remove(id);
            }
            let images: Vec<Arc<str>> =
                task.desired.containers.iter().map(|c| c.image.clone()).collect();
            self.images_left(&images);
            self.tasks.remove(&key);
            if self.disk_pressure.is_short() {
                self.remove_images_for_space();
            }
            self.withdraw_from_endpoints(key);
            self.outbox.withdraw(key);
            self.unwritten.observations.remove(&key);
            self.unwritten.forgotten.push(key);
        }
        clean
    }

    /// Takes a listing of every container that carries our label.
    pub(super) fn listed(&mut self, listing: &[ContainerSummary]) {
        let mut found: BTreeMap<TaskKey, Vec<&ContainerSummary>> = BTreeMap::new();
        for summary in listing {
            let known = self.by_container.get(&summary.id).map(|(key, _)| *key);
            match labels::task_of(&summary.labels, &self.rules) {
                Some(key) if known == Some(key) || labels::name_fits(summary) => {
                    found.entry(key).or_default().push(summary);
                }
                // Labels of an image come with every container that is made of it; names do not.
                Some(_) => warn!(
                    host = %self.config.host, container = summary.name,
                    "a container carries this host's labels, but no name that this agent gives: it \
                     is left alone",
                ),
                None => warn!(
                    host = %self.config.host, container = summary.name,
                    "a container carries this host's label, but not this fleet's: it is left alone",
                ),
            }
        }
        for (key, containers) in &found {
            if !self.tasks.contains_key(key) {
                self.adopt_by_labels(*key, containers);
            }
        }
        let first = !std::mem::replace(&mut self.synced, true);
        if first {
            info!(
                host = %self.config.host, containers = listing.len(), tasks = self.tasks.len(),
                "compared with the container engine",
            );
            self.list_images();
            self.release_strays();
        }
        // There are no such tasks.
        self.unwritten.forgotten.extend(std::mem::take(&mut self.stops_of_unknown).into_keys());
        let keys: Vec<TaskKey> = self.tasks.keys().copied().collect();
        for key in &keys {
            self.compare(*key, found.get(key).map_or(&[][..], Vec::as_slice));
            if first {
                let is_new = self.tasks.get(key).is_some_and(|task| task.unrecorded);
                self.refuse_what_never_ran(*key, is_new);
            }
        }
        if first {
            self.begin_inspections();
        }
        keys.into_iter().for_each(|key| self.advance(key));
        let waits = |task: &&Task| task.counts() && task.waits_for_confirmation();
        let waiting = self.tasks.values().filter(waits).count();
        if first && waiting > 0 {
            info!(
                host = %self.config.host, tasks = waiting,
                "tasks that the ledger alone tells of start once the coordinator confirms them",
            );
        }
    }

    fn compare(&mut self, key: TaskKey, containers: &[&ContainerSummary]) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        let mut here: Vec<Option<(&str, RunState)>> = vec![None; task.desired.containers.len()];
        for summary in containers {
            if let Some(index) = labels::container_index(&summary.labels, &task.desired) {
                here[index] = Some((&summary.id, summary.state));
            }
        }
        for (index, found) in here.into_iter().enumerate() {
            task.observed.listed(index, found);
        }
    }

    fn adopt_by_labels(&mut self, key: TaskKey, containers: &[&ContainerSummary]) {
        let Some(desired) = labels::found_task(key, containers, &self.rules) else {
            warn!(
                host = %self.config.host, task = %key.task,
                "containers of this task lack labels: they are left alone",
            );
            return;
        };
        info!(
            host = %self.config.host, cluster = desired.cluster, task = %key.task,
            containers = containers.len(), "found a task that the ledger does not know",
        );
        let observed = ObservedTask::default().unseen(&desired, PullPolicy::PreferCached);
        self.insert(desired, observed);
        // With a new ledger a manifest is on its way, and most likely names it.
        if self.head.is_some()
            && let Some(task) = self.tasks.get_mut(&key)
            && !task.superseded
        {
            task.candidate = true;
            self.outbox.push(key, task.stop_candidate());
        }
    }
}

/// What was found by labels, as the observation of the task that an order describes. Names tell which
/// container is which.
fn adopted(found: &Task, desired: &DesiredTask, pull: PullPolicy) -> ObservedTask {
    let mut observed = ObservedTask::default().unseen(desired, pull);
    for (wanted, container) in desired.containers.iter().zip(&mut observed.containers) {
        match found.desired.containers.iter().position(|c| c.name == wanted.name) {
            Some(position) => {
                container.clone_from(&found.observed.containers[position]);
                // Its health and ports were not looked at before.
                container.doubt = true;
                container.activity = Activity::Idle;
            }
            None => container.state = ContainerState::Absent { listed: None },
        }
    }
    observed
}

fn log_changes(task: &mut Task, host: HostId) {
    // Not compared with the container engine yet: no news.
    if !task.observed.is_known() {
        return;
    }
    let desired = &task.desired;
    let (cluster, id) = (&desired.cluster, desired.key.task);
    task.logged.containers.resize(desired.containers.len(), ContainerStage::Unknown);
    for (index, container) in task.observed.containers.iter().enumerate() {
        let stage = container.stage();
        if task.logged.containers[index] == stage {
            continue;
        }
        task.logged.containers[index] = stage;
        let name = &desired.containers[index].name;
        let docker_id = container.id().map(|id| &id[..id.len().min(12)]);
        match stage {
            ContainerStage::Running => {
                info!(%host, cluster, task = %id, container = name, docker_id, "container running");
            }
            ContainerStage::Stopped => info!(
                %host, cluster, task = %id, container = name, docker_id,
                exit_code = container.exit_code(), reason = container.reason(), "container stopped",
            ),
            ContainerStage::Restarting => info!(
                %host, cluster, task = %id, container = name, docker_id,
                exit_code = container.exit_code(), restarts = container.restarts,
                "container ended and is started again",
            ),
            ContainerStage::Unknown
            | ContainerStage::Absent
            | ContainerStage::Created
            | ContainerStage::Removed => {
                debug!(%host, cluster, task = %id, container = name, docker_id, state = ?stage, "container");
            }
        }
    }
    let phase = phase_name(&task.desired, &task.observed);
    if task.logged.phase != Some(phase) {
        task.logged.phase = Some(phase);
        let reason = task.observed.stop_cause(&task.desired).map(|cause| cause.reason.as_str());
        let cluster = &task.desired.cluster;
        info!(%host, cluster, task = %id, reason, "task {phase}");
    }
}
