//! What a host needs fails or hangs: its disk, a login helper, a mount, many stops at once. All else
//! goes on.

use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

use longshore_harness::{
    command::run,
    engine_api::EngineApi,
    fleet::{Fleet, FleetSettings},
    image::sample_archive,
    process::{Launch, Process},
    recording_proxy::{CallKind, RecordingProxy},
    registry::Registry,
};
use longshore_tests::figures::progress;
use serde_json::{Value, json};

use crate::definition::{SLEEPER, begin, begin_again, lives, reached, scripted};

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const DISKS_MIB: u32 = 80;
/// More than the pulls of one registry, and than the threads that logins from files have.
const HUNG_LOGINS: usize = 12;
/// More than the threads that the agent has for files of tasks.
const HUNG_MOUNTS: usize = 6;
const SLOW_STOPS: usize = 64;

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not so: {what}"));
}

/// Writes until nothing fits any more, not a byte.
fn fill(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("filler");
    let mut file = fs_err::File::create(&path).unwrap();
    for size in [1 << 20, 4096, 1] {
        let block = vec![0; size];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
    }
    path
}

/// What the agent that runs now has said of containers and tasks: each change is news once.
fn said_of(fleet: &Fleet, words: &[&str]) -> Vec<String> {
    let log = fleet.hosts[0].agent.as_ref().unwrap().log().lines();
    let told = log.iter().filter(|line| words.iter().any(|word| line.contains(word)));
    told.map(|line| line.to_string()).collect()
}

#[tokio::test]
async fn an_agent_on_a_full_disk_lives_restarts_reports_and_cleans_up() {
    let settings = FleetSettings {
        hosts: 1,
        disks_mib: Some(DISKS_MIB),
        agent_arguments: vec!["--disk-floor=1".to_owned()],
        ..Default::default()
    };
    let mut fleet = Fleet::start(settings).await.unwrap();
    let client = fleet.ecs().unwrap();
    let engine = fleet.hosts[0].engine().unwrap();
    let first = begin(&client, scripted("web", SLEEPER[2], json!({}))).await;
    let second = begin_again(&client, "web").await;
    for task in [&first, &second] {
        reached(&client, task, "RUNNING").await;
    }
    let short = begin(&client, scripted("short", "exit 0", json!({}))).await;
    reached(&client, &short, "STOPPED").await;
    for _ in 0..2 {
        let short = begin_again(&client, "short").await;
        reached(&client, &short, "STOPPED").await;
    }
    assert_eq!(engine.containers(true).await.unwrap().len(), 5);
    let before = lives(&fleet).await;
    assert_eq!(before.len(), 2);

    progress("the agent's disk is full");
    let filler = fill(&fleet.hosts[0].agent_folder());
    eventually("stopped containers but the newest are removed", async || {
        engine.containers(true).await.unwrap().len() <= 3
    })
    .await;
    for _ in 0..2 {
        fleet.kill_agent(0).await.unwrap();
        fleet.start_agent(0).await.unwrap();
        fleet.all_connected().await.unwrap();
        reached(&client, &second, "RUNNING").await;
        assert_eq!(lives(&fleet).await, before);
        // What was known is no news to the next agent.
        let told = said_of(&fleet, &["container running", "task RUNNING", "task ACTIVATING"]);
        assert!(told.is_empty(), "{told:#?}");
    }
    let (ended, _) = before.iter().find(|(_, life)| life.task == first).unwrap();
    engine.post(&format!("/containers/{ended}/kill"), Value::Null).await.unwrap();
    let shown = reached(&client, &first, "STOPPED").await;
    assert_eq!(shown["containers"][0]["exitCode"], json!(137));
    client.call("StopTask", json!({ "task": second })).await.unwrap();
    let shown = reached(&client, &second, "STOPPED").await;
    assert_eq!(shown["stopCode"], "UserInitiated");
    assert!(lives(&fleet).await.is_empty());
    let refused = client.call("RunTask", json!({ "taskDefinition": "web" })).await.unwrap();
    let detail = refused["failures"][0]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("has no room for new tasks on its disks"), "{refused}");

    progress("there is room again");
    fs_err::remove_file(filler).unwrap();
    eventually("new tasks run", async || {
        let ran = client.call("RunTask", json!({ "taskDefinition": "web" })).await.unwrap();
        let Some(task) = ran["tasks"][0]["taskArn"].as_str() else { return false };
        let running = |shown: &Value| {
            let status = shown["tasks"][0]["lastStatus"].as_str()?;
            ["RUNNING", "STOPPED"].contains(&status).then(|| status == "RUNNING")
        };
        let describe = json!({ "tasks": [task] });
        client.eventually("DescribeTasks", describe, PATIENCE, running).await.unwrap()
    })
    .await;
}

/// Programs in a folder of their own, which hang and say so in a file.
struct HungHelper(tempfile::TempDir);

