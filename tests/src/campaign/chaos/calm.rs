//! Calm times: no fault comes, and what is deleted or drained must come to its end. Now and then
//! everything is deleted as well, and what is left then must not grow from one time to the next.

use std::{collections::BTreeSet, ops::Bound, time::Duration};

use anyhow::Result;
use longshore_common::id::HostId;
use longshore_core::{
    State,
    command::ATTACHMENT_CHANGES_MAX,
    model::{
        attachment::{Attachment, AttachmentState, attachment_id},
        host::HostStatus,
        service_status::ServiceStatus,
    },
    state::{Host, Task},
};
use serde_json::{Value, json};

use super::{
    course::Course,
    inputs::generator::CLUSTERS,
    judge::{self, Fault},
};

use crate::figures::progress;

/// Recoveries until no agent has seen more than the journal holds: one for each, and more.
const HEARINGS_MAX: usize = 40;
/// Rounds of a calm time within which everything comes to its end, and how long one is.
const ROUNDS_MAX: usize = 120;
const ROUND: Duration = Duration::from_secs(10);
/// What a service says that cannot replace its tasks.
const WAITS: [&str; 2] = ["unable to place a task", "unable to stop or start tasks"];
/// Rounds between two longer waits, for hooks and instances that have their own time.
const LONG_EVERY: usize = 5;
const LONG: Duration = Duration::from_secs(900);
/// Deleted things are described for an hour.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(2 * 3600);
/// The longest that anything of the past is remembered: two days that a host had joined.
const REMEMBERED_FOR: Duration = Duration::from_secs(50 * 3600);
/// What the state may have grown by from one time that everything was deleted to another.
const GROWTH_MAX: usize = 3;
const GROWTH_ALLOWED: usize = 4_000;
/// What an emptied state still has: sequences and epochs, the last revision of each family, the
/// settings of the account, and the heads of indexes.
const STAYS: [&str; 9] =
    ["Auto", "client", "expiring", "family", "indexes", "lists", "meta", "setting", "sizes"];
/// Times that everything is deleted anew until nothing is left.
const RAZES_MAX: usize = 20;

impl Course {
    /// No fault comes any more, until nothing is on its way out.
    pub(super) async fn calm_down(&mut self) -> Result<()> {
        self.clients.note("faults cease");
        self.agents.set_calm(true);
        self.effects.set_calm(true);
        self.hear_everybody().await?;
        self.make_room().await;
        self.begin_maintenance().await?;
        let mut waits = Vec::new();
        for round in 0..ROUNDS_MAX {
            self.calm_round(round).await?;
            waits = self.coordinator.peek(leaving);
            if waits.is_empty() {
                break;
            }
        }
        let waits = self.unexplained(waits).await;
        for what in waits {
            self.found(Fault::Stuck, what);
        }
        self.agents.set_calm(false);
        self.effects.set_calm(false);
        self.look().await
    }

    /// Whoever has seen more than the journal holds says so first: until then, calls are refused.
    async fn hear_everybody(&mut self) -> Result<()> {
        for _ in 0..HEARINGS_MAX {
            self.agents.go_on(&mut self.coordinator).await;
            self.look().await?;
            if !self.coordinator.journal_is_old() {
                return Ok(());
            }
            self.recover().await;
        }
        self.found(Fault::Stuck, "the journal stays old".to_owned());
        Ok(())
    }

    async fn calm_round(&mut self, round: usize) -> Result<()> {
        self.begin_scheduling().await;
        self.recover().await;
        self.agents.go_on(&mut self.coordinator).await;
        self.effects_go_on().await;
        self.attachments_follow().await;
        self.give_up_the_dead().await?;
        let long = round % LONG_EVERY == LONG_EVERY - 1;
        self.pass(if long { LONG } else { ROUND }).await?;
        self.look().await
    }

    /// Whoever attaches and detaches does what is asked of it.
    async fn attachments_follow(&mut self) {
        let asked: Vec<(String, Vec<Value>)> = self.coordinator.peek(|state| {
            let clusters = state.clusters_after(None).filter(|cluster| cluster.is_active());
            let of_cluster = clusters.map(|cluster| {
                let tasks = cluster.tasks.values().map(|slot| state.task_at(*slot));
                (cluster.name.to_string(), tasks.flat_map(asked_of).collect())
            });
            of_cluster.collect()
        });
        for (cluster, changes) in asked {
            for attachments in changes.chunks(ATTACHMENT_CHANGES_MAX) {
                let input = json!({"cluster": cluster, "attachments": attachments});
                self.done("SubmitAttachmentStateChanges", input).await;
            }
        }
    }

