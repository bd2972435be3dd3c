//! ECS's operations.

mod known_operations;
pub(crate) mod failure;
pub(crate) mod identifiers;
pub(crate) mod attributes;
pub(crate) mod placement;
pub(crate) mod tags;
pub(crate) mod unsupported;
pub(crate) mod strategy;
pub(crate) mod task_definitions;
pub(crate) mod clusters;
pub(crate) mod capacity_providers;
pub(crate) mod services;
pub(crate) mod service_revisions;
pub(crate) mod service_deployments;
pub(crate) mod task_sets;
pub(crate) mod container_instances;
pub(crate) mod tasks;
pub(crate) mod task_protection;
pub(crate) mod account_settings;
pub(crate) mod discover;
#[cfg(test)]
pub(in crate::api) mod tests;

pub(crate) use self::known_operations::KNOWN_OPERATIONS;
use crate::edge::{
    error::ErrorCode,
    operation::{Operation, json},
    service::{KnownOperations, Service, ServiceModel},
};

/// What stands before the names of ECS's operations.
pub(crate) const TARGET: &str = "AmazonEC2ContainerServiceV20141113";
pub(crate) const SIGNING_NAME: &str = "ecs";

pub(crate) fn service() -> Service {
    service_of(operations())
}

/// The service with these of its operations.
pub(crate) fn service_of(operations: Vec<Operation>) -> Service {
    let model = ServiceModel {
        name: SIGNING_NAME,
        target: Some(TARGET),
        query: None,
        invalid: ErrorCode::InvalidParameter,
        known: Some(KnownOperations {
            of: "ECS",
            names: &KNOWN_OPERATIONS,
            instead: &[(
                "ExecuteCommand",
                "Use `docker exec` on the task's host; DescribeTasks names the host and each \
                 container's runtimeId.",
            )],
        }),
    };
    Service::new(model, operations)
}

/// ECS's operations that are built: one line for each.
fn operations() -> Vec<Operation> {
    vec![
        Operation::write("CreateCluster", json(clusters::create)),
        Operation::write("DeleteCluster", json(clusters::delete)),
        Operation::read("DescribeClusters", json(clusters::describe)),
        Operation::read("ListClusters", json(clusters::list)),
        Operation::write("UpdateCluster", json(clusters::update)),
        Operation::write("UpdateClusterSettings", json(clusters::update_settings)),
        Operation::write("RegisterTaskDefinition", json(task_definitions::register))
            .with_invalid(ErrorCode::Client),
        Operation::write("DeregisterTaskDefinition", json(task_definitions::deregister)),
        Operation::write("DeleteTaskDefinitions", json(task_definitions::delete)),
        Operation::read("DescribeTaskDefinition", json(task_definitions::describe)),
        Operation::read("ListTaskDefinitions", json(task_definitions::list::revisions)),
        Operation::read("ListTaskDefinitionFamilies", json(task_definitions::list::families_of)),
        Operation::write("RunTask", json(tasks::run::run)),
        Operation::write("StartTask", json(tasks::start::start)),
        Operation::write("StopTask", json(tasks::stop)),
        Operation::write("SubmitAttachmentStateChanges", json(tasks::attachment_states::submit)),
        Operation::read("DescribeTasks", json(tasks::describe)),
        Operation::read("ListTasks", json(tasks::list::list)),
        Operation::write("CreateService", json(services::create::create)),
        Operation::write("UpdateService", json(services::update::update)),
        Operation::write("DeleteService", json(services::delete)),
        Operation::read("DescribeServices", json(services::describe)),
        Operation::read("ListServices", json(services::list::list)),
        Operation::read("ListServicesByNamespace", json(services::list::by_namespace)),
        Operation::read("ListServiceDeployments", json(service_deployments::list::list)),
        Operation::read("DescribeServiceDeployments", json(service_deployments::describe)),
        Operation::write("StopServiceDeployment", json(service_deployments::stop)),
        Operation::write(
            "ContinueServiceDeployment",
            json(service_deployments::continue_deployment),
        ),
        Operation::read("DescribeServiceRevisions", json(service_revisions::describe)),
        Operation::write("CreateTaskSet", json(task_sets::create)),
        Operation::write("UpdateTaskSet", json(task_sets::update)),
        Operation::write("DeleteTaskSet", json(task_sets::delete)),
        Operation::read("DescribeTaskSets", json(task_sets::describe)),
        Operation::write("UpdateServicePrimaryTaskSet", json(task_sets::set_primary)),
        Operation::read("GetTaskProtection", json(task_protection::get)),
        Operation::write("UpdateTaskProtection", json(task_protection::update)),
        Operation::write(
            "RegisterContainerInstance",
            json(container_instances::register::register),
        ),
        Operation::write("DeregisterContainerInstance", json(container_instances::deregister)),
        Operation::read("DescribeContainerInstances", json(container_instances::describe)),
        Operation::read("ListContainerInstances", json(container_instances::list)),
        Operation::write("UpdateContainerInstancesState", json(container_instances::update_state)),
        Operation::write("PutAttributes", json(attributes::put)),
        Operation::write("DeleteAttributes", json(attributes::delete)),
        Operation::read("ListAttributes", json(attributes::list)),
        Operation::write("TagResource", json(tags::tag)),
        Operation::write("UntagResource", json(tags::untag)),
        Operation::read("ListTagsForResource", json(tags::list)),
        Operation::write("PutAccountSetting", json(account_settings::put)),
        Operation::write("PutAccountSettingDefault", json(account_settings::put_default)),
        Operation::write("DeleteAccountSetting", json(account_settings::delete)),
        Operation::read("ListAccountSettings", json(account_settings::list)),
        Operation::write("CreateCapacityProvider", json(capacity_providers::create)),
        Operation::write("UpdateCapacityProvider", json(capacity_providers::update)),
        Operation::write("DeleteCapacityProvider", json(capacity_providers::delete)),
        Operation::read("DescribeCapacityProviders", json(capacity_providers::describe)),
        Operation::write("PutClusterCapacityProviders", json(capacity_providers::put_for_cluster)),
        Operation::read("DiscoverPollEndpoint", json(discover::poll_endpoint)),
    ]
}
