//! The client's half of a signature: what every other client of AWS does, for our own.

use http::{HeaderMap, HeaderValue, header};
use longshore_common::clock::Timestamp;

use super::{
    X_AMZ_DATE,
    canonical::{
        ALGORITHM, AmzDate, Scope, basic_format, canonical_request, hex_sha256, string_to_sign,
    },
    key::SigningKey,
};
use crate::credentials::Credentials;

/// Adds `X-Amz-Date` and `Authorization` to a request to `/`. Every header that is there already
/// is signed.
pub(crate) fn sign(
    headers: &mut HeaderMap,
    body: &[u8],
    credentials: &Credentials,
    region: &str,
    service: &str,
    moment: Timestamp,
) -> Result<(), header::InvalidHeaderValue> {
    sign_for_path("/", headers, body, credentials, region, service, moment)
}

/// Signs a request to another path than `/`.
pub(crate) fn sign_for_path(
    path: &str,
    headers: &mut HeaderMap,
    body: &[u8],
    credentials: &Credentials,
    region: &str,
    service: &str,
    moment: Timestamp,
) -> Result<(), header::InvalidHeaderValue> {
    let moment = basic_format(moment);
    headers.insert(X_AMZ_DATE, HeaderValue::from_str(&moment)?);
    let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let signed_headers = names.join(";");
    let canonical = canonical_request("POST", path, headers, &signed_headers, &hex_sha256(body));
    let date = AmzDate::parse(&moment).expect("a moment of ours reads back");
    let scope = Scope { date: date.day(), region, service };
    // Exposed: the secret is what the signature is made with.
    let key = SigningKey::derive(credentials.secret_access_key.expose(), scope);
    let signature = key.sign(&string_to_sign(date, scope, &hex_sha256(&canonical)));
    let authorization = format!(
        "{ALGORITHM} Credential={}/{}/{region}/{service}/aws4_request, \
         SignedHeaders={signed_headers}, Signature={signature}",
        credentials.access_key_id,
        date.day(),
    );
    headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&authorization)?);
    Ok(())
}