    /// Hosts whose agent is gone for good are deregistered, as their operator would.
    async fn give_up_the_dead(&mut self) -> Result<()> {
        let alive: BTreeSet<HostId> = self.agents.hosts().collect();
        let dead: Vec<(String, HostId)> = self.coordinator.peek(|state| {
            let dead =
                state.hosts().filter(|host| host.is_registered() && !alive.contains(&host.id));
            let named = dead.map(|host| (state.cluster_at(host.cluster).name.to_string(), host.id));
            named.collect()
        });
        for (cluster, host) in dead {
            let host = host.to_string();
            let input = json!({"cluster": cluster, "containerInstance": host, "force": true});
            self.clients.told(&mut self.coordinator, "DeregisterContainerInstance", input).await;
        }
        self.look().await
    }

    /// A large host in each cluster that has something on its way out.
    async fn make_room(&mut self) {
        let clusters = self.coordinator.peek(|state| {
            let active =
                |name: &&str| state.cluster(name).is_some_and(|cluster| cluster.is_active());
            CLUSTERS.into_iter().filter(active).collect::<Vec<_>>()
        });
        for cluster in clusters {
            let token = self.new_token().await;
            self.agents.join_large(&mut self.coordinator, &token, cluster).await;
        }
    }

    /// A host of each cluster is drained and a service deleted, as their operator would, so that
    /// something is on its way out in each calm time.
    async fn begin_maintenance(&mut self) -> Result<()> {
        let (mut hosts, mut services) = (Vec::new(), Vec::new());
        self.coordinator.peek(|state| {
            for cluster in state.clusters_after(None).filter(|cluster| cluster.is_active()) {
                let name = cluster.name.to_string();
                let full = |id: &&HostId| {
                    state.host(**id).is_some_and(|host| {
                        host.status == HostStatus::Active && !host.tasks.is_empty()
                    })
                };
                let full: Vec<&HostId> = cluster.hosts.keys().filter(full).collect();
                let host = self.chance.pick(&full).map(|id| (name.clone(), id.to_string()));
                hosts.extend(host);
                let active: Vec<_> = cluster.services.keys().collect();
                let service = self.chance.pick(&active).map(|service| (name, service.to_string()));
                services.extend(service);
            }
        });
        for (cluster, host) in hosts {
            let input =
                json!({"cluster": cluster, "containerInstances": [host], "status": "DRAINING"});
            self.done("UpdateContainerInstancesState", input).await;
        }
        for (cluster, service) in services {
            let input = json!({"cluster": cluster, "service": service, "force": true});
            self.done("DeleteService", input).await;
        }
        self.look().await
    }

    /// Without what waits for something that its services say, in ECS's words: room that there is
    /// not, or bounds of a deployment that let no task go.
    async fn unexplained(&mut self, waits: Vec<Leaving>) -> Vec<String> {
        let mut left = Vec::new();
        for wait in waits {
            let mut silent = wait.services.is_empty();
            let mut what = vec![wait.what];
            for (cluster, service) in &wait.services {
                let said = self.newest_messages(cluster, service).await;
                let waits = said.iter().any(|said| WAITS.iter().any(|words| said.contains(words)));
                silent |= !waits;
                what.push(format!("{cluster}/{service} says {said:?}"));
            }
            if silent {
                let tasks = |(cluster, service): &(String, String)| {
                    self.coordinator.peek(|state| tasks_of_service(state, cluster, service))
                };
                what.extend(wait.services.iter().map(tasks));
                what.extend(wait.hosts.iter().map(|host| self.agents.shown(*host)));
                left.push(what.join("\n  "));
            }
        }
        left
    }

    async fn newest_messages(&mut self, cluster: &str, service: &str) -> Vec<String> {
        let input = json!({"cluster": cluster, "services": [service]});
        let told = self.clients.told(&mut self.coordinator, "DescribeServices", input).await;
        let events = told["services"][0]["events"].as_array();
        let newest = events.into_iter().flatten().take(5);
        newest.filter_map(|event| event["message"].as_str()).map(str::to_owned).collect()
    }

    /// Deletes everything, and looks at what is left.
    pub(super) async fn raze(&mut self) -> Result<()> {
        self.clients.note("everything is deleted");
        self.agents.set_calm(true);
        self.effects.set_calm(true);
        for _ in 0..RAZES_MAX {
            self.delete_everything().await?;
            for round in 0..3 {
                self.calm_round(round).await?;
            }
            let is_empty =
                |state: &State| state.clusters_len() + state.auto_scaling_groups_len() == 0;
            if self.coordinator.peek(is_empty) {
                break;
            }
            self.pass(FORGOTTEN_AFTER).await?;
        }
        self.agents.clear();
        self.pass(REMEMBERED_FOR).await?;
        self.pass(FORGOTTEN_AFTER).await?;
        let left = self.coordinator.peek(judge::sizes);
        progress(&format!("bytes that are left of the emptied state: {left:?}"));
        for (kind, bytes) in left.iter().filter(|(kind, _)| !STAYS.contains(&kind.as_str())) {
            let what = format!("{bytes} bytes of {kind} are left of an emptied state");
            self.found(Fault::Grown, what);
        }
        for (kind, bytes) in &left {
            let before = *self.emptied.entry(kind.clone()).or_insert(*bytes);
            if *bytes > before * GROWTH_MAX + GROWTH_ALLOWED {
                let what = format!("{before} bytes of {kind} were left of an emptied state");
                self.found(Fault::Grown, format!("{what}, now {bytes} are"));
            }
        }
        self.agents.set_calm(false);
        self.effects.set_calm(false);
        self.look().await
    }

