//! ARNs as ECS writes them (long form only), built and parsed at the edges.
//!
//! Never stored: the state keeps ids and names, and an ARN is made when somebody asks.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::id::{HostId, TaskId};

/// Whose resources these are: both are settings of the coordinator and part of every ARN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub region: String,
    /// Twelve digits.
    pub account: String,
}

impl Identity {
    pub fn cluster(&self, cluster: &str) -> String {
        self.ecs(format_args!("cluster/{cluster}"))
    }

    pub fn task(&self, cluster: &str, task: TaskId) -> String {
        self.ecs(format_args!("task/{cluster}/{task}"))
    }

    pub fn container(&self, cluster: &str, task: TaskId, container: u128) -> String {
        self.ecs(format_args!("container/{cluster}/{task}/{}", Uuid(container)))
    }

    pub fn container_instance(&self, cluster: &str, host: HostId) -> String {
        self.ecs(format_args!("container-instance/{cluster}/{host}"))
    }

    pub fn task_definition(&self, family: &str, revision: u32) -> String {
        self.ecs(format_args!("task-definition/{family}:{revision}"))
    }

    pub fn service(&self, cluster: &str, service: &str) -> String {
        self.ecs(format_args!("service/{cluster}/{service}"))
    }

    /// `digits` are those of the revision's deployment id, `ecs-svc/<digits>`.
    pub fn service_revision(
        &self,
        cluster: &str,
        service: &str,
        digits: impl fmt::Display,
    ) -> String {
        self.ecs(format_args!("service-revision/{cluster}/{service}/{digits}"))
    }

    pub fn service_deployment(
        &self,
        cluster: &str,
        service: &str,
        id: impl fmt::Display,
    ) -> String {
        self.ecs(format_args!("service-deployment/{cluster}/{service}/{id}"))
    }

    pub fn task_set(&self, cluster: &str, service: &str, digits: impl fmt::Display) -> String {
        self.ecs(format_args!("task-set/{cluster}/{service}/ecs-svc/{digits}"))
    }

    pub fn alarm(&self, alarm: &str) -> String {
        format!("arn:aws:cloudwatch:{}:{}:alarm:{alarm}", self.region, self.account)
    }

    pub fn capacity_provider(&self, provider: &str) -> String {
        self.ecs(format_args!("capacity-provider/{provider}"))
    }

    pub fn auto_scaling_group(&self, uid: u128, group: &str) -> String {
        let (region, account) = (&self.region, &self.account);
        let uid = Uuid(uid);
        format!(
            "arn:aws:autoscaling:{region}:{account}:autoScalingGroup:{uid}:autoScalingGroupName/{group}"
        )
    }

    /// Without the `:*` that stands for its streams.
    pub fn log_group(&self, group: &str) -> String {
        format!("arn:aws:logs:{}:{}:log-group:{group}", self.region, self.account)
    }

    pub fn root(&self) -> String {
        format!("arn:aws:iam::{}:root", self.account)
    }

    fn ecs(&self, resource: fmt::Arguments<'_>) -> String {
        format!("arn:aws:ecs:{}:{}:{resource}", self.region, self.account)
    }
}

/// The five fields of an ECS ARN, its resource still unparsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arn {
    pub region: String,
    pub account: String,
    /// What follows the fifth colon, for example `task/default/0f…`.
    pub resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ARN of ECS")]
pub struct NotAnArn;

impl FromStr for Arn {
    type Err = NotAnArn;

    fn from_str(text: &str) -> Result<Self, NotAnArn> {
        let mut fields = text.splitn(6, ':');
        let mut next = || fields.next().ok_or(NotAnArn);
        let (arn, partition, service) = (next()?, next()?, next()?);
        let (region, account, resource) = (next()?, next()?, next()?);
        if arn != "arn" || !partition.starts_with("aws") || service != "ecs" || resource.is_empty()
        {
            return Err(NotAnArn);
        }
        Ok(Arn {
            region: region.to_owned(),
            account: account.to_owned(),
            resource: resource.to_owned(),
        })
    }
}

/// Prints 128 bits in the grouped form that ECS uses for containers.
pub struct Uuid(pub u128);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_ecs_long_form() {
        let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
        assert_eq!(
            identity.task("web", TaskId::new(1)),
            "arn:aws:ecs:us-east-1:000000000000:task/web/00000000000000000000000000000001"
        );
        let parsed: Arn = identity.task_definition("web", 3).parse().unwrap();
        assert_eq!(parsed.resource, "task-definition/web:3");
    }

    #[test]
    fn other_services_arns_are_not_ours() {
        assert_eq!("arn:aws:s3:::bucket".parse::<Arn>(), Err(NotAnArn));
        assert_eq!("web".parse::<Arn>(), Err(NotAnArn));
    }
}
