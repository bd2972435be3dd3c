//! Clusters: CreateCluster, DeleteCluster, DescribeClusters, ListClusters, UpdateCluster,
//! UpdateClusterSettings.

use std::collections::BTreeMap;

use longshore_common::{
    arn::{Identity, Uuid},
    clock::Timestamp,
};
use longshore_core::{
    command::{ClusterChange, ClusterCommand, Command},
    model::{
        cluster::{ClusterSettings, Replacing},
        name::ClusterName,
    },
    schedule::{lost_hosts, scaled_of},
    state::{Cluster, State},
};
use serde::{Deserialize, Serialize};

use super::{
    failure::Failure,
    identifiers,
    strategy::{self, StrategyItemInput},
    tags::{self, TagInput, TagView},
};
use crate::edge::{context::Api, error::ApiError, page::Page};

/// The only setting of a cluster.
const CONTAINER_INSIGHTS: &str = "containerInsights";
pub(super) const CONTAINER_INSIGHTS_VALUES: &[&str] = &["enabled", "disabled", "enhanced"];
const CONTAINER_INSIGHTS_OFF: &str = "disabled";
/// Why `enabled` and `enhanced` are refused: what they promise would not be there.
pub(super) const NO_CONTAINER_INSIGHTS: &str = "This release of Longshore sends no metrics to CloudWatch. Say disabled or leave it out, and \
     have Prometheus read /metrics of the coordinator and of the agents.";
