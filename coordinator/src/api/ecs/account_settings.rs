//! Account settings: PutAccountSetting, PutAccountSettingDefault, DeleteAccountSetting,
//! ListAccountSettings (ecs-behaviour 1.22).

use longshore_core::{
    command::{Command, SettingCommand},
    model::setting::SettingScope,
    state::{DEFAULT_LOG_DRIVER_MODE, State},
};
use serde::{Deserialize, Serialize};

use super::clusters::{CONTAINER_INSIGHTS_VALUES, NO_CONTAINER_INSIGHTS};
use crate::edge::{context::Api, error::ApiError, page::Page};

/// Maximum size of a page of settings, and its default (ecs-behaviour 1.1, page sizes).
const PAGE_MAX: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum SettingName {
    AwsvpcTrunking,
    ContainerInsights,
    ContainerInstanceLongArnFormat,
    DefaultLogDriverMode,
    FargateEventWindows,
    #[serde(rename = "fargateFIPSMode")]
    FargateFipsMode,
    FargateTaskRetirementWaitPeriod,
    GuardDutyActivate,
    ServiceLongArnFormat,
    TagResourceAuthorization,
    TaskLongArnFormat,
}

/// All settings in the order of their names.
const ALL: [SettingName; 11] = [
    SettingName::AwsvpcTrunking,
    SettingName::ContainerInsights,
    SettingName::ContainerInstanceLongArnFormat,
    SettingName::DefaultLogDriverMode,
    SettingName::FargateEventWindows,
    SettingName::FargateFipsMode,
    SettingName::FargateTaskRetirementWaitPeriod,
    SettingName::GuardDutyActivate,
    SettingName::ServiceLongArnFormat,
    SettingName::TagResourceAuthorization,
    SettingName::TaskLongArnFormat,
];

/// What is known of one setting.
struct Rule {
    name: &'static str,
    /// ECS's.
    values: &'static [&'static str],
    /// Those of the values that are honoured here.
    honoured: &'static [&'static str],
    default: &'static str,
    /// Why the others cannot be set, as a sentence.
    why: &'static str,
}

/// What ECS says of the three settings of ARNs, which clients look for.
const LONG_ARNS: &str = "You can no longer disable Long Arn settings. Every ARN has the long format \
                         here too, so the only value is enabled.";

impl SettingName {
    fn rule(self) -> Rule {
        const SWITCH: &[&str] = &["enabled", "disabled"];
        const OFF: &[&str] = &["disabled"];
        let long_arns = |name| Rule {
            name,
            values: SWITCH,
            honoured: &["enabled"],
            default: "enabled",
            why: LONG_ARNS,
        };
        let off =
            |name, why| Rule { name, values: SWITCH, honoured: OFF, default: "disabled", why };
        match self {
            SettingName::AwsvpcTrunking => off(
                "awsvpcTrunking",
                "This release of Longshore has no network interfaces of tasks, which trunking makes \
                 more of. Leave it disabled.",
            ),
            SettingName::ContainerInsights => Rule {
                values: CONTAINER_INSIGHTS_VALUES,
                ..off("containerInsights", NO_CONTAINER_INSIGHTS)
            },
            SettingName::ContainerInstanceLongArnFormat => {
                long_arns("containerInstanceLongArnFormat")
            }
            SettingName::DefaultLogDriverMode => {
                let modes: &[&str] = &["blocking", "non-blocking"];
                let name = DEFAULT_LOG_DRIVER_MODE;
                Rule { name, values: modes, honoured: modes, default: "non-blocking", why: "" }
            }
            SettingName::FargateEventWindows => off(
                "fargateEventWindows",
                "Longshore retires no tasks, in windows or out of them. Leave it disabled.",
            ),
            SettingName::FargateFipsMode => off(
                "fargateFIPSMode",
                "Longshore does not say how hosts encrypt: use hosts that are FIPS 140 compliant, \
                 and leave it disabled.",
            ),
            SettingName::FargateTaskRetirementWaitPeriod => Rule {
                name: "fargateTaskRetirementWaitPeriod",
                values: &["0", "7", "14"],
                honoured: &["7"],
                default: "7",
                why: "Longshore retires no tasks, so that nothing waits. Leave it at 7.",
            },
            SettingName::GuardDutyActivate => Rule {
                name: "guardDutyActivate",
                values: &["on", "off"],
                honoured: &[],
                default: "off",
                why: "It is set by Amazon GuardDuty and cannot be changed here.",
            },
            SettingName::ServiceLongArnFormat => long_arns("serviceLongArnFormat"),
            SettingName::TagResourceAuthorization => Rule {
                name: "tagResourceAuthorization",
                values: &["on", "off"],
                honoured: &["off"],
                default: "off",
                why: "This release of Longshore has no policies that could allow or deny tags. \
                      Leave it off.",
            },
            SettingName::TaskLongArnFormat => long_arns("taskLongArnFormat"),
        }
    }

