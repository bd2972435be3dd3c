//! Requests for services of AWS that are not here: refused in the form that their clients read.
//!
//! A client whose endpoint URL is meant for all services sends each of them here. What it needs to hear
//! is that the service is missing, not that its keys are wrong. Nothing is checked or done for such a
//! request. Never: a status of 500 and above, which clients would try again.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts,
};

use crate::edge::{
    error::{ApiError, ErrorCode},
    protocol::{
        API_PATH, SMITHY_PROTOCOL, Wire, X_AMZ_TARGET, X_AMZN_QUERY_ERROR, cbor::Rpc,
        is_query_mode, query,
    },
    router::Router,
    sigv4,
};

const X_AMZN_ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const X_AMZN_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const X_AMZ_SSO_TOKEN: HeaderName = HeaderName::from_static("x-amz-sso_bearer_token");
/// Maximum length in characters of a service's name that is repeated (ours).
const NAME_CHARS_MAX: usize = 64;
/// Headers that only AWS's SDKs send; they do so without a signature too.
const MARKS_OF_SDKS: [&str; 4] =
    ["amz-sdk-invocation-id", "amz-sdk-request", "x-amz-user-agent", "x-amz-date"];
/// What a user agent of AWS's SDKs begins with.
const AGENTS_OF_SDKS: [&str; 4] = ["aws-", "Boto", "APN/", "aws_"];
/// Services whose protocol is REST with XML, by what their signatures name.
const REST_XML: [&str; 2] = ["route53", "cloudfront"];
/// S3 in all its shapes, with errors of its own form.
const S3: [&str; 4] = ["s3", "s3express", "s3-outposts", "s3-object-lambda"];

/// A request for a service that is not here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// Absent when the request does not say.
    name: Option<String>,
    form: Form,
}

/// How a refusal is written so that the service's clients understand it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// JSON 1.0 and 1.1, query, and RPC v2: as for the services that are here.
    Wire(Wire),
    Ec2,
    S3,
    RestXml,
    RestJson,
}

