//! What events do to the attachments of tasks, and to tasks by their attachments.
//!
//! Never: whether an attachment's time has come. That is derived from the task
//! (`Task::attachment_step`), and decided by `lifecycle/attachment.rs`.

use longshore_common::{
    clock::Timestamp,
    id::TaskId,
    protocol::{Desired, ReportedPhase, TaskReport},
    task::StopCause,
};

use crate::{
    checkpoint::entity::EntityKey,
    event::{AttachmentEvent, AttachmentMove},
    model::{
        attachment::{AttachTime, DetachTime, ExecutionStop},
        task::{Phase, Wish},
    },
    state::{Deadline, State, TaskSlot, task::Task},
};

impl State {
    pub(super) fn apply_attachment(&mut self, event: &AttachmentEvent, seq: u64) {
        match event {
            AttachmentEvent::AttachmentsMoved { task, moves, at: _ } => {
                self.attachments_moved(*task, moves);
            }
            AttachmentEvent::TaskProvisioned { task, at: _ } => self.task_provisioned(*task, seq),
            AttachmentEvent::TaskTakenBack { task, at } => self.task_taken_back(*task, *at, seq),
            AttachmentEvent::TaskActivated { task, at } => self.task_activated(*task, *at),
            AttachmentEvent::TaskDeactivated { task, at } => {
                self.task_deactivated(*task, *at, seq);
            }
            AttachmentEvent::TaskExecutionStopped { task, cause, report, ran_briefly, at } => {
                let report = report.as_deref();
                self.task_execution_stopped(*task, cause, report, *ran_briefly, *at, seq);
            }
        }
    }

    fn attachments_moved(&mut self, id: TaskId, moves: &[AttachmentMove]) {
        let Some(slot) = self.attached(id) else { return };
        for AttachmentMove { attachment, to } in moves {
            let task = &self.tasks[slot];
            let list = task.attachments.as_deref().map(|attachments| &attachments.list);
            let Some(found) = list.and_then(|list| list.get(*attachment as usize)) else {
                continue;
            };
            let what = format!("attachment {} is {}", found.name, to.name());
            let to_task = self.log_to_task(slot);
            self.log(to_task, what);
        }
        self.change_attached(slot, |task| {
            let Some(attachments) = &mut task.attachments else { return };
            for AttachmentMove { attachment, to } in moves {
                if let Some(moved) = attachments.list.get_mut(*attachment as usize) {
                    moved.state = to.clone();
                }
            }
        });
    }

    /// The order is given now: the agent cannot have seen it before this batch.
    fn task_provisioned(&mut self, id: TaskId, seq: u64) {
        let Some(slot) = self.attached(id) else { return };
        let task = &self.tasks[slot];
        if task.phase != Phase::Provisioning {
            return;
        }
        let from = task.ordered();
        self.change_attached(slot, |task| {
            task.phase = Phase::Pending;
            task.placed_seq = seq;
        });
        self.reorder(slot, from, seq);
        self.log_phase(slot);
    }

    /// No order is given: the next manifest has one, and says that its host was given it before.
    fn task_taken_back(&mut self, id: TaskId, at: Timestamp, seq: u64) {
        let Some(slot) = self.attached(id) else { return };
        if self.tasks[slot].phase != Phase::Provisioning {
            return;
        }
        self.change_attached(slot, |task| {
            task.phase = Phase::Pending;
            task.placed_seq = seq;
            if let Some(attachments) = &mut task.attachments {
                attachments.were_attached(AttachTime::BeforeStart);
            }
            task.begin_to_stop(at);
        });
        let task = &self.tasks[slot];
        let (host, generation, to) = (task.host, task.generation, task.ordered());
        self.desire(host, id, generation, None, to);
        let host = self.hosts[host].id;
        self.host_changed(host, seq);
        let to = self.log_to_task(slot);
        self.log(to, "task taken back from its host, which was ordered to run it");
    }

    fn task_activated(&mut self, id: TaskId, at: Timestamp) {
        let Some(slot) = self.attached(id) else { return };
        let task = &self.tasks[slot];
        if task.phase != Phase::Activating || task.wish != Wish::Run {
            return;
        }
        self.change_attached(slot, |task| task.phase = Phase::Running { started_at: at });
        self.log_phase(slot);
    }

