//! What operations refuse: with an error that they declare, and in the words that clients look for.

use longshore_common::{
    arn::Identity,
    id::{HostId, TaskId},
};
use longshore_core::{
    Rejection,
    model::{
        deployment::DeploymentRef,
        name::ClusterName,
        service::{DeploymentId, HookId, RevisionId, ServiceRef},
    },
    rejection::{
        AlarmRejection, AttachmentRejection, CapacityProviderRejection, ClusterRejection,
        DefinitionRejection, HostRejection, MemberRejection, ServiceRejection, TagRejection,
        TaskRejection, TaskSetRejection,
    },
};
use serde_json::json;

use super::World;
use crate::edge::{dispatch::declared::declares, error::ApiError};

/// Operations of a resource, by what the core can refuse them for.
struct Met {
    rejection: Rejection,
    by: &'static [&'static str],
}

fn met() -> Vec<Met> {
    let cluster: ClusterName = "default".parse().unwrap();
    let family = "web".parse::<longshore_core::model::name::Family>().unwrap();
    let service = ServiceRef { cluster: cluster.clone(), name: "svc".parse().unwrap() };
    let deployment = DeploymentRef { service: service.clone(), deployment: DeploymentId::new(1) };
    let (host, task, revision) = (HostId::new(1), TaskId::new(1), RevisionId::from_entropy(1));
    let provider = || "p".parse().unwrap();
    const LAUNCHES: &[&str] =
        &["RunTask", "StartTask", "CreateService", "UpdateService", "CreateTaskSet"];
    const OF_CLUSTER: &[&str] = &[
        "CreateService",
        "CreateTaskSet",
        "DeleteAttributes",
        "DeleteCluster",
        "DeleteService",
        "DeleteTaskSet",
        "DeregisterContainerInstance",
        "DescribeContainerInstances",
        "DescribeServices",
        "DescribeTaskSets",
        "DescribeTasks",
        "GetTaskProtection",
        "ListAttributes",
        "ListContainerInstances",
        "ListServiceDeployments",
        "ListServices",
        "ListTasks",
        "PutAttributes",
        "PutClusterCapacityProviders",
        "RegisterContainerInstance",
        "RunTask",
        "StartTask",
        "StopTask",
        "SubmitAttachmentStateChanges",
        "UpdateCluster",
        "UpdateClusterSettings",
        "UpdateContainerInstancesState",
        "UpdateService",
        "UpdateServicePrimaryTaskSet",
        "UpdateTaskProtection",
        "UpdateTaskSet",
    ];
    const OF_SERVICE: &[&str] = &[
        "CreateTaskSet",
        "DeleteService",
        "DeleteTaskSet",
        "DescribeTaskSets",
        "UpdateService",
        "UpdateServicePrimaryTaskSet",
        "UpdateTaskSet",
    ];
    const OF_TASK_SET: &[&str] = &["DeleteTaskSet", "UpdateServicePrimaryTaskSet", "UpdateTaskSet"];
    const OF_INSTANCE: &[&str] = &["DeregisterContainerInstance"];
    const STRATEGIES: &[&str] = &[
        "CreateCluster",
        "CreateService",
        "PutClusterCapacityProviders",
        "RunTask",
        "UpdateService",
    ];
    fn met(rejection: impl Into<Rejection>, by: &'static [&'static str]) -> Met {
        Met { rejection: rejection.into(), by }
    }
    vec![
        met(ClusterRejection::ClusterNotFound(cluster.clone()), OF_CLUSTER),
        met(ClusterRejection::ClusterContainsContainerInstances { count: 1 }, &["DeleteCluster"]),
        met(ClusterRejection::ClusterContainsTasks { count: 1 }, &["DeleteCluster"]),
        met(ClusterRejection::ClusterContainsServices { count: 1 }, &["DeleteCluster"]),
        met(ClusterRejection::TooManyClusters { limit: 1 }, &["CreateCluster"]),
        met(
            DefinitionRejection::TaskDefinitionNotFound { family: family.clone(), revision: None },
            LAUNCHES,
        ),
        met(
            DefinitionRejection::TaskDefinitionNotFound { family: family.clone(), revision: None },
            &["DeregisterTaskDefinition", "DescribeTaskDefinition"],
        ),
        met(
            DefinitionRejection::TaskDefinitionInactive { family: family.clone(), revision: 1 },
            LAUNCHES,
        ),
        met(
            DefinitionRejection::TooManyRevisions { family: family.clone(), limit: 1 },
            &["RegisterTaskDefinition"],
        ),
        met(DefinitionRejection::NotHonoured { family, revision: 1, needs: "a".into() }, LAUNCHES),
        met(DefinitionRejection::Forbidden { member: "a".into() }, LAUNCHES),
        met(DefinitionRejection::Forbidden { member: "a".into() }, &["RegisterTaskDefinition"]),
        met(TaskRejection::InvalidOverride("a".into()), &["RunTask", "StartTask"]),
        met(
            TaskRejection::TooManyPlacementConstraints { limit: 1, would_be: 2 },
            &["RunTask", "CreateService", "UpdateService"],
        ),
        met(TaskRejection::NoContainerInstances, &["RunTask"]),
        met(TaskRejection::TaskNotFound(task), &["StopTask"]),
        met(
            AttachmentRejection::AttachmentNotFound {
                attachment: "a".into(),
                cluster: cluster.clone(),
            },
            &["SubmitAttachmentStateChanges"],
        ),
        met(AttachmentRejection::AttachmentTwice("a".into()), &["SubmitAttachmentStateChanges"]),
        met(
            AttachmentRejection::AttachmentStateConflict {
                attachment: "a".into(),
                from: "ATTACHED",
                to: "DETACHED",
            },
            &["SubmitAttachmentStateChanges"],
        ),
        met(HostRejection::ContainerInstanceNotFound(host, cluster.clone()), OF_INSTANCE),
        met(HostRejection::ContainerInstanceHasTasks { count: 1 }, OF_INSTANCE),
        met(HostRejection::ContainerInstanceInactive(host), OF_INSTANCE),
        met(
            HostRejection::TooManyContainerInstances { cluster: cluster.clone(), limit: 1 },
            &["RegisterContainerInstance"],
        ),
        met(MemberRejection::HostHasJoined(host), &["RegisterContainerInstance"]),
        met(
            HostRejection::HostInOtherCluster {
                host,
                current: cluster.clone(),
                asked: "other".into(),
            },
            &["RegisterContainerInstance"],
        ),
        met(HostRejection::TooManyAttributes(host, 10), &["PutAttributes"]),
        met(HostRejection::AttributeNotFound(host, "a".into()), &["DeleteAttributes"]),
        met(
            HostRejection::TargetNotFound(host, cluster.clone()),
            &["PutAttributes", "DeleteAttributes"],
        ),
        met(HostRejection::ContainerInstanceTwice(host), &["StartTask"]),
        met(TagRejection::ResourceNotFound("a".into()), &["TagResource", "UntagResource"]),
        met(TagRejection::TooManyTags { limit: 1, would_be: 2 }, &["TagResource"]),
        met(
            TagRejection::InvalidOption("a".into()),
            &["TagResource", "UntagResource", "CreateService"],
        ),
        met(
            TaskRejection::ClientTokenConflict { task_ids: vec![task], cluster: cluster.clone() },
            &["RunTask"],
        ),
        met(ServiceRejection::ServiceNotFound(service.clone()), OF_SERVICE),
        met(
            ServiceRejection::ServiceNotFound(service.clone()),
            &["ListServiceDeployments", "ListTasks"],
        ),
        met(
            ServiceRejection::ServiceNotActive(service.clone()),
            &[
                "CreateTaskSet",
                "DeleteTaskSet",
                "DescribeTaskSets",
                "UpdateService",
                "UpdateServicePrimaryTaskSet",
                "UpdateTaskSet",
            ],
        ),
        met(ServiceRejection::ServiceExists(service.clone()), &["CreateService"]),
        met(ServiceRejection::ServiceStillDraining(service.clone()), &["CreateService"]),
        met(
            ServiceRejection::ServiceTokenConflict(service.clone()),
            &["CreateService", "CreateTaskSet"],
        ),
        met(
            ServiceRejection::TooManyServices { cluster: cluster.clone(), limit: 1 },
            &["CreateService"],
        ),
        met(
            ServiceRejection::InvalidServiceConfig("a".into()),
            &["CreateService", "UpdateService"],
        ),
        met(ServiceRejection::ServiceNeedsDefinition, &["CreateService"]),
        met(ServiceRejection::ExternalTakesNoDefinition, &["CreateService", "UpdateService"]),
        met(ServiceRejection::DaemonTakesNoDesiredCount, &["CreateService", "UpdateService"]),
        met(ServiceRejection::ServiceScaledAboveZero, &["DeleteService"]),
        met(ServiceRejection::ServiceHasDeployments, &["DeleteService"]),
        met(
            ServiceRejection::ServiceDeploymentNotFound(deployment.clone()),
            &["ContinueServiceDeployment", "StopServiceDeployment"],
        ),
        met(
            ServiceRejection::ServiceDeploymentNotStoppable(deployment),
            &["StopServiceDeployment"],
        ),
        met(ServiceRejection::HookNotWaiting(HookId::new(1)), &["ContinueServiceDeployment"]),
        met(TaskSetRejection::NotExternal(service), OF_TASK_SET),
        met(TaskSetRejection::TaskSetNotFound(revision), OF_TASK_SET),
        met(TaskSetRejection::TaskSetScaledAboveZero(revision), &["DeleteTaskSet"]),
        met(TaskSetRejection::TooManyTaskSets { limit: 1 }, &["CreateTaskSet"]),
        met(AlarmRejection::AlarmsNotFound(Vec::new()), &[]),
        met(CapacityProviderRejection::CapacityProviderNotFound(provider()), STRATEGIES),
        met(
            CapacityProviderRejection::CapacityProviderExists(provider()),
            &["CreateCapacityProvider"],
        ),
        met(
            CapacityProviderRejection::CapacityProviderInUse(provider()),
            &["PutClusterCapacityProviders"],
        ),
        met(
            CapacityProviderRejection::InvalidCapacityProvider("a".into()),
            &["CreateCapacityProvider", "UpdateCapacityProvider", "DeleteCapacityProvider"],
        ),
        met(CapacityProviderRejection::InvalidCapacityProvider("a".into()), STRATEGIES),
        met(
            CapacityProviderRejection::TooManyCapacityProviders { limit: 1 },
            &["CreateCapacityProvider"],
        ),
    ]
}

