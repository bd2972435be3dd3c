//! The machine with Longshore on it, as docs/operating/installation.md says: what rows do with both, and how it
//! is put back after a row that failed.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use longshore_harness::{
    aws::Aws,
    credentials::Credentials,
    ecs::EcsClient,
    image::{SAMPLE_CHANGES, SAMPLE_IMAGE},
};
use serde_json::{Value, json};

use super::{
    image::{Image, SAMPLE_ARCHIVE},
    machine::Machine,
};

/// Everything is slow without KVM.
pub(super) const PATIENCE: Duration = Duration::from_secs(240);
pub(super) const REGION: &str = "us-east-1";
const ROOT_CREDENTIALS: &str = "/var/lib/longshore/coordinator/root-credentials";

/// The machine, the coordinator in it, and what rows know of it.
pub(super) struct Guest {
    pub(super) machine: Machine,
    pub(super) ecs: EcsClient,
    pub(super) credentials: PathBuf,
    /// Families registered so far, so that each row has its own.
    pub(super) families: usize,
}

impl Guest {
    /// Boots the machine and sets Longshore up as docs/operating/installation.md says.
    pub(super) async fn start(image: &Image, folder: &std::path::Path) -> Result<Guest> {
        let machine = Machine::boot(image, folder).await?;
        let changes: Vec<String> =
            SAMPLE_CHANGES.iter().map(|change| format!("--change '{change}'")).collect();
        let changes = changes.join(" ");
        machine
            .sh(&format!(
                "until docker version >/dev/null 2>&1; do sleep 1; done
                 docker import {changes} {SAMPLE_ARCHIVE} {SAMPLE_IMAGE} >/dev/null
                 echo 'coordinator = \"127.0.0.1:8421\"' >> /etc/longshore/agent.toml
                 echo 'join_token_file = \"/etc/longshore/join-token\"' >> /etc/longshore/agent.toml
                 systemctl enable --now longshore-coordinator || {{
                   journalctl -b -u longshore-coordinator -o cat -n 30 >&2; exit 1; }}
                 umask 077
                 longshore-coordinator join-token create --ttl 1h > /etc/longshore/join-token
                 systemctl enable --now longshore-agent || {{
                   journalctl -b -u longshore-agent -o cat -n 30 >&2; exit 1; }}"
            ))
            .await?;
        let keys = machine.sh(&format!("cat {ROOT_CREDENTIALS}")).await?;
        let file = folder.join("root-credentials");
        fs_err::write(&file, keys)?;
        let ecs = EcsClient::new(&machine.api, REGION, Credentials::read(&file)?);
        let guest = Guest { machine, ecs, credentials: file, families: 0 };
        guest.connected().await?;
        Ok(guest)
    }

    pub(super) fn aws(&self) -> Aws {
        Aws::new(&format!("http://{}", self.machine.api), REGION, &self.credentials)
    }

    pub(super) async fn sh(&self, script: &str) -> Result<String> {
        self.machine.sh(script).await
    }

    /// Waits until a command in the guest ends with 0.
    pub(super) async fn until(&self, condition: &str) -> Result<()> {
        let seconds = PATIENCE.as_secs();
        let script = format!(
            "end=$(($(date +%s) + {seconds}))
             until {{ {condition}; }} >/dev/null 2>&1; do
               [ $(date +%s) -lt $end ] || {{ echo 'not so in {seconds} s' >&2; exit 1; }}
               sleep 0.5
             done"
        );
        self.sh(&script).await.with_context(|| format!("waiting for `{condition}`"))?;
        Ok(())
    }

    /// The host's ARN, once its agent is connected.
    pub(super) async fn connected(&self) -> Result<String> {
        let listed = self
            .ecs
            .eventually("ListContainerInstances", json!({}), PATIENCE, |answer| {
                answer["containerInstanceArns"][0].as_str().map(str::to_owned)
            })
            .await?;
        let describe = json!({ "containerInstances": [listed] });
        self.ecs
            .eventually("DescribeContainerInstances", describe, PATIENCE, |answer| {
                let host = &answer["containerInstances"][0];
                (host["agentConnected"] == json!(true)).then_some(())
            })
            .await?;
        Ok(listed)
    }

    /// Registers a definition under a family of its own, which it returns.
    pub(super) async fn register(&mut self, mut definition: Value) -> Result<String> {
        self.families += 1;
        let family = format!("row{}", self.families);
        definition["family"] = json!(family);
        self.ecs.call("RegisterTaskDefinition", definition).await?;
        Ok(family)
    }

