//! What users call things: short names, ids and ARNs (ecs-behaviour 1.1).
//!
//! `Ok(None)` is an identifier that is well formed and cannot be here: another region's or
//! account's. The caller says what that means, mostly what a missing thing means.

mod arn;
mod services;

use std::str::FromStr;

use longshore_common::{
    arn::Identity,
    id::{HostId, TaskId},
};
use longshore_core::{
    model::{
        attachment::parse_attachment_id,
        definition::RevisionRef,
        name::{CapacityProviderName, ClusterName, Family},
        service::ServiceRef,
    },
    state::Revision,
};

pub(crate) use self::arn::arn;
pub(crate) use self::services::{
    service, service_deployment, service_revision, task_set, task_set_by_arn,
};
use crate::edge::error::ApiError;
pub(crate) use crate::edge::page::DEFAULT_CLUSTER;

/// Lengths of a task's or container instance's id: 32 digits, or 36 in ECS's old form.
const ID_LENGTHS: [usize; 2] = [32, 36];

/// The `cluster` member of most inputs.
pub(crate) fn cluster(identity: &Identity, given: Option<&str>) -> Result<ClusterName, ApiError> {
    let given = given.filter(|given| !given.is_empty()).unwrap_or(DEFAULT_CLUSTER);
    cluster_if_here(identity, given)?.ok_or_else(ApiError::cluster_not_found)
}

pub(crate) fn cluster_if_here(
    identity: &Identity,
    given: &str,
) -> Result<Option<ClusterName>, ApiError> {
    let (here, name) = match arn(identity, given, "cluster/")? {
        Some((here, name)) => (here, name),
        None => (true, given.to_owned()),
    };
    let name = name.parse().map_err(|_| {
        ApiError::invalid_parameter(format!(
            "`{given}` is not a cluster: give its name, of at most 255 letters, numbers, \
             underscores and hyphens, or its ARN."
        ))
    })?;
    Ok(here.then_some(name))
}

pub(crate) fn task(
    identity: &Identity,
    cluster: &ClusterName,
    given: &str,
) -> Result<Option<TaskId>, ApiError> {
    id_in_cluster(identity, cluster, given, "task")
}

pub(crate) fn container_instance(
    identity: &Identity,
    cluster: &ClusterName,
    given: &str,
) -> Result<Option<HostId>, ApiError> {
    id_in_cluster(identity, cluster, given, "container-instance")
}

/// An attachment of a task, as its task and its position in the task's list: its id, as DescribeTasks
/// shows it, or `arn:…:attachment/<cluster>/<id>`.
pub(crate) fn attachment(
    identity: &Identity,
    cluster: &ClusterName,
    given: &str,
) -> Result<(TaskId, u32), ApiError> {
    let id = match arn(identity, given, "attachment/")? {
        Some((true, resource)) => match resource.split_once('/') {
            Some((other, id)) => (other == cluster.as_str()).then(|| id.to_owned()),
            None => Some(resource),
        },
        Some((false, _)) => None,
        None => Some(given.to_owned()),
    };
    id.and_then(|id| parse_attachment_id(&id)).ok_or_else(|| {
        ApiError::invalid_parameter(format!(
            "`{given}` is not an attachment of a task of the cluster {cluster}: give its id as \
             DescribeTasks shows it, or its ARN."
        ))
    })
}

/// `<id>`, `arn:…:<kind>/<cluster>/<id>`, or the old `arn:…:<kind>/<id>`.
fn id_in_cluster<T: FromStr>(
    identity: &Identity,
    cluster: &ClusterName,
    given: &str,
    kind: &str,
) -> Result<Option<T>, ApiError> {
    let (here, id) = match arn(identity, given, &format!("{kind}/"))? {
        Some((here, resource)) => match resource.split_once('/') {
            Some((other, _)) if other != cluster.as_str() => {
                return Err(ApiError::invalid_parameter(format!(
                    "Identifier is for cluster {other}. Your cluster is {cluster}"
                )));
            }
            Some((_, id)) => (here, id.to_owned()),
            None => (here, resource),
        },
        None => (true, given.to_owned()),
    };
    if !ID_LENGTHS.contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        let what = kind.replace('-', " ");
        return Err(ApiError::invalid_parameter(format!(
            "`{given}` is not a {what}: give its id, of 32 hexadecimal digits, or its ARN."
        )));
    }
    Ok(id.parse().ok().filter(|_| here))
}

/// `family`, `family:revision` or an ARN.
pub(crate) fn task_definition(
    identity: &Identity,
    given: &str,
) -> Result<Option<RevisionRef>, ApiError> {
    let (here, resource) = match arn(identity, given, "task-definition/")? {
        Some((here, resource)) => (here, resource),
        None => (true, given.to_owned()),
    };
    let (family, revision) = match resource.split_once(':') {
        Some((family, revision)) => (family, Some(revision)),
        None => (resource.as_str(), None),
    };
    let family: Family = family.parse().map_err(|_| {
        ApiError::client(format!(
            "`{given}` is not a task definition: give family, family:revision or its ARN."
        ))
    })?;
    let revision = revision.map(parse_revision).transpose()?;
    Ok(here.then_some(RevisionRef { family, revision }))
}

