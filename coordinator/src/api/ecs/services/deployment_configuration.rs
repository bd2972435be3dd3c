//! `deploymentConfiguration`, of services and of their deployments: read, defaulted, shown
//! (ecs-behaviour 1.9 to 1.11).

mod hooks;

use longshore_core::{
    command::DeploymentChange,
    model::{
        alarm::AlarmName,
        service::{
            CircuitBreaker, DeploymentAlarms, DeploymentConfig, DeploymentStrategy, EarlySuccess,
            RevisionCleanup, Scheduling, Threshold,
        },
    },
};
use serde::{Deserialize, Serialize};

use self::hooks::{HookInput, HookView};
use super::range::in_range;
use crate::edge::error::ApiError;

/// Maximum of the two percentages (ECS's integers have 32 bits; no smaller limit is documented).
const PERCENT_MAX: i64 = i32::MAX as i64;
/// Maximum bake time in minutes (ecs-behaviour 1.11: a stage lasts at most 24 hours).
const BAKE_MINUTES_MAX: i64 = 24 * 60;
/// Maximum share of healthy tasks in percent (ecs-behaviour 1.9, earlySuccessCriteria).
const HEALTHY_PERCENT_MAX: i64 = 100;
/// Default threshold of the circuit breaker (ecs-behaviour 1.10).
const THRESHOLD_DEFAULT: Threshold = Threshold::BoundedPercent(50);
/// Maximum number of a deployment's alarms (ours: ECS documents no limit).
const ALARM_NAMES_MAX: usize = 100;

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeploymentConfigurationInput {
    deployment_circuit_breaker: Option<CircuitBreakerInput>,
    maximum_percent: Option<i64>,
    minimum_healthy_percent: Option<i64>,
    alarms: Option<Alarms>,
    strategy: Option<Strategy>,
    bake_time_in_minutes: Option<i64>,
    lifecycle_hooks: Option<Vec<HookInput>>,
    linear_configuration: Option<LinearConfiguration>,
    canary_configuration: Option<CanaryConfiguration>,
    early_success_criteria: Option<EarlySuccessCriteria>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct CircuitBreakerInput {
    enable: bool,
    rollback: bool,
    reset_on_healthy_task: Option<bool>,
    threshold_configuration: Option<ThresholdConfiguration>,
}

#[derive(Debug, Deserialize, Serialize)]
struct ThresholdConfiguration {
    #[serde(rename = "type")]
    kind: ThresholdType,
    value: i64,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ThresholdType {
    Count,
    BoundedPercent,
    UnboundedPercent,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alarms {
    alarm_names: Vec<String>,
    rollback: bool,
    enable: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Strategy {
    Rolling,
    BlueGreen,
    Linear,
    Canary,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct LinearConfiguration {
    step_percent: Option<f64>,
    step_bake_time_in_minutes: Option<i32>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct CanaryConfiguration {
    canary_percent: Option<f64>,
    canary_bake_time_in_minutes: Option<i32>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct EarlySuccessCriteria {
    enable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthy_percent: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_service_revision_cleanup: Option<Cleanup>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Cleanup {
    Blocking,
    Deferred,
}

impl DeploymentConfigurationInput {
    pub(super) fn parse(self) -> Result<DeploymentChange, ApiError> {
        no_traffic_steps(self.linear_configuration, self.canary_configuration)?;
        let percent = |member, given| in_range(member, given, 0, PERCENT_MAX);
        Ok(DeploymentChange {
            minimum_healthy_percent: percent(
                "minimumHealthyPercent",
                self.minimum_healthy_percent,
            )?,
            maximum_percent: percent("maximumPercent", self.maximum_percent)?,
            strategy: self.strategy.map(strategy).transpose()?,
            circuit_breaker: self.deployment_circuit_breaker.map(circuit_breaker).transpose()?,
            alarms: self.alarms.map(alarms).transpose()?,
            bake_minutes: in_range(
                "bakeTimeInMinutes",
                self.bake_time_in_minutes,
                0,
                BAKE_MINUTES_MAX,
            )?,
            hooks: self.lifecycle_hooks.map(hooks::parse).transpose()?,
            early_success: self.early_success_criteria.map(early_success).transpose()?,
        })
    }
}

/// What holds where a new service says nothing else.
pub(super) fn complete(change: DeploymentChange, scheduling: Scheduling) -> DeploymentConfig {
    let (minimum, maximum) = match scheduling {
        Scheduling::Replica => (100, 200),
        Scheduling::Daemon => (0, 100),
    };
    DeploymentConfig {
        minimum_healthy_percent: change.minimum_healthy_percent.unwrap_or(minimum),
        maximum_percent: change.maximum_percent.unwrap_or(maximum),
        strategy: change.strategy.unwrap_or(DeploymentStrategy::Rolling),
        circuit_breaker: change.circuit_breaker.unwrap_or(CircuitBreaker {
            enable: false,
            rollback: false,
            reset_on_healthy_task: true,
            threshold: THRESHOLD_DEFAULT,
        }),
        alarms: change.alarms,
        bake_minutes: change.bake_minutes,
        hooks: change.hooks.unwrap_or_default(),
        early_success: change.early_success,
    }
}

fn strategy(given: Strategy) -> Result<DeploymentStrategy, ApiError> {
    let named = match given {
        Strategy::Rolling => return Ok(DeploymentStrategy::Rolling),
        Strategy::BlueGreen => return Ok(DeploymentStrategy::BlueGreen),
        Strategy::Linear => "LINEAR",
        Strategy::Canary => "CANARY",
    };
    Err(traffic_steps(&format!("The deployment strategy {named}")))
}

fn no_traffic_steps(
    linear: Option<LinearConfiguration>,
    canary: Option<CanaryConfiguration>,
) -> Result<(), ApiError> {
    let linear =
        linear.is_some_and(|l| l.step_percent.is_some() || l.step_bake_time_in_minutes.is_some());
    let canary = canary
        .is_some_and(|c| c.canary_percent.is_some() || c.canary_bake_time_in_minutes.is_some());
    match (linear, canary) {
        (true, _) => Err(traffic_steps("linearConfiguration")),
        (_, true) => Err(traffic_steps("canaryConfiguration")),
        (false, false) => Ok(()),
    }
}

fn traffic_steps(what: &str) -> ApiError {
    ApiError::unsupported_feature(format!(
        "{what} cannot be honoured: it shifts a load balancer's traffic by steps, and this release \
         of Longshore has no load balancers. Use the strategy ROLLING or BLUE_GREEN."
    ))
}

fn circuit_breaker(given: CircuitBreakerInput) -> Result<CircuitBreaker, ApiError> {
    let threshold = match given.threshold_configuration {
        None => THRESHOLD_DEFAULT,
        Some(ThresholdConfiguration { kind, value }) => {
            let member = "thresholdConfiguration.value";
            let value = in_range(member, Some(value), 1, i64::from(i32::MAX))?.unwrap_or_default();
            match kind {
                ThresholdType::Count => Threshold::Count(value),
                ThresholdType::BoundedPercent => Threshold::BoundedPercent(value),
                ThresholdType::UnboundedPercent => Threshold::UnboundedPercent(value),
            }
        }
    };
    Ok(CircuitBreaker {
        enable: given.enable,
        rollback: given.rollback,
        reset_on_healthy_task: given.reset_on_healthy_task.unwrap_or(true),
        threshold,
    })
}

fn alarms(given: Alarms) -> Result<DeploymentAlarms, ApiError> {
    if given.alarm_names.len() > ALARM_NAMES_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "alarms.alarmNames has {} entries; at most {ALARM_NAMES_MAX} are allowed.",
            given.alarm_names.len()
        )));
    }
    if given.enable && given.alarm_names.is_empty() {
        return Err(ApiError::invalid_parameter(
            "alarms.alarmNames is empty: name an alarm, or say enable false.",
        ));
    }
    for (position, name) in given.alarm_names.iter().enumerate() {
        name.parse::<AlarmName>().map_err(|error| {
            ApiError::invalid_parameter(format!("alarms.alarmNames[{position}]: {error}."))
        })?;
        if given.alarm_names[..position].contains(name) {
            return Err(ApiError::invalid_parameter(format!(
                "alarms.alarmNames has `{name}` twice; name each alarm once."
            )));
        }
    }
    let Alarms { alarm_names: names, enable, rollback } = given;
    Ok(DeploymentAlarms { names, enable, rollback })
}

fn early_success(given: EarlySuccessCriteria) -> Result<EarlySuccess, ApiError> {
    let percent = in_range("healthyPercent", given.healthy_percent, 0, HEALTHY_PERCENT_MAX)?;
    let cleanup = given.source_service_revision_cleanup.map(|cleanup| match cleanup {
        Cleanup::Blocking => RevisionCleanup::Blocking,
        Cleanup::Deferred => RevisionCleanup::Deferred,
    });
    if given.enable && (percent.is_none() || cleanup.is_none()) {
        return Err(ApiError::invalid_parameter(
            "earlySuccessCriteria needs healthyPercent and sourceServiceRevisionCleanup when enable \
             is true.",
        ));
    }
    Ok(EarlySuccess {
        enable: given.enable,
        healthy_percent: percent.unwrap_or(HEALTHY_PERCENT_MAX as u32),
        cleanup: cleanup.unwrap_or(RevisionCleanup::Blocking),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeploymentConfigurationView {
    deployment_circuit_breaker: CircuitBreakerView,
    maximum_percent: u32,
    minimum_healthy_percent: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    alarms: Option<Alarms>,
    strategy: Strategy,
    bake_time_in_minutes: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lifecycle_hooks: Vec<HookView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    early_success_criteria: Option<EarlySuccessCriteria>,
}

/// What is not the default is shown beside the two that ECS always had.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CircuitBreakerView {
    enable: bool,
    rollback: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_on_healthy_task: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold_configuration: Option<ThresholdConfiguration>,
}

pub(crate) fn view(config: &DeploymentConfig) -> DeploymentConfigurationView {
    DeploymentConfigurationView {
        deployment_circuit_breaker: breaker_view(config.circuit_breaker),
        maximum_percent: config.maximum_percent,
        minimum_healthy_percent: config.minimum_healthy_percent,
        alarms: config.alarms.as_ref().map(|alarms| Alarms {
            alarm_names: alarms.names.clone(),
            rollback: alarms.rollback,
            enable: alarms.enable,
        }),
        strategy: match config.strategy {
            DeploymentStrategy::Rolling => Strategy::Rolling,
            DeploymentStrategy::BlueGreen => Strategy::BlueGreen,
        },
        bake_time_in_minutes: config.bake_minutes.unwrap_or(0),
        lifecycle_hooks: config.hooks.iter().map(hooks::view).collect(),
        early_success_criteria: config.early_success.map(early_success_view),
    }
}

fn breaker_view(breaker: CircuitBreaker) -> CircuitBreakerView {
    let configuration = match breaker.threshold {
        THRESHOLD_DEFAULT => None,
        Threshold::Count(value) => Some((ThresholdType::Count, value)),
        Threshold::BoundedPercent(value) => Some((ThresholdType::BoundedPercent, value)),
        Threshold::UnboundedPercent(value) => Some((ThresholdType::UnboundedPercent, value)),
    };
    CircuitBreakerView {
        enable: breaker.enable,
        rollback: breaker.rollback,
        reset_on_healthy_task: (!breaker.reset_on_healthy_task).then_some(false),
        threshold_configuration: configuration
            .map(|(kind, value)| ThresholdConfiguration { kind, value: i64::from(value) }),
    }
}

fn early_success_view(early: EarlySuccess) -> EarlySuccessCriteria {
    let cleanup = match early.cleanup {
        RevisionCleanup::Blocking => Cleanup::Blocking,
        RevisionCleanup::Deferred => Cleanup::Deferred,
    };
    EarlySuccessCriteria {
        enable: early.enable,
        healthy_percent: early.enable.then_some(i64::from(early.healthy_percent)),
        source_service_revision_cleanup: early.enable.then_some(cleanup),
    }
}
