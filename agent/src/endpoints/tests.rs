//! The endpoints on real sockets, of an engine on a container engine in memory.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use longshore_common::{
    clock::{SteppedClock, Timestamp},
    id::{FleetId, HostId, TaskId},
    protocol::{
        ContainerId, Desired, DesiredDigest, Epoch, Manifest, Order, OrderKind, PROTOCOL_VERSION,
        PollRequest, RunOrder, TaskRequest,
    },
    task::TaskOverride,
    task_definition::{ContainerDefinition, NetworkMode, TaskDefinition, TaskSpec},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

use super::*;
use crate::{
    endpoints::source::ContainerNetwork,
    engine::supervisor::{self, EngineConfig, EngineHandle, TaskEndpoints},
    fleet::join::CallError,
    runtime::fake::{Behaviour, FakeRuntime, Verb},
    settings::RequestRate,
    task::{
        endpoint_names::{EndpointId, Names},
        shown::ShowsTasks,
    },
};

const FLEET: FleetId = FleetId::new(0xf1ee7);
const HOST: HostId = HostId::new(0x4057);
const START: Timestamp = Timestamp(1_700_000_000_000);
/// Connections from this port are a neighbour's that has taken the address.
const SPOOFED_PORT: u16 = 20_000;
const RATE: RequestRate = RequestRate { steady: 4, burst: 12 };

/// Says of every task that it is protected, with what was asked in the minutes.
struct Coordinator;

impl AnswersTasks for Coordinator {
    async fn ask(&self, request: TaskRequest) -> Result<TaskReply, CallError> {
        match request.ask {
            TaskAsk::Protection => Ok(TaskReply::Protection { until: None }),
            TaskAsk::Protect { minutes: Some(7) } => {
                Ok(TaskReply::NotProtected { reason: "TASK_NOT_VALID".to_owned() })
            }
            TaskAsk::Protect { minutes } => {
                let until = minutes.map(|minutes| Timestamp(u64::from(minutes) * 60_000));
                Ok(TaskReply::Protection { until })
            }
            TaskAsk::Tags => Err(CallError::Timeout {
                address: "10.0.0.1:8421".to_owned(),
                within: Duration::from_secs(15),
            }),
        }
    }
}

/// On the bridge an address is a container's for sure; on the host's network nobody knows.
struct Testimony;

impl Witness for Testimony {
    fn holds_other_end(
        &self,
        ends: Ends,
        network: ContainerNetwork,
        _pid: Option<u32>,
        _docker_id: &str,
    ) -> io::Result<bool> {
        match network {
            ContainerNetwork::Own => Ok(ends.peer.port() != SPOOFED_PORT),
            ContainerNetwork::Host => Err(io::Error::other("nobody knows")),
        }
    }
}

struct Rig {
    address: SocketAddr,
    fake: FakeRuntime,
    clock: Arc<SteppedClock>,
    directory: Arc<EndpointDirectory>,
    engine: EngineHandle,
    names: Names,
    _ledger: tempfile::TempDir,
    _ends_with_this: tokio_util::sync::DropGuard,
}

