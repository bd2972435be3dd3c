//! The engine in memory and real log files, followed while a listing is on its way.

use std::{collections::BTreeMap, fs, io::Write, path::Path};

use longshore_common::{
    clock::{SystemClock, Timestamp},
    logs::store::{Durability, Keep, LogStore},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    engine::plan::sample::{KEY, rules},
    logs::{follower, stored},
    runtime::fake::{Behaviour, FakeRuntime, Fault, Verb},
    task::names::docker_name,
};

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A container of ours that logs by `awslogs`.
fn logged() -> (String, ContainerConfig) {
    let owner = labels::owner(rules().host);
    let label = |name: &str, value: String| (name.to_owned(), value);
    let labels = BTreeMap::from([
        (owner.name, owner.value),
        label("longshore.task", KEY.task.to_string()),
        label("longshore.generation", KEY.generation.to_string()),
        label("com.amazonaws.ecs.task-definition-family", "web".to_owned()),
        label("com.amazonaws.ecs.task-definition-version", "3".to_owned()),
        label("com.amazonaws.ecs.container-name", "app".to_owned()),
        label("longshore.awslogs", r#"{"group":"g","stream":"s"}"#.to_owned()),
    ]);
    let config = ContainerConfig { image: "web:1".to_owned(), labels, ..Default::default() };
    (docker_name("web", 3, "app", KEY), config)
}

/// As Docker's `json-file` writes it.
fn write(folder: &Path, id: &str, line: &str) {
    let path = folder.join(format!("{id}-json.log"));
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    let record =
        serde_json::json!({ "log": line, "stream": "stdout", "time": "2026-01-02T03:04:05Z" });
    writeln!(file, "{record}").unwrap();
}

async fn until_stored(store: &mut LogStore, lines: &[&str]) {
    let waiting = async {
        while stored::messages(store).len() < lines.len() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert_eq!(stored::messages(store), lines, "{waited:?}");
}

#[tokio::test]
async fn listing_that_began_before_a_container_was_made_ends_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs.sqlite");
    let clock = Arc::new(SystemClock::start());
    let keep = Keep { age: Duration::from_secs(1 << 40), bytes: 1 << 30 };
    let shutdown = CancellationToken::new();
    let (follows, following) = follower::start(path.clone(), keep, clock.clone(), shutdown.clone());
    let following = tokio::spawn(following);
    let fake = FakeRuntime::new(clock);
    fake.add_image("web:1", Behaviour::default());
    fake.keep_logs_in(folder.path());
    let engine = Arc::new(LoggedRuntime::new(fake.clone(), follows));
    let owner = labels::owner(rules().host);
    let mut events = engine.events(&owner, Timestamp(0)).await.unwrap();
    tokio::spawn(async move { while events.next().await.is_some() {} });

    let released = Arc::new(Notify::new());
    fake.fail_next(Verb::List, Fault::ReplyHeld(released.clone()));
    let listing = tokio::spawn({
        let (engine, owner) = (engine.clone(), owner.clone());
        async move { engine.list(&owner).await }
    });
    while fake.count(Verb::List) == 0 {
        tokio::task::yield_now().await;
    }
    let (name, config) = logged();
    let id = engine.create(&name, &config).await.unwrap();
    engine.start(&id, None).await.unwrap();
    write(folder.path(), &id, "first\n");
    let mut store = LogStore::open(&path, Durability::WithItsSource).unwrap();
    until_stored(&mut store, &["first"]).await;

    released.notify_one();
    assert!(listing.await.unwrap().unwrap().is_empty());
    write(folder.path(), &id, "second\n");
    until_stored(&mut store, &["first", "second"]).await;

    // A later listing shows whether it is there.
    assert_eq!(engine.list(&owner).await.unwrap().len(), 1);
    write(folder.path(), &id, "third\n");
    until_stored(&mut store, &["first", "second", "third"]).await;
    fake.remove_outside(&id);
    assert!(engine.list(&owner).await.unwrap().is_empty());
    let forgotten = async {
        while !store.sources().unwrap().is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, forgotten).await.expect("its cursor is forgotten");
    shutdown.cancel();
    following.await.unwrap();
}
