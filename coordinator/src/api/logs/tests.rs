//! CloudWatch Logs' operations through the edge, signed, over hosts in memory.

mod bad_input;
mod live_tail;
mod tags;

use std::{sync::Arc, time::Duration};

use expect_test::{Expect, expect};
use http::{Method, Request, header, request::Parts};
use longshore_common::{
    arn::Identity,
    clock::{Clock, SteppedClock, Timestamp},
    id::HostId,
    logs::store::{Append, NewEvent},
    protocol::{EngineHealth, RegisterRequest, ReportPosition, StorageHealth, Versions},
    resources::{Capacity, CpuUnits, MemoryMib},
    secret::Secret,
};
use longshore_core::{
    Answer, Command,
    command::{AgentAnswered, HostCommand, TokenCommand},
    model::join_token::JoinToken,
};
use serde_json::{Value, json};

use super::*;
use crate::{
    credentials::Credentials,
    driver::Handle,
    edge::{
        Edge,
        health::{Health, Metrics},
        protocol::X_AMZ_TARGET,
        service::Body,
        test_backend::{self, NOW},
    },
    fleet::logs::fake::FakeHosts,
    signature::sign_for_path,
};

const TOKEN_HASH: [u8; 32] = [1; 32];

struct World {
    edge: Edge,
    driver: Handle,
    fakes: FakeHosts,
    clock: Arc<SteppedClock>,
    hosts: Vec<HostId>,
}

impl World {
    /// A world with `count` connected hosts.
    async fn with_hosts(count: usize) -> Self {
        let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
        let fakes = FakeHosts::default();
        let clock = SteppedClock::at(NOW);
        let logs = fakes.logs(clock.clone());
        let backend = crate::edge::Backend { logs, ..test_backend::empty(identity) };
        let driver = backend.driver.clone();
        let health = Health::starting("the test is being set up");
        health.set_ready();
        let shown = clock.clone();
        let edge = Edge::new(backend, &credentials(), shown, health, Metrics::detached());
        let mut world = World { edge, driver, fakes, clock, hosts: Vec::new() };
        let token = JoinToken {
            id: "00".to_owned(),
            secret_hash: TOKEN_HASH,
            cluster: None,
            expires_at: Timestamp(u64::MAX),
            uses_left: None,
        };
        world.submit(Command::Token(TokenCommand::CreateJoinToken(token))).await;
        for _ in 0..count {
            let host = world.host().await;
            world.hosts.push(host);
        }
        world
    }

    async fn submit(&self, command: Command) -> Answer {
        self.driver.submit(command, |_, answer| answer).await.unwrap()
    }

    async fn host(&self) -> HostId {
        let join = Command::Token(TokenCommand::UseJoinToken {
            secret_hash: TOKEN_HASH,
            requested_host: None,
            key: None,
        });
        let Answer::Host(host) = self.submit(join).await else { panic!() };
        let request = RegisterRequest {
            protocol: 1,
            cluster: "default".to_owned(),
            capacity: Capacity {
                cpu: CpuUnits(1024),
                memory: MemoryMib(1024),
                reserved_ports: Box::default(),
                gpus: Box::default(),
            },
            attributes: Vec::new(),
            tags: Vec::new(),
            versions: Versions::default(),
            poll_address: "10.0.0.1:51680".to_owned(),
            advertise: "10.0.0.1".to_owned(),
            instance_id: None,
            boot_id: "boot".to_owned(),
            run: None,
        };
        self.submit(Command::Host(HostCommand::RegisterHost { host, request: Box::new(request) }))
            .await;
        self.connect(host).await;
        self.fakes.add(host);
        host
    }

    async fn connect(&self, host: HostId) {
        let answered = AgentAnswered {
            host,
            seen: None,
            position: ReportPosition { session: 1, seq: 0 },
            reports: Vec::new(),
            ended_candidates: Vec::new(),
            images: None,
            engine: EngineHealth::Unknown,
            storage: StorageHealth::Unknown,
            leaving: false,
            looked: true,
        };
        self.submit(Command::Host(HostCommand::AgentAnswered(Box::new(answered)))).await;
    }

