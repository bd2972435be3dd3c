//! AWS Signature Version 4: who sent a request, or why nobody may be believed to have.
//!
//! Stricter than AWS where that costs no client anything, because every leniency here has been
//! somebody's hole (promises.md 3): the header form only, every `x-amz-*` header signed, the body's
//! hash always checked, headers that decide something given once. The path is `/` and there is no
//! query string, so neither needs a canonical form.
//!
//! Never: a secret in an error, a comparison that stops at the first difference.

mod keys;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, header, request::Parts};
use longshore_common::clock::Timestamp;
use subtle::ConstantTimeEq;

use crate::{
    edge::{
        context::Caller,
        error::{ApiError, ErrorCode},
        keyring::{AccessKey, Keyring},
        protocol::{API_PATH, X_AMZ_TARGET, cbor::Rpc},
    },
    signature::{
        ALGORITHM, AmzDate, Scope, X_AMZ_DATE, basic_format, canonical_request, hex_sha256,
        string_to_sign,
    },
};
use keys::SigningKeys;

const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Maximum time that the client's clock may be off, either way (AWS's rule for every service).
const SKEW_MAX: Duration = Duration::from_secs(15 * 60);
/// Maximum number of signed headers (ours): more than any client sends; bounds the work for an
/// unknown caller.
const SIGNED_HEADERS_MAX: usize = 64;

/// Headers that decide what a request means: two of one could be read differently by two readers.
const GIVEN_ONCE: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::HOST,
    header::CONTENT_TYPE,
    X_AMZ_DATE,
    X_AMZ_TARGET,
    X_AMZ_SECURITY_TOKEN,
    X_AMZ_CONTENT_SHA256,
];

/// Checks signatures for one region with the keys of one ring.
pub(crate) struct Verifier {
    region: String,
    keyring: Keyring,
    signing_keys: SigningKeys,
}

impl Verifier {
    pub(crate) fn new(region: String, keyring: Keyring) -> Self {
        Verifier { region, keyring, signing_keys: SigningKeys::default() }
    }

    /// Whether a request may be who it says, before its body is read: strangers are refused here.
    /// The checks stand in AWS's order: form, time, scope, key; then comes the signature.
    pub(crate) fn admit<'r>(
        &'r self,
        parts: &'r Parts,
        service: &'static str,
        now: Timestamp,
    ) -> Result<Admitted<'r>, ApiError> {
        let signed = Signed::read(parts)?;
        signed.check_headers(&parts.headers)?;
        check_skew(signed.date, now)?;
        signed.credential.check_scope(&self.region, service, signed.date)?;
        let key = self.key(&signed)?;
        let mut admitted = Admitted { signed, key, service, parts, is_proven: false };
        // The body's hash is under the signature where the client sends it: a forged one is refused
        // before its body is read.
        if let Some(claimed) = admitted.signed.body_hash {
            self.check_signature(&admitted, claimed)?;
            admitted.is_proven = true;
        }
        Ok(admitted)
    }

    /// Who signed this request with this body.
    pub(crate) fn verify(
        &self,
        admitted: &Admitted<'_>,
        body: &[u8],
    ) -> Result<Arc<Caller>, ApiError> {
        let body_hash = hex_sha256(body);
        match admitted.signed.body_hash {
            Some(claimed) if claimed == body_hash => {}
            Some(_) => {
                return Err(invalid(
                    "The provided 'x-amz-content-sha256' header does not match what was computed.",
                ));
            }
            None => self.check_signature(admitted, &body_hash)?,
        }
        Ok(Arc::clone(&admitted.key.caller))
    }

    fn check_signature(&self, admitted: &Admitted<'_>, body_hash: &str) -> Result<(), ApiError> {
        let Admitted { signed, key, service, parts, .. } = admitted;
        let scope = Scope { date: signed.date.day(), region: &self.region, service };
        let canonical = canonical_request(
            parts.method.as_str(),
            parts.uri.path(),
            &parts.headers,
            signed.signed_headers,
            body_hash,
        );
        let to_sign = string_to_sign(signed.date, scope, &hex_sha256(&canonical));
        let access_key_id = signed.credential.access_key_id;
        let expected = self.signing_keys.with(access_key_id, key, scope, |key| key.sign(&to_sign));
        if !bool::from(expected.as_bytes().ct_eq(signed.signature.as_bytes())) {
            return Err(invalid(
                "The request signature we calculated does not match the signature you provided. \
                 Check your AWS Secret Access Key and signing method. Consult the service \
                 documentation for details.",
            ));
        }
        Ok(())
    }

    fn key(&self, signed: &Signed<'_>) -> Result<&AccessKey, ApiError> {
        let key = self.keyring.get(signed.credential.access_key_id).filter(|key| {
            match (&key.session_token, signed.session_token) {
                (None, None) => true,
                (Some(token), Some(given)) => {
                    token.expose().as_bytes().ct_eq(given.as_bytes()).into()
                }
                (None, Some(_)) | (Some(_), None) => false,
            }
        });
        key.ok_or_else(|| {
            ApiError::new(
                ErrorCode::UnrecognizedClient,
                "The security token included in the request is invalid.",
            )
        })
    }
}

