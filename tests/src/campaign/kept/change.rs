//! The calls that writers make, and what each changes in their model.

use longshore_harness::image::SAMPLE_IMAGE;
use serde_json::{Value, json};

use crate::{
    campaign::kept::model::{
        ATTRIBUTE_PREFIX, Cluster, Definition, Host, Model, Names, Revision, Task, the_new_one,
    },
    chance::Chance,
};

/// Bounds on what one writer has, so that reading everything back stays quick.
const CLUSTERS_MAX: usize = 12;
const REVISIONS_MAX: usize = 40;
const HOSTS_MAX: usize = 10;
const TASKS_RUNNING_MAX: usize = 3;
const TASKS_MAX: usize = 60;

/// One call that changes something.
#[derive(Clone, Debug)]
pub(super) enum Change {
    CreateCluster { name: String },
    UpdateCluster { name: String, exec_logging: &'static str },
    DeleteCluster { name: String },
    TagResource { name: String, key: String, value: String },
    UntagResource { name: String, key: String },
    RegisterTaskDefinition { family: String },
    DeregisterTaskDefinition { revision: Revision },
    DeleteTaskDefinitions { revision: Revision },
    RegisterContainerInstance { cluster: String },
    UpdateContainerInstancesState { cluster: String, host: String, draining: bool },
    PutAttributes { cluster: String, host: String, name: String, value: String },
    DeleteAttributes { cluster: String, host: String, name: String },
    DeregisterContainerInstance { cluster: String, host: String },
    RunTask { token: String, started_by: String },
    StopTask { task: String },
}

impl Change {
    /// A change that is possible in this state; the `n`-th of its writer.
    pub(super) fn choose(model: &Model, names: &Names, n: usize, chance: &mut Chance) -> Change {
        loop {
            if let Some(change) = Change::try_choose(model, names, n, chance) {
                return change;
            }
        }
    }

    fn try_choose(model: &Model, names: &Names, n: usize, chance: &mut Chance) -> Option<Change> {
        let clusters: Vec<&String> =
            model.clusters.keys().filter(|name| **name != names.hosts_cluster).collect();
        let hosts: Vec<_> = model.hosts.iter().collect();
        let revisions_of = |wanted: Definition| -> Vec<&Revision> {
            let those = model.definitions.iter().filter(|(_, status)| **status == wanted);
            those.map(|(revision, _)| revision).collect()
        };
        let running: Vec<&String> =
            model.tasks.iter().filter(|(_, task)| !task.stop).map(|(arn, _)| arn).collect();
        let cluster = names.hosts_cluster.clone();
        Some(match chance.below(18) {
            0 if clusters.len() < CLUSTERS_MAX => {
                Change::CreateCluster { name: format!("{}c{n}", names.prefix) }
            }
            1 | 2 => Change::UpdateCluster {
                name: chance.pick(&clusters)?.to_string(),
                exec_logging: if chance.one_in(2) { "NONE" } else { "DEFAULT" },
            },
            3 if clusters.len() > CLUSTERS_MAX / 2 => {
                Change::DeleteCluster { name: chance.pick(&clusters)?.to_string() }
            }
            4 | 5 => Change::TagResource {
                name: chance.pick(&clusters)?.to_string(),
                key: format!("k{}", chance.below(5)),
                value: format!("v{n}"),
            },
            6 => {
                let name = chance.pick(&clusters)?.to_string();
                let tags: Vec<&String> = model.clusters.get(&name)?.tags.keys().collect();
                let key = chance.pick(&tags)?.to_string();
                Change::UntagResource { name, key }
            }
            7 | 8 if model.definitions.len() < REVISIONS_MAX => {
                Change::RegisterTaskDefinition { family: chance.pick(&names.families)?.clone() }
            }
            9 => {
                let revision = (*chance.pick(&revisions_of(Definition::Active))?).clone();
                Change::DeregisterTaskDefinition { revision }
            }
            10 => {
                let revision = (*chance.pick(&revisions_of(Definition::Inactive))?).clone();
                Change::DeleteTaskDefinitions { revision }
            }
            11 if hosts.len() < HOSTS_MAX => Change::RegisterContainerInstance { cluster },
            12 => {
                let (host, was) = chance.pick(&hosts)?;
                let (host, draining) = (host.to_string(), !was.draining);
                Change::UpdateContainerInstancesState { cluster, host, draining }
            }
            13 | 14 => Change::PutAttributes {
                cluster,
                host: chance.pick(&hosts)?.0.clone(),
                name: format!("{ATTRIBUTE_PREFIX}{}", chance.below(4)),
                value: format!("v{n}"),
            },
            15 => {
                let (host, was) = chance.pick(&hosts)?;
                let attributes: Vec<&String> = was.attributes.keys().collect();
                let name = chance.pick(&attributes)?.to_string();
                Change::DeleteAttributes { cluster, host: host.to_string(), name }
            }
            16 if hosts.len() > HOSTS_MAX / 2 => Change::DeregisterContainerInstance {
                cluster,
                host: chance.pick(&hosts)?.0.clone(),
            },
            // Rarer than the rest: each makes Docker work, and the disk is what we want busy.
            17 if chance.one_in(4) => match running.len() {
                TASKS_RUNNING_MAX.. => Change::StopTask { task: running[0].to_owned() },
                _ if model.tasks.len() < TASKS_MAX => Change::RunTask {
                    token: format!("{}t{n}", names.prefix),
                    started_by: names.prefix.clone(),
                },
                _ => return None,
            },
            _ => return None,
        })
    }

