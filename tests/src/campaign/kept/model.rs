//! What one writer must find when it reads everything of its own back.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use longshore_harness::ecs::{CallError, EcsClient, list_all};
use serde_json::{Value, json};

/// DescribeClusters, DescribeContainerInstances and DescribeTasks take no more.
const DESCRIBED_MAX: usize = 100;

/// Everything of one writer. Clusters that were deleted and hosts that were deregistered are not
/// in it: they must not be listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) clusters: BTreeMap<String, Cluster>,
    pub(super) definitions: BTreeMap<Revision, Definition>,
    /// By ARN, in the writer's own cluster.
    pub(super) hosts: BTreeMap<String, Host>,
    /// By ARN.
    pub(super) tasks: BTreeMap<String, Task>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cluster {
    pub(super) exec_logging: String,
    pub(super) tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Revision {
    pub(super) family: String,
    pub(super) revision: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Definition {
    Active,
    Inactive,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) draining: bool,
    pub(super) attributes: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) stop: bool,
}

/// What a writer's things are called, so that one writer's cannot be taken for another's.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) prefix: String,
    /// Where its hosts are: made first, never deleted.
    pub(super) hosts_cluster: String,
    pub(super) families: Vec<String>,
}

pub(super) const ATTRIBUTE_PREFIX: &str = "kept-";

impl Model {
    /// Reads everything of a writer. Tasks that the model does not know are looked for among the
    /// running ones only; those that it knows are described whatever became of them.
    pub(super) async fn read(
        client: &EcsClient,
        names: &Names,
        known_tasks: &BTreeSet<String>,
    ) -> Result<Model, CallError> {
        Ok(Model {
            clusters: read_clusters(client, names).await?,
            definitions: read_definitions(client, names).await?,
            hosts: read_hosts(client, names).await?,
            tasks: read_tasks(client, names, known_tasks).await?,
        })
    }

    /// What is missing or older than acknowledged, and what nobody asked for, in words.
    pub(super) fn compare(&self, found: &Model) -> Difference {
        let mut difference = Difference::default();
        difference.of("cluster", &self.clusters, &found.clusters);
        difference.of("task definition", &self.definitions, &found.definitions);
        difference.of("host", &self.hosts, &found.hosts);
        difference.of("task", &self.tasks, &found.tasks);
        difference
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Difference {
    pub(super) lost: Vec<String>,
    pub(super) invented: Vec<String>,
}

impl Difference {
    pub(super) fn is_none(&self) -> bool {
        self.lost.is_empty() && self.invented.is_empty()
    }

    fn of<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
        &mut self,
        what: &str,
        wanted: &BTreeMap<K, V>,
        found: &BTreeMap<K, V>,
    ) {
        for (key, value) in wanted {
            match found.get(key) {
                Some(there) if there == value => {}
                Some(there) => {
                    self.lost.push(format!("{what} {key:?} is {there:?}, acknowledged {value:?}"));
                }
                None => self.lost.push(format!("{what} {key:?} is gone, acknowledged {value:?}")),
            }
        }
        let unasked = found.iter().filter(|(key, _)| !wanted.contains_key(key));
        self.invented.extend(unasked.map(|(key, value)| format!("{what} {key:?}: {value:?}")));
    }
}

async fn read_clusters(
    client: &EcsClient,
    names: &Names,
) -> Result<BTreeMap<String, Cluster>, CallError> {
    let arns = list_all(client, "ListClusters", json!({}), "clusterArns").await?;
    let of_writer = arns.iter().filter_map(|arn| arn.rsplit('/').next());
    let of_writer: Vec<&str> = of_writer.filter(|name| name.starts_with(&names.prefix)).collect();
    let mut found = BTreeMap::new();
    for some in of_writer.chunks(DESCRIBED_MAX) {
        let ask = json!({ "clusters": some, "include": ["CONFIGURATIONS", "TAGS"] });
        let answer = client.call("DescribeClusters", ask).await?;
        for cluster in items(&answer["clusters"]) {
            let exec = &cluster["configuration"]["executeCommandConfiguration"];
            let read = Cluster {
                exec_logging: exec["logging"].as_str().unwrap_or_default().to_owned(),
                tags: pairs(&cluster["tags"], "key"),
            };
            found.insert(text(&cluster["clusterName"]), read);
        }
    }
    Ok(found)
}

async fn read_definitions(
    client: &EcsClient,
    names: &Names,
) -> Result<BTreeMap<Revision, Definition>, CallError> {
    let mut found = BTreeMap::new();
    for family in &names.families {
        for (status, means) in [("ACTIVE", Definition::Active), ("INACTIVE", Definition::Inactive)]
        {
            let ask = json!({ "familyPrefix": family, "status": status });
            let arns = list_all(client, "ListTaskDefinitions", ask, "taskDefinitionArns").await?;
            for arn in arns {
                if let Some(revision) = Revision::of_arn(&arn) {
                    found.insert(revision, means.clone());
                }
            }
        }
    }
    Ok(found)
}

impl Revision {
    pub(super) fn of_arn(arn: &str) -> Option<Revision> {
        let (family, revision) = arn.rsplit('/').next()?.split_once(':')?;
        Some(Revision { family: family.to_owned(), revision: revision.parse().ok()? })
    }

