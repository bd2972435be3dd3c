//! `lifecycleHooks`: what a blue/green deployment asks before it continues (ecs-behaviour 1.11).
//!
//! ECS calls Lambda functions. Here, an AWS_LAMBDA hook has an HTTP URL for its `hookTargetArn`.

use http::Uri;
use longshore_core::model::service::{HookAction, HookStage, HookTarget, LifecycleHook};
use serde::{Deserialize, Serialize};

use crate::{api::ecs::services::range::in_range, edge::error::ApiError};

/// Maximum number of hooks of one service (ours: ECS documents no limit).
const HOOKS_MAX: usize = 20;
/// Maximum length of a hook's URL in characters (ours: what common clients and servers take).
const URL_CHARS_MAX: usize = 2048;
/// Maximum length of a hook's details as JSON, in characters (ours): they are kept in every record
/// of a deployment.
const DETAILS_CHARS_MAX: usize = 8192;
/// Maximum length of a role's ARN in characters (Amazon's limit).
const ROLE_CHARS_MAX: usize = 2048;
/// Maximum timeout of a hook in minutes (ecs-behaviour 1.11, timeouts of hooks).
const TIMEOUT_MINUTES_MAX: i64 = 20_160;
/// Default timeout of a hook in minutes (ecs-behaviour 1.11, timeouts of hooks).
const TIMEOUT_MINUTES_DEFAULT: u32 = 1440;

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HookInput {
    target_type: Option<TargetType>,
    hook_target_arn: Option<String>,
    role_arn: Option<String>,
    #[serde(default)]
    lifecycle_stages: Vec<LifecycleStage>,
    hook_details: Option<serde_json::Value>,
    timeout_configuration: Option<TimeoutConfiguration>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct TimeoutConfiguration {
    timeout_in_minutes: Option<i64>,
    action: Option<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum TargetType {
    AwsLambda,
    Pause,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Action {
    Rollback,
    Continue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum LifecycleStage {
    ReconcileService,
    PreScaleUp,
    PostScaleUp,
    TestTrafficShift,
    PostTestTrafficShift,
    PreProductionTrafficShift,
    ProductionTrafficShift,
    PostProductionTrafficShift,
}

pub(super) fn parse(given: Vec<HookInput>) -> Result<Vec<LifecycleHook>, ApiError> {
    if given.len() > HOOKS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "lifecycleHooks has {} entries; at most {HOOKS_MAX} are allowed.",
            given.len()
        )));
    }
    given.into_iter().map(parse_hook).collect()
}

fn parse_hook(given: HookInput) -> Result<LifecycleHook, ApiError> {
    let target_type = given.target_type.unwrap_or(TargetType::AwsLambda);
    let timeout = given.timeout_configuration.as_ref();
    let minutes = in_range(
        "timeoutInMinutes",
        timeout.and_then(|timeout| timeout.timeout_in_minutes),
        1,
        TIMEOUT_MINUTES_MAX,
    )?;
    let on_timeout = timeout.and_then(|timeout| timeout.action).unwrap_or(Action::Rollback);
    let stages = stages(target_type, &given.lifecycle_stages)?;
    let target = match target_type {
        TargetType::Pause => {
            if given.hook_target_arn.is_some_and(|target| !target.is_empty()) {
                return Err(ApiError::invalid_parameter(
                    "hookTargetArn is not for PAUSE hooks: they wait for ContinueServiceDeployment.",
                ));
            }
            HookTarget::Pause
        }
        TargetType::AwsLambda => HookTarget::Http {
            url: url(given.hook_target_arn.unwrap_or_default())?,
            role_arn: role(given.role_arn)?,
            details: details(given.hook_details)?,
        },
    };
    Ok(LifecycleHook {
        target,
        stages,
        timeout_minutes: minutes.unwrap_or(TIMEOUT_MINUTES_DEFAULT),
        on_timeout: on_timeout.into(),
    })
}

fn role(given: Option<String>) -> Result<Option<String>, ApiError> {
    let Some(role) = given.filter(|role| !role.is_empty()) else { return Ok(None) };
    if role.chars().count() > ROLE_CHARS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "roleArn of a lifecycle hook is longer than {ROLE_CHARS_MAX} characters."
        )));
    }
    Ok(Some(role))
}

fn details(given: Option<serde_json::Value>) -> Result<Option<serde_json::Value>, ApiError> {
    let Some(details) = given else { return Ok(None) };
    let chars = details.to_string().chars().count();
    if chars > DETAILS_CHARS_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "hookDetails is {chars} characters long as JSON; at most {DETAILS_CHARS_MAX} are allowed."
        )));
    }
    Ok(Some(details))
}

fn stages(target: TargetType, given: &[LifecycleStage]) -> Result<Vec<HookStage>, ApiError> {
    if given.is_empty() {
        return Err(ApiError::invalid_parameter(
            "lifecycleStages of a lifecycle hook is empty: say at which stages it is, PRE_SCALE_UP \
             for example.",
        ));
    }
    let mut stages = Vec::new();
    for stage in given {
        check_stage(target, *stage)?;
        let stage = HookStage::from(*stage);
        if stages.contains(&stage) {
            return Err(ApiError::invalid_parameter(
                "lifecycleStages of a lifecycle hook names a stage twice; name each once.",
            ));
        }
        stages.push(stage);
    }
    Ok(stages)
}

