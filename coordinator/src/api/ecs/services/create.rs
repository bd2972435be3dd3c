//! CreateService.

use longshore_core::{
    Command, Rejection,
    command::{CreateService, ServiceCommand},
    model::service::{
        Controller, PropagateTags as Propagated, Scheduling, ServiceConfig, ServiceOptions,
        ServiceRef,
    },
    rejection::ServiceRejection,
};
use serde::{Deserialize, Serialize};

use super::{
    DESIRED_COUNT_MAX, DeploymentController, DeploymentControllerType, GRACE_SECONDS_MAX,
    SchedulingStrategy, ServiceOutput, Switch,
    deployment_configuration::{self, DeploymentConfigurationInput},
    range::in_range,
    submit_and_show,
    unsupported::{
        self as not_here, GatewayConnector, LoadBalancer, MonitoringConfiguration,
        ServiceConnectConfiguration, ServiceRegistry, ServiceVolumeConfiguration,
        VpcLatticeConfiguration,
    },
};
use crate::{
    api::ecs::{
        identifiers::{self, DEFAULT_CLUSTER},
        placement::{self, PlacementConstraint, PlacementStrategy},
        strategy::{self, StrategyItemInput},
        tags::PropagateTags,
        tags::{self, TagInput},
        unsupported::{self, LaunchType, NetworkConfiguration},
    },
    edge::{client_token, context::Api, error::ApiError},
};

/// Maximum length of a client token in characters (ecs-behaviour 1.1, idempotency).
pub(crate) const CLIENT_TOKEN_CHARS_MAX: usize = 36;

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateServiceInput {
    cluster: Option<String>,
    service_name: String,
    task_definition: Option<String>,
    availability_zone_rebalancing: Option<Switch>,
    #[serde(default)]
    load_balancers: Vec<LoadBalancer>,
    #[serde(default)]
    service_registries: Vec<ServiceRegistry>,
    desired_count: Option<i64>,
    client_token: Option<String>,
    launch_type: Option<LaunchType>,
    #[serde(default)]
    capacity_provider_strategy: Vec<StrategyItemInput>,
    platform_version: Option<String>,
    role: Option<String>,
    deployment_configuration: Option<DeploymentConfigurationInput>,
    #[serde(default)]
    placement_constraints: Vec<PlacementConstraint>,
    #[serde(default)]
    placement_strategy: Vec<PlacementStrategy>,
    network_configuration: Option<NetworkConfiguration>,
    health_check_grace_period_seconds: Option<i64>,
    scheduling_strategy: Option<SchedulingStrategy>,
    deployment_controller: Option<DeploymentController>,
    #[serde(default)]
    tags: Vec<TagInput>,
    #[serde(default, rename = "enableECSManagedTags")]
    enable_ecs_managed_tags: bool,
    propagate_tags: Option<PropagateTags>,
    #[serde(default)]
    enable_execute_command: bool,
    service_connect_configuration: Option<ServiceConnectConfiguration>,
    #[serde(default)]
    volume_configurations: Vec<ServiceVolumeConfiguration>,
    #[serde(default)]
    vpc_lattice_configurations: Vec<VpcLatticeConfiguration>,
    #[serde(default)]
    gateway_connectors: Vec<GatewayConnector>,
    monitoring: Option<MonitoringConfiguration>,
}

pub(crate) async fn create(
    api: &Api,
    mut input: CreateServiceInput,
) -> Result<ServiceOutput, ApiError> {
    // What is left out means the default, so both are the same call.
    input.cluster.get_or_insert_with(|| DEFAULT_CLUSTER.to_owned());
    let token = input.client_token.take();
    let client_token = client_token::parse(token, CLIENT_TOKEN_CHARS_MAX, &input)?;
    refuse_unsupported(&input)?;
    let cluster = identifiers::cluster(&api.identity, input.cluster.as_deref())?;
    let name = input.service_name.parse().map_err(|_| {
        ApiError::invalid_parameter(format!(
            "serviceName `{}` is not valid: a service's name has 1 to 255 letters, numbers, \
             underscores and hyphens.",
            input.service_name
        ))
    })?;
    let definition = match input.task_definition.as_deref().filter(|given| !given.is_empty()) {
        None => None,
        Some(given) => {
            let found = identifiers::task_definition(&api.identity, given)?;
            Some(found.ok_or_else(ApiError::task_definition_not_found)?)
        }
    };
    let network = input.network_configuration.as_ref();
    unsupported::no_network(api, network, definition.as_ref()).await?;
    let (tags, options) = tags::parse_with_options(std::mem::take(&mut input.tags))?;
    let service = ServiceRef { cluster, name };
    let strategy = std::mem::take(&mut input.capacity_provider_strategy);
    let capacity = strategy::asked(&api.identity, strategy, input.launch_type)?;
    let command = Command::Service(ServiceCommand::CreateService(Box::new(CreateService {
        service: service.clone(),
        definition,
        config: config(input, options)?,
        capacity,
        tags,
        created_by: api.caller.arn.clone(),
        client_token,
    })));
    submit_and_show(api, command, service).await
}