    /// As operations take it.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.family, self.revision)
    }
}

async fn read_hosts(
    client: &EcsClient,
    names: &Names,
) -> Result<BTreeMap<String, Host>, CallError> {
    let cluster = &names.hosts_cluster;
    let ask = json!({ "cluster": cluster });
    let arns = list_all(client, "ListContainerInstances", ask, "containerInstanceArns").await?;
    let mut found = BTreeMap::new();
    for some in arns.chunks(DESCRIBED_MAX) {
        let ask = json!({ "cluster": cluster, "containerInstances": some });
        let answer = client.call("DescribeContainerInstances", ask).await?;
        for host in items(&answer["containerInstances"]) {
            let mut attributes = pairs(&host["attributes"], "name");
            attributes.retain(|name, _| name.starts_with(ATTRIBUTE_PREFIX));
            let draining = host["status"] == json!("DRAINING");
            found.insert(text(&host["containerInstanceArn"]), Host { draining, attributes });
        }
    }
    Ok(found)
}

async fn read_tasks(
    client: &EcsClient,
    names: &Names,
    known: &BTreeSet<String>,
) -> Result<BTreeMap<String, Task>, CallError> {
    let ask = json!({ "startedBy": names.prefix });
    let mut arns: BTreeSet<String> =
        list_all(client, "ListTasks", ask, "taskArns").await?.into_iter().collect();
    arns.extend(known.iter().cloned());
    let arns: Vec<String> = arns.into_iter().collect();
    let mut found = BTreeMap::new();
    for some in arns.chunks(DESCRIBED_MAX) {
        let answer = client.call("DescribeTasks", json!({ "tasks": some })).await?;
        for task in items(&answer["tasks"]) {
            let stop = task["desiredStatus"] == json!("STOPPED");
            found.insert(text(&task["taskArn"]), Task { stop });
        }
    }
    Ok(found)
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], |items| items)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn pairs(list: &Value, key: &str) -> BTreeMap<String, String> {
    items(list).iter().map(|item| (text(&item[key]), text(&item["value"]))).collect()
}

/// The new one among `found`, when there is just one.
pub(super) fn the_new_one<'a, V>(
    known: &BTreeMap<String, V>,
    found: &'a BTreeMap<String, V>,
) -> Result<Option<&'a String>> {
    let mut new = found.keys().filter(|key| !known.contains_key(*key));
    match (new.next(), new.next()) {
        (one, None) => Ok(one),
        (_, Some(_)) => bail!("one call made more than one thing"),
    }
}
