//! The files in which Docker keeps what a container writes: lines that it cuts, files that it renames
//! when they are full, and those of containers that an earlier agent made.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use longshore_harness::{
    ecs::EcsClient,
    engine_api::EngineApi,
    fleet::{Fleet, FleetSettings},
};
use longshore_tests::figures::progress;
use serde_json::{Value, json};

use crate::{
    definition::{begin, reached, scripted},
    logs::{COUNTER, awslogs, messages, until_written},
};

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Characters of every length that UTF-8 has.
const CHARACTERS: &str = "é€𝄞z";
const MB: u64 = 1_000_000;

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not so: {what}"));
}

/// The only container that runs or ran.
async fn only_container(engine: &EngineApi) -> String {
    let listed = engine.containers(true).await.unwrap();
    let [container] = &listed[..] else { panic!("one container: {listed:#?}") };
    container.id.clone()
}

/// What `docker logs` prints of its standard output.
async fn shown_by_docker(engine: &EngineApi, container: &str) -> Vec<u8> {
    let path = format!("/containers/{container}/logs?stdout=1");
    let body = engine.get(&path).await.unwrap().body;
    let (mut rest, mut shown) = (&body[..], Vec::new());
    // Each piece has a head of eight bytes, of which the last four are its length.
    while let Some((head, behind)) = rest.split_at_checked(8) {
        let length = u32::from_be_bytes(head[4..].try_into().unwrap()) as usize;
        let (piece, behind) = behind.split_at(length);
        shown.extend_from_slice(piece);
        rest = behind;
    }
    shown
}

/// All of one stream, as GetLogEvents has it.
async fn stream(client: &EcsClient, group: &str, stream: &str) -> Vec<String> {
    let (mut got, mut token) = (Vec::new(), Value::Null);
    loop {
        let input = json!({
            "logGroupName": group, "logStreamName": stream, "startFromHead": true,
            "nextToken": token,
        });
        let page = client.call("GetLogEvents", input).await.unwrap();
        let events = page["events"].as_array().unwrap();
        got.extend(events.iter().map(|event| event["message"].as_str().unwrap().to_owned()));
        if page["nextForwardToken"] == token {
            return got;
        }
        token = page["nextForwardToken"].clone();
    }
}

/// Docker cuts lines every 16 KiB: each of these lines elsewhere within the characters.
#[tokio::test]
async fn long_lines_of_any_characters_arrive_byte_for_byte() {
    let fleet = Fleet::start(FleetSettings { hosts: 1, ..Default::default() }).await.unwrap();
    let client = fleet.ecs().unwrap();
    let script = format!(
        "y={CHARACTERS}; for k in 1 2 3 4 5 6 7 8 9 10 11 12 13; do y=$y$y; done; \
         p=; for n in 0 1 2 3 4 5 6 7 8 9; do echo $p$y; p=a$p; done"
    );
    let lines: Vec<String> = (0..CHARACTERS.len())
        .map(|shift| "a".repeat(shift) + &CHARACTERS.repeat(1 << 13))
        .collect();
    let log = json!({ "logConfiguration": awslogs("/ecs/long", json!({})) });
    let task = begin(&client, scripted("long", &script, log)).await;
    reached(&client, &task, "STOPPED").await;
    let (logs, id) = (client.logs(), task.rsplit('/').next().unwrap());
    let name = format!("test/app/{id}");
    until_written(&logs, "/ecs/long", 1).await;
    eventually("every line is stored", async || {
        messages(&logs, "/ecs/long").await.len() >= lines.len()
    })
    .await;
    // Not compared by assert_eq, which would print megabytes.
    let got = stream(&logs, "/ecs/long", &name).await;
    assert_eq!(got.len(), lines.len());
    for (number, (got, line)) in got.iter().zip(&lines).enumerate() {
        let wrong = got.bytes().zip(line.bytes()).position(|(got, written)| got != written);
        assert_eq!((got.len(), wrong), (line.len(), None), "line {number}");
    }
    let engine = fleet.hosts[0].engine().unwrap();
    let shown = shown_by_docker(&engine, &only_container(&engine).await).await;
    // Docker 20.10 shows a line that it cut without its newline.
    let shown: Vec<u8> = shown.into_iter().filter(|byte| *byte != b'\n').collect();
    let written = lines.concat();
    assert!(shown == written.as_bytes(), "docker logs: {} of {}", shown.len(), written.len());
}