impl Rig {
    /// Runs tasks 1 and 2, each with containers `app` and `side`.
    async fn start(mode: NetworkMode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clock = SteppedClock::at(START);
        let fake = FakeRuntime::new(clock.clone());
        fake.add_image("web:1", Behaviour::default());
        let names = Names::new([7; 32], address);
        let directory = Arc::new(EndpointDirectory::new(names.clone(), RATE));
        let ledger = tempfile::tempdir().unwrap();
        let config = EngineConfig {
            endpoints: Some(TaskEndpoints { names: names.clone(), directory: directory.clone() }),
            cleanup_wait: Duration::from_millis(1),
            ..EngineConfig::new(FLEET, HOST, ledger.path().join("ledger"))
        };
        let shutdown = CancellationToken::new();
        let around = Surroundings {
            availability_zone: Some("rack-7".to_owned()),
            region: "eu-1".to_owned(),
            account: "000000000000".to_owned(),
        };
        let owner = config.owner();
        let (engine, _) =
            supervisor::start(config, fake.clone(), clock.clone(), shutdown.clone()).unwrap();
        let endpoints = Endpoints::new(
            directory.clone(),
            fake.clone(),
            Coordinator,
            Testimony,
            owner,
            around,
            clock.clone(),
        );
        tokio::spawn(endpoints.serve(listener, shutdown.clone()));
        let rig = Rig {
            address,
            fake,
            clock,
            directory,
            engine,
            names,
            _ledger: ledger,
            _ends_with_this: shutdown.drop_guard(),
        };
        loop {
            rig.engine.poll(order_two_tasks(mode)).await.unwrap();
            let tasks = rig.engine.tasks().await.unwrap();
            if tasks.len() == 2 && tasks.iter().all(|task| task.known_status == "RUNNING") {
                return rig;
            }
        }
    }

    /// What a container finds in its environment.
    fn variable(&self, task: u128, container: &str, name: &str) -> String {
        let key = crate::task::key::TaskKey { task: TaskId::new(task), generation: 1 };
        let containers = self.fake.containers();
        let docker_name = crate::task::names::docker_name("web", 3, container, key);
        let made = containers.iter().find(|made| made.name == docker_name).unwrap();
        let mut variables = made.config.environment.iter();
        variables.find(|(known, _)| known == name).unwrap().1.clone()
    }

    fn address_of(&self, task: u128, container: &str) -> IpAddr {
        let key = crate::task::key::TaskKey { task: TaskId::new(task), generation: 1 };
        let docker_name = crate::task::names::docker_name("web", 3, container, key);
        let containers = self.fake.containers();
        containers.iter().find(|made| made.name == docker_name).unwrap().address.unwrap()
    }

    /// Asks from an address; answers the status and the body.
    async fn ask(&self, from: IpAddr, method: &str, url: &str, body: &str) -> (u16, Value) {
        self.ask_from((from, 0).into(), method, url, body).await
    }

    async fn ask_from(
        &self,
        from: SocketAddr,
        method: &str,
        url: &str,
        body: &str,
    ) -> (u16, Value) {
        let base = format!("http://{}", self.address);
        let path = url.strip_prefix(&base).unwrap_or(url);
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(from).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| json!(body)))
    }

    async fn get(&self, from: IpAddr, url: &str) -> (u16, Value) {
        self.ask(from, "GET", url, "").await
    }
}

fn order_two_tasks(mode: NetworkMode) -> PollRequest {
    let container = |name: &str| ContainerDefinition {
        name: name.to_owned(),
        image: Some("web:1".to_owned()),
        memory: Some(64),
        ..ContainerDefinition::default()
    };
    let definition = TaskDefinition {
        family: "web".to_owned(),
        revision: 3,
        spec: TaskSpec {
            container_definitions: vec![container("app"), container("side")],
            network_mode: Some(mode),
            ..TaskSpec::default()
        },
    };
    let order = |task: u128| Order {
        seq: task as u64,
        task: TaskId::new(task),
        generation: 1,
        kind: OrderKind::Run(Box::new(RunOrder {
            definition: 0,
            cluster: "default".to_owned(),
            task_arn: format!("arn:aws:ecs:eu-1:000000000000:task/default/{}", TaskId::new(task)),
            overrides: TaskOverride::default(),
            group: "service:shop".to_owned(),
            started_by: None,
            created_at: START,
            container_ids: vec![ContainerId(TaskId::new(0xa)), ContainerId(TaskId::new(0xb))],
            gpus: Vec::new(),
            image_digests: Vec::new(),
            log_driver_mode: None,
        })),
    };
    let mut digest = DesiredDigest::default();
    for task in [1, 2] {
        digest.add(TaskId::new(task), 1, Desired::Run);
    }
    PollRequest {
        protocol: PROTOCOL_VERSION,
        fleet: FLEET,
        host: HOST,
        epoch: Epoch { counter: 1, incarnation: 1 },
        hold_ms: 1,
        acknowledged: None,
        definitions: vec![definition.into()],
        orders: Vec::new(),
        last_order: 2,
        digest,
        manifest: Some(Manifest { orders: vec![order(1), order(2)], ..Manifest::default() }),
        images: None,
        sections: Vec::new(),
        knows_subscriptions: false,
    }
}