impl Foreign {
    /// Nothing when the request is for a service that is here, or for none of AWS's.
    pub(crate) fn asked(parts: &Parts, router: &Router) -> Option<Self> {
        let path = parts.uri.path();
        let rpc = Rpc::of(path);
        let target = parts.headers.get(X_AMZ_TARGET).and_then(|target| target.to_str().ok());
        let target = target.map(|target| target.split_once('.').map_or(target, |(of, _)| of));
        let named = rpc.as_ref().map(|rpc| rpc.service).or(target);
        // One that names an operation of ours is ours, whatever it is signed for.
        if named.is_some_and(|named| router.has_target(named)) {
            return None;
        }
        let claimed = sigv4::claimed_service(&parts.headers).map(str::to_owned);
        let claimed = claimed.or_else(|| sigv4::presigned_service(parts));
        let is_here = |name: &str| router.service_names().contains(&name);
        let is_root = path == API_PATH || rpc.is_some();
        let is_call = is_root && parts.method == Method::POST;
        let name = match (claimed.as_deref(), named) {
            // An unknown operation of a service that is here: its own refusal says more.
            (Some(claimed), _) if is_here(claimed) && is_root => return None,
            (Some(claimed), _) => Some(claimed),
            (None, Some(named)) => Some(named),
            (None, None) if !is_call && is_of_an_sdk(&parts.headers) => None,
            (None, None) => return None,
        };
        let name = name.filter(|name| is_name(name)).map(str::to_owned);
        let form = match &name {
            Some(name) => Form::of(name, parts, is_root),
            None => Form::of_unnamed(&parts.headers),
        };
        Some(Foreign { name, form })
    }

    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("unnamed")
    }

    /// The refusal.
    pub(crate) fn answer(
        &self,
        router: &Router,
        headers: &HeaderMap,
        request_id: &str,
    ) -> Response<Vec<u8>> {
        let refusal = ApiError::new(ErrorCode::UnknownOperation, self.message(router));
        let (content_type, body) = match self.form {
            Form::Wire(wire) => (wire.content_type(), wire.refusal(&refusal, request_id).1),
            Form::Ec2 => (XML, query::ec2_refusal(&refusal, request_id)),
            Form::S3 => (XML, query::s3_refusal(&refusal, request_id)),
            Form::RestXml => (XML, Wire::Query.refusal(&refusal, request_id).1),
            Form::RestJson => (JSON, Wire::Json1_1.refusal(&refusal, request_id).1),
        };
        let mut answer = Response::new(body);
        *answer.status_mut() = StatusCode::BAD_REQUEST;
        let answered = answer.headers_mut();
        answered.insert(header::CONTENT_TYPE, content_type);
        if let Ok(request_id) = HeaderValue::from_str(request_id) {
            answered.insert(X_AMZN_REQUEST_ID, request_id);
        }
        if is_query_mode(headers) {
            answered.insert(X_AMZN_QUERY_ERROR, query::error_header(&refusal));
        }
        match self.form {
            Form::RestJson => {
                let kind = HeaderValue::from_static(refusal.code.wire_name());
                answered.insert(X_AMZN_ERROR_TYPE, kind);
            }
            Form::Wire(wire) => {
                if let Some(protocol) = wire.smithy_protocol() {
                    answered.insert(SMITHY_PROTOCOL, protocol);
                }
            }
            Form::Ec2 | Form::S3 | Form::RestXml => {}
        }
        answer
    }

    fn message(&self, router: &Router) -> String {
        let here = router.service_names().join(", ");
        let what = match &self.name {
            Some(name) if router.service_names().contains(&name.as_str()) => {
                return format!(
                    "Longshore's {name} is at the path '/': give the endpoint URL without a path."
                );
            }
            Some(name) => name.as_str(),
            None => "such service",
        };
        format!(
            "Longshore has no {what}; it has {here}. Give its endpoint to those services only: \
             AWS_ENDPOINT_URL_ECS, AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL_CLOUDWATCH_LOGS, \
             AWS_ENDPOINT_URL_CLOUDWATCH and AWS_ENDPOINT_URL_AUTO_SCALING instead of \
             AWS_ENDPOINT_URL."
        )
    }
}

const XML: HeaderValue = HeaderValue::from_static("text/xml");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Form {
    /// The form of a request without a signature and a target: objects that everybody may read are
    /// what is mostly asked for so, else tokens and JSON tell that it is another service.
    fn of_unnamed(headers: &HeaderMap) -> Self {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_json = content_type.is_some_and(|kind| kind.contains("json"));
        let has_token =
            headers.contains_key(X_AMZ_SSO_TOKEN) || headers.contains_key(header::AUTHORIZATION);
        if is_json || has_token { Form::RestJson } else { Form::S3 }
    }

    fn of(service: &str, parts: &Parts, is_root: bool) -> Self {
        if S3.contains(&service) {
            return Form::S3;
        }
        if REST_XML.contains(&service) {
            return Form::RestXml;
        }
        let is_rest = !is_root || !parts.headers.contains_key(X_AMZ_TARGET);
        match Wire::of(parts) {
            Wire::RpcV2Cbor if is_root => Form::Wire(Wire::RpcV2Cbor),
            Wire::Query if is_root && service == "ec2" => Form::Ec2,
            Wire::Query if is_root => Form::Wire(Wire::Query),
            wire @ (Wire::Json1_0 | Wire::Json1_1) if !is_rest => Form::Wire(wire),
            _ => Form::RestJson,
        }
    }
}

fn is_of_an_sdk(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let agent = agent.unwrap_or_default();
    MARKS_OF_SDKS.iter().any(|mark| headers.contains_key(*mark))
        || AGENTS_OF_SDKS.iter().any(|sdk| agent.starts_with(sdk))
}

fn is_name(name: &str) -> bool {
    let in_names = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.bytes().all(in_names)
}

#[cfg(test)]
mod tests;
