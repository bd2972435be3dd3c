//! Changes of the host beside Longshore: its network, its firewall, Docker's settings, a reboot.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    installed::{Guest, PATIENCE, Task},
    task_rows::sleeper,
};
use crate::figures::progress;
use longshore_harness::service::{self, until_stable};

/// Where EC2 answers instances, and so what tasks are kept from.
const INSTANCE_METADATA: &str = "169.254.169.254";
/// Metadata may be away for as long as the watch takes to see it.
const REPAIR_S: u32 = 90;

pub(super) async fn networkd_restart_keeps_the_rules(guest: &mut Guest) -> Result<()> {
    let task = guest.run_task(sleeper(json!({}), json!({}))).await?;
    guest.kept_from_instance_metadata(&task).await?;
    guest.sh("systemctl restart systemd-networkd; networkctl reconfigure $(ls /sys/class/net | grep ^e)").await?;
    guest.repaired(&task).await?;
    guest.stop(&task).await?;
    Ok(())
}

pub(super) async fn flushed_nftables_are_laid_again(guest: &mut Guest) -> Result<()> {
    let task = guest.run_task(sleeper(json!({}), json!({}))).await?;
    guest.sh("nft flush ruleset").await?;
    guest.repaired(&task).await?;
    guest.stop(&task).await?;
    // Docker lays its own rules at its start only.
    guest.sh("systemctl restart docker").await?;
    guest.until("docker version").await
}

