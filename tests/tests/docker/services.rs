//! Services on real hosts: scaled, rolled, rolled back, healed, and what users' tools say of them.

use std::time::Duration;

use bytes::Bytes;
use longshore_harness::{
    aws::Aws,
    ecs::EcsClient,
    engine_api::EngineApi,
    fleet::{Fleet, FleetSettings},
    image::sample_archive,
    lives::ended,
    registry::Registry,
    service::{
        Bounds, PATIENCE, Sampled, Sampler, describe, percents, service, sleeper, tags, tasks,
        until, until_stable,
    },
    witness::{Witness, overlaps},
};
use longshore_tests::{
    campaign::Partitions,
    figures::{count, figure, progress},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::definition::lives;

/// The short form of P7's campaign: half a minute.
const PARTITIONS: usize = 5;
const SEED: u64 = 20_26;
/// Pace of looking at containers, which tell nobody.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a user waits for once more with the CLI, which asks only every 15 s: it is so already.
async fn cli_agrees(aws: &Aws, state: &str, name: &str) {
    aws.ecs(&["wait", state, "--services", name]).await.unwrap();
}

async fn register(client: &EcsClient, definition: Value) {
    client.call("RegisterTaskDefinition", definition).await.unwrap();
}

/// How many containers each host runs.
async fn spread(fleet: &Fleet) -> Vec<usize> {
    let lives = lives(fleet).await;
    (0..fleet.hosts.len()).map(|host| lives.values().filter(|l| l.host == host).count()).collect()
}

/// Waits until the hosts run so many containers: ECS counts a task that is stopping no more while
/// its container still ends. How many each runs then.
async fn spread_of(fleet: &Fleet, containers: usize) -> Vec<usize> {
    let counted = async {
        loop {
            let spread = spread(fleet).await;
            if spread.iter().sum::<usize>() == containers {
                return spread;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("just so many containers")
}

fn took(what: &str, since: Instant) {
    figure(what, since.elapsed().as_secs_f64(), "s").unwrap();
}

fn assert_within(what: &str, sampled: Sampled) {
    count(&format!("{what}_samples"), sampled.samples).unwrap();
    count(&format!("{what}_least_running"), sampled.least_running).unwrap();
    count(&format!("{what}_most_running_and_pending"), sampled.most_shown).unwrap();
    assert!(sampled.samples >= 20, "{what}: only {} samples", sampled.samples);
    assert_eq!((sampled.below_floor, sampled.above_ceiling), (0, 0), "{what}: {sampled:?}");
}

/// The newest of a service's deployments, as its history shows it.
async fn last_deployment(aws: &Aws, name: &str) -> Value {
    let list = aws.ecs(&["list-service-deployments", "--service", name]).await.unwrap();
    let last = &list["serviceDeployments"][0]["serviceDeploymentArn"];
    let last = last.as_str().unwrap_or_else(|| panic!("no deployment in {list:#}"));
    let describe = ["describe-service-deployments", "--service-deployment-arns", last];
    aws.ecs(&describe).await.unwrap()["serviceDeployments"][0].clone()
}

#[tokio::test]
async fn a_service_is_made_scaled_rolled_and_deleted() {
    let settings = FleetSettings { cpu: 4096, memory: 4096, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    let (aws, client) = (fleet.aws(), fleet.ecs().unwrap());
    register(&client, sleeper("web", json!({}))).await;
    let made = aws.ecs_json("create-service", &service("web", "web", 12, json!({}))).await.unwrap();
    assert_eq!(made["service"]["status"], json!("ACTIVE"), "{made:#}");
    until_stable(&client, "web", 12).await.unwrap();
    cli_agrees(&aws, "services-stable", "web").await;
    assert_eq!(spread(&fleet).await, [4, 4, 4]);
    for (desired, each) in [(30, 10), (3, 1), (12, 4)] {
        let desired_count = desired.to_string();
        let update = ["update-service", "--service", "web", "--desired-count", &desired_count];
        let since = Instant::now();
        aws.ecs(&update).await.unwrap();
        until_stable(&client, "web", desired).await.unwrap();
        took(&format!("scaled_to_{desired}_s"), since);
        assert_eq!(spread_of(&fleet, desired).await, [each; 3]);
    }
    cli_agrees(&aws, "services-stable", "web").await;

    for (revision, minimum, maximum, floor, ceiling) in [(2, 50, 150, 6, 18), (3, 100, 200, 12, 24)]
    {
        let environment = json!([{ "name": "REVISION", "value": revision.to_string() }]);
        register(&client, sleeper("web", json!({ "environment": environment }))).await;
        let sampler = Sampler::start(&client, "web", Bounds { floor, ceiling });
        let update = json!({
            "service": "web",
            "taskDefinition": "web",
            "deploymentConfiguration": percents(minimum, maximum),
        });
        let since = Instant::now();
        aws.ecs_json("update-service", &update).await.unwrap();
        let shown = until_stable(&client, "web", 12).await.unwrap();
        took(&format!("rolled_{minimum}_{maximum}_s"), since);
        assert_within(&format!("rolled_{minimum}_{maximum}"), sampler.stop().await.unwrap());
        assert_eq!(shown.definition(), format!("web:{revision}"));
        assert_eq!(last_deployment(&aws, "web").await["status"], json!("SUCCESSFUL"));
        assert_eq!(spread_of(&fleet, 12).await, [4, 4, 4]);
    }
    cli_agrees(&aws, "services-stable", "web").await;

    aws.ecs(&["delete-service", "--service", "web", "--force"]).await.unwrap();
    until(&client, "web", PATIENCE, |shown| shown.status() == "INACTIVE").await.unwrap();
    cli_agrees(&aws, "services-inactive", "web").await;
    assert_eq!(spread_of(&fleet, 0).await, [0, 0, 0]);
}

/// The images that the tasks of a service run, by their digests.
async fn digests(client: &EcsClient, name: &str) -> Vec<String> {
    let tasks = tasks(client, name).await.unwrap();
    let described = client.call("DescribeTasks", json!({ "tasks": tasks })).await.unwrap();
    let of = |task: &Value| task["containers"][0]["imageDigest"].as_str().unwrap().to_owned();
    described["tasks"].as_array().unwrap().iter().map(of).collect()
}

#[tokio::test]
async fn a_tag_that_moves_changes_the_next_deployment_and_not_this_one() {
    let fleet = Fleet::start(FleetSettings { hosts: 2, ..Default::default() }).await.unwrap();
    let registry = Registry::start(fleet.gateway()).await.unwrap();
    let client = fleet.ecs().unwrap();
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let files = sample_archive(folder.path()).unwrap();
    let image = registry.publish("web", std::slice::from_ref(&files));
    register(&client, sleeper("web", json!({ "image": image, "versionConsistency": "enabled" })))
        .await;
    client.call("CreateService", service("web", "web", 1, json!({}))).await.unwrap();
    until_stable(&client, "web", 1).await.unwrap();
    let first = digests(&client, "web").await;

    // An archive without a file is a layer like any other.
    assert_eq!(registry.publish("web", &[files, Bytes::from_static(&[0; 1024])]), image);
    let update = |more: Value| {
        let mut input = json!({ "service": "web", "desiredCount": 2 });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        client.call("UpdateService", input)
    };
    update(json!({})).await.unwrap();
    until_stable(&client, "web", 2).await.unwrap();
    assert_eq!(spread(&fleet).await, [1, 1], "the other host had to pull");
    assert_eq!(digests(&client, "web").await, [first.clone(), first.clone()].concat());
    let shown = describe(&client, "web").await.unwrap().0;
    let described = json!({ "serviceRevisionArns": [shown["currentServiceRevisions"][0]["arn"]] });
    let described = client.call("DescribeServiceRevisions", described).await.unwrap();
    let images = &described["serviceRevisions"][0]["containerImages"];
    assert_eq!(images[0]["imageDigest"], json!(first[0]));

    // With prefer-cached a host runs what it has under the tag, and the first that has not decides.
    let free = json!({ "image": image, "versionConsistency": "disabled" });
    register(&client, sleeper("free", free)).await;
    client.call("CreateService", service("free", "free", 2, json!({}))).await.unwrap();
    until_stable(&client, "free", 2).await.unwrap();
    let moved = digests(&client, "free").await;
    assert!(moved.iter().any(|digest| *digest != first[0]), "{moved:?}");
}

#[tokio::test]
async fn a_missing_image_trips_the_circuit_breaker_and_the_service_goes_on() {
    let fleet = Fleet::start(FleetSettings::default()).await.unwrap();
    let registry = Registry::start(fleet.gateway()).await.unwrap();
    let (aws, client) = (fleet.aws(), fleet.ecs().unwrap());
    register(&client, sleeper("api", json!({}))).await;
    let mut guarded = percents(100, 200);
    guarded["deploymentCircuitBreaker"] = json!({ "enable": true, "rollback": true });
    let more = json!({ "deploymentConfiguration": guarded });
    aws.ecs_json("create-service", &service("api", "api", 4, more)).await.unwrap();
    until_stable(&client, "api", 4).await.unwrap();
    let before = lives(&fleet).await;

    register(&client, sleeper("api", json!({ "image": registry.missing_image() }))).await;
    let sampler = Sampler::start(&client, "api", Bounds { floor: 4, ceiling: 8 });
    let since = Instant::now();
    aws.ecs(&["update-service", "--service", "api", "--task-definition", "api"]).await.unwrap();
    let shown =
        until(&client, "api", PATIENCE, |shown| shown.definition() == "api:1" && shown.is_stable());
    shown.await.unwrap();
    took("rolled_back_s", since);
    assert_within("missing_image", sampler.stop().await.unwrap());
    assert_eq!(lives(&fleet).await, before, "what ran was not touched");
    let deployment = last_deployment(&aws, "api").await;
    count("manifests_asked_for", registry.asked()).unwrap();
    assert_eq!(deployment["status"], json!("ROLLBACK_SUCCESSFUL"));
    let tripped = &deployment["deploymentCircuitBreaker"];
    assert_eq!(tripped["status"], json!("TRIGGERED"));
    assert_eq!(tripped["threshold"], json!(3));
    let failures = tripped["failureCount"].as_u64().unwrap();
    // All that were started at once fail at once.
    assert!((3..=4).contains(&failures), "{failures} failures");
    let back_to = &deployment["rollback"]["serviceRevisionArn"];
    assert_eq!(*back_to, deployment["sourceServiceRevisions"][0]["arn"]);
    cli_agrees(&aws, "services-stable", "api").await;

    // The same by ecs-deploy, which rolls back for itself.
    let colour = ["deploy", "default", "api", "-e", "main", "COLOUR", "blue"];
    aws.ecs_deploy(&[&colour[..], &["--no-deregister", "--timeout", "60"]].concat()).await.unwrap();
    let good = describe(&client, "api").await.unwrap().definition().to_owned();
    assert_eq!(good, "api:3");
    aws.ecs_deploy(&["scale", "default", "api", "6", "--timeout", "60"]).await.unwrap();
    until_stable(&client, "api", 6).await.unwrap();
    let mut alone = percents(100, 200);
    alone["deploymentCircuitBreaker"] = json!({ "enable": false, "rollback": false });
    let update = json!({ "service": "api", "deploymentConfiguration": alone });
    aws.ecs_json("update-service", &update).await.unwrap();
    let sampler = Sampler::start(&client, "api", Bounds { floor: 6, ceiling: 12 });
    let image = registry.missing_image();
    let bad = ["deploy", "default", "api", "-i", "main", &image];
    let options = ["--rollback", "--no-deregister", "--timeout", "60"];
    let said = aws.ecs_deploy_says(&[&bad[..], &options].concat()).await.unwrap();
    progress(&format!("ecs deploy of a missing image: {} {}", said.code, said.error));
    assert_ne!(said.code, 0, "{}", said.out);
    assert!(said.error.contains("unable to consistently start tasks"), "{}", said.error);
    assert!(said.error.contains("has been rolled back to previous"), "{}", said.error);
    let back = until(&client, "api", PATIENCE, |shown| shown.is_stable()).await.unwrap();
    assert_eq!((back.definition(), back.running()), (good.as_str(), 6));
    assert_within("missing_image_by_ecs_deploy", sampler.stop().await.unwrap());
}

/// Runs a command in the only container of a task.
async fn in_container(engine: &EngineApi, container: &str, command: &[&str]) {
    let create = json!({ "Cmd": command, "AttachStdout": true });
    let made = engine.post(&format!("/containers/{container}/exec"), create).await.unwrap();
    let made: Value = serde_json::from_slice(&made.body).unwrap();
    let start = format!("/exec/{}/start", made["Id"].as_str().unwrap());
    engine.post(&start, json!({ "Detach": false })).await.unwrap();
}

#[tokio::test]
async fn sick_tasks_are_replaced_drained_hosts_emptied_daemons_kept() {
    let settings = FleetSettings { joining_later: 1, ..Default::default() };
    let mut fleet = Fleet::start(settings).await.unwrap();
    let (aws, client) = (fleet.aws(), fleet.ecs().unwrap());
    register(&client, sleeper("daemon", json!({}))).await;
    let mut daemon = service("daemon", "daemon", 0, json!({ "schedulingStrategy": "DAEMON" }));
    let members = daemon.as_object_mut().unwrap();
    members.remove("desiredCount");
    members.remove("placementStrategy");
    aws.ecs_json("create-service", &daemon).await.unwrap();
    until_stable(&client, "daemon", 2).await.unwrap();
    let since = Instant::now();
    fleet.start_agent(2).await.unwrap();
    until_stable(&client, "daemon", 3).await.unwrap();
    took("daemon_on_joined_host_s", since);
    assert_eq!(spread(&fleet).await, [1, 1, 1]);

    let well = "echo > /tmp/well; trap 'exit 0' TERM; sleep 100000 & wait";
    let check = json!({
        "command": ["CMD-SHELL", "cat /tmp/well"], "interval": 5, "timeout": 2, "retries": 1,
    });
    let checked = json!({ "command": ["/bin/sh", "-c", well], "healthCheck": check });
    register(&client, sleeper("checked", checked)).await;
    aws.ecs_json("create-service", &service("checked", "checked", 2, json!({}))).await.unwrap();
    until_stable(&client, "checked", 2).await.unwrap();
    let sampler = Sampler::start(&client, "checked", Bounds { floor: 2, ceiling: 4 });
    let sick = tasks(&client, "checked").await.unwrap()[0].clone();
    let found = lives(&fleet).await.into_iter().find(|(_, life)| life.task == sick);
    let (container, life) = found.unwrap();
    let engine = fleet.hosts[life.host].engine().unwrap();
    let since = Instant::now();
    in_container(&engine, &container, &["/bin/busybox", "rm", "/tmp/well"]).await;
    let ask = json!({ "tasks": [sick] });
    let stopped = client.eventually("DescribeTasks", ask, PATIENCE, |answer| {
        let task = &answer["tasks"][0];
        (task["lastStatus"] == json!("STOPPED")).then(|| task.clone())
    });
    let stopped = stopped.await.unwrap();
    assert_eq!(stopped["stoppedReason"], json!("Task failed container health checks"));
    assert_eq!(stopped["stopCode"], json!("ServiceSchedulerInitiated"));
    until_stable(&client, "checked", 2).await.unwrap();
    took("sick_task_replaced_s", since);
    assert_within("sick_task", sampler.stop().await.unwrap());

    // The host of one of its tasks.
    let task = tasks(&client, "checked").await.unwrap()[0].clone();
    let drained = lives(&fleet).await.into_values().find(|life| life.task == task).unwrap().host;
    let arn = fleet.host_arn(drained).await.unwrap();
    let sampler = Sampler::start(&client, "checked", Bounds { floor: 2, ceiling: 4 });
    let drain = ["update-container-instances-state", "--status", "DRAINING"];
    let since = Instant::now();
    aws.ecs(&[&drain[..], &["--container-instances", &arn]].concat()).await.unwrap();
    let ask = json!({ "containerInstances": [arn] });
    let empty = client.eventually("DescribeContainerInstances", ask, PATIENCE, |answer| {
        let host = &answer["containerInstances"][0];
        (host["runningTasksCount"] == json!(0) && host["pendingTasksCount"] == json!(0))
            .then_some(())
    });
    empty.await.unwrap();
    took("host_drained_s", since);
    until_stable(&client, "checked", 2).await.unwrap();
    until_stable(&client, "daemon", 2).await.unwrap();
    assert_within("drained_host", sampler.stop().await.unwrap());
    assert_eq!(spread_of(&fleet, 4).await[drained], 0);
    cli_agrees(&aws, "services-stable", "checked").await;
    cli_agrees(&aws, "services-stable", "daemon").await;
}

#[tokio::test]
async fn a_lost_hosts_tasks_are_replaced_and_its_return_restarts_nothing() {
    let fleet = Fleet::start(FleetSettings::default()).await.unwrap();
    let (aws, client) = (fleet.aws(), fleet.ecs().unwrap());
    let witness = Witness::in_folder(&fleet.folder().join("witness")).unwrap();
    register(&client, witness.definition("single")).await;
    let timers = [("longshore:healthy-after", "1"), ("longshore:lost-after", "2")];
    let once = [&timers[..], &[("longshore:replace", "false")]].concat();
    let single = json!({ "deploymentConfiguration": percents(0, 100), "tags": tags(&once) });
    aws.ecs_json("create-service", &service("single", "single", 1, single)).await.unwrap();
    register(&client, sleeper("web", json!({}))).await;
    let web = json!({ "tags": tags(&timers) });
    aws.ecs_json("create-service", &service("web", "web", 9, web)).await.unwrap();
    until_stable(&client, "single", 1).await.unwrap();
    until_stable(&client, "web", 9).await.unwrap();
    let before = lives(&fleet).await;
    let single = tasks(&client, "single").await.unwrap()[0].clone();
    let cut = before.values().find(|life| life.task == single).unwrap().host;
    let ceiling = Bounds { floor: 0, ceiling: 18 };
    let sampler = Sampler::start(&client, "web", ceiling);
    let single_sampler = Sampler::start(&client, "single", Bounds { floor: 0, ceiling: 1 });

    let since = Instant::now();
    fleet.hosts[cut].network.cut().unwrap();
    let lost = until(&client, "web", PATIENCE, |shown| shown.running() < 9).await.unwrap();
    took("host_lost_s", since);
    count("tasks_lost", 9 - lost.running()).unwrap();
    until(&client, "web", PATIENCE, |shown| shown.running() == 9).await.unwrap();
    took("lost_tasks_replaced_s", since);
    let during = lives(&fleet).await;
    assert_eq!(ended(&before, &during), [], "healthy containers were stopped");
    assert_eq!(during.len(), 10 + 3, "the singleton is not replaced, three of web are");

    let since = Instant::now();
    fleet.hosts[cut].network.heal().unwrap();
    let exact = async {
        fleet.all_connected().await.unwrap();
        until_stable(&client, "single", 1).await.unwrap();
        loop {
            until_stable(&client, "web", 9).await.unwrap();
            if lives(&fleet).await.len() == 10 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), exact).await.expect("exact within 30 s");
    took("healed_exact_s", since);
    let after = lives(&fleet).await;
    assert_eq!(ended(&before, &after), [], "originals are kept, and none was restarted");
    assert_eq!(after.len(), before.len());
    let (web, one) = (sampler.stop().await.unwrap(), single_sampler.stop().await.unwrap());
    assert_within("lost_host", web);
    assert_within("lost_singleton", one);
    let runs = witness.runs().unwrap();
    assert_eq!((runs.len(), overlaps(&runs)), (1, 0), "{runs:?}");
    cli_agrees(&aws, "services-stable", "web").await;
    cli_agrees(&aws, "services-stable", "single").await;
}

#[tokio::test]
async fn partitions_stop_nothing_and_heal_to_policy() {
    let counts = Partitions::of(PARTITIONS, SEED).run().await.unwrap();
    counts.print_and_judge().unwrap();
}
