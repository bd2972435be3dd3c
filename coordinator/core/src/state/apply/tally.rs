//! Keeps each cluster's tally: an entity that is about to change is looked at before, and again when the
//! batch is over. Never: a count by hand.

use crate::{
    checkpoint::entity::EntityKey,
    model::{capacity_provider::is_fargate, deployment::DeploymentStatus, name::ClusterName},
    state::{
        Service, State,
        tally::{Counted, Ended, Fargate, Tallies, Tally, add},
        task::TaskCounter,
    },
};

/// What a task that is lost with its host is shown as: nobody knows.
const LOST: &str = "LOST";

impl State {
    /// Notes how an entity is counted before it changes.
    pub(super) fn note_change(&mut self, key: &EntityKey) {
        let is_counted = matches!(
            key,
            EntityKey::Host(_) | EntityKey::Task(_) | EntityKey::Waiting(_) | EntityKey::Service(_)
        );
        if self.replaying || !is_counted || self.tallies.changing.contains_key(key) {
            return;
        }
        let counted = self.counted(key);
        self.tallies.changing.insert(key.clone(), counted);
    }

    /// Counts, after a step, what changed as it is now.
    pub(in crate::state) fn settle_tallies(&mut self) {
        for (key, before) in std::mem::take(&mut self.tallies.changing) {
            let now = self.counted(&key);
            if before != now {
                self.note_end(&before, &now);
                self.tally(&before, -1);
                self.tally(&now, 1);
            }
        }
    }

    /// Looks at everything, after a start.
    pub(super) fn tally_all(&mut self) {
        self.tallies = Tallies::default();
        let hosts = self.hosts_by_id.keys().map(|host| EntityKey::Host(*host));
        let tasks = self.tasks_by_id.keys().map(|task| EntityKey::Task(*task));
        let services = self.services_by_id.keys().map(|service| EntityKey::Service(*service));
        let waiting = self.waiting_by_launch.keys().map(|launch| EntityKey::Waiting(*launch));
        let all: Vec<EntityKey> = hosts.chain(tasks).chain(waiting).chain(services).collect();
        for key in all {
            let counted = self.counted(&key);
            self.tally(&counted, 1);
        }
    }

    /// Every cluster that is described, with its tally.
    pub fn tallies(&self) -> impl Iterator<Item = (&ClusterName, Tally)> {
        self.clusters_by_name.iter().map(|(name, slot)| {
            let tally = self.tallies.by_cluster.get(slot).cloned().unwrap_or_default();
            (name, tally)
        })
    }

    /// Tasks and services of a cluster that use FARGATE.
    pub fn fargate_of(&self, cluster: &ClusterName) -> Fargate {
        let slot = self.clusters_by_name.get(cluster);
        let tally = slot.and_then(|slot| self.tallies.by_cluster.get(slot));
        tally.map(|tally| tally.fargate).unwrap_or_default()
    }

    pub fn ended_deployments(&self) -> &Ended {
        &self.tallies.ended
    }

    fn counted(&self, key: &EntityKey) -> Counted {
        match key {
            EntityKey::Host(id) => match self.host(*id).filter(|host| host.is_registered()) {
                Some(host) => Counted::Host {
                    cluster: host.cluster,
                    connected: host.connected,
                    draining: host.status == crate::model::host::HostStatus::Draining,
                },
                None => Counted::Nothing,
            },
            EntityKey::Task(id) => match self.task(*id) {
                Some(task) => {
                    let of = task.service.as_ref();
                    Counted::Task {
                        cluster: task.cluster,
                        status: match of.is_some_and(|of| of.lost) {
                            true => LOST,
                            false => task.phase.name(),
                        },
                        of_service: of.filter(|of| !of.lost).map(|_| task.counter()),
                        fargate: match (&task.provider, task.counter()) {
                            (Some(provider), _) if !is_fargate(provider.as_str()) => {
                                Fargate::default()
                            }
                            (None, _) | (_, TaskCounter::Neither) => Fargate::default(),
                            (_, TaskCounter::Running) => {
                                Fargate { running: 1, ..Fargate::default() }
                            }
                            (_, TaskCounter::Pending) => {
                                Fargate { pending: 1, ..Fargate::default() }
                            }
                        },
                    }
                }
                None => Counted::Nothing,
            },
            EntityKey::Waiting(launch) => match self.waiting_by_launch.get(launch) {
                Some(slot) => {
                    let waiting = &self.waiting[*slot];
                    let provider = waiting.launch.provider.as_ref();
                    let goes = provider.is_some_and(|provider| is_fargate(provider.as_str()));
                    let pending = if goes { waiting.launch.tasks.len() as i64 } else { 0 };
                    let fargate = Fargate { pending, ..Fargate::default() };
                    Counted::Waiting { cluster: waiting.cluster, fargate }
                }
                None => Counted::Nothing,
            },
            EntityKey::Service(id) => {
                let service = self.service(*id).filter(|service| {
                    !matches!(
                        service.status,
                        crate::model::service_status::ServiceStatus::Inactive { .. }
                    )
                });
                match service {
                    Some(service) => Counted::Service {
                        cluster: service.cluster,
                        desired: service.config.desired.into(),
                        deployment: service.deployment.as_ref().map(|d| (d.id, d.status)),
                        fargate: fargate_of_service(service),
                    },
                    None => Counted::Nothing,
                }
            }
            _ => Counted::Nothing,
        }
    }