const V4: &str = "ECS_CONTAINER_METADATA_URI_V4";
const V3: &str = "ECS_CONTAINER_METADATA_URI";
const API: &str = "ECS_AGENT_URI";

#[tokio::test]
async fn a_container_is_answered_by_every_version() {
    let rig = Rig::start(NetworkMode::Bridge).await;
    let from = rig.address_of(1, "app");
    let v4 = rig.variable(1, "app", V4);
    let (status, container) = rig.get(from, &v4).await;
    assert_eq!(
        (status, &container["Name"], &container["KnownStatus"]),
        (200, &json!("app"), &json!("RUNNING"))
    );
    assert_eq!(container["Networks"][0]["IPv4Addresses"], json!([from.to_string()]));
    let (status, task) = rig.get(from, &format!("{v4}/task")).await;
    assert_eq!((status, &task["ServiceName"]), (200, &json!("shop")));
    assert_eq!(task["Containers"].as_array().unwrap().len(), 2);
    let (status, task) = rig.get(from, &format!("{}/task", rig.variable(1, "app", V3))).await;
    assert_eq!((status, &task["ServiceName"]), (200, &Value::Null));
    let (status, task) = rig.get(from, "/v2/metadata").await;
    assert_eq!((status, &task["Family"]), (200, &json!("web")));
    let sibling = task["Containers"][1]["DockerId"].as_str().unwrap();
    let (status, sibling) = rig.get(from, &format!("/v2/metadata/{sibling}")).await;
    assert_eq!((status, &sibling["Name"]), (200, &json!("side")));
}

#[tokio::test]
async fn nobody_but_the_container_itself_is_answered() {
    let rig = Rig::start(NetworkMode::Bridge).await;
    let (app, side) = (rig.address_of(1, "app"), rig.address_of(1, "side"));
    let neighbour = rig.address_of(2, "app");
    let host = IpAddr::from([127, 0, 0, 1]);
    let v4 = rig.variable(1, "app", V4);
    let api = rig.variable(1, "app", API);
    let protection = format!("{api}/task-protection/v1/state");
    let task = format!("{v4}/task");
    for (who, from, url, expected) in [
        ("itself", app, &v4, 200),
        ("another container of the task, about the task", side, &task, 200),
        ("another container of the task, about the first", side, &v4, 403),
        ("a neighbour", neighbour, &v4, 403),
        ("a neighbour, about the task", neighbour, &task, 403),
        ("a neighbour, about protection", neighbour, &protection, 403),
        ("the host", host, &v4, 403),
        ("an address that nobody has", [127, 17, 200, 200].into(), &v4, 403),
    ] {
        let (status, body) = rig.get(from, url).await;
        assert_eq!(status, expected, "{who}: {body}");
    }
    for (from, path, expected) in [
        (app, format!("/v4/{}", "0".repeat(32)), 404),
        (app, "/v4/app".to_owned(), 404),
        (app, format!("/v3/{}", "0".repeat(32)), 400),
        (host, "/v2/metadata".to_owned(), 400),
        (app, "/v2/metadata/nobody".to_owned(), 400),
    ] {
        assert_eq!(rig.get(from, &path).await.0, expected, "{path}");
    }
}

#[tokio::test]
async fn a_containers_address_is_not_enough_where_the_kernel_knows_better() {
    let rig = Rig::start(NetworkMode::Bridge).await;
    let from = SocketAddr::new(rig.address_of(1, "app"), SPOOFED_PORT);
    assert_eq!(rig.ask_from(from, "GET", &rig.variable(1, "app", V4), "").await.0, 403);
    let from = SocketAddr::new(from.ip(), SPOOFED_PORT + 1);
    assert_eq!(rig.ask_from(from, "GET", &rig.variable(1, "app", V4), "").await.0, 200);
}

