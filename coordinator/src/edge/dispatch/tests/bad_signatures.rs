//! P16: whatever is wrong with a signature, no operation runs, and the answer is AWS's error.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::Uri;

use super::*;

static RAN: AtomicUsize = AtomicUsize::new(0);

async fn run(_api: &Api, _input: ListClusters) -> Result<Clusters, ApiError> {
    RAN.fetch_add(1, Ordering::SeqCst);
    Ok(Clusters { cluster_arns: Vec::new() })
}

/// One request in the making.
struct Case {
    parts: Parts,
    body: String,
    target: String,
}

impl Case {
    fn good(target: &str) -> Self {
        let body = "{}".to_owned();
        Case { parts: signed("ecs", JSON, Some(target), &body), body, target: target.to_owned() }
    }

    fn set(mut self, name: &'static str, value: &str) -> Self {
        self.parts.headers.insert(name, HeaderValue::from_str(value).unwrap());
        self
    }

    fn twice(mut self, name: &'static str) -> Self {
        let value = self.parts.headers[name].clone();
        self.parts.headers.append(name, value);
        self
    }

    fn without(mut self, name: &'static str) -> Self {
        self.parts.headers.remove(name).unwrap();
        self
    }

    fn authorization(&self) -> String {
        self.parts.headers["authorization"].to_str().unwrap().to_owned()
    }

    fn replace(self, from: &str, to: &str) -> Self {
        let before = self.authorization();
        assert!(before.contains(from), "{before} has no {from}");
        self.set("authorization", &before.replacen(from, to, 1))
    }

    fn signature(&self) -> String {
        self.authorization().rsplit_once('=').unwrap().1.to_owned()
    }

    fn at(mut self, uri: &'static str) -> Self {
        self.parts.uri = Uri::from_static(uri);
        self
    }

    fn with_body(mut self, body: &str) -> Self {
        self.body = body.to_owned();
        self
    }

    /// Signs again what was changed.
    fn sign(mut self, key: &Credentials, region: &str, service: &str, moment: Timestamp) -> Self {
        self.parts.headers.remove("authorization");
        let headers = &mut self.parts.headers;
        crate::signature::sign(headers, self.body.as_bytes(), key, region, service, moment)
            .unwrap();
        self
    }

    fn signed_at(self, seconds: i64) -> Self {
        let moment = Timestamp(NOW.0.checked_add_signed(seconds * 1000).unwrap());
        self.sign(&credentials(), "us-east-1", "ecs", moment)
    }

    fn signed_again(self) -> Self {
        self.signed_at(0)
    }

    fn signed_by(self, access_key_id: &str, secret: &str) -> Self {
        let key = Credentials {
            access_key_id: access_key_id.into(),
            secret_access_key: Secret::new(secret.into()),
        };
        self.sign(&key, "us-east-1", "ecs", NOW)
    }
}

