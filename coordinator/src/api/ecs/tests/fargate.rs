//! `launchType` FARGATE: tasks go to the hosts that the settings name for it.

use longshore_common::protocol::ReportedPhase;
use longshore_core::{
    Command,
    command::EpochCommand,
    model::capacity_provider::{CapacityPolicy, FARGATE, HostMark},
};
use serde_json::{Value, json};

use super::{
    World,
    flows::{report, texts},
};

async fn with_fargate() -> World {
    let mark = HostMark { attribute: "pool".to_owned(), value: Some("shared".to_owned()) };
    let world = World::with_capacity(CapacityPolicy {
        fargate: [(FARGATE.parse().unwrap(), mark)].into(),
        ..CapacityPolicy::default()
    });
    world.done("CreateCluster", json!({})).await;
    let container = json!({"name": "app", "image": "nginx", "memory": 64});
    let definition = json!({"family": "web", "containerDefinitions": [container]});
    world.done("RegisterTaskDefinition", definition).await;
    world
}

fn waits() -> Value {
    json!([{"key": "longshore:wait", "value": "600"}])
}

/// The count of DescribeClusters' statistics for each launch type.
async fn statistics(world: &World, what: &str) -> [Value; 2] {
    let asked = json!({"include": ["STATISTICS"]});
    let described = world.done("DescribeClusters", asked).await;
    let statistics = described["clusters"][0]["statistics"].as_array().unwrap().clone();
    ["EC2", "Fargate"].map(|launch_type| {
        let name = what.replace('_', launch_type);
        let found = statistics.iter().find(|one| one["name"] == name.as_str());
        found.unwrap_or_else(|| panic!("no {name}"))["value"].clone()
    })
}

#[tokio::test]
async fn statistics_count_each_launch_type_by_itself() {
    let world = with_fargate().await;
    let host = world.host(1024, 1024, "zone-a").await;
    let attributes = json!([{"name": "pool", "value": "shared", "targetId": host}]);
    world.done("PutAttributes", json!({"attributes": attributes})).await;
    world.driver.submit(Command::Epoch(EpochCommand::BeginScheduling), |_, _| ()).await.unwrap();
    let mut tasks = Vec::new();
    for (launch_type, count) in [("FARGATE", 2), ("EC2", 1)] {
        let run = json!({"taskDefinition": "web", "launchType": launch_type, "count": count});
        let ran = world.done("RunTask", run).await;
        tasks.extend(texts(&ran["tasks"], "taskArn"));
        let service = json!({"serviceName": launch_type, "taskDefinition": "web",
            "desiredCount": 0, "launchType": launch_type});
        world.done("CreateService", service).await;
    }
    // One that finds no host, as none is of this size.
    let huge = json!({"memory": "900000"});
    let run = json!({"taskDefinition": "web", "launchType": "FARGATE", "tags": waits(),
        "overrides": huge});
    world.done("RunTask", run).await;
    assert_eq!(statistics(&world, "pending_TasksCount").await, ["1", "3"]);
    assert_eq!(statistics(&world, "active_ServiceCount").await, ["1", "1"]);
    let reports = tasks.iter().map(|task| report(task, ReportedPhase::Running)).collect();
    world.hear(&host, reports).await;
    assert_eq!(statistics(&world, "running_TasksCount").await, ["1", "2"]);
    assert_eq!(statistics(&world, "pending_TasksCount").await, ["0", "1"]);
    world.done("DeleteService", json!({"service": "FARGATE", "force": true})).await;
    assert_eq!(statistics(&world, "active_ServiceCount").await, ["1", "0"]);
}

#[tokio::test]
async fn task_of_launch_type_fargate_shows_it_and_its_provider() {
    let world = with_fargate().await;
    for (member, value) in [("platformVersion", Value::Null), ("platformVersion", json!("LATEST"))]
    {
        let mut run = json!({"taskDefinition": "web", "launchType": "FARGATE", "tags": waits()});
        run[member] = value;
        let task = world.done("RunTask", run).await["tasks"][0].clone();
        assert_eq!(task["launchType"], "FARGATE", "{task}");
        assert_eq!(task["capacityProviderName"], "FARGATE");
        assert_eq!(task["lastStatus"], "PROVISIONING");
    }
    world.done("RunTask", json!({"taskDefinition": "web", "tags": waits()})).await;
    for (launch_type, count) in [("FARGATE", 2), ("EC2", 1), ("EXTERNAL", 0)] {
        let listed = world.done("ListTasks", json!({"launchType": launch_type})).await;
        assert_eq!(listed["taskArns"].as_array().unwrap().len(), count, "{launch_type}");
    }
}

#[tokio::test]
async fn service_of_launch_type_fargate_shows_it_and_no_strategy() {
    let world = with_fargate().await;
    let input = json!({"serviceName": "f", "taskDefinition": "web", "desiredCount": 1,
        "launchType": "FARGATE", "platformVersion": "LATEST"});
    let created = world.done("CreateService", input).await;
    let described = world.done("DescribeServices", json!({"services": ["f"]})).await;
    for service in [&created["service"], &described["services"][0]] {
        assert_eq!(service["launchType"], "FARGATE", "{service}");
        assert_eq!(service["deployments"][0]["launchType"], "FARGATE");
        assert_eq!(service.get("capacityProviderStrategy"), None);
    }
    // Terraform's next update says nothing of the launch type.
    let update = json!({"service": "f", "desiredCount": 2, "platformVersion": "LATEST"});
    assert_eq!(world.done("UpdateService", update).await["service"]["launchType"], "FARGATE");
    for (launch_type, count) in [("FARGATE", 1), ("EC2", 0)] {
        let listed = world.done("ListServices", json!({"launchType": launch_type})).await;
        assert_eq!(listed["serviceArns"].as_array().unwrap().len(), count, "{launch_type}");
    }
}

#[tokio::test]
async fn fargate_without_hosts_or_with_another_platform_is_refused() {
    let world = World::furnished().await;
    for operation in ["RunTask", "CreateService"] {
        let input = json!({"taskDefinition": "web", "launchType": "FARGATE"});
        let mut input = input;
        if operation == "CreateService" {
            input["serviceName"] = json!("f");
            input["desiredCount"] = json!(1);
        }
        let refusal = world.call(operation, input.clone()).await.unwrap_err();
        assert_eq!(refusal.code, "InvalidParameterException");
        assert!(refusal.message.contains("[capacity_providers.FARGATE]"), "{}", refusal.message);
        input["platformVersion"] = json!("1.4.0");
        let refusal = world.call(operation, input).await.unwrap_err();
        assert!(refusal.message.contains("say LATEST"), "{}", refusal.message);
    }
    // A strategy still needs the cluster's own provider.
    let world = with_fargate().await;
    let strategy = json!([{"capacityProvider": "FARGATE", "weight": 1}]);
    let run = json!({"taskDefinition": "web", "capacityProviderStrategy": strategy});
    let refusal = world.call("RunTask", run).await.unwrap_err();
    assert!(refusal.message.contains("not associated with the cluster"), "{}", refusal.message);
}
