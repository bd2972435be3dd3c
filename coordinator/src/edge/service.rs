//! Services of AWS that have several protocols: their operations, whatever a request speaks.
//!
//! A handler gets its typed input and answers with a [`Tree`]; which protocol the client speaks it
//! never learns. ECS's own operations, JSON only, are in `operation`.

use std::{future::Future, pin::Pin};

use http::{HeaderMap, request::Parts};
use serde::de::DeserializeOwned;

use crate::edge::{
    context::Api,
    error::{ApiError, ErrorCode},
    event_stream::EventStream,
    input::{self, Node},
    operation::Handler,
    protocol::{
        Wire, X_AMZ_TARGET,
        cbor::{self, Rpc},
        query::{self, Form},
        tree::Tree,
    },
    router::{Body, Routed},
};

/// One service.
pub(crate) struct Service {
    /// The service of the signature's scope.
    pub(crate) name: &'static str,
    /// Before the operation in `X-Amz-Target`, and the service in an RPC's path. Absent: it speaks
    /// the query protocol only.
    pub(crate) target: Option<&'static str>,
    /// The `Version` of the query protocol.
    pub(crate) version: &'static str,
    /// The XML namespace of its answers.
    pub(crate) namespace: &'static str,
    pub(crate) operations: Vec<ServiceOperation>,
}

pub(crate) struct ServiceOperation {
    name: &'static str,
    /// Members that two pages of one list may have otherwise.
    unbound: &'static [&'static str],
    /// The model has an output without members.
    empty_output: bool,
    run: Box<Run>,
}