type Recipe = (&'static str, fn(Case) -> Case);

const MISSING: &[Recipe] = &[
    ("no header", |case| case.without("authorization")),
    ("an empty header", |case| case.set("authorization", "")),
    ("Basic", |case| case.set("authorization", "Basic cm9vdDpyb290")),
    ("Bearer", |case| case.set("authorization", "Bearer eyJhbGciOiJub25lIn0.e30.")),
    ("a bare token", |case| case.set("authorization", "LSIAAAAAAAAAAAAAAAAA")),
];

const INCOMPLETE: &[Recipe] = &[
    ("the algorithm alone", |case| case.set("authorization", "AWS4-HMAC-SHA256")),
    ("version 2", |case| case.set("authorization", "AWS LSIAAAAAAAAAAAAAAAAA:c2lnbmF0dXJl")),
    ("version 4a", |case| case.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")),
    ("no Credential", |case| case.replace("Credential=", "Other=")),
    ("no SignedHeaders", |case| case.replace("SignedHeaders=", "Other=")),
    ("no Signature", |case| case.replace("Signature=", "Other=")),
    ("an empty Credential", |case| {
        let day = "LSIAAAAAAAAAAAAAAAAA/20260102/us-east-1/ecs/aws4_request";
        case.replace(day, "")
    }),
    ("an empty Signature", |case| {
        let signature = case.signature();
        case.replace(&signature, "")
    }),
    ("a field twice", |case| case.replace("Signature=", "Signature=a, Signature=")),
    ("a field without a value", |case| case.replace("Signature=", "Signature, Signature=")),
    ("four parts of a scope", |case| case.replace("/ecs/", "/")),
    ("six parts of a scope", |case| case.replace("/ecs/", "/ecs/ecs/")),
    ("no date", |case| case.without("x-amz-date")),
    ("a date of another form", |case| case.set("x-amz-date", "2026-01-02T03:04:05Z")),
    ("no such date", |case| case.set("x-amz-date", "20260230T030405Z")),
    ("two signatures", |case| case.twice("authorization")),
    ("two hosts", |case| case.twice("host")),
    ("two dates", |case| case.twice("x-amz-date")),
    ("two targets", |case| case.twice("x-amz-target")),
    ("two content types", |case| case.twice("content-type")),
    ("signed headers unsorted", |case| case.replace("content-type;host", "host;content-type")),
    ("a signed header twice", |case| case.replace("host;", "host;host;")),
    ("a signed header in upper case", |case| case.replace("host;", "Host;")),
    ("a presigned query beside the header", |case| case.at("/?X-Amz-Signature=00")),
    ("a presigned query alone", |case| {
        case.without("authorization").at("/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00")
    }),
];

const UNRECOGNIZED: &[Recipe] = &[
    ("another's key", |case| case.signed_by("AKIAIOSFODNN7EXAMPLE", "secret")),
    ("no key id", |case| case.signed_by("", "secret")),
    ("a key id in lower case", |case| case.signed_by("lsiaaaaaaaaaaaaaaaaa", "secret")),
    ("a session token", |case| case.set("x-amz-security-token", "token").signed_again()),
];

const INVALID: &[Recipe] = &[
    ("signed 15 minutes and a second ago", |case| case.signed_at(-901)),
    ("signed yesterday", |case| case.signed_at(-86_400)),
    ("signed 15 minutes and a second ahead", |case| case.signed_at(901)),
    ("another region", |case| case.sign(&credentials(), "eu-west-1", "ecs", NOW)),
    ("another service", |case| case.sign(&credentials(), "us-east-1", "sts", NOW)),
    ("another terminator", |case| case.replace("aws4_request", "aws4_Request")),
    ("another day in the scope", |case| case.replace("/20260102/", "/20260101/")),
    ("another secret", |case| case.signed_by("LSIAAAAAAAAAAAAAAAAA", "Secret")),
    ("no secret", |case| case.signed_by("LSIAAAAAAAAAAAAAAAAA", "")),
    ("another body", |case| case.with_body(r#"{"maxResults":1}"#)),
    ("no body", |case| case.with_body("")),
    ("another host", |case| case.set("host", "127.0.0.1:8421")),
    ("another target", |case| {
        let target = format!("{}x", case.target);
        case.set("x-amz-target", &target)
    }),
    ("another content type", |case| case.set("content-type", "application/x-amz-json-1.0")),
    ("another date", |case| case.set("x-amz-date", "20260102T030406Z")),
    ("the target not signed", |case| case.replace(";x-amz-target", "")),
    ("the host not signed", |case| case.replace("host;", "")),
    ("an Amazon header more", |case| case.set("x-amz-acl", "public")),
    ("a signed header that is not there", |case| case.replace("host;", "host;te;")),
    ("an unsigned body", |case| {
        case.set("x-amz-content-sha256", "UNSIGNED-PAYLOAD").signed_again()
    }),
    ("a streamed body", |case| {
        case.set("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD").signed_again()
    }),
    ("another body's hash", |case| case.set("x-amz-content-sha256", "00").signed_again()),
    ("another method", |mut case| {
        case.parts.method = Method::PUT;
        case
    }),
    ("another path", |case| case.at("/ecs")),
    ("a query string", |case| case.at("/?Action=RunTask")),
    ("a signature in upper case", |case| {
        let signature = case.signature();
        case.replace(&signature, &signature.to_uppercase())
    }),
    ("a signature cut short", |case| {
        let signature = case.signature();
        case.replace(&signature, &signature[..63])
    }),
    ("a signature of zeros", |case| {
        let signature = case.signature();
        case.replace(&signature, &"0".repeat(64))
    }),
];

#[tokio::test]
async fn nothing_runs_for_a_request_that_is_not_rightly_signed() {
    let ecs = KNOWN_OPERATIONS.map(|name| Operation::write(name, json(run))).into();
    let (edge, _) = edge_with(ecs, vec![Operation::write("Recover", json(run))]);
    let targets: Vec<String> = KNOWN_OPERATIONS
        .iter()
        .map(|name| format!("{}.{name}", ecs::TARGET))
        .chain([format!("{}.Recover", longshore::TARGET)])
        .collect();
    let mut asked = 0;
    for target in &targets {
        let recipes = [
            (ErrorCode::MissingAuthenticationToken, MISSING),
            (ErrorCode::IncompleteSignature, INCOMPLETE),
            (ErrorCode::UnrecognizedClient, UNRECOGNIZED),
            (ErrorCode::InvalidSignature, INVALID),
        ];
        for (expected, recipes) in recipes {
            for (recipe, spoil) in recipes {
                let Case { parts, body, .. } = spoil(Case::good(target));
                let answer = match edge.admit(&parts) {
                    Ok(admitted) => edge.route(admitted, body.as_bytes(), "id").await.answer,
                    Err(refusal) => Err(refusal),
                };
                let refusal = answer.err().unwrap_or_else(|| panic!("{target}: {recipe} ran"));
                assert_eq!(refusal.code, expected, "{target}: {recipe}: {refusal}");
                asked += 1;
            }
        }
    }
    assert_eq!(RAN.load(Ordering::SeqCst), 0);
    // The same requests unspoiled do run: what was refused was refused for its signature.
    for target in &targets {
        let Case { parts, body, .. } = Case::good(target);
        let admitted = edge.admit(&parts).unwrap();
        assert!(edge.route(admitted, body.as_bytes(), "id").await.answer.is_ok(), "{target}");
    }
    assert_eq!(RAN.load(Ordering::SeqCst), targets.len());
    eprintln!("badly signed requests {asked}, operations run for them 0");
    assert!(asked >= 3_960, "{asked}");
}