    async fn delete_everything(&mut self) -> Result<()> {
        let clusters = self.listed("ListClusters", json!({}), "clusterArns").await;
        for cluster in &clusters {
            self.empty_cluster(cluster).await?;
        }
        let names = |state: &State| {
            let providers = state.capacity_providers_from(Bound::Unbounded);
            let groups = state.auto_scaling_groups_from(Bound::Unbounded);
            (
                providers.map(|provider| provider.name.to_string()).collect::<Vec<_>>(),
                groups.map(|group| group.name.to_string()).collect::<Vec<_>>(),
            )
        };
        let (providers, groups) = self.coordinator.peek(names);
        for name in providers {
            self.done("DeleteCapacityProvider", json!({"capacityProvider": name})).await;
        }
        for name in groups {
            let input = json!({"AutoScalingGroupName": name, "ForceDelete": true});
            self.done("DeleteAutoScalingGroup", input).await;
        }
        for cluster in &clusters {
            self.done("DeleteCluster", json!({"cluster": cluster})).await;
        }
        let active = self.listed("ListTaskDefinitions", json!({}), "taskDefinitionArns").await;
        for definition in active {
            let input = json!({"taskDefinition": definition});
            self.done("DeregisterTaskDefinition", input).await;
        }
        let inactive = json!({"status": "INACTIVE"});
        let inactive = self.listed("ListTaskDefinitions", inactive, "taskDefinitionArns").await;
        for some in inactive.chunks(10) {
            self.done("DeleteTaskDefinitions", json!({"taskDefinitions": some})).await;
        }
        let names = |state: &State| {
            let alarms = state.alarms_from(Bound::Unbounded);
            let groups = state.log_groups_from(Bound::Unbounded);
            (
                alarms.map(|alarm| alarm.name.to_string()).collect::<Vec<_>>(),
                groups.map(|group| group.name.to_string()).collect::<Vec<_>>(),
            )
        };
        let (alarms, groups) = self.coordinator.peek(names);
        for name in alarms {
            self.done("DeleteAlarms", json!({"AlarmNames": [name]})).await;
        }
        for name in groups {
            self.done("DeleteLogGroup", json!({"logGroupName": name})).await;
        }
        self.look().await
    }

    async fn empty_cluster(&mut self, cluster: &str) -> Result<()> {
        let of_cluster = json!({"cluster": cluster});
        for service in self.listed("ListServices", of_cluster.clone(), "serviceArns").await {
            let input = json!({"cluster": cluster, "service": service, "force": true});
            self.done("DeleteService", input).await;
        }
        for status in ["RUNNING", "PENDING"] {
            let input = json!({"cluster": cluster, "desiredStatus": status});
            for task in self.listed("ListTasks", input, "taskArns").await {
                self.done("StopTask", json!({"cluster": cluster, "task": task})).await;
            }
        }
        let none = json!({"cluster": cluster, "capacityProviders": [],
            "defaultCapacityProviderStrategy": []});
        self.done("PutClusterCapacityProviders", none).await;
        let hosts =
            self.listed("ListContainerInstances", of_cluster, "containerInstanceArns").await;
        for host in hosts {
            let input = json!({"cluster": cluster, "containerInstance": host, "force": true});
            self.done("DeregisterContainerInstance", input).await;
        }
        self.look().await
    }

    async fn listed(&mut self, operation: &str, input: Value, member: &str) -> Vec<String> {
        self.clients.pages(&mut self.coordinator, operation, input, member).await
    }

    async fn done(&mut self, operation: &str, input: Value) {
        self.clients.told(&mut self.coordinator, operation, input).await;
    }
}

/// Something on its way out, and the services whose tasks it waits for: cluster and name.
struct Leaving {
    what: String,
    services: BTreeSet<(String, String)>,
    hosts: Vec<HostId>,
}

