use http::Request;

use super::*;

fn router() -> Router {
    Router::new(crate::api::offer().services)
}

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn signed(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKID/20260102/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=0"
    )
}

/// The status, content type, error type's header and body that a client reads.
fn answer(method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<String> {
    let (router, parts) = (router(), parts(method, uri, headers));
    let foreign = Foreign::asked(&parts, &router)?;
    let answer = foreign.answer(&router, &parts.headers, "id");
    let header = |name: &str| match answer.headers().get(name) {
        Some(value) => value.to_str().unwrap().to_owned(),
        None => "-".to_owned(),
    };
    let body = String::from_utf8_lossy(answer.body()).into_owned();
    let body = body.replace(&advice(), "…");
    let (kind, error) = (header("content-type"), header("x-amzn-errortype"));
    Some(format!("{} {kind} {error} {body}", answer.status().as_u16()))
}

/// The advice of a message, from "it has" on.
fn advice() -> String {
    let foreign = Foreign { name: Some("x".into()), form: Form::RestJson };
    foreign.message(&router()).split_once("it has").unwrap().1.to_owned()
}

#[test]
fn service_that_is_not_here_is_refused_in_its_own_form() {
    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
    const JSON_1_0: (&str, &str) = ("content-type", "application/x-amz-json-1.0");
    let rows = [
        (
            "POST",
            "/",
            "ec2",
            vec![FORM],
            "400 text/xml - <?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Errors><Error><Code>InvalidAction</Code><Message>Longshore has no ec2; it has…</Message></Error></Errors><RequestID>id</RequestID></Response>",
        ),
        (
            "POST",
            "/",
            "iam",
            vec![FORM],
            "400 text/xml - <ErrorResponse><Error><Type>Sender</Type><Code>InvalidAction</Code><Message>Longshore has no iam; it has…</Message></Error><RequestId>id</RequestId></ErrorResponse>",
        ),
        (
            "POST",
            "/",
            "elasticloadbalancing",
            vec![FORM],
            "400 text/xml - <ErrorResponse><Error><Type>Sender</Type><Code>InvalidAction</Code><Message>Longshore has no elasticloadbalancing; it has…</Message></Error><RequestId>id</RequestId></ErrorResponse>",
        ),
        (
            "POST",
            "/",
            "sqs",
            vec![JSON_1_0, ("x-amz-target", "AmazonSQS.ListQueues")],
            r#"400 application/x-amz-json-1.0 - {"__type":"UnknownOperationException","message":"Longshore has no sqs; it has…"}"#,
        ),
        (
            "POST",
            "/",
            "ssm",
            vec![
                ("content-type", "application/x-amz-json-1.1"),
                ("x-amz-target", "AmazonSSM.GetParameter"),
            ],
            r#"400 application/x-amz-json-1.1 - {"__type":"UnknownOperationException","message":"Longshore has no ssm; it has…"}"#,
        ),
        (
            "GET",
            "/",
            "s3",
            vec![],
            "400 text/xml - <?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>InvalidAction</Code><Message>Longshore has no s3; it has…</Message><RequestId>id</RequestId></Error>",
        ),
        (
            "PUT",
            "/bucket/key",
            "s3",
            vec![("content-encoding", "aws-chunked")],
            "400 text/xml - <?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>InvalidAction</Code><Message>Longshore has no s3; it has…</Message><RequestId>id</RequestId></Error>",
        ),
        (
            "GET",
            "/2013-04-01/hostedzone",
            "route53",
            vec![],
            "400 text/xml - <ErrorResponse><Error><Type>Sender</Type><Code>InvalidAction</Code><Message>Longshore has no route53; it has…</Message></Error><RequestId>id</RequestId></ErrorResponse>",
        ),
        (
            "GET",
            "/2015-03-31/functions/",
            "lambda",
            vec![],
            r#"400 application/json UnknownOperationException {"__type":"UnknownOperationException","message":"Longshore has no lambda; it has…"}"#,
        ),
        (
            "GET",
            "/clusters",
            "eks",
            vec![],
            r#"400 application/json UnknownOperationException {"__type":"UnknownOperationException","message":"Longshore has no eks; it has…"}"#,
        ),
        (
            "POST",
            "/graphql",
            "appsync",
            vec![JSON_1_0],
            r#"400 application/json UnknownOperationException {"__type":"UnknownOperationException","message":"Longshore has no appsync; it has…"}"#,
        ),
    ];
    for (method, uri, service, mut headers, expected) in rows {
        let authorization = signed(service);
        headers.push(("authorization", &authorization));
        assert_eq!(answer(method, uri, &headers).as_deref(), Some(expected));
    }
}

#[test]
fn service_is_known_by_target_path_query_and_sdk_too() {
    for (method, uri, headers, expected) in [
        (
            "POST",
            "/",
            &[("x-amz-target", "AWSCognitoIdentityProviderService.InitiateAuth")][..],
            "no AWSCognitoIdentityProviderService;",
        ),
        (
            "POST",
            "/service/Kinesis_1/operation/PutIt",
            &[("smithy-protocol", "rpc-v2-cbor")],
            "no Kinesis_1;",
        ),
        (
            "GET",
            "/bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F20260102%2Fus-east-1%2Fs3%2Faws4_request",
            &[],
            "no s3;",
        ),
        ("GET", "/federation/credentials", &[("user-agent", "aws-cli/2.9")], "no such service;"),
        (
            "GET",
            "/",
            &[("user-agent", "Boto3/1.4"), ("amz-sdk-request", "attempt=1")],
            "no such service;",
        ),
        (
            "GET",
            "/x",
            &[("authorization", "AWS4-HMAC-SHA256 Credential=A/2/r/<x>/aws4_request")],
            "no such service;",
        ),
    ] {
        let said = answer(method, uri, headers).unwrap_or_default();
        assert!(said.contains(expected), "{uri}: {said}");
    }
    let path = [("authorization", &*signed("ecs"))];
    assert!(answer("POST", "/prefix/", &path).unwrap().contains("without a path"));
}

#[test]
fn service_that_is_here_and_what_is_no_sdk_are_not_foreign() {
    for (method, uri, headers) in [
        ("POST", "/", vec![("authorization", signed("ecs"))]),
        ("POST", "/", vec![("authorization", signed("sts"))]),
        (
            "POST",
            "/service/GraniteServiceVersion20100801/operation/X",
            vec![("authorization", signed("monitoring"))],
        ),
        // Signed for another, but names an operation of ours: the signature is what is wrong.
        (
            "POST",
            "/",
            vec![
                ("authorization", signed("iam")),
                ("x-amz-target", "Longshore_2026.Recover".into()),
            ],
        ),
        ("POST", "/", vec![]),
        ("GET", "/", vec![("user-agent", "curl/8".into())]),
        ("GET", "/favicon.ico", vec![("user-agent", "Mozilla/5.0".into())]),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(answer(method, uri, &headers), None, "{uri} {headers:?}");
    }
}
