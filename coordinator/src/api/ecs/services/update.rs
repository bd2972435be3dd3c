//! UpdateService: what is left out stays as it is.

use longshore_core::{
    Command, State,
    command::{ServiceCommand, UpdateService},
    model::{
        definition::RevisionRef,
        service::{Controller, ServiceRef},
    },
};
use serde::Deserialize;

use super::{
    DESIRED_COUNT_MAX, DeploymentController, GRACE_SECONDS_MAX, ServiceOutput, Switch, create,
    deployment_configuration::DeploymentConfigurationInput,
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
        identifiers,
        placement::{self, PlacementConstraint, PlacementStrategy},
        strategy::{self, StrategyItemInput},
        tags::PropagateTags,
        unsupported::{self, NetworkConfiguration},
    },
    edge::{context::Api, error::ApiError},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateServiceInput {
    cluster: Option<String>,
    service: String,
    desired_count: Option<i64>,
    task_definition: Option<String>,
    /// An empty one takes away what there was.
    capacity_provider_strategy: Option<Vec<StrategyItemInput>>,
    deployment_configuration: Option<DeploymentConfigurationInput>,
    availability_zone_rebalancing: Option<Switch>,
    network_configuration: Option<NetworkConfiguration>,
    /// Empty lists of these two take away what there was.
    placement_constraints: Option<Vec<PlacementConstraint>>,
    placement_strategy: Option<Vec<PlacementStrategy>>,
    platform_version: Option<String>,
    #[serde(default)]
    force_new_deployment: bool,
    health_check_grace_period_seconds: Option<i64>,
    deployment_controller: Option<DeploymentController>,
    enable_execute_command: Option<bool>,
    #[serde(rename = "enableECSManagedTags")]
    enable_ecs_managed_tags: Option<bool>,
    #[serde(default)]
    load_balancers: Vec<LoadBalancer>,
    propagate_tags: Option<PropagateTags>,
    #[serde(default)]
    service_registries: Vec<ServiceRegistry>,
    service_connect_configuration: Option<ServiceConnectConfiguration>,
    #[serde(default)]
    volume_configurations: Vec<ServiceVolumeConfiguration>,
    #[serde(default)]
    vpc_lattice_configurations: Vec<VpcLatticeConfiguration>,
    #[serde(default)]
    gateway_connectors: Vec<GatewayConnector>,
    monitoring: Option<MonitoringConfiguration>,
}

pub(crate) async fn update(
    api: &Api,
    input: UpdateServiceInput,
) -> Result<ServiceOutput, ApiError> {
    refuse_unsupported(&input)?;
    let deployment = input.deployment_configuration.unwrap_or_default().parse()?;
    let grace = input.health_check_grace_period_seconds;
    let constraints = input.placement_constraints.as_deref();
    let strategies = input.placement_strategy.as_deref();
    let controller = match &input.deployment_controller {
        None => None,
        given => Some(create::controller(given.as_ref())?),
    };
    let definition = match input.task_definition.as_deref().filter(|given| !given.is_empty()) {
        None => None,
        Some(given) => {
            let found = identifiers::task_definition(&api.identity, given)?;
            Some(found.ok_or_else(ApiError::task_definition_not_found)?)
        }
    };
    let service = super::named(api, input.cluster.as_deref(), &input.service)?;
    let network = input.network_configuration.as_ref();
    match &definition {
        Some(definition) => unsupported::no_network(api, network, Some(definition)).await?,
        None => {
            let current = |state: &State| {
                let revision = &state.service_named(&service)?.primary()?.record;
                let (family, revision) = (revision.family.clone(), Some(revision.revision));
                Some(RevisionRef { family, revision })
            };
            let current = api.read(current).await?;
            unsupported::no_network(api, network, current.as_ref()).await?;
        }
    }
    let desired = in_range("desiredCount", input.desired_count, 0, DESIRED_COUNT_MAX)?;
    let grace_s = in_range("healthCheckGracePeriodSeconds", grace, 0, GRACE_SECONDS_MAX)?;
    let constraints = constraints.map(placement::parse_constraints).transpose()?;
    let distinct_instance = constraints.as_ref().map(|given| given.distinct_instance);
    let strategies = strategies.map(placement::parse_strategies).transpose()?;
    let capacity = input
        .capacity_provider_strategy
        .map(|given| strategy::strategy(&api.identity, given))
        .transpose()?;
    if let Some(controller) = controller {
        same_controller(api, &service, controller).await?;
    }
    let command = Command::Service(ServiceCommand::UpdateService(Box::new(UpdateService {
        service: service.clone(),
        definition,
        desired,
        deployment,
        distinct_instance,
        member_of: constraints.map(|given| given.member_of),
        strategies,
        capacity,
        grace_s,
        az_rebalancing: input
            .availability_zone_rebalancing
            .map(|rebalancing| rebalancing == Switch::Enabled),
        propagate_tags: input.propagate_tags.map(|given| create::propagated(Some(given))),
        managed_tags: input.enable_ecs_managed_tags,
        force_new_deployment: input.force_new_deployment,
    })));
    submit_and_show(api, command, service).await
}

/// A service keeps its deployment controller for life, so that it may be looked at before the
/// update is decided.
async fn same_controller(
    api: &Api,
    service: &ServiceRef,
    asked: Controller,
) -> Result<(), ApiError> {
    let current = |state: &State| state.service_named(service).map(|s| s.config.controller);
    match api.read(current).await? {
        Some(current) if current != asked => Err(ApiError::invalid_parameter(
            "The deploymentController of a service cannot be changed in this release of Longshore. \
             Leave it out, or create another service.",
        )),
        Some(_) | None => Ok(()),
    }
}

fn refuse_unsupported(input: &UpdateServiceInput) -> Result<(), ApiError> {
    not_here::no_load_balancers(&input.load_balancers)?;
    not_here::no_registries(&input.service_registries)?;
    not_here::no_service_connect(input.service_connect_configuration.as_ref())?;
    not_here::no_lattice(&input.vpc_lattice_configurations)?;
    not_here::no_gateways(&input.gateway_connectors)?;
    not_here::no_monitoring(input.monitoring.as_ref())?;
    unsupported::no_platform_version_of_update(input.platform_version.as_deref())?;
    unsupported::no_exec(input.enable_execute_command.unwrap_or(false))?;
    unsupported::no_volumes(input.volume_configurations.first().map(|v| v.name.as_str()))
}
