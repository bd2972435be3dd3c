//! Mounts of the host's files, made by the helper: as its unit runs it, with links that tasks plant,
//! and every way out at once in short.

#[path = "mounts/socket.rs"]
mod socket;

use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

use longshore_harness::{
    binaries::{self, binary},
    ecs::EcsClient,
    fleet::{Fleet, FleetSettings},
    image::SAMPLE_IMAGE,
    process::{Launch, Process},
};
use longshore_tests::campaign::Escapes;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
/// Of the campaign's.
const RECIPES: usize = 27;
const DEFINITIONS: usize = 0;
const SEED: u64 = 1;
/// What longshore-agent-volumes.service leaves of root's rights.
const CAPABILITIES: &str = "-all,+sys_admin,+dac_override,+chown,+fowner,+fsetid";

/// The task's `stoppedReason` and the last lines of its container.
async fn run(client: &EcsClient, family: &str, volume: Value, script: &str) -> (String, String) {
    let mut volume = volume;
    volume["name"] = json!("v");
    let mut container = json!({
        "name": "app", "image": SAMPLE_IMAGE, "memory": 16, "command": ["/bin/sh", "-c", script],
        "mountPoints": [{ "sourceVolume": "v", "containerPath": "/v" }],
    });
    if family.starts_with("point") {
        container["user"] = json!("1000:1000");
    }
    let definition =
        json!({ "family": family, "containerDefinitions": [container], "volumes": [volume] });
    client.call("RegisterTaskDefinition", definition).await.unwrap();
    let ran = client.call("RunTask", json!({ "taskDefinition": family })).await.unwrap();
    let task = ran["tasks"][0]["taskArn"].clone();
    let stopped = |shown: &Value| {
        let task = &shown["tasks"][0];
        (task["lastStatus"] == json!("STOPPED")).then(|| task.clone())
    };
    let describe = json!({ "tasks": [task] });
    let task = client.eventually("DescribeTasks", describe, PATIENCE, stopped).await.unwrap();
    let said = &task["attachments"][0]["details"][0]["value"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&task["stoppedReason"]), text(said))
}

fn efs(root: &str) -> Value {
    json!({ "efsVolumeConfiguration": { "fileSystemId": "fs-1", "rootDirectory": root } })
}

fn point(id: &str) -> Value {
    json!({ "efsVolumeConfiguration": { "fileSystemId": "fs-1", "transitEncryption": "ENABLED",
        "authorizationConfig": { "accessPointId": id } } })
}

fn host(path: &Path) -> Value {
    json!({ "host": { "sourcePath": path } })
}

/// The helper with the capabilities of its unit, and no others.
async fn helper(folder: &Path, socket: &Path, settings: &[String]) -> Process {
    let program = binary(binaries::AGENT).unwrap().display().to_string();
    let mut arguments = vec![
        "-c".to_owned(),
        // With the unit's UMask= too.
        "umask 077; exec setpriv \"$@\"".to_owned(),
        "sh".to_owned(),
        format!("--bounding-set={CAPABILITIES}"),
        program,
        "volumes".to_owned(),
        "--coordinator=127.0.0.1:1".to_owned(),
        format!("--volumes-socket={}", socket.display()),
    ];
    arguments.extend(settings.iter().cloned());
    let launch = Launch {
        name: "volumes".to_owned(),
        program: "sh".into(),
        arguments,
        environment: Vec::new(),
        host: None,
        folder,
        notifies: true,
        echo: None,
    };
    Process::start(launch).await.unwrap()
}

/// Unmounts what is left of a test that failed, before its folder is removed with all below it.
struct Unmounted(tempfile::TempDir);

impl Drop for Unmounted {
    fn drop(&mut self) {
        let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let below = format!("{}/", self.0.path().display());
        for at in table.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
            if at.starts_with(&below) {
                let _ = std::process::Command::new("umount").args(["-l", at]).status();
            }
        }
    }
}

fn mounts_below(folder: &Path) -> usize {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let below = format!("{}/", folder.display());
    table.lines().filter_map(|l| l.split(' ').nth(1)).filter(|at| at.starts_with(&below)).count()
}