    async fn disconnect(&self, host: usize) {
        let (host, why) = (self.hosts[host], "unplugged".to_owned());
        self.submit(Command::Host(HostCommand::AgentSilent { host, why, refused: false })).await;
    }

    /// A task on a host writes a line, `ms` after the start of the test.
    fn write(&self, host: usize, stream: &str, ms: u64, message: &str) {
        let at = Timestamp(NOW.0 + ms);
        let events = [NewEvent { at, message: message.to_owned() }];
        let append = Append { group: "/ecs/web", stream, events: &events, cursor: None };
        self.fakes.append(self.hosts[host], append, at);
    }

    async fn call(&self, operation: &str, input: Value) -> Result<Value, String> {
        let body = self.answer(operation, input).await?;
        Ok(serde_json::from_slice(&body.whole()).unwrap())
    }

    async fn answer(&self, operation: &str, input: Value) -> Result<Body, String> {
        let body = serde_json::to_vec(&input).unwrap();
        let parts = signed(operation, &body, self.clock.wall());
        let admitted = self.edge.admit(&parts).unwrap();
        let answer = self.edge.route(admitted, &body, "id").await.answer;
        answer.map_err(|refusal| format!("{} {refusal}", refusal.status().as_u16()))
    }

    async fn done(&self, operation: &str, input: Value) -> Value {
        self.call(operation, input).await.unwrap()
    }

    async fn check(&self, operation: &str, input: Value, expected: Expect) {
        let said = match self.call(operation, input).await {
            Ok(answer) => answer.to_string(),
            Err(refusal) => refusal,
        };
        expected.assert_eq(&said);
    }

    /// `stream:message` of each event of a page, and its tokens.
    async fn page(&self, operation: &str, mut input: Value) -> (String, Value) {
        input["logGroupName"] = json!("/ecs/web");
        let answer = self.done(operation, input).await;
        let shown = answer["events"].as_array().unwrap().iter().map(|event| {
            let stream = event["logStreamName"].as_str().map_or(String::new(), |s| format!("{s}:"));
            format!("{stream}{}", event["message"].as_str().unwrap())
        });
        (shown.collect::<Vec<_>>().join(" "), answer)
    }

    async fn filtered(&self, input: Value) -> String {
        self.page("FilterLogEvents", input).await.0
    }
}

fn credentials() -> Credentials {
    Credentials {
        access_key_id: "LSIAAAAAAAAAAAAAAAAA".into(),
        secret_access_key: Secret::new("secret".into()),
    }
}

fn signed(operation: &str, body: &[u8], at: Timestamp) -> Parts {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri("/")
        .header(header::HOST, "127.0.0.1:8420")
        .header(header::CONTENT_TYPE, "application/x-amz-json-1.1")
        .header(X_AMZ_TARGET, format!("{TARGET}.{operation}"))
        .body(())
        .unwrap();
    let headers = request.headers_mut();
    sign_for_path("/", headers, body, &credentials(), "us-east-1", SIGNING_NAME, at).unwrap();
    request.into_parts().0
}

fn group(name: &str) -> Value {
    json!({ "logGroupName": name })
}

