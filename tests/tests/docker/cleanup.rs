//! A host whose Docker has a small disk: what nobody needs goes in time, what cannot be had is refused
//! with a reason that says what to do, and what runs goes on.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use longshore_harness::{
    command::run,
    ecs::EcsClient,
    fleet::{Fleet, FleetSettings},
    image::{SAMPLE_IMAGE, sample_archive},
    registry::Registry,
};
use longshore_tests::figures::progress;
use serde_json::{Value, json};

use crate::definition::SLEEPER;

const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
const DISKS_MIB: u32 = 80;

/// An archive of a file of so many MiB that nothing makes smaller.
fn padding(folder: &Path, mib: u64) -> Bytes {
    let mut noise = vec![0; (mib * MIB) as usize];
    getrandom::fill(&mut noise).unwrap();
    let name = format!("noise-{mib}");
    fs_err::write(folder.join(&name), noise).unwrap();
    let archive = folder.join("noise.tar");
    let [to, at] = [&archive, folder].map(|path| path.display().to_string());
    run("tar", &["-cf", &to, "-C", &at, &name]).unwrap();
    fs_err::read(archive).unwrap().into()
}

/// Bytes that are free once the engine has taken away what did not fit.
async fn room_after_the_pull(data: &Path) -> u64 {
    let free = || {
        let disk = rustix::fs::statvfs(data).unwrap();
        disk.f_bavail * disk.f_frsize
    };
    let taken_away = async {
        while free() < 30 * MIB {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken_away).await.expect("the engine keeps what did not fit");
    free()
}

struct Small {
    fleet: Fleet,
    client: EcsClient,
}

impl Small {
    async fn begin(&self, family: &str, image: &str, command: &[&str]) -> String {
        self.begun(family, image, command).await.expect("the task is placed")
    }

    /// The task, or why there is no host for it.
    async fn begun(&self, family: &str, image: &str, command: &[&str]) -> Result<String, String> {
        let definition = json!({ "family": family, "containerDefinitions": [{
            "name": "app", "image": image, "memory": 16, "command": command, "stopTimeout": 2,
        }] });
        self.client.call("RegisterTaskDefinition", definition).await.unwrap();
        let ran = self.client.call("RunTask", json!({ "taskDefinition": family })).await.unwrap();
        match ran["failures"][0]["detail"].as_str() {
            Some(detail) => Err(detail.to_owned()),
            None => Ok(ran["tasks"][0]["taskArn"].as_str().unwrap().to_owned()),
        }
    }

    async fn reached(&self, task: &str, status: &str) -> Value {
        let reached = |shown: &Value| {
            let task = &shown["tasks"][0];
            (task["lastStatus"] == json!(status)).then(|| task.clone())
        };
        let describe = json!({ "tasks": [task] });
        self.client.eventually("DescribeTasks", describe, PATIENCE, reached).await.unwrap()
    }

    /// Its task keeps running.
    async fn serve(&self, family: &str, image: &str) -> String {
        let task = self.begin(family, image, &SLEEPER).await;
        self.reached(&task, "RUNNING").await;
        task
    }

    /// Why it stopped, and how.
    async fn end(&self, family: &str, image: &str) -> (String, Value) {
        let task = self.begin(family, image, &["/bin/true"]).await;
        self.stopped(&task).await
    }

    async fn stopped(&self, task: &str) -> (String, Value) {
        let task = self.reached(task, "STOPPED").await;
        let reason = task["stoppedReason"].as_str().unwrap_or_default().to_owned();
        (reason, task["containers"][0]["exitCode"].clone())
    }

    /// Runs tasks that end until what becomes of one is as wanted: why it stopped, or why there was no
    /// host for it.
    async fn end_until(&self, wanted: impl Fn(&Result<String, String>) -> bool) {
        let trying = async {
            loop {
                let became = match self.begun("short", SAMPLE_IMAGE, &["/bin/true"]).await {
                    Ok(task) => Ok(self.stopped(&task).await.0),
                    Err(why) => Err(why),
                };
                if wanted(&became) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, trying).await.expect("this becomes of no task");
    }

    async fn has(&self, image: &str) -> bool {
        self.fleet.hosts[0].engine().unwrap().has_image(image).await.unwrap()
    }

    async fn has_no_more(&self, image: &str) {
        let gone = async {
            while self.has(image).await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("the image stays");
    }
}

#[tokio::test]
async fn a_small_disk_is_kept_from_filling_and_a_full_one_says_so_and_recovers() {
    let agent_arguments =
        ["--disk-clean-at=60", "--disk-refuse-at=90", "--disk-floor=1"].map(str::to_owned).into();
    let disks_mib = Some(DISKS_MIB);
    let settings = FleetSettings { hosts: 1, agent_arguments, disks_mib, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let registry = Registry::start(fleet.gateway()).await.unwrap();
    let sample = sample_archive(folder.path()).unwrap();
    let publish =
        |name: &str, mib| registry.publish(name, &[sample.clone(), padding(folder.path(), mib)]);
    let [used, unused, new, big] =
        [publish("used", 12), publish("unused", 15), publish("new", 20), publish("big", 40)];
    let data = fleet.hosts[0].engine_data();
    let client = fleet.ecs().unwrap();
    let small = Small { fleet, client };

    let serving = small.serve("used", &used).await;
    assert_eq!(small.end("unused", &unused).await.1, json!(0));
    // The newest of the stopped tasks is kept.
    small.end("short", SAMPLE_IMAGE).await;
    assert!(small.has(&unused).await);
    progress("the disk is filled past the first threshold by a pull");
    let also_serving = small.serve("new", &new).await;
    small.has_no_more(&unused).await;
    for image in [&used, &new, SAMPLE_IMAGE] {
        assert!(small.has(image).await, "{image}");
    }

    progress("an image that has no room is pulled");
    let (reason, _) = small.end("big", &big).await;
    assert!(reason.starts_with("CannotPullContainerError: "), "{reason}");
    let told = format!("no space left on device; the file system of {} has ", data.display());
    assert!(reason.contains(&told), "{reason}");
    assert!(reason.contains(" bytes free (") && reason.contains("make it larger"), "{reason}");

    progress("the disk is filled past the second threshold");
    let filler = data.join("filler");
    let free = room_after_the_pull(&data).await;
    fs_err::write(&filler, vec![0; (free - 4 * MIB) as usize]).unwrap();
    let no_room = "has no room for new tasks on its disks";
    small.end_until(|became| became.as_ref().is_err_and(|why| why.contains(no_room))).await;
    let host = small.fleet.host_arn(0).await.unwrap();
    let input = json!({ "containerInstances": [host], "include": ["CONTAINER_INSTANCE_HEALTH"] });
    let shown = small.client.call("DescribeContainerInstances", input).await.unwrap();
    let health = &shown["containerInstances"][0]["healthStatus"];
    assert_eq!(health["overallStatus"], json!("IMPAIRED"), "{health:#}");
    for task in [&serving, &also_serving] {
        small.reached(task, "RUNNING").await;
    }

    progress("there is room again");
    fs_err::remove_file(&filler).unwrap();
    let ran = |reason: &String| reason.starts_with("Essential container");
    small.end_until(|became| became.as_ref().is_ok_and(ran)).await;
    for task in [&serving, &also_serving] {
        small.reached(task, "RUNNING").await;
    }
}
