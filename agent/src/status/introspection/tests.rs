use std::net::SocketAddr;

use expect_test::{Expect, expect};
use longshore_common::{
    clock::{SteppedClock, Timestamp},
    id::{FleetId, HostId, TaskId},
    protocol::{
        ContainerId, Desired, DesiredDigest, Epoch, Manifest, Order, OrderKind, PROTOCOL_VERSION,
        PollRequest, Registered, RunOrder,
    },
    task::TaskOverride,
    task_definition::{ContainerDefinition, PortMapping, TaskDefinition, TaskSpec},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::{
    engine::supervisor::{self, EngineConfig},
    fleet::{noted_polls::NotedPolls, poll_endpoint::AnswersPolls},
    logs::LogReader,
    plain_http::{HEAD_BYTES_MAX, HEADERS_MAX},
    runtime::fake::{Behaviour, FakeRuntime},
};

const FLEET: FleetId = FleetId::new(0xf1ee7);
const HOST: HostId = HostId::new(0x4057);
const TASK: TaskId = TaskId::new(0x7a5c);
const START: Timestamp = Timestamp(1_700_000_000_000);

/// Introspection on a real socket, of an engine on a container engine in memory.
struct Shown {
    address: SocketAddr,
    status: Arc<Status>,
    clock: Arc<SteppedClock>,
    shutdown: CancellationToken,
    engine: Option<supervisor::EngineHandle>,
    _directory: tempfile::TempDir,
}

impl Shown {
    async fn joining() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clock = SteppedClock::at(START);
        let status = Status::new("web".to_owned(), "1.2.3", "abc", clock.clone());
        let shutdown = CancellationToken::new();
        tokio::spawn(serve(listener, status.clone(), shutdown.clone()));
        let directory = tempfile::tempdir().unwrap();
        Shown { address, status, clock, shutdown, engine: None, _directory: directory }
    }

    /// One task was ordered and runs.
    async fn with_a_task() -> Self {
        let mut shown = Self::joining().await;
        let fake = FakeRuntime::new(shown.clock.clone());
        fake.add_image("web:1", Behaviour::default());
        let ledger = shown._directory.path().join("ledger");
        let config = EngineConfig::new(FLEET, HOST, ledger);
        let (engine, _) =
            supervisor::start(config, fake, shown.clock.clone(), shown.shutdown.clone()).unwrap();
        shown.status.engine_started(engine.clone());
        shown.engine = Some(engine.clone());
        shown.status.set_docker_answers(true);
        shown.status.set_registered(Registered {
            host: HOST,
            fleet: FLEET,
            container_instance_arn: format!("arn:aws:ecs:eu-1:0:container-instance/web/{HOST}"),
            region: "eu-1".to_owned(),
            account: "0".to_owned(),
        });
        let logs = shown._directory.path().join("logs.sqlite");
        let logs = LogReader::of(logs, FLEET, HOST);
        let polls = NotedPolls { engine, logs, status: shown.status.clone() };
        loop {
            polls.poll(order_one_task()).await.unwrap();
            let tasks = shown.status.tasks(ENGINE_ANSWERS_WITHIN).await.unwrap();
            if tasks.first().is_some_and(|task| task.known_status == "RUNNING") {
                return shown;
            }
        }
    }

    /// The status line's code, and the body.
    async fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await
    }

    async fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    async fn check(&self, path: &str, expected: Expect) {
        let (code, body) = self.get(path).await;
        let shown = match serde_json::from_str::<serde_json::Value>(&body) {
            Ok(json) => serde_json::to_string_pretty(&json).unwrap(),
            Err(_) => body,
        };
        expected.assert_eq(&format!("{code}\n{shown}"));
    }
}

fn order_one_task() -> PollRequest {
    let spec = TaskSpec {
        container_definitions: vec![ContainerDefinition {
            name: "app".into(),
            image: Some("web:1".into()),
            memory: Some(16),
            port_mappings: vec![PortMapping { container_port: Some(80), ..PortMapping::default() }],
            ..ContainerDefinition::default()
        }],
        ..TaskSpec::default()
    };
    let run = RunOrder {
        definition: 0,
        cluster: "web".into(),
        task_arn: format!("arn:aws:ecs:eu-1:0:task/web/{TASK}"),
        overrides: TaskOverride::default(),
        group: "family:web".into(),
        started_by: None,
        created_at: START,
        container_ids: vec![ContainerId(TaskId::new(1))],
        gpus: Vec::new(),
        image_digests: Vec::new(),
        log_driver_mode: None,
    };
    let kind = OrderKind::Run(Box::new(run));
    let mut digest = DesiredDigest::default();
    digest.add(TASK, 1, Desired::Run);
    PollRequest {
        protocol: PROTOCOL_VERSION,
        fleet: FLEET,
        host: HOST,
        epoch: Epoch { counter: 1, incarnation: 1 },
        hold_ms: 10,
        acknowledged: None,
        definitions: vec![TaskDefinition { family: "web".into(), revision: 3, spec }.into()],
        orders: vec![],
        last_order: 1,
        digest,
        manifest: Some(Manifest {
            orders: vec![Order { seq: 1, task: TASK, generation: 1, kind }],
            ..Manifest::default()
        }),
        images: None,
        sections: Vec::new(),
        knows_subscriptions: false,
    }
}