/// A request whose signature is well-formed, timely, for us, and by a key that we know. Whether
/// that key made it may still be open.
pub(crate) struct Admitted<'r> {
    signed: Signed<'r>,
    key: &'r AccessKey,
    service: &'static str,
    parts: &'r Parts,
    is_proven: bool,
}

impl Admitted<'_> {
    /// True when that key made the signature: the head holds all that is signed. Whether the body is
    /// the one that was signed is still open.
    pub(crate) fn is_proven(&self) -> bool {
        self.is_proven
    }
}

/// What a request says about its signature, well-formed but not yet believed.
struct Signed<'r> {
    credential: Credential<'r>,
    /// Lower-case names with `;` between, strictly ascending.
    signed_headers: &'r str,
    signature: &'r str,
    date: AmzDate<'r>,
    session_token: Option<&'r str>,
    body_hash: Option<&'r str>,
}

impl<'r> Signed<'r> {
    fn read(parts: &'r Parts) -> Result<Self, ApiError> {
        let headers = &parts.headers;
        refuse_query_form(parts)?;
        if !headers.contains_key(header::AUTHORIZATION) {
            return Err(missing_token());
        }
        for name in GIVEN_ONCE {
            if headers.get_all(&name).iter().nth(1).is_some() {
                return Err(incomplete(format!("The header '{name}' is given more than once.")));
            }
        }
        let fields = Fields::read(text(headers, header::AUTHORIZATION)?.unwrap_or_default())?;
        let date = text(headers, X_AMZ_DATE)?;
        let date = date.ok_or_else(|| {
            incomplete("Authorization header requires existence of a 'X-Amz-Date' header.")
        })?;
        let date = AmzDate::parse(date).ok_or_else(|| {
            incomplete("Date must be in ISO-8601 'basic format': 'X-Amz-Date: 20150830T123600Z'.")
        })?;
        let body_hash = text(headers, X_AMZ_CONTENT_SHA256)?;
        if let Some(form @ ("UNSIGNED-PAYLOAD" | "STREAMING-UNSIGNED-PAYLOAD-TRAILER")) = body_hash
        {
            return Err(invalid(format!("The body must be signed: '{form}' is not accepted.")));
        }
        if let Some(form) = body_hash.filter(|form| form.starts_with("STREAMING-")) {
            return Err(invalid(format!(
                "The body must be signed as a whole: '{form}' is not accepted."
            )));
        }
        Ok(Signed {
            credential: Credential::read(fields.credential)?,
            signed_headers: fields.signed_headers,
            signature: fields.signature,
            date,
            session_token: text(headers, X_AMZ_SECURITY_TOKEN)?,
            body_hash,
        })
    }

