//! AWS's published test suite, read from where cargo put the crate that ships it.

use std::{path::PathBuf, process::Command};

use http::HeaderName;

use super::*;
use crate::edge::keyring::AccessKey;

/// Minimum number of cases, those in the suite of aws-sigv4 1.6; fewer would mean that the suite
/// was not found whole.
const CASES_MIN: usize = 40;

#[test]
fn the_published_vectors_are_accepted_or_refused_for_a_rule_of_ours() {
    let mut cases: Vec<_> = fs_err::read_dir(suite()).unwrap().map(|case| case.unwrap()).collect();
    cases.sort_by_key(|case| case.file_name());
    let (mut accepted, mut elsewhere, mut unsigned, mut folded) = (0, 0, 0, 0);
    for case in &cases {
        let name = case.file_name().into_string().unwrap();
        let file = |name: &str| fs_err::read_to_string(case.path().join(name)).unwrap();
        let Some((parts, body)) = http(&file("header-signed-request.txt")) else {
            // A header over several lines, or a path that no URI can hold: HTTP refuses it.
            folded += 1;
            continue;
        };
        if parts.uri.path() != "/" || parts.uri.query().is_some() {
            let refusal = Signed::read(&parts).err().unwrap();
            assert!(refusal.message.contains("path '/'"), "{name}");
            elsewhere += 1;
            continue;
        }
        let context: Context = serde_json::from_str(&file("context.json")).unwrap();
        let answer = verify(&context.verifier(), &parts, &body, "service", context.moment());
        if name == "post-sts-header-after" {
            // The token was added after signing. AWS takes that; we take nothing unsigned.
            assert!(answer.unwrap_err().message.contains("x-amz-security-token"), "{name}");
            unsigned += 1;
            continue;
        }
        assert!(answer.is_ok(), "{name}: {answer:?}");
        accepted += 1;
        let signed = Signed::read(&parts).unwrap();
        let canonical = canonical_request(
            parts.method.as_str(),
            parts.uri.path(),
            &parts.headers,
            signed.signed_headers,
            &hex_sha256(&body),
        );
        assert_eq!(
            String::from_utf8(canonical.clone()).unwrap(),
            file("header-canonical-request.txt"),
            "{name}"
        );
        let scope = Scope { date: signed.date.day(), region: "us-east-1", service: "service" };
        let to_sign = string_to_sign(signed.date, scope, &hex_sha256(&canonical));
        assert_eq!(to_sign, file("header-string-to-sign.txt"), "{name}");
    }
    eprintln!(
        "vectors {}: accepted {accepted}, path or query {elsewhere}, unsigned token {unsigned}, \
         not HTTP {folded}",
        cases.len()
    );
    assert!(cases.len() >= CASES_MIN, "the suite is not whole: {} cases", cases.len());
    assert_eq!((accepted, unsigned), (13, 1));
}

#[derive(serde::Deserialize)]
struct Context {
    credentials: Key,
    region: String,
    service: String,
    timestamp: String,
}

#[derive(serde::Deserialize)]
struct Key {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
}

impl Context {
    fn verifier(&self) -> Verifier {
        assert_eq!(self.service, "service");
        let caller = Caller {
            arn: "arn:aws:iam::000000000000:root".into(),
            user_id: "000000000000".into(),
            account: "000000000000".into(),
        };
        let mut keyring = Keyring::default();
        keyring.add(
            self.credentials.access_key_id.clone(),
            AccessKey {
                secret: Secret::new(self.credentials.secret_access_key.clone()),
                session_token: self.credentials.token.clone().map(Secret::new),
                caller: Arc::new(caller),
            },
        );
        Verifier::new(self.region.clone(), keyring)
    }

    fn moment(&self) -> Timestamp {
        let moment: jiff::Timestamp = self.timestamp.parse().unwrap();
        Timestamp(moment.as_millisecond() as u64)
    }
}

/// Reads a request as text. Nothing when it is not HTTP as it stands.
fn http(text: &str) -> Option<(Parts, Vec<u8>)> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let line = lines.next().unwrap();
    let (method, rest) = line.split_once(' ').unwrap();
    let target = rest.strip_suffix(" HTTP/1.1")?;
    let mut request = Request::new(());
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = target.parse().ok()?;
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let name: HeaderName = name.parse().ok()?;
        request.headers_mut().append(name, HeaderValue::from_str(value.trim()).unwrap());
    }
    Some((request.into_parts().0, body.as_bytes().to_vec()))
}

fn suite() -> PathBuf {
    // This platform's packages only: others' may never have been downloaded.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let metadata = Command::new(std::env::var("CARGO").unwrap_or("cargo".into()))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &platform])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "aws-sigv4").unwrap();
    let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().join("aws-signing-test-suite/v4")
}
