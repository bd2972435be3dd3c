//! Which errors an operation may answer: those that AWS's models declare for it, and those that come
//! before any operation. SDKs make a typed exception of a declared code only, and tools match on them.
//!
//! Every refusal of every test in this crate passes here, whatever service and protocol it is of.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use crate::edge::{
    error::ErrorCode,
    protocol::query,
    service::{Routed, Service},
};

/// AWS's models: by service and operation, the codes on the wire; for services of the query
/// protocol the names that it has for them.
const DECLARED: &str = include_str!("../../../../tests/golden/errors.json");

type Table = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

static TABLE: LazyLock<Table> =
    LazyLock::new(|| serde_json::from_str(DECLARED).expect("the table is JSON"));

/// What AWS answers in front of every operation (its reference's "Common Errors"), and what HTTP has
/// a word for.
const COMMON: [&str; 14] = [
    "AccessDeniedException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MethodNotAllowedException",
    "MissingAuthenticationTokenException",
    "NotFoundException",
    "RequestEntityTooLargeException",
    "RequestTimeoutException",
    "SerializationException",
    "ServiceUnavailableException",
    "ThrottlingException",
    "UnknownOperationException",
    "UnrecognizedClientException",
    "UnsupportedMediaTypeException",
];

/// The common errors of services that speak the query protocol.
const COMMON_OF_QUERY: [&str; 13] = [
    "AccessDenied",
    "IncompleteSignature",
    "InternalFailure",
    "InvalidAction",
    "InvalidClientTokenId",
    "InvalidParameterCombination",
    "InvalidParameterValue",
    "MalformedQueryString",
    "MissingAuthenticationToken",
    "MissingParameter",
    "ServiceUnavailable",
    "Throttling",
    "ValidationError",
];

/// Whether a client of the operation knows the error: by the service's name in signatures.
pub(crate) fn declares(service: &str, operation: &str, code: ErrorCode) -> bool {
    let (model, name, common) = match service {
        "monitoring" => ("cloudwatch", query::name(code), &COMMON_OF_QUERY[..]),
        "autoscaling" | "sts" => (service, query::name(code), &COMMON_OF_QUERY[..]),
        _ => (service, code.wire_name(), &COMMON[..]),
    };
    let declared = TABLE.get(model).and_then(|operations| operations.get(operation));
    let declared = declared.unwrap_or_else(|| panic!("no row for {service} {operation}"));
    common.contains(&name) || declared.contains(name)
}

/// Fails the test whose request was refused with an error that its operation does not declare.
pub(crate) fn check(service: &Service, routed: &Routed) {
    let (Some(operation), Err(refusal)) = (routed.operation, &routed.answer) else { return };
    // Longshore's own operations have no model, and those that are not built say so.
    if !service.has_model() || !service.has(operation) {
        return;
    }
    let service = service.name();
    assert!(
        declares(service, operation, refusal.code),
        "{service} {operation} does not declare {refusal}"
    );
}