    /// Every header that means something must be under the signature, and nothing else may be
    /// claimed to be.
    fn check_headers(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let mut before = "";
        for (index, name) in self.signed_headers.split(';').enumerate() {
            if index == SIGNED_HEADERS_MAX {
                return Err(incomplete(format!(
                    "SignedHeaders names more than {SIGNED_HEADERS_MAX} headers."
                )));
            }
            if name <= before {
                return Err(incomplete(
                    "SignedHeaders must name each header once, in lower case and sorted.",
                ));
            }
            if name.bytes().any(|byte| byte.is_ascii_uppercase()) || !headers.contains_key(name) {
                return Err(invalid(format!(
                    "SignedHeaders names '{}', which the request does not have in that form.",
                    shortened(name)
                )));
            }
            before = name;
        }
        let is_signed = |name: &str| self.signed_headers.split(';').any(|signed| signed == name);
        if !is_signed("host") {
            return Err(invalid(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
            ));
        }
        let unsigned = headers
            .keys()
            .find(|name| name.as_str().starts_with("x-amz-") && !is_signed(name.as_str()));
        match unsigned {
            Some(name) => {
                Err(invalid(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")))
            }
            None => Ok(()),
        }
    }
}

/// The three parts of the Authorization header.
struct Fields<'r> {
    credential: &'r str,
    signed_headers: &'r str,
    signature: &'r str,
}

impl<'r> Fields<'r> {
    fn read(authorization: &'r str) -> Result<Self, ApiError> {
        let (algorithm, rest) = authorization.split_once(' ').unwrap_or((authorization, ""));
        match algorithm {
            ALGORITHM => {}
            other if other.starts_with("AWS") => {
                return Err(incomplete(format!(
                    "Unsupported AWS 'algorithm': '{}'. Sign with '{ALGORITHM}'.",
                    shortened(other)
                )));
            }
            // A scheme of another world, Basic or Bearer: there is no signature here at all.
            _ => return Err(missing_token()),
        }
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for field in rest.split(',') {
            let Some((name, value)) = field.trim_matches(' ').split_once('=') else {
                return Err(incomplete(
                    "Authorization header must hold 'name=value' fields with commas between.",
                ));
            };
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                other => {
                    return Err(incomplete(format!(
                        "'{}' is not a valid field in the Authorization header.",
                        shortened(other)
                    )));
                }
            };
            if slot.replace(value).is_some() {
                return Err(incomplete(format!(
                    "Authorization header holds '{name}' more than once."
                )));
            }
        }
        match (credential, signed_headers, signature) {
            (Some(credential), Some(signed_headers), Some(signature))
                if ![credential, signed_headers, signature].contains(&"") =>
            {
                Ok(Fields { credential, signed_headers, signature })
            }
            (credential, signed_headers, signature) => {
                let fields = [
                    ("Credential", credential),
                    ("Signature", signature),
                    ("SignedHeaders", signed_headers),
                ];
                let missing: Vec<String> = fields
                    .into_iter()
                    .filter(|(_, value)| value.is_none_or(str::is_empty))
                    .map(|(name, _)| format!("Authorization header requires '{name}' parameter."))
                    .collect();
                Err(incomplete(missing.join(" ")))
            }
        }
    }
}

/// `AKID/20150830/us-east-1/ecs/aws4_request`, split.
struct Credential<'r> {
    access_key_id: &'r str,
    date: &'r str,
    region: &'r str,
    service: &'r str,
    terminator: &'r str,
}

