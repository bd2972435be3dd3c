//! Deployments of services, with what each waits for: alarms, and calls of its hooks.
//!
//! Never: which stage comes next (that is the scheduler's).

use longshore_common::clock::Timestamp;

use crate::{
    checkpoint::entity::EntityKey,
    model::{
        deployment::{DeploymentRecord, HookRecord},
        service::ServiceId,
    },
    state::{Service, ServiceSlot, State},
};

impl State {
    pub(super) fn deployment_set(&mut self, id: ServiceId, deployment: &DeploymentRecord) {
        let Some(slot) = self.service_changes(id) else { return };
        let before = self.services[slot].deployment.as_ref().map(|d| (d.id, d.status, d.stage));
        if before != Some((deployment.id, deployment.status, deployment.stage)) {
            self.log_service(
                id,
                format_args!(
                    "service deployment {} to ecs-svc/{} is {:?}, stage {:?}{}",
                    deployment.id,
                    deployment.target,
                    deployment.status,
                    deployment.stage,
                    deployment.reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default(),
                ),
            );
        }
        self.attend(slot, false);
        self.services[slot].deployment = Some(deployment.clone());
        self.attend(slot, true);
        if !self.replaying {
            self.changes.deployments.push((id, deployment.clone()));
        }
    }

    /// Notes down, or forgets, what a service's deployment waits for: alarms, calls of its hooks.
    pub(super) fn attend(&mut self, slot: ServiceSlot, begins: bool) {
        let Some(deployment) = self.services[slot].under_way() else { return };
        if let Some(alarms) = deployment.config.alarms.as_ref().filter(|alarms| alarms.enable) {
            for name in &alarms.names {
                if begins {
                    self.alarm_watchers.entry(name.clone()).or_default().insert(slot);
                } else if let Some(watchers) = self.alarm_watchers.get_mut(name) {
                    watchers.remove(&slot);
                    if watchers.is_empty() {
                        self.alarm_watchers.remove(name);
                    }
                }
            }
        }
        let calls = deployment.hooks.iter().filter_map(|hook| Some((hook.call_at?, slot, hook.id)));
        for call in calls {
            match begins {
                true => self.hook_calls.insert(call),
                false => self.hook_calls.remove(&call),
            };
            self.changes.effects |= begins;
        }
    }

    /// Calls of lifecycle hooks that are to be made, with when, the next one first.
    pub fn hook_calls(&self) -> impl Iterator<Item = (Timestamp, &Service, &HookRecord)> {
        self.hook_calls.iter().filter_map(|(at, slot, id)| {
            let service = &self.services[*slot];
            let hook = service.under_way()?.hooks.iter().find(|hook| hook.id == *id)?;
            Some((*at, service, hook))
        })
    }

    /// An alarm went off: the deployments that listen to it keep that, even if it ends again
    /// before they are looked at.
    pub(super) fn deployments_hear_of(&mut self, alarm: &str) {
        let watchers = self.alarm_watchers.get(alarm).cloned().unwrap_or_default();
        for slot in watchers {
            let id = self.services[slot].id;
            self.touch(EntityKey::Service(id));
            let Some(deployment) = &mut self.services[slot].deployment else { continue };
            let listened = !deployment.alarms_ignored.iter().any(|ignored| ignored == alarm)
                && !deployment.alarms_triggered.iter().any(|known| known == alarm);
            if listened {
                deployment.alarms_triggered.push(alarm.to_owned());
                self.service_is_due(slot);
            }
        }
    }
}
