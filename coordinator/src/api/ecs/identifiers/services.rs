//! Services and what belongs to them: service deployments, service revisions, task sets.

use longshore_common::arn::Identity;
use longshore_core::model::{
    deployment::DeploymentRef,
    name::ClusterName,
    service::{RevisionId, ServiceRef},
};

use super::arn::arn;
use crate::edge::error::ApiError;

/// What the id of a task set begins with.
const TASK_SET_PREFIX: &str = "ecs-svc/";

/// `<name>`, `arn:…:service/<cluster>/<name>`, or the old `arn:…:service/<name>`.
pub(crate) fn service(
    identity: &Identity,
    cluster: &ClusterName,
    given: &str,
) -> Result<Option<ServiceRef>, ApiError> {
    let (here, name) = match arn(identity, given, "service/")? {
        Some((here, resource)) => match resource.split_once('/') {
            Some((other, _)) if other != cluster.as_str() => {
                return Err(ApiError::invalid_parameter(format!(
                    "Identifier is for cluster {other}. Your cluster is {cluster}"
                )));
            }
            Some((_, name)) => (here, name.to_owned()),
            None => (here, resource),
        },
        None => (true, given.to_owned()),
    };
    let name = name.parse().map_err(|_| {
        ApiError::invalid_parameter(format!(
            "`{given}` is not a service: give its name, of at most 255 letters, numbers, \
             underscores and hyphens, or its ARN."
        ))
    })?;
    Ok(here.then(|| ServiceRef { cluster: cluster.clone(), name }))
}

/// `ecs-svc/<digits>`, or an ARN of a task set of this service.
pub(crate) fn task_set(
    identity: &Identity,
    service: &ServiceRef,
    given: &str,
) -> Result<Option<RevisionId>, ApiError> {
    if given.starts_with("arn:") {
        return match task_set_by_arn(identity, given)? {
            Some((of, _)) if of != *service => Err(ApiError::invalid_parameter(format!(
                "Identifier is for service {} of cluster {}. Your service is {} of cluster {}",
                of.name, of.cluster, service.name, service.cluster
            ))),
            Some((_, id)) => Ok(Some(id)),
            None => Ok(None),
        };
    }
    let id = given.strip_prefix(TASK_SET_PREFIX).and_then(RevisionId::parse);
    id.map(Some).ok_or_else(|| {
        ApiError::invalid_parameter(format!(
            "`{given}` is not a task set: give its id, {TASK_SET_PREFIX} with 19 digits, or its ARN."
        ))
    })
}

pub(crate) fn task_set_by_arn(
    identity: &Identity,
    given: &str,
) -> Result<Option<(ServiceRef, RevisionId)>, ApiError> {
    of_service(identity, given, "task-set", |id| {
        id.strip_prefix(TASK_SET_PREFIX).and_then(RevisionId::parse)
    })
}

pub(crate) fn service_deployment(
    identity: &Identity,
    given: &str,
) -> Result<Option<DeploymentRef>, ApiError> {
    let found = of_service(identity, given, "service-deployment", |id| id.parse().ok())?;
    Ok(found.map(|(service, deployment)| DeploymentRef { service, deployment }))
}

pub(crate) fn service_revision(
    identity: &Identity,
    given: &str,
) -> Result<Option<(ServiceRef, RevisionId)>, ApiError> {
    of_service(identity, given, "service-revision", RevisionId::parse)
}

/// `arn:…:<kind>/<cluster>/<service>/<id>`.
fn of_service<T>(
    identity: &Identity,
    given: &str,
    kind: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<(ServiceRef, T)>, ApiError> {
    let wrong = || {
        let what = kind.replace('-', " ");
        ApiError::invalid_parameter(format!(
            "`{given}` is not the ARN of a {what}; it should look like \
             arn:aws:ecs:region:account:{kind}/cluster/service/…."
        ))
    };
    let (here, resource) = arn(identity, given, &format!("{kind}/"))?.ok_or_else(wrong)?;
    let mut parts = resource.splitn(3, '/');
    let (cluster, service, id) = (parts.next(), parts.next(), parts.next());
    let (Some(cluster), Some(service), Some(id)) = (cluster, service, id) else {
        return Err(wrong());
    };
    let (Ok(cluster), Ok(name)) = (cluster.parse(), service.parse()) else { return Err(wrong()) };
    let id = parse(id).ok_or_else(wrong)?;
    Ok(here.then_some((ServiceRef { cluster, name }, id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "1234567890123456789";

    fn identity() -> Identity {
        Identity { region: "us-east-1".into(), account: "000000000000".into() }
    }

    fn ours(resource: &str) -> String {
        format!("arn:aws:ecs:us-east-1:000000000000:{resource}")
    }

    fn web() -> ServiceRef {
        ServiceRef { cluster: "c".parse().unwrap(), name: "web".parse().unwrap() }
    }

    #[test]
    fn a_service_is_a_name_or_an_arn_of_its_cluster() {
        let parse = |given: &str| service(&identity(), &web().cluster, given);
        assert_eq!(parse("web").unwrap(), Some(web()));
        assert_eq!(parse(&ours("service/c/web")).unwrap(), Some(web()));
        assert_eq!(parse(&ours("service/web")).unwrap(), Some(web()));
        assert_eq!(parse("arn:aws:ecs:eu-west-1:0:service/c/web").unwrap(), None);
        let other = parse(&ours("service/d/web")).unwrap_err();
        assert_eq!(other.message, "Identifier is for cluster d. Your cluster is c");
        for bad in ["", "a b", "a/b", &ours("task/c/web"), &ours("service/c/a/b")] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_task_set_is_an_id_or_an_arn_of_its_service() {
        let parse = |given: &str| task_set(&identity(), &web(), given);
        let id = RevisionId::parse(DIGITS);
        assert_eq!(parse(&format!("ecs-svc/{DIGITS}")).unwrap(), id);
        assert_eq!(parse(&ours(&format!("task-set/c/web/ecs-svc/{DIGITS}"))).unwrap(), id);
        let elsewhere = format!("arn:aws:ecs:eu-west-1:0:task-set/c/web/ecs-svc/{DIGITS}");
        assert_eq!(parse(&elsewhere).unwrap(), None);
        let others = ours(&format!("task-set/c/api/ecs-svc/{DIGITS}"));
        for bad in ["", DIGITS, "ecs-svc/1", &others, &ours("task-set/c/web/1")] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn deployments_and_revisions_are_named_by_their_arns_only() {
        let id = "000000000000000000000000000000ab";
        let parse = |given: &str| service_deployment(&identity(), given);
        let found = parse(&ours(&format!("service-deployment/c/web/{id}"))).unwrap().unwrap();
        assert_eq!((found.service, found.deployment.value()), (web(), 0xab));
        for bad in ["", id, &ours(&format!("service-deployment/web/{id}"))] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let parse = |given: &str| service_revision(&identity(), given);
        let arn = ours(&format!("service-revision/c/web/{DIGITS}"));
        assert_eq!(parse(&arn).unwrap(), RevisionId::parse(DIGITS).map(|id| (web(), id)));
        assert!(parse(DIGITS).is_err());
    }
}
