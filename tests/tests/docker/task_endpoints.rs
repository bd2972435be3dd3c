//! What containers on real hosts learn of themselves, and what they do not learn of others
//! (promise P24).

use std::sync::Arc;

use longshore_agent::fleet::join;
use longshore_common::{
    clock::SystemClock,
    machine::AgentRun,
    protocol::{PROTOCOL_VERSION, TaskAsk, TaskRequest},
};
use longshore_harness::{
    command::run as run_command,
    fleet::{Fleet, FleetHost, FleetSettings},
    image::SAMPLE_IMAGE,
};
use serde_json::{Value, json};

use crate::definition::{SLEEPER, run, tasks_of, wait};

/// The address that ECS gives.
const ENDPOINTS: &str = "169.254.170.2";
const INSTANCE_METADATA: &str = "169.254.169.254";

/// A running container of a task, from whose inside is asked.
struct Inside {
    socket: String,
    id: String,
    environment: Vec<(String, String)>,
}

impl Inside {
    /// The one container of a task, if it is on this host.
    async fn on(host: &FleetHost, task: &str) -> Option<Inside> {
        let engine = host.engine().unwrap();
        let listed = engine.containers(false).await.unwrap();
        let label = "com.amazonaws.ecs.task-arn";
        let found = listed.iter().find(|one| one.labels.get(label).is_some_and(|arn| arn == task));
        let id = found?.id.clone();
        let shown = engine.get_json(&format!("/containers/{id}/json")).await.unwrap();
        let environment = shown["Config"]["Env"].as_array().unwrap();
        let pair = |text: &Value| {
            let (name, value) = text.as_str().unwrap().split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        let environment = environment.iter().map(pair).collect();
        Some(Inside { socket: engine.socket().display().to_string(), id, environment })
    }

    fn variable(&self, name: &str) -> &str {
        let found = self.environment.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no {name} in {:?}", self.environment)).1
    }

    fn v4(&self) -> &str {
        self.variable("ECS_CONTAINER_METADATA_URI_V4")
    }

    fn sh(&self, script: &str) -> Result<String, String> {
        let socket = format!("unix://{}", self.socket);
        let command = ["-H", &socket, "exec", &self.id, "/bin/sh", "-c", script];
        run_command("docker", &command).map_err(|error| error.to_string())
    }

    /// Status and body; nothing when there was no answer.
    fn ask(&self, method: &str, url: &str, body: &str) -> Option<(u16, Value)> {
        let (place, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let (address, port) = place.rsplit_once(':').unwrap_or((place, "80"));
        let length = body.len();
        // The pause keeps busybox's nc from closing before the answer has come.
        let script = format!(
            "{{ printf '%s /%s HTTP/1.0\\r\\nContent-Length: {length}\\r\\n\\r\\n%s' '{method}' \
             '{path}' '{body}'; sleep 1; }} | nc -w 3 {address} {port}"
        );
        let answer = self.sh(&script).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some((status, serde_json::from_str(body).unwrap_or_else(|_| json!(body))))
    }

    fn get(&self, url: &str) -> Option<(u16, Value)> {
        self.ask("GET", url, "")
    }

    fn status(&self, url: &str) -> Option<u16> {
        self.get(url).map(|(status, _)| status)
    }
}

async fn register(fleet: &Fleet, family: &str, mode: &str, more: Value) {
    let mut container = json!({
        "name": "main", "image": SAMPLE_IMAGE, "cpu": 64, "memory": 32, "command": SLEEPER,
    });
    for (member, value) in more.as_object().unwrap() {
        container[member] = value.clone();
    }
    let input = json!({
        "family": family, "networkMode": mode, "containerDefinitions": [container],
    });
    fleet.ecs().unwrap().call("RegisterTaskDefinition", input).await.unwrap();
}

/// Runs one task of each family, and looks into their containers.
async fn inside<const N: usize>(fleet: &Fleet, families: [&str; N]) -> [Inside; N] {
    let aws = fleet.aws();
    let mut tasks = Vec::new();
    for family in families {
        tasks.extend(tasks_of(&run(&aws, family, &[]).await));
    }
    wait(&aws, "tasks-running", &tasks).await;
    let mut found = Vec::new();
    for task in &tasks {
        found.push(Inside::on(&fleet.hosts[0], task).await.unwrap());
    }
    found.try_into().unwrap_or_else(|_| panic!("not as many tasks as families"))
}

#[tokio::test]
async fn containers_on_the_bridge_and_on_the_hosts_network_learn_of_themselves() {
    let settings = FleetSettings { hosts: 1, ..Default::default() };
    let mut fleet = Fleet::start(settings).await.unwrap();
    register(&fleet, "bridged", "bridge", json!({ "portMappings": [{ "containerPort": 80 }] }))
        .await;
    register(&fleet, "hosted", "host", json!({})).await;
    let both = inside(&fleet, ["bridged", "hosted"]).await;
    for (container, family) in both.iter().zip(["bridged", "hosted"]) {
        let (status, shown) = container.get(container.v4()).unwrap();
        assert_eq!(status, 200, "{family}: {shown}");
        assert_eq!(shown["DockerId"], json!(container.id));
        assert_eq!((&shown["Name"], &shown["KnownStatus"]), (&json!("main"), &json!("RUNNING")));
        assert_eq!(shown["Limits"], json!({ "CPU": 64, "Memory": 32 }));
        let (status, task) = container.get(&format!("{}/task", container.v4())).unwrap();
        assert_eq!((status, &task["Family"]), (200, &json!(family)));
        let v3 = container.variable("ECS_CONTAINER_METADATA_URI");
        assert_eq!(container.status(v3), Some(200));

        let (status, stats) = container.get(&format!("{}/stats", container.v4())).unwrap();
        assert_eq!(status, 200, "{family}: {stats}");
        assert!(stats["cpu_stats"]["cpu_usage"]["total_usage"].as_u64().unwrap() > 0, "{stats}");
        assert!(stats["memory_stats"]["usage"].as_u64().unwrap() > 0, "{stats}");
        assert_eq!(stats["networks"]["eth0"].is_object(), family == "bridged", "{stats}");
        let (status, stats) = container.get(&format!("{}/task/stats", container.v4())).unwrap();
        assert_eq!(status, 200);
        assert!(stats[&container.id].is_object(), "{stats}");
    }
    let [bridged, hosted] = &both;
    let (_, shown) = bridged.get(bridged.v4()).unwrap();
    assert_eq!(shown["Ports"][0]["ContainerPort"], json!(80));
    // By its address alone, as version 2; on the host's network there is none of one's own.
    let v2 = format!("http://{ENDPOINTS}/v2/metadata");
    assert_eq!(bridged.get(&v2).unwrap().1["Family"], json!("bridged"));
    assert_eq!(hosted.status(&v2), Some(400));

    // A restarted agent answers to the ids that containers hold.
    fleet.kill_agent(0).await.unwrap();
    fleet.start_agent(0).await.unwrap();
    for container in &both {
        assert_eq!(container.status(container.v4()), Some(200));
    }
}

#[tokio::test]
async fn nobody_is_answered_about_another_task() {
    // The second host has an engine but no agent, and so no such address of its own.
    let settings = FleetSettings { hosts: 2, joining_later: 1, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    register(&fleet, "bridged", "bridge", json!({})).await;
    register(&fleet, "hosted", "host", json!({})).await;
    let more =
        json!({ "linuxParameters": { "capabilities": { "add": ["NET_ADMIN", "NET_RAW"] } } });
    register(&fleet, "spoofer", "bridge", more).await;
    let families = ["bridged", "hosted", "bridged", "hosted", "spoofer"];
    let [bridged, hosted, neighbour, hosted_neighbour, spoofer] = inside(&fleet, families).await;
    let guess = format!("http://{ENDPOINTS}/v4/{}", "0123456789abcdef".repeat(2));
    let protection =
        |of: &Inside| format!("{}/task-protection/v1/state", of.variable("ECS_AGENT_URI"));
    for victim in [&bridged, &hosted] {
        for (who, attacker) in [
            ("a neighbour on the bridge", &neighbour),
            ("a neighbour on the host's network", &hosted_neighbour),
        ] {
            for url in [
                victim.v4().to_owned(),
                format!("{}/task", victim.v4()),
                format!("{}/task/stats", victim.v4()),
                protection(victim),
            ] {
                assert_eq!(attacker.status(&url), Some(403), "{who}: {url}");
            }
        }
        assert_eq!(victim.status(&guess), Some(404), "a guessed id");
    }

    // Another container's address, taken from it: the host's neighbour table follows the last to
    // speak, so the connection comes about. The kernel knows that it is not the victim's.
    let address = bridged.sh("hostname -i").unwrap().trim().to_owned();
    let gateway = bridged.sh("busybox ip route").unwrap();
    let gateway = gateway.split_whitespace().skip_while(|word| *word != "via").nth(1).unwrap();
    let take = format!(
        "busybox ip addr flush dev eth0 && busybox ip addr add {address}/16 dev eth0 && \
         busybox ip route add default via {gateway} && busybox arping -c 2 -U -I eth0 {address}"
    );
    let _ = spoofer.sh(&take);
    let own = spoofer.sh("hostname -i; busybox ip -4 addr show dev eth0").unwrap();
    assert!(own.contains(&address), "{own}");
    for url in [bridged.v4(), &format!("http://{ENDPOINTS}/v2/metadata")] {
        let spoofed = spoofer.get(url);
        assert!(spoofed.as_ref().is_none_or(|(status, _)| *status == 403), "{spoofed:?}");
    }
    spoofer.sh("busybox ip addr flush dev eth0").unwrap();
    let _ = bridged.sh(&format!("busybox arping -c 2 -U -I eth0 {address}"));

    // The endpoints are at no other address of the host, and the agent's own ports are closed.
    let host = fleet.hosts[0].network.address();
    let path = bridged.v4().strip_prefix(&format!("http://{ENDPOINTS}")).unwrap();
    for place in [host, gateway] {
        assert_eq!(bridged.status(&format!("http://{place}{path}")), None, "{place}");
        for port in [51678, 51679] {
            assert_eq!(bridged.status(&format!("http://{place}:{port}{path}")), None);
        }
    }
    for place in ["127.0.0.1:80", "127.0.0.1:51679"] {
        assert_eq!(hosted.status(&format!("http://{place}{path}")), None, "{place}");
    }

    // A process of the host that is in no container, and another machine that routes there.
    let from = |host: usize, url: &str| {
        let namespace = format!("--net={}", fleet.hosts[host].network.namespace().display());
        let arguments =
            [&namespace, "curl", "-sS", "-m", "3", "-o", "/dev/null", "-w", "%{http_code}", url];
        run_command("nsenter", &arguments).unwrap_or_else(|_| "none".to_owned())
    };
    for victim in [&bridged, &hosted] {
        assert_eq!(from(0, victim.v4()), "403", "a process of the host");
    }
    let other = fleet.hosts[1].network.name();
    run_command("ip", &["-n", other, "route", "add", ENDPOINTS, "via", host]).unwrap();
    for victim in [&bridged, &hosted] {
        let said = from(1, victim.v4());
        assert!(["403", "none"].contains(&said.as_str()), "another machine: {said}");
    }
    // Whoever may still can.
    for container in [&bridged, &hosted, &neighbour, &hosted_neighbour] {
        assert_eq!(container.status(container.v4()), Some(200));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_metadata_is_kept_from_tasks_on_the_bridge() {
    let settings = FleetSettings { hosts: 1, ..Default::default() };
    let mut fleet = Fleet::start(settings).await.unwrap();
    register(&fleet, "bridged", "bridge", json!({})).await;
    let [bridged] = inside(&fleet, ["bridged"]).await;
    // The machine that the host's default route leads to plays EC2.
    let host = &fleet.hosts[0].network;
    let bridge = fleet.bridge();
    run_command("ip", &["addr", "add", &format!("{INSTANCE_METADATA}/32"), "dev", bridge]).unwrap();
    let listener = tokio::net::TcpListener::bind((INSTANCE_METADATA, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n\"credentials\"").await;
        }
    });
    let url = format!("http://{INSTANCE_METADATA}:{port}/latest/meta-data");
    let reached = || tokio::task::block_in_place(|| bridged.status(&url));
    assert_eq!(reached(), None);
    // Either of the two guards keeps it away alone, and nothing else does.
    let (name, namespace) =
        (host.name().to_owned(), format!("--net={}", host.namespace().display()));
    let unrouted = || {
        let to = ["iif", "docker0", "to", INSTANCE_METADATA, "prohibit"];
        let rule = [&["-n", &name, "-4", "rule", "del"], &to[..]].concat();
        run_command("ip", &rule).map(drop)
    };
    let unfiltered = || {
        let rule = ["FORWARD", "-i", "docker0", "-d", INSTANCE_METADATA, "-j", "REJECT"];
        let line = [&[&namespace, "iptables", "-w", "-D"], &rule[..]].concat();
        run_command("nsenter", &line).map(drop)
    };
    unrouted().unwrap();
    assert_eq!(reached(), None);
    // The agent lays again what is missing: without it both can be gone.
    fleet.kill_agent(0).await.unwrap();
    let _ = unrouted();
    unfiltered().unwrap();
    assert_eq!(reached(), Some(200));
}

#[tokio::test]
async fn a_task_protects_itself_and_a_host_speaks_for_its_own_tasks_only() {
    let settings = FleetSettings { hosts: 2, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    register(&fleet, "worker", "bridge", json!({})).await;
    let client = fleet.ecs().unwrap();
    let service =
        json!({ "serviceName": "workers", "taskDefinition": "worker", "desiredCount": 1 });
    client.call("CreateService", service).await.unwrap();
    let aws = fleet.aws();
    let tasks = loop {
        let listed = aws.ecs(&["list-tasks", "--service-name", "workers"]).await.unwrap();
        let tasks = listed["taskArns"].as_array().unwrap().clone();
        if !tasks.is_empty() {
            break tasks.iter().map(|arn| arn.as_str().unwrap().to_owned()).collect::<Vec<_>>();
        }
    };
    wait(&aws, "tasks-running", &tasks).await;
    let (worker, elsewhere) = match Inside::on(&fleet.hosts[0], &tasks[0]).await {
        Some(worker) => (worker, 1),
        None => (Inside::on(&fleet.hosts[1], &tasks[0]).await.unwrap(), 0),
    };
    let url = format!("{}/task-protection/v1/state", worker.variable("ECS_AGENT_URI"));
    let (status, said) = worker.get(&url).unwrap();
    assert_eq!((status, &said["protection"]["ProtectionEnabled"]), (200, &json!(false)), "{said}");
    let body = r#"{"ProtectionEnabled":true,"ExpiresInMinutes":60}"#;
    let (status, said) = worker.ask("PUT", &url, body).unwrap();
    assert_eq!((status, &said["protection"]["TaskArn"]), (200, &json!(tasks[0])), "{said}");
    let shown = aws
        .ecs(&["get-task-protection", "--cluster", "default", "--tasks", &tasks[0]])
        .await
        .unwrap();
    assert_eq!(shown["protectedTasks"][0]["protectionEnabled"], json!(true), "{shown}");

    // The other host knows the task's id, and is told nothing of it.
    let entry = join::FleetEntry {
        coordinator: format!("{}:8421", fleet.gateway()),
        token: None,
        host: None,
        directory: fleet.hosts[elsewhere].agent_folder(),
        run: AgentRun::default(),
    };
    let (member, _) = join::enter(&entry, Arc::new(SystemClock::start())).await.unwrap();
    let task = tasks[0].rsplit('/').next().unwrap().parse().unwrap();
    for ask in [TaskAsk::Protection, TaskAsk::Protect { minutes: None }, TaskAsk::Tags] {
        let request = TaskRequest { protocol: PROTOCOL_VERSION, task, ask, run: None };
        let refused = member.task(&request).await.unwrap_err().to_string();
        assert!(refused.contains("this host runs no such task"), "{refused}");
    }
    assert_eq!(worker.get(&url).unwrap().1["protection"]["ProtectionEnabled"], json!(true));

    let (status, task) = worker.get(&format!("{}/taskWithTags", worker.v4())).unwrap();
    assert_eq!((status, &task["Errors"]), (200, &Value::Null), "{task}");
    assert_eq!(task["ServiceName"], json!("workers"));
}

#[tokio::test]
async fn a_task_of_no_service_cannot_be_protected() {
    let settings = FleetSettings { hosts: 1, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    register(&fleet, "alone", "bridge", json!({})).await;
    let [alone] = inside(&fleet, ["alone"]).await;
    let url = format!("{}/task-protection/v1/state", alone.variable("ECS_AGENT_URI"));
    let (status, said) = alone.ask("PUT", &url, r#"{"ProtectionEnabled":true}"#).unwrap();
    assert_eq!((status, &said["failure"]["Reason"]), (200, &json!("TASK_NOT_VALID")), "{said}");
}
