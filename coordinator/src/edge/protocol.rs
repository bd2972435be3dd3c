//! The protocols of AWS: which one a request speaks, and how an answer is written in it.
//!
//! JSON 1.0 and 1.1 name the operation in `X-Amz-Target`; the query protocol in a form's `Action`
//! and answers XML; Smithy RPC v2 in the path, and speaks CBOR. Knows no operation and no service.

pub(crate) mod cbor;
pub(crate) mod query;
pub(crate) mod tree;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts};
use serde::Serialize;

use crate::edge::error::{ApiError, ErrorCode};
use tree::Tree;

const JSON_1_0: &str = "application/x-amz-json-1.0";
const JSON_1_1: &str = "application/x-amz-json-1.1";
const FORM: &str = "application/x-www-form-urlencoded";
const CBOR: &str = "application/cbor";

pub(crate) const API_PATH: &str = "/";
/// Header that names the operation in the JSON protocols.
pub(crate) const X_AMZ_TARGET: HeaderName = HeaderName::from_static("x-amz-target");
/// Header that says which Smithy protocol a request speaks, and its answer: RPC v2 wants both to
/// say so.
pub(crate) const SMITHY_PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");
const RPC_V2_CBOR: HeaderValue = HeaderValue::from_static("rpc-v2-cbor");
/// Header by which a client of a service that once spoke the query protocol asks for the names of
/// that service's errors.
const X_AMZN_QUERY_MODE: HeaderName = HeaderName::from_static("x-amzn-query-mode");
/// Header with the name by which the query protocol has an error, and whose fault the error is.
pub(crate) const X_AMZN_QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");

/// How a request is written and its answer is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Json1_0,
    Json1_1,
    Query,
    RpcV2Cbor,
}

impl Wire {
    /// The protocol of a request: by its path, else by its content type; a target makes it JSON.
    /// Decided before anything is believed, for refusals too must be readable.
    pub(crate) fn of(parts: &Parts) -> Wire {
        match parts.uri.path() {
            API_PATH => Self::by_headers(&parts.headers),
            _ => Wire::RpcV2Cbor,
        }
    }

    fn by_headers(headers: &HeaderMap) -> Wire {
        let essence = essence(headers).unwrap_or_default();
        if headers.contains_key(X_AMZ_TARGET) || !essence.eq_ignore_ascii_case(FORM) {
            return match essence.eq_ignore_ascii_case(JSON_1_0) {
                true => Wire::Json1_0,
                false => Wire::Json1_1,
            };
        }
        Wire::Query
    }

    /// Refuses content types that another reader could take for something else.
    pub(crate) fn check_content_type(self, headers: &HeaderMap) -> Result<(), ApiError> {
        let expected = match self {
            Wire::Json1_0 => JSON_1_0,
            Wire::Json1_1 => JSON_1_1,
            // The form's content type is what made it one.
            Wire::Query => return Ok(()),
            Wire::RpcV2Cbor => return check_cbor(headers),
        };
        match essence(headers) {
            Some(given) if given.eq_ignore_ascii_case(expected) => Ok(()),
            _ => Err(ApiError::new(
                ErrorCode::UnsupportedMediaType,
                format!("The Content-Type of this API is '{JSON_1_1}'."),
            )),
        }
    }

    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Wire::Json1_0 => JSON_1_0,
            Wire::Json1_1 => JSON_1_1,
            Wire::Query => "text/xml",
            Wire::RpcV2Cbor => CBOR,
        })
    }

    /// Status and body of a refusal.
    pub(crate) fn refusal(self, error: &ApiError, request_id: &str) -> (StatusCode, Vec<u8>) {
        match self {
            Wire::Json1_0 | Wire::Json1_1 => (error.status(), json_refusal(error)),
            Wire::Query => query::refusal(error, request_id),
            Wire::RpcV2Cbor => {
                let refusal = Tree::object()
                    .with("__type", error.code.wire_name())
                    .with("message", &error.message);
                (error.status(), cbor::write(&refusal))
            }
        }
    }

    /// What an answer's head says besides the content type.
    pub(crate) fn smithy_protocol(self) -> Option<HeaderValue> {
        match self {
            Wire::RpcV2Cbor => Some(RPC_V2_CBOR),
            Wire::Json1_0 | Wire::Json1_1 | Wire::Query => None,
        }
    }
}

/// Whether a client wants [`X_AMZN_QUERY_ERROR`] with a refusal.
pub(crate) fn is_query_mode(headers: &HeaderMap) -> bool {
    headers.get(X_AMZN_QUERY_MODE).is_some_and(|value| value == "true")
}

fn check_cbor(headers: &HeaderMap) -> Result<(), ApiError> {
    let speaks = headers.get(SMITHY_PROTOCOL) == Some(&RPC_V2_CBOR);
    // A request without input has no content type.
    let given = essence(headers);
    if speaks && given.is_none_or(|given| given.eq_ignore_ascii_case(CBOR)) {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::UnsupportedMediaType,
        format!("Requests to this path have the smithy-protocol 'rpc-v2-cbor' and are '{CBOR}'."),
    ))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonRefusal<'a> {
    #[serde(rename = "__type")]
    kind: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    resource_ids: &'a [String],
}

fn json_refusal(error: &ApiError) -> Vec<u8> {
    let refusal = JsonRefusal {
        kind: error.code.wire_name(),
        message: &error.message,
        resource_ids: &error.resource_ids,
    };
    serde_json::to_vec(&refusal).expect("texts are always written")
}

/// The content type without its parameters.
fn essence(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn a_target_or_the_content_type_says_which_protocol_a_request_speaks() {
        let target = ("x-amz-target", "AmazonEC2ContainerServiceV20141113.ListClusters");
        for (given, expected) in [
            (&[target, ("content-type", JSON_1_1)][..], Wire::Json1_1),
            (&[target, ("content-type", JSON_1_0)], Wire::Json1_0),
            (&[target, ("content-type", FORM)], Wire::Json1_1),
            (&[("content-type", "application/x-www-form-urlencoded; charset=utf-8")], Wire::Query),
            (&[], Wire::Json1_1),
        ] {
            assert_eq!(Wire::by_headers(&headers(given)), expected, "{given:?}");
        }
    }

    #[test]
    fn json_with_another_content_type_is_refused() {
        let wire = Wire::Json1_1;
        assert!(wire.check_content_type(&headers(&[("content-type", JSON_1_1)])).is_ok());
        for given in ["application/json", FORM, "text/plain"] {
            let refused = wire.check_content_type(&headers(&[("content-type", given)]));
            assert_eq!(refused.unwrap_err().code, ErrorCode::UnsupportedMediaType);
        }
    }

    #[test]
    fn a_conflict_names_what_it_conflicts_with() {
        let error = ApiError {
            resource_ids: vec!["arn:1".into()],
            ..ApiError::new(crate::edge::error::ErrorCode::Conflict, "taken")
        };
        let (status, body) = Wire::Json1_1.refusal(&error, "r");
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(
            String::from_utf8(body).unwrap(),
            r#"{"__type":"ConflictException","message":"taken","resourceIds":["arn:1"]}"#
        );
    }
}
