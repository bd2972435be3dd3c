//! A cluster that has no hosts, and gets them: a group, a capacity provider and its strategy, made as a
//! user makes them.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    aws::Aws,
    fleet::{Fleet, FleetSettings},
    machines::{LAUNCHER, Machines},
};

pub const GROUP: &str = "rack-a";
pub const PROVIDER: &str = "rack";
/// How soon hosts without tasks go, in seconds.
pub const SCALE_IN_AFTER_S: &str = "2";

/// A fleet without hosts that can launch so many, each with room for so many tasks of 32 MiB.
pub async fn fleet(hosts: usize, tasks_each: u32) -> Result<Fleet> {
    fleet_with(hosts, tasks_each, FleetSettings::default()).await
}

/// The same with more settings.
pub async fn fleet_with(hosts: usize, tasks_each: u32, more: FleetSettings) -> Result<Fleet> {
    let memory = tasks_each * 32;
    let settings = FleetSettings { hosts: 0, launchable: hosts, memory, ..more };
    let fleet = Fleet::start(settings).await?;
    fleet.aws().ecs(&["create-cluster"]).await?;
    Ok(fleet)
}

/// The machines of a fleet that can launch some.
pub fn machines(fleet: &Fleet) -> Result<&Machines> {
    fleet.machines.as_ref().context("the fleet launches no hosts")
}

/// A group of up to `max` instances, and a provider that is the cluster's own strategy: with managed
/// scaling and managed termination protection.
pub async fn provide(aws: &Aws, max: usize) -> Result<()> {
    let max = max.to_string();
    let group = [
        "create-auto-scaling-group",
        "--auto-scaling-group-name",
        GROUP,
        "--launch-configuration-name",
        LAUNCHER,
        "--min-size",
        "0",
        "--max-size",
        &max,
        "--availability-zones",
        "a",
        "--new-instances-protected-from-scale-in",
    ];
    aws.service("autoscaling", &group).await?;
    let described = aws.service("autoscaling", &["describe-auto-scaling-groups"]).await?;
    let arn = &described["AutoScalingGroups"][0]["AutoScalingGroupARN"];
    let provider = json!({
        "name": PROVIDER,
        "autoScalingGroupProvider": {
            "autoScalingGroupArn": arn,
            "managedScaling": { "status": "ENABLED", "targetCapacity": 100 },
            "managedTerminationProtection": "ENABLED",
        },
        "tags": [{ "key": "longshore:scale-in-after", "value": SCALE_IN_AFTER_S }],
    });
    aws.ecs_json("create-capacity-provider", &provider).await?;
    let strategy = format!("capacityProvider={PROVIDER},weight=1");
    let put = [
        "put-cluster-capacity-providers",
        "--cluster",
        "default",
        "--capacity-providers",
        PROVIDER,
        "--default-capacity-provider-strategy",
        &strategy,
    ];
    aws.ecs(&put).await?;
    Ok(())
}

/// The group as DescribeAutoScalingGroups shows it.
pub async fn group(aws: &Aws) -> Result<Value> {
    let described = aws.service("autoscaling", &["describe-auto-scaling-groups"]).await?;
    Ok(described["AutoScalingGroups"][0].clone())
}

/// Waits until no machine runs any more.
pub async fn all_gone(machines: &Machines, patience: Duration) -> Result<()> {
    let gone = async {
        while !machines.running().await.is_empty() {
            // Nothing tells of it.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(patience, gone).await.context("machines are still running")
}