fn refuse_unsupported(input: &CreateServiceInput) -> Result<(), ApiError> {
    not_here::no_load_balancers(&input.load_balancers)?;
    not_here::no_registries(&input.service_registries)?;
    not_here::no_service_connect(input.service_connect_configuration.as_ref())?;
    not_here::no_lattice(&input.vpc_lattice_configurations)?;
    not_here::no_gateways(&input.gateway_connectors)?;
    not_here::no_monitoring(input.monitoring.as_ref())?;
    not_here::no_role(input.role.as_deref())?;
    unsupported::no_platform_version(input.platform_version.as_deref(), input.launch_type)?;
    unsupported::no_exec(input.enable_execute_command)?;
    unsupported::no_volumes(input.volume_configurations.first().map(|v| v.name.as_str()))
}

fn config(input: CreateServiceInput, options: ServiceOptions) -> Result<ServiceConfig, ApiError> {
    let scheduling = match input.scheduling_strategy {
        None | Some(SchedulingStrategy::Replica) => Scheduling::Replica,
        Some(SchedulingStrategy::Daemon) => Scheduling::Daemon,
    };
    let change = input.deployment_configuration.unwrap_or_default().parse()?;
    let grace = input.health_check_grace_period_seconds;
    let constraints = placement::parse_constraints(&input.placement_constraints)?;
    let mut config = ServiceConfig {
        desired: 0,
        scheduling,
        controller: controller(input.deployment_controller.as_ref())?,
        deployment: deployment_configuration::complete(change, scheduling),
        distinct_instance: constraints.distinct_instance,
        member_of: constraints.member_of,
        strategies: placement::parse_strategies(&input.placement_strategy)?,
        capacity: Vec::new(),
        grace_s: in_range("healthCheckGracePeriodSeconds", grace, 0, GRACE_SECONDS_MAX)?,
        az_rebalancing: false,
        propagate_tags: propagated(input.propagate_tags),
        managed_tags: input.enable_ecs_managed_tags,
        options,
    };
    config.desired = desired(input.desired_count, scheduling, config.controller)?;
    config.az_rebalancing = match input.availability_zone_rebalancing {
        // ecs-behaviour 1.13: by default wherever it is possible.
        None => config.obstacle_to_az_rebalancing().is_none(),
        Some(Switch::Enabled) => true,
        Some(Switch::Disabled) => false,
    };
    Ok(config)
}

fn desired(
    given: Option<i64>,
    scheduling: Scheduling,
    controller: Controller,
) -> Result<u32, ApiError> {
    let desired = in_range("desiredCount", given, 0, DESIRED_COUNT_MAX)?;
    match (desired, scheduling) {
        (Some(desired), Scheduling::Replica) => Ok(desired),
        (None, Scheduling::Daemon) => Ok(0),
        // Its task sets have scales of a count that may come later.
        (None, Scheduling::Replica) if controller == Controller::External => Ok(0),
        (None, Scheduling::Replica) => Err(ApiError::invalid_parameter(
            "desiredCount is required for the REPLICA scheduling strategy: say how many tasks the \
             service is to have.",
        )),
        (Some(_), Scheduling::Daemon) => Err(ApiError::invalid_parameter(
            Rejection::Service(ServiceRejection::DaemonTakesNoDesiredCount).to_string(),
        )),
    }
}

pub(super) fn controller(given: Option<&DeploymentController>) -> Result<Controller, ApiError> {
    match given.map(|controller| controller.kind) {
        None | Some(DeploymentControllerType::Ecs) => Ok(Controller::Ecs),
        Some(DeploymentControllerType::External) => Ok(Controller::External),
        Some(DeploymentControllerType::CodeDeploy) => Err(ApiError::invalid_parameter(
            "The deployment controller CODE_DEPLOY is not available: there is no CodeDeploy outside \
             of Amazon Web Services. Use EXTERNAL with task sets of your own, or ECS with the \
             strategy BLUE_GREEN.",
        )),
    }
}

pub(super) fn propagated(given: Option<PropagateTags>) -> Propagated {
    match given {
        None | Some(PropagateTags::None) => Propagated::None,
        Some(PropagateTags::TaskDefinition) => Propagated::TaskDefinition,
        Some(PropagateTags::Service) => Propagated::Service,
    }
}