type Run = dyn for<'a> Fn(&'a Api, Node<'a>, &'static [&'static str]) -> Running<'a> + Send + Sync;
type Running<'a> = Pin<Box<dyn Future<Output = Result<Said, ApiError>> + Send + 'a>>;

/// What a handler answered.
enum Said {
    Whole(Tree),
    Events(EventStream),
}

impl ServiceOperation {
    /// An operation done by `handler`; a missing or ill-valued member answers `invalid`.
    pub(crate) fn new<Input, H>(name: &'static str, invalid: ErrorCode, handler: H) -> Self
    where
        Input: DeserializeOwned + Send + 'static,
        H: for<'a> Handler<'a, Input, Output = Tree> + Copy + Send + Sync + 'static,
    {
        Self::answering(name, invalid, handler, Said::Whole)
    }

    /// The same, for one whose answer is a stream of events.
    pub(crate) fn streaming<Input, H>(name: &'static str, invalid: ErrorCode, handler: H) -> Self
    where
        Input: DeserializeOwned + Send + 'static,
        H: for<'a> Handler<'a, Input, Output = EventStream> + Copy + Send + Sync + 'static,
    {
        Self::answering(name, invalid, handler, Said::Events)
    }

    fn answering<Input, H, Output>(
        name: &'static str,
        invalid: ErrorCode,
        handler: H,
        said: fn(Output) -> Said,
    ) -> Self
    where
        Input: DeserializeOwned + Send + 'static,
        H: for<'a> Handler<'a, Input, Output = Output> + Copy + Send + Sync + 'static,
        Output: 'static,
    {
        ServiceOperation {
            name,
            unbound: &[],
            empty_output: false,
            run: Box::new(move |api, node, unbound| {
                let input = input::typed::<Input>(&node, invalid);
                let api = api.paged(name, unbound, &node);
                Box::pin(async move { handler.call(&api, input?).await.map(said) })
            }),
        }
    }

    /// The model has an output, though one without members: clients of the query protocol look for
    /// its element.
    pub(crate) fn with_empty_output(self) -> Self {
        ServiceOperation { empty_output: true, ..self }
    }

    /// A page token goes on being good when these members change.
    pub(crate) fn with_pages_for_any(self, unbound: &'static [&'static str]) -> Self {
        ServiceOperation { unbound, ..self }
    }
}

impl Service {
    /// Whether a request in JSON or by RPC is for this one.
    pub(crate) fn is_named_by(&self, wire: Wire, parts: &Parts) -> bool {
        self.target.is_some() && self.target == named(wire, parts).map(|(service, _)| service)
    }

    /// The names of its operations.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.operations.iter().map(|operation| operation.name)
    }

    /// Does what a request asks for.
    pub(crate) async fn answer(
        &self,
        api: &Api,
        wire: Wire,
        parts: &Parts,
        body: &[u8],
        request_id: &str,
    ) -> Routed {
        let (operation, node) = match self.asked(wire, parts, body) {
            Ok(asked) => asked,
            Err(refusal) => return Routed { wire, operation: None, answer: Err(refusal) },
        };
        let answer = match node {
            Ok(node) => (operation.run)(api, node, operation.unbound).await,
            Err(refusal) => Err(refusal),
        };
        let name = operation.name;
        let write = |tree: &Tree| match wire {
            Wire::Json1_0 | Wire::Json1_1 => {
                serde_json::to_vec(tree).expect("a tree has no part that JSON cannot say")
            }
            Wire::RpcV2Cbor => cbor::write(tree),
            Wire::Query => {
                query::answer(name, self.namespace, tree, operation.empty_output, request_id)
            }
        };
        let answer = answer.and_then(|said| match (said, wire) {
            (Said::Whole(tree), _) => Ok(Body::Whole(write(&tree))),
            (Said::Events(events), Wire::Json1_0 | Wire::Json1_1) => Ok(Body::Events(events)),
            (Said::Events(_), Wire::RpcV2Cbor | Wire::Query) => Err(ApiError::new(
                ErrorCode::UnknownOperation,
                format!("{name} answers with a stream of events, in AWS's JSON protocols only."),
            )),
        });
        Routed { wire, operation: Some(name), answer }
    }

    /// The operation, and its input unless the body cannot be read.
    fn asked<'b>(
        &self,
        wire: Wire,
        parts: &Parts,
        body: &'b [u8],
    ) -> Result<(&ServiceOperation, Result<Node<'b>, ApiError>), ApiError> {
        let read = match wire {
            Wire::Json1_0 | Wire::Json1_1 => input::read_json,
            Wire::RpcV2Cbor => cbor::read,
            Wire::Query => {
                let mut form = Form::read(body)?;
                let (action, version) = (form.take("Action")?, form.take("Version")?);
                let operation = self.operation(&action).filter(|_| version == self.version);
                let operation = operation
                    .ok_or_else(|| self.unknown(&format!("{action}, version {version},")))?;
                return Ok((operation, form.into_node()));
            }
        };
        let named = named(wire, parts).filter(|(service, _)| self.target == Some(*service));
        let operation = named.and_then(|(_, name)| self.operation(name));
        let operation =
            operation.ok_or_else(|| self.unknown(named.map_or("", |(_, name)| name)))?;
        Ok((operation, read(body)))
    }

    fn operation(&self, name: &str) -> Option<&ServiceOperation> {
        self.operations.iter().find(|known| known.name == name)
    }

    fn unknown(&self, asked: &str) -> ApiError {
        let asked: String = asked.chars().filter(|c| !c.is_control()).take(128).collect();
        let built: Vec<&str> = self.operations.iter().map(|known| known.name).collect();
        ApiError::new(
            ErrorCode::UnknownOperation,
            format!(
                "This version of Longshore has no operation {asked} of {}. It has: {}.",
                self.name,
                built.join(", ")
            ),
        )
    }
}

/// The service and the operation that a request names before its body.
fn named(wire: Wire, parts: &Parts) -> Option<(&str, &str)> {
    match wire {
        Wire::Json1_0 | Wire::Json1_1 => target(&parts.headers)?.split_once('.'),
        Wire::RpcV2Cbor => Rpc::of(parts.uri.path()).map(|rpc| (rpc.service, rpc.operation)),
        Wire::Query => None,
    }
}

fn target(headers: &HeaderMap) -> Option<&str> {
    headers.get(X_AMZ_TARGET)?.to_str().ok()
}
