//! CreateAutoScalingGroup's and UpdateAutoScalingGroup's input, and tags.

use std::collections::BTreeMap;

use longshore_core::model::auto_scaling::{
    AutoScalingGroupName, GroupChange, GroupConfig, GroupTag, LaunchSource,
};
use serde::Deserialize;
use serde_json::Value;

use super::fault::{group_name, invalid};
use crate::{
    api::ecs::tags::{KEY_CHARS_MAX, TAGS_MAX, VALUE_CHARS_MAX},
    edge::error::ApiError,
};

/// Default cooldown in seconds (Auto Scaling's).
const COOLDOWN_S: u32 = 300;
/// Default grace period of health checks in seconds (Auto Scaling's).
const GRACE_S: u32 = 0;
/// The only kinds there are here: EC2's is that the launcher still has the instance.
const HEALTH_CHECK: &str = "EC2";
const TERMINATION_POLICY: &str = "Default";
/// A launcher has no versions; these mean the one that it has.
const VERSIONS: [&str; 2] = ["$Latest", "$Default"];
/// Maximum length of the list of subnets in characters (Auto Scaling's limit).
const SUBNETS_CHARS_MAX: usize = 5000;
/// Maximum number of zones of one group (Auto Scaling's limit).
const ZONES_MAX: usize = 100;
/// Maximum length of a zone's name in characters (Auto Scaling's limit).
const ZONE_CHARS_MAX: usize = 255;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::api::autoscaling) struct CreateInput {
    auto_scaling_group_name: String,
    min_size: u32,
    max_size: u32,
    desired_capacity: Option<u32>,
    launch_configuration_name: Option<String>,
    launch_template: Option<LaunchTemplateInput>,
    default_cooldown: Option<u32>,
    #[serde(default)]
    availability_zones: Vec<String>,
    health_check_type: Option<String>,
    health_check_grace_period: Option<u32>,
    #[serde(rename = "VPCZoneIdentifier")]
    vpc_zone_identifier: Option<String>,
    #[serde(default)]
    termination_policies: Vec<String>,
    new_instances_protected_from_scale_in: Option<bool>,
    capacity_rebalance: Option<bool>,
    #[serde(default)]
    tags: Vec<TagInput>,
    desired_capacity_type: Option<String>,
    // What there is not, so that it can be said what to do instead.
    instance_id: Option<String>,
    #[serde(default)]
    load_balancer_names: Vec<String>,
    #[serde(default, rename = "TargetGroupARNs")]
    target_group_arns: Vec<String>,
    mixed_instances_policy: Option<Value>,
    #[serde(default)]
    lifecycle_hook_specification_list: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::api::autoscaling) struct UpdateInput {
    auto_scaling_group_name: String,
    min_size: Option<u32>,
    max_size: Option<u32>,
    desired_capacity: Option<u32>,
    launch_configuration_name: Option<String>,
    launch_template: Option<LaunchTemplateInput>,
    default_cooldown: Option<u32>,
    #[serde(default)]
    availability_zones: Vec<String>,
    health_check_type: Option<String>,
    health_check_grace_period: Option<u32>,
    #[serde(rename = "VPCZoneIdentifier")]
    vpc_zone_identifier: Option<String>,
    #[serde(default)]
    termination_policies: Vec<String>,
    new_instances_protected_from_scale_in: Option<bool>,
    capacity_rebalance: Option<bool>,
    desired_capacity_type: Option<String>,
    mixed_instances_policy: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LaunchTemplateInput {
    launch_template_id: Option<String>,
    launch_template_name: Option<String>,
    version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::api::autoscaling) struct TagInput {
    resource_id: Option<String>,
    resource_type: Option<String>,
    key: String,
    value: Option<String>,
    propagate_at_launch: Option<bool>,
}

impl CreateInput {
    pub(super) fn parse(self) -> Result<(AutoScalingGroupName, GroupConfig), ApiError> {
        let name = group_name(&self.auto_scaling_group_name)?;
        let absent = [
            ("InstanceId", self.instance_id.is_some(), "name a launcher in LaunchTemplate"),
            (
                "LoadBalancerNames",
                !self.load_balancer_names.is_empty(),
                "ECS services say themselves what their load balancers are",
            ),
            (
                "TargetGroupARNs",
                !self.target_group_arns.is_empty(),
                "ECS services say themselves what their target groups are",
            ),
            (
                "LifecycleHookSpecificationList",
                !self.lifecycle_hook_specification_list.is_empty(),
                "a capacity provider's managedDraining empties hosts before they go",
            ),
        ];
        if let Some((member, _, instead)) = absent.iter().find(|(_, given, _)| *given) {
            return Err(invalid(format!("{member} is nothing that Longshore has: {instead}.")));
        }
        let kept = Kept {
            mixed: self.mixed_instances_policy.is_some(),
            rebalance: self.capacity_rebalance == Some(true),
            health_check: self.health_check_type,
            policies: self.termination_policies,
            capacity_type: self.desired_capacity_type,
        };
        kept.check()?;
        let launch = launch(self.launch_configuration_name, self.launch_template)?;
        let launch = launch.ok_or_else(|| {
            invalid(
                "One of LaunchTemplate and LaunchConfigurationName is required: the name of a \
                 table [launch.NAME] of the coordinator's settings.",
            )
        })?;
        let mut tags = BTreeMap::new();
        for tag in self.tags {
            let (of, key, tag) = tag.parse(Some(&name))?;
            if of != name {
                return Err(invalid(format!("The tag `{key}` is for the group {of}, not {name}.")));
            }
            if tags.insert(key.clone(), tag).is_some() {
                return Err(invalid(format!("The tag `{key}` is given twice.")));
            }
        }
        if tags.len() > TAGS_MAX {
            return Err(invalid(format!("A group has at most {TAGS_MAX} tags.")));
        }
        let config = GroupConfig {
            min: self.min_size,
            max: self.max_size,
            desired: self.desired_capacity.unwrap_or(self.min_size),
            cooldown_s: self.default_cooldown.unwrap_or(COOLDOWN_S),
            grace_s: self.health_check_grace_period.unwrap_or(GRACE_S),
            protects_new: self.new_instances_protected_from_scale_in.unwrap_or(false),
            launch,
            zones: zones(self.availability_zones)?,
            subnets: subnets(self.vpc_zone_identifier)?.filter(|subnets| !subnets.is_empty()),
            tags,
        };
        Ok((name, config))
    }
}

impl UpdateInput {
    pub(super) fn parse(self) -> Result<(AutoScalingGroupName, GroupChange), ApiError> {
        let name = group_name(&self.auto_scaling_group_name)?;
        let kept = Kept {
            mixed: self.mixed_instances_policy.is_some(),
            rebalance: self.capacity_rebalance == Some(true),
            health_check: self.health_check_type,
            policies: self.termination_policies,
            capacity_type: self.desired_capacity_type,
        };
        kept.check()?;
        let zones = zones(self.availability_zones)?;
        let change = GroupChange {
            min: self.min_size,
            max: self.max_size,
            desired: self.desired_capacity,
            cooldown_s: self.default_cooldown,
            grace_s: self.health_check_grace_period,
            protects_new: self.new_instances_protected_from_scale_in,
            launch: launch(self.launch_configuration_name, self.launch_template)?,
            zones: (!zones.is_empty()).then_some(zones),
            subnets: subnets(self.vpc_zone_identifier)?,
        };
        Ok((name, change))
    }
}

/// Members that have one value here.
struct Kept {
    mixed: bool,
    rebalance: bool,
    health_check: Option<String>,
    policies: Vec<String>,
    capacity_type: Option<String>,
}

impl Kept {
    fn check(self) -> Result<(), ApiError> {
        if self.mixed {
            return Err(invalid(
                "MixedInstancesPolicy is nothing that Longshore has: one group has one launcher. \
                 Make a group and a capacity provider for each kind of host.",
            ));
        }
        if self.rebalance {
            return Err(invalid(
                "CapacityRebalance is of Spot Instances, which Longshore does not have: leave it out.",
            ));
        }
        if let Some(kind) = self.health_check.filter(|kind| kind != HEALTH_CHECK) {
            return Err(invalid(format!(
                "HealthCheckType is `{kind}`; Longshore has {HEALTH_CHECK} only."
            )));
        }
        if let Some(policy) = self.policies.iter().find(|policy| *policy != TERMINATION_POLICY) {
            return Err(invalid(format!(
                "TerminationPolicies has `{policy}`; Longshore has {TERMINATION_POLICY} only: \
                 hosts without tasks go first, then the newest."
            )));
        }
        match self.capacity_type.filter(|kind| kind != "units") {
            None => Ok(()),
            Some(kind) => Err(invalid(format!(
                "DesiredCapacityType is `{kind}`; Longshore counts instances: units."
            ))),
        }
    }
}

impl TagInput {
    /// `default` is the group that a tag without ResourceId is for.
    fn parse(
        self,
        default: Option<&AutoScalingGroupName>,
    ) -> Result<(AutoScalingGroupName, String, GroupTag), ApiError> {
        if let Some(kind) = self.resource_type.filter(|kind| kind != "auto-scaling-group") {
            return Err(invalid(format!(
                "ResourceType is `{kind}`; only auto-scaling-group can be tagged."
            )));
        }
        let name = match (&self.resource_id, default) {
            (Some(id), _) => group_name(id)?,
            (None, Some(default)) => default.clone(),
            (None, None) => return Err(invalid("ResourceId is required: the group's name.")),
        };
        let (key, value) = (self.key, self.value.unwrap_or_default());
        let (key_chars, value_chars) = (key.chars().count(), value.chars().count());
        if !(1..=KEY_CHARS_MAX).contains(&key_chars) || value_chars > VALUE_CHARS_MAX {
            return Err(invalid(format!(
                "A tag's key has 1 to {KEY_CHARS_MAX} characters and its value at most \
                 {VALUE_CHARS_MAX}; one of {key_chars} and {value_chars} was given."
            )));
        }
        if key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:")) {
            return Err(invalid(format!(
                "The tag key `{key}` begins with aws:, which is reserved."
            )));
        }
        let propagate = self.propagate_at_launch.unwrap_or(false);
        Ok((name, key, GroupTag { value, propagate }))
    }
}

