//! Engines that answer otherwise than the one that the tests run: what they say is put in place of
//! this one's answers, and all else is done by it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use longshore_harness::{
    engine_api::EngineApi,
    fleet::{Fleet, FleetSettings},
    image::sample_archive,
    recording_proxy::{Call, CallKind, ChangeAnswers},
    registry::Registry,
    service::{service, sleeper, until, until_stable},
};
use longshore_tests::figures::progress;
use serde_json::{Value, json};

use crate::definition::{SLEEPER, begin, begin_again, reached, scripted};

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const DISKS_MIB: u32 = 80;
const MIB: u64 = 1 << 20;

/// As Docker 25 and later with the containerd image store: every image with a name has digests, also
/// one that was made here.
fn as_with_containerds_store() -> ChangeAnswers {
    Arc::new(|call: &Call, answer: &mut Value| {
        let path = call.path.split('?').next().unwrap_or_default();
        if path.ends_with("/info") {
            answer["Driver"] = json!("overlayfs");
            answer["DriverStatus"] = json!([["driver-type", "io.containerd.snapshotter.v1"]]);
        } else if path.ends_with("/images/json") {
            answer.as_array_mut().into_iter().flatten().for_each(with_digests);
        } else if call.kind() == Some(CallKind::ImageInspect) {
            with_digests(answer);
        }
    })
}

fn with_digests(image: &mut Value) {
    if image["RepoDigests"].as_array().is_some_and(|known| known.iter().any(is_real)) {
        return;
    }
    let id = image["Id"].as_str().unwrap_or_default().to_owned();
    let tags = image["RepoTags"].as_array().cloned().unwrap_or_default();
    let repository = |tag: &Value| Some(tag.as_str()?.rsplit_once(':')?.0.to_owned());
    let digest = |repository: String| format!("{repository}@{id}");
    let digests: Vec<String> = tags.iter().filter_map(repository).map(digest).collect();
    image["RepoDigests"] = json!(digests);
}

/// Docker's own store shows `<none>@<none>` for none.
fn is_real(digest: &Value) -> bool {
    digest.as_str().is_some_and(|digest| !digest.starts_with("<none>"))
}

