//! Auto Scaling's answers: XML of the query protocol.

use serde::{Deserialize, de::DeserializeOwned};

use super::answer::{AwsError, Listed, Machine, MachineState};

/// Maximum number of characters of an answer that is not understood which a message repeats (ours).
const SAID_CHARS_MAX: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeResponse {
    describe_auto_scaling_groups_result: DescribeResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeResult {
    #[serde(default = "Members::none")]
    auto_scaling_groups: Members<Group>,
}

#[derive(Deserialize)]
struct Members<T> {
    #[serde(default = "Vec::new")]
    member: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Group {
    auto_scaling_group_name: String,
    min_size: u32,
    max_size: u32,
    desired_capacity: u32,
    #[serde(default)]
    new_instances_protected_from_scale_in: bool,
    #[serde(default = "Members::none")]
    instances: Members<Instance>,
    /// Present while the group is being deleted.
    status: Option<String>,
    desired_capacity_type: Option<String>,
    mixed_instances_policy: Option<MixedInstancesPolicy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    instance_id: String,
    lifecycle_state: String,
    #[serde(default)]
    protected_from_scale_in: bool,
    weighted_capacity: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MixedInstancesPolicy {
    launch_template: Option<MixedLaunchTemplate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MixedLaunchTemplate {
    #[serde(default = "Members::none")]
    overrides: Members<Override>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Override {
    weighted_capacity: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ActivitiesResponse {
    describe_scaling_activities_result: ActivitiesResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ActivitiesResult {
    #[serde(default = "Members::none")]
    activities: Members<Activity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Activity {
    status_code: String,
    status_message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorResponse {
    error: Option<Refusal>,
    /// EC2's form of it, which some gateways answer with.
    errors: Option<Refusals>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusals {
    error: Refusal,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    code: String,
    #[serde(default)]
    message: String,
}

impl<T> Members<T> {
    fn none() -> Self {
        Members { member: Vec::new() }
    }
}

/// The group of this name, when AWS has it.
pub(super) fn listed(
    operation: &'static str,
    name: &str,
    answer: &[u8],
) -> Result<Option<Listed>, AwsError> {
    let response: DescribeResponse =
        read(answer).map_err(|why| AwsError::NotUnderstood { operation, why })?;
    let groups = response.describe_auto_scaling_groups_result.auto_scaling_groups.member;
    let Some(group) = groups.into_iter().find(|group| group.auto_scaling_group_name == name) else {
        return Ok(None);
    };
    if let Some(why) = unfit(&group) {
        return Err(AwsError::Unfit { name: name.to_owned(), why });
    }
    let (mut machines, mut strange) = (Vec::new(), Vec::new());
    for instance in group.instances.member {
        match instance.instance_id.parse() {
            Ok(id) => machines.push(Machine {
                id,
                state: state(&instance.lifecycle_state),
                protected: instance.protected_from_scale_in,
            }),
            Err(_) => strange.push(instance.instance_id),
        }
    }
    Ok(Some(Listed {
        min: group.min_size,
        max: group.max_size,
        desired: group.desired_capacity,
        protects_new: group.new_instances_protected_from_scale_in,
        machines,
        strange,
    }))
}

/// AWS shows the newest activity first.
pub(super) fn last_failure(
    operation: &'static str,
    answer: &[u8],
) -> Result<Option<String>, AwsError> {
    let response: ActivitiesResponse =
        read(answer).map_err(|why| AwsError::NotUnderstood { operation, why })?;
    let newest = response.describe_scaling_activities_result.activities.member.into_iter().next();
    let failed =
        newest.filter(|activity| ["Failed", "Cancelled"].contains(&&*activity.status_code));
    Ok(failed.and_then(|activity| activity.status_message))
}

/// Its desired capacity must be a number of instances.
fn unfit(group: &Group) -> Option<&'static str> {
    let overrides =
        group.mixed_instances_policy.iter().filter_map(|of| of.launch_template.as_ref());
    let mut overrides = overrides.flat_map(|template| &template.overrides.member);
    let says = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let weighs = overrides.any(|over| says(&over.weighted_capacity))
        || group.instances.member.iter().any(|one| says(&one.weighted_capacity));
    if weighs {
        return Some("its instances have weights. Take WeightedCapacity out of its overrides");
    }
    let counts_units = group.desired_capacity_type.as_deref().is_none_or(|of| of == "units");
    if says(&group.desired_capacity_type) && !counts_units {
        return Some(
            "its capacity is counted in CPUs or memory. Set its DesiredCapacityType to units",
        );
    }
    says(&group.status).then_some("it is being deleted. Make another one")
}

/// What is not known is taken to be there: nothing is replaced for a word.
fn state(lifecycle: &str) -> MachineState {
    let word = lifecycle.split(':').next().unwrap_or_default();
    match word {
        "Pending" | "Quarantined" => MachineState::Coming,
        "Standby" | "EnteringStandby" => MachineState::Standby,
        "Terminating" | "Terminated" | "Detaching" | "Detached" => MachineState::Leaving,
        _ => MachineState::InService,
    }
}

/// AWS's own words when it gave some.
pub(super) fn refusal(operation: &'static str, status: u16, answer: &[u8]) -> AwsError {
    let refusal = read::<ErrorResponse>(answer).ok();
    match refusal.and_then(|given| given.error.or(given.errors.map(|errors| errors.error))) {
        Some(Refusal { code, message }) => {
            let message = message.trim().trim_end_matches('.').to_owned();
            AwsError::Refused { operation, code, message }
        }
        None => {
            let said = String::from_utf8_lossy(answer);
            let said: String =
                said.chars().filter(|c| !c.is_control()).take(SAID_CHARS_MAX).collect();
            let why = format!("HTTP status {status}: {said}");
            AwsError::NotUnderstood { operation, why }
        }
    }
}

fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(answer).map_err(|error| error.to_string())?;
    quick_xml::de::from_str(text).map_err(|error| error.to_string())
}
