//! Tasks with attachments, one in each phase that a task can be in because of them.

use longshore_common::{
    id::{HostId, TaskId},
    protocol::ReportedPhase,
};

use super::Scene;
use crate::{
    Command,
    command::{AttachmentStatus, TaskCommand},
    model::attachment::{AttachmentKind, AttachmentSpec},
    test_kit::world::CLUSTER,
};

/// Position of the address in the task's list of attachments.
const VIP: u32 = 0;
/// Position of the proxy in the task's list of attachments.
const PROXY: u32 = 1;

impl Scene<'_> {
    pub(super) fn attachments(&mut self, host: HostId) {
        let _provisioning = self.attached(host);
        let failed = self.attached(host);
        self.submitted(failed, VIP, AttachmentStatus::Failed);
        self.world.pass(0.0);

        let activating = self.attached(host);
        self.submitted(activating, VIP, AttachmentStatus::Attached);
        self.world.report(activating, ReportedPhase::Running);

        let [running, deactivating, stopping, deprovisioning, stopped] =
            [(); 5].map(|()| self.runs_attached(host));
        for task in [deactivating, stopping] {
            let (cluster, reason) = (CLUSTER.parse().unwrap(), None);
            self.call(Command::Task(TaskCommand::StopTask { cluster, task, reason }));
        }
        self.submitted(stopping, PROXY, AttachmentStatus::Detached);
        self.world.pass(0.0);
        for task in [deprovisioning, stopped] {
            self.world.exits(task);
            self.submitted(task, PROXY, AttachmentStatus::Detached);
        }
        self.submitted(stopped, VIP, AttachmentStatus::Detached);
        self.world.pass(0.0);
        assert!(self.world.state.task(stopped).is_none());
        assert_eq!(self.world.state.task(running).unwrap().phase.name(), "RUNNING");
    }

    fn runs_attached(&mut self, host: HostId) -> TaskId {
        let task = self.attached(host);
        self.submitted(task, VIP, AttachmentStatus::Attached);
        self.world.report(task, ReportedPhase::Running);
        self.submitted(task, PROXY, AttachmentStatus::Attached);
        self.world.pass(0.0);
        task
    }

    pub(super) fn attached(&mut self, host: HostId) -> TaskId {
        let spec = |kind, name: &str| AttachmentSpec { kind, name: name.to_owned() };
        let attachments = vec![
            spec(AttachmentKind::ExternalResource, "vip"),
            spec(AttachmentKind::ExternalTarget, "proxy"),
        ];
        self.world.start_alone_with(host, attachments)
    }

    fn submitted(&mut self, task: TaskId, attachment: u32, status: AttachmentStatus) {
        self.world.submit(task, attachment, status).unwrap();
    }
}
