//! memberOf and the filter of ListContainerInstances, through the signed edge.

use longshore_common::protocol::ReportedPhase;
use serde_json::{Value, json};

use super::{
    World,
    flows::{report, text, texts},
};

fn member_of(expressions: &[&str]) -> Value {
    expressions.iter().map(|text| json!({"type": "memberOf", "expression": text})).collect()
}

impl World {
    /// Hosts in zone-a, zone-b and zone-c.
    async fn three_zones() -> (World, Vec<String>) {
        let (world, first) = World::scheduled().await;
        let mut hosts = vec![first];
        for zone in ["zone-b", "zone-c"] {
            hosts.push(world.host(1024, 1024, zone).await);
        }
        (world, hosts)
    }

    async fn hosts_of(&self, filter: &str) -> Vec<String> {
        let listed = self.done("ListContainerInstances", json!({"filter": filter})).await;
        serde_json::from_value(listed["containerInstanceArns"].clone()).unwrap()
    }
}

#[tokio::test]
async fn run_task_keeps_to_the_constraints_of_the_call_and_of_the_definition() {
    let (world, hosts) = World::three_zones().await;
    let rack = json!({"attributes": [
        {"name": "rack", "value": "r1", "targetType": "container-instance", "targetId": hosts[2]}]});
    world.done("PutAttributes", rack).await;
    let placed = async |input: Value| {
        let started = world.done("RunTask", input).await;
        let reasons = texts(&started["failures"], "reason");
        (texts(&started["tasks"], "containerInstanceArn"), reasons)
    };
    let run = |expressions: &[&str], group: &str| {
        json!({"taskDefinition": "web", "count": 2,
        "group": group, "placementConstraints": member_of(expressions)})
    };
    let zone_b = "attribute:ecs.availability-zone == zone-b";
    assert_eq!(placed(run(&[zone_b], "g")).await, (vec![hosts[1].clone(); 2], vec![]));
    assert_eq!(
        placed(run(&["attribute:rack exists"], "g")).await,
        (vec![hosts[2].clone(); 2], vec![])
    );
    // The group has tasks on two hosts by now.
    assert_eq!(placed(run(&["task:group !~ g"], "h")).await, (vec![hosts[0].clone(); 2], vec![]));
    let (tasks, reasons) = placed(run(&[zone_b, "attribute:rack == r1"], "g")).await;
    assert_eq!(tasks, Vec::<String>::new());
    assert_eq!(reasons, ["MemberOf placement constraint unsatisfied"; 2]);

    let mut definition = json!({"family": "bound",
        "containerDefinitions": [{"name": "app", "image": "nginx", "memory": 64}],
        "placementConstraints": member_of(&["attribute:ecs.availability-zone != zone-a"])});
    world.done("RegisterTaskDefinition", definition.clone()).await;
    let described = world.done("DescribeTaskDefinition", json!({"taskDefinition": "bound"})).await;
    let shown = &described["taskDefinition"]["placementConstraints"];
    assert_eq!(*shown, definition["placementConstraints"]);
    let both = json!({"taskDefinition": "bound", "count": 2,
        "placementConstraints": member_of(&["attribute:rack !exists"])});
    assert_eq!(placed(both.clone()).await, (vec![hosts[1].clone(); 2], vec![]));

    let many = json!({"taskDefinition": "bound", "placementConstraints": member_of(&[zone_b; 10])});
    let refused = world.refused("RunTask", many).await;
    assert!(refused.starts_with("InvalidParameterException: There are 11 "), "{refused}");
    definition["placementConstraints"] = member_of(&["attribute:a = b"]);
    let refused = world.refused("RegisterTaskDefinition", definition).await;
    assert!(refused.starts_with("ClientException: Invalid expression"), "{refused}");
    assert!(refused.contains("column 13: an operator is expected"), "{refused}");
}