impl HungHelper {
    fn new() -> HungHelper {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let program = folder.path().join("docker-credential-hang");
        let asked = folder.path().join("asked");
        // One that outlives its agent ends with its folder.
        let asked = asked.display();
        let script =
            format!("#!/bin/sh\necho asked >> {asked}\nwhile [ -e {asked} ]; do sleep 1; done\n");
        fs_err::write(&program, script).unwrap();
        fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let of_registry = |number| (registry_of(number), json!("hang"));
        let helpers: serde_json::Map<String, Value> = (0..HUNG_LOGINS).map(of_registry).collect();
        let config = json!({ "credHelpers": helpers }).to_string();
        fs_err::write(folder.path().join("config.json"), config).unwrap();
        HungHelper(folder)
    }

    fn config(&self) -> String {
        self.0.path().join("config.json").display().to_string()
    }

    fn path(&self) -> String {
        let usual = std::env::var("PATH").unwrap_or_default();
        format!("{}:{usual}", self.0.path().display())
    }

    fn asked(&self) -> usize {
        let asked = fs_err::read_to_string(self.0.path().join("asked")).unwrap_or_default();
        asked.lines().count()
    }
}

/// Nobody is there, and nobody gets as far as to ask.
fn registry_of(number: usize) -> String {
    format!("127.0.0.1:{}", 7000 + number)
}

#[tokio::test]
async fn hung_login_helpers_hold_up_no_other_pull_no_stop_and_no_ledger() {
    let helper = HungHelper::new();
    let settings = FleetSettings {
        hosts: 1,
        agent_arguments: vec![format!("--docker-config={}", helper.config())],
        agent_environment: vec![("PATH".to_owned(), helper.path())],
        ..Default::default()
    };
    let mut fleet = Fleet::start(settings).await.unwrap();
    let client = fleet.ecs().unwrap();
    let registry = Registry::start(fleet.gateway()).await.unwrap();
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let image = registry.publish("good", &[sample_archive(folder.path()).unwrap()]);
    let mut hung = Vec::new();
    for number in 0..HUNG_LOGINS {
        let more = json!({ "image": format!("{}/app:1", registry_of(number)) });
        let definition = scripted(&format!("hung{number}"), "exit 0", more);
        hung.push(begin(&client, definition).await);
    }
    eventually("each helper is asked", async || helper.asked() >= HUNG_LOGINS).await;

    let good = begin(&client, scripted("good", SLEEPER[2], json!({ "image": image }))).await;
    reached(&client, &good, "RUNNING").await;
    client.call("StopTask", json!({ "task": hung[0] })).await.unwrap();
    reached(&client, &hung[0], "STOPPED").await;
    let before = lives(&fleet).await;
    // What was ordered meanwhile is in the ledger.
    fleet.kill_agent(0).await.unwrap();
    fleet.start_agent(0).await.unwrap();
    fleet.all_connected().await.unwrap();
    eventually("they are asked again", async || helper.asked() >= 2 * HUNG_LOGINS - 1).await;
    let again = begin_again(&client, "good").await;
    reached(&client, &again, "RUNNING").await;
    let describe = json!({ "tasks": hung[1..] });
    let shown = client.call("DescribeTasks", describe).await.unwrap();
    for task in shown["tasks"].as_array().unwrap() {
        assert_eq!(task["containers"][0]["lastStatus"], json!("PENDING"), "{task:#}");
    }
    let after = lives(&fleet).await;
    assert!(before.iter().all(|(id, life)| after.get(id) == Some(life)), "{before:?} {after:?}");
}

/// A file system of the kernel whose server never answers: whoever touches it waits in the kernel, as
/// on a hard NFS mount whose server is gone, which takes a kernel with NFS.
struct HungMount {
    server: Option<Process>,
    at: tempfile::TempDir,
}

impl HungMount {
    async fn new() -> HungMount {
        let at = tempfile::tempdir_in("/var/tmp").unwrap();
        let place = at.path().join("efs");
        fs_err::create_dir(&place).unwrap();
        let script = "exec 3<>/dev/fuse && mount -i -t fuse \
                      -o fd=3,rootmode=40000,user_id=0,group_id=0,allow_other hung \"$1\" && \
                      echo mounted && exec sleep 100000";
        let launch = Launch {
            name: "hung".to_owned(),
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into(), "sh".into(), place.display().to_string()],
            environment: Vec::new(),
            host: None,
            folder: at.path(),
            notifies: false,
            echo: None,
        };
        let server = Process::spawn(launch).await.unwrap();
        let mounted = |line: &str| (line == "mounted").then_some(());
        server.log().wait_for(0, PATIENCE, mounted).await.unwrap();
        HungMount { server: Some(server), at }
    }

    fn place(&self) -> String {
        self.at.path().join("efs").display().to_string()
    }

    /// Whoever waits gets an error.
    async fn end(&mut self) {
        self.server.take().unwrap().kill().await.unwrap();
    }
}

impl Drop for HungMount {
    fn drop(&mut self) {
        // Its connection ends with it.
        drop(self.server.take());
        let _ = run("umount", &["-l", &self.place()]);
    }
}