#[tokio::test]
async fn on_the_hosts_network_what_cannot_be_told_is_refused_with_the_reason() {
    let rig = Rig::start(NetworkMode::Host).await;
    let (status, said) = rig.get([127, 0, 0, 1].into(), &rig.variable(1, "app", V4)).await;
    assert_eq!(status, 403);
    assert!(said.as_str().unwrap().contains("nobody knows"), "{said}");
}

#[tokio::test]
async fn a_task_without_a_network_is_told_of_no_endpoints() {
    let rig = Rig::start(NetworkMode::None).await;
    for container in rig.fake.containers() {
        let names = container.config.environment.iter().map(|(name, _)| name.as_str());
        assert!(!names.into_iter().any(|name| name.contains("METADATA") || name == API));
    }
}

#[tokio::test]
async fn a_task_that_asks_too_often_is_told_so_and_its_neighbour_is_not() {
    let rig = Rig::start(NetworkMode::Bridge).await;
    let (first, second) = (rig.variable(1, "app", V4), rig.variable(2, "app", V4));
    let (from, neighbour) = (rig.address_of(1, "app"), rig.address_of(2, "app"));
    // What is refused does not count.
    for _ in 0..20 {
        assert_eq!(rig.get(neighbour, &first).await.0, 403);
    }
    for _ in 0..RATE.burst {
        assert_eq!(rig.get(from, &first).await.0, 200);
    }
    assert_eq!(rig.get(from, &first).await.0, 429);
    assert_eq!(rig.get(from, &format!("{first}/task")).await.0, 429, "a limit is the task's");
    assert_eq!(rig.get(neighbour, &second).await.0, 200);
    rig.clock.advance(Duration::from_secs(1));
    for _ in 0..RATE.steady {
        assert_eq!(rig.get(from, &first).await.0, 200);
    }
    assert_eq!(rig.get(from, &first).await.0, 429);
}

#[tokio::test]
async fn many_questions_are_one_inspect() {
    let rig = Rig::start(NetworkMode::Bridge).await;
    let (from, neighbour) = (rig.address_of(1, "app"), rig.address_of(2, "app"));
    let v4 = rig.variable(1, "app", V4);
    let before = rig.fake.count(Verb::Inspect);
    for _ in 0..RATE.burst {
        rig.get(from, &v4).await;
    }
    for _ in 0..20 {
        rig.get(neighbour, &v4).await;
    }
    assert_eq!(rig.fake.count(Verb::Inspect) - before, 1);
}

#[tokio::test]
async fn address_belongs_to_the_container_that_was_given_it_last() {
    let rig = Rig::start(NetworkMode::Bridge).await;
    let from = rig.address_of(1, "app");
    assert_eq!(rig.get(from, "/v2/metadata").await.0, 200);
    rig.fake.exit("app", 0);
    while rig.get(from, "/v2/metadata").await.0 == 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.get(from, &rig.variable(1, "app", V4)).await.0, 403);
}

#[tokio::test]
async fn nothing_is_kept_of_tasks_that_were_cleaned_up() {
    let rig = Rig::start(NetworkMode::Bridge).await;
    rig.get(rig.address_of(1, "app"), "/v2/metadata").await;
    assert!(!rig.directory.is_empty());
    for task in [1, 2] {
        let key = crate::task::key::TaskKey { task: TaskId::new(task), generation: 1 };
        rig.directory.forget(key);
    }
    assert!(rig.directory.is_empty());
}

