use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::settings::{self, Environment};

const DOCUMENT: &str = r#"{"accountId":"1","instanceId":"i-0abc","instanceType":"m5.large",
    "availabilityZone":"eu-central-1a","imageId":"ami-1","kernelId":null}"#;

fn settings(metadata: &str, endpoint: &str) -> Settings {
    let arguments = [
        "longshore-agent".to_owned(),
        "--config=/dev/null".to_owned(),
        "--coordinator=c".to_owned(),
        format!("--ec2-metadata={metadata}"),
        format!("--ec2-metadata-endpoint={endpoint}"),
    ];
    settings::load(&arguments, &Environment::new()).unwrap()
}

/// A metadata service with `answers`, one a connection. Yields the requests that it got.
async fn service(answers: Vec<String>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/", listener.local_addr().unwrap());
    let requests = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            requests.push(String::from_utf8(request).unwrap());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        requests
    });
    (endpoint, requests)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn an_instance_is_read_with_a_session_token() {
    let (endpoint, requests) = service(vec![ok("t0ken"), ok(DOCUMENT)]).await;
    let instance = find(&settings("on", &endpoint)).await.unwrap();
    assert_eq!(instance.id.as_deref(), Some("i-0abc"));
    assert_eq!(instance.instance_type.as_deref(), Some("m5.large"));
    assert_eq!(instance.availability_zone.as_deref(), Some("eu-central-1a"));
    assert_eq!(instance.image.as_deref(), Some("ami-1"));
    let requests = requests.await.unwrap();
    assert!(requests[0].starts_with("PUT /latest/api/token HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[1].contains("x-aws-ec2-metadata-token: t0ken\r\n"), "{}", requests[1]);
}

#[tokio::test]
async fn a_service_that_refuses_or_talks_nonsense_is_gone_on_without() {
    let refusal = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n".to_owned();
    let endless = ok(&"x".repeat(ANSWER_BYTES_MAX + 1));
    for answers in [vec![refusal], vec![endless], vec![ok("t"), ok("<html>")]] {
        let (endpoint, _) = service(answers).await;
        assert_eq!(find(&settings("on", &endpoint)).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_says_nothing_costs_one_second() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let before = tokio::time::Instant::now();
    assert_eq!(find(&settings("on", &endpoint)).await, None);
    assert!(before.elapsed() <= ANSWER_WITHIN + Duration::from_millis(10));
}

#[tokio::test]
async fn nothing_is_asked_when_it_is_off_or_this_is_not_ec2() {
    // Nothing listens there: asking would be logged as a failure and take no time either, so what
    // counts is that the firmware decides.
    assert_eq!(find(&settings("off", "http://127.0.0.1:9")).await, None);
    let sys = tempfile::tempdir().unwrap();
    assert!(!is_ec2(sys.path()));
    let vendor = sys.path().join("class/dmi/id/sys_vendor");
    fs_err::create_dir_all(vendor.parent().unwrap()).unwrap();
    fs_err::write(&vendor, "QEMU\n").unwrap();
    assert!(!is_ec2(sys.path()));
    fs_err::write(&vendor, "Amazon EC2\n").unwrap();
    assert!(is_ec2(sys.path()));
}