fn parse_revision(text: &str) -> Result<u32, ApiError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|revision| digits && *revision > 0).ok_or_else(|| {
        ApiError::client(format!(
            "Invalid revision number. Number: {text}. A revision is a whole number from 1 on."
        ))
    })
}

/// A name or an ARN; none when it is another region's or account's.
pub(crate) fn capacity_provider(
    identity: &Identity,
    given: &str,
) -> Result<Option<CapacityProviderName>, ApiError> {
    let (here, name) = match arn(identity, given, "capacity-provider/")? {
        Some((here, name)) => (here, name),
        None => (true, given.to_owned()),
    };
    let name = name.parse().map_err(|_| bad_provider_name(given))?;
    Ok(here.then_some(name))
}

pub(crate) fn bad_provider_name(given: &str) -> ApiError {
    ApiError::invalid_parameter(format!(
        "The specified capacity provider name is invalid: `{given}`. Up to 255 characters are \
         allowed, including letters, numbers, underscores, and hyphens."
    ))
}

pub(crate) fn cluster_arn(identity: &Identity, cluster: &ClusterName) -> String {
    identity.cluster(cluster.as_str())
}

pub(crate) fn service_arn(identity: &Identity, service: &ServiceRef) -> String {
    identity.service(service.cluster.as_str(), service.name.as_str())
}

/// The task definition of a service's revision.
pub(crate) fn definition_arn(identity: &Identity, revision: &Revision) -> String {
    identity.task_definition(revision.record.family.as_str(), revision.record.revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "000000000000000000000000000000ab";

    fn identity() -> Identity {
        Identity { region: "us-east-1".into(), account: "000000000000".into() }
    }

    fn ours(resource: &str) -> String {
        format!("arn:aws:ecs:us-east-1:000000000000:{resource}")
    }

    #[test]
    fn a_cluster_is_a_name_an_arn_or_the_default() {
        let name = |given: Option<&str>| cluster(&identity(), given).map(|name| name.to_string());
        assert_eq!(name(None).unwrap(), "default");
        assert_eq!(name(Some("")).unwrap(), "default");
        assert_eq!(name(Some("web")).unwrap(), "web");
        assert_eq!(name(Some(&ours("cluster/web"))).unwrap(), "web");
        assert_eq!(name(Some("a b")).unwrap_err().code.wire_name(), "InvalidParameterException");
        let elsewhere = "arn:aws:ecs:eu-west-1:000000000000:cluster/web";
        assert_eq!(name(Some(elsewhere)).unwrap_err().code.wire_name(), "ClusterNotFoundException");
        assert!(name(Some(&ours("task/web"))).is_err());
    }

    #[test]
    fn a_task_is_an_id_or_an_arn_of_its_cluster() {
        let web: ClusterName = "web".parse().unwrap();
        let id = |given: &str| task(&identity(), &web, given);
        let expected = Some(TaskId::new(0xab));
        assert_eq!(id(ID).unwrap(), expected);
        assert_eq!(id(&ours(&format!("task/web/{ID}"))).unwrap(), expected);
        assert_eq!(id(&ours(&format!("task/{ID}"))).unwrap(), expected);
        assert_eq!(id("0f9de17a-a465-4e21-b357-be55aff8ea2d").unwrap(), None);
        assert_eq!(id(&format!("arn:aws:ecs:eu-west-1:0:task/web/{ID}")).unwrap(), None);
        assert_eq!(
            id(&ours(&format!("task/other/{ID}"))).unwrap_err().message,
            "Identifier is for cluster other. Your cluster is web"
        );
        for bad in ["", "short", &"z".repeat(32), &ours(&format!("container-instance/web/{ID}"))] {
            let refused = id(bad).unwrap_err();
            assert_eq!(refused.code.wire_name(), "InvalidParameterException", "{bad}");
        }
    }

    #[test]
    fn a_task_definition_is_a_family_with_or_without_a_revision() {
        let parse = |given: &str| task_definition(&identity(), given);
        let reference = |revision| Some(RevisionRef { family: "web".parse().unwrap(), revision });
        assert_eq!(parse("web").unwrap(), reference(None));
        assert_eq!(parse("web:3").unwrap(), reference(Some(3)));
        assert_eq!(parse(&ours("task-definition/web:3")).unwrap(), reference(Some(3)));
        assert_eq!(parse("arn:aws:ecs:eu-west-1:0:task-definition/web:3").unwrap(), None);
        for bad in ["", "a b", "web:", "web:x", "web:0", "web:-1", "web:+1", "web:1:2", "web:*"] {
            assert_eq!(parse(bad).unwrap_err().code.wire_name(), "ClientException", "{bad}");
        }
    }
}