pub(super) fn of_groups(
    given: Vec<TagInput>,
) -> Result<Vec<(AutoScalingGroupName, String, GroupTag)>, ApiError> {
    if given.is_empty() {
        return Err(invalid("Tags is empty; give at least one."));
    }
    given.into_iter().map(|tag| tag.parse(None)).collect()
}

fn launch(
    configuration: Option<String>,
    template: Option<LaunchTemplateInput>,
) -> Result<Option<LaunchSource>, ApiError> {
    match (configuration, template) {
        (Some(_), Some(_)) => {
            Err(invalid("LaunchTemplate and LaunchConfigurationName cannot both be given."))
        }
        (Some(launcher), None) => Ok(Some(LaunchSource::Configuration { launcher })),
        (None, None) => Ok(None),
        (None, Some(template)) => {
            if template.launch_template_id.is_some() {
                return Err(invalid(
                    "LaunchTemplateId is nothing that Longshore has: give LaunchTemplateName, the \
                     name of a table [launch.NAME] of the coordinator's settings.",
                ));
            }
            let launcher = template
                .launch_template_name
                .ok_or_else(|| invalid("LaunchTemplateName is required."))?;
            if let Some(version) = &template.version
                && !VERSIONS.contains(&version.as_str())
            {
                return Err(invalid(format!(
                    "LaunchTemplate's Version is `{version}`; launchers have no versions: leave \
                     it out, or give {}.",
                    VERSIONS.join(" or ")
                )));
            }
            Ok(Some(LaunchSource::Template { launcher, version: template.version }))
        }
    }
}

fn zones(given: Vec<String>) -> Result<Vec<String>, ApiError> {
    let fits = |zone: &String| !zone.is_empty() && zone.chars().count() <= ZONE_CHARS_MAX;
    if given.len() > ZONES_MAX || !given.iter().all(fits) {
        return Err(invalid(format!(
            "AvailabilityZones has at most {ZONES_MAX} names of at most {ZONE_CHARS_MAX} characters."
        )));
    }
    Ok(given)
}

fn subnets(given: Option<String>) -> Result<Option<String>, ApiError> {
    match given {
        Some(subnets) if subnets.chars().count() > SUBNETS_CHARS_MAX => {
            Err(invalid(format!("VPCZoneIdentifier has at most {SUBNETS_CHARS_MAX} characters.")))
        }
        given => Ok(given),
    }
}