    fn task_deactivated(&mut self, id: TaskId, at: Timestamp, seq: u64) {
        let Some(slot) = self.attached(id) else { return };
        let task = &self.tasks[slot];
        let Phase::Deactivating { started_at } = task.phase else { return };
        let from = task.ordered();
        self.change_attached(slot, |task| {
            task.phase = Phase::Stopping { started_at, stopping_at: at };
        });
        self.reorder(slot, from, seq);
        self.log_phase(slot);
    }

    fn task_execution_stopped(
        &mut self,
        id: TaskId,
        cause: &StopCause,
        report: Option<&TaskReport>,
        ran_briefly: bool,
        at: Timestamp,
        seq: u64,
    ) {
        let Some(slot) = self.attached(id) else { return };
        if matches!(self.tasks[slot].phase, Phase::Deprovisioning { .. }) {
            return;
        }
        self.service_task_ended(slot, cause, ran_briefly, at);
        let task = &self.tasks[slot];
        let from = task.ordered();
        let said = self.said_by(task.definition, report.or(task.report.as_deref()));
        self.change_attached(slot, |task| {
            if let Some(report) = report {
                task.report = Some(Box::new(report.clone()));
            }
            (task.checked_health, task.blocked) = said;
            task.deprovision(cause, ran_briefly, at);
        });
        self.reorder(slot, from, seq);
        self.log_phase(slot);
    }

    /// Orders of a task's host what the task's phase and wish say now; `from` is what was ordered before.
    pub(super) fn reorder(&mut self, slot: TaskSlot, from: Option<Desired>, seq: u64) {
        let task = &self.tasks[slot];
        let (id, host, generation, to) = (task.id, task.host, task.generation, task.ordered());
        if from == to {
            return;
        }
        let stop = match &task.wish {
            Wish::Stop { cause, .. } => Some(cause.clone()),
            Wish::Run => None,
        };
        self.desire(host, id, generation, from, to);
        match to {
            Some(Desired::Run) => self.give_order(host, id, generation, None, seq),
            Some(Desired::Stop) => self.give_order(host, id, generation, stop, seq),
            None => {
                let host = self.hosts[host].id;
                self.host_changed(host, seq);
            }
        }
    }

    /// Gives attachments their time anew after a downtime of the coordinator: nobody could say how
    /// far they are meanwhile.
    pub(super) fn attachments_have_their_time_anew(&mut self, at: Timestamp) {
        let of_attachments = |(_, what): &(Timestamp, Deadline)| match what {
            Deadline::Attachments(task) => Some(*task),
            Deadline::Run(_) | Deadline::Wait(_) => None,
        };
        let due = self.deadlines.iter().filter_map(of_attachments);
        let tasks: Vec<TaskId> = due.chain(self.unsure_tasks.iter().copied()).collect();
        for id in tasks {
            let Some(slot) = self.attached(id) else { continue };
            self.set_deadlines(slot, false);
            if let Some(attachments) = &mut self.tasks[slot].attachments {
                attachments.begin_anew(at);
            }
            self.set_deadlines(slot, true);
        }
    }

    /// A task that has attachments, about to be changed.
    fn attached(&mut self, id: TaskId) -> Option<TaskSlot> {
        let slot = *self.tasks_by_id.get(&id)?;
        self.tasks[slot].attachments.as_ref()?;
        self.touch(EntityKey::Task(id));
        Some(slot)
    }

    fn change_attached(&mut self, slot: TaskSlot, change: impl FnOnce(&mut Task)) {
        self.set_deadlines(slot, false);
        self.change_task(slot, |task| {
            change(task);
            task.version += 1;
        });
        self.set_deadlines(slot, true);
    }

    /// PROVISIONING tasks whose order may have been given in a lost part of the journal. They are not
    /// ordered to run a second time: their host tells that it runs them, or they are ended once it has
    /// told everything.
    pub fn unsure_tasks(&self) -> impl Iterator<Item = &Task> {
        self.unsure_tasks.iter().filter_map(|id| self.task(*id))
    }