    fn note_end(&mut self, before: &Counted, now: &Counted) {
        let Counted::Service { cluster, deployment: Some((id, status)), .. } = now else { return };
        let was_over = match before {
            Counted::Service { deployment: Some((before, status)), .. } => {
                before == id && status.is_over()
            }
            _ => false,
        };
        if status.is_over() && !was_over {
            let cluster = self.cluster_at(*cluster).name.clone();
            *self.tallies.ended.entry((cluster, name_of(*status))).or_default() += 1;
        }
    }

    fn tally(&mut self, counted: &Counted, by: i64) {
        let cluster = match counted {
            Counted::Nothing => return,
            Counted::Host { cluster, .. }
            | Counted::Task { cluster, .. }
            | Counted::Waiting { cluster, .. }
            | Counted::Service { cluster, .. } => *cluster,
        };
        let tally = self.tallies.by_cluster.entry(cluster).or_default();
        match counted {
            Counted::Nothing => {}
            Counted::Host { connected, draining, .. } => {
                match connected {
                    true => tally.hosts_connected += by,
                    false => tally.hosts_disconnected += by,
                }
                tally.hosts_draining += if *draining { by } else { 0 };
            }
            Counted::Waiting { fargate, .. } => tally.fargate.add(fargate, by),
            Counted::Task { status, of_service, fargate, .. } => {
                tally.fargate.add(fargate, by);
                add(&mut tally.tasks, status, by);
                match of_service {
                    Some(TaskCounter::Running) => tally.services_running += by,
                    Some(TaskCounter::Pending) => tally.services_pending += by,
                    Some(TaskCounter::Neither) | None => {}
                }
            }
            Counted::Service { desired, deployment, fargate, .. } => {
                tally.fargate.add(fargate, by);
                tally.services += by;
                tally.services_desired += by * desired;
                if let Some((_, status)) = deployment.filter(|(_, status)| !status.is_over()) {
                    add(&mut tally.deployments, name_of(status), by);
                }
            }
        }
        if *tally == Tally::default() {
            self.tallies.by_cluster.remove(&cluster);
        }
    }
}

fn fargate_of_service(service: &Service) -> Fargate {
    let mut by = service.config.capacity.iter().map(|item| item.provider.as_str());
    let draining = service.status == crate::model::service_status::ServiceStatus::Draining;
    match by.any(is_fargate) {
        true => Fargate {
            services: i64::from(!draining),
            services_draining: i64::from(draining),
            ..Fargate::default()
        },
        false => Fargate::default(),
    }
}

/// The status as ECS calls it.
fn name_of(status: DeploymentStatus) -> &'static str {
    match status {
        DeploymentStatus::Pending => "PENDING",
        DeploymentStatus::InProgress => "IN_PROGRESS",
        DeploymentStatus::Successful => "SUCCESSFUL",
        DeploymentStatus::StopRequested => "STOP_REQUESTED",
        DeploymentStatus::Stopped => "STOPPED",
        DeploymentStatus::RollbackRequested => "ROLLBACK_REQUESTED",
        DeploymentStatus::RollbackInProgress => "ROLLBACK_IN_PROGRESS",
        DeploymentStatus::RollbackSuccessful => "ROLLBACK_SUCCESSFUL",
        DeploymentStatus::RollbackFailed => "ROLLBACK_FAILED",
    }
}

impl State {
    /// The tallies counted anew: what they must be, whatever happened.
    #[cfg(any(test, feature = "test-kit"))]
    pub(crate) fn assert_tallies(&mut self) {
        let kept: std::collections::BTreeMap<ClusterName, Tally> =
            self.tallies().map(|(name, tally)| (name.clone(), tally)).collect();
        let ended = self.tallies.ended.clone();
        self.tally_all();
        self.tallies.ended = ended;
        let anew: std::collections::BTreeMap<ClusterName, Tally> =
            self.tallies().map(|(name, tally)| (name.clone(), tally)).collect();
        assert_eq!(kept, anew, "the tallies are not what there is");
    }
}
