//! From a request to the operation that it names, and from its answer to bytes.
//!
//! Goes by design.md rule 10: the protocol, then the service, then the operation. Nothing is looked
//! up, parsed or run before the signature has been checked.

mod ecs_operations;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use http::{HeaderMap, request::Parts};

use crate::api::{
    Api, Edge,
    error::{ApiError, ErrorCode},
    operation::{Answer, Operation},
    protocol::{Wire, query::QueryService},
    sigv4::{self, X_AMZ_TARGET},
    sts::STS,
};

/// ECS's own operations.
pub(crate) const ECS_TARGET: &str = "AmazonEC2ContainerServiceV20141113";
/// What ECS's API cannot say (design.md rule 10). Signed with service `ecs`.
pub(crate) const LONGSHORE_TARGET: &str = "Longshore_2026";
pub(crate) const ECS_SERVICE: &str = "ecs";

/// The services of the query protocol; the first one is asked when a request names none of them.
const QUERY_SERVICES: [QueryService; 1] = [STS];

/// Every operation that is built, by its target.
pub(crate) struct Router {
    ecs: BTreeMap<&'static str, Operation>,
    longshore: BTreeMap<&'static str, Operation>,
}

/// What became of a request.
pub(crate) struct Routed {
    pub(crate) wire: Wire,
    /// For the log and the metrics: only names that exist, so that strangers cannot add any.
    pub(crate) operation: Option<&'static str>,
    pub(crate) answer: Answer,
}

impl Router {
    /// Refuses to be built with a name that ECS does not have, or twice: that is our bug.
    pub(crate) fn new(ecs: Vec<Operation>, longshore: Vec<Operation>) -> Self {
        let ecs = table(ecs);
        for name in ecs.keys() {
            assert!(ecs_operations::find(name).is_some(), "ECS has no operation {name}");
        }
        Router { ecs, longshore: table(longshore) }
    }

    /// The operation that a target names.
    fn operation(&self, headers: &HeaderMap) -> Result<&Operation, Unbuilt> {
        let target = headers.get(X_AMZ_TARGET).and_then(|target| target.to_str().ok());
        let Some(target) = target else {
            return Err(Unbuilt::Unknown(
                "The request names no operation: set X-Amz-Target.".to_owned(),
            ));
        };
        let (service, name) = target.split_once('.').unwrap_or((target, ""));
        let (known, planned) = match service {
            ECS_TARGET => (self.ecs.get(name), ecs_operations::find(name)),
            LONGSHORE_TARGET => (self.longshore.get(name), None),
            _ => (None, None),
        };
        match (known, planned) {
            (Some(operation), _) => Ok(operation),
            (None, Some(name)) => Err(Unbuilt::Planned(name)),
            (None, None) => Err(Unbuilt::Unknown(format!(
                "There is no operation {}. Targets are '{ECS_TARGET}.<Operation>' and \
                 '{LONGSHORE_TARGET}.<Operation>'.",
                target.chars().take(128).collect::<String>()
            ))),
        }
    }
}

/// Why a target leads nowhere.
enum Unbuilt {
    /// ECS has it, we do not yet.
    Planned(&'static str),
    Unknown(String),
}

impl Unbuilt {
    fn routed(self, wire: Wire) -> Routed {
        let (operation, refusal) = match self {
            Unbuilt::Planned(name) => (
                Some(name),
                ApiError::unsupported_feature(format!(
                    "{name} is an operation of ECS that this version of Longshore does not have \
                     yet."
                )),
            ),
            Unbuilt::Unknown(message) => {
                (None, ApiError::new(ErrorCode::UnknownOperation, message))
            }
        };
        Routed { wire, operation, answer: Err(refusal) }
    }
}

/// A request that may be who it says, its body still unread.
pub(crate) struct Admitted<'r> {
    wire: Wire,
    query: &'static QueryService,
    signature: sigv4::Admitted<'r>,
    headers: &'r HeaderMap,
}

impl Edge {
    /// Refuses strangers, and what no operation of ours could be.
    pub(crate) fn admit<'r>(&'r self, parts: &'r Parts) -> Result<Admitted<'r>, ApiError> {
        let headers = &parts.headers;
        let (wire, query) = (Wire::of(headers), query_service(headers));
        let service = match wire {
            Wire::Json1_0 | Wire::Json1_1 => ECS_SERVICE,
            Wire::Query => query.name,
        };
        let signature = self.verifier.admit(parts, service, self.clock.wall())?;
        Ok(Admitted { wire, query, signature, headers })
    }

    /// Checks who asks, and does what is asked.
    pub(crate) async fn route(
        &self,
        Admitted { wire, query, signature, headers }: Admitted<'_>,
        body: &[u8],
        request_id: &str,
    ) -> Routed {
        let refused = |refusal| Routed { wire, operation: None, answer: Err(refusal) };
        let caller = match self.verifier.verify(signature, body) {
            Ok(caller) => caller,
            Err(refusal) => return refused(refusal),
        };
        if let Err(refusal) = self.health.ready().and_then(|()| wire.check_content_type(headers)) {
            return refused(refusal);
        }
        let api = Api {
            caller,
            identity: self.identity.clone(),
            driver: self.driver.clone(),
            endpoint: self.endpoint.clone(),
            clock: self.clock.clone(),
            ca: self.ca,
        };
        if wire == Wire::Query {
            let (operation, answer) = query.answer(&api, body, request_id);
            return Routed { wire, operation, answer };
        }
        match self.router.operation(headers) {
            Ok(operation) => Routed {
                wire,
                operation: Some(operation.name()),
                answer: operation.run(&api, body).await,
            },
            Err(unbuilt) => unbuilt.routed(wire),
        }
    }
}

/// The service that a request claims to be signed for; the check of the signature comes after.
fn query_service(headers: &HeaderMap) -> &'static QueryService {
    static SERVICES: [QueryService; 1] = QUERY_SERVICES;
    let claimed = sigv4::claimed_service(headers).unwrap_or_default();
    SERVICES.iter().find(|service| service.name == claimed).unwrap_or(&SERVICES[0])
}

fn table(operations: Vec<Operation>) -> BTreeMap<&'static str, Operation> {
    let mut table = BTreeMap::new();
    for operation in operations {
        let name = operation.name();
        assert!(table.insert(name, operation).is_none(), "the operation {name} is listed twice");
    }
    table
}
