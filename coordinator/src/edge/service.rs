//! One service of AWS, or our own: what requests call it, which protocols it speaks, its operations.
//!
//! Owns the way from an admitted request to the operation that it names, and from an output to the bytes
//! of an answer. Never: what any operation does.

use std::collections::BTreeMap;

use http::{HeaderMap, request::Parts};

use crate::edge::{
    context::Api,
    error::{ApiError, ErrorCode},
    event_stream::EventStream,
    input::{self, Node},
    operation::{Operation, Output},
    protocol::{
        Wire, X_AMZ_TARGET,
        cbor::{self, Rpc},
        query::{self, Form},
    },
};

/// What a service is called, and how it speaks.
pub(crate) struct ServiceModel {
    /// The service of the signature's scope.
    pub(crate) name: &'static str,
    /// What stands before the operation in `X-Amz-Target`, and the service in an RPC's path.
    /// Absent: the service speaks the query protocol only.
    pub(crate) target: Option<&'static str>,
    /// Absent: it speaks JSON only.
    pub(crate) query: Option<QueryModel>,
    /// The error of a missing or ill-valued member.
    pub(crate) invalid: ErrorCode,
    /// Absent: an operation that is not built and one that does not exist answer alike.
    pub(crate) known: Option<KnownOperations>,
}

/// All operations of a service in AWS's model, so that one that is not built is told from one that does
/// not exist.
pub(crate) struct KnownOperations {
    /// The service as people call it.
    pub(crate) of: &'static str,
    /// Sorted.
    pub(crate) names: &'static [&'static str],
    /// What to do instead of an operation that is not built.
    pub(crate) instead: &'static [(&'static str, &'static str)],
}

/// The query protocol of a service.
pub(crate) struct QueryModel {
    pub(crate) version: &'static str,
    /// The XML namespace of its answers.
    pub(crate) namespace: &'static str,
}

/// A service with its table of operations.
pub(crate) struct Service {
    model: ServiceModel,
    operations: BTreeMap<&'static str, Operation>,
    /// The names in the order in which they are told.
    names: Vec<&'static str>,
}

/// What became of a request.
pub(crate) struct Routed {
    pub(crate) wire: Wire,
    /// The operation's name for the log and the metrics: only names that exist, so that strangers
    /// cannot add any.
    pub(crate) operation: Option<&'static str>,
    pub(crate) answer: Result<Body, ApiError>,
}

/// An answer's bytes.
pub(crate) enum Body {
    Whole(Vec<u8>),
    /// Events that come while the request lasts.
    Events(EventStream),
}

#[cfg(test)]
impl Body {
    /// The bytes of an operation that answers at once.
    pub(crate) fn whole(self) -> Vec<u8> {
        match self {
            Body::Whole(bytes) => bytes,
            Body::Events(_) => panic!("a stream where a whole answer was expected"),
        }
    }
}

impl Service {
    /// Refuses to be built with a name that AWS's model does not have, or twice: that is our bug.
    pub(crate) fn new(model: ServiceModel, operations: Vec<Operation>) -> Self {
        let mut names: Vec<&str> = operations.iter().map(Operation::name).collect();
        if model.query.is_none() {
            // Tables of services that speak JSON only are long, and grouped by resource.
            names.sort_unstable();
        }
        let mut table = BTreeMap::new();
        for operation in operations {
            let name = operation.name();
            let known = model.known.as_ref().is_none_or(|known| known.find(name).is_some());
            assert!(known, "{} has no operation {name}", model.name);
            assert!(table.insert(name, operation).is_none(), "{name} is listed twice");
        }
        Service { model, operations: table, names }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.model.name
    }

