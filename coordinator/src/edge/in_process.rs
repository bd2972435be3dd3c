//! The edge without its listener, for whoever lives in the same process: simulations and campaigns.
//!
//! Requests are signed, admitted and routed as any other. Never: a way around the signature.

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use longshore_common::clock::Timestamp;

use crate::{
    credentials::Credentials,
    edge::{
        Edge,
        protocol::{Wire, X_AMZ_TARGET},
        service::{Body, Service},
    },
    signature,
};

const HOST: HeaderValue = HeaderValue::from_static("in-process");
const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// An operation of the router's table, and how it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offered {
    /// The service that a request is signed for.
    pub service: &'static str,
    /// What stands before the operation in `X-Amz-Target`; absent: a form of the query protocol, of
    /// `version`.
    pub target: Option<&'static str>,
    pub version: &'static str,
    pub operation: &'static str,
}

/// An answer as a client reads it.
#[derive(Clone, Debug)]
pub struct Told {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Edge {
    /// Everything that can be asked of this edge.
    pub fn offered(&self) -> Vec<Offered> {
        let of_service = |service: &'_ Service| {
            let (name, target) = (service.name(), service.target());
            let version = service.version().unwrap_or_default();
            let named = move |operation| Offered { service: name, target, version, operation };
            service.names().map(named).collect::<Vec<_>>()
        };
        self.router.services().iter().flat_map(of_service).collect()
    }

    /// Signs a request, and does what it asks. Of a stream of events, the first is told.
    pub async fn ask(
        &self,
        offered: Offered,
        body: &[u8],
        credentials: &Credentials,
        moment: Timestamp,
    ) -> Told {
        let request = self.signed(offered, body, credentials, moment);
        let (parts, ()) = request.into_parts();
        let wire = Wire::of(&parts);
        let answer = match self.admit(&parts) {
            Ok(admitted) => self.route(admitted, body, "in-process").await.answer,
            Err(refusal) => Err(refusal),
        };
        let (status, body) = match answer {
            Ok(Body::Whole(body)) => (StatusCode::OK, body.into()),
            Ok(Body::Events(events)) => {
                let mut messages = std::pin::pin!(events.into_messages());
                (StatusCode::OK, messages.next().await.unwrap_or_default())
            }
            Err(refusal) => {
                let (status, body) = wire.refusal(&refusal, "in-process");
                (status, body.into())
            }
        };
        Told { status, body }
    }

    fn signed(
        &self,
        offered: Offered,
        body: &[u8],
        credentials: &Credentials,
        moment: Timestamp,
    ) -> Request<()> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HOST);
        match offered.target {
            Some(target) => {
                headers.insert(header::CONTENT_TYPE, JSON);
                insert(&mut headers, X_AMZ_TARGET, &format!("{target}.{}", offered.operation));
            }
            None => {
                headers.insert(header::CONTENT_TYPE, FORM);
            }
        }
        let region = &self.identity.region;
        signature::sign(&mut headers, body, credentials, region, offered.service, moment)
            .expect("names of the table are header values");
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.headers_mut() = headers;
        request
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("names of the table are header values");
    headers.insert(name, value);
}