/// Twenty megabytes fill the first of Docker's files; the agent is killed before, while and after.
#[tokio::test]
async fn lines_go_on_over_full_files_and_restarts_of_the_agent() {
    const LINES: usize = 1400;
    let mut fleet = Fleet::start(FleetSettings { hosts: 1, ..Default::default() }).await.unwrap();
    let client = fleet.ecs().unwrap();
    let script = format!(
        "y={CHARACTERS}; for k in 1 2 3 4 5 6 7 8 9 10 11; do y=$y$y; done; i=0; \
         while [ $i -lt {LINES} ]; do echo $i $y; i=$((i+1)); sleep 0.005; done"
    );
    let log = json!({ "logConfiguration": awslogs("/ecs/much", json!({})) });
    let task = begin(&client, scripted("much", &script, log)).await;
    reached(&client, &task, "RUNNING").await;
    let container = only_container(&fleet.hosts[0].engine().unwrap()).await;
    let folder = fleet.hosts[0].engine_data().join("containers").join(container);
    let folder = folder.join("local-logs");
    let written = || {
        let size = |name| fs::metadata(folder.join(name)).map_or(0, |file| file.len());
        size("container.log") + size("container.log.1")
    };
    for megabytes in [2, 10, 19, 22] {
        eventually("so much is written", async || written() >= megabytes * MB).await;
        progress(&format!("the agent is killed after {megabytes} MB"));
        fleet.kill_agent(0).await.unwrap();
        eventually("more is written", async || written() >= (megabytes + 2) * MB).await;
        fleet.start_agent(0).await.unwrap();
    }
    fleet.all_connected().await.unwrap();
    reached(&client, &task, "STOPPED").await;
    assert!(folder.join("container.log.1").exists(), "no file was full");
    let logs = client.logs();
    until_written(&logs, "/ecs/much", 1).await;
    let mut got = Vec::new();
    eventually("the last line is stored", async || {
        got = messages(&logs, "/ecs/much").await;
        got.len() >= LINES
    })
    .await;
    let text = CHARACTERS.repeat(1 << 11);
    let wrong: Vec<usize> =
        (0..got.len()).filter(|number| got[*number] != format!("{number} {text}")).collect();
    assert_eq!((got.len(), &wrong[..]), (LINES, &[][..]));
}

/// Earlier agents made such containers with Docker's `json-file`.
#[tokio::test]
async fn logs_of_containers_that_an_earlier_agent_made_go_on() {
    let settings = FleetSettings { hosts: 1, record: true, ..Default::default() };
    let mut fleet = Fleet::start(settings).await.unwrap();
    let client = fleet.ecs().unwrap();
    let proxy = fleet.hosts[0].proxy.as_ref().unwrap();
    proxy.change_creates(Arc::new(|_: &str, body: &mut Value| {
        body["HostConfig"]["LogConfig"]["Type"] = json!("json-file");
    }));
    let log = json!({ "logConfiguration": awslogs("/ecs/earlier", json!({})) });
    let task = begin(&client, scripted("earlier", COUNTER, log)).await;
    reached(&client, &task, "RUNNING").await;
    let engine = fleet.hosts[0].engine().unwrap();
    let container = only_container(&engine).await;
    let shown = engine.get_json(&format!("/containers/{container}/json")).await.unwrap();
    let path = PathBuf::from(shown["LogPath"].as_str().unwrap());
    assert!(path.display().to_string().ends_with("-json.log"), "{path:?}");
    let logs = client.logs();
    until_written(&logs, "/ecs/earlier", 20).await;

    progress("the next agent");
    fleet.kill_agent(0).await.unwrap();
    fleet.hosts[0].proxy.as_ref().unwrap().change_no_creates();
    fleet.start_agent(0).await.unwrap();
    fleet.all_connected().await.unwrap();
    until_written(&logs, "/ecs/earlier", 60).await;
    let log = json!({ "logConfiguration": awslogs("/ecs/later", json!({})) });
    let later = begin(&client, scripted("later", COUNTER, log)).await;
    until_written(&logs, "/ecs/later", 20).await;
    for (task, group) in [(&task, "/ecs/earlier"), (&later, "/ecs/later")] {
        client.call("StopTask", json!({ "task": task })).await.unwrap();
        reached(&client, task, "STOPPED").await;
        let mut seen = Vec::new();
        eventually("the last line is stored", async || {
            seen = messages(&logs, group).await;
            seen.last().is_some_and(|last| last.starts_with("end "))
        })
        .await;
        seen.pop();
        let expected: Vec<String> = (0..seen.len()).map(|i| format!("line {i}")).collect();
        assert_eq!(seen, expected, "{group}");
    }
    let drivers = async |id: &str| {
        let shown = engine.get_json(&format!("/containers/{id}/json")).await.unwrap();
        shown["HostConfig"]["LogConfig"]["Type"].as_str().unwrap().to_owned()
    };
    let mut used = Vec::new();
    for listed in engine.containers(true).await.unwrap() {
        used.push(drivers(&listed.id).await);
    }
    used.sort();
    assert_eq!(used, ["json-file", "local"]);
}
