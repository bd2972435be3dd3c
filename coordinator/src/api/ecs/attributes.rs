//! Attributes of container instances: their rules, PutAttributes, DeleteAttributes, ListAttributes.

use longshore_common::{id::HostId, protocol::Attribute};
use longshore_core::{
    command::{Command, HostCommand, TargetedAttribute},
    model::{capacity_provider::GROUP_ATTRIBUTE, name::ClusterName},
    state::State,
};
use serde::{Deserialize, Serialize};

use super::identifiers;
use crate::edge::{context::Api, error::ApiError, page::Page};

/// Maximum number of attributes in one call (ecs-behaviour 1.1, batch limits).
const ATTRIBUTES_MAX: usize = 10;
/// Maximum number of container instances that one page of a list looks at (ours), which bounds the
/// time under the state's lock.
pub(crate) const LOOKED_AT_MAX: usize = 500;
/// Maximum length of an attribute's name, and of its value, in characters (ecs-behaviour 1.2).
pub(crate) const CHARS_MAX: usize = 128;

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttributeInput {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) target_type: Option<TargetType>,
    pub(crate) target_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TargetType {
    ContainerInstance,
}

#[derive(Deserialize)]
pub(crate) struct ChangeAttributesInput {
    cluster: Option<String>,
    attributes: Vec<AttributeInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListAttributesInput {
    cluster: Option<String>,
    target_type: TargetType,
    attribute_name: Option<String>,
    attribute_value: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttributesOutput {
    attributes: Vec<AttributeView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttributeView {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target_type: Option<TargetType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target_id: Option<String>,
}

impl AttributeView {
    /// The attribute as part of something that says itself whose attribute it is.
    pub(crate) fn bare(attribute: &Attribute) -> Self {
        AttributeView {
            name: attribute.name.clone(),
            value: attribute.value.clone(),
            target_type: None,
            target_id: None,
        }
    }

    fn targeted(attribute: Attribute, target_id: String) -> Self {
        AttributeView {
            name: attribute.name,
            value: attribute.value,
            target_type: Some(TargetType::ContainerInstance),
            target_id: Some(target_id),
        }
    }
}

pub(crate) async fn put(
    api: &Api,
    input: ChangeAttributesInput,
) -> Result<AttributesOutput, ApiError> {
    let (cluster, attributes) = targeted(api, input)?;
    if attributes.iter().any(|targeted| targeted.attribute.name == GROUP_ATTRIBUTE) {
        return Err(ApiError::invalid_parameter(format!(
            "The attribute `{GROUP_ATTRIBUTE}` says of which Auto Scaling group a container \
             instance is, and follows from its instance id. Use another name."
        )));
    }
    let shown = shown(api, &cluster, &attributes);
    api.submit(Command::Host(HostCommand::PutAttributes { cluster, attributes }), |_, _| ())
        .await?;
    Ok(AttributesOutput { attributes: shown, next_token: None })
}

pub(crate) async fn delete(
    api: &Api,
    input: ChangeAttributesInput,
) -> Result<AttributesOutput, ApiError> {
    let (cluster, attributes) = targeted(api, input)?;
    let shown = shown(api, &cluster, &attributes);
    api.submit(Command::Host(HostCommand::DeleteAttributes { cluster, attributes }), |_, _| ())
        .await?;
    Ok(AttributesOutput { attributes: shown, next_token: None })
}

fn shown(api: &Api, cluster: &ClusterName, attributes: &[TargetedAttribute]) -> Vec<AttributeView> {
    let view = |TargetedAttribute { host, attribute }: &TargetedAttribute| {
        let target = api.identity.container_instance(cluster.as_str(), *host);
        AttributeView::targeted(attribute.clone(), target)
    };
    attributes.iter().map(view).collect()
}

pub(crate) async fn list(
    api: &Api,
    input: ListAttributesInput,
) -> Result<AttributesOutput, ApiError> {
    let TargetType::ContainerInstance = input.target_type;
    let cluster = identifiers::cluster(&api.identity, input.cluster.as_deref())?;
    if input.attribute_value.is_some() && input.attribute_name.is_none() {
        return Err(ApiError::invalid_parameter(
            "attributeValue is given without attributeName: a value filters one attribute.",
        ));
    }
    let page = Page::parse(&api.page_scope, input.max_results, input.next_token.as_deref())?;
    let after = page.after.as_deref().map(parse_cursor).transpose()?;
    let (name, value) = (input.attribute_name, input.attribute_value);
    let of = cluster.clone();
    let list = move |state: &State| {
        let found = state.cluster(of.as_str()).filter(|found| found.is_active())?;
        let wanted = |attribute: &&Attribute| {
            name.as_ref().is_none_or(|name| *name == attribute.name)
                && value.as_ref().is_none_or(|value| attribute.value.as_ref() == Some(value))
        };
        let from = after.as_ref().map_or(HostId::new(0), |(host, _)| *host);
        let mut rest = found.hosts.range(from..);
        let hosts = rest.by_ref().take(LOOKED_AT_MAX).map(|(_, slot)| state.host_at(*slot));
        let attributes = hosts.filter(|host| host.is_registered()).flat_map(|host| {
            let mut of_host: Vec<&Attribute> = host.all_attributes().filter(wanted).collect();
            of_host.sort();
            if let Some((last, name)) = &after
                && *last == host.id
            {
                of_host.retain(|attribute| attribute.name > *name);
            }
            of_host.into_iter().map(|attribute| (host.id, attribute.clone())).collect::<Vec<_>>()
        });
        let key = |host: HostId, name: &str| format!("{host} {name}");
        let (shown, token) =
            page.take(attributes, |(host, attribute)| key(*host, attribute.name.as_str()));
        // A short page continues with the next host.
        let token = token.or_else(|| rest.next().map(|(host, _)| page.token(&key(*host, ""))));
        Some((shown, token))
    };
    let (attributes, next_token) = api.read(list).await?.ok_or_else(ApiError::cluster_not_found)?;
    let view = |(host, attribute)| {
        let target = api.identity.container_instance(cluster.as_str(), host);
        AttributeView::targeted(attribute, target)
    };
    Ok(AttributesOutput { attributes: attributes.into_iter().map(view).collect(), next_token })
}

fn parse_cursor(cursor: &str) -> Result<(HostId, String), ApiError> {
    let (host, name) = cursor.split_once(' ').unwrap_or_default();
    let host = host.parse().map_err(|_| ApiError::invalid_parameter("Invalid token."))?;
    Ok((host, name.to_owned()))
}

/// Attributes with the hosts that they are for.
fn targeted(
    api: &Api,
    input: ChangeAttributesInput,
) -> Result<(ClusterName, Vec<TargetedAttribute>), ApiError> {
    let cluster = identifiers::cluster(&api.identity, input.cluster.as_deref())?;
    let count = input.attributes.len();
    if count == 0 || count > ATTRIBUTES_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "attributes has {count} entries; give 1 to {ATTRIBUTES_MAX}."
        )));
    }
    let mut attributes: Vec<TargetedAttribute> = Vec::new();
    for given in input.attributes {
        let attribute = parse(&given)?;
        let target = given.target_id.as_deref().unwrap_or_default();
        if target.is_empty() {
            return Err(ApiError::invalid_parameter(format!(
                "The attribute `{}` has no targetId: give the id or ARN of a container instance.",
                attribute.name
            )));
        }
        if given.target_type.is_none() && !target.starts_with("arn:") {
            return Err(ApiError::invalid_parameter(format!(
                "The attribute `{}` has a short targetId without a targetType: give \
                 container-instance, or the full ARN.",
                attribute.name
            )));
        }
        let host = identifiers::container_instance(&api.identity, &cluster, target)?
            .ok_or_else(|| ApiError::target_not_found(target))?;
        if attributes.iter().any(|a| a.host == host && a.attribute.name == attribute.name) {
            return Err(ApiError::invalid_parameter(format!(
                "The attribute `{}` is given twice for one container instance.",
                attribute.name
            )));
        }
        attributes.push(TargetedAttribute { host, attribute });
    }
    Ok((cluster, attributes))
}

/// An attribute's name and value, within ECS's rules (ecs-behaviour 1.2).
pub(crate) fn parse(given: &AttributeInput) -> Result<Attribute, ApiError> {
    let name = &given.name;
    let name_char = |c: char| c.is_ascii_alphanumeric() || "-_/.\\".contains(c);
    if name.is_empty() || name.len() > CHARS_MAX || !name.chars().all(name_char) {
        return Err(ApiError::invalid_parameter(format!(
            "The attribute name `{name}` must be 1 to {CHARS_MAX} letters, numbers, and -_/.\\."
        )));
    }
    if let Some(value) = &given.value {
        let value_char = |c: char| name_char(c) || "@: ".contains(c);
        let fits = !value.is_empty() && value.len() <= CHARS_MAX && value.chars().all(value_char);
        if !fits || value.trim_matches(' ') != value {
            return Err(ApiError::invalid_parameter(format!(
                "The value `{value}` of the attribute `{name}` must be 1 to {CHARS_MAX} letters, \
                 numbers, and -_/.\\@: or spaces, which may not come first or last."
            )));
        }
    }
    Ok(Attribute { name: name.clone(), value: given.value.clone() })
}