#[tokio::test]
async fn the_units_helper_mounts_what_is_allowed_and_no_link_of_a_task() {
    let folder = Unmounted(tempfile::tempdir_in("/var/tmp").unwrap());
    let place = |name: &str| folder.0.path().join(name);
    for directory in ["efs", "srv", "helper", "outside"] {
        fs_err::create_dir_all(place(directory)).unwrap();
    }
    fs_err::write(place("srv/file"), "as it is\n").unwrap();
    fs_err::write(place("outside/secret"), "secret\n").unwrap();
    let points = "fs-1/app=/points/app:1000:1000:0750,fs-1/planted=/planted:1000:1000,fs-1/team=/team:1000:1000:2770";
    let settings = vec![
        format!("--efs=fs-1={},{points}", place("efs").display()),
        format!("--bind-roots={}", place("srv").display()),
        "--forbid=docker-socket".to_owned(),
    ];
    let socket = place("helper/socket");
    let mut first = Some(helper(folder.0.path(), &socket, &settings).await);
    let mut agent_arguments = settings.clone();
    agent_arguments.push(format!("--volumes-socket={}", socket.display()));
    agent_arguments.push("--task-cleanup-wait=1s".to_owned());
    let settings_of_fleet = FleetSettings { hosts: 1, agent_arguments, ..Default::default() };
    let fleet = Fleet::start(settings_of_fleet).await.unwrap();
    let client = fleet.ecs().unwrap();

    let ok = "Essential container in task exited";
    let plant =
        format!("ln -s / /v/evil; ln -s {} /v/planted; echo done", place("outside").display());
    let plant = plant.replace("ln -s", "/bin/busybox ln -s");
    assert_eq!(run(&client, "plant", efs("/"), &plant).await, (ok.to_owned(), "done".to_owned()));
    assert!(place("efs/evil").is_symlink() && place("efs/planted").is_symlink());
    for (family, volume) in [
        ("evil", efs("/evil")),
        ("evil-etc", efs("/evil/etc")),
        ("planted-root", efs("/planted")),
        ("point-planted", point("planted")),
    ] {
        let (reason, said) = run(&client, family, volume, "ls /v").await;
        assert!(reason.starts_with("ResourceInitializationError: openat2 "), "{family}: {reason}");
        assert!(reason.contains("link") && said.is_empty(), "{family}: {reason} {said}");
    }
    let listing = "id -u > /v/mine; /bin/busybox stat -c '%u:%g %a' /v";
    let (reason, said) = run(&client, "point", point("app"), listing).await;
    assert_eq!((reason.as_str(), said.as_str()), (ok, "1000:1000 750"));
    let mode = "/bin/busybox stat -c '%u:%g %a' /v";
    let (reason, said) = run(&client, "point-team", point("team"), mode).await;
    assert_eq!((reason.as_str(), said.as_str()), (ok, "1000:1000 2770"));
    let (reason, said) = run(&client, "another", point("app"), "ls /v").await;
    assert!(reason.contains("set the container's user to 1000:1000"), "{reason}");
    assert!(said.is_empty(), "{said}");
    let (reason, said) = run(&client, "file", host(&place("srv/file")), "cat /v").await;
    assert_eq!((reason.as_str(), said.as_str()), (ok, "as it is"));

    // The helper's restart loses nothing, and a task that starts meanwhile waits for it.
    first.take().unwrap().kill().await.unwrap();
    let made = host(&place("srv/made/here"));
    let (began, _second) = tokio::join!(run(&client, "made", made, "echo x > /v/x"), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        helper(folder.0.path(), &socket, &settings).await
    });
    assert_eq!(began.0, ok);
    assert!(place("srv/made/here/x").is_file());
    let mode = fs_err::metadata(place("srv/made/here")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "as Docker makes it");
    let refused = run(&client, "outside", host(&place("outside")), "ls /v").await.0;
    assert!(refused.starts_with("HostConfigError: the operator of this host"), "{refused}");

    // What was mounted goes with the tasks, but for the ground that it stands on.
    let released = async {
        while mounts_below(&place("helper")) > 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, released).await.expect("mounts of tasks that are gone remain");
}

#[tokio::test]
async fn no_recipe_gets_around_a_policy() {
    Escapes::of(RECIPES, DEFINITIONS, SEED).run().await.unwrap().judge().unwrap();
}