#[tokio::test]
async fn a_hung_mount_holds_up_its_own_tasks_only() {
    let mut hung = HungMount::new().await;
    let settings = FleetSettings {
        hosts: 1,
        agent_arguments: vec![format!("--efs=fs-1={}", hung.place())],
        ..Default::default()
    };
    let mut fleet = Fleet::start(settings).await.unwrap();
    let client = fleet.ecs().unwrap();
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    fs_err::write(folder.path().join("file"), "as it is").unwrap();
    let mounting = |family: &str, script: &str, volume: Value| {
        let mount = json!([{ "sourceVolume": "v", "containerPath": "/v" }]);
        let mut definition = scripted(family, script, json!({ "mountPoints": mount }));
        definition["volumes"] = json!([volume]);
        definition
    };
    let efs = json!({ "name": "v", "efsVolumeConfiguration": { "fileSystemId": "fs-1" } });
    let mut waiting = vec![begin(&client, mounting("hung", "ls /v", efs)).await];
    for _ in 1..HUNG_MOUNTS {
        waiting.push(begin_again(&client, "hung").await);
    }
    let plain = begin(&client, scripted("plain", SLEEPER[2], json!({}))).await;
    reached(&client, &plain, "RUNNING").await;
    let host = json!({ "name": "v", "host": { "sourcePath": folder.path() } });
    let other = begin(&client, mounting("other", "cat /v/file", host)).await;
    let ended = reached(&client, &other, "STOPPED").await;
    assert_eq!(ended["containers"][0]["exitCode"], json!(0), "{ended:#}");
    let before = lives(&fleet).await;
    fleet.kill_agent(0).await.unwrap();
    fleet.start_agent(0).await.unwrap();
    fleet.all_connected().await.unwrap();
    client.call("StopTask", json!({ "task": plain })).await.unwrap();
    reached(&client, &plain, "STOPPED").await;
    assert_eq!(before.len(), 1);
    let shown = client.call("DescribeTasks", json!({ "tasks": waiting })).await.unwrap();
    for task in shown["tasks"].as_array().unwrap() {
        assert_ne!(task["lastStatus"], json!("RUNNING"), "{task:#}");
    }
    hung.end().await;
    for task in &waiting {
        let task = reached(&client, task, "STOPPED").await;
        let reason = task["stoppedReason"].as_str().unwrap();
        assert!(reason.starts_with("ResourceInitializationError: "), "{reason}");
    }
}

async fn stops_under_way(proxy: &RecordingProxy) -> usize {
    let calls = proxy.calls();
    calls.iter().filter(|call| call.kind() == Some(CallKind::Stop)).count()
}

async fn running(engine: &EngineApi) -> usize {
    engine.containers(false).await.unwrap().len()
}

#[tokio::test]
async fn slow_stops_hold_up_no_start_no_exit_and_no_kill() {
    let settings = FleetSettings { hosts: 1, record: true, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    let client = fleet.ecs().unwrap();
    let engine = fleet.hosts[0].engine().unwrap();
    let deaf = "trap '' TERM; while true; do sleep 100000; done";
    let slow = |family: &str, seconds: u32| {
        let mut definition = scripted(family, deaf, json!({ "stopTimeout": seconds }));
        // Docker starts a container quickest in the host's network.
        definition["networkMode"] = json!("host");
        definition
    };
    client.call("RegisterTaskDefinition", slow("slow", 100)).await.unwrap();
    let mut tasks = Vec::new();
    while tasks.len() < SLOW_STOPS {
        let call = json!({ "taskDefinition": "slow", "count": 8 });
        let ran = client.call("RunTask", call).await.unwrap();
        tasks.extend(crate::definition::tasks_of(&ran));
    }
    let ends = begin(&client, scripted("ends", SLEEPER[2], json!({}))).await;
    let stubborn = begin(&client, slow("stubborn", 2)).await;
    for task in tasks.iter().chain([&ends, &stubborn]) {
        reached(&client, task, "RUNNING").await;
    }
    let of_ends = lives(&fleet).await.into_iter().find(|(_, life)| life.task == ends).unwrap().0;
    for task in &tasks {
        client.call("StopTask", json!({ "task": task })).await.unwrap();
    }
    let proxy = fleet.hosts[0].proxy.as_ref().unwrap();
    eventually("all are told to stop", async || stops_under_way(proxy).await >= SLOW_STOPS).await;

    let new = begin(&client, scripted("new", SLEEPER[2], json!({}))).await;
    reached(&client, &new, "RUNNING").await;
    engine.post(&format!("/containers/{of_ends}/kill?signal=TERM"), Value::Null).await.unwrap();
    let ended = reached(&client, &ends, "STOPPED").await;
    assert_eq!(ended["containers"][0]["exitCode"], json!(0), "{ended:#}");
    client.call("StopTask", json!({ "task": stubborn })).await.unwrap();
    let killed = reached(&client, &stubborn, "STOPPED").await;
    assert_eq!(killed["containers"][0]["exitCode"], json!(137), "{killed:#}");
    assert_eq!(
        running(&engine).await,
        SLOW_STOPS + 1,
        "all of that came while they were waited for"
    );
}
