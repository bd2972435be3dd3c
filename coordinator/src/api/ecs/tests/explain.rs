//! Longshore_2026.Explain through the signed edge: what it says is what then happens.

use serde_json::{Value, json};

use super::{
    World,
    flows::{text, texts},
};

impl World {
    async fn explain(&self, input: Value) -> Value {
        let before = self.seq();
        let explained = self.longshore("Explain", input).await.unwrap();
        assert_eq!(self.seq(), before, "explaining changes nothing");
        explained
    }

    /// Tasks by container instance, of what RunTask started.
    async fn run_by_host(&self, input: Value) -> (Vec<(String, u64)>, usize) {
        let started = self.done("RunTask", input).await;
        let mut hosts = texts(&started["tasks"], "containerInstanceArn");
        hosts.sort();
        let mut counts: Vec<(String, u64)> = Vec::new();
        for host in hosts {
            match counts.last_mut() {
                Some((last, count)) if *last == host => *count += 1,
                _ => counts.push((host, 1)),
            }
        }
        (counts, started["failures"].as_array().unwrap().len())
    }
}

fn by_host(run: &Value) -> Vec<(String, u64)> {
    let placements = run["placements"].as_array().unwrap().iter();
    let count = |p: &Value| (text(&p["containerInstanceArn"]), p["tasks"].as_u64().unwrap());
    placements.map(count).collect()
}

#[tokio::test]
async fn a_dry_run_says_where_tasks_then_go_and_why_no_more_of_them() {
    let (world, small) = World::scheduled().await;
    let big = world.host(4096, 2048, "zone-b").await;
    world.define("wide", json!({"memory": 500, "cpu": 300})).await;
    let explained = world.explain(json!({"taskDefinition": "wide", "count": 7})).await;
    let run = &explained["dryRun"];
    let numbers = ["asked", "placed", "missing", "room", "containerInstances"];
    assert_eq!(numbers.map(|name| run[name].as_u64().unwrap()), [7, 6, 1, 6, 2]);
    assert_eq!(run["roomIsMore"], false);
    let (placed, failed) = world.run_by_host(json!({"taskDefinition": "wide", "count": 7})).await;
    assert_eq!((by_host(run), 1), (placed, failed));
    let reasons = json!([{"reason": "RESOURCE:MEMORY", "explanation": "short of memory",
        "containerInstances": 2}]);
    assert_eq!(run["reasons"], reasons);
    let closest = run["closest"].as_array().unwrap();
    let gap = |arn: &str| {
        let found = closest.iter().find(|one| one["containerInstanceArn"] == arn).unwrap();
        found["gaps"].clone()
    };
    assert_eq!(closest.len(), 2);
    assert_eq!(
        gap(&small),
        json!([{"reason": "RESOURCE:MEMORY", "explanation": "has 24 of the 500 MiB needed",
            "needed": 500, "remaining": 24}])
    );
    assert_eq!(gap(&big)[0]["remaining"], 48);
    // As it is now that the tasks are there.
    let run = world.explain(json!({"taskDefinition": "wide"})).await["dryRun"].take();
    assert_eq!((&run["placed"], &run["room"], &run["reasons"]), (&json!(0), &json!(0), &reasons));
}

#[tokio::test]
async fn dry_run_heeds_constraints_and_counts_room_beyond_what_is_asked() {
    let (world, first) = World::scheduled().await;
    let second = world.host(1024, 1024, "zone-b").await;
    let of = |constraints: Value| {
        json!({"taskDefinition": "web", "count": 2,
        "placementConstraints": constraints,
        "placementStrategy": [{"type": "binpack", "field": "memory"}]})
    };
    let zone_b = json!([{"type": "memberOf",
        "expression": "attribute:ecs.availability-zone == zone-b"}]);
    let run = world.explain(of(zone_b)).await["dryRun"].take();
    assert_eq!(by_host(&run), [(second.clone(), 2)]);
    assert_eq!(run["room"], 16);
    let reasons = texts(&run["reasons"], "reason");
    assert_eq!(reasons, ["MemberOf placement constraint unsatisfied", "RESOURCE:MEMORY"]);
    let run = world.explain(of(json!([{"type": "distinctInstance"}]))).await["dryRun"].take();
    let mut both = vec![(first, 1), (second, 1)];
    both.sort();
    assert_eq!((by_host(&run), &run["room"]), (both, &json!(2)));
}

