//! Services to make, as tests ask for them.

use super::CLUSTER;
use crate::{
    Command,
    command::{CreateService, DeploymentChange, ServiceCommand, UpdateService},
    model::{
        definition::RevisionRef,
        service::{
            CircuitBreaker, Controller, DeploymentConfig, DeploymentStrategy, PropagateTags,
            Scheduling, ServiceConfig, ServiceOptions, ServiceRef, Threshold,
        },
        tags::Tags,
    },
};

pub fn create(name: &str, family: &str, config: ServiceConfig) -> Command {
    let external = config.controller == Controller::External;
    let definition = RevisionRef { family: family.parse().unwrap(), revision: None };
    Command::Service(ServiceCommand::CreateService(Box::new(CreateService {
        service: named(name),
        definition: (!external).then_some(definition),
        config,
        capacity: None,
        tags: Tags::new(),
        created_by: "root".to_owned(),
        client_token: None,
    })))
}

pub fn named(name: &str) -> ServiceRef {
    ServiceRef { cluster: CLUSTER.parse().unwrap(), name: name.parse().unwrap() }
}

/// An update that changes nothing.
pub fn update_of(service: ServiceRef) -> UpdateService {
    UpdateService {
        service,
        definition: None,
        desired: None,
        deployment: DeploymentChange::default(),
        distinct_instance: None,
        member_of: None,
        strategies: None,
        capacity: None,
        grace_s: None,
        az_rebalancing: None,
        propagate_tags: None,
        managed_tags: None,
        force_new_deployment: false,
    }
}

pub fn replicas(desired: u32) -> ServiceConfig {
    ServiceConfig {
        desired,
        scheduling: Scheduling::Replica,
        controller: Controller::Ecs,
        deployment: DeploymentConfig {
            minimum_healthy_percent: 100,
            maximum_percent: 200,
            strategy: DeploymentStrategy::Rolling,
            circuit_breaker: CircuitBreaker {
                enable: false,
                rollback: false,
                reset_on_healthy_task: true,
                threshold: Threshold::BoundedPercent(50),
            },
            alarms: None,
            bake_minutes: None,
            hooks: Vec::new(),
            early_success: None,
        },
        distinct_instance: false,
        member_of: Vec::new(),
        strategies: Vec::new(),
        capacity: Vec::new(),
        grace_s: None,
        az_rebalancing: false,
        propagate_tags: PropagateTags::None,
        managed_tags: false,
        options: ServiceOptions::default(),
    }
}

pub fn bounded(desired: u32, minimum: u32, maximum: u32) -> ServiceConfig {
    let mut config = replicas(desired);
    config.deployment.minimum_healthy_percent = minimum;
    config.deployment.maximum_percent = maximum;
    config
}

pub fn with_breaker(mut config: ServiceConfig, rollback: bool) -> ServiceConfig {
    config.deployment.circuit_breaker.enable = true;
    config.deployment.circuit_breaker.rollback = rollback;
    config
}

pub fn external(desired: u32) -> ServiceConfig {
    ServiceConfig { controller: Controller::External, ..replicas(desired) }
}

pub fn blue_green(desired: u32) -> ServiceConfig {
    let mut config = replicas(desired);
    config.deployment.strategy = DeploymentStrategy::BlueGreen;
    config.deployment.bake_minutes = Some(0);
    config
}

pub fn daemon() -> ServiceConfig {
    let mut config = bounded(0, 0, 100);
    config.scheduling = Scheduling::Daemon;
    config
}
