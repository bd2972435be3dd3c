//! Groups, instances, tags and activities as Auto Scaling shows them.

use longshore_common::arn::{Identity, Uuid};
use longshore_core::{
    model::auto_scaling::{GroupTag, Instance, LaunchSource, Lifecycle},
    state::{Group, State},
};

use crate::edge::protocol::tree::Tree;

/// Where a host says which zone it is in.
const ZONE_ATTRIBUTE: &str = "ecs.availability-zone";
const TYPE_ATTRIBUTE: &str = "ecs.instance-type";
/// Maximum length of an activity's `StatusMessage` in characters (Auto Scaling's limit).
const STATUS_MESSAGE_CHARS_MAX: usize = 255;

pub(super) fn group(
    identity: &Identity,
    state: &State,
    group: &Group,
    with_instances: bool,
) -> Tree {
    let config = &group.config;
    let name = group.name.as_str();
    let texts = |texts: &[String]| Tree::List(texts.iter().map(Tree::from).collect());
    let none = || Tree::List(Vec::new());
    let tree = Tree::object()
        .with("AutoScalingGroupName", name)
        .with("AutoScalingGroupARN", identity.auto_scaling_group(group.uid, name));
    let tree = with_launch(tree, &config.launch)
        .with("MinSize", config.min)
        .with("MaxSize", config.max)
        .with("DesiredCapacity", config.desired)
        .with("DefaultCooldown", config.cooldown_s)
        .with("AvailabilityZones", texts(&config.zones))
        .with("LoadBalancerNames", none())
        .with("TargetGroupARNs", none())
        .with("HealthCheckType", "EC2")
        .with("HealthCheckGracePeriod", config.grace_s);
    let tree = match with_instances {
        true => {
            let instances = group.instances.values();
            let shown = instances.map(|one| instance(state, group, one)).collect();
            tree.with("Instances", Tree::List(shown))
        }
        false => tree,
    };
    let tags = config.tags.iter().map(|(key, of)| tag(name, key, of)).collect();
    tree.with("CreatedTime", group.created_at)
        .with("SuspendedProcesses", none())
        .with_some("VPCZoneIdentifier", config.subnets.as_ref())
        .with("EnabledMetrics", none())
        .with_some("Status", group.deleting.then_some("Delete in progress"))
        .with("Tags", Tree::List(tags))
        .with("TerminationPolicies", Tree::List(vec!["Default".into()]))
        .with("NewInstancesProtectedFromScaleIn", config.protects_new)
        .with("CapacityRebalance", false)
        .with("TrafficSources", none())
}

fn with_launch(tree: Tree, launch: &LaunchSource) -> Tree {
    match launch {
        LaunchSource::Configuration { launcher } => tree.with("LaunchConfigurationName", launcher),
        LaunchSource::Template { launcher, version } => {
            let template = Tree::object()
                .with("LaunchTemplateName", launcher)
                .with_some("Version", version.as_ref());
            tree.with("LaunchTemplate", template)
        }
    }
}

pub(super) fn instance(state: &State, group: &Group, instance: &Instance) -> Tree {
    let host = instance.host.and_then(|host| state.host(host));
    let attribute =
        |name: &str| host.and_then(|host| host.attribute(name)).flatten().map(str::to_owned);
    // Auto Scaling always shows a zone; before a host says its own, the first that it may be in.
    let zone = attribute(ZONE_ATTRIBUTE).or_else(|| group.config.zones.first().cloned());
    let gone = matches!(instance.lifecycle, Lifecycle::Terminating { .. });
    let tree = Tree::object()
        .with("InstanceId", instance.known_as().to_string())
        .with_some("InstanceType", attribute(TYPE_ATTRIBUTE))
        .with("AvailabilityZone", zone.unwrap_or_default())
        .with("LifecycleState", instance.lifecycle.as_str())
        .with("HealthStatus", if gone { "Unhealthy" } else { "Healthy" });
    with_launch(tree, &group.config.launch).with("ProtectedFromScaleIn", instance.protected)
}

pub(super) fn tag(group: &str, key: &str, tag: &GroupTag) -> Tree {
    Tree::object()
        .with("ResourceId", group)
        .with("ResourceType", "auto-scaling-group")
        .with("Key", key)
        .with("Value", &tag.value)
        .with("PropagateAtLaunch", tag.propagate)
}

pub(super) fn activity_id(group: &Group, instance: &Instance) -> String {
    Uuid(group.uid ^ u128::from(instance.id.number)).to_string()
}

/// The last thing that was or is being done with an instance.
pub(super) fn activity(identity: &Identity, group: &Group, instance: &Instance) -> Tree {
    let launching = format!("Launching a new EC2 instance: {}", instance.known_as());
    let terminating = format!("Terminating EC2 instance: {}", instance.known_as());
    let failed = instance.tries.error.is_some();
    let (description, start, end, status, progress) = match instance.lifecycle {
        Lifecycle::Pending { launched: None } if failed => {
            (launching, instance.created_at, None, "Failed", 100)
        }
        Lifecycle::Pending { launched: None } => {
            (launching, instance.created_at, None, "PreInService", 0)
        }
        Lifecycle::Pending { launched: Some(_) } => {
            (launching, instance.created_at, None, "InProgress", 50)
        }
        Lifecycle::InService { since } => {
            (launching, instance.created_at, Some(since), "Successful", 100)
        }
        Lifecycle::Draining { since } => {
            (terminating, since, None, "MidTerminatingLifecycleAction", 0)
        }
        Lifecycle::Terminating { since } if failed => (terminating, since, None, "Failed", 100),
        Lifecycle::Terminating { since } => (terminating, since, None, "InProgress", 50),
    };
    let message = instance
        .tries
        .error
        .as_deref()
        .map(|error| error.chars().take(STATUS_MESSAGE_CHARS_MAX).collect::<String>());
    let name = group.name.as_str();
    Tree::object()
        .with("ActivityId", activity_id(group, instance))
        .with("AutoScalingGroupName", name)
        .with("AutoScalingGroupARN", identity.auto_scaling_group(group.uid, name))
        .with("Description", description)
        .with("Cause", format!("The group is to have {} instances.", group.config.desired))
        .with("StartTime", start)
        .with_some("EndTime", end)
        .with("StatusCode", status)
        .with_some("StatusMessage", message)
        .with("Progress", progress)
}
