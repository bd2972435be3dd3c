//! Members of what starts tasks (RunTask, StartTask, services, task sets) that this release cannot
//! honour: typed, so that a wrong one is refused as such, and refused with what to do when they say
//! something (design.md rule 9).

use longshore_common::task_definition::NetworkMode;
use longshore_core::{
    Rejection, State, model::definition::RevisionRef, rejection::DefinitionRejection,
};
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use crate::{
    api::ecs::tags::{PropagateTags, TagInput},
    edge::{context::Api, error::ApiError},
};

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NetworkConfiguration {
    awsvpc_configuration: Option<AwsVpcConfiguration>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct AwsVpcConfiguration {
    subnets: Vec<String>,
    #[serde(default)]
    security_groups: Vec<String>,
    assign_public_ip: Option<AssignPublicIp>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum AssignPublicIp {
    Enabled,
    Disabled,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CapacityProviderStrategyItem {
    capacity_provider: String,
    weight: Option<u32>,
    base: Option<u32>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VolumeConfiguration {
    pub(crate) name: String,
    #[serde(rename = "managedEBSVolume")]
    managed_ebs_volume: Option<ManagedEbsVolume>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct ManagedEbsVolume {
    encrypted: Option<bool>,
    kms_key_id: Option<String>,
    volume_type: Option<String>,
    #[serde(rename = "sizeInGiB")]
    size_in_gib: Option<i32>,
    snapshot_id: Option<String>,
    volume_initialization_rate: Option<i32>,
    iops: Option<i32>,
    throughput: Option<i32>,
    #[serde(default)]
    tag_specifications: Vec<EbsTagSpecification>,
    role_arn: String,
    termination_policy: Option<TerminationPolicy>,
    filesystem_type: Option<FilesystemType>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EbsTagSpecification {
    resource_type: EbsResourceType,
    #[serde(default)]
    tags: Vec<TagInput>,
    propagate_tags: Option<PropagateTags>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum EbsResourceType {
    Volume,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct TerminationPolicy {
    delete_on_termination: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FilesystemType {
    Ext3,
    Ext4,
    Xfs,
    Ntfs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum LaunchType {
    Ec2,
    Fargate,
    External,
    ManagedInstances,
}

/// Written by hand so that an unknown launch type is refused in the words of ECS.
impl<'de> Deserialize<'de> for LaunchType {
    fn deserialize<D: Deserializer<'de>>(given: D) -> Result<Self, D::Error> {
        match String::deserialize(given)?.as_str() {
            "EC2" => Ok(LaunchType::Ec2),
            "FARGATE" => Ok(LaunchType::Fargate),
            "EXTERNAL" => Ok(LaunchType::External),
            "MANAGED_INSTANCES" => Ok(LaunchType::ManagedInstances),
            _ => Err(D::Error::custom(
                "launch type should be one of [EC2,FARGATE,EXTERNAL,MANAGED_INSTANCES]",
            )),
        }
    }
}

/// Refuses a network configuration with the reason: what is wrong is the definition's network mode,
/// one way or the other.
pub(crate) async fn no_network(
    api: &Api,
    given: Option<&NetworkConfiguration>,
    definition: Option<&RevisionRef>,
) -> Result<(), ApiError> {
    if given.is_none_or(|network| network.awsvpc_configuration.is_none()) {
        return Ok(());
    }
    let found = |state: &State| {
        let RevisionRef { family, revision } = definition?;
        let definitions = state.definitions();
        let found = match revision {
            Some(revision) => definitions.get(family.as_str(), *revision),
            None => definitions.latest_active(family.as_str()),
        }?;
        let definition = &found.definition;
        Some((found.family.clone(), definition.revision, definition.spec.network_mode()))
    };
    match api.read(found).await? {
        Some((family, revision, NetworkMode::Awsvpc)) => {
            let needs = "networkMode awsvpc".to_owned();
            let reason =
                Rejection::Definition(DefinitionRejection::NotHonoured { family, revision, needs });
            Err(ApiError::client(reason.to_string()))
        }
        None if definition.is_some() => Err(ApiError::task_definition_not_found()),
        Some((_, _, NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None)) | None => {
            Err(ApiError::invalid_parameter(
                "Network Configuration is not valid for the given networkMode of this task \
                 definition. Only awsvpc takes one: leave networkConfiguration out.",
            ))
        }
    }
}

/// Refuses capacity providers for task sets; services with the ECS controller can have them.
pub(crate) fn no_capacity_providers(
    given: &[CapacityProviderStrategyItem],
) -> Result<(), ApiError> {
    let Some(CapacityProviderStrategyItem { capacity_provider, .. }) = given.first() else {
        return Ok(());
    };
    Err(ApiError::invalid_parameter(format!(
        "A task set cannot go by the capacity provider `{capacity_provider}` in this release of \
         Longshore; leave capacityProviderStrategy out, or use a service with the ECS deployment \
         controller."
    )))
}

/// `first` is the name of the first of `volumeConfigurations`.
pub(crate) fn no_volumes(first: Option<&str>) -> Result<(), ApiError> {
    let Some(name) = first else { return Ok(()) };
    Err(ApiError::unsupported_feature(format!(
        "The volume `{name}` of volumeConfigurations cannot be made: this release of Longshore has \
         no volumes that are configured at launch. Use a volume with host.sourcePath in the task \
         definition."
    )))
}

/// FARGATE is for the hosts that stand in for it, which the settings name.
pub(crate) fn only_known_hosts(given: Option<LaunchType>) -> Result<(), ApiError> {
    let named = match given {
        None | Some(LaunchType::Ec2 | LaunchType::Fargate) => return Ok(()),
        Some(LaunchType::External) => "EXTERNAL",
        Some(LaunchType::ManagedInstances) => "MANAGED_INSTANCES",
    };
    Err(no_launch_type(named))
}

/// Refuses a launch type other than the own hosts' for task sets, which use no capacity provider.
pub(crate) fn only_own_hosts(given: Option<LaunchType>) -> Result<(), ApiError> {
    match given {
        Some(LaunchType::Fargate) => Err(no_launch_type("FARGATE")),
        given => only_known_hosts(given),
    }
}

fn no_launch_type(named: &str) -> ApiError {
    ApiError::unsupported_feature(format!(
        "launchType {named} is not available: every host of Longshore is of the launch type EC2. \
         Say EC2 or leave launchType out."
    ))
}

pub(crate) fn no_platform_version(
    given: Option<&str>,
    launch_type: Option<LaunchType>,
) -> Result<(), ApiError> {
    if given.is_none_or(str::is_empty) {
        return Ok(());
    }
    if launch_type != Some(LaunchType::Fargate) {
        return Err(ApiError::invalid_parameter(
            "The platform version must be null when specifying an EC2 launch type.",
        ));
    }
    latest_platform(given)
}

/// What launch type a service has is known later; EC2's have no platform, which is the latest too.
pub(crate) fn no_platform_version_of_update(given: Option<&str>) -> Result<(), ApiError> {
    latest_platform(given)
}

fn latest_platform(given: Option<&str>) -> Result<(), ApiError> {
    match given {
        None | Some("" | "LATEST") => Ok(()),
        Some(version) => Err(ApiError::invalid_parameter(format!(
            "The platform version `{version}` cannot be honoured: the hosts that stand in for \
             FARGATE have no platform versions. Leave platformVersion out or say LATEST."
        ))),
    }
}

pub(crate) fn no_exec(given: bool) -> Result<(), ApiError> {
    if !given {
        return Ok(());
    }
    Err(ApiError::unsupported_feature(
        "enableExecuteCommand cannot be honoured: this release of Longshore has no ECS Exec. Leave \
         it out, and use `docker exec` on the host.",
    ))
}

pub(crate) fn no_reference_id(given: Option<&str>) -> Result<(), ApiError> {
    if given.is_none_or(str::is_empty) {
        return Ok(());
    }
    Err(ApiError::invalid_parameter(
        "referenceId is for Amazon ECS's own use. Leave it out, and use startedBy or tags.",
    ))
}
