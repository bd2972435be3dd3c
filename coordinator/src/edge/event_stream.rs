//! Answers that continue: AWS's event stream, whose messages are told while the request lasts.
//!
//! Owns how a message is framed and how it reaches the listener. Never: what is told, or when.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::mpsc;

use crate::edge::protocol::tree::Tree;

pub(crate) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";
const PAYLOAD_TYPE: &str = "application/json";
/// What a client of a JSON protocol reads before any event: the answer's other members, none here.
const INITIAL_RESPONSE: &str = "initial-response";

/// Messages to come, each whole. It ends when its sender is dropped.
pub(crate) struct EventStream(mpsc::Receiver<Bytes>);

impl EventStream {
    /// Makes a stream with room for `room` messages that the client has not taken yet.
    pub(crate) fn new(room: usize) -> (mpsc::Sender<Bytes>, Self) {
        let (sender, receiver) = mpsc::channel(room);
        (sender, EventStream(receiver))
    }

    pub(crate) fn into_messages(self) -> impl Stream<Item = Bytes> + Send + use<> {
        stream::unfold(self.0, |mut messages| async move {
            let message = messages.recv().await?;
            Some((message, messages))
        })
    }
}

pub(crate) fn initial_response() -> Bytes {
    event(INITIAL_RESPONSE, &Tree::object())
}

pub(crate) fn event(kind: &'static str, payload: &Tree) -> Bytes {
    message("event", ":event-type", kind, payload)
}

pub(crate) fn exception(kind: &'static str, why: &str) -> Bytes {
    message("exception", ":exception-type", kind, &Tree::object().with("message", why))
}

fn message(
    message_type: &'static str,
    kind_header: &'static str,
    kind: &'static str,
    payload: &Tree,
) -> Bytes {
    let payload = serde_json::to_vec(payload).expect("a tree has no part that JSON cannot say");
    let header = |name: &'static str, value: &'static str| {
        Header::new(name, HeaderValue::String(value.into()))
    };
    let message = Message::new(payload)
        .add_header(header(":message-type", message_type))
        .add_header(header(kind_header, kind))
        .add_header(header(":content-type", PAYLOAD_TYPE));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).expect("short headers and a payload below 16 MiB");
    bytes.into()
}
