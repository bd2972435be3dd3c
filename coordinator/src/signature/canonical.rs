//! The bytes that are signed: the canonical request and the string made of it.
//!
//! Shared by the verifier and the signing client. The path is one of those that are their own
//! canonical form and the query string is empty (see `edge::sigv4`).

use http::HeaderMap;
use longshore_common::clock::Timestamp;
use sha2::{Digest, Sha256};

pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// `X-Amz-Date`, checked to be a moment: `20150830T123600Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AmzDate<'r> {
    text: &'r str,
    timestamp: Timestamp,
}

impl<'r> AmzDate<'r> {
    pub(crate) fn parse(text: &'r str) -> Option<Self> {
        let bytes = text.as_bytes();
        let shaped = bytes.len() == 16
            && bytes.iter().enumerate().all(|(at, byte)| match at {
                8 => *byte == b'T',
                15 => *byte == b'Z',
                _ => byte.is_ascii_digit(),
            });
        if !shaped {
            return None;
        }
        let number = |range: std::ops::Range<usize>| text[range].parse::<i16>().ok();
        let small = |range| number(range).and_then(|value| i8::try_from(value).ok());
        let time = jiff::civil::DateTime::new(
            number(0..4)?,
            small(4..6)?,
            small(6..8)?,
            small(9..11)?,
            small(11..13)?,
            small(13..15)?,
            0,
        );
        let moment = time.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        let timestamp = Timestamp(u64::try_from(moment.as_millisecond()).ok()?);
        Some(AmzDate { text, timestamp })
    }

    pub(crate) fn text(self) -> &'r str {
        self.text
    }

    /// `20150830`: the day of the credential's scope.
    pub(crate) fn day(self) -> &'r str {
        &self.text[..8]
    }

    pub(crate) fn timestamp(self) -> Timestamp {
        self.timestamp
    }
}

/// Writes a moment the way `X-Amz-Date` does.
pub(crate) fn basic_format(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.0 as i64)
        .map(|time| time.strftime("%Y%m%dT%H%M%SZ").to_string())
        .unwrap_or_default()
}

/// What a signing key is good for, besides the access key that it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope<'a> {
    /// `20150830`.
    pub(crate) date: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// The canonical request of a call without a query string. `signed_headers` names headers
/// in lower case, sorted, with `;` between.
pub(crate) fn canonical_request(
    method: &str,
    path: &str,
    headers: &HeaderMap,
    signed_headers: &str,
    body_hash: &str,
) -> Vec<u8> {
    let mut canonical = Vec::with_capacity(1024);
    canonical.extend_from_slice(method.as_bytes());
    canonical.push(b'\n');
    canonical.extend_from_slice(path.as_bytes());
    canonical.extend_from_slice(b"\n\n");
    for name in signed_headers.split(';') {
        canonical.extend_from_slice(name.as_bytes());
        canonical.push(b':');
        for (index, value) in headers.get_all(name).iter().enumerate() {
            if index > 0 {
                canonical.push(b',');
            }
            push_trimmed(&mut canonical, value.as_bytes());
        }
        canonical.push(b'\n');
    }
    canonical.push(b'\n');
    canonical.extend_from_slice(signed_headers.as_bytes());
    canonical.push(b'\n');
    canonical.extend_from_slice(body_hash.as_bytes());
    canonical
}

/// Appends a value without spaces at the ends, and with one space for several.
fn push_trimmed(canonical: &mut Vec<u8>, value: &[u8]) {
    let mut after_space = false;
    for byte in value.trim_ascii() {
        let space = *byte == b' ';
        if !(space && after_space) {
            canonical.push(*byte);
        }
        after_space = space;
    }
}

/// What the signing key signs: the moment, the scope and the canonical request's hash.
pub(crate) fn string_to_sign(date: AmzDate<'_>, scope: Scope<'_>, canonical_hash: &str) -> String {
    let Scope { date: day, region, service } = scope;
    let moment = date.text();
    format!("{ALGORITHM}\n{moment}\n{day}/{region}/{service}/aws4_request\n{canonical_hash}")
}

pub(crate) fn hex_sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
