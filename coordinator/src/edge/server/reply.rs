//! Answers as HTTP has them, and the ids of requests.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use tokio_util::sync::CancellationToken;

use crate::{
    door::Served,
    edge::{
        event_stream::{self, EventStream},
        protocol::SMITHY_PROTOCOL,
        service::{Body, Routed},
        webhook::Notified,
    },
};

pub(super) const X_AMZN_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

type Payload = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>;
pub(super) type Answer = Response<Payload>;

pub(super) fn whole(bytes: impl Into<Bytes>) -> Payload {
    Either::Left(Full::new(bytes.into()))
}

pub(super) fn text(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    let mut answer = Response::new(whole(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// Ends with the coordinator, which waits for no stream. The caller is served until then.
fn going_on(events: EventStream, served: Option<Served>, shutdown: &CancellationToken) -> Payload {
    let messages = events.into_messages().take_until(shutdown.clone().cancelled_owned());
    let frames = messages.map(move |bytes| {
        let _ = &served;
        Ok(Frame::data(bytes))
    });
    Either::Right(StreamBody::new(frames).boxed_unsync())
}

/// Writes the response; `served` is held until the answer has ended.
pub(super) fn respond(
    routed: Routed,
    request_id: &str,
    served: Option<Served>,
    shutdown: &CancellationToken,
) -> Answer {
    let mut content_type = routed.wire.content_type();
    let (status, payload) = match routed.answer {
        Ok(Body::Whole(bytes)) => (StatusCode::OK, whole(bytes)),
        Ok(Body::Events(events)) => {
            content_type = HeaderValue::from_static(event_stream::CONTENT_TYPE);
            (StatusCode::OK, going_on(events, served, shutdown))
        }
        Err(refusal) => {
            let (status, bytes) = routed.wire.refusal(&refusal, request_id);
            (status, whole(bytes))
        }
    };
    let mut answer = Response::new(payload);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    if let Some(protocol) = routed.wire.smithy_protocol() {
        headers.insert(SMITHY_PROTOCOL, protocol);
    }
    if let Ok(request_id) = HeaderValue::from_str(request_id) {
        headers.insert(X_AMZN_REQUEST_ID, request_id);
    }
    answer
}

pub(super) fn notified(Notified { status, report }: Notified) -> Answer {
    let mut answer = text(status, "application/json", report);
    if status == StatusCode::UNAUTHORIZED {
        ask_for_token(&mut answer);
    }
    answer
}

pub(super) fn ask_for_token(answer: &mut Answer) {
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
}

/// Ends the connection after this answer.
pub(super) fn close(answer: &mut Answer) {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// Ids of requests: different from start to start, and in a row within one.
pub(super) struct RequestIds {
    start: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        // Without entropy ids repeat after a restart, which hurts only the reader of two logs.
        let start = getrandom::u64().unwrap_or_default();
        RequestIds { start, next: AtomicU64::new(0) }
    }

    /// The next id in the form of a UUID, as AWS's are.
    pub(super) fn next(&self) -> String {
        let (start, next) = (self.start, self.next.fetch_add(1, Ordering::Relaxed));
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            start >> 32,
            start >> 16 & 0xffff,
            start & 0xffff,
            next >> 48,
            next & 0xffff_ffff_ffff
        )
    }
}