impl<'r> Credential<'r> {
    fn read(text: &'r str) -> Result<Self, ApiError> {
        let mut parts = text.split('/');
        let mut next = || parts.next();
        match (next(), next(), next(), next(), next(), next()) {
            (
                Some(access_key_id),
                Some(date),
                Some(region),
                Some(service),
                Some(terminator),
                None,
            ) => Ok(Credential { access_key_id, date, region, service, terminator }),
            _ => Err(incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. \
                 keyid/date/region/service/term, got '{}'.",
                shortened(text)
            ))),
        }
    }

    fn check_scope(&self, region: &str, service: &str, date: AmzDate<'_>) -> Result<(), ApiError> {
        let mut wrong = Vec::new();
        if self.region != region {
            wrong.push(format!(
                "Credential should be scoped to a valid region, not '{}'. This coordinator's \
                 region is '{region}'.",
                shortened(self.region)
            ));
        }
        if self.service != service {
            wrong.push(format!("Credential should be scoped to correct service: '{service}'."));
        }
        if self.terminator != "aws4_request" {
            wrong.push(format!(
                "Credential should be scoped with a valid terminator: 'aws4_request', not '{}'.",
                shortened(self.terminator)
            ));
        }
        if self.date != date.day() {
            wrong.push(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date \
                 from HTTP: '{}' != '{}', from '{}'.",
                shortened(self.date),
                date.day(),
                date.text()
            ));
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(invalid(wrong.join(" "))),
        }
    }
}

/// The service of the scope that a request claims, unchecked: which refusals it will understand.
pub(crate) fn claimed_service(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (_, credential) = authorization.split_once("Credential=")?;
    credential.split([',', ' ']).next()?.split('/').nth(3)
}

/// The service that a signature in the query string names; no service here takes such a signature.
pub(crate) fn presigned_service(parts: &Parts) -> Option<String> {
    let pairs = form_urlencoded::parse(parts.uri.query()?.as_bytes());
    let mut credentials = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("x-amz-credential"));
    let (_, credential) = credentials.next()?;
    credential.split('/').nth(3).map(str::to_owned)
}

fn refuse_query_form(parts: &Parts) -> Result<(), ApiError> {
    let presigned = parts.uri.query().is_some_and(|query| {
        query.split('&').any(|pair| pair.to_ascii_lowercase().starts_with("x-amz-"))
    });
    if presigned {
        return Err(incomplete(
            "A signature in the query string is not accepted: sign with the Authorization header.",
        ));
    }
    let path = parts.uri.path();
    let is_ours = path == API_PATH || Rpc::of(path).is_some();
    if !is_ours || parts.uri.query().is_some() || parts.uri.authority().is_some() {
        return Err(invalid(
            "Requests go to the path '/' or that of an RPC, without a query string.",
        ));
    }
    Ok(())
}

fn check_skew(date: AmzDate<'_>, now: Timestamp) -> Result<(), ApiError> {
    // Whole seconds, as the client's clock is given in.
    let now = Timestamp(now.0 / 1000 * 1000);
    let earliest = Timestamp(now.0.saturating_sub(SKEW_MAX.as_millis() as u64));
    let latest = now.saturating_add(SKEW_MAX);
    let basic = basic_format;
    if date.timestamp() < earliest {
        return Err(invalid(format!(
            "Signature expired: {} is now earlier than {} ({} - 15 min.)",
            date.text(),
            basic(earliest),
            basic(now)
        )));
    }
    if date.timestamp() > latest {
        return Err(invalid(format!(
            "Signature not yet current: {} is still later than {} ({} + 15 min.)",
            date.text(),
            basic(latest),
            basic(now)
        )));
    }
    Ok(())
}

/// A header's value, if it is there.
fn text(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, ApiError> {
    let value = headers.get(&name).map(http::HeaderValue::to_str).transpose();
    value.map_err(|_| incomplete(format!("The header '{name}' holds more than plain ASCII.")))
}

fn shortened(text: &str) -> &str {
    // The text is ASCII: every header that it can come from was checked to be.
    &text[..text.len().min(64)]
}

fn missing_token() -> ApiError {
    ApiError::new(
        ErrorCode::MissingAuthenticationToken,
        "Missing Authentication Token: sign the request with AWS Signature Version 4.",
    )
}

fn incomplete(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::IncompleteSignature, message)
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidSignature, message)
}
