//! Requests that others signed: botocore, whose are recorded, and the Rust SDK's signer.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as SdkCredentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use http::HeaderName;

use super::*;
use crate::edge::keyring::AccessKey;

/// What boto3 1.43.11 sent at 2026-01-02T03:04:05Z, taken off its `before-send` event.
const BOTOCORE: &str = include_str!("botocore.json");

#[derive(serde::Deserialize)]
struct Recorded {
    name: String,
    service: String,
    region: String,
    token: Option<String>,
    method: String,
    path: String,
    headers: std::collections::BTreeMap<String, String>,
    body: String,
}

#[test]
fn what_botocore_signs_is_accepted() {
    let recorded: Vec<Recorded> = serde_json::from_str(BOTOCORE).unwrap();
    assert_eq!(recorded.len(), 7);
    for recorded in recorded {
        let mut request = Request::new(());
        *request.method_mut() = recorded.method.parse().unwrap();
        *request.uri_mut() = recorded.path.parse().unwrap();
        for (name, value) in &recorded.headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let (parts, body) = (request.into_parts().0, recorded.body.as_bytes());
        let service = if recorded.service == "sts" { "sts" } else { "ecs" };
        let verifier = verifier_of(&recorded.region, recorded.token.clone());
        let answer = verify(&verifier, &parts, body, service, NOW);
        assert!(answer.is_ok(), "{}: {answer:?}", recorded.name);
        let other = verify(&verifier, &parts, &[body, b" "].concat(), service, NOW);
        assert!(other.is_err(), "{}: with another body", recorded.name);
    }
}

#[test]
fn what_the_rust_sdk_signs_is_accepted() {
    let identity = SdkCredentials::new(ACCESS_KEY_ID, SECRET, None, None, "test").into();
    let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(NOW.0);
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("ecs")
        .time(moment)
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let mut accepted = 0;
    for length in (0..2000).step_by(7) {
        let body = format!(r#"{{"cluster":"{}"}}"#, "é".repeat(length));
        let target = format!("AmazonEC2ContainerServiceV20141113.Op{length}");
        let headers = [
            ("host", "coordinator:8420"),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target.as_str()),
            ("x-amz-user-agent", " aws-sdk-rust   os/linux "),
        ];
        let body = body.as_bytes();
        let signable = SignableRequest::new(
            "POST",
            "http://coordinator:8420/",
            headers.into_iter(),
            SignableBody::Bytes(body),
        );
        let (instructions, _) = sign(signable.unwrap(), &params).unwrap().into_parts();
        let mut request = Request::post("/");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.body(()).unwrap();
        instructions.apply_to_request_http1x(&mut request);
        *request.uri_mut() = Uri::from_static("/");
        let answer =
            verify(&verifier_of("us-east-1", None), &request.into_parts().0, body, "ecs", NOW);
        assert!(answer.is_ok(), "{length}: {answer:?}");
        accepted += 1;
    }
    eprintln!("accepted {accepted}");
}

fn verifier_of(region: &str, token: Option<String>) -> Verifier {
    let caller = Caller { arn: "root".into(), user_id: "0".into(), account: "0".into() };
    let mut keyring = Keyring::default();
    keyring.add(
        ACCESS_KEY_ID.to_owned(),
        AccessKey {
            secret: Secret::new(SECRET.into()),
            session_token: token.map(Secret::new),
            caller: Arc::new(caller),
        },
    );
    Verifier::new(region.to_owned(), keyring)
}