#[tokio::test]
async fn metadata_names_cluster_instance_and_version() {
    let shown = Shown::with_a_task().await;
    shown.check("/v1/metadata", expect![[r#"
        200
        {
          "Cluster": "web",
          "ContainerInstanceArn": "arn:aws:ecs:eu-1:0:container-instance/web/00000000000000000000000000004057",
          "Version": "Longshore Agent - v1.2.3 (abc)"
        }"#]]).await;
}

#[tokio::test]
async fn tasks_are_shown_as_ecs_shows_them() {
    let shown = Shown::with_a_task().await;
    shown
        .check(
            "/v1/tasks",
            expect![[r#"
        200
        {
          "Tasks": [
            {
              "Arn": "arn:aws:ecs:eu-1:0:task/web/00000000000000000000000000007a5c",
              "Containers": [
                {
                  "DockerId": "0000000000000000000000000000000000000000000000000000000000000001",
                  "DockerName": "ecs-web-3-app-21337730333a4173021a",
                  "Name": "app",
                  "Ports": [
                    {
                      "ContainerPort": 80,
                      "HostIp": "0.0.0.0",
                      "HostPort": 49153,
                      "Protocol": "tcp"
                    }
                  ]
                }
              ],
              "DesiredStatus": "RUNNING",
              "Family": "web",
              "KnownStatus": "RUNNING",
              "Version": "3"
            }
          ]
        }"#]],
        )
        .await;
}

#[tokio::test]
async fn one_task_is_found_by_its_arn_and_by_a_containers_id() {
    let shown = Shown::with_a_task().await;
    let tasks = shown.status.tasks(ENGINE_ANSWERS_WITHIN).await.unwrap();
    let (arn, id) = (&tasks[0].arn, tasks[0].containers[0].docker_id.clone().unwrap());
    let all: serde_json::Value = serde_json::from_str(&shown.get("/v1/tasks").await.1).unwrap();
    let one = all["Tasks"][0].to_string();
    let escaped = arn.replace(':', "%3A").replace('/', "%2F");
    for query in [format!("taskarn={arn}"), format!("taskarn={escaped}"), format!("dockerid={id}")]
    {
        let (code, body) = shown.get(&format!("/v1/tasks?{query}")).await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((code, body.to_string()), (200, one.clone()), "{query}");
    }
    for (query, expected) in [
        ("taskarn=arn:other", 404),
        ("dockerid=0000", 404),
        ("dockerid=", 404),
        ("taskarn=a&dockerid=b", 400),
        ("arn=a", 400),
    ] {
        assert_eq!(shown.get(&format!("/v1/tasks?{query}")).await.0, expected, "{query}");
    }
}

#[tokio::test]
async fn an_unknown_path_lists_the_known_ones() {
    let shown = Shown::joining().await;
    shown
        .check(
            "/v1/nothing",
            expect![[r#"
        404
        {
          "AvailableCommands": [
            "/v1/metadata",
            "/v1/tasks",
            "/license",
            "/healthz",
            "/metrics"
          ]
        }"#]],
        )
        .await;
}

#[tokio::test]
async fn the_license_is_served() {
    let (code, body) = Shown::joining().await.get("/license").await;
    assert_eq!(code, 200);
    assert!(body.contains("Apache License"));
}

#[tokio::test]
async fn an_agent_that_still_joins_is_healthy_and_has_no_tasks_to_show() {
    let shown = Shown::joining().await;
    shown
        .check(
            "/healthz",
            expect![[r#"
                200
                {
                  "coordinator": "waiting",
                  "docker": "unreachable",
                  "docker_data": "ok",
                  "last_poll_age_seconds": null,
                  "network": "ok",
                  "registered": false,
                  "room": "enough",
                  "status": "joining",
                  "storage": "ok"
                }"#]],
        )
        .await;
    shown
        .check(
            "/v1/tasks",
            expect![[r#"
        503
        {
          "Error": "the engine does not run yet, or not any more"
        }"#]],
        )
        .await;
    shown
        .check(
            "/v1/metadata",
            expect![[r#"
        200
        {
          "Cluster": "web",
          "ContainerInstanceArn": null,
          "Version": "Longshore Agent - v1.2.3 (abc)"
        }"#]],
        )
        .await;
}

#[tokio::test]
async fn health_says_since_when_nobody_polled() {
    let shown = Shown::with_a_task().await;
    shown.clock.advance(Duration::from_millis(1500));
    shown
        .check(
            "/healthz",
            expect![[r#"
        200
        {
          "coordinator": "polls",
          "docker": "reachable",
          "docker_data": "ok",
          "last_poll_age_seconds": 1.5,
          "network": "ok",
          "registered": true,
          "room": "enough",
          "status": "ok",
          "storage": "ok"
        }"#]],
        )
        .await;
}

#[tokio::test]
async fn healthz_is_well_and_says_so_while_the_coordinator_is_away() {
    let shown = Shown::with_a_task().await;
    for (seconds, expected) in [(14, "polls"), (1, "away"), (600, "away")] {
        shown.clock.advance(Duration::from_secs(seconds));
        let (code, body) = shown.get("/healthz").await;
        let health: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((code, health["coordinator"].as_str()), (200, Some(expected)), "{body}");
    }
    // Then it asks, and learns why.
    shown.status.set_refused("the host was deregistered".to_owned());
    let (code, body) = shown.get("/healthz").await;
    assert!(code == 503 && body.contains("was deregistered"), "{code} {body}");
}

#[tokio::test]
async fn healthz_fails_while_tasks_are_not_served() {
    let shown = Shown::with_a_task().await;
    let problem = || Some("what is wrong".to_owned());
    shown.status.set_network_problem(problem());
    let (code, body) = shown.get("/healthz").await;
    assert!(code == 503 && body.contains("what is wrong"), "{code} {body}");
    shown.status.set_network_problem(None);
    assert_eq!(shown.get("/healthz").await.0, 200);
    shown.status.set_docker_data_problem(problem());
    let (code, body) = shown.get("/healthz").await;
    assert!(code == 503 && body.contains("what is wrong"), "{code} {body}");
}

#[tokio::test]
async fn healthz_fails_while_the_ledger_cannot_be_written() {
    let shown = Shown::with_a_task().await;
    let full = shown._directory.path().join(crate::engine::ledger::tests::FULL);
    std::fs::write(&full, "").unwrap();
    let engine = shown.engine.clone().unwrap();
    let later = |counter| PollRequest {
        epoch: Epoch { counter, ..order_one_task().epoch },
        hold_ms: 0,
        ..order_one_task()
    };
    engine.poll(later(8)).await.unwrap();
    let (code, body) = shown.get("/healthz").await;
    assert!(code == 503 && body.contains("make room on the file system of data_dir"), "{body}");
    std::fs::remove_file(full).unwrap();
    engine.poll(later(9)).await.unwrap();
    assert_eq!(shown.get("/healthz").await.0, 200);
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_not_healthy() {
    let shown = Shown::with_a_task().await;
    // Introspection's own listener ends with the same word, so the answers are asked for directly.
    shown.shutdown.cancel();
    while shown.status.tasks(ENGINE_ANSWERS_WITHIN).await.is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(healthz(&shown.status).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(tasks("", &shown.status).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_figures_are_prometheuss() {
    let shown = Shown::with_a_task().await;
    let (_, body) = shown.get("/metrics").await;
    let figures: Vec<&str> = body
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter(|line| !line.starts_with("process_") && !line.contains("polls_total"))
        .collect();
    expect![[r#"
        longshore_agent_info{version="1.2.3",commit="abc",cluster="web"} 1
        longshore_agent_tasks{status="PENDING"} 0
        longshore_agent_tasks{status="ACTIVATING"} 0
        longshore_agent_tasks{status="RUNNING"} 1
        longshore_agent_tasks{status="STOPPING"} 0
        longshore_agent_tasks{status="STOPPED"} 0
        longshore_agent_docker_reachable 1
        longshore_agent_registered 1
        longshore_agent_last_poll_age_seconds 0"#]]
    .assert_eq(&figures.join("\n"));
    assert!(body.contains("\nprocess_resident_memory_bytes "));
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[tokio::test]
async fn requests_beyond_the_limits_are_refused() {
    let shown = Shown::joining().await;
    let (code, _) = shown
        .ask("POST /v1/tasks HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(code, 405);
    let many: String = (0..=HEADERS_MAX).map(|i| format!("x-{i}: 1\r\n")).collect();
    let (code, _) = shown.ask(&format!("GET / HTTP/1.1\r\n{many}\r\n")).await;
    assert_eq!(code, 431);
    let long = "x".repeat(2 * HEAD_BYTES_MAX);
    let (code, _) = shown.ask(&format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n")).await;
    assert_eq!(code, 431);
}

#[tokio::test]
async fn address_with_all_its_connections_gives_way_to_itself() {
    let shown = Shown::joining().await;
    let mut idle = Vec::new();
    for _ in 0..CONNECTION_LIMITS.per_party {
        let mut stream = TcpStream::connect(shown.address).await.unwrap();
        // Answered, so it is inside.
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        stream.read_u8().await.unwrap();
        idle.push(stream);
    }
    let asked = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let (code, _) = shown.ask(asked).await;
    assert_eq!(code, 200);
}
