//! ECS's operations.

pub(crate) mod identifiers;
pub(crate) mod failure;
pub(crate) mod attributes;
pub(crate) mod placement;
pub(crate) mod tags;
pub(crate) mod task_definitions;
pub(crate) mod unsupported;
pub(crate) mod clusters;
pub(crate) mod capacity_providers;
pub(crate) mod tasks;
pub(crate) mod services;
pub(crate) mod service_deployments;
pub(crate) mod service_revisions;
pub(crate) mod task_sets;
pub(crate) mod task_protection;
pub(crate) mod container_instances;
pub(crate) mod account_settings;
pub(crate) mod discover;
#[cfg(test)]
pub(in crate::api) mod tests;

use crate::edge::operation::Operation;

/// ECS's operations that are built: one line for each.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("CreateCluster", clusters::create),
        Operation::new("DeleteCluster", clusters::delete),
        Operation::new("DescribeClusters", clusters::describe),
        Operation::new("ListClusters", clusters::list),
        Operation::new("UpdateCluster", clusters::update),
        Operation::new("UpdateClusterSettings", clusters::update_settings),
        Operation::new("RegisterTaskDefinition", task_definitions::register)
            .invalid_is_client_error(),
        Operation::new("DeregisterTaskDefinition", task_definitions::deregister),
        Operation::new("DeleteTaskDefinitions", task_definitions::delete),
        Operation::new("DescribeTaskDefinition", task_definitions::describe),
        Operation::new("ListTaskDefinitions", task_definitions::list::revisions),
        Operation::new("ListTaskDefinitionFamilies", task_definitions::list::families_of),
        Operation::new("RunTask", tasks::run::run),
        Operation::new("StartTask", tasks::start::start),
        Operation::new("StopTask", tasks::stop),
        Operation::new("DescribeTasks", tasks::describe),
        Operation::new("ListTasks", tasks::list::list),
        Operation::new("CreateService", services::create::create),
        Operation::new("UpdateService", services::update::update),
        Operation::new("DeleteService", services::delete),
        Operation::new("DescribeServices", services::describe),
        Operation::new("ListServices", services::list::list),
        Operation::new("ListServicesByNamespace", services::list::by_namespace),
        Operation::new("ListServiceDeployments", service_deployments::list::list),
        Operation::new("DescribeServiceDeployments", service_deployments::describe),
        Operation::new("StopServiceDeployment", service_deployments::stop),
        Operation::new("ContinueServiceDeployment", service_deployments::go_on),
        Operation::new("DescribeServiceRevisions", service_revisions::describe),
        Operation::new("CreateTaskSet", task_sets::create),
        Operation::new("UpdateTaskSet", task_sets::update),
        Operation::new("DeleteTaskSet", task_sets::delete),
        Operation::new("DescribeTaskSets", task_sets::describe),
        Operation::new("UpdateServicePrimaryTaskSet", task_sets::set_primary),
        Operation::new("GetTaskProtection", task_protection::get),
        Operation::new("UpdateTaskProtection", task_protection::update),
        Operation::new("RegisterContainerInstance", container_instances::register::register),
        Operation::new("DeregisterContainerInstance", container_instances::deregister),
        Operation::new("DescribeContainerInstances", container_instances::describe),
        Operation::new("ListContainerInstances", container_instances::list),
        Operation::new("UpdateContainerInstancesState", container_instances::update_state),
        Operation::new("PutAttributes", attributes::put),
        Operation::new("DeleteAttributes", attributes::delete),
        Operation::new("ListAttributes", attributes::list),
        Operation::new("TagResource", tags::tag),
        Operation::new("UntagResource", tags::untag),
        Operation::new("ListTagsForResource", tags::list),
        Operation::new("PutAccountSetting", account_settings::put),
        Operation::new("PutAccountSettingDefault", account_settings::put_default),
        Operation::new("DeleteAccountSetting", account_settings::delete),
        Operation::new("ListAccountSettings", account_settings::list),
        Operation::new("CreateCapacityProvider", capacity_providers::create),
        Operation::new("UpdateCapacityProvider", capacity_providers::update),
        Operation::new("DeleteCapacityProvider", capacity_providers::delete),
        Operation::new("DescribeCapacityProviders", capacity_providers::describe),
        Operation::new("PutClusterCapacityProviders", capacity_providers::put_for_cluster),
        Operation::new("DiscoverPollEndpoint", discover::poll_endpoint),
    ]
}
