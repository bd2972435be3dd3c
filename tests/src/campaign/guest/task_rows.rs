//! What tasks get on control groups version 2: limits, statistics, metadata, logs, checks, volumes.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::installed::{Guest, PATIENCE, Task};
use longshore_harness::image::SAMPLE_IMAGE;

const SLEEPER: [&str; 3] = ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"];
/// Tasks whose removal is watched for reloads of systemd.
const REMOVED_TASKS: usize = 6;

/// A task of one container that sleeps; members of `container` and `task` are added.
pub(super) fn sleeper(container: Value, task: Value) -> Value {
    let mut one = json!({
        "name": "main", "image": SAMPLE_IMAGE, "memory": 32, "cpu": 64, "stopTimeout": 5,
        "command": SLEEPER,
    });
    merge(&mut one, container);
    let mut definition = json!({ "networkMode": "bridge", "containerDefinitions": [one] });
    merge(&mut definition, task);
    definition
}

fn merge(into: &mut Value, more: Value) {
    for (member, value) in more.as_object().into_iter().flatten() {
        into[member] = value.clone();
    }
}

pub(super) async fn task_runs_and_stops(guest: &mut Guest) -> Result<()> {
    let task = guest.run_task(sleeper(json!({}), json!({}))).await?;
    let stopped = guest.stop(&task).await?;
    let code = &stopped["containers"][0]["exitCode"];
    ensure!(*code == json!(0), "the container did not end by SIGTERM: {stopped:#}");
    Ok(())
}

pub(super) async fn container_limits_hold(guest: &mut Guest) -> Result<()> {
    let task = guest.run_task(sleeper(json!({ "memory": 48 }), json!({}))).await?;
    let container = guest.container(&task).await?;
    let group = format!("/sys/fs/cgroup/system.slice/docker-{container}.scope");
    let shown = guest.sh(&format!("cat {group}/memory.max {group}/cpu.weight")).await?;
    let (memory, weight) = shown.trim().split_once('\n').context("two lines")?;
    ensure!(memory == (48 << 20).to_string(), "memory.max is {memory}");
    // Docker's conversion of 64 shares.
    ensure!(weight.parse::<u32>()? < 10, "cpu.weight is {weight}");
    guest.stop(&task).await?;
    Ok(())
}

pub(super) async fn task_limits_hold(guest: &mut Guest) -> Result<()> {
    limits_of_a_task(guest).await
}

pub(super) async fn task_limits_hold_with_cgroupfs(guest: &mut Guest) -> Result<()> {
    let driver = r#"{"exec-opts": ["native.cgroupdriver=cgroupfs"]}"#;
    guest.configure_docker(driver).await?;
    let held = limits_of_a_task(guest).await;
    guest.configure_docker("{}").await?;
    held
}

/// Two containers that share their task's memory and CPU units.
fn pair(cpu: &str) -> Value {
    let container = |name: &str| json!({ "name": name, "image": SAMPLE_IMAGE, "stopTimeout": 5, "command": SLEEPER });
    json!({
        "cpu": cpu, "memory": "64", "networkMode": "bridge",
        "containerDefinitions": [container("app"), container("sidecar")],
    })
}

async fn limits_of_a_task(guest: &mut Guest) -> Result<()> {
    let task = guest.run_task(pair("512")).await?;
    let id = task.id();
    let find = format!("find /sys/fs/cgroup -type d -name '*{id}*' | head -1");
    let group = guest.sh(&find).await?.trim().to_owned();
    ensure!(!group.is_empty(), "the task has no control group");
    let shown = guest.sh(&format!("cat {group}/memory.max {group}/cpu.max")).await?;
    let mut lines = shown.lines();
    let memory = lines.next().unwrap_or_default();
    ensure!(memory == (64 << 20).to_string(), "memory.max of {group} is {memory}");
    let quota: Vec<u64> =
        lines.next().unwrap_or_default().split(' ').filter_map(|word| word.parse().ok()).collect();
    ensure!(matches!(quota[..], [quota, period] if quota * 2 == period), "cpu.max is {quota:?}");
    let inside = guest.sh(&format!("cat $(find {group} -name cgroup.procs) | wc -l")).await?;
    ensure!(inside.trim().parse::<u32>()? >= 2, "{group} holds {inside} processes");
    guest.stop(&task).await?;
    Ok(())
}

