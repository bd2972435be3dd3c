//! Hosts that an Auto Scaling group of AWS launches: moto decides what there is and checks who asks,
//! and a real host starts for each instance that it has.

use std::{collections::BTreeSet, time::Duration};

use longshore_harness::{
    ecs::EcsClient,
    fleet::{Fleet, FleetSettings},
    machines::Ec2Group,
    moto::Moto,
    scaling::{fleet_with, group, machines, provide},
};
use serde_json::{Value, json};

use crate::definition::register;

const GROUP: &str = "hosts";
/// What docs/operating/capacity.md tells to allow.
const ACTIONS: [&str; 6] = [
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeScalingActivities",
    "autoscaling:UpdateAutoScalingGroup",
    "autoscaling:SetInstanceProtection",
    "autoscaling:SetDesiredCapacity",
    "autoscaling:TerminateInstanceInAutoScalingGroup",
];
/// Hosts take some seconds to boot, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// What EC2 does: machines start and end as moto's group says, until `is_so`.
async fn ec2_works(
    fleet: &Fleet,
    moto: &Moto,
    token: &str,
    what: &str,
    mut is_so: impl FnMut(&BTreeSet<String>) -> bool,
) -> BTreeSet<String> {
    let machines = machines(fleet).unwrap();
    let works = async {
        loop {
            let there = moto.instances(GROUP).await.unwrap();
            let running: BTreeSet<String> = machines.running().await.into_keys().collect();
            for gone in running.difference(&there) {
                machines.end_one(gone).await.unwrap();
            }
            for new in there.difference(&running) {
                machines.boot(new, token).await.unwrap();
            }
            if is_so(&there) {
                return there;
            }
            // Nothing tells of it.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, works).await {
        Ok(there) => there,
        Err(_) => panic!("{what}: {}", log_of(fleet)),
    }
}

fn log_of(fleet: &Fleet) -> String {
    let lines = fleet.coordinator().unwrap().log().lines();
    lines.iter().map(|line| line.as_ref()).collect::<Vec<_>>().join("\n")
}

async fn runs(client: &EcsClient, tasks: u32) {
    let describe = json!({ "services": ["web"] });
    let steady = |answer: &Value| (answer["services"][0]["runningCount"] == tasks).then_some(());
    client.eventually("DescribeServices", describe, PATIENCE, steady).await.unwrap();
}

/// Waits until the group here has just these instances, by the ids that users are told: one that is
/// ended is shown until AWS shows that it is.
async fn are_known(fleet: &Fleet, there: &BTreeSet<String>) {
    let aws = fleet.aws();
    let known = async {
        loop {
            let shown = group(&aws).await.unwrap();
            let instances = shown["Instances"].as_array().map_or(&[][..], Vec::as_slice);
            let ids = instances.iter().filter_map(|one| one["InstanceId"].as_str());
            if ids.map(str::to_owned).collect::<BTreeSet<_>>() == *there {
                return;
            }
            // Nothing tells of it.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let known = tokio::time::timeout(PATIENCE, known).await;
    known.unwrap_or_else(|_| panic!("not {there:?}: {}", log_of(fleet)));
}

#[tokio::test]
async fn hosts_of_ec2_come_for_tasks_and_go_with_them_also_over_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let moto = Moto::start(folder.path()).await.unwrap();
    moto.make_group(GROUP, 3).await.unwrap();
    let key = moto.only_user(&ACTIONS).await.unwrap();
    let ec2 = Ec2Group { name: GROUP.to_owned(), endpoint: moto.endpoint().to_owned() };
    let coordinator_environment = vec![
        ("AWS_ACCESS_KEY_ID".to_owned(), key.id),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), key.secret),
    ];
    let coordinator_arguments = vec!["--healthy-after=1".to_owned()];
    let ec2 = Some(ec2);
    let more =
        FleetSettings { ec2, coordinator_environment, coordinator_arguments, ..Default::default() };
    let mut fleet = fleet_with(4, 1, more).await.unwrap();
    let (aws, client) = (fleet.aws(), fleet.ecs().unwrap());
    provide(&aws, 3).await.unwrap();
    register(&aws, "sleeper", json!({})).await;
    let token = fleet.join_token().unwrap();
    assert!(moto.instances(GROUP).await.unwrap().is_empty());

    let service = json!({ "serviceName": "web", "taskDefinition": "sleeper", "desiredCount": 2 });
    client.call("CreateService", service).await.unwrap();
    let two = |there: &BTreeSet<String>| there.len() == 2;
    let there = ec2_works(&fleet, &moto, &token, "two instances", two).await;
    runs(&client, 2).await;
    are_known(&fleet, &there).await;
    let shown = moto.group(GROUP).await.unwrap();
    assert_eq!(shown["NewInstancesProtectedFromScaleIn"], json!(true));
    let protected = |one: &Value| one["ProtectedFromScaleIn"] == json!(true);
    assert!(shown["Instances"].as_array().unwrap().iter().all(protected), "{shown:#}");

    // One is ended by the id that users know, and comes back as another; the coordinator ends in the
    // middle of it.
    let ended = there.first().unwrap();
    let terminate = [
        "terminate-instance-in-auto-scaling-group",
        "--instance-id",
        ended,
        "--no-should-decrement-desired-capacity",
    ];
    aws.service("autoscaling", &terminate).await.unwrap();
    fleet.kill_coordinator().await.unwrap();
    fleet.start_coordinator().await.unwrap();
    let others = |there: &BTreeSet<String>| there.len() == 2 && !there.contains(ended);
    let there = ec2_works(&fleet, &moto, &token, "another instead", others).await;
    runs(&client, 2).await;
    are_known(&fleet, &there).await;

    let scale = json!({ "service": "web", "desiredCount": 0 });
    client.call("UpdateService", scale).await.unwrap();
    ec2_works(&fleet, &moto, &token, "none", BTreeSet::is_empty).await;
    let none =
        |answer: &Value| answer["containerInstanceArns"].as_array()?.is_empty().then_some(());
    client.eventually("ListContainerInstances", json!({}), PATIENCE, none).await.unwrap();
    let shown = moto.group(GROUP).await.unwrap();
    assert_eq!(shown["DesiredCapacity"], json!(0), "{shown:#}");
    let log = log_of(&fleet);
    assert!(!log.contains("a launcher failed"), "{log}");
}