#[tokio::test]
async fn a_services_dry_run_is_of_what_it_lacks_or_would_lack() {
    let (world, host) = World::scheduled().await;
    world.create_service(json!({"desiredCount": 2})).await;
    let run = world.explain(json!({"service": "svc"})).await["dryRun"].take();
    assert_eq!((&run["asked"], &run["room"]), (&json!(0), &json!(14)));
    let scaled = json!({"service": "svc", "desiredCount": 20});
    let run = world.explain(scaled.clone()).await["dryRun"].take();
    let numbers = ["asked", "placed", "missing"].map(|name| run[name].as_u64().unwrap());
    assert_eq!(numbers, [18, 14, 4]);
    assert_eq!(by_host(&run), [(host.clone(), 14)]);
    world.done("UpdateService", scaled).await;
    assert_eq!(world.listed(json!({})).await.len(), 16);
    world.define("big", json!({"memory": 900})).await;
    let other = json!({"service": "svc", "taskDefinition": "big", "desiredCount": 1});
    let run = world.explain(other).await["dryRun"].take();
    assert_eq!((&run["asked"], &run["placed"]), (&json!(1), &json!(0)));
    assert_eq!(run["closest"][0]["gaps"][0]["needed"], 900);
    let daemon = json!({"serviceName": "daemon", "taskDefinition": "web", "desiredCount": null,
        "schedulingStrategy": "DAEMON"});
    world.done("CreateService", daemon).await;
    let run = world.explain(json!({"service": "daemon"})).await["dryRun"].take();
    assert_eq!((&run["asked"], &run["placed"]), (&json!(1), &json!(0)));
    assert_eq!(run["closest"][0]["containerInstanceArn"], host);
}

#[tokio::test]
async fn tasks_place_is_explained_by_its_record_and_its_hosts_state() {
    let (world, host) = World::scheduled().await;
    let of = json!({"family": "bound",
        "containerDefinitions": [{"name": "app", "image": "nginx", "memory": 64, "cpu": 10}],
        "placementConstraints": [{"type": "memberOf",
            "expression": "attribute:ecs.availability-zone == zone-a"}]});
    world.done("RegisterTaskDefinition", of).await;
    let run = json!({"taskDefinition": "bound", "startedBy": "me",
        "placementConstraints": [{"type": "distinctInstance"},
            {"type": "memberOf", "expression": "agentConnected == true"}],
        "placementStrategy": [{"type": "binpack", "field": "memory"}]});
    let task = world.run(run).await.remove(0);
    let explained = world.explain(json!({"task": task})).await;
    let told = &explained["task"];
    assert_eq!(told["containerInstanceArn"], host);
    assert_eq!((&told["group"], &told["startedBy"]), (&json!("family:bound"), &json!("me")));
    assert_eq!((&told["cpu"], &told["memory"]), (&json!(10), &json!(64)));
    assert_eq!(told["remainingMemoryNow"], 960);
    assert_eq!(told["groupOnContainerInstanceNow"], 1);
    let constraint = json!({"holdsNow": true,
        "requirement": "attribute:ecs.availability-zone == zone-a"});
    let requirements = told["requirements"].as_array().unwrap();
    assert!(requirements.contains(&constraint), "{requirements:?}");
    let of_the_call = json!({"holdsNow": true, "requirement": "agentConnected == true"});
    assert!(requirements.contains(&of_the_call), "{requirements:?}");
    assert_eq!(told["distinctInstance"], true);
    assert_eq!(told["placementStrategy"], json!([{"type": "binpack", "field": "memory"}]));
    let plain = world.run(json!({"taskDefinition": "web"})).await.remove(0);
    let told = world.explain(json!({"task": plain})).await["task"].take();
    assert_eq!(
        (&told["distinctInstance"], &told["placementStrategy"]),
        (&json!(false), &json!([]))
    );
}

#[tokio::test]
async fn a_task_that_waits_is_explained_by_what_it_waits_for() {
    let (world, host) = World::scheduled().await;
    world.define("huge", json!({"memory": 2000})).await;
    let wait =
        json!({"taskDefinition": "huge", "tags": [{"key": "longshore:wait", "value": "60"}]});
    let task = world.run(wait).await.remove(0);
    let run = world.explain(json!({"task": task})).await["dryRun"].take();
    assert_eq!((&run["asked"], &run["missing"]), (&json!(1), &json!(1)));
    let closest = json!([{"containerInstanceArn": host, "gaps": [{"reason": "RESOURCE:MEMORY",
        "explanation": "has 1024 of the 2000 MiB needed", "needed": 2000, "remaining": 1024}]}]);
    assert_eq!(run["closest"], closest);
}

#[tokio::test]
async fn what_cannot_be_explained_is_refused_with_what_to_say_instead() {
    let (world, _) = World::scheduled().await;
    for (input, says) in [
        (json!({}), "Say what to explain"),
        (json!({"task": "0123456789abcdef0123456789abcdef"}), "was not found"),
        (json!({"task": "0123456789abcdef0123456789abcdef", "count": 1}), "by itself"),
        (json!({"taskDefinition": "none"}), "TaskDefinition not found"),
        (json!({"taskDefinition": "web", "count": 501}), "between 0 and 500"),
        (json!({"taskDefinition": "web", "desiredCount": 1}), "say count"),
        (json!({"service": "svc"}), "Service not found"),
        (json!({"service": "svc", "count": 1}), "say desiredCount"),
        (json!({"taskDefinition": "web", "cluster": "none"}), "Cluster not found"),
        (
            json!({"taskDefinition": "web", "placementConstraints":
                [{"type": "memberOf", "expression": "rack == 1"}]}),
            "column 1: `rack` is no subject",
        ),
    ] {
        let refused = world.longshore("Explain", input.clone()).await.unwrap_err();
        assert!(refused.message.contains(says), "{input}: {}", refused.message);
        assert_eq!(refused.status, 400, "{input}");
    }
}