    fn check(self, value: &str) -> Result<(), ApiError> {
        let Rule { name, values, honoured, why, .. } = self.rule();
        if honoured.contains(&value) {
            return Ok(());
        }
        Err(ApiError::invalid_parameter(match values.contains(&value) {
            true if why == LONG_ARNS => why.to_owned(),
            true => format!("The value `{value}` of the setting {name} cannot be honoured. {why}"),
            false => format!(
                "The value `{value}` is not valid for the setting {name}. Valid values: {}.",
                values.join(", ")
            ),
        }))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PutAccountSettingInput {
    name: SettingName,
    value: String,
    principal_arn: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct PutAccountSettingDefaultInput {
    name: SettingName,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteAccountSettingInput {
    name: SettingName,
    principal_arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListAccountSettingsInput {
    name: Option<SettingName>,
    value: Option<String>,
    principal_arn: Option<String>,
    #[serde(default)]
    effective_settings: bool,
    next_token: Option<String>,
    max_results: Option<i64>,
}

#[derive(Serialize)]
pub(crate) struct SettingOutput {
    setting: SettingView,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListAccountSettingsOutput {
    settings: Vec<SettingView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SettingView {
    name: SettingName,
    value: String,
    principal_arn: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl SettingView {
    fn new(name: SettingName, value: String, principal_arn: String) -> Self {
        let kind = match name {
            SettingName::GuardDutyActivate => "aws_managed",
            _ => "user",
        };
        SettingView { name, value, principal_arn, kind }
    }
}

pub(crate) async fn put(
    api: &Api,
    input: PutAccountSettingInput,
) -> Result<SettingOutput, ApiError> {
    put_for(api, principal(api, input.principal_arn)?, input.name, input.value).await
}

/// The account's default is what its root user has set.
pub(crate) async fn put_default(
    api: &Api,
    input: PutAccountSettingDefaultInput,
) -> Result<SettingOutput, ApiError> {
    put_for(api, api.identity.root(), input.name, input.value).await
}

async fn put_for(
    api: &Api,
    principal: String,
    name: SettingName,
    value: String,
) -> Result<SettingOutput, ApiError> {
    name.check(&value)?;
    if name == SettingName::DefaultLogDriverMode && principal != api.identity.root() {
        return Err(ApiError::invalid_parameter(format!(
            "The setting {DEFAULT_LOG_DRIVER_MODE} is of the whole account in this release of \
             Longshore: set it for {}.",
            api.identity.root()
        )));
    }
    let command = Command::Setting(SettingCommand::PutAccountSetting {
        scope: SettingScope::Principal(principal.clone()),
        name: name.rule().name.to_owned(),
        value: value.clone(),
    });
    api.submit(command, |_, _| ()).await?;
    Ok(SettingOutput { setting: SettingView::new(name, value, principal) })
}

pub(crate) async fn delete(
    api: &Api,
    input: DeleteAccountSettingInput,
) -> Result<SettingOutput, ApiError> {
    let principal = principal(api, input.principal_arn)?;
    let name = input.name;
    let command = Command::Setting(SettingCommand::DeleteAccountSetting {
        principal: principal.clone(),
        name: name.rule().name.to_owned(),
    });
    let of = Principals { own: principal.clone(), root: api.identity.root() };
    let value = api.submit(command, move |state, _| effective(state, &of, name)).await?;
    Ok(SettingOutput { setting: SettingView::new(name, value, principal) })
}

pub(crate) async fn list(
    api: &Api,
    input: ListAccountSettingsInput,
) -> Result<ListAccountSettingsOutput, ApiError> {
    let principal = principal(api, input.principal_arn)?;
    if input.value.is_some() && input.name.is_none() {
        return Err(ApiError::invalid_parameter(
            "value is given without name: a value filters the settings of one name.",
        ));
    }
    let page = Page::parse_with(
        &api.page_scope,
        input.max_results,
        input.next_token.as_deref(),
        PAGE_MAX,
        PAGE_MAX,
    )?;
    let names: Vec<SettingName> = ALL
        .into_iter()
        .filter(|name| input.name.is_none_or(|asked| asked == *name))
        .filter(|name| page.after.as_deref().is_none_or(|after| name.rule().name > after))
        .collect();
    let all = input.effective_settings;
    let of = Principals { own: principal.clone(), root: api.identity.root() };
    let found: Vec<(SettingName, String)> = api
        .read(move |state| {
            let value = |name| match all {
                true => Some(effective(state, &of, name)),
                false => explicit(state, &of.own, name),
            };
            names.into_iter().filter_map(|name| Some((name, value(name)?))).collect()
        })
        .await?;
    let wanted = found
        .into_iter()
        .filter(|(_, value)| input.value.as_ref().is_none_or(|asked| asked == value))
        .map(|(name, value)| SettingView::new(name, value, principal.clone()));
    let (settings, next_token) = page.take(wanted, |view| view.name.rule().name.to_owned());
    Ok(ListAccountSettingsOutput { settings, next_token })
}

/// What was set for this principal itself.
fn explicit(state: &State, principal: &str, name: SettingName) -> Option<String> {
    let scope = SettingScope::Principal(principal.to_owned());
    state.account_settings().get(&scope, name.rule().name).map(str::to_owned)
}

/// What holds for this principal: its own, else the root user's, else ECS's default.
fn effective(state: &State, principals: &Principals, name: SettingName) -> String {
    explicit(state, &principals.own, name)
        .or_else(|| explicit(state, &principals.root, name))
        .unwrap_or_else(|| name.rule().default.to_owned())
}

/// Whose settings hold, the first before the second.
struct Principals {
    own: String,
    root: String,
}

/// Whose settings these are: the caller's, unless the caller names another principal.
fn principal(api: &Api, given: Option<String>) -> Result<String, ApiError> {
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return Ok(api.caller.arn.clone());
    };
    let account = format!("arn:aws:iam::{}:", api.identity.account);
    let resource = given.strip_prefix(&account).unwrap_or_default();
    let is_principal =
        resource == "root" || ["user/", "role/"].iter().any(|kind| resource.starts_with(kind));
    if is_principal {
        return Ok(given);
    }
    Err(ApiError::invalid_parameter(format!(
        "`{given}` is not a principal of this account: give {account}root, {account}user/NAME or \
         {account}role/NAME."
    )))
}
