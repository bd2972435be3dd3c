mod bad_signatures;

use http::{HeaderName, HeaderValue, Method, Request, header};
use longshore_common::{
    arn::Identity,
    clock::{SteppedClock, Timestamp},
    secret::Secret,
};
use serde::{Deserialize, Serialize};

use super::*;
use crate::{
    api::{
        self,
        ecs::{self, KNOWN_OPERATIONS},
        longshore,
    },
    edge::{
        operation::{Operation, json},
        protocol::X_AMZ_TARGET,
        service::Body,
        test_backend,
    },
};

/// Time of the clock, 2026-01-02T03:04:05Z.
const NOW: Timestamp = Timestamp(1_767_323_045_000);
const JSON: &str = "application/x-amz-json-1.1";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListClusters {
    max_results: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Clusters {
    cluster_arns: Vec<String>,
}

async fn list_clusters(api: &Api, input: ListClusters) -> Result<Clusters, ApiError> {
    let count = input.max_results.unwrap_or(1) as usize;
    Ok(Clusters { cluster_arns: vec![api.identity.cluster("default"); count] })
}

fn credentials() -> Credentials {
    Credentials {
        access_key_id: "LSIAAAAAAAAAAAAAAAAA".into(),
        secret_access_key: Secret::new("secret".into()),
    }
}

fn edge() -> (Edge, Health) {
    edge_with(
        vec![Operation::read("ListClusters", json(list_clusters))],
        vec![Operation::read("ListClusters", json(list_clusters))],
    )
}

fn edge_with(ecs: Vec<Operation>, longshore: Vec<Operation>) -> (Edge, Health) {
    let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
    let health = Health::starting("the test is being set up");
    health.set_ready();
    let mut offer = api::offer();
    offer.services[0] = ecs::service_of(ecs);
    offer.services[1] = longshore::service_of(longshore);
    let edge = Edge::with(
        test_backend::empty(identity),
        &credentials(),
        SteppedClock::at(NOW),
        health.clone(),
        Metrics::detached(),
        offer,
    );
    (edge, health)
}

fn signed(service: &str, content_type: &str, target: Option<&str>, body: &str) -> Parts {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri("/")
        .header(header::HOST, "127.0.0.1:8420")
        .header(header::CONTENT_TYPE, content_type)
        .body(())
        .unwrap();
    if let Some(target) = target {
        request.headers_mut().insert(X_AMZ_TARGET, HeaderValue::from_str(target).unwrap());
    }
    let headers = request.headers_mut();
    crate::signature::sign(headers, body.as_bytes(), &credentials(), "us-east-1", service, NOW)
        .unwrap();
    request.into_parts().0
}

/// What the client reads.
async fn ask(edge: &Edge, parts: &Parts, body: &str) -> String {
    let answer = match edge.admit(parts) {
        Ok(admitted) => edge.route(admitted, body.as_bytes(), "id").await.answer.map(Body::whole),
        Err(refusal) => Err(refusal),
    };
    let body = match answer {
        Ok(body) => body,
        Err(refusal) => Wire::of(parts).refusal(&refusal, "id").1,
    };
    String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn an_operation_is_found_by_its_target() {
    let (edge, _) = edge();
    for target in [ecs::TARGET, longshore::TARGET] {
        let target = format!("{target}.ListClusters");
        let body = r#"{"maxResults":1}"#;
        let answer = ask(&edge, &signed("ecs", JSON, Some(&target), body), body).await;
        assert_eq!(
            answer,
            r#"{"clusterArns":["arn:aws:ecs:us-east-1:000000000000:cluster/default"]}"#
        );
    }
}

#[tokio::test]
async fn unbuilt_operation_of_ecs_says_so_and_others_do_not_exist() {
    let (edge, _) = edge();
    assert!(KNOWN_OPERATIONS.is_sorted());
    for name in KNOWN_OPERATIONS.iter().filter(|name| **name != "ListClusters") {
        let target = format!("{}.{name}", ecs::TARGET);
        let answer = ask(&edge, &signed("ecs", JSON, Some(&target), "{}"), "{}").await;
        let expected = format!(r#"{{"__type":"UnsupportedFeatureException","message":"{name} is"#);
        assert!(answer.starts_with(&expected), "{answer}");
    }
    let unknown = [
        Some(format!("{}.listClusters", ecs::TARGET)),
        Some(format!("{}.", ecs::TARGET)),
        Some(ecs::TARGET.to_owned()),
        Some(format!("{}.RunTask", longshore::TARGET)),
        Some("DynamoDB_20120810.ListTables".to_owned()),
        None,
    ];
    for target in unknown {
        let answer = ask(&edge, &signed("ecs", JSON, target.as_deref(), "{}"), "{}").await;
        assert!(answer.starts_with(r#"{"__type":"UnknownOperationException""#), "{answer}");
    }
}

#[tokio::test]
async fn nothing_is_looked_at_before_the_signature() {
    let (edge, health) = edge();
    health.set_not_ready("it stops");
    let target = format!("{}.NoSuchThing", ecs::TARGET);
    let mut parts = signed("ecs", "text/plain", Some(&target), "{");
    let answer = ask(&edge, &parts, "{").await;
    assert!(answer.contains("ServiceUnavailableException"), "{answer}");
    health.set_ready();
    let answer = ask(&edge, &parts, "{").await;
    assert!(answer.contains("UnsupportedMediaTypeException"), "{answer}");
    health.set_not_ready("it stops");
    parts.headers.remove(header::AUTHORIZATION);
    let answer = ask(&edge, &parts, "{").await;
    assert!(answer.contains("MissingAuthenticationTokenException"), "{answer}");
}

#[tokio::test]
async fn get_caller_identity_answers_in_xml() {
    let (edge, _) = edge();
    let body = "Action=GetCallerIdentity&Version=2011-06-15";
    let answer = ask(&edge, &signed("sts", FORM, None, body), body).await;
    expect_test::expect![[r#"<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:iam::000000000000:root</Arn><UserId>000000000000</UserId><Account>000000000000</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></GetCallerIdentityResponse>"#]].assert_eq(&answer);
}

#[tokio::test]
async fn the_query_protocol_has_its_own_words_for_refusals() {
    let (edge, _) = edge();
    let action = "Action=GetCallerIdentity&Version=2011-06-15";
    for (body, service, expected) in [
        ("Action=AssumeRole&Version=2011-06-15", "sts", "<Code>InvalidAction</Code>"),
        ("Action=GetCallerIdentity&Version=2010-01-01", "sts", "<Code>InvalidAction</Code>"),
        ("Version=2011-06-15", "sts", "<Code>ValidationError</Code>"),
        (&format!("{action}&More=1"), "sts", "<Code>ValidationError</Code>"),
        (&format!("{action}&Action=2"), "sts", "<Code>MalformedQueryString</Code>"),
        (action, "ecs", "<Code>SignatureDoesNotMatch</Code>"),
        (action, "iam", "correct service: &apos;sts&apos;"),
    ] {
        let answer = ask(&edge, &signed(service, FORM, None, body), body).await;
        assert!(answer.contains(expected), "{body} {service}: {answer}");
    }
    let mut unsigned = signed("sts", FORM, None, action);
    unsigned.headers.remove(header::AUTHORIZATION);
    let answer = ask(&edge, &unsigned, action).await;
    assert!(answer.contains("<Code>MissingAuthenticationToken</Code>"), "{answer}");
}

#[tokio::test]
async fn a_signature_for_one_protocol_is_none_for_the_other() {
    let (edge, _) = edge();
    let target = format!("{}.ListClusters", ecs::TARGET);
    let answer = ask(&edge, &signed("sts", JSON, Some(&target), "{}"), "{}").await;
    assert!(answer.contains("Credential should be scoped to correct service: 'ecs'."), "{answer}");
    // A target under the signature's roof but a form's content type: read as JSON, then refused.
    let answer = ask(&edge, &signed("ecs", FORM, Some(&target), "{}"), "{}").await;
    assert!(answer.contains("UnsupportedMediaTypeException"), "{answer}");
    // A target slipped in after signing.
    let body = "Action=GetCallerIdentity&Version=2011-06-15";
    let mut parts = signed("sts", FORM, None, body);
    parts
        .headers
        .insert(HeaderName::from_static("x-amz-target"), HeaderValue::from_str(&target).unwrap());
    let answer = ask(&edge, &parts, body).await;
    assert!(answer.contains("'x-amz-target' must be a 'SignedHeader'"), "{answer}");
}