#[tokio::test]
async fn rejection_is_an_error_that_its_operations_declare() {
    let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
    let api = crate::edge::test_backend::api_of(identity.clone());
    let mut wrong = Vec::new();
    for Met { rejection, by } in met() {
        for operation in by {
            let launches = ["RunTask", "StartTask", "Service", "TaskSet"];
            let error = match launches.iter().any(|of| operation.ends_with(of)) {
                true => api.launch_refusal(&rejection),
                false => ApiError::of(&rejection, &identity),
            };
            if !declares("ecs", operation, error.code) {
                wrong.push(format!("{operation}: {error}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const PARAMETER: &str = "InvalidParameterException";
const CLIENT: &str = "ClientException";

/// Texts that Terraform's provider, the AWS CLI, copilot, ecs-deploy and Ansible look for.
#[tokio::test]
async fn errors_begin_with_the_words_that_clients_look_for() {
    let world = World::furnished().await;
    let cases = [
        (
            "DeleteCapacityProvider",
            json!({"capacityProvider": "none"}),
            CLIENT,
            "The specified capacity provider does not exist. Specify a valid name or ARN and try \
             again.",
        ),
        (
            "DeleteCapacityProvider",
            json!({"capacityProvider": "arn:aws:ecs:us-east-1:000000000000:capacity-provider/no"}),
            CLIENT,
            "The specified capacity provider does not exist. Specify a valid name or ARN and try \
             again.",
        ),
        (
            "UpdateCapacityProvider",
            json!({"name": "none", "autoScalingGroupProvider": {}}),
            CLIENT,
            "The specified capacity provider does not exist.",
        ),
        (
            "PutAccountSetting",
            json!({"name": "taskLongArnFormat", "value": "disabled"}),
            PARAMETER,
            "You can no longer disable Long Arn settings",
        ),
        (
            "PutAccountSettingDefault",
            json!({"name": "serviceLongArnFormat", "value": "disabled"}),
            PARAMETER,
            "You can no longer disable Long Arn settings",
        ),
        (
            "PutAccountSettingDefault",
            json!({"name": "containerInstanceLongArnFormat", "value": "disabled"}),
            PARAMETER,
            "You can no longer disable Long Arn settings",
        ),
        (
            "RegisterTaskDefinition",
            json!({"family": "a", "containerDefinitions": [{"image": "a", "memory": 64}]}),
            CLIENT,
            "Container.name should not be null or empty.",
        ),
        (
            "RegisterTaskDefinition",
            json!({"family": "a", "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc",
                "cpu": "256", "memory": "512", "pidMode": "host",
                "containerDefinitions": [{"name": "a", "image": "a"}]}),
            CLIENT,
            "Tasks using the Fargate launch type do not support pidMode 'host'. The supported \
             value for pidMode is 'task'.",
        ),
        (
            "CreateService",
            json!({"serviceName": "d", "taskDefinition": "web", "desiredCount": 1,
                "schedulingStrategy": "DAEMON"}),
            PARAMETER,
            "The daemon scheduling strategy does not support a desired count for services. Remove \
             the desired count value and try again",
        ),
        (
            "UpdateService",
            json!({"service": "daemon", "desiredCount": 1}),
            PARAMETER,
            "The daemon scheduling strategy does not support a desired count for services. Remove \
             the desired count value and try again",
        ),
        (
            "CreateService",
            json!({"serviceName": "e", "taskDefinition": "web", "desiredCount": 1,
                "deploymentController": {"type": "EXTERNAL"}}),
            PARAMETER,
            "TaskDefinition must be blank.",
        ),
        ("DescribeTasks", json!({"tasks": []}), PARAMETER, "Tasks cannot be empty."),
        ("DescribeServices", json!({"services": []}), PARAMETER, "Services cannot be empty."),
        (
            "TagResource",
            json!({"resourceArn": "arn:aws:ecs:us-east-1:000000000000:service/svc",
                "tags": [{"key": "a"}]}),
            PARAMETER,
            "Long arn format must be used for tagging operations",
        ),
        (
            "RunTask",
            json!({"taskDefinition": "web", "launchType": "CLOUD"}),
            PARAMETER,
            "`launchType`: launch type should be one of [EC2,FARGATE,EXTERNAL,MANAGED_INSTANCES]",
        ),
        (
            "DeleteService",
            json!({"service": "svc"}),
            PARAMETER,
            "The service cannot be stopped while it is scaled above 0.",
        ),
        (
            "DeleteCluster",
            json!({"cluster": "default"}),
            "ClusterContainsServicesException",
            "The Cluster cannot be deleted while Services are active",
        ),
        ("DescribeTaskDefinition", json!({"taskDefinition": "none"}), CLIENT, "Unable to describe"),
        (
            "StopTask",
            json!({"task": "0".repeat(32)}),
            PARAMETER,
            "The referenced task was not found.",
        ),
        ("RunTask", json!({"taskDefinition": "none"}), CLIENT, "TaskDefinition not found."),
    ];
    let mut wrong = Vec::new();
    for (operation, input, code, begins) in cases {
        let said = world.call(operation, input.clone()).await;
        let holds = said
            .as_ref()
            .err()
            .is_some_and(|refusal| refusal.code == code && refusal.message.starts_with(begins));
        if !holds {
            wrong.push(format!("{operation} {input}: {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One bad entry does not stop the others.
#[tokio::test]
async fn deleting_definitions_tells_of_each_that_cannot_be_deleted() {
    let world = World::furnished().await;
    let container = json!({"name": "app", "image": "nginx", "memory": 64});
    let definition = json!({"family": "old", "containerDefinitions": [container]});
    world.done("RegisterTaskDefinition", definition).await;
    world.done("DeregisterTaskDefinition", json!({"taskDefinition": "old:1"})).await;
    let none = "arn:aws:ecs:us-east-1:000000000000:task-definition/none:7";
    let given = ["old", "a b", "old:x", none, "web:1", "old:1", "old:9"];
    let answer = world.done("DeleteTaskDefinitions", json!({"taskDefinitions": given})).await;
    let deleted = &answer["taskDefinitions"];
    assert_eq!(deleted.as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(deleted[0]["family"], "old");
    let failed: Vec<(&str, &str)> = answer["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| (failure["arn"].as_str().unwrap(), failure["reason"].as_str().unwrap()))
        .collect();
    let invalid = "The specified task definition identifier is invalid. Specify a valid name or \
                   ARN and try again.";
    let missing = "The specified task definition does not exist. Specify a valid account, family, \
                   revision and try again.";
    let active = "The specified task definition is still in ACTIVE status. Please deregister the \
                  target and try again.";
    let mut expected = vec![
        ("old", invalid),
        ("a b", invalid),
        ("old:x", invalid),
        (none, missing),
        ("web:1", active),
        ("old:9", missing),
    ];
    let mut failed = failed;
    failed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(failed, expected);
}

#[tokio::test]
async fn service_that_is_not_there_is_named_as_ecs_names_it() {
    let world = World::furnished().await;
    let arn = "arn:aws:ecs:us-east-1:000000000000:service/none";
    let answer = world.done("DescribeServices", json!({"services": ["none", "svc"]})).await;
    assert_eq!(answer["failures"], json!([{"arn": arn, "reason": "MISSING"}]));
    assert_eq!(answer["services"].as_array().unwrap().len(), 1);
}