    pub(crate) fn target(&self) -> Option<&'static str> {
        self.model.target
    }

    /// The `Version` of its query protocol, if it speaks that.
    pub(crate) fn version(&self) -> Option<&'static str> {
        self.model.query.as_ref().map(|query| query.version)
    }

    /// The names of its operations.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.names.iter().copied()
    }

    #[cfg(test)]
    pub(crate) fn has_model(&self) -> bool {
        self.model.query.is_some() || self.model.known.is_some()
    }

    #[cfg(test)]
    pub(crate) fn has(&self, operation: &str) -> bool {
        self.operations.contains_key(operation)
    }

    pub(crate) fn speaks(&self, wire: Wire) -> bool {
        match wire {
            Wire::Json1_0 | Wire::Json1_1 => self.model.target.is_some(),
            Wire::Query | Wire::RpcV2Cbor => self.model.query.is_some(),
        }
    }

    /// Whether a request in JSON or by RPC is for this one.
    pub(crate) fn is_named_by(&self, wire: Wire, parts: &Parts) -> bool {
        self.model.target.is_some()
            && self.model.target == named(wire, parts).map(|(service, _)| service)
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
            Err(Unbuilt { known, refusal }) => {
                return Routed { wire, operation: known, answer: Err(refusal) };
            }
        };
        let answer = match node {
            Ok(node) => operation.run(api, node, self.model.invalid).await,
            Err(refusal) => Err(refusal),
        };
        let answer = answer.and_then(|output| self.written(operation, output, wire, request_id));
        Routed { wire, operation: Some(operation.name()), answer }
    }

    /// An output in the protocol of its request.
    fn written(
        &self,
        operation: &Operation,
        output: Output,
        wire: Wire,
        request_id: &str,
    ) -> Result<Body, ApiError> {
        let name = operation.name();
        let tree = match output {
            Output::Json(bytes) => return Ok(Body::Whole(bytes)),
            Output::Tree(tree) => tree,
            Output::Events(events) => {
                return match wire {
                    Wire::Json1_0 | Wire::Json1_1 => Ok(Body::Events(events)),
                    Wire::RpcV2Cbor | Wire::Query => Err(ApiError::new(
                        ErrorCode::UnknownOperation,
                        format!(
                            "{name} answers with a stream of events, in AWS's JSON protocols only."
                        ),
                    )),
                };
            }
        };
        let bytes = match (wire, &self.model.query) {
            (Wire::Json1_0 | Wire::Json1_1, _) | (Wire::Query, None) => {
                serde_json::to_vec(&tree).expect("a tree has no part that JSON cannot say")
            }
            (Wire::RpcV2Cbor, _) => cbor::write(&tree),
            (Wire::Query, Some(query)) => query::answer(
                name,
                query.namespace,
                &tree,
                operation.has_empty_output(),
                request_id,
            ),
        };
        Ok(Body::Whole(bytes))
    }

    /// The operation, and its input unless the body cannot be read.
    fn asked<'b>(
        &self,
        wire: Wire,
        parts: &Parts,
        body: &'b [u8],
    ) -> Result<(&Operation, Result<Node<'b>, ApiError>), Unbuilt> {
        let read = match wire {
            Wire::Json1_0 | Wire::Json1_1 => input::read,
            Wire::RpcV2Cbor => cbor::read,
            Wire::Query => {
                let mut form = Form::read(body)?;
                let (action, version) = (form.take("Action")?, form.take("Version")?);
                let operation = self.operations.get(&*action);
                let operation = operation.filter(|_| self.version() == Some(&*version));
                let operation = operation
                    .ok_or_else(|| self.unknown(&format!("{action}, version {version},")))?;
                return Ok((operation, form.into_node()));
            }
        };
        let Some((service, name)) = named(wire, parts) else {
            return Err(ApiError::new(
                ErrorCode::UnknownOperation,
                "The request names no operation: set X-Amz-Target.",
            )
            .into());
        };
        if self.model.target != Some(service) {
            return Err(self.unknown(&format!("{service}.{name}")).into());
        }
        match self.operations.get(name) {
            Some(operation) => Ok((operation, read(body))),
            None => Err(self.unbuilt(name)),
        }
    }

    fn unbuilt(&self, asked: &str) -> Unbuilt {
        let known = self.model.known.as_ref();
        let Some((known, name)) = known.and_then(|known| Some((known, known.find(asked)?))) else {
            return self.unknown(asked).into();
        };
        let instead = known.instead.iter().find(|(operation, _)| *operation == name);
        let instead = instead.map(|(_, instead)| format!(" {instead}")).unwrap_or_default();
        let refusal = ApiError::unsupported_feature(format!(
            "{name} is an operation of {} that this version of Longshore does not have.{instead}",
            known.of
        ));
        Unbuilt { known: Some(name), refusal }
    }

    fn unknown(&self, asked: &str) -> ApiError {
        let asked: String = asked.chars().filter(|c| !c.is_control()).take(128).collect();
        let message = match (self.model.target, &self.model.query) {
            (Some(target), None) => {
                format!("There is no operation {asked}. Targets are '{target}.<Operation>'.")
            }
            _ => format!(
                "This version of Longshore has no operation {asked} of {}. It has: {}.",
                self.model.name,
                self.names().collect::<Vec<_>>().join(", ")
            ),
        };
        ApiError::new(ErrorCode::UnknownOperation, message)
    }
}

impl KnownOperations {
    /// The name as it stands here.
    fn find(&self, operation: &str) -> Option<&'static str> {
        self.names.binary_search(&operation).ok().map(|at| self.names[at])
    }
}

/// A request for an operation that is not here.
struct Unbuilt {
    /// Its name, if AWS has it.
    known: Option<&'static str>,
    refusal: ApiError,
}

impl From<ApiError> for Unbuilt {
    fn from(refusal: ApiError) -> Self {
        Unbuilt { known: None, refusal }
    }
}

/// The service and the operation that a request names before its body.
fn named(wire: Wire, parts: &Parts) -> Option<(&str, &str)> {
    match wire {
        Wire::Json1_0 | Wire::Json1_1 => {
            let target = target(&parts.headers)?;
            Some(target.split_once('.').unwrap_or((target, "")))
        }
        Wire::RpcV2Cbor => Rpc::of(parts.uri.path()).map(|rpc| (rpc.service, rpc.operation)),
        Wire::Query => None,
    }
}

fn target(headers: &HeaderMap) -> Option<&str> {
    headers.get(X_AMZ_TARGET)?.to_str().ok()
}