/// A container whose only process the kernel kills: Docker does not say why on version 2.
pub(super) async fn lone_process_out_of_memory_says_so(guest: &mut Guest) -> Result<()> {
    let eater = ["/bin/busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1"];
    let family = guest.register(sleeper(json!({ "command": eater }), json!({}))).await?;
    let ran = guest.ecs.call("RunTask", json!({ "taskDefinition": family })).await?;
    let arn = ran["tasks"][0]["taskArn"].as_str().context("RunTask started nothing")?;
    let stopped = guest.task_until(&Task { arn: arn.to_owned() }, "STOPPED").await?;
    let container = &stopped["containers"][0];
    ensure!(container["exitCode"] == json!(137), "it was not killed: {stopped:#}");
    let reason = container["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("OutOfMemory"), "the reason is {reason:?}");
    Ok(())
}

pub(super) async fn statistics_are_served(guest: &mut Guest) -> Result<()> {
    let task = guest.run_task(sleeper(json!({}), json!({}))).await?;
    let asked = guest.inside(&task, "wget -qO- $ECS_CONTAINER_METADATA_URI_V4/stats").await?;
    let stats: Value = serde_json::from_str(&asked)?;
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    ensure!(number(&stats["memory_stats"]["usage"]) > 0, "no memory: {stats}");
    ensure!(number(&stats["cpu_stats"]["cpu_usage"]["total_usage"]) > 0, "no CPU: {stats}");
    guest.stop(&task).await?;
    Ok(())
}

pub(super) async fn metadata_is_served_on_the_bridge(guest: &mut Guest) -> Result<()> {
    metadata(guest, "bridge").await
}

/// The process that asks is told apart from others on the host's network by its control group.
pub(super) async fn metadata_is_served_on_the_host_network(guest: &mut Guest) -> Result<()> {
    metadata(guest, "host").await
}

async fn metadata(guest: &mut Guest, mode: &str) -> Result<()> {
    let task = guest.run_task(sleeper(json!({}), json!({ "networkMode": mode }))).await?;
    guest.asks_for_metadata(&task).await?;
    guest.stop(&task).await?;
    Ok(())
}

pub(super) async fn metadata_is_kept_from_other_tasks(guest: &mut Guest) -> Result<()> {
    for mode in ["bridge", "host"] {
        let definition = || sleeper(json!({}), json!({ "networkMode": mode }));
        let victim = guest.run_task(definition()).await?;
        let thief = guest.run_task(definition()).await?;
        let uri = guest.inside(&victim, "echo $ECS_CONTAINER_METADATA_URI_V4").await?;
        let ask = format!("wget -qO- {}/task", uri.trim());
        ensure!(guest.inside(&victim, &ask).await.is_ok(), "{mode}: the victim is not answered");
        ensure!(guest.inside(&thief, &ask).await.is_err(), "{mode}: another task is answered");
        guest.stop(&victim).await?;
        guest.stop(&thief).await?;
    }
    Ok(())
}

pub(super) async fn awslogs_lines_arrive(guest: &mut Guest) -> Result<()> {
    guest.lines_arrive("guest/awslogs").await
}

pub(super) async fn health_checks_are_followed(guest: &mut Guest) -> Result<()> {
    let check = json!({
        "command": ["CMD-SHELL", "test -e /tmp/well"], "interval": 5, "timeout": 5, "retries": 1,
    });
    let task = guest.run_task(sleeper(json!({ "healthCheck": check }), json!({}))).await?;
    for (change, health) in [("touch /tmp/well", "HEALTHY"), ("rm /tmp/well", "UNHEALTHY")] {
        guest.inside(&task, &format!("busybox {change}")).await?;
        let describe = json!({ "tasks": [task.arn] });
        guest
            .ecs
            .eventually("DescribeTasks", describe, PATIENCE, |answer| {
                (answer["tasks"][0]["healthStatus"] == json!(health)).then_some(())
            })
            .await
            .with_context(|| format!("not {health} after `{change}`"))?;
    }
    guest.stop(&task).await?;
    Ok(())
}

/// A reload stops systemd for seconds on a busy host: tasks that come meanwhile wait.
pub(super) async fn removed_tasks_do_not_reload_systemd(guest: &mut Guest) -> Result<()> {
    guest.set_agent("task_cleanup_wait", "\"1s\"").await?;
    let mut tasks = Vec::new();
    for _ in 0..REMOVED_TASKS {
        tasks.push(guest.run_task(pair("256")).await?);
    }
    let reloads = "journalctl -b _PID=1 -o cat | grep -c '^Reloading' || true";
    let before: usize = guest.sh(reloads).await?.trim().parse()?;
    for task in &tasks {
        guest.stop(task).await?;
    }
    for task in &tasks {
        let label = format!("com.amazonaws.ecs.task-arn={}", task.arn);
        guest.until(&format!("test -z \"$(docker ps -aq --filter label={label})\"")).await?;
        guest.until(&format!("! find /sys/fs/cgroup -name '*{}*' | grep -q .", task.id())).await?;
    }
    let after: usize = guest.sh(reloads).await?.trim().parse()?;
    guest.unset_agent("task_cleanup_wait").await?;
    let reloaded = after - before;
    ensure!(reloaded <= 1, "systemd was reloaded {reloaded} times for {REMOVED_TASKS} tasks");
    Ok(())
}

/// What the helper mounts in the host's namespace, Docker sees; its end takes nothing from a task.
pub(super) async fn host_folder_is_mounted_by_the_helper(guest: &mut Guest) -> Result<()> {
    guest.set_agent("task_cleanup_wait", "\"1s\"").await?;
    guest.sh("mkdir -p /srv/shared; echo from-host > /srv/shared/seen").await?;
    let volume = json!({ "name": "shared", "host": { "sourcePath": "/srv/shared" } });
    let mount = json!([{ "sourceVolume": "shared", "containerPath": "/shared" }]);
    let definition =
        || sleeper(json!({ "mountPoints": mount }), json!({ "volumes": [volume.clone()] }));
    let places = "grep -c ' /run/longshore/volumes/mounts/' /proc/1/mountinfo || true";
    let task = guest.run_task(definition()).await?;
    let seen = guest.inside(&task, "cat /shared/seen; echo kept > /shared/file").await?;
    ensure!(seen == "from-host\n", "the task sees {seen:?}");
    guest.sh("grep -q kept /srv/shared/file").await?;
    let mounted = guest.sh(places).await?;
    ensure!(mounted.trim() == "1", "{mounted} mounts of the helper's in the host's namespace");
    guest.sh("systemctl kill -s KILL longshore-agent-volumes").await?;
    guest.inside(&task, "cat /shared/file").await?;
    let next = guest.run_task(definition()).await?;
    guest.inside(&next, "cat /shared/file").await?;
    guest.stop(&task).await?;
    guest.stop(&next).await?;
    guest.until("! grep -q ' /run/longshore/volumes/mounts/' /proc/1/mountinfo").await?;
    guest.unset_agent("task_cleanup_wait").await
}

/// Whoever writes to a file system may plant a link in it.
pub(super) async fn efs_symlinked_root_is_refused(guest: &mut Guest) -> Result<()> {
    guest.sh("mkdir -p /srv/efs; ln -sfn /etc /srv/efs/planted").await?;
    guest.set_agent("efs", "[\"fs-0001=/srv/efs\"]").await?;
    let volume = json!({
        "name": "data",
        "efsVolumeConfiguration": { "fileSystemId": "fs-0001", "rootDirectory": "/planted" },
    });
    let mount = json!([{ "sourceVolume": "data", "containerPath": "/data" }]);
    let definition = sleeper(json!({ "mountPoints": mount }), json!({ "volumes": [volume] }));
    let family = guest.register(definition).await?;
    let ran = guest.ecs.call("RunTask", json!({ "taskDefinition": family })).await?;
    let arn = ran["tasks"][0]["taskArn"].as_str().context("RunTask started nothing")?;
    let stopped = guest.task_until(&Task { arn: arn.to_owned() }, "STOPPED").await?;
    let reason = stopped["stoppedReason"].as_str().unwrap_or_default();
    ensure!(reason.contains("a link is on the way"), "the reason is {reason:?}");
    guest.unset_agent("efs").await
}

/// The guest exports a folder to itself and mounts it, as docs/operating/task-definitions.md says for
/// access points.
pub(super) async fn efs_access_point_is_made_on_nfs(guest: &mut Guest) -> Result<()> {
    guest
        .sh("mkdir -p /mnt/nfs
             systemctl start nfs-server
             mountpoint -q /mnt/nfs || mount -t nfs4 127.0.0.1:/srv/export /mnt/nfs")
        .await?;
    let made = access_point(guest, "/mnt/nfs", "/srv/export").await;
    // At a reboot the server would go before its client, which waits for it.
    guest.sh("umount /mnt/nfs").await?;
    made
}

pub(super) async fn efs_access_point_is_made_in_a_folder(guest: &mut Guest) -> Result<()> {
    guest.sh("mkdir -p /srv/efs").await?;
    access_point(guest, "/srv/efs", "/srv/efs").await
}

/// A task writes below an access point that did not exist, which is made with its owner.
async fn access_point(guest: &mut Guest, root: &str, folder: &str) -> Result<()> {
    let setting = format!("[\"fs-0001={root}\", \"fs-0001/fsap-0001=/app/data:1000:1001\"]");
    guest.set_agent("efs", &setting).await?;
    guest.set_agent("task_cleanup_wait", "\"1s\"").await?;
    let volume = json!({
        "name": "data",
        "efsVolumeConfiguration": {
            "fileSystemId": "fs-0001", "transitEncryption": "ENABLED",
            "authorizationConfig": { "accessPointId": "fsap-0001" },
        },
    });
    let mount = json!([{ "sourceVolume": "data", "containerPath": "/data" }]);
    let container = json!({ "mountPoints": mount, "user": "1000:1001" });
    let task = guest.run_task(sleeper(container, json!({ "volumes": [volume] }))).await?;
    guest.inside(&task, "echo kept > /data/file").await?;
    let owner = guest.sh(&format!("stat -c %u:%g {folder}/app/data")).await?;
    ensure!(owner.trim() == "1000:1001", "{folder}/app/data belongs to {owner}");
    let kept = guest.sh(&format!("cat {folder}/app/data/file")).await?;
    ensure!(kept == "kept\n", "the file holds {kept:?}");
    // A service that starts beside the task begins with the task's mount in its namespace.
    guest.sh("systemd-run --unit=beside -p PrivateMounts=yes sleep infinity").await?;
    guest.stop(&task).await?;
    guest.until("! grep -q ' /run/longshore/volumes/mounts/' /proc/1/mountinfo").await?;
    let kept = "grep ' /run/longshore/volumes/mounts/' \
                /proc/$(systemctl show -p MainPID --value beside)/mountinfo || true";
    let kept = guest.sh(kept).await?;
    ensure!(kept.is_empty(), "a service keeps the task's file system: {kept}");
    guest.sh("systemctl stop beside").await?;
    guest.unset_agent("task_cleanup_wait").await?;
    guest.unset_agent("efs").await
}