#[tokio::test]
async fn a_service_keeps_to_its_constraints_and_an_update_changes_them() {
    let (world, hosts) = World::three_zones().await;
    let constraints = member_of(&[
        "attribute:ecs.availability-zone in [zone-b, zone-c]",
        "runningTasksCount < 1",
    ]);
    let created = world.create_service(json!({"placementConstraints": constraints})).await;
    assert_eq!(created["placementConstraints"], constraints);
    assert_eq!(created["availabilityZoneRebalancing"], "DISABLED");
    let running = world.listed(json!({})).await;
    let mut on = Vec::new();
    for task in &running {
        on.push(text(&world.task(task).await["containerInstanceArn"]));
    }
    on.sort();
    let mut expected = hosts[1..].to_vec();
    expected.sort();
    assert_eq!(on, expected);
    for task in &running {
        let host = text(&world.task(task).await["containerInstanceArn"]);
        world.hear(&host, vec![report(task, ReportedPhase::Running)]).await;
    }
    // No host of these zones runs less than one task any more.
    let scale = json!({"service": "svc", "desiredCount": 3});
    world.done("UpdateService", scale).await;
    let service = world.service().await;
    let last = text(&service["events"][0]["message"]);
    assert!(last.contains("it does not meet the constraint `"), "{last}");
    let update = json!({"service": "svc",
        "placementConstraints": member_of(&["attribute:ecs.availability-zone == zone-a"])});
    let updated = world.done("UpdateService", update.clone()).await;
    assert_eq!(updated["service"]["placementConstraints"], update["placementConstraints"]);
    let added: Vec<String> =
        world.listed(json!({})).await.into_iter().filter(|task| !running.contains(task)).collect();
    assert_eq!(added.len(), 1);
    assert_eq!(text(&world.task(&added[0]).await["containerInstanceArn"]), hosts[0]);
}

#[tokio::test]
async fn a_daemon_runs_on_the_hosts_that_meet_its_constraints() {
    let (world, hosts) = World::three_zones().await;
    let input = json!({"serviceName": "svc", "taskDefinition": "web",
        "schedulingStrategy": "DAEMON", "placementConstraints": member_of(&[
            "attribute:ecs.availability-zone != zone-b", "task:group !exists"])});
    world.done("CreateService", input).await;
    let tasks = world.listed(json!({})).await;
    let mut on = Vec::new();
    for task in &tasks {
        on.push(text(&world.task(task).await["containerInstanceArn"]));
    }
    on.sort();
    let mut expected = vec![hosts[0].clone(), hosts[2].clone()];
    expected.sort();
    assert_eq!(on, expected);
    assert_eq!(world.service().await["desiredCount"], 2);
}

#[tokio::test]
async fn a_daemon_leaves_a_host_that_no_longer_meets_its_constraints() {
    let (world, host) = World::scheduled().await;
    let rack = |value: &str| {
        json!({"attributes": [{"name": "rack", "value": value,
        "targetType": "container-instance", "targetId": host}]})
    };
    world.done("PutAttributes", rack("r1")).await;
    let input = json!({"serviceName": "svc", "taskDefinition": "web",
        "schedulingStrategy": "DAEMON", "placementConstraints": member_of(&["attribute:rack == r1"])});
    world.done("CreateService", input).await;
    let task = world.listed(json!({})).await.remove(0);
    world.hear(&host, vec![report(&task, ReportedPhase::Running)]).await;
    assert_eq!(world.task(&task).await["desiredStatus"], "RUNNING");
    world.done("PutAttributes", rack("r2")).await;
    assert_eq!(world.task(&task).await["desiredStatus"], "STOPPED");
    assert_eq!(world.service().await["desiredCount"], 0);
}

#[tokio::test]
async fn container_instances_are_listed_by_an_expression() {
    let (world, hosts) = World::three_zones().await;
    let task = world.run(json!({"taskDefinition": "web", "group": "batch",
        "placementConstraints": member_of(&["attribute:ecs.availability-zone == zone-a"])}));
    let task = task.await.remove(0);
    world.hear(&hosts[0], vec![report(&task, ReportedPhase::Running)]).await;
    let mut others = hosts[1..].to_vec();
    others.sort();
    let mut all = hosts.clone();
    all.sort();
    for (filter, expected) in [
        ("attribute:ecs.availability-zone == zone-a", &hosts[..1]),
        ("attribute:ecs.availability-zone =~ zone-[bc]", &others),
        ("runningTasksCount > 0", &hosts[..1]),
        ("runningTasksCount == 0", &others),
        ("task:group == batch", &hosts[..1]),
        ("not(task:group == batch)", &others),
        ("agentConnected==true", &all),
        ("agentConnected == false", &[]),
        ("registeredAt >= 2018-02-18 and registeredAt < 2100-01-01", &all),
        ("", &all),
    ] {
        assert_eq!(world.hosts_of(filter).await, expected, "{filter}");
    }
    let paged = json!({"filter": "attribute:ecs.availability-zone != zone-a", "maxResults": 1});
    let pages = world.pages("ListContainerInstances", paged, "containerInstanceArns").await;
    assert_eq!(pages, others);
    let refused = world.refused("ListContainerInstances", json!({"filter": "rack == a"})).await;
    assert!(refused.starts_with("InvalidParameterException: "), "{refused}");
    assert!(refused.contains("filter: column 1: `rack` is no subject"), "{refused}");
}