    /// Whether a host may run this task though no order of this journal says so.
    pub fn may_run_unseen(&self, task: &Task) -> bool {
        let told_all = self.host_at(task.host).told_all;
        self.unsure_tasks.contains(&task.id)
            && self.recovered.is_some_and(|recovered| told_all < recovered.counter)
    }

    /// Sets or clears the times at which something is to be done about a task.
    pub(super) fn set_deadlines(&mut self, slot: TaskSlot, set: bool) {
        self.set_run_deadline(slot, set);
        let task = &self.tasks[slot];
        let (id, asked_seq) = (task.id, task.placed_seq);
        if task.phase == Phase::Provisioning && self.is_unsure(task.created_at, asked_seq) {
            match set {
                true => self.unsure_tasks.insert(id),
                false => self.unsure_tasks.remove(&id),
            };
            return;
        }
        let Some(at) = task.attachment_deadline() else { return };
        let deadline = (at, Deadline::Attachments(task.id));
        match set {
            true => self.deadlines.insert(deadline),
            false => self.deadlines.remove(&deadline),
        };
    }
}

impl Task {
    /// Begins, before the task's first order, to attach what must be attached before the start.
    pub(super) fn begin(&mut self, at: Timestamp) {
        let Some(attachments) = &mut self.attachments else { return };
        attachments.attach(AttachTime::BeforeStart, at);
        if !attachments.are_attached(AttachTime::BeforeStart) {
            self.phase = Phase::Provisioning;
        }
    }

    /// Begins to detach what must be detached before the stop, once the task's wish is to stop.
    pub(super) fn begin_to_stop(&mut self, at: Timestamp) {
        let Wish::Stop { cause, .. } = &self.wish else { return };
        let cause = cause.clone();
        let Some(attachments) = &mut self.attachments else { return };
        let started_at = self.phase.started_at();
        match self.phase {
            // Its host has never heard of it.
            Phase::Provisioning => self.deprovision(&cause, false, at),
            Phase::Pending | Phase::Activating | Phase::Running { .. } => {
                attachments.detach(DetachTime::BeforeStop, at);
                if !attachments.are_detached(DetachTime::BeforeStop) {
                    self.phase = Phase::Deactivating { started_at };
                }
            }
            Phase::Deactivating { .. } | Phase::Stopping { .. } | Phase::Deprovisioning { .. } => {}
        }
    }

    /// Attaches or detaches what follows the agent's word that the task's containers run, or stop
    /// by themselves, and says which phase that leaves the task in.
    pub(super) fn phase_with_attachments(
        &mut self,
        next: Option<Phase>,
        reported: &ReportedPhase,
        at: Timestamp,
    ) -> Option<Phase> {
        let Some(attachments) = &mut self.attachments else { return next };
        match (next, reported) {
            (Some(Phase::Running { .. }), ReportedPhase::Running) => {
                attachments.attach(AttachTime::AfterStart, at);
                match attachments.are_attached(AttachTime::AfterStart) {
                    true => next,
                    false => (self.phase != Phase::Activating).then_some(Phase::Activating),
                }
            }
            (_, ReportedPhase::Stopping(_)) => {
                attachments.detach(DetachTime::BeforeStop, at);
                next
            }
            _ => next,
        }
    }

    /// Begins to detach whatever is left, once the task's containers have ended, or never were.
    fn deprovision(&mut self, cause: &StopCause, ran_briefly: bool, at: Timestamp) {
        let started_at = self.phase.started_at();
        let stopping_at = match (self.phase, &self.wish) {
            (Phase::Stopping { stopping_at, .. }, _) => stopping_at,
            (_, Wish::Stop { at, .. }) => *at,
            (_, Wish::Run) => at,
        };
        self.phase = Phase::Deprovisioning { started_at, stopping_at };
        let Some(attachments) = &mut self.attachments else { return };
        attachments.detach(DetachTime::BeforeStop, at);
        attachments.detach(DetachTime::AfterStop, at);
        attachments.execution_stop = Some(ExecutionStop { cause: cause.clone(), ran_briefly });
    }
}