/// A hook that would never be asked must not seem to guard anything.
fn check_stage(target: TargetType, stage: LifecycleStage) -> Result<(), ApiError> {
    match stage {
        LifecycleStage::ReconcileService
        | LifecycleStage::PreScaleUp
        | LifecycleStage::PostScaleUp => Ok(()),
        LifecycleStage::TestTrafficShift | LifecycleStage::ProductionTrafficShift
            if target == TargetType::Pause =>
        {
            Err(ApiError::invalid_parameter(
                "lifecycleStages of a PAUSE hook cannot have TEST_TRAFFIC_SHIFT or \
                 PRODUCTION_TRAFFIC_SHIFT.",
            ))
        }
        LifecycleStage::TestTrafficShift
        | LifecycleStage::PostTestTrafficShift
        | LifecycleStage::PreProductionTrafficShift
        | LifecycleStage::ProductionTrafficShift
        | LifecycleStage::PostProductionTrafficShift => Err(ApiError::unsupported_feature(
            "lifecycleStages of a lifecycle hook has a stage at which traffic is shifted: this \
             release of Longshore has no load balancers, so that stage never comes. Use \
             RECONCILE_SERVICE, PRE_SCALE_UP or POST_SCALE_UP.",
        )),
    }
}

fn url(given: String) -> Result<String, ApiError> {
    let parsed = given.parse::<Uri>().ok().filter(|_| given.len() <= URL_CHARS_MAX);
    let is_http = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    });
    if is_http {
        return Ok(given);
    }
    let said = match given.is_empty() {
        true => "hookTargetArn of an AWS_LAMBDA hook is missing".to_owned(),
        false => format!("hookTargetArn `{given}` names no HTTP URL"),
    };
    Err(ApiError::invalid_parameter(format!(
        "{said}. Longshore calls no Lambda functions; an HTTP URL can be given as hookTargetArn, \
         http://10.0.0.1:8080/hook for example, of at most {URL_CHARS_MAX} characters: it is called \
         with what a function would get, and answers what a function would answer."
    )))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HookView {
    target_type: TargetType,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook_target_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_arn: Option<String>,
    lifecycle_stages: Vec<LifecycleStage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook_details: Option<serde_json::Value>,
    timeout_configuration: TimeoutConfiguration,
}

pub(super) fn view(hook: &LifecycleHook) -> HookView {
    let (target_type, target, role_arn, hook_details) = match &hook.target {
        HookTarget::Pause => (TargetType::Pause, None, None, None),
        HookTarget::Http { url, role_arn, details } => {
            (TargetType::AwsLambda, Some(url.clone()), role_arn.clone(), details.clone())
        }
    };
    HookView {
        target_type,
        hook_target_arn: target,
        role_arn,
        lifecycle_stages: hook.stages.iter().map(|stage| (*stage).into()).collect(),
        hook_details,
        timeout_configuration: TimeoutConfiguration {
            timeout_in_minutes: Some(i64::from(hook.timeout_minutes)),
            action: Some(hook.on_timeout.into()),
        },
    }
}

impl From<Action> for HookAction {
    fn from(action: Action) -> Self {
        match action {
            Action::Rollback => HookAction::Rollback,
            Action::Continue => HookAction::Continue,
        }
    }
}

impl From<HookAction> for Action {
    fn from(action: HookAction) -> Self {
        match action {
            HookAction::Rollback => Action::Rollback,
            HookAction::Continue => Action::Continue,
        }
    }
}

impl From<LifecycleStage> for HookStage {
    fn from(stage: LifecycleStage) -> Self {
        match stage {
            LifecycleStage::ReconcileService => HookStage::ReconcileService,
            LifecycleStage::PreScaleUp => HookStage::PreScaleUp,
            LifecycleStage::PostScaleUp => HookStage::PostScaleUp,
            LifecycleStage::TestTrafficShift => HookStage::TestTrafficShift,
            LifecycleStage::PostTestTrafficShift => HookStage::PostTestTrafficShift,
            LifecycleStage::PreProductionTrafficShift => HookStage::PreProductionTrafficShift,
            LifecycleStage::ProductionTrafficShift => HookStage::ProductionTrafficShift,
            LifecycleStage::PostProductionTrafficShift => HookStage::PostProductionTrafficShift,
        }
    }
}

impl From<HookStage> for LifecycleStage {
    fn from(stage: HookStage) -> Self {
        match stage {
            HookStage::ReconcileService => LifecycleStage::ReconcileService,
            HookStage::PreScaleUp => LifecycleStage::PreScaleUp,
            HookStage::PostScaleUp => LifecycleStage::PostScaleUp,
            HookStage::TestTrafficShift => LifecycleStage::TestTrafficShift,
            HookStage::PostTestTrafficShift => LifecycleStage::PostTestTrafficShift,
            HookStage::PreProductionTrafficShift => LifecycleStage::PreProductionTrafficShift,
            HookStage::ProductionTrafficShift => LifecycleStage::ProductionTrafficShift,
            HookStage::PostProductionTrafficShift => LifecycleStage::PostProductionTrafficShift,
        }
    }
}