    /// Runs one task of a definition and waits until it runs.
    pub(super) async fn run_task(&mut self, definition: Value) -> Result<Task> {
        let family = self.register(definition).await?;
        // For moments after Docker's own restart no task is placed where it is; a client asks again.
        let run = json!({ "taskDefinition": family });
        let is_decided = |answer: &Value| {
            (answer["failures"][0]["reason"] != json!("AGENT")).then(|| answer.clone())
        };
        let ran = self.ecs.eventually("RunTask", run, PATIENCE, is_decided).await?;
        let arn = ran["tasks"][0]["taskArn"].as_str();
        let task = Task { arn: arn.with_context(|| format!("RunTask: {ran}"))?.to_owned() };
        self.task_until(&task, "RUNNING").await?;
        Ok(task)
    }

    pub(super) async fn task_until(&self, task: &Task, status: &str) -> Result<Value> {
        let describe = json!({ "tasks": [task.arn] });
        let mut last = Value::Null;
        let is_so = |answer: &Value| {
            let task = &answer["tasks"][0];
            last = task.clone();
            let (now, stopped) = (&task["lastStatus"], json!("STOPPED"));
            (*now == json!(status) || *now == stopped).then(|| task.clone())
        };
        let shown = self.ecs.eventually("DescribeTasks", describe, PATIENCE, is_so).await?;
        ensure!(shown["lastStatus"] == json!(status), "the task is not {status}: {shown:#}");
        Ok(shown)
    }

    pub(super) async fn stop(&self, task: &Task) -> Result<Value> {
        self.ecs.call("StopTask", json!({ "task": task.arn })).await?;
        self.task_until(task, "STOPPED").await
    }

    /// Ids of the running containers of a task, one a line, by what Docker says.
    pub(super) async fn containers(&self, task: &Task) -> Result<Vec<String>> {
        let label = format!("com.amazonaws.ecs.task-arn={}", task.arn);
        let listed = self.sh(&format!("docker ps -q --no-trunc --filter label={label}")).await?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    pub(super) async fn container(&self, task: &Task) -> Result<String> {
        let containers = self.containers(task).await?;
        containers.into_iter().next().context("the task has no running container")
    }

    /// Runs a shell command in the (first) container of a task.
    pub(super) async fn inside(&self, task: &Task, script: &str) -> Result<String> {
        let container = self.container(task).await?;
        self.sh(&format!("docker exec {container} /bin/sh -c '{script}'")).await
    }

    /// What Docker says of all containers' lives: changes when one is started or ended.
    pub(super) async fn lives(&self) -> Result<String> {
        self.sh("docker ps -q --no-trunc | sort | xargs -r docker inspect \
             -f '{{.Id}} {{.State.Pid}} {{.State.StartedAt}}'")
            .await
    }

    /// Puts the host back as the first row found it, whatever a failed row has left.
    pub(super) async fn restore(&self) -> Result<()> {
        self.sh("sed -i '/# row$/d' /etc/longshore/agent.toml
             rm -rf /etc/systemd/system/longshore-agent.service.d
             systemctl daemon-reload
             iptables -P INPUT ACCEPT
             systemctl reset-failed docker.socket docker || true
             systemctl start docker.socket docker
             for id in $(docker ps -aq); do docker rm -f $id; done >/dev/null
             systemctl reset-failed")
            .await?;
        self.without_packages().await?;
        self.without_launcher().await?;
        self.connected().await?;
        let listed = self.ecs.call("ListServices", json!({})).await?;
        for service in listed["serviceArns"].as_array().into_iter().flatten() {
            let delete = json!({ "service": service, "force": true });
            self.ecs.call("DeleteService", delete).await?;
        }
        self.restart_agent().await
    }

    /// Restarts the agent, its helpers with it, and waits until the coordinator has heard this start:
    /// for a while it still shows what the one before had said.
    pub(super) async fn restart_agent(&self) -> Result<()> {
        self.sh("systemctl restart longshore-agent").await?;
        self.until(
            "start=$(systemctl show -p InvocationID --value longshore-agent) &&
             journalctl -o cat _SYSTEMD_INVOCATION_ID=$start | grep -q 'registered .*docker.version=' &&
             systemctl show -p StatusText longshore-agent | grep -q 'tasks running$'",
        )
        .await?;
        self.connected().await?;
        Ok(())
    }
}

/// A task of a row.
pub(super) struct Task {
    pub(super) arn: String,
}

impl Task {
    pub(super) fn id(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or(&self.arn)
    }
}