pub(super) async fn input_drop_lets_metadata_through(guest: &mut Guest) -> Result<()> {
    // What an operator's firewall has for itself; the way to this guest's shell is among it.
    guest
        .sh("iptables -A INPUT -i lo -j ACCEPT
             iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
             iptables -A INPUT -p tcp -m multiport --dports 22,8420 -j ACCEPT
             iptables -P INPUT DROP")
        .await?;
    let held = async {
        let task = guest.run_task(sleeper(json!({}), json!({}))).await?;
        guest.repaired(&task).await?;
        guest.stop(&task).await?;
        anyhow::Ok(())
    }
    .await;
    guest
        .sh("iptables -P INPUT ACCEPT
             iptables -D INPUT -p tcp -m multiport --dports 22,8420 -j ACCEPT
             iptables -D INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
             iptables -D INPUT -i lo -j ACCEPT")
        .await?;
    held
}

pub(super) async fn own_bridge_has_metadata_and_no_imds(guest: &mut Guest) -> Result<()> {
    guest
        .sh("ip link add br7 type bridge
             ip addr add 10.77.0.1/16 dev br7
             ip link set br7 up")
        .await?;
    guest.configure_docker(r#"{"bridge": "br7"}"#).await?;
    guest.restart_agent().await?;
    let held = async {
        let task = guest.run_task(sleeper(json!({}), json!({}))).await?;
        guest.repaired(&task).await?;
        guest.stop(&task).await?;
        anyhow::Ok(())
    }
    .await;
    guest.configure_docker("{}").await?;
    guest.sh("ip link del br7").await?;
    guest.restart_agent().await?;
    held
}

pub(super) async fn data_root_in_another_folder_keeps_logs(guest: &mut Guest) -> Result<()> {
    guest.move_data_root("/srv/docker").await?;
    guest.restart_agent().await?;
    let arrived = guest.lines_arrive("guest/data-root").await;
    guest.move_data_root("/var/lib/docker").await?;
    guest.restart_agent().await?;
    arrived
}

/// The unit hides /home: the agent says which drop-in it needs, and with it logs are read.
pub(super) async fn data_root_under_home_is_refused_or_read(guest: &mut Guest) -> Result<()> {
    guest.move_data_root("/home/docker").await?;
    let held = async {
        guest.sh("systemctl restart longshore-agent || true").await?;
        guest
            .until("journalctl -b -u longshore-agent -o cat | grep -q 'ProtectHome=read-only'")
            .await
            .context("the agent does not say what to add")?;
        guest
            .sh("mkdir -p /etc/systemd/system/longshore-agent.service.d
                 printf '[Service]\\nProtectHome=read-only\\n' \
                   > /etc/systemd/system/longshore-agent.service.d/home.conf
                 systemctl daemon-reload")
            .await?;
        guest.restart_agent().await?;
        guest.lines_arrive("guest/home").await
    }
    .await;
    guest
        .sh("rm -rf /etc/systemd/system/longshore-agent.service.d; systemctl daemon-reload")
        .await?;
    guest.move_data_root("/var/lib/docker").await?;
    guest.restart_agent().await?;
    held
}

/// The service has its tasks again, and nothing is called good before the host was heard.
pub(super) async fn reboot_brings_the_service_back(guest: &mut Guest) -> Result<()> {
    let family = guest.register(sleeper(json!({}), json!({}))).await?;
    let name = "rebooted";
    let create = json!({
        "serviceName": name, "taskDefinition": family, "desiredCount": 2,
        "tags": service::tags(&[("longshore:healthy-after", "40")]),
    });
    guest.ecs.call("CreateService", create).await?;
    service::until(&guest.ecs, name, PATIENCE, |shown| shown.running() == 2).await?;
    // In the middle of the deployment: its tasks have not run for long enough yet.
    guest.machine.reboot().await?;
    guest.connected().await?;
    let steady = until_stable(&guest.ecs, name, 2).await?;
    let deployed = &steady.deployments()[0]["updatedAt"];
    let heard = guest
        .sh("journalctl -b -u longshore-agent -o short-unix | grep -m1 ' ready ' | cut -d. -f1")
        .await?;
    let heard: f64 = heard.trim().parse().context("when the agent was ready")?;
    let deployed = deployed.as_f64().context("when the deployment was done")?;
    ensure!(deployed >= heard, "the deployment was done at {deployed}, the agent came at {heard}");
    guest.ecs.call("DeleteService", json!({ "service": name, "force": true })).await?;
    guest.until("test $(docker ps -q | wc -l) = 0").await
}

impl Guest {
    pub(super) async fn asks_for_metadata(&self, task: &Task) -> Result<()> {
        let asked = self.inside(task, "wget -qO- $ECS_CONTAINER_METADATA_URI_V4/task").await?;
        let shown: Value = serde_json::from_str(&asked)?;
        ensure!(shown["TaskARN"] == json!(task.arn), "metadata of another task: {shown}");
        Ok(())
    }

    /// An address of the guest stands in for EC2's, so that only a rule keeps tasks from it.
    async fn kept_from_instance_metadata(&self, task: &Task) -> Result<()> {
        self.sh(&format!(
            "ip addr show dev lo | grep -q {INSTANCE_METADATA} \
             || ip addr add {INSTANCE_METADATA}/32 dev lo
             pgrep -f 'httpd -p {INSTANCE_METADATA}:80' >/dev/null \
             || {{ mkdir -p /srv/imds; echo secret > /srv/imds/index.html
                   busybox httpd -p {INSTANCE_METADATA}:80 -h /srv/imds; }}
             test \"$(curl -s --max-time 5 http://{INSTANCE_METADATA}/)\" = secret"
        ))
        .await
        .context("the stand-in for EC2's instance metadata")?;
        let ask = format!("busybox timeout 5 wget -qO- http://{INSTANCE_METADATA}/");
        let asked = self.inside(task, &ask).await;
        ensure!(asked.is_err(), "the task reached the instance's metadata: {asked:?}");
        Ok(())
    }

    /// Metadata is served and the instance's is kept, at once or when the watch has seen it.
    async fn repaired(&self, task: &Task) -> Result<()> {
        let container = self.container(task).await?;
        let ask = "busybox timeout 5 wget -qO- $ECS_CONTAINER_METADATA_URI_V4/task";
        let script = format!(
            "end=$(($(date +%s) + {REPAIR_S}))
             until docker exec {container} /bin/sh -c '{ask}' >/dev/null 2>&1; do
               [ $(date +%s) -lt $end ] || {{ echo 'metadata does not come back' >&2; exit 1; }}
               sleep 1
             done"
        );
        self.sh(&script).await?;
        let end = tokio::time::Instant::now() + std::time::Duration::from_secs(u64::from(REPAIR_S));
        loop {
            match self.kept_from_instance_metadata(task).await {
                Ok(()) => return Ok(()),
                Err(error) if tokio::time::Instant::now() > end => return Err(error),
                Err(error) => progress(&format!("guest: not yet: {error:#}")),
            }
        }
    }

    /// Writes Docker's daemon.json and restarts Docker.
    pub(super) async fn configure_docker(&self, settings: &str) -> Result<()> {
        self.sh(&format!(
            "mkdir -p /etc/docker
             echo '{settings}' > /etc/docker/daemon.json
             systemctl restart docker"
        ))
        .await?;
        self.until("docker version").await
    }

    /// Docker's images go along, so that the sample is there.
    async fn move_data_root(&self, folder: &str) -> Result<()> {
        self.sh(&format!(
            "old=$(docker info -f '{{{{.DockerRootDir}}}}')
             systemctl stop docker.socket docker
             rm -rf {folder}; mkdir -p $(dirname {folder}); mv $old {folder}
             mkdir -p /etc/docker
             echo '{{\"data-root\": \"{folder}\"}}' > /etc/docker/daemon.json
             systemctl reset-failed docker.socket docker || true
             systemctl start docker.socket docker"
        ))
        .await?;
        self.until("docker version").await
    }

    /// Sets one of the agent's settings and restarts the agent.
    pub(super) async fn set_agent(&self, name: &str, value: &str) -> Result<()> {
        self.sh(&format!(
            "sed -i '/^{name} = /d' /etc/longshore/agent.toml
             echo '{name} = {value} # row' >> /etc/longshore/agent.toml"
        ))
        .await?;
        self.restart_agent().await
    }

    pub(super) async fn unset_agent(&self, name: &str) -> Result<()> {
        self.sh(&format!("sed -i '/^{name} = /d' /etc/longshore/agent.toml")).await?;
        self.restart_agent().await
    }

    /// Runs a task that logs by awslogs and reads its line back.
    pub(super) async fn lines_arrive(&mut self, group: &str) -> Result<()> {
        let logs = self.ecs.logs();
        let line = "one line of the guest";
        let script = format!("echo {line}; trap \"exit 0\" TERM; sleep 100000 & wait");
        let options = json!({
            "awslogs-group": group, "awslogs-create-group": "true", "awslogs-region": super::installed::REGION,
            "awslogs-stream-prefix": "row",
        });
        let container = json!({
            "command": ["/bin/sh", "-c", script],
            "logConfiguration": { "logDriver": "awslogs", "options": options },
        });
        let task = self.run_task(sleeper(container, json!({}))).await?;
        let stream = format!("row/main/{}", task.id());
        // A group that a task makes is there from its first line on.
        let named = json!({ "logGroupNamePrefix": group });
        logs.eventually("DescribeLogGroups", named, PATIENCE, |answer| {
            let groups = answer["logGroups"].as_array()?;
            groups.iter().any(|shown| shown["logGroupName"] == json!(group)).then_some(())
        })
        .await?;
        let ask = json!({ "logGroupName": group, "logStreamName": stream, "startFromHead": true });
        logs.eventually("GetLogEvents", ask, PATIENCE, |answer| {
            let events = answer["events"].as_array()?;
            events.iter().any(|event| event["message"] == json!(line)).then_some(())
        })
        .await?;
        self.stop(&task).await?;
        Ok(())
    }
}