/// The changes that a task's attachments wait for.
fn asked_of(task: &Task) -> Vec<Value> {
    let list = task.attachments.iter().flat_map(|attachments| &attachments.list);
    let change = |(position, attachment): (u32, &Attachment)| {
        let status = match attachment.state {
            AttachmentState::Attaching { .. } => "ATTACHED",
            AttachmentState::Detaching { .. } => "DETACHED",
            _ => return None,
        };
        Some(json!({"attachmentArn": attachment_id(task.id, position), "status": status}))
    };
    (0..).zip(list).filter_map(change).collect()
}

/// A task and its host, as the state has them.
fn standing(state: &State, task: &Task) -> String {
    let host = state.host_at(task.host);
    format!(
        "task {} of {} ({:?}, {:?}, {:?}) on host {} ({:?}, connected {})",
        task.id,
        state.group_name(task.group),
        task.phase,
        task.wish,
        task.standing(),
        host.id,
        host.status,
        host.connected
    )
}

/// Tasks that are to leave a draining host. One of a service that only a later journal knew was
/// adopted after `recover` and belongs to no service: it is left alone, as ECS leaves any task that
/// is no service's, and daemons stay beside it.
fn on_their_way<'a>(state: &'a State, host: &'a Host) -> Vec<&'a Task> {
    let tasks = || host.tasks.values().map(|slot| state.task_at(*slot));
    let daemons = |task: &Task| {
        task.service.as_ref().is_some_and(|of| state.service_at(of.service).is_daemon())
    };
    let is_orphan = |task: &Task| {
        task.service.is_none() && state.group_name(task.group).starts_with("service:")
    };
    let own: Vec<&Task> = tasks().filter(|task| !daemons(task) && !is_orphan(task)).collect();
    match own.is_empty() && !tasks().any(is_orphan) {
        true => tasks().collect(),
        false => own,
    }
}

/// All that a service runs, for whoever looks for what it waits for.
fn tasks_of_service(state: &State, cluster: &str, service: &str) -> String {
    let service = state.cluster(cluster).and_then(|cluster| cluster.services.get(service));
    let Some(service) = service.map(|slot| state.service_at(*slot)) else { return String::new() };
    let tasks = service.revisions.iter().flat_map(|revision| revision.tasks.values());
    let tasks: Vec<String> = tasks.map(|slot| standing(state, state.task_at(*slot))).collect();
    format!("{} of {} wanted: {}", service.name, service.config.desired, tasks.join("; "))
}

/// The services of these tasks. Those of daemons wait for nothing that a message would name.
fn services_of<'a>(
    state: &State,
    tasks: impl IntoIterator<Item = &'a Task>,
) -> BTreeSet<(String, String)> {
    let services = tasks.into_iter().filter_map(|task| task.service.as_ref());
    services
        .map(|of| state.service_at(of.service))
        .map(|service| {
            (state.cluster_at(service.cluster).name.to_string(), service.name.to_string())
        })
        .collect()
}

/// What is on its way out.
fn leaving(state: &State) -> Vec<Leaving> {
    let mut leaving = Vec::new();
    for cluster in state.clusters_after(None) {
        let services = cluster.services.values().map(|slot| state.service_at(*slot));
        for service in services.filter(|service| service.status == ServiceStatus::Draining) {
            let tasks = service.revisions.iter().flat_map(|revision| revision.tasks.values());
            let tasks: Vec<String> =
                tasks.map(|slot| standing(state, state.task_at(*slot))).collect();
            let (name, tasks) = (&service.name, tasks.join("; "));
            let what = format!("service {}/{name} stays DRAINING with {tasks}", cluster.name);
            leaving.push(Leaving { what, services: BTreeSet::new(), hosts: Vec::new() });
        }
    }
    for host in state.hosts().filter(|host| host.status == HostStatus::Draining) {
        let tasks = on_their_way(state, host);
        if !tasks.is_empty() {
            let shown: Vec<String> = tasks.iter().map(|task| standing(state, task)).collect();
            let what = format!("DRAINING host {} keeps {}", host.id, shown.join("; "));
            leaving.push(Leaving {
                what,
                services: services_of(state, tasks),
                hosts: vec![host.id],
            });
        }
    }
    let groups = state.auto_scaling_groups_from(Bound::Unbounded);
    for group in groups.filter(|group| group.deleting) {
        let hosts = || group.instances.keys().flat_map(|id| state.hosts_of_instance(*id));
        let tasks: Vec<&Task> = hosts().flat_map(|host| on_their_way(state, host)).collect();
        // Its hosts wait for nothing but orphans.
        let orphans = tasks.is_empty() && hosts().any(|host| !host.tasks.is_empty());
        if !orphans {
            let instances: Vec<_> = group.instances.values().collect();
            let what = format!("the deleted Auto Scaling group {} keeps {instances:?}", group.name);
            let hosts = hosts().map(|host| host.id).collect();
            leaving.push(Leaving { what, services: services_of(state, tasks), hosts });
        }
    }
    leaving
}