async fn has_no_more(engine: &EngineApi, image: &str) {
    let gone = async {
        while engine.has_image(image).await.unwrap() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the image stays");
}

#[tokio::test]
async fn local_image_is_kept_undigested_when_store_is_containerd() {
    let settings = FleetSettings {
        hosts: 2,
        record: true,
        disks_mib: Some(DISKS_MIB),
        agent_arguments: vec!["--disk-clean-at=60".to_owned(), "--disk-floor=1".to_owned()],
        joining_later: 1,
        ..Default::default()
    };
    let mut fleet = Fleet::start(settings).await.unwrap();
    fleet.kill_agent(0).await.unwrap();
    for host in 0..2 {
        fleet.hosts[host].proxy.as_ref().unwrap().change_answers(as_with_containerds_store());
        fleet.start_agent(host).await.unwrap();
    }
    fleet.all_connected().await.unwrap();
    let client = fleet.ecs().unwrap();

    progress("the second task of a service runs on another host what that one was given");
    let web = sleeper("web", json!({ "versionConsistency": "enabled" }));
    client.call("RegisterTaskDefinition", web).await.unwrap();
    let made = service("web", "web", 1, json!({}));
    client.call("CreateService", made).await.unwrap();
    until_stable(&client, "web", 1).await.unwrap();
    client.call("UpdateService", json!({ "service": "web", "desiredCount": 2 })).await.unwrap();
    until_stable(&client, "web", 2).await.unwrap();
    let delete = json!({ "service": "web", "force": true });
    client.call("DeleteService", delete).await.unwrap();
    until(&client, "web", PATIENCE, |shown| shown.status() == "INACTIVE").await.unwrap();

    progress("of two images that nobody needs, the one that can be had again goes");
    // On the first host alone.
    let second = fleet.host_arn(1).await.unwrap();
    let drain = json!({ "containerInstances": [second], "status": "DRAINING" });
    client.call("UpdateContainerInstancesState", drain).await.unwrap();
    let engine = fleet.hosts[0].engine().unwrap();
    let registry = Registry::start(fleet.gateway()).await.unwrap();
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let archive = sample_archive(folder.path()).unwrap();
    let pulled = registry.publish("pulled", std::slice::from_ref(&archive));
    let kept = registry.publish("kept", std::slice::from_ref(&archive));
    engine
        .post("/images/longshore/sample:latest/tag?repo=made-here&tag=1", Value::Null)
        .await
        .unwrap();
    let made =
        engine.run("maker", json!({ "Image": "made-here:1", "Cmd": ["/bin/true"] })).await.unwrap();
    engine
        .post(&format!("/commit?container={made}&repo=made-here&tag=2"), Value::Null)
        .await
        .unwrap();
    engine.remove(&made).await.unwrap();
    for (family, image) in [("made", "made-here:2"), ("pulled", &*pulled), ("kept", &*kept)] {
        let task = begin(&client, scripted(family, "exit 0", json!({ "image": image }))).await;
        let ended = reached(&client, &task, "STOPPED").await;
        assert_eq!(ended["containers"][0]["exitCode"], json!(0), "{ended:#}");
    }
    let data = fleet.hosts[0].engine_data();
    let disk = rustix::fs::statvfs(&data).unwrap();
    let (size, free) = (disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize);
    // Past the mark for cleaning and short of the one for refusing.
    fs_err::write(data.join("filler"), vec![0; (free - size / 4 - MIB) as usize]).unwrap();
    has_no_more(&engine, &pulled).await;
    let next = begin_again(&client, "made").await;
    reached(&client, &next, "STOPPED").await;
    assert!(engine.has_image("made-here:2").await.unwrap());
}

/// As an engine on cgroup v2 when the control group went with its only process, and one that warns.
fn as_told_of_nothing(warned: Arc<Mutex<usize>>) -> ChangeAnswers {
    Arc::new(move |call: &Call, answer: &mut Value| match call.kind() {
        Some(CallKind::Inspect) => answer["State"]["OOMKilled"] = json!(false),
        Some(CallKind::Create) if answer["Id"].is_string() => {
            answer["Warnings"] = json!(["memory limited without swap: a warning of the kernel's"]);
            *warned.lock().unwrap() += 1;
        }
        _ => {}
    })
}

#[tokio::test]
async fn memory_kill_is_told_when_docker_is_silent() {
    let settings = FleetSettings { hosts: 1, record: true, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    let client = fleet.ecs().unwrap();
    let warned = Arc::new(Mutex::new(0));
    let proxy = fleet.hosts[0].proxy.as_ref().unwrap();
    proxy.change_answers(as_told_of_nothing(warned.clone()));
    // The one process of its container asks for more than there is.
    let greedy = json!({ "command": ["/bin/busybox", "tail", "/dev/zero"], "memory": 8 });
    let greedy = begin(&client, scripted("greedy", "", greedy)).await;
    let task = reached(&client, &greedy, "STOPPED").await;
    let container = &task["containers"][0];
    assert_eq!(container["exitCode"], json!(137), "{task:#}");
    let reason = "OutOfMemoryError: Container killed due to memory usage";
    assert_eq!(container["reason"], json!(reason), "{task:#}");

    // Neither is one that ends by itself, nor one that is killed by somebody.
    let killed = begin(&client, scripted("killed", SLEEPER[2], json!({}))).await;
    reached(&client, &killed, "RUNNING").await;
    let engine = fleet.hosts[0].engine().unwrap();
    let [container] = &engine.containers(false).await.unwrap()[..] else { panic!("one runs") };
    engine.post(&format!("/containers/{}/kill", container.id), Value::Null).await.unwrap();
    let task = reached(&client, &killed, "STOPPED").await;
    assert_eq!(task["containers"][0]["exitCode"], json!(137), "{task:#}");
    assert_eq!(task["containers"][0]["reason"], Value::Null, "{task:#}");

    let log = fleet.hosts[0].agent.as_ref().unwrap().log().lines();
    let told = log.iter().filter(|line| line.contains("a warning of the kernel's")).count();
    assert_eq!((told, *warned.lock().unwrap()), (2, 2), "once for each container");
}