#[tokio::test]
async fn protection_is_the_coordinators_answer() {
    let rig = Rig::start(NetworkMode::Bridge).await;
    let from = rig.address_of(1, "app");
    let url = format!("{}/task-protection/v1/state", rig.variable(1, "app", API));
    let arn = format!("arn:aws:ecs:eu-1:000000000000:task/default/{}", TaskId::new(1));
    let put = |body: &'static str| rig.ask(from, "PUT", &url, body);
    assert_eq!(
        rig.get(from, &url).await,
        (200, json!({ "protection": { "ProtectionEnabled": false, "TaskArn": arn } })),
    );
    assert_eq!(
        put(r#"{"ProtectionEnabled":true,"ExpiresInMinutes":60}"#).await,
        (
            200,
            json!({ "protection": {
            "ExpirationDate": "1970-01-01T01:00:00Z", "ProtectionEnabled": true, "TaskArn": arn,
        } })
        ),
    );
    assert_eq!(
        put(r#"{"ProtectionEnabled":true,"ExpiresInMinutes":7}"#).await,
        (200, json!({ "failure": { "Arn": arn, "Detail": null, "Reason": "TASK_NOT_VALID" } })),
    );
    let (status, said) = put(r#"{"ProtectionEnabled":"yes"}"#).await;
    assert_eq!((status, &said["error"]["Code"]), (400, &json!("InvalidParameterException")));
    assert_eq!(said["error"]["Arn"], json!(arn));
}

#[tokio::test]
async fn tags_that_cannot_be_had_are_an_error_beside_the_rest() {
    let rig = Rig::start(NetworkMode::Bridge).await;
    let from = rig.address_of(1, "app");
    let url = format!("{}/taskWithTags", rig.variable(1, "app", V4));
    let (status, task) = rig.get(from, &url).await;
    assert_eq!((status, &task["Family"]), (200, &json!("web")));
    assert_eq!(task["Errors"][0]["ErrorField"], "TaskTags");
    assert!(task["Errors"][0]["ErrorMessage"].as_str().unwrap().contains("did not answer"));
}

#[tokio::test]
async fn what_is_not_built_answers_as_ecs_does_without_it() {
    let rig = Rig::start(NetworkMode::Bridge).await;
    let from = rig.address_of(1, "app");
    let (status, said) = rig.get(from, "/v2/credentials/abc").await;
    assert_eq!((status, &said["code"]), (400, &json!("InvalidIdInRequest")));
    assert_eq!(said["HTTPErrorCode"], 400);
    let (status, said) = rig.get(from, "/v2/credentials").await;
    assert_eq!((status, &said["code"]), (400, &json!("NoIdInRequest")));
    let fault = format!("{}/fault/v1/network-latency/start", rig.variable(1, "app", API));
    let (status, said) = rig.ask(from, "POST", &fault, "{}").await;
    assert_eq!(status, 400);
    assert!(said["Error"].as_str().unwrap().contains("enableFaultInjection is not enabled"));
    assert_eq!(rig.ask(from, "POST", "/v2/metadata", "").await.0, 405);
    assert_eq!(rig.get(from, "/").await.0, 404);
    // In memory nothing has counters.
    let stats = format!("{}/stats", rig.variable(1, "app", V4));
    assert_eq!(rig.get(from, &stats).await.0, 500);
    assert_eq!(rig.get(from, &format!("{}/task/stats", rig.variable(1, "app", V4))).await.0, 200);
}

/// Promise P24: none of a million guesses is an id. They are made in the process: on the wire the
/// limits on connections would slow them further.
#[tokio::test]
async fn a_million_guessed_ids_are_nobodys() {
    let rig = Rig::start(NetworkMode::Bridge).await;
    let known =
        rig.names.id(crate::task::key::TaskKey { task: TaskId::new(1), generation: 1 }, "app");
    assert!(rig.directory.by_id(known).is_some());
    let mut state = 0x9e37_79b9_7f4a_7c15_u128;
    for _ in 0..1_000_000 {
        state = state.wrapping_mul(0x2d99_787d_a1e5_7c3b_8d1f_4a6b_9c3e_5f71).wrapping_add(1);
        let guess = EndpointId::parse(&format!("{state:032x}")).unwrap();
        assert!(rig.directory.by_id(guess).is_none());
    }
}
