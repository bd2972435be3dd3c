mod mutations;
mod signers;
mod vectors;

use expect_test::{Expect, expect};
use http::{HeaderValue, Method, Request, Uri, header};
use longshore_common::{arn::Identity, secret::Secret};

use super::*;
use crate::credentials::Credentials;

/// Time of the clock, 2026-01-02T03:04:05Z.
pub(super) const NOW: Timestamp = Timestamp(1_767_323_045_000);
pub(super) const BODY: &[u8] = br#"{"cluster":"default"}"#;
const ACCESS_KEY_ID: &str = "LSIAAAAAAAAAAAAAAAAA";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn credentials() -> Credentials {
    Credentials {
        access_key_id: ACCESS_KEY_ID.into(),
        secret_access_key: Secret::new(SECRET.into()),
    }
}

fn verifier() -> Verifier {
    let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
    Verifier::new("us-east-1".into(), Keyring::root(&credentials(), &identity))
}

/// A call as the SDKs make it, signed by `credentials` for a scope at a moment.
fn signed_by(credentials: &Credentials, region: &str, service: &str, moment: Timestamp) -> Parts {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri("/")
        .header(header::HOST, "127.0.0.1:8420")
        .header(header::CONTENT_TYPE, "application/x-amz-json-1.1")
        .header(X_AMZ_TARGET, "AmazonEC2ContainerServiceV20141113.DescribeTasks")
        .header("x-amz-user-agent", "sdk  with   spaces")
        .body(())
        .unwrap();
    crate::signature::sign(request.headers_mut(), BODY, credentials, region, service, moment)
        .unwrap();
    // What SDKs send unsigned.
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("sdk/1"));
    request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(BODY.len()));
    request.into_parts().0
}

fn signed() -> Parts {
    signed_by(&credentials(), "us-east-1", "ecs", NOW)
}

fn verify(
    verifier: &Verifier,
    parts: &Parts,
    body: &[u8],
    service: &'static str,
    now: Timestamp,
) -> Result<Arc<Caller>, ApiError> {
    verifier.verify(&verifier.admit(parts, service, now)?, body)
}

fn outcome(parts: &Parts, body: &[u8]) -> String {
    match verify(&verifier(), parts, body, "ecs", NOW) {
        Ok(caller) => format!("accepted: {}", caller.arn),
        Err(refusal) => refusal.to_string(),
    }
}

/// Changes a good request and says what becomes of it.
fn check(change: impl FnOnce(&mut Parts), expected: Expect) {
    let mut parts = signed();
    change(&mut parts);
    expected.assert_eq(&outcome(&parts, BODY));
}

fn set(parts: &mut Parts, name: &'static str, value: &str) {
    parts.headers.insert(name, HeaderValue::from_str(value).unwrap());
}

fn authorization(parts: &Parts) -> String {
    parts.headers[header::AUTHORIZATION].to_str().unwrap().to_owned()
}

fn replace(parts: &mut Parts, from: &str, to: &str) {
    let changed = authorization(parts).replace(from, to);
    assert_ne!(changed, authorization(parts), "nothing to replace");
    set(parts, "authorization", &changed);
}

#[test]
fn a_signed_request_is_its_callers() {
    check(|_| (), expect!["accepted: arn:aws:iam::000000000000:root"]);
    // What is not signed may change: proxies do that.
    check(
        |parts| set(parts, "user-agent", "other"),
        expect!["accepted: arn:aws:iam::000000000000:root"],
    );
}

#[test]
fn a_request_without_a_signature_has_no_caller() {
    for authorization in [None, Some(""), Some("Bearer abc"), Some("Basic YTpi")] {
        check(
            |parts| {
                parts.headers.remove("authorization");
                if let Some(authorization) = authorization {
                    set(parts, "authorization", authorization);
                }
            },
            expect![
                "MissingAuthenticationTokenException: Missing Authentication Token: sign the request with AWS Signature Version 4."
            ],
        );
    }
}