    /// The operation and its input.
    pub(super) fn call(&self) -> (&'static str, Value) {
        match self {
            Change::CreateCluster { name } => ("CreateCluster", json!({ "clusterName": name })),
            Change::UpdateCluster { name, exec_logging } => (
                "UpdateCluster",
                json!({
                    "cluster": name,
                    "configuration": {
                        "executeCommandConfiguration": { "logging": exec_logging },
                    },
                }),
            ),
            Change::DeleteCluster { name } => ("DeleteCluster", json!({ "cluster": name })),
            Change::TagResource { name, key, value } => (
                "TagResource",
                json!({
                    "resourceArn": cluster_arn(name),
                    "tags": [{ "key": key, "value": value }],
                }),
            ),
            Change::UntagResource { name, key } => {
                ("UntagResource", json!({ "resourceArn": cluster_arn(name), "tagKeys": [key] }))
            }
            Change::RegisterTaskDefinition { family } => (
                "RegisterTaskDefinition",
                json!({
                    "family": family,
                    "containerDefinitions": [
                        { "name": "main", "image": SAMPLE_IMAGE, "memory": 16 },
                    ],
                }),
            ),
            Change::DeregisterTaskDefinition { revision } => {
                ("DeregisterTaskDefinition", json!({ "taskDefinition": revision.name() }))
            }
            Change::DeleteTaskDefinitions { revision } => {
                ("DeleteTaskDefinitions", json!({ "taskDefinitions": [revision.name()] }))
            }
            Change::RegisterContainerInstance { cluster } => (
                "RegisterContainerInstance",
                json!({
                    "cluster": cluster,
                    "totalResources": [
                        { "name": "CPU", "type": "INTEGER", "integerValue": 2048 },
                        { "name": "MEMORY", "type": "INTEGER", "integerValue": 2048 },
                    ],
                }),
            ),
            Change::UpdateContainerInstancesState { cluster, host, draining } => (
                "UpdateContainerInstancesState",
                json!({
                    "cluster": cluster,
                    "containerInstances": [host],
                    "status": if *draining { "DRAINING" } else { "ACTIVE" },
                }),
            ),
            Change::PutAttributes { cluster, host, name, value } => (
                "PutAttributes",
                json!({
                    "cluster": cluster,
                    "attributes": [{ "name": name, "value": value, "targetId": host }],
                }),
            ),
            Change::DeleteAttributes { cluster, host, name } => (
                "DeleteAttributes",
                json!({
                    "cluster": cluster,
                    "attributes": [{ "name": name, "targetId": host }],
                }),
            ),
            Change::DeregisterContainerInstance { cluster, host } => (
                "DeregisterContainerInstance",
                json!({ "cluster": cluster, "containerInstance": host }),
            ),
            Change::RunTask { token, started_by } => (
                "RunTask",
                json!({
                    "taskDefinition": RUNNABLE,
                    "clientToken": token,
                    "startedBy": started_by,
                }),
            ),
            Change::StopTask { task } => ("StopTask", json!({ "task": task })),
        }
    }

