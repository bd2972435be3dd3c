use std::io::ErrorKind;

use http::{HeaderValue, header};
use longshore_common::{
    arn::Identity,
    clock::{SteppedClock, Timestamp},
    id::HostId,
    protocol::Epoch,
    secret::Secret,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    task::JoinHandle,
};

use super::*;
use crate::{
    client::{Client, ClientError},
    credentials::Credentials,
    door::{Room, Rooms, bodies::BodyRoom, stream::WritePace},
    driver::{Handle, Proof},
    edge::{
        context::Api,
        error::ApiError,
        health::{Health, Metrics},
        input::BODY_BYTES_MAX,
        operation::{Operation, json},
    },
};

const NOW: Timestamp = Timestamp(1_767_323_045_000);
/// Timeout that tests of deadlines await: short, so that those tests are.
const SHORT: Duration = Duration::from_millis(150);

/// Released by the test of shutdown, to let a request end that is under way.
static ENTERED: Notify = Notify::const_new();
static RELEASED: Notify = Notify::const_new();

#[derive(Deserialize)]
struct Input {
    cluster: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Output {
    cluster: String,
}

async fn echo(_api: &Api, input: Input) -> Result<Output, ApiError> {
    match input.cluster.as_deref() {
        Some("panic") => panic!("as asked"),
        Some("wait") => {
            ENTERED.notify_one();
            RELEASED.notified().await;
            Ok(Output { cluster: "waited".into() })
        }
        Some("none") => Err(ApiError::cluster_not_found()),
        Some(where_am_i) if where_am_i.starts_with("where") => {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            Ok(Output { cluster: thread })
        }
        other => Ok(Output { cluster: other.unwrap_or("default").to_owned() }),
    }
}

struct Running {
    address: SocketAddr,
    health: Health,
    driver: Handle,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

async fn start(limits: Limits) -> Running {
    start_with(limits, tokio::runtime::Handle::current()).await
}

async fn start_with(limits: Limits, workshop: tokio::runtime::Handle) -> Running {
    let health = Health::starting("the test is being set up");
    health.set_ready();
    let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
    let backend = crate::edge::test_backend::empty(identity);
    let driver = backend.driver.clone();
    let mut offer = crate::api::offer();
    offer.services[0] =
        crate::api::ecs::service_of(vec![Operation::read("ListServices", json(echo))]);
    let edge = Edge::with(
        backend,
        &credentials(),
        SteppedClock::at(NOW),
        health.clone(),
        Metrics::detached(),
        offer,
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let serving = tokio::spawn(serve_within(
        Arc::new(edge),
        listener,
        Workshop(workshop),
        shutdown.clone(),
        limits,
    ));
    Running { address, health, driver, shutdown, serving }
}

fn credentials() -> Credentials {
    Credentials {
        access_key_id: "LSIAAAAAAAAAAAAAAAAA".into(),
        secret_access_key: Secret::new("secret".into()),
    }
}

fn client(running: &Running) -> Client {
    let clock = SteppedClock::at(NOW);
    Client::new(running.address.to_string(), "us-east-1", credentials(), clock)
}

async fn call(client: &Client, cluster: &str) -> Result<Output, ClientError> {
    client.ecs("ListServices", &serde_json::json!({ "cluster": cluster })).await
}

/// The head of a request that nobody signed.
const STRANGERS: &str = "POST / HTTP/1.1\r\nhost: a\r\n";

/// The head of a request that the root user signed, without its length.
fn signed_head(body: &[u8]) -> String {
    let mut headers = http::HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("a"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    crate::signature::sign(&mut headers, body, &credentials(), "us-east-1", "ecs", NOW).unwrap();
    let lines =
        headers.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
    format!("POST / HTTP/1.1\r\n{}", lines.collect::<String>())
}

/// Sends bytes and reads until the server closes.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read everything.
    let sent = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).await {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{sent:?}"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_signed_call_is_answered_and_a_refusal_arrives_in_words() {
    let running = start(Limits::default()).await;
    let client = client(&running);
    assert_eq!(call(&client, "web").await.unwrap(), Output { cluster: "web".into() });
    let refused = call(&client, "none").await.unwrap_err();
    assert_eq!(refused.to_string(), "Cluster not found. (ClusterNotFoundException)");
    let refused = client.longshore::<Output>("NoSuch", &serde_json::json!({})).await.unwrap_err();
    assert!(refused.to_string().contains("UnknownOperationException"), "{refused}");
}

#[tokio::test]
async fn a_client_says_when_nobody_listens() {
    let running = start(Limits::default()).await;
    let client = client(&running);
    running.shutdown.cancel();
    running.serving.await.unwrap();
    let refused = call(&client, "web").await.unwrap_err();
    assert!(refused.to_string().ends_with("cannot be reached; is it running?"), "{refused}");
}

#[tokio::test]
async fn a_head_that_comes_slowly_or_never_is_not_waited_for() {
    let limits = Limits { head_deadline: SHORT, ..Limits::default() };
    let running = start(limits).await;
    for begun in ["", "POST / HTTP/1.1\r\nhost: a\r\nx-slow:"] {
        // The server closes, or this never returns.
        let answer = raw(running.address, begun.as_bytes()).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    assert!(call(&client(&running), "web").await.is_ok());
}

#[tokio::test]
async fn a_body_that_comes_slowly_is_not_waited_for() {
    let limits = Limits { body_deadline: SHORT, ..Limits::default() };
    let running = start(limits).await;
    for head in [STRANGERS.to_owned(), signed_head(b"")] {
        let answer =
            raw(running.address, format!("{head}content-length: 9\r\n\r\n{{").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("RequestTimeoutException"), "{answer}");
    }
}

#[tokio::test]
async fn a_large_body_is_refused_before_it_is_read() {
    let running = start(Limits::default()).await;
    for head in [STRANGERS.to_owned(), signed_head(b"")] {
        let announced = format!("{head}content-length: {}\r\n\r\n", BODY_BYTES_MAX + 1);
        let answer = raw(running.address, announced.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("RequestEntityTooLargeException"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");

        let mut chunked = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
        for _ in 0..(BODY_BYTES_MAX / 0x1000 + 2) {
            chunked.extend_from_slice(b"1000\r\n");
            chunked.extend_from_slice(&[b'x'; 0x1000]);
            chunked.extend_from_slice(b"\r\n");
        }
        // Without the last chunk: the refusal comes while the body still does.
        let answer = raw(running.address, &chunked).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
    assert!(call(&client(&running), "web").await.is_ok());
}

#[tokio::test]
async fn a_compressed_body_is_refused() {
    let running = start(Limits::default()).await;
    for encoding in ["gzip", "br", "identity", "aws-chunked"] {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-encoding: {encoding}\r\n\
             content-length: 0\r\n\r\n"
        );
        let answer = raw(running.address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
    }
}

#[tokio::test]
async fn a_large_head_is_refused() {
    let running = start(Limits::default()).await;
    let long = format!("POST / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(HEAD_BYTES_MAX));
    let many = format!("POST / HTTP/1.1\r\nhost: a\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
    for request in [long, many] {
        let answer = raw(running.address, request.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    assert!(call(&client(&running), "web").await.is_ok());
}

#[tokio::test]
async fn what_is_not_http_1_is_refused() {
    let running = start(Limits::default()).await;
    for nonsense in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\x00", "\0\0\0\0\r\n\r\n"]
    {
        let answer = raw(running.address, nonsense.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let two_lengths =
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}";
    assert!(raw(running.address, two_lengths.as_bytes()).await.starts_with("HTTP/1.1 400"));
}

/// Room for `heads` heads, of one address.
fn rooms(heads: usize) -> Rooms {
    let bytes = heads * HEAD_STAGE_BYTES + REQUEST_STAGE_BYTES + 1024;
    let strangers =
        Room { bytes_max: bytes, reserve_bytes: 0, party_bytes_max: bytes, fair_bytes: 0 };
    Rooms { strangers, ..Limits::default().rooms }
}

#[tokio::test]
async fn oldest_unfinished_head_gives_way_when_an_address_has_too_many() {
    let limits = Limits { rooms: rooms(20), ..Limits::default() };
    let running = start(limits).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\nx-half: ").await.unwrap();
        held.push(stream);
        // A client with a key gets through in the middle of them.
        assert!(call(&client(&running), "web").await.is_ok());
    }
    let mut ended = 0;
    for stream in &mut held[..60] {
        ended += usize::from(stream.read_u8().await.is_err());
    }
    assert_eq!(ended, 60, "the oldest were closed, and nothing was said to them");
}

#[tokio::test]
async fn connection_that_nobody_signed_on_carries_one_request() {
    let running = start(Limits::default()).await;
    for request in [format!("{STRANGERS}content-length: 0\r\n\r\n"), get("/healthz", "")] {
        // Pipelined: the second is never answered.
        let answers = raw(running.address, format!("{request}{request}").as_bytes()).await;
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
        assert!(answers.contains("connection: close\r\n"), "{answers}");
    }
}

#[tokio::test]
async fn client_that_reads_nothing_is_not_waited_for() {
    let pace = WritePace { stall: SHORT, bytes_per_second: 1_000_000_000 };
    let running = start(Limits { pace, ..Limits::default() }).await;
    let body = format!(r#"{{"cluster":"{}"}}"#, "a".repeat(1_000));
    let request =
        format!("{}content-length: {}\r\n\r\n{body}", signed_head(body.as_bytes()), body.len());
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    // Until the coordinator, which reads no further while it cannot write, has given up.
    while stream.write_all(request.as_bytes()).await.is_ok() {}
    assert!(call(&client(&running), "web").await.is_ok());
}

/// A head whose body's hash is among what is signed, as some SDKs send it.
fn head_with_hash(body: &[u8]) -> String {
    let mut headers = http::HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("a"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    let target = HeaderValue::from_static("AmazonEC2ContainerServiceV20141113.ListServices");
    headers.insert("x-amz-target", target);
    let hash = crate::signature::hex_sha256(body);
    headers.insert("x-amz-content-sha256", HeaderValue::from_str(&hash).unwrap());
    crate::signature::sign(&mut headers, body, &credentials(), "us-east-1", "ecs", NOW).unwrap();
    let lines =
        headers.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
    format!("POST / HTTP/1.1\r\n{}", lines.collect::<String>())
}

#[tokio::test]
async fn forged_head_is_refused_before_its_body_is_kept() {
    let running = start(Limits { rooms: rooms(4), ..Limits::default() }).await;
    let body = format!(r#"{{"cluster":"{}"}}"#, "a".repeat(100_000));
    let send = async |head: &str| {
        let head = format!("{head}connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        raw(running.address, format!("{head}{body}").as_bytes()).await
    };
    let good = head_with_hash(body.as_bytes());
    assert!(send(&good).await.starts_with("HTTP/1.1 200"), "a known caller has room for it");
    let at = good.rfind("Signature=").unwrap() + "Signature=".len();
    let mut forged = good.clone();
    forged.replace_range(at..at + 4, "0000");
    // There is no room for the body of a stranger: it was refused by the head.
    let refused = send(&forged).await;
    assert!(refused.contains("InvalidSignatureException"), "{refused}");
    // Without the hash in the head the body would have to be kept.
    let refused = send(&signed_head(body.as_bytes()).replace("Signature=", "Signature=0")).await;
    assert!(refused.contains("ThrottlingException"), "{refused}");
    let other = head_with_hash(b"{}");
    assert!(send(&other).await.contains("does not match what was computed"));
}

/// Bodies wait no longer than [`SHORT`] for memory.
fn impatient() -> Limits {
    let limits = Limits::default();
    let short = |room: BodyRoom| BodyRoom { wait_max: SHORT, ..room };
    Limits {
        strangers_bodies: short(limits.strangers_bodies),
        middling_bodies: short(limits.middling_bodies),
        known_bodies: short(limits.known_bodies),
        ..limits
    }
}

/// Opens a connection on which a body of 1 MiB begins, and nothing more comes.
async fn begin(running: &Running, from: [u8; 4], head: &str, first: usize) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(running.address).await.unwrap();
    let head = format!("{head}content-length: {BODY_BYTES_MAX}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; first]).await.unwrap();
    stream
}

async fn whole(running: &Running, head: fn(&[u8]) -> String, bytes: usize) -> String {
    let body = format!(r#"{{"cluster":"{}"}}"#, "a".repeat(bytes));
    let head = head(body.as_bytes());
    let head = format!("{head}connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    raw(running.address, format!("{head}{body}").as_bytes()).await
}

#[tokio::test]
async fn request_of_20_kib_waits_for_no_large_one() {
    let running = start(impatient()).await;
    let large = head_with_hash(&vec![b' '; BODY_BYTES_MAX]);
    let mut slow = Vec::new();
    for _ in 0..40 {
        slow.push(begin(&running, [127, 0, 0, 1], &large, 20_000).await);
    }
    assert!(call(&client(&running), "web").await.is_ok());
    let answer = whole(&running, head_with_hash, 20_000).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn large_request_waits_for_none_that_only_announced_itself() {
    let running = start(impatient()).await;
    let large = head_with_hash(&vec![b' '; BODY_BYTES_MAX]);
    let mut slow = Vec::new();
    for _ in 0..60 {
        slow.push(begin(&running, [127, 0, 0, 1], &large, 1).await);
    }
    assert!(call(&client(&running), "web").await.is_ok());
    let answer = whole(&running, head_with_hash, 300_000).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn crowd_of_known_callers_gives_way_to_another_address() {
    let running = start(impatient()).await;
    let large = head_with_hash(&vec![b' '; BODY_BYTES_MAX]);
    let mut slow = Vec::new();
    for _ in 0..8 {
        slow.push(begin(&running, [127, 0, 0, 2], &large, 20_000).await);
    }
    assert!(call(&client(&running), "web").await.is_ok());
    let answer = whole(&running, head_with_hash, 300_000).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // One of the crowd hears why; those that keep their room continue to wait.
    let mut answers: futures_util::stream::FuturesUnordered<_> = slow
        .iter_mut()
        .map(|stream| async move {
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            answer
        })
        .collect();
    while let Some(refused) = futures_util::StreamExt::next(&mut answers).await {
        assert!(refused.contains("ThrottlingException"), "{refused}");
        if refused.contains("had more memory than those of others") {
            return;
        }
    }
    unreachable!("nobody gave way");
}

#[tokio::test]
async fn body_from_a_proved_address_waits_for_no_strangers() {
    let running = start(impatient()).await;
    assert!(call(&client(&running), "web").await.is_ok());
    let forged = signed_head(b"").replace("Signature=", "Signature=0");
    let mut slow = Vec::new();
    for n in 0..6 {
        slow.push(begin(&running, [127, 0, 0, 2 + n % 3], &forged, 20_000).await);
    }
    let answer = whole(&running, signed_head, 300_000).await;
    assert!(answer.contains("UnknownOperationException"), "{answer}");
}

#[tokio::test]
async fn large_request_is_worked_on_in_the_workshop_and_a_small_one_is_not() {
    let workshop = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("workshop")
        .build()
        .unwrap();
    let running = start_with(Limits::default(), workshop.handle().clone()).await;
    let client = client(&running);
    let small = call(&client, "where").await.unwrap();
    assert_ne!(small.cluster, "workshop");
    let large = call(&client, &format!("where{}", " ".repeat(200_000))).await.unwrap();
    assert_eq!(large.cluster, "workshop");
    let name = "a".repeat(200_000);
    assert_eq!(call(&client, &name).await.unwrap(), Output { cluster: name });
    workshop.shutdown_background();
}

fn get(path: &str, head: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n{head}\r\n")
}

#[tokio::test]
async fn health_needs_no_signature_and_does_not_wait() {
    let running = start(Limits::default()).await;
    let get = async |path: &str| raw(running.address, get(path, "").as_bytes()).await;
    assert!(get("/healthz").await.ends_with("\r\n\r\nok\n"));
    assert!(get("/readyz").await.ends_with("\r\n\r\nready\n"));
    let answer = get("/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    running.health.set_not_ready("the journal is being read");
    let answer = get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("the journal is being read"), "{answer}");
    assert!(get("/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get("/other").await.starts_with("HTTP/1.1 404"));
    assert!(get("/").await.starts_with("HTTP/1.1 405"));
}

/// Callers can read, and nothing that they change is taken: that is not ready.
#[tokio::test]
async fn readiness_ends_while_the_journal_is_older_than_the_hosts() {
    let running = start(Limits::default()).await;
    let epoch = |counter| Epoch { counter, incarnation: 1 };
    running.driver.raise_went_back(Proof {
        host: HostId::new(7),
        seen: epoch(2),
        seen_order: 1,
        epoch: epoch(1),
        last_order: 1,
    });
    let answer = raw(running.address, get("/readyz", "").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("longshore-coordinator recover"), "{answer}");
    assert!(raw(running.address, get("/healthz", "").as_bytes()).await.starts_with("HTTP/1.1 200"));
    let client = client(&running);
    assert_eq!(call(&client, "read").await.unwrap(), Output { cluster: "read".into() });
}

#[tokio::test]
async fn a_connection_serves_many_requests_each_with_its_own_id() {
    let running = start(Limits::default()).await;
    let head = signed_head(b"{}");
    let request = format!("{head}content-length: 2\r\n\r\n{{}}");
    let last = format!("{head}content-length: 2\r\nconnection: close\r\n\r\n{{}}");
    let answers = raw(running.address, format!("{request}{request}{last}").as_bytes()).await;
    let ids: std::collections::BTreeSet<&str> =
        answers.lines().filter(|line| line.starts_with("x-amzn-requestid: ")).collect();
    assert_eq!(ids.len(), 3, "{answers}");
    assert!(ids.iter().all(|line| line.len() == "x-amzn-requestid: ".len() + 36), "{ids:?}");
    assert_eq!(answers.matches("content-type: application/x-amz-json-1.1").count(), 3);
    assert_eq!(answers.matches("UnknownOperationException").count(), 3);
}

#[tokio::test]
async fn a_handler_that_panics_fails_its_own_request_only() {
    let running = start(Limits::default()).await;
    let client = client(&running);
    let refused = call(&client, "panic").await.unwrap_err();
    assert!(refused.to_string().contains("ServerException"), "{refused}");
    assert!(call(&client, "web").await.is_ok());
}

#[tokio::test]
async fn a_request_under_way_ends_before_the_server_does() {
    let running = start(Limits::default()).await;
    let client = client(&running);
    // An idle connection must not hold the shutdown up.
    let _idle = TcpStream::connect(running.address).await.unwrap();
    let waiting = tokio::spawn(async move { call(&client, "wait").await });
    ENTERED.notified().await;
    running.shutdown.cancel();
    RELEASED.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap(), Output { cluster: "waited".into() });
    running.serving.await.unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn an_rpc_is_answered_in_cbor_and_a_refusal_has_its_old_name_too() {
    let running = start(Limits::default()).await;
    let ask = async |operation: &str, body: &[u8]| {
        let path = format!("/service/GraniteServiceVersion20100801/operation/{operation}");
        let mut headers = http::HeaderMap::new();
        for (name, value) in [
            ("host", "a"),
            ("content-type", "application/cbor"),
            ("smithy-protocol", "rpc-v2-cbor"),
            ("x-amzn-query-mode", "true"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let (key, service) = (credentials(), "monitoring");
        crate::signature::sign_for_path(&path, &mut headers, body, &key, "us-east-1", service, NOW)
            .unwrap();
        let head: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()))
            .collect();
        let head = format!(
            "POST {path} HTTP/1.1\r\n{head}connection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        raw(running.address, &[head.as_bytes(), body].concat()).await
    };
    let answer = ask("DescribeAlarms", b"\xa0").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: application/cbor\r\n"), "{answer}");
    assert!(answer.contains("smithy-protocol: rpc-v2-cbor\r\n"), "{answer}");
    assert!(!answer.contains("x-amzn-query-error"), "{answer}");
    let answer = ask("DescribeAlarms", b"\xa1\x6aMaxRecords\x00").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("smithy-protocol: rpc-v2-cbor\r\n"), "{answer}");
    assert!(answer.contains("x-amzn-query-error: ValidationError;Sender\r\n"), "{answer}");
}

#[tokio::test]
async fn alertmanager_is_heard_only_with_its_token() {
    let running = start(Limits::default()).await;
    let post = async |head: &str, body: &str| {
        let request = format!(
            "POST /alertmanager HTTP/1.1\r\nhost: a\r\n{head}connection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        raw(running.address, request.as_bytes()).await
    };
    let shown = format!("authorization: Bearer {}\r\n", crate::edge::test_backend::WEBHOOK_TOKEN);
    let body = r#"{"version":"4","alerts":[]}"#;
    let answer = post(&shown, body).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with(r#"{"set":[],"unknown":[],"unnamed":0}"#), "{answer}");
    for head in ["", "authorization: Bearer a-token-of-nobody\r\n"] {
        let answer = post(head, body).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
    }
    assert!(post(&shown, "{").await.starts_with("HTTP/1.1 400 "));
    let large = "a".repeat(BODY_BYTES_MAX + 1);
    assert!(post(&shown, &large).await.starts_with("HTTP/1.1 413 "));
    let get = "GET /alertmanager HTTP/1.1\r\nhost: a\r\n\r\n";
    assert!(raw(running.address, get.as_bytes()).await.starts_with("HTTP/1.1 405 "));
    running.health.set_not_ready("it is stopping");
    assert!(post(&shown, body).await.starts_with("HTTP/1.1 503 "));
}

#[tokio::test]
async fn health_is_not_told_before_the_first_time_that_requests_are_served() {
    let health = Health::starting("the journal is being read");
    assert!(health.alive().is_err() && health.ready().is_err());
    health.set_ready();
    assert!(health.alive().is_ok() && health.ready().is_ok());
    health.set_not_ready("it is stopping");
    assert!(health.alive().is_ok() && health.ready().is_err());
}