#[test]
fn an_incomplete_signature_says_what_is_missing() {
    check(
        |parts| set(parts, "authorization", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e"),
        expect![
            "IncompleteSignatureException: Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter."
        ],
    );
    check(
        |parts| set(parts, "authorization", "AWS4-HMAC-SHA256"),
        expect![
            "IncompleteSignatureException: Authorization header must hold 'name=value' fields with commas between."
        ],
    );
    check(
        |parts| replace(parts, "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        expect![
            "IncompleteSignatureException: Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'. Sign with 'AWS4-HMAC-SHA256'."
        ],
    );
    check(
        |parts| replace(parts, "/aws4_request", ""),
        expect![
            "IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'LSIAAAAAAAAAAAAAAAAA/20260102/us-east-1/ecs'."
        ],
    );
    check(
        |parts| replace(parts, "Signature=", "Signature=x, Signature="),
        expect![
            "IncompleteSignatureException: Authorization header holds 'Signature' more than once."
        ],
    );
    check(
        |parts| replace(parts, "Signature=", "More=1, Signature="),
        expect![
            "IncompleteSignatureException: 'More' is not a valid field in the Authorization header."
        ],
    );
    check(
        |parts| drop(parts.headers.remove("x-amz-date")),
        expect![
            "IncompleteSignatureException: Authorization header requires existence of a 'X-Amz-Date' header."
        ],
    );
    for date in ["2026-01-02T03:04:05Z", "20260102T030405", "20261302T030405Z", "20260102T030460Z"]
    {
        check(
            |parts| set(parts, "x-amz-date", date),
            expect![
                "IncompleteSignatureException: Date must be in ISO-8601 'basic format': 'X-Amz-Date: 20150830T123600Z'."
            ],
        );
    }
}

#[test]
fn a_clock_that_is_off_by_more_than_15_minutes_is_told_by_how_much() {
    let second = |offset: i64| {
        let moment = Timestamp(NOW.0.checked_add_signed(offset * 1000).unwrap());
        outcome(&signed_by(&credentials(), "us-east-1", "ecs", moment), BODY)
    };
    expect![
        "InvalidSignatureException: Signature expired: 20260102T024904Z is now earlier than 20260102T024905Z (20260102T030405Z - 15 min.)"
    ]
    .assert_eq(&second(-901));
    expect![
        "InvalidSignatureException: Signature not yet current: 20260102T031906Z is still later than 20260102T031905Z (20260102T030405Z + 15 min.)"
    ]
    .assert_eq(&second(901));
    for allowed in [-900, 900] {
        assert!(second(allowed).starts_with("accepted"), "{allowed}");
    }
}

#[test]
fn another_region_service_day_or_terminator_is_refused_in_aws_words() {
    let scoped = |region, service| outcome(&signed_by(&credentials(), region, service, NOW), BODY);
    expect![
        "InvalidSignatureException: Credential should be scoped to a valid region, not 'us-west-2'. This coordinator's region is 'us-east-1'."
    ]
    .assert_eq(&scoped("us-west-2", "ecs"));
    expect!["InvalidSignatureException: Credential should be scoped to correct service: 'ecs'."]
        .assert_eq(&scoped("us-east-1", "s3"));
    check(
        |parts| replace(parts, "/20260102/", "/20260103/"),
        expect![
            "InvalidSignatureException: Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260103' != '20260102', from '20260102T030405Z'."
        ],
    );
    check(
        |parts| replace(parts, "/aws4_request", "/aws5_request"),
        expect![
            "InvalidSignatureException: Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'."
        ],
    );
}

#[test]
fn a_stranger_and_a_wrong_secret_are_told_apart() {
    let by = |access_key_id: &str, secret: &str| {
        let credentials = Credentials {
            access_key_id: access_key_id.into(),
            secret_access_key: Secret::new(secret.into()),
        };
        outcome(&signed_by(&credentials, "us-east-1", "ecs", NOW), BODY)
    };
    let stranger = expect![
        "UnrecognizedClientException: The security token included in the request is invalid."
    ];
    stranger.assert_eq(&by("AKIAIOSFODNN7EXAMPLE", SECRET));
    stranger.assert_eq(&by("", SECRET));
    expect!["InvalidSignatureException: The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."].assert_eq(&by(ACCESS_KEY_ID, "guess"));
    // The root key has no session token: one that comes with it is another client's.
    let mut parts = signed();
    parts.headers.remove("authorization");
    set(&mut parts, "x-amz-security-token", "token");
    crate::signature::sign(&mut parts.headers, BODY, &credentials(), "us-east-1", "ecs", NOW)
        .unwrap();
    stranger.assert_eq(&outcome(&parts, BODY));
}

#[test]
fn every_header_that_means_something_must_be_signed() {
    check(
        |parts| replace(parts, ";x-amz-target", ""),
        expect![
            "InvalidSignatureException: 'x-amz-target' must be a 'SignedHeader' in the AWS Authorization."
        ],
    );
    check(
        |parts| replace(parts, "host;", ""),
        expect![
            "InvalidSignatureException: 'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
        ],
    );
    check(
        |parts| set(parts, "x-amz-anything", "1"),
        expect![
            "InvalidSignatureException: 'x-amz-anything' must be a 'SignedHeader' in the AWS Authorization."
        ],
    );
    check(
        |parts| replace(parts, "host;", "Host;"),
        expect![
            "IncompleteSignatureException: SignedHeaders must name each header once, in lower case and sorted."
        ],
    );
    check(
        |parts| replace(parts, "host;", "host;host;"),
        expect![
            "IncompleteSignatureException: SignedHeaders must name each header once, in lower case and sorted."
        ],
    );
    check(
        |parts| replace(parts, "host;", "host;no-such;"),
        expect![
            "InvalidSignatureException: SignedHeaders names 'no-such', which the request does not have in that form."
        ],
    );
}

#[test]
fn a_body_must_be_the_one_that_was_signed() {
    let refused = outcome(&signed(), b"{}");
    assert!(refused.contains("does not match the signature"), "{refused}");
    let claiming = |hash: &str| {
        let mut parts = signed();
        parts.headers.remove("authorization");
        set(&mut parts, "x-amz-content-sha256", hash);
        let credentials = credentials();
        crate::signature::sign(&mut parts.headers, BODY, &credentials, "us-east-1", "ecs", NOW)
            .unwrap();
        outcome(&parts, BODY)
    };
    assert!(claiming(&hex_sha256(BODY)).starts_with("accepted"));
    // The hash that is claimed is the one that has to be signed: the body is not looked at.
    let refused = claiming(&hex_sha256(b"{}"));
    assert!(refused.contains("does not match the signature"), "{refused}");
    let mut signed_with_hash = signed();
    signed_with_hash.headers.remove("authorization");
    set(&mut signed_with_hash, "x-amz-content-sha256", &hex_sha256(BODY));
    let credentials = credentials();
    let headers = &mut signed_with_hash.headers;
    crate::signature::sign(headers, BODY, &credentials, "us-east-1", "ecs", NOW).unwrap();
    let refused = outcome(&signed_with_hash, b"{}");
    expect!["InvalidSignatureException: The provided 'x-amz-content-sha256' header does not match what was computed."].assert_eq(&refused);
    expect![
        "InvalidSignatureException: The body must be signed: 'UNSIGNED-PAYLOAD' is not accepted."
    ]
    .assert_eq(&claiming("UNSIGNED-PAYLOAD"));
    expect!["InvalidSignatureException: The body must be signed as a whole: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' is not accepted."].assert_eq(&claiming("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"));
}

#[test]
fn the_query_string_form_and_other_paths_are_refused() {
    let at = |uri: &'static str| {
        let mut parts = signed();
        parts.uri = Uri::from_static(uri);
        outcome(&parts, BODY)
    };
    let presigned = expect![
        "IncompleteSignatureException: A signature in the query string is not accepted: sign with the Authorization header."
    ];
    presigned.assert_eq(&at("/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=abc"));
    presigned.assert_eq(&at("/?a=b&x-amz-signature=abc"));
    for other in ["/?", "/?a=b", "//", "/.", "/ecs", "/%2F", "http://127.0.0.1:8420/"] {
        expect!["InvalidSignatureException: Requests go to the path '/' or that of an RPC, without a query string."]
            .assert_eq(&at(other));
    }
}

