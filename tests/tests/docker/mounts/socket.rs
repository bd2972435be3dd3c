//! The helper's socket under attack: callers that may not ask, requests that nobody of ours sends,
//! and an end at any moment.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use longshore_common::id::{HostId, TaskId};
use longshore_tests::chance::Chance;
use serde_json::{Value, json};

use super::{Unmounted, helper, mounts_below};

const PATIENCE: Duration = Duration::from_secs(20);
const SEED: u64 = 7;
const HOSTILE: usize = 1_500;
const KILLS: u64 = 12;
const TASKS: u64 = 8;
const ANSWERS_MAX: u64 = 40;
/// Connects and sends one request, in process ids of its own as a container has them.
const CALLER: &str = "import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
b = sys.argv[2].encode()
s.sendall(len(b).to_bytes(4, 'big') + b)
print(s.recv(65536).decode('latin1'))";

struct Place {
    folder: Unmounted,
    socket: PathBuf,
    settings: Vec<String>,
}

impl Place {
    fn lay() -> Place {
        let folder = Unmounted(tempfile::tempdir_in("/var/tmp").unwrap());
        for directory in ["helper", "srv/a/b", "efs", "outside"] {
            fs_err::create_dir_all(folder.0.path().join(directory)).unwrap();
        }
        let place = |name: &str| folder.0.path().join(name).display().to_string();
        let settings = vec![
            format!("--efs=fs-1={},fs-1/app=/app:1:1", place("efs")),
            format!("--bind-roots={}", place("srv")),
        ];
        Place { socket: folder.0.path().join("helper/socket"), folder, settings }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.0.path().join(name)
    }

    fn bind(&self, task: u64, path: &Path) -> Value {
        json!({ "bind": { "task": owner(task), "volume": 0, "source": { "host": { "path": path } },
            "devices": false } })
    }
}

fn owner(task: u64) -> Value {
    json!({ "host": HostId::new(7), "task": TaskId::new(u128::from(task)), "generation": 1 })
}

/// Sends these bytes; none without a reply.
fn send(socket: &Path, bytes: &[u8]) -> Option<Value> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(bytes).ok()?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).ok()?;
    serde_json::from_slice(reply.get(4..)?).ok()
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut framed = (body.len() as u32).to_be_bytes().to_vec();
    framed.extend(body);
    framed
}

fn ask(socket: &Path, request: &Value) -> Option<Value> {
    send(socket, &framed(request.to_string().as_bytes()))
}

/// Several threads: the helper waits while nobody reads its log.
#[tokio::test(flavor = "multi_thread")]
async fn root_of_a_container_may_not_ask_the_helper() {
    let place = Place::lay();
    let _helper = helper(place.folder.0.path(), &place.socket, &place.settings).await;
    let request = json!({ "list": { "host": HostId::new(7) } });
    assert_eq!(ask(&place.socket, &request), Some(json!({ "tasks": [] })));
    let said = Command::new("unshare")
        .args(["--pid", "--fork", "python3", "-c", CALLER])
        .arg(&place.socket)
        .arg(request.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("of a container may not ask this helper"), "{said}");
}

/// Values that a member may have instead.
fn odd(chance: &mut Chance, place: &Place) -> Value {
    let outside = place.path("outside");
    let values = [
        json!(null),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("../../../etc"),
        json!("/etc/\0passwd"),
        json!("/".repeat(5_000)),
        json!("x/".repeat(3_000)),
        json!({}),
        json!([[]]),
        json!({ "host": { "path": outside } }),
        json!({ "file_system": { "id": "fs-1", "root_directory": "../outside", "encrypted": false } }),
        json!({ "access_point": { "file_system": "fs-1", "id": "../x", "encrypted": true } }),
        json!({ "host": HostId::new(9), "task": "../../x", "generation": -1 }),
        json!({ "nosuid": false, "more": 1 }),
    ];
    chance.pick(&values).unwrap().clone()
}

/// A request of ours with a few bytes or members of other kinds.
fn hostile(chance: &mut Chance, place: &Place) -> Vec<u8> {
    let mut requests = [
        place.bind(1, &place.path("srv/a")),
        json!({ "release": owner(1) }),
        json!({ "list": { "host": HostId::new(7), "after": owner(1) } }),
        json!({ "directory": { "file_system": "fs-1", "access_point": "app" } }),
        json!({ "umount": "/" }),
    ];
    let request = &mut requests[chance.below(5)];
    if let Some(members) = request.as_object_mut().and_then(|verb| verb.values_mut().next())
        && let Some(members) = members.as_object_mut()
    {
        let names: Vec<String> = members.keys().cloned().collect();
        let name = chance.pick(&names).unwrap().clone();
        members.insert(name, odd(chance, place));
    }
    let mut bytes = framed(request.to_string().as_bytes());
    match chance.below(4) {
        0 => {
            let at = chance.below(bytes.len());
            bytes[at] = chance.draw() as u8;
        }
        1 => bytes.truncate(chance.below(bytes.len())),
        _ => {}
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_mount_nothing_outside_and_end_nothing() {
    let place = Place::lay();
    let _helper = helper(place.folder.0.path(), &place.socket, &place.settings).await;
    let mut chance = Chance::from_seed(SEED);
    for _ in 0..HOSTILE {
        let bytes = hostile(&mut chance, &place);
        let Ok(mut stream) = UnixStream::connect(&place.socket) else {
            panic!("the helper is gone")
        };
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut reply = Vec::new();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match stream.read_to_end(&mut reply) {
            Ok(_) => {}
            // It does not read on what it has refused.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
        }
    }
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let outside = place.path("outside").display().to_string();
    assert!(!table.contains(&outside), "a folder outside of the roots is mounted");
    assert!(fs_err::read_dir(place.path("outside")).unwrap().next().is_none());
    let bound = ask(&place.socket, &place.bind(99, &place.path("srv/a"))).unwrap();
    assert!(bound["bound"]["path"].is_string(), "{bound}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_helper_leaves_no_mount_that_a_release_misses() {
    let place = Place::lay();
    let mut chance = Chance::from_seed(SEED);
    for _ in 0..KILLS {
        let one = helper(place.folder.0.path(), &place.socket, &place.settings).await;
        let asking = std::thread::spawn({
            let requests: Vec<Value> = (0..TASKS)
                .map(|task| match task % 3 {
                    2 => json!({ "release": owner(chance.draw() % TASKS) }),
                    _ => place.bind(task, &place.path("srv/a")),
                })
                .collect();
            let socket = place.socket.clone();
            move || requests.iter().cycle().map_while(|request| ask(&socket, request)).count()
        });
        tokio::time::sleep(Duration::from_millis(chance.draw() % ANSWERS_MAX)).await;
        one.kill().await.unwrap();
        asking.join().unwrap();
    }
    let _last = helper(place.folder.0.path(), &place.socket, &place.settings).await;
    let list = json!({ "list": { "host": HostId::new(7) } });
    let listed = ask(&place.socket, &list).unwrap();
    for task in listed["tasks"].as_array().unwrap() {
        assert_eq!(ask(&place.socket, &json!({ "release": task })), Some(json!("done")));
    }
    assert_eq!(ask(&place.socket, &list), Some(json!({ "tasks": [] })));
    assert_eq!(mounts_below(&place.path("helper")), 1, "mounts are left beside the ground");
    assert!(place.path("srv/a/b").is_dir());
}