/// Maximum number of clusters that one call describes (ecs-behaviour 1.1, batch limits).
const DESCRIBED_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateClusterInput {
    cluster_name: Option<String>,
    #[serde(default)]
    tags: Vec<TagInput>,
    #[serde(default)]
    settings: Vec<SettingInput>,
    configuration: Option<Configuration>,
    #[serde(default)]
    capacity_providers: Vec<String>,
    #[serde(default)]
    default_capacity_provider_strategy: Vec<StrategyItemInput>,
    service_connect_defaults: Option<ServiceConnectDefaults>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateClusterInput {
    cluster: String,
    #[serde(default)]
    settings: Vec<SettingInput>,
    configuration: Option<Configuration>,
    service_connect_defaults: Option<ServiceConnectDefaults>,
}

#[derive(Deserialize)]
pub(crate) struct UpdateClusterSettingsInput {
    cluster: String,
    settings: Vec<SettingInput>,
}

#[derive(Deserialize)]
pub(crate) struct DeleteClusterInput {
    cluster: String,
}

#[derive(Deserialize)]
pub(crate) struct DescribeClustersInput {
    #[serde(default)]
    clusters: Vec<String>,
    #[serde(default)]
    include: Vec<ClusterField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListClustersInput {
    next_token: Option<String>,
    max_results: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ClusterField {
    Attachments,
    Configurations,
    Settings,
    Statistics,
    Tags,
}

#[derive(Deserialize)]
struct SettingInput {
    name: Option<String>,
    value: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    #[serde(skip_serializing_if = "Option::is_none")]
    execute_command_configuration: Option<ExecuteCommandConfiguration>,
    #[serde(skip_serializing)]
    managed_storage_configuration: Option<ManagedStorageConfiguration>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExecuteCommandConfiguration {
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logging: Option<ExecuteCommandLogging>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_configuration: Option<ExecuteCommandLogConfiguration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum ExecuteCommandLogging {
    None,
    Default,
    Override,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExecuteCommandLogConfiguration {
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_watch_log_group_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_watch_encryption_enabled: Option<bool>,
    #[serde(rename = "s3BucketName", skip_serializing_if = "Option::is_none")]
    s3_bucket_name: Option<String>,
    #[serde(rename = "s3EncryptionEnabled", skip_serializing_if = "Option::is_none")]
    s3_encryption_enabled: Option<bool>,
    #[serde(rename = "s3KeyPrefix", skip_serializing_if = "Option::is_none")]
    s3_key_prefix: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManagedStorageConfiguration {
    kms_key_id: Option<String>,
    fargate_ephemeral_storage_kms_key_id: Option<String>,
}

#[derive(Deserialize)]
struct ServiceConnectDefaults {
    namespace: String,
}

#[derive(Serialize)]
pub(crate) struct ClusterOutput {
    cluster: ClusterView,
}

#[derive(Serialize)]
pub(crate) struct DescribeClustersOutput {
    clusters: Vec<ClusterView>,
    failures: Vec<Failure>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListClustersOutput {
    cluster_arns: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterView {
    cluster_arn: String,
    cluster_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration: Option<serde_json::Value>,
    status: &'static str,
    registered_container_instances_count: u32,
    running_tasks_count: u32,
    pending_tasks_count: u32,
    active_services_count: u32,
    statistics: Vec<NameAndValue>,
    tags: Vec<TagView>,
    settings: Vec<NameAndValue>,
    capacity_providers: Vec<String>,
    default_capacity_provider_strategy: Vec<StrategyItemInput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachments: Option<Vec<AttachmentView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachments_status: Option<&'static str>,
}

#[derive(Serialize)]
struct AttachmentView {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    status: &'static str,
    details: Vec<NameAndValue>,
}

#[derive(Serialize)]
struct NameAndValue {
    name: String,
    value: String,
}

pub(crate) async fn create(
    api: &Api,
    input: CreateClusterInput,
) -> Result<ClusterOutput, ApiError> {
    let name = identifiers::cluster(&api.identity, input.cluster_name.as_deref())?;
    let (tags, options) = tags::parse_with_options(input.tags)?;
    let capacity = strategy::cluster_capacity(
        &api.identity,
        input.capacity_providers,
        input.default_capacity_provider_strategy,
    )?;
    no_service_connect(input.service_connect_defaults)?;
    let mut settings = ClusterSettings {
        settings: parse_settings(input.settings)?,
        configuration: parse_configuration(input.configuration)?,
        service_connect_namespace: None,
        options,
        capacity,
    };
    settings
        .settings
        .entry(CONTAINER_INSIGHTS.to_owned())
        .or_insert_with(|| CONTAINER_INSIGHTS_OFF.to_owned());
    let command =
        Command::Cluster(ClusterCommand::CreateCluster { name: name.clone(), settings, tags });
    submit_and_show(api, command, name).await
}

pub(crate) async fn update(
    api: &Api,
    input: UpdateClusterInput,
) -> Result<ClusterOutput, ApiError> {
    let name = identifiers::cluster(&api.identity, Some(&input.cluster))?;
    no_service_connect(input.service_connect_defaults)?;
    let settings = parse_settings(input.settings)?;
    let change = ClusterChange {
        settings: (!settings.is_empty()).then_some(settings),
        configuration: parse_configuration(input.configuration)?,
        service_connect_namespace: None,
    };
    submit_and_show(
        api,
        Command::Cluster(ClusterCommand::UpdateCluster { name: name.clone(), change }),
        name,
    )
    .await
}

pub(crate) async fn update_settings(
    api: &Api,
    input: UpdateClusterSettingsInput,
) -> Result<ClusterOutput, ApiError> {
    let name = identifiers::cluster(&api.identity, Some(&input.cluster))?;
    let settings = parse_settings(input.settings)?;
    if settings.is_empty() {
        return Err(ApiError::invalid_parameter(
            "settings is empty: give the setting to change, containerInsights for example.",
        ));
    }
    let change = ClusterChange { settings: Some(settings), ..ClusterChange::default() };
    submit_and_show(
        api,
        Command::Cluster(ClusterCommand::UpdateCluster { name: name.clone(), change }),
        name,
    )
    .await
}

pub(crate) async fn delete(
    api: &Api,
    input: DeleteClusterInput,
) -> Result<ClusterOutput, ApiError> {
    let name = identifiers::cluster(&api.identity, Some(&input.cluster))?;
    submit_and_show(
        api,
        Command::Cluster(ClusterCommand::DeleteCluster { name: name.clone() }),
        name,
    )
    .await
}

/// What writing operations answer: everything of the cluster.
pub(super) async fn submit_and_show(
    api: &Api,
    command: Command,
    name: ClusterName,
) -> Result<ClusterOutput, ApiError> {
    let (identity, now) = (api.identity.clone(), api.clock.wall());
    let all = [ClusterField::Configurations, ClusterField::Settings, ClusterField::Tags];
    let cluster = api
        .submit(command, move |state, _| {
            state.cluster(name.as_str()).map(|cluster| view(&identity, state, cluster, &all, now))
        })
        .await?
        .ok_or_else(ApiError::cluster_not_found)?;
    Ok(ClusterOutput { cluster })
}

pub(crate) async fn describe(
    api: &Api,
    input: DescribeClustersInput,
) -> Result<DescribeClustersOutput, ApiError> {
    if input.clusters.len() > DESCRIBED_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "clusters has {} entries; at most {DESCRIBED_MAX} can be described at once.",
            input.clusters.len()
        )));
    }
    let mut asked = input.clusters;
    if asked.is_empty() {
        asked.push(identifiers::DEFAULT_CLUSTER.to_owned());
    }
    let mut names: Vec<(String, Option<ClusterName>)> = Vec::new();
    for given in asked {
        let name = identifiers::cluster_if_here(&api.identity, &given)?;
        let duplicate = |(_, other): &(_, Option<ClusterName>)| name.is_some() && *other == name;
        if !names.iter().any(duplicate) {
            names.push((given, name));
        }
    }
    let (identity, include, now) = (api.identity.clone(), input.include, api.clock.wall());
    let describe = move |state: &State| {
        let mut output = DescribeClustersOutput { clusters: Vec::new(), failures: Vec::new() };
        for (given, name) in names {
            let found = name.as_ref().and_then(|name| state.cluster(name.as_str()));
            match (found, name) {
                (Some(cluster), _) => {
                    output.clusters.push(view(&identity, state, cluster, &include, now));
                }
                (None, Some(name)) => {
                    output.failures.push(Failure::missing(identity.cluster(name.as_str())));
                }
                (None, None) => output.failures.push(Failure::missing(given)),
            }
        }
        output
    };
    api.read(describe).await
}

pub(crate) async fn list(
    api: &Api,
    input: ListClustersInput,
) -> Result<ListClustersOutput, ApiError> {
    let page = Page::parse(&api.page_scope, input.max_results, input.next_token.as_deref())?;
    let list = move |state: &State| {
        let clusters = state.clusters_after(page.after.as_deref()).filter(|c| c.is_active());
        page.take(clusters.map(|c| c.name.clone()), ClusterName::to_string)
    };
    let (names, next_token) = api.read(list).await?;
    let cluster_arns = names.iter().map(|name| api.identity.cluster(name.as_str())).collect();
    Ok(ListClustersOutput { cluster_arns, next_token })
}

fn parse_settings(given: Vec<SettingInput>) -> Result<BTreeMap<String, String>, ApiError> {
    let mut settings = BTreeMap::new();
    for SettingInput { name, value } in given {
        let (name, value) = (name.unwrap_or_default(), value.unwrap_or_default());
        if name != CONTAINER_INSIGHTS {
            return Err(ApiError::invalid_parameter(format!(
                "The cluster setting `{name}` is not known. Valid name: {CONTAINER_INSIGHTS}."
            )));
        }
        if !CONTAINER_INSIGHTS_VALUES.contains(&value.as_str()) {
            return Err(ApiError::invalid_parameter(format!(
                "The value `{value}` of {CONTAINER_INSIGHTS} is not valid. Valid values: {}.",
                CONTAINER_INSIGHTS_VALUES.join(", ")
            )));
        }
        if value != CONTAINER_INSIGHTS_OFF {
            return Err(ApiError::invalid_parameter(format!(
                "The value `{value}` of {CONTAINER_INSIGHTS} cannot be honoured. \
                 {NO_CONTAINER_INSIGHTS}"
            )));
        }
        if settings.insert(name, value).is_some() {
            return Err(ApiError::invalid_parameter(format!(
                "The cluster setting {CONTAINER_INSIGHTS} is given twice."
            )));
        }
    }
    Ok(settings)
}

/// Reads the cluster's configuration. Where ECS Exec is to log its sessions is kept: all sessions
/// obey that, as there are none, since every call that asks for ECS Exec is refused. An encryption
/// that does not happen cannot be promised, and is refused.
fn parse_configuration(
    given: Option<Configuration>,
) -> Result<Option<serde_json::Value>, ApiError> {
    let Some(configuration) = given else { return Ok(None) };
    if let Some(storage) = &configuration.managed_storage_configuration
        && (storage.kms_key_id.is_some() || storage.fargate_ephemeral_storage_kms_key_id.is_some())
    {
        return Err(ApiError::invalid_parameter(
            "managedStorageConfiguration cannot be honoured: Longshore does not encrypt the \
             storage of hosts. Leave it out, and encrypt the hosts' disks instead.",
        ));
    }
    let Some(exec) = &configuration.execute_command_configuration else { return Ok(None) };
    let encrypted = exec.log_configuration.as_ref().is_some_and(|log| {
        log.cloud_watch_encryption_enabled == Some(true) || log.s3_encryption_enabled == Some(true)
    });
    if encrypted || exec.kms_key_id.as_ref().is_some_and(|key| !key.is_empty()) {
        return Err(ApiError::invalid_parameter(
            "executeCommandConfiguration cannot be honoured: Longshore encrypts neither sessions \
             nor their logs with a key of yours. Leave kmsKeyId, cloudWatchEncryptionEnabled and \
             s3EncryptionEnabled out.",
        ));
    }
    let overridden = exec.logging == Some(ExecuteCommandLogging::Override);
    if overridden != exec.log_configuration.is_some() {
        return Err(ApiError::invalid_parameter(
            "executeCommandConfiguration needs a logConfiguration when logging is OVERRIDE, and \
             only then.",
        ));
    }
    serde_json::to_value(&configuration).map(Some).map_err(|error| {
        ApiError::server(format!("the configuration could not be written: {error}"))
    })
}

fn no_service_connect(given: Option<ServiceConnectDefaults>) -> Result<(), ApiError> {
    match given {
        Some(ServiceConnectDefaults { namespace }) if !namespace.is_empty() => {
            Err(ApiError::invalid_parameter(format!(
                "The namespace `{namespace}` was not found: this release of Longshore has no \
                 Service Connect. Leave serviceConnectDefaults out."
            )))
        }
        Some(_) | None => Ok(()),
    }
}

fn view(
    identity: &Identity,
    state: &State,
    cluster: &Cluster,
    include: &[ClusterField],
    at: Timestamp,
) -> ClusterView {
    let asked = |field| include.contains(&field);
    let (active_services, draining_services) = service_counts(cluster);
    let capacity = &cluster.settings.capacity;
    let mut view = ClusterView {
        cluster_arn: identity.cluster(cluster.name.as_str()),
        cluster_name: cluster.name.to_string(),
        configuration: None,
        status: if cluster.is_active() { "ACTIVE" } else { "INACTIVE" },
        registered_container_instances_count: cluster.registered_hosts,
        running_tasks_count: cluster.running_tasks,
        pending_tasks_count: cluster.all_pending_tasks(),
        active_services_count: active_services,
        statistics: Vec::new(),
        tags: Vec::new(),
        settings: Vec::new(),
        capacity_providers: capacity.providers.iter().map(|name| name.to_string()).collect(),
        default_capacity_provider_strategy: strategy::strategy_view(&capacity.default_strategy),
        attachments: None,
        attachments_status: (!capacity.providers.is_empty()).then_some("UPDATE_COMPLETE"),
    };
    if asked(ClusterField::Attachments) {
        view.attachments = Some(attachments(state, cluster));
    }
    if asked(ClusterField::Configurations) {
        view.configuration = cluster.settings.configuration.clone();
    }
    // Whether or not they are asked for: Terraform's provider up to 3 asks for tags alone, and takes
    // a cluster without settings for one that must be changed.
    let settings = cluster.settings.settings.iter();
    view.settings = settings
        .map(|(name, value)| NameAndValue { name: name.clone(), value: value.clone() })
        .collect();
    if asked(ClusterField::Statistics) {
        view.statistics = statistics(state, cluster, active_services, draining_services, at);
    }
    if asked(ClusterField::Tags) {
        view.tags = tags::view(&cluster.tags);
    }
    view
}

/// What ECS attaches to a cluster for its capacity providers.
fn attachments(state: &State, cluster: &Cluster) -> Vec<AttachmentView> {
    let mut attachments = Vec::new();
    for name in &cluster.settings.capacity.providers {
        let Some(provider) = state.capacity_provider(name.as_str()) else { continue };
        let uid = state.auto_scaling_group(provider.group.as_str()).map_or(0, |group| group.uid);
        let kinds = [
            ("as_policy", provider.managed_scaling.enabled),
            ("managed_draining", provider.draining),
        ];
        for (index, (kind, on)) in kinds.into_iter().enumerate() {
            if on {
                attachments.push(AttachmentView {
                    id: Uuid(uid ^ (index as u128 + 1)).to_string(),
                    kind,
                    status: "CREATED",
                    details: vec![NameAndValue {
                        name: "capacityProviderName".to_owned(),
                        value: name.to_string(),
                    }],
                });
            }
        }
    }
    attachments
}

/// Services that are ACTIVE, and those that are DRAINING.
fn service_counts(cluster: &Cluster) -> (u32, u32) {
    let draining = cluster.draining_services.len();
    ((cluster.services.len() - draining) as u32, draining as u32)
}

/// ECS's own statistics, and after them what becomes of hosts that are lost (design.md rule 6).
fn statistics(
    state: &State,
    cluster: &Cluster,
    active: u32,
    draining: u32,
    at: Timestamp,
) -> Vec<NameAndValue> {
    let fargate = state.fargate_of(&cluster.name);
    let of = |all: u32, fargate: i64| i64::from(all) - fargate;
    let (running, pending) = (cluster.running_tasks, cluster.all_pending_tasks());
    let numbers = [
        ("runningEC2TasksCount", of(running, fargate.running)),
        ("runningFargateTasksCount", fargate.running),
        ("pendingEC2TasksCount", of(pending, fargate.pending)),
        ("pendingFargateTasksCount", fargate.pending),
        ("activeEC2ServiceCount", of(active, fargate.services)),
        ("activeFargateServiceCount", fargate.services),
        ("drainingEC2ServiceCount", of(draining, fargate.services_draining)),
        ("drainingFargateServiceCount", fargate.services_draining),
        ("longshore:lostContainerInstancesCount", lost_hosts(state, cluster, at) as i64),
    ];
    let replacing = match cluster.replacing {
        Replacing::Normal => "NORMAL",
        Replacing::Paused => "PAUSED",
        Replacing::Overridden => "OVERRIDDEN",
    };
    let replacing = ("longshore:replacingLostTasks".to_owned(), replacing.to_owned());
    let counts_of_cluster =
        numbers.into_iter().map(|(name, count)| (name.to_owned(), count.to_string()));
    let reservations = scaled_of(state, cluster, at).map(|scaled| {
        let name = format!("longshore:capacityProviderReservation.{}", scaled.provider);
        (name, scaled.reservation.to_string())
    });
    let all = counts_of_cluster.chain([replacing]).chain(reservations);
    all.map(|(name, value)| NameAndValue { name, value }).collect()
}
