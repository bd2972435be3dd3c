//! Why the state machine refuses a command. Knows no HTTP: `edge/error.rs` maps each to ECS's error.

use longshore_common::id::{HostId, TaskId};

use crate::model::{
    alarm::AlarmName,
    auto_scaling::{AutoScalingGroupName, InstanceId},
    deployment::DeploymentRef,
    honoured::instead_of,
    log_group::LogGroupName,
    name::{CapacityProviderName, ClusterName, Family},
    service::{HookId, RevisionId, ServiceRef},
};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("Cluster not found.")]
    ClusterNotFound(ClusterName),
    #[error(
        "The Cluster cannot be deleted while Container Instances are active or draining: {count} are registered."
    )]
    ClusterContainsContainerInstances { count: usize },
    #[error("The Cluster cannot be deleted while Tasks are active: {count} have not stopped.")]
    ClusterContainsTasks { count: usize },
    #[error("The limit of {limit} clusters is reached. Delete one that is no longer used.")]
    TooManyClusters { limit: usize },

    #[error("Unable to describe task definition.")]
    TaskDefinitionNotFound { family: Family, revision: Option<u32> },
    #[error("TaskDefinition is inactive")]
    TaskDefinitionInactive { family: Family, revision: u32 },
    #[error("The family {family} has reached the limit of {limit} revisions.")]
    TooManyRevisions { family: Family, limit: u32 },
    #[error(
        "The task definition {family}:{revision} asks for what no host of this release can honour: {needs}. Remove it from the task definition{}",
        instead_of(needs)
    )]
    NotHonoured { family: Family, revision: u32, needs: String },
    #[error(
        "The operator of this cluster lets no task have {member}. Take it out of the task \
         definition, or have the coordinator's settings `forbid`, `bind_roots` and `allow_volumes` \
         changed."
    )]
    Forbidden { member: String },
    #[error("{0}")]
    InvalidOverride(String),
    #[error(
        "There are {would_be} placement constraints with those of the task definition; at most {limit} are allowed."
    )]
    TooManyPlacementConstraints { limit: usize, would_be: usize },

    #[error("No Container Instances were found in your cluster.")]
    NoContainerInstances,
    #[error("The referenced task was not found.")]
    TaskNotFound(TaskId),
    #[error(
        "The attachment {attachment} is not of a task of the cluster {cluster} that has not stopped. DescribeTasks shows the ids of a task's attachments."
    )]
    AttachmentNotFound { attachment: String, cluster: ClusterName },
    #[error("The attachment {0} is named twice; name each once.")]
    AttachmentTwice(String),
    #[error(
        "The attachment {attachment} is {from} and cannot be {to} next. It can be ATTACHED while it is ATTACHING, DETACHED while it is DETACHING, and FAILED from ATTACHING on."
    )]
    AttachmentStateConflict { attachment: String, from: &'static str, to: &'static str },
    #[error("The container instance {0} was not found in the cluster {1}.")]
    ContainerInstanceNotFound(HostId, ClusterName),
    #[error(
        "Found running tasks on the instance: {count} have not stopped. Drain the instance first, or deregister it with force."
    )]
    ContainerInstanceHasTasks { count: usize },
    #[error("The container instance {0} is inactive.")]
    ContainerInstanceInactive(HostId),
    #[error("The cluster {cluster} has reached the limit of {limit} container instances.")]
    TooManyContainerInstances { cluster: ClusterName, limit: usize },
    #[error("The container instance {0} has reached the limit of {1} custom attributes.")]
    TooManyAttributes(HostId, usize),
    #[error("{0} has no attribute named {1}.")]
    AttributeNotFound(HostId, String),

    #[error("The container instance {0} is named twice; name each once.")]
    ContainerInstanceTwice(HostId),
    #[error("The target {0} was not found in the cluster {1}.")]
    TargetNotFound(HostId, ClusterName),
    #[error(
        "`{0}` is not a cluster name: it has 1 to 255 letters, digits, hyphens and underscores."
    )]
    InvalidClusterName(String),

    #[error("The specified resource was not found: {0}")]
    ResourceNotFound(String),
    #[error("The specified {kind} is inactive. Specify an active {kind} and try again.")]
    ResourceInactive { kind: &'static str },
    #[error("A resource has at most {limit} tags; this would make {would_be}.")]
    TooManyTags { limit: usize, would_be: usize },

    #[error("The client token was used before with other parameters.")]
    ClientTokenConflict { task_ids: Vec<TaskId>, cluster: ClusterName },

    #[error(
        "This join token is not known to the coordinator. Ask for a new one: longshore-coordinator join-token create"
    )]
    JoinTokenUnknown,
    #[error(
        "This join token has expired. Ask for a new one: longshore-coordinator join-token create"
    )]
    JoinTokenExpired,
    #[error(
        "This join token was revoked. Ask for a new one: longshore-coordinator join-token create"
    )]
    JoinTokenRevoked,
    #[error(
        "This join token has no uses left. Ask for a new one: longshore-coordinator join-token create"
    )]
    JoinTokenUsedUp,
    #[error("No join token has the id {0}.")]
    NoSuchJoinToken(String),
    #[error("A join token with the id {0} exists.")]
    JoinTokenExists(String),
    #[error("The container instance {0} has been joined by an agent before.")]
    HostHasJoined(HostId),
    #[error(
        "The host {0} is not known to the coordinator. If the coordinator's journal is an old one, recover it first; else remove identity.json from the host's data directory and join it again with a new token."
    )]
    HostUnknown(HostId),
    #[error(
        "The host {0} was deregistered. Remove identity.json from its data directory and join it again with a new token."
    )]
    HostDeregistered(HostId),
    #[error(
        "The certificate of host {0} has ended, and its key is not the last one that this coordinator certified for it. Make a token with `longshore-coordinator join-token create`, give it as --join-token and restart the agent: the host comes back as itself."
    )]
    HostKeyUnknown(HostId),
    #[error(
        "The identity of host {0} belongs to another machine: this one holds a copy of its data directory. Nothing that runs there was touched. To make this machine a host of its own, stop its agent, remove identity.json from the agent's data directory, and start the agent with a join token. Do the same if this is the same machine with other hardware or another /etc/machine-id, and deregister the old container instance."
    )]
    HostOfOtherMachine(HostId),
    #[error(
        "Another agent with the identity of host {host} is alive at {address}, and stays the host. If this agent runs on a copy of that machine or of its data directory, make it a host of its own: stop it, remove identity.json from its data directory, and start it with a join token."
    )]
    HostLivesElsewhere { host: HostId, address: String },
    #[error("This join token is for the cluster {allowed}; the host asks to be in {asked}.")]
    JoinTokenForOtherCluster { allowed: ClusterName, asked: ClusterName },
    #[error(
        "The host {host} is in the cluster {current}; deregister it there before it joins {asked}."
    )]
    HostInOtherCluster { host: HostId, current: ClusterName, asked: String },

    #[error("Service not found.")]
    ServiceNotFound(ServiceRef),
    #[error("Service was not ACTIVE.")]
    ServiceNotActive(ServiceRef),
    #[error("Creation of service was not idempotent.")]
    ServiceExists(ServiceRef),
    #[error("Unable to Start a service that is still Draining.")]
    ServiceStillDraining(ServiceRef),
    #[error("The client token was used before with other parameters.")]
    ServiceTokenConflict(ServiceRef),
    #[error("The cluster {cluster} has reached the limit of {limit} services.")]
    TooManyServices { cluster: ClusterName, limit: usize },
    #[error("{0}")]
    InvalidServiceConfig(String),
    #[error("TaskDefinition can not be blank.")]
    ServiceNeedsDefinition,
    #[error(
        "TaskDefinition must be blank. A service with the EXTERNAL deployment controller takes no task definition and no forced deployment: its task sets do. Use CreateTaskSet."
    )]
    ExternalTakesNoDefinition,
    #[error(
        "The daemon scheduling strategy does not support a desired count for services. Remove the desired count value and try again: a daemon has a task on every container instance."
    )]
    DaemonTakesNoDesiredCount,
    #[error(
        "The service cannot be stopped while it is scaled above 0. Set its desiredCount to 0 first, or delete it with force."
    )]
    ServiceScaledAboveZero,
    #[error("The service cannot be stopped while deployments are active.")]
    ServiceHasDeployments,
    #[error("The ARN of a service deployment was not found: {}", .0.deployment)]
    ServiceDeploymentNotFound(DeploymentRef),
    #[error(
        "The service deployment {} cannot be stopped any more: only one that is PENDING or IN_PROGRESS can.", .0.deployment
    )]
    ServiceDeploymentNotStoppable(DeploymentRef),
    #[error("No PAUSE hook {0} of this service deployment waits for an action.")]
    HookNotWaiting(HookId),
    #[error(
        "The service {} has no task sets: its deployment controller is not EXTERNAL.", .0.name
    )]
    NotExternal(ServiceRef),
    #[error("The task set ecs-svc/{0} was not found.")]
    TaskSetNotFound(RevisionId),
    #[error(
        "The task set ecs-svc/{0} cannot be deleted while it is scaled above 0. Update its scale to 0 first, or delete it with force."
    )]
    TaskSetScaledAboveZero(RevisionId),
    #[error("A service has at most {limit} task sets. Delete one that is no longer used.")]
    TooManyTaskSets { limit: usize },
    #[error(
        "The Cluster cannot be deleted while Services are active: {count} are. Delete them first."
    )]
    ClusterContainsServices { count: usize },
    #[error("{0}")]
    InvalidOption(String),
    #[error("There is no alarm named {}.", listed(.0))]
    AlarmsNotFound(Vec<AlarmName>),
    #[error("The limit of {limit} alarms is reached. Delete one that is no longer used.")]
    TooManyAlarms { limit: usize },
    #[error("The specified log group already exists")]
    LogGroupExists(LogGroupName),
    #[error("The specified log group does not exist.")]
    LogGroupNotFound,
    #[error("The limit of {limit} log groups is reached. Delete one that is no longer used.")]
    TooManyLogGroups { limit: usize },
    #[error("AutoScalingGroup name not found - AutoScalingGroup {0} not found")]
    GroupNotFound(AutoScalingGroupName),
    #[error(
        "AutoScalingGroup by this name already exists - A group with the name {0} already exists"
    )]
    GroupExists(AutoScalingGroupName),
    #[error("The Auto Scaling group {0} is being deleted. Wait until its instances are gone.")]
    GroupDeleting(AutoScalingGroupName),
    #[error(
        "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group: {name} has {count}. Scale it to 0 first, or delete it with ForceDelete."
    )]
    GroupHasInstances { name: AutoScalingGroupName, count: usize },
    #[error(
        "Scaling activity of {name} is in its cooldown for another {left_s} s. Wait, or leave HonorCooldown out."
    )]
    GroupCoolsDown { name: AutoScalingGroupName, left_s: u64 },
    #[error("{0}")]
    InvalidGroup(String),
    #[error(
        "The limit of {limit} Auto Scaling groups is reached. Delete one that is no longer used."
    )]
    TooManyGroups { limit: usize },
    #[error("Instance Id not found - No managed instance found for instance ID: {0}")]
    InstanceNotFound(InstanceId),
    #[error("The instance {0} is not part of Auto Scaling group {1}.")]
    InstanceNotInGroup(InstanceId, AutoScalingGroupName),
    #[error("The instance {0} is not in InService. Protect it when it is.")]
    InstanceNotInService(InstanceId),
    #[error(
        "The specified capacity provider was not found. Specify a valid name or ARN and try again: there is none named {0}. Make it with CreateCapacityProvider."
    )]
    CapacityProviderNotFound(CapacityProviderName),
    #[error(
        "A capacity provider with the name {0} exists with other settings. Give another name, or change it with UpdateCapacityProvider."
    )]
    CapacityProviderExists(CapacityProviderName),
    #[error(
        "The specified capacity provider is in use and cannot be removed: {0}. Stop the tasks that go by it, or change their services' strategies, first."
    )]
    CapacityProviderInUse(CapacityProviderName),
    #[error("{0}")]
    InvalidCapacityProvider(String),
    #[error(
        "The limit of {limit} capacity providers is reached. Delete one that is no longer used."
    )]
    TooManyCapacityProviders { limit: usize },
}

fn listed(names: &[AlarmName]) -> String {
    names.iter().map(AlarmName::as_str).collect::<Vec<_>>().join(", ")
}