#[tokio::test]
async fn a_group_is_made_shown_kept_and_deleted() {
    let world = World::with_hosts(1).await;
    world.check("CreateLogGroup", group("/ecs/web"), expect!["{}"]).await;
    world
        .check(
            "CreateLogGroup",
            group("/ecs/web"),
            expect!["400 ResourceAlreadyExistsException: The specified log group already exists"],
        )
        .await;
    let keep = json!({ "logGroupName": "/ecs/web", "retentionInDays": 7 });
    world.check("PutRetentionPolicy", keep, expect!["{}"]).await;
    world
        .check(
            "DescribeLogGroups",
            json!({}),
            expect![[r#"{"logGroups":[{"arn":"arn:aws:logs:us-east-1:000000000000:log-group:/ecs/web:*","creationTime":1767323045000,"logGroupArn":"arn:aws:logs:us-east-1:000000000000:log-group:/ecs/web","logGroupClass":"STANDARD","logGroupName":"/ecs/web","metricFilterCount":0,"retentionInDays":7,"storedBytes":0}]}"#]],
        )
        .await;
    world.check("DeleteRetentionPolicy", group("/ecs/web"), expect!["{}"]).await;
    let shown = world.done("DescribeLogGroups", json!({})).await;
    assert_eq!(shown["logGroups"][0]["retentionInDays"], Value::Null);
    world.check("DeleteLogGroup", group("/ecs/web"), expect!["{}"]).await;
    world.check("DescribeLogGroups", json!({}), expect![[r#"{"logGroups":[]}"#]]).await;
    world
        .check(
            "DeleteLogGroup",
            group("/ecs/web"),
            expect!["400 ResourceNotFoundException: The specified log group does not exist."],
        )
        .await;
}

#[tokio::test]
async fn a_group_that_a_task_wrote_to_is_there_on_all_hosts_and_goes_from_all() {
    let world = World::with_hosts(2).await;
    world.write(0, "a/app/1", 1, "one");
    world.write(1, "a/app/2", 2, "two");
    let shown = world.done("DescribeLogGroups", json!({ "logGroupNamePrefix": "/ecs" })).await;
    assert_eq!(shown["logGroups"][0]["storedBytes"], json!(2 * 29), "{shown}");
    let part = world.done("DescribeLogGroups", json!({ "logGroupNamePattern": "web" })).await;
    assert_eq!(part["logGroups"].as_array().unwrap().len(), 1);
    // Who makes it now finds what was written before.
    world.done("CreateLogGroup", group("/ecs/web")).await;
    assert_eq!(world.filtered(json!({})).await, "a/app/1:one a/app/2:two");
    world.done("DeleteLogGroup", group("/ecs/web")).await;
    world.check("DescribeLogGroups", json!({}), expect![[r#"{"logGroups":[]}"#]]).await;
}

#[tokio::test]
async fn groups_are_listed_in_pages() {
    let world = World::with_hosts(1).await;
    for name in ["a", "b", "c", "d"] {
        world.done("CreateLogGroup", group(name)).await;
    }
    world.write(0, "s", 1, "x");
    let (mut names, mut token) = (Vec::new(), Value::Null);
    loop {
        let input = json!({ "limit": 2, "nextToken": token });
        let page = world.done("DescribeLogGroups", input).await;
        names.extend(
            page["logGroups"].as_array().unwrap().iter().map(|g| g["logGroupName"].clone()),
        );
        token = page["nextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(json!(names), json!(["/ecs/web", "a", "b", "c", "d"]));
}

#[tokio::test]
async fn events_of_all_hosts_are_filtered_as_one_sequence() {
    let world = World::with_hosts(3).await;
    for (host, stream, ms, message) in [
        (0, "web/app/1", 10, "GET /a 200"),
        (1, "web/app/2", 11, "GET /b 500"),
        (2, "web/app/3", 12, "POST /c 200"),
        (0, "job/app/4", 13, "done"),
        (0, "web/app/1", 14, r#"{"status":500,"path":"/d"}"#),
    ] {
        world.write(host, stream, ms, message);
    }
    assert_eq!(
        world.filtered(json!({ "filterPattern": "GET" })).await,
        "web/app/1:GET /a 200 web/app/2:GET /b 500"
    );
    assert_eq!(
        world.filtered(json!({ "filterPattern": "{ $.status >= 500 }" })).await,
        r#"web/app/1:{"status":500,"path":"/d"}"#
    );
    let prefixed = json!({ "logStreamNamePrefix": "job", "startTime": NOW.0 + 13 });
    assert_eq!(world.filtered(prefixed).await, "job/app/4:done");
    let named = json!({ "logStreamNames": ["web/app/2", "web/app/3"], "endTime": NOW.0 + 12 });
    assert_eq!(world.filtered(named).await, "web/app/2:GET /b 500 web/app/3:POST /c 200");
    let newest = json!({ "startFromHead": false, "limit": 1 });
    assert_eq!(world.filtered(newest).await, r#"web/app/1:{"status":500,"path":"/d"}"#);

    let (mut all, mut token) = (Vec::new(), Value::Null);
    loop {
        let input = json!({ "limit": 2, "nextToken": token });
        let (page, answer) = world.page("FilterLogEvents", input).await;
        all.push(page);
        token = answer["nextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(all.join(" "), world.filtered(json!({})).await);
}

#[tokio::test]
async fn each_event_has_an_id_of_its_own_that_stays() {
    let world = World::with_hosts(2).await;
    for ms in [1, 1, 2] {
        world.write(0, "a", ms, "x");
        world.write(1, "a", ms, "x");
    }
    let ids = |answer: &Value| {
        let events = answer["events"].as_array().unwrap().clone();
        events.iter().map(|e| e["eventId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = ids(&world.page("FilterLogEvents", json!({})).await.1);
    let second = ids(&world.page("FilterLogEvents", json!({ "startTime": 0 })).await.1);
    assert_eq!(first, second);
    assert!(first.iter().all(|id| id.len() == 56), "{first:?}");
    let unique: std::collections::BTreeSet<&String> = first.iter().collect();
    assert_eq!(unique.len(), 6);
}

#[tokio::test]
async fn a_stream_is_read_forwards_and_backwards_to_its_ends() {
    let world = World::with_hosts(1).await;
    for ms in 1..=5 {
        world.write(0, "s", ms, &ms.to_string());
    }
    let get = |token: Value, head: bool| json!({ "logStreamName": "s", "limit": 2, "startFromHead": head, "nextToken": token });
    let (page, last) = world.page("GetLogEvents", get(Value::Null, false)).await;
    assert_eq!(page, "4 5");
    let (page, before) =
        world.page("GetLogEvents", get(last["nextBackwardToken"].clone(), true)).await;
    assert_eq!(page, "2 3");
    let (page, first) =
        world.page("GetLogEvents", get(before["nextBackwardToken"].clone(), true)).await;
    assert_eq!(page, "1");
    let end = first["nextBackwardToken"].clone();
    let (page, none) = world.page("GetLogEvents", get(end.clone(), true)).await;
    assert_eq!((page.as_str(), &none["nextBackwardToken"]), ("", &end));
    let (page, _) = world.page("GetLogEvents", get(none["nextForwardToken"].clone(), true)).await;
    assert_eq!(page, "1 2");

    // Who follows asks with the same token until there is more.
    let follow = last["nextForwardToken"].clone();
    let (page, none) = world.page("GetLogEvents", get(follow.clone(), true)).await;
    assert_eq!((page.as_str(), &none["nextForwardToken"]), ("", &follow));
    world.write(0, "s", 6, "6");
    let (page, _) = world.page("GetLogEvents", get(follow, true)).await;
    assert_eq!(page, "6");
    let (page, _) = world.page("GetLogEvents", get(none["nextBackwardToken"].clone(), true)).await;
    assert_eq!(page, "4 5");
    let (page, _) = world.page("GetLogEvents", get(Value::Null, true)).await;
    assert_eq!(page, "1 2");
    let middle = json!({ "logStreamName": "s", "startTime": NOW.0 + 2, "endTime": NOW.0 + 4 });
    assert_eq!(world.page("GetLogEvents", middle).await.0, "2 3");
}

#[tokio::test]
async fn streams_are_described_by_name_or_by_their_last_event() {
    let world = World::with_hosts(2).await;
    world.write(0, "a", 1, "x");
    world.write(1, "b", 9, "x");
    world.write(0, "c", 5, "x");
    let names = |answer: &Value| {
        let streams = answer["logStreams"].as_array().unwrap().clone();
        streams.iter().map(|s| s["logStreamName"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let by = |order: &str, descending: bool, token: Value| {
        json!({ "logGroupName": "/ecs/web", "orderBy": order, "descending": descending,
                "limit": 2, "nextToken": token })
    };
    let first = world.done("DescribeLogStreams", by("LastEventTime", true, Value::Null)).await;
    assert_eq!(names(&first), ["b", "c"]);
    let token = first["nextToken"].clone();
    let second = world.done("DescribeLogStreams", by("LastEventTime", true, token)).await;
    assert_eq!((names(&second), &second["nextToken"]), (vec!["a".to_owned()], &Value::Null));
    let first = world.done("DescribeLogStreams", by("LogStreamName", false, Value::Null)).await;
    assert_eq!(names(&first), ["a", "b"]);
    let one = json!({ "logGroupIdentifier": "arn:aws:logs:us-east-1:000000000000:log-group:/ecs/web",
                      "logStreamNamePrefix": "c" });
    world
        .check(
            "DescribeLogStreams",
            one,
            expect![[r#"{"logStreams":[{"arn":"arn:aws:logs:us-east-1:000000000000:log-group:/ecs/web:log-stream:c","creationTime":1767323045005,"firstEventTimestamp":1767323045005,"lastEventTimestamp":1767323045005,"lastIngestionTime":1767323045005,"logStreamName":"c","storedBytes":0}]}"#]],
        )
        .await;
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_never_left_out_in_silence() {
    let world = World::with_hosts(2).await;
    world.write(0, "a", 1, "here");
    world.write(1, "b", 2, "there");
    // Connected, and yet without an answer: the client asks again.
    world.fakes.silence(world.hosts[1]);
    let refused = world.call("FilterLogEvents", group("/ecs/web")).await.unwrap_err();
    let silent = format!(
        "503 ServiceUnavailableException: container instance {} did not answer for the logs \
         there. Try again.",
        world.hosts[1]
    );
    assert_eq!(refused, silent);
    // Known to be away: the rest is shown, and what is missing is said.
    world.disconnect(1).await;
    let (page, answer) = world.page("FilterLogEvents", json!({})).await;
    assert_eq!(page, "a:here");
    let missing = answer["searchedLogStreams"][0].clone();
    assert_eq!(missing["searchedCompletely"], json!(false));
    assert!(missing["logStreamName"].as_str().unwrap().contains(&world.hosts[1].to_string()));
    let of_b = json!({ "logGroupName": "/ecs/web", "logStreamName": "b" });
    let refused = world.call("GetLogEvents", of_b).await.unwrap_err();
    let away = "503 ServiceUnavailableException: No connected host has what was asked for";
    assert!(refused.starts_with(away), "{refused}");
    let refused = world.call("FilterLogEvents", group("/other")).await.unwrap_err();
    assert!(refused.contains("disconnected now"), "{refused}");
    let refused = world.call("DeleteLogGroup", group("/ecs/web")).await.unwrap_err();
    assert!(refused.starts_with("503 ServiceUnavailableException: The log group is not deleted"));
}

#[tokio::test]
async fn what_a_retention_policy_ends_is_shown_no_more() {
    let world = World::with_hosts(1).await;
    let day = 24 * 60 * 60 * 1000;
    let at = |days: u64| Timestamp(NOW.0 - days * day);
    for days in [8, 6, 0] {
        let events = [NewEvent { at: at(days), message: format!("{days} days") }];
        let append = Append { group: "/ecs/web", stream: "s", events: &events, cursor: None };
        world.fakes.append(world.hosts[0], append, at(days));
    }
    let keep = json!({ "logGroupName": "/ecs/web", "retentionInDays": 7 });
    world.done("PutRetentionPolicy", keep).await;
    assert_eq!(world.filtered(json!({})).await, "s:6 days s:0 days");
    world.done("DeleteRetentionPolicy", group("/ecs/web")).await;
    assert_eq!(world.filtered(json!({})).await, "s:8 days s:6 days s:0 days");
}

#[tokio::test]
async fn a_clock_that_jumps_and_comes_back_deletes_nothing_that_was_put() {
    let world = World::with_hosts(0).await;
    world.done("CreateLogGroup", group("/ecs/web")).await;
    let keep = json!({ "logGroupName": "/ecs/web", "retentionInDays": 7 });
    world.done("PutRetentionPolicy", keep).await;
    let stream = json!({ "logGroupName": "/ecs/web", "logStreamName": "s" });
    world.done("CreateLogStream", stream).await;
    let put = async |message: &str| {
        let now = world.clock.wall().0;
        let events = json!([{ "timestamp": now, "message": message }]);
        let put = json!({ "logGroupName": "/ecs/web", "logStreamName": "s", "logEvents": events });
        world.done("PutLogEvents", put).await;
    };
    put("before").await;
    let month = 30 * 24 * 60 * 60 * 1000;
    world.clock.jump(month);
    put("in another month").await;
    world.clock.jump(-month);
    put("after").await;
    assert_eq!(world.filtered(json!({})).await, "s:before s:after s:in another month");

    // A clock that continues steadily is believed again, and old events are removed.
    world.clock.advance(Duration::from_secs(8 * 24 * 60 * 60));
    put("a week later").await;
    assert_eq!(world.filtered(json!({})).await, "s:a week later s:in another month");
}

#[tokio::test]
async fn clients_put_events_into_streams_that_they_made() {
    let world = World::with_hosts(1).await;
    world.write(0, "task", 5, "from a task");
    let to = |stream: &str, events: Value| json!({ "logGroupName": "/ecs/web", "logStreamName": stream, "logEvents": events });
    let event = |ms: u64, message: &str| json!({ "timestamp": NOW.0 + ms, "message": message });
    let one = to("mine", json!([event(4, "first"), event(6, "second")]));
    let refused = world.call("PutLogEvents", one.clone()).await.unwrap_err();
    assert!(refused.contains("log group does not exist"), "{refused}");
    world.done("CreateLogGroup", group("/ecs/web")).await;
    let refused = world.call("PutLogEvents", one.clone()).await.unwrap_err();
    assert!(refused.contains("log stream does not exist"), "{refused}");
    let stream = json!({ "logGroupName": "/ecs/web", "logStreamName": "mine" });
    world.done("CreateLogStream", stream.clone()).await;
    world
        .check(
            "CreateLogStream",
            stream,
            expect!["400 ResourceAlreadyExistsException: The specified log stream already exists"],
        )
        .await;
    world.check("PutLogEvents", one, expect!["{}"]).await;
    assert_eq!(world.filtered(json!({})).await, "mine:first task:from a task mine:second");
    let day = 24 * 60 * 60 * 1000;
    let old = to("mine", json!([{ "timestamp": NOW.0 - 15 * day, "message": "old" }]));
    world
        .check(
            "PutLogEvents",
            old,
            expect![[r#"{"rejectedLogEventsInfo":{"tooOldLogEventEndIndex":1}}"#]],
        )
        .await;
    let new = to("mine", json!([event(7, "third"), event(3 * 60 * 60 * 1000, "future")]));
    world
        .check(
            "PutLogEvents",
            new,
            expect![[r#"{"rejectedLogEventsInfo":{"tooNewLogEventStartIndex":1}}"#]],
        )
        .await;
    let stream = json!({ "logStreamName": "mine", "startFromHead": true });
    assert_eq!(world.page("GetLogEvents", stream).await.0, "first second third");
}