    /// What an answer with status 200 means. `false`: it says that nothing was changed.
    pub(super) fn acknowledged(&self, model: &mut Model, answer: &Value) -> bool {
        if answer["failures"].as_array().is_some_and(|failures| !failures.is_empty()) {
            return false;
        }
        match self {
            Change::RegisterTaskDefinition { .. } => {
                let arn = answer["taskDefinition"]["taskDefinitionArn"].as_str();
                let Some(revision) = arn.and_then(Revision::of_arn) else { return false };
                model.definitions.insert(revision, Definition::Active);
            }
            Change::RegisterContainerInstance { .. } => {
                let arn = &answer["containerInstance"]["containerInstanceArn"];
                let Some(arn) = arn.as_str() else { return false };
                model.hosts.insert(arn.to_owned(), Host::default());
            }
            Change::RunTask { .. } => {
                let Some(arn) = answer["tasks"][0]["taskArn"].as_str() else { return false };
                model.tasks.insert(arn.to_owned(), Task::default());
            }
            named => named.apply(model),
        }
        true
    }

    /// The model as it is when this change, which was never answered, was made after all, going
    /// by what was found; absent when what was found cannot tell.
    pub(super) fn made_after_all(&self, model: &Model, found: &Model) -> Option<Model> {
        let mut made = model.clone();
        match self {
            Change::RegisterTaskDefinition { family } => {
                let new: Vec<_> = found
                    .definitions
                    .keys()
                    .filter(|revision| !model.definitions.contains_key(revision))
                    .filter(|revision| revision.family == *family)
                    .collect();
                let [one] = new[..] else { return None };
                made.definitions.insert(one.clone(), Definition::Active);
            }
            Change::RegisterContainerInstance { .. } => {
                let new = the_new_one(&model.hosts, &found.hosts).ok()??;
                made.hosts.insert(new.clone(), Host::default());
            }
            Change::RunTask { .. } => {
                let new = the_new_one(&model.tasks, &found.tasks).ok()??;
                made.tasks.insert(new.clone(), Task::default());
            }
            named => named.apply(&mut made),
        }
        Some(made)
    }

    /// For changes whose outcome is known without the answer.
    fn apply(&self, model: &mut Model) {
        match self {
            Change::CreateCluster { name } => {
                let cluster = Cluster::default();
                model.clusters.insert(name.clone(), cluster);
            }
            Change::UpdateCluster { name, exec_logging } => {
                let cluster = model.clusters.entry(name.clone()).or_default();
                cluster.exec_logging = (*exec_logging).into();
            }
            Change::DeleteCluster { name } => drop(model.clusters.remove(name)),
            Change::TagResource { name, key, value } => {
                let tags = &mut model.clusters.entry(name.clone()).or_default().tags;
                tags.insert(key.clone(), value.clone());
            }
            Change::UntagResource { name, key } => {
                model.clusters.entry(name.clone()).or_default().tags.remove(key);
            }
            Change::DeregisterTaskDefinition { revision } => {
                model.definitions.insert(revision.clone(), Definition::Inactive);
            }
            Change::DeleteTaskDefinitions { revision } => drop(model.definitions.remove(revision)),
            Change::UpdateContainerInstancesState { host, draining, .. } => {
                model.hosts.entry(host.clone()).or_default().draining = *draining;
            }
            Change::PutAttributes { host, name, value, .. } => {
                let attributes = &mut model.hosts.entry(host.clone()).or_default().attributes;
                attributes.insert(name.clone(), value.clone());
            }
            Change::DeleteAttributes { host, name, .. } => {
                model.hosts.entry(host.clone()).or_default().attributes.remove(name);
            }
            Change::DeregisterContainerInstance { host, .. } => drop(model.hosts.remove(host)),
            Change::StopTask { task } => {
                model.tasks.entry(task.clone()).or_default().stop = true;
            }
            Change::RegisterTaskDefinition { .. }
            | Change::RegisterContainerInstance { .. }
            | Change::RunTask { .. } => {}
        }
    }
}

/// The definition that writers run: made before they begin, by whichever comes first.
pub(super) const RUNNABLE: &str = "kept-runnable:1";

fn cluster_arn(name: &str) -> String {
    format!("arn:aws:ecs:us-east-1:000000000000:cluster/{name}")
}
