//! What a container needs from outside of Docker, on a real engine: environment files, a mapped file
//! system, a login for its image, host ports in a row, and a router for its log.

use std::{
    io::Read,
    os::unix::{fs::MetadataExt, net::UnixListener},
    path::PathBuf,
    time::Duration,
};

use longshore_harness::{
    ecs::EcsClient,
    fleet::{Fleet, FleetSettings},
    image::{SAMPLE_IMAGE, sample_archive},
    registry::Registry,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::definition::wait;

const PATIENCE: Duration = Duration::from_secs(60);

async fn run(client: &EcsClient, definition: Value) -> [String; 1] {
    let family = definition["family"].clone();
    client.call("RegisterTaskDefinition", definition).await.unwrap();
    let ran = client.call("RunTask", json!({ "taskDefinition": family })).await.unwrap();
    assert_eq!(ran["failures"], json!([]), "{ran:#}");
    [ran["tasks"][0]["taskArn"].as_str().unwrap().to_owned()]
}

async fn described(client: &EcsClient, task: &[String]) -> Value {
    let described = client.call("DescribeTasks", json!({ "tasks": task })).await.unwrap();
    described["tasks"][0].clone()
}

fn container(name: &str, members: Value) -> Value {
    let mut container = json!({ "name": name, "image": SAMPLE_IMAGE, "memory": 16 });
    container.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    container
}

#[tokio::test]
async fn environment_files_and_a_mapped_file_system_reach_the_container() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let place = |name: &str| folder.path().join(name);
    for directory in ["objects/config", "efs/data"] {
        fs_err::create_dir_all(place(directory)).unwrap();
    }
    fs_err::write(place("objects/config/app.env"), "GREETING=hello\nOWN=file\n").unwrap();
    fs_err::write(place("efs/data/note"), "from the file system\n").unwrap();
    let agent_arguments = vec![
        "--container-metadata=true".to_owned(),
        format!("--s3={}", place("objects").display()),
        format!("--efs=fs-1={},fs-1/fsap-1=/points/app:1000:1000", place("efs").display()),
    ];
    let settings = FleetSettings { hosts: 1, agent_arguments, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    let client = fleet.ecs().unwrap();
    let script = "until /bin/busybox grep -q READY $ECS_CONTAINER_METADATA_FILE; do sleep 0.1; done; \
                  echo $GREETING $OWN; cat /data/note; echo kept > /point/file";
    let app = container(
        "app",
        json!({
            "command": ["/bin/sh", "-c", script],
            "environment": [{ "name": "OWN", "value": "definition" }],
            "environmentFiles": [{ "type": "s3", "value": "arn:aws:s3:::config/app.env" }],
            // As the access point's.
            "user": "1000:1000",
            "mountPoints": [
                { "sourceVolume": "data", "containerPath": "/data", "readOnly": true },
                { "sourceVolume": "point", "containerPath": "/point" },
            ],
        }),
    );
    let volumes = json!([
        { "name": "data",
          "efsVolumeConfiguration": { "fileSystemId": "fs-1", "rootDirectory": "/data" } },
        { "name": "point", "efsVolumeConfiguration": {
            "fileSystemId": "fs-1", "transitEncryption": "ENABLED",
            "authorizationConfig": { "accessPointId": "fsap-1" } } },
    ]);
    let definition = json!({ "family": "app", "containerDefinitions": [app], "volumes": volumes });
    let task = run(&client, definition).await;
    wait(&fleet.aws(), "tasks-stopped", &task).await;
    let task = described(&client, &task).await;
    assert_eq!(task["containers"][0]["exitCode"], json!(0), "{task:#}");
    let said = &task["attachments"][0]["details"][0]["value"];
    assert_eq!(*said, json!("hello definition\nfrom the file system"));
    let kept = fs_err::read_to_string(place("efs/points/app/file")).unwrap();
    assert_eq!(kept, "kept\n");

    let lost = container(
        "app",
        json!({ "environmentFiles": [{ "type": "s3", "value": "arn:aws:s3:::config/none.env" }] }),
    );
    let definition = json!({ "family": "lost", "containerDefinitions": [lost] });
    let task = run(&client, definition).await;
    wait(&fleet.aws(), "tasks-stopped", &task).await;
    let task = described(&client, &task).await;
    let reason = task["stoppedReason"].as_str().unwrap();
    let named = "ResourceInitializationError: arn:aws:s3:::config/none.env cannot be read: ";
    assert!(reason.starts_with(named), "{reason}");
}

#[tokio::test]
async fn a_private_image_is_pulled_by_the_login_of_its_secret() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let login = folder.path().join("ci.json");
    let agent_arguments = vec![format!("--repository-credentials=ci={}", login.display())];
    let settings = FleetSettings { hosts: 1, agent_arguments, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    let client = fleet.ecs().unwrap();
    // `ann:hunter2`.
    let registry = Registry::behind_login(fleet.gateway(), "YW5uOmh1bnRlcjI=").await.unwrap();
    let image = registry.publish("private", &[sample_archive(folder.path()).unwrap()]);
    let private = |secret: &str| {
        let members = json!({ "image": image, "command": ["/bin/true"],
            "repositoryCredentials": { "credentialsParameter": secret } });
        json!({ "family": "private", "containerDefinitions": [container("app", members)] })
    };
    let ended = async |secret: &str| {
        let task = run(&client, private(secret)).await;
        let stopped = |shown: &Value| {
            let task = &shown["tasks"][0];
            (task["lastStatus"] == json!("STOPPED")).then(|| task.clone())
        };
        let describe = json!({ "tasks": task });
        client.eventually("DescribeTasks", describe, PATIENCE, stopped).await.unwrap()
    };
    let arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:ci-a1B2c3";
    let reason = async |secret: &str| {
        ended(secret).await["stoppedReason"].as_str().unwrap_or_default().to_owned()
    };

    let unknown = reason("other").await;
    assert!(unknown.contains("secret other, which this host's setting"), "{unknown}");
    let missing = reason(arn).await;
    assert!(missing.starts_with("CannotPullContainerAuthError: the login for "), "{missing}");
    assert!(missing.contains("No such file"), "{missing}");
    fs_err::write(&login, r#"{"username":"ann","password":"hunter3"}"#).unwrap();
    let wrong = reason(arn).await;
    assert!(wrong.starts_with("CannotPullContainerError: "), "{wrong}");
    fs_err::write(&login, r#"{"username":"ann","password":"hunter2"}"#).unwrap();
    let task = ended(arn).await;
    assert_eq!(task["containers"][0]["exitCode"], json!(0), "{task:#}");
    let log = fleet.hosts[0].agent.as_ref().unwrap().log().lines();
    assert!(!log.iter().any(|line| line.contains("hunter")), "the log tells a password");
}

#[tokio::test]
async fn a_range_of_ports_is_bound_in_a_row_and_lines_reach_the_tasks_router() {
    let settings = FleetSettings { hosts: 1, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    let client = fleet.ecs().unwrap();
    let app = container(
        "app",
        json!({
            "command": ["/bin/sh", "-c", "while true; do echo a routed line; sleep 1; done"],
            "portMappings": [{ "containerPortRange": "9000-9003" }, { "containerPort": 80 }],
            "logConfiguration": { "logDriver": "awsfirelens", "options": { "Name": "stdout" } },
            "stopTimeout": 2,
        }),
    );
    // Not root: it reads its configuration, and makes its socket.
    let routes =
        "cat /fluent-bit/etc/fluent-bit.conf > /var/run/read; while true; do sleep 1; done";
    let router = container(
        "router",
        json!({ "command": ["/bin/sh", "-c", routes], "stopTimeout": 2, "user": "1000:1001",
            "firelensConfiguration": { "type": "fluentbit" } }),
    );
    let definition = json!({ "family": "app", "containerDefinitions": [app, router] });
    let task = run(&client, definition).await;
    wait(&fleet.aws(), "tasks-running", &task).await;

    let shown = described(&client, &task).await;
    let bindings = shown["containers"][0]["networkBindings"].as_array().unwrap();
    let range = bindings.iter().find(|b| b["containerPortRange"] == json!("9000-9003")).unwrap();
    let (first, last) = range["hostPortRange"].as_str().unwrap().split_once('-').unwrap();
    let width = last.parse::<u32>().unwrap() - first.parse::<u32>().unwrap();
    assert_eq!((bindings.len(), width), (2, 3), "{bindings:?}");

    // The router is a program of this test: it listens where the router's container would.
    let id = task[0].rsplit('/').next().unwrap();
    let files = fleet.hosts[0].agent_folder().join("tasks").join(format!("{id}_1"));
    let configuration = fs_err::read_to_string(files.join("main.conf")).unwrap();
    assert!(configuration.contains("Match app-firelens*"), "{configuration}");
    let read = async {
        let made = files.join("run/read");
        while std::fs::read_to_string(&made).ok().as_ref() != Some(&configuration) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        fs_err::metadata(made).unwrap()
    };
    let read = timeout(PATIENCE, read).await.expect("the router reads no configuration");
    assert_eq!((read.uid(), read.gid()), (1000, 1001));
    let heard = tokio::task::spawn_blocking({
        let socket: PathBuf = files.join("run/fluent.sock");
        move || {
            let listener = UnixListener::bind(socket).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let (mut heard, mut some) = (Vec::new(), [0; 4096]);
            while !contains(&heard, b"a routed line") {
                let read = stream.read(&mut some).unwrap();
                assert_ne!(read, 0, "the log's connection ended");
                heard.extend_from_slice(&some[..read]);
            }
            heard
        }
    });
    let heard = timeout(PATIENCE, heard).await.expect("no line reaches the router").unwrap();
    assert!(contains(&heard, format!("app-firelens-{id}").as_bytes()));

    client.call("StopTask", json!({ "task": task[0] })).await.unwrap();
    wait(&fleet.aws(), "tasks-stopped", &task).await;
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