#[test]
fn headers_that_decide_something_are_given_once() {
    for name in GIVEN_ONCE {
        let mut parts = signed();
        let value = parts.headers.get(&name).cloned().unwrap_or(HeaderValue::from_static("x"));
        parts.headers.append(&name, value.clone());
        if parts.headers.get_all(&name).iter().count() == 1 {
            parts.headers.append(&name, value);
        }
        let refused = outcome(&parts, BODY);
        assert!(refused.contains("is given more than once"), "{name}: {refused}");
    }
}

#[test]
fn a_signing_key_is_kept_for_its_day_and_the_oldest_go_first() {
    let verifier = verifier();
    let kept = || {
        let keys = verifier.signing_keys.dates_of(ACCESS_KEY_ID);
        (keys.len(), keys.first().cloned())
    };
    for day in 0..40 {
        let moment = NOW.saturating_add(Duration::from_secs(day * 24 * 60 * 60));
        let parts = signed_by(&credentials(), "us-east-1", "ecs", moment);
        for _again in 0..3 {
            verify(&verifier, &parts, BODY, "ecs", moment).unwrap();
        }
    }
    assert_eq!(kept(), (16, Some("20260126".to_owned())));
}

proptest::proptest! {
    #[test]
    fn no_header_makes_the_check_panic(
        text in "(AWS4-HMAC-SHA256 )?([ -~\t\u{80}-\u{ff}]{0,40}|Credential=|SignedHeaders=|Signature=|,|/){0,12}",
        date in "[0-9TZ]{0,17}",
    ) {
        let mut parts = signed();
        let value = |text: &str| {
            HeaderValue::from_bytes(&text.chars().map(|c| c as u8).collect::<Vec<u8>>())
        };
        if let (Ok(text), Ok(date)) = (value(&text), value(&date)) {
            parts.headers.insert(header::AUTHORIZATION, text);
            proptest::prop_assert!(verify(&verifier(), &parts, BODY, "ecs", NOW).is_err());
            let _ = claimed_service(&parts.headers);
            parts = signed();
            parts.headers.insert(X_AMZ_DATE, date);
            proptest::prop_assert!(verify(&verifier(), &parts, BODY, "ecs", NOW).is_err());
        }
    }
}
