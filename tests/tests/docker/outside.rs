//! What others do to a host's containers: a task goes on with its container or without, never with
//! two, and nothing of others is taken for a task's.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::Method;
use longshore_harness::{
    ecs::EcsClient,
    engine_api::{EngineApi, percent_encoded},
    fleet::{Fleet, FleetSettings},
    image::{SAMPLE_CHANGES, SAMPLE_IMAGE, sample_archive},
    lives::TASK_LABEL,
    recording_proxy::CallKind,
    service,
};
use longshore_tests::figures::progress;
use serde_json::{Value, json};

use crate::definition::{SLEEPER, begin, begin_again, lives, reached, scripted};

const PATIENCE: Duration = Duration::from_secs(60);
/// The service's container binds it: a second one could not.
const PORT: u16 = 18_080;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What becomes of a container that others changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The same process goes on as the task's.
    Same,
    /// It, or one that replaces it.
    One,
}

/// One change by others: calls of Docker's API, `ID` the container.
type Change = (&'static str, &'static [(&'static str, &'static str)], Fate);

const CHANGES: [Change; 11] = [
    ("restart", &[("/containers/ID/restart?t=1", "")], Fate::One),
    ("stop and start", &[("/containers/ID/stop?t=1", ""), ("/containers/ID/start", "")], Fate::One),
    ("kill and start", &[("/containers/ID/kill", ""), ("/containers/ID/start", "")], Fate::One),
    ("start", &[("/containers/ID/start", "")], Fate::Same),
    (
        "pause and unpause",
        &[("/containers/ID/pause", ""), ("/containers/ID/unpause", "")],
        Fate::Same,
    ),
    ("rename", &[("/containers/ID/rename?name=mine", "")], Fate::Same),
    ("update", &[("/containers/ID/update", r#"{"CpuShares":7}"#)], Fate::Same),
    ("commit", &[("/commit?container=ID&repo=taken", "")], Fate::Same),
    (
        "disconnect and connect",
        &[
            ("/networks/bridge/disconnect", r#"{"Container":"ID"}"#),
            ("/networks/bridge/connect", r#"{"Container":"ID"}"#),
        ],
        Fate::One,
    ),
    ("disconnect", &[("/networks/bridge/disconnect", r#"{"Container":"ID"}"#)], Fate::One),
    ("removal", &[], Fate::One),
];

/// Does it; a container that was replaced meanwhile need not be there any more.
async fn change(engine: &EngineApi, id: &str, (name, calls, _): &Change) {
    if *name == "removal" {
        engine.remove(id).await.unwrap();
    }
    for (path, body) in *calls {
        let body = body.replace("ID", id);
        let body = if body.is_empty() { Value::Null } else { serde_json::from_str(&body).unwrap() };
        if let Err(error) = engine.post(&path.replace("ID", id), body).await {
            progress(&format!("{name}: {error:#}"));
        }
    }
}

/// Waits until the service has one running task, and the engine one running container, which is that
/// task's; its id.
async fn one_of_one(client: &EcsClient, engine: &EngineApi) -> String {
    let settled = async {
        loop {
            let running = engine.containers(false).await.unwrap();
            let tasks = service::tasks(client, "web").await.unwrap();
            let shown = service::describe(client, "web").await.unwrap();
            let is_one = shown.running() == 1 && shown.pending() == 0;
            if let ([container], [task]) = (&running[..], &tasks[..])
                && is_one
                && container.labels.get(TASK_LABEL) == Some(task)
            {
                return container.id.clone();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let settled = tokio::time::timeout(PATIENCE, settled).await;
    settled.expect("not one running container for one task")
}

#[tokio::test]
async fn a_container_that_others_change_stays_one_of_its_task() {
    let cleanup = vec!["--task-cleanup-wait=1s".to_owned()];
    let settings = FleetSettings { hosts: 1, agent_arguments: cleanup, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    let client = fleet.ecs().unwrap();
    let engine = fleet.hosts[0].engine().unwrap();
    let ports = json!([{ "containerPort": 80, "hostPort": PORT }]);
    let web = scripted("web", SLEEPER[2], json!({ "portMappings": ports }));
    client.call("RegisterTaskDefinition", web).await.unwrap();
    // A whole task from its order to its end comes between a change and what is seen then.
    let short = scripted("short", "exit 0", json!({}));
    client.call("RegisterTaskDefinition", short).await.unwrap();
    client.call("CreateService", service::service("web", "web", 1, json!({}))).await.unwrap();
    let mut id = one_of_one(&client, &engine).await;
    for changed in &CHANGES {
        let (name, _, fate) = changed;
        progress(name);
        let before = lives(&fleet).await;
        change(&engine, &id, changed).await;
        let between = begin_again(&client, "short").await;
        reached(&client, &between, "STOPPED").await;
        id = one_of_one(&client, &engine).await;
        if *fate == Fate::Same {
            assert_eq!(lives(&fleet).await, before, "{name}");
        }
    }
    // Whatever it is called by now, it stops with its task.
    let delete = json!({ "service": "web", "force": true });
    client.call("DeleteService", delete).await.unwrap();
    let none = async {
        while !engine.containers(false).await.unwrap().is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, none).await.expect("a container of no task runs");
}

/// An image of the sample's files, and these labels.
async fn forge_image(engine: &EngineApi, archive: &Bytes, labels: &BTreeMap<String, String>) {
    let label = |(name, value): (&String, &String)| {
        format!("LABEL {name}={}", serde_json::to_string(value).unwrap())
    };
    let changes = SAMPLE_CHANGES.map(str::to_owned).into_iter().chain(labels.iter().map(label));
    let changes: String =
        changes.map(|change| format!("&changes={}", percent_encoded(&change))).collect();
    let target = format!("/images/create?fromSrc=-&repo=forged&tag=1{changes}");
    engine.call(Method::POST, &target, "application/x-tar", archive.clone()).await.unwrap();
}

fn lose_ledger(fleet: &Fleet) {
    let mut lost = 0;
    for entry in fs_err::read_dir(fleet.hosts[0].agent_folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ledger.sqlite"))
        {
            fs_err::remove_file(path).unwrap();
            lost += 1;
        }
    }
    assert!(lost > 0, "there was no ledger to lose");
}

#[tokio::test]
async fn without_its_ledger_a_host_runs_no_init_again_and_believes_no_image() {
    let agent_arguments = vec!["--task-cleanup-wait=1s".to_owned()];
    let settings = FleetSettings { hosts: 1, record: true, agent_arguments, ..Default::default() };
    let mut fleet = Fleet::start(settings).await.unwrap();
    let client = fleet.ecs().unwrap();
    let engine = fleet.hosts[0].engine().unwrap();
    let container = |name: &str, more: Value| {
        let mut one = scripted("", "echo once; exit 0", more)["containerDefinitions"][0].clone();
        one["name"] = json!(name);
        one
    };
    let after = json!([{ "containerName": "init", "condition": "SUCCESS" }]);
    let app = json!({ "dependsOn": after, "command": SLEEPER });
    let definition = json!({ "family": "web", "containerDefinitions": [
        container("init", json!({ "essential": false })), container("app", app),
    ] });
    let task = begin(&client, definition).await;
    reached(&client, &task, "RUNNING").await;

    progress("an image says to be the running container's task's");
    let [app] = &engine.containers(false).await.unwrap()[..] else { panic!("one runs") };
    let mut labels = app.labels.clone();
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let outside = folder.path().join("outside");
    fs_err::create_dir(&outside).unwrap();
    labels.insert("longshore.task-volumes".to_owned(), "precious".to_owned());
    labels.insert("longshore.task-group".to_owned(), format!("../../..{}", outside.display()));
    let victim = json!({ "group": "/ecs/victim", "stream": "s" }).to_string();
    labels.insert("longshore.awslogs".to_owned(), victim);
    forge_image(&engine, &sample_archive(folder.path()).unwrap(), &labels).await;
    engine.post("/volumes/create", json!({ "Name": "precious" })).await.unwrap();
    let command = ["/bin/sh", "-c", "echo forged; trap 'exit 0' TERM; sleep 100000 & wait"];
    engine.run("forger", json!({ "Image": "forged:1", "Cmd": command })).await.unwrap();
    // A task of that image logs where its definition says: nowhere.
    let silent = scripted("silent", "echo forged; exit 0", json!({ "image": "forged:1" }));
    let silent = begin(&client, silent).await;
    reached(&client, &silent, "STOPPED").await;
    let before = lives(&fleet).await;
    assert_eq!(before.len(), 2);

    progress("the ledger and the stopped containers are lost");
    fleet.kill_agent(0).await.unwrap();
    engine.post("/containers/prune", Value::Null).await.unwrap();
    lose_ledger(&fleet);
    fleet.hosts[0].proxy.as_ref().unwrap().clear();
    fleet.start_agent(0).await.unwrap();
    fleet.all_connected().await.unwrap();
    let next = begin(&client, scripted("next", "exit 0", json!({}))).await;
    reached(&client, &next, "STOPPED").await;
    reached(&client, &task, "RUNNING").await;
    assert_eq!(lives(&fleet).await, before);
    let proxy = fleet.hosts[0].proxy.as_ref().unwrap();
    let creates = proxy
        .calls()
        .into_iter()
        .filter(|call| call.kind() == Some(CallKind::Create))
        .collect::<Vec<_>>();
    let [only] = &creates[..] else { panic!("made besides the next task's: {creates:?}") };
    assert!(only.path.contains("ecs-next-1-app-"), "{only:?}");

    progress("its task ends, and what is others' stays");
    engine.post(&format!("/containers/{}/kill", app.id), Value::Null).await.unwrap();
    let ended = reached(&client, &task, "STOPPED").await;
    let code = |name: &str| {
        let containers = ended["containers"].as_array().unwrap();
        containers.iter().find(|one| one["name"] == json!(name)).unwrap()["exitCode"].clone()
    };
    assert_eq!((code("init"), code("app")), (json!(0), json!(137)), "{ended:#}");
    let cleaned = async {
        while engine.get(&format!("/containers/{}/json", app.id)).await.is_ok() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, cleaned).await.expect("the task's container stays");
    let [forger] = &engine.containers(false).await.unwrap()[..] else { panic!("one is others'") };
    assert_eq!(forger.names, ["/forger"]);
    engine.get("/volumes/precious").await.unwrap();
    assert!(outside.is_dir());
    let filter = json!({ "logGroupName": "/ecs/victim" });
    let read = client.logs().call("FilterLogEvents", filter).await;
    let lines = read.map(|read| read["events"].clone());
    assert!(lines.is_err() || lines.as_ref().unwrap() == &json!([]), "{lines:?}");
    assert!(engine.has_image(SAMPLE_IMAGE).await.unwrap());
}
