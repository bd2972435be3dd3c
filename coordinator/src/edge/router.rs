//! From a request to the operation that it names, and from its answer to bytes.
//!
//! Goes by design.md rule 10: the protocol, then the service, then the operation. Nothing is looked
//! up, parsed or run before the signature has been checked.

mod ecs_operations;
#[cfg(test)]
pub(crate) mod tests;

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderMap, request::Parts};

use crate::edge::{
    Edge,
    context::{Api, Caller},
    error::{ApiError, ErrorCode},
    event_stream::EventStream,
    operation::Operation,
    page::PageScope,
    protocol::{Wire, X_AMZ_TARGET},
    service::Service,
    sigv4,
};

/// ECS's own operations.
pub(crate) const ECS_TARGET: &str = "AmazonEC2ContainerServiceV20141113";
/// What ECS's API cannot say (design.md rule 10). Signed with service `ecs`.
pub(crate) const LONGSHORE_TARGET: &str = "Longshore_2026";
pub(crate) const ECS_SERVICE: &str = "ecs";

#[cfg(test)]
impl Body {
    /// Of an operation that answers at once.
    pub(crate) fn whole(self) -> Vec<u8> {
        match self {
            Body::Whole(bytes) => bytes,
            Body::Events(_) => panic!("a stream where a whole answer was expected"),
        }
    }
}

/// Every operation that is built, by its target.
pub(crate) struct Router {
    ecs: BTreeMap<&'static str, Operation>,
    longshore: BTreeMap<&'static str, Operation>,
    /// The others; the first one is asked by a form that names none of them.
    services: Vec<Service>,
}

/// What became of a request.
pub(crate) struct Routed {
    pub(crate) wire: Wire,
    /// For the log and the metrics: only names that exist, so that strangers cannot add any.
    pub(crate) operation: Option<&'static str>,
    pub(crate) answer: Result<Body, ApiError>,
}

/// An answer's bytes.
pub(crate) enum Body {
    Whole(Vec<u8>),
    /// They come while the request lasts.
    Events(EventStream),
}

impl Router {
    /// Refuses to be built with a name that ECS does not have, or twice: that is our bug.
    pub(crate) fn new(
        ecs: Vec<Operation>,
        longshore: Vec<Operation>,
        services: Vec<Service>,
    ) -> Self {
        let ecs = table(ecs);
        for name in ecs.keys() {
            assert!(ecs_operations::find(name).is_some(), "ECS has no operation {name}");
        }
        Router { ecs, longshore: table(longshore), services }
    }

    /// The operations of ECS, and Longshore's own.
    pub(crate) fn own_operations(
        &self,
    ) -> (impl Iterator<Item = &'static str>, impl Iterator<Item = &'static str>) {
        (self.ecs.keys().copied(), self.longshore.keys().copied())
    }

    pub(crate) fn services(&self) -> &[Service] {
        &self.services
    }

    /// The service that a request is for, none for ECS: by what it names, or by what it claims to
    /// be signed for. The check of the signature comes after.
    fn service(&self, wire: Wire, parts: &Parts) -> Option<&Service> {
        let claimed = sigv4::claimed_service(&parts.headers).unwrap_or_default();
        let named = self.services.iter().find(|service| match wire {
            Wire::Query => service.name == claimed,
            Wire::Json1_0 | Wire::Json1_1 | Wire::RpcV2Cbor => service.is_named_by(wire, parts),
        });
        match wire {
            Wire::Json1_0 | Wire::Json1_1 => named,
            Wire::Query | Wire::RpcV2Cbor => named.or(self.services.first()),
        }
    }

    /// The services that are here, as signatures name them.
    pub(crate) fn service_names(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = self.services.iter().map(|service| service.name).collect();
        names.push(ECS_SERVICE);
        names.sort_unstable();
        names
    }

    /// Whether targets or paths of RPCs that begin so are for a service that is here.
    pub(crate) fn has_target(&self, target: &str) -> bool {
        [ECS_TARGET, LONGSHORE_TARGET].contains(&target)
            || self.services.iter().any(|service| service.target == Some(target))
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
                    "{name} is an operation of ECS that this version of Longshore does not have.{}",
                    match name {
                        "ExecuteCommand" => {
                            " Use `docker exec` on the task's host; DescribeTasks names the host \
                             and each container's runtimeId."
                        }
                        _ => "",
                    }
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
    /// None for ECS and Longshore's own.
    service: Option<&'r Service>,
    signature: sigv4::Admitted<'r>,
    parts: &'r Parts,
}

impl Admitted<'_> {
    /// True when the head alone proves who asks.
    pub(crate) fn is_proven(&self) -> bool {
        self.signature.is_proven()
    }
}

/// A request whose caller is known.
pub(crate) struct Authenticated<'r> {
    wire: Wire,
    service: Option<&'r Service>,
    parts: &'r Parts,
    caller: Arc<Caller>,
}

impl Edge {
    /// Refuses strangers, and what no operation of ours could be.
    pub(crate) fn admit<'r>(&'r self, parts: &'r Parts) -> Result<Admitted<'r>, ApiError> {
        let wire = Wire::of(parts);
        let service = self.router.service(wire, parts);
        let signed_for = service.map_or(ECS_SERVICE, |service| service.name);
        let signature = self.verifier.admit(parts, signed_for, self.clock.wall())?;
        Ok(Admitted { wire, service, signature, parts })
    }

    /// Checks who asks, now that the body is known.
    pub(crate) fn authenticate<'r>(
        &self,
        admitted: Admitted<'r>,
        body: &[u8],
    ) -> Result<Authenticated<'r>, ApiError> {
        let caller = self.verifier.verify(&admitted.signature, body)?;
        Ok(Authenticated {
            wire: admitted.wire,
            service: admitted.service,
            parts: admitted.parts,
            caller,
        })
    }

    /// Refuses while calls are not answered, and while those that change anything are refused because
    /// the journal went back.
    pub(crate) fn ready(&self) -> Result<(), ApiError> {
        self.health.ready()?;
        match &*self.driver.went_back().borrow() {
            None => Ok(()),
            Some(proof) => Err(ApiError::new(ErrorCode::ServiceUnavailable, proof.to_string())),
        }
    }

    /// Does what is asked.
    pub(crate) async fn perform(
        &self,
        authenticated: Authenticated<'_>,
        body: &[u8],
        request_id: &str,
    ) -> Routed {
        #[cfg(test)]
        let service = authenticated.service.map(|service| service.name);
        let routed = self.answer(authenticated, body, request_id).await;
        #[cfg(test)]
        tests::declared::check(&self.router, service, &routed);
        routed
    }

    async fn answer(
        &self,
        Authenticated { wire, service, parts, caller }: Authenticated<'_>,
        body: &[u8],
        request_id: &str,
    ) -> Routed {
        let serves = self.health.ready();
        if let Err(refusal) = serves.and_then(|()| wire.check_content_type(&parts.headers)) {
            return Routed { wire, operation: None, answer: Err(refusal) };
        }
        let api = Api {
            caller,
            identity: self.identity.clone(),
            driver: self.driver.clone(),
            endpoint: self.endpoint.clone(),
            clock: self.clock.clone(),
            ca: self.ca,
            logs: self.logs.clone(),
            random: self.random.clone(),
            page_scope: PageScope::none(),
        };
        if let Some(service) = service {
            return service.answer(&api, wire, parts, body, request_id).await;
        }
        match self.router.operation(&parts.headers) {
            Ok(operation) => Routed {
                wire,
                operation: Some(operation.name()),
                answer: operation.run(&api, body).await.map(Body::Whole),
            },
            Err(unbuilt) => unbuilt.routed(wire),
        }
    }

    /// Both at once, for whoever holds the whole body.
    pub(crate) async fn route(
        &self,
        admitted: Admitted<'_>,
        body: &[u8],
        request_id: &str,
    ) -> Routed {
        let wire = admitted.wire;
        match self.authenticate(admitted, body) {
            Ok(authenticated) => self.perform(authenticated, body, request_id).await,
            Err(refusal) => Routed { wire, operation: None, answer: Err(refusal) },
        }
    }
}

fn table(operations: Vec<Operation>) -> BTreeMap<&'static str, Operation> {
    let mut table = BTreeMap::new();
    for operation in operations {
        let name = operation.name();
        assert!(table.insert(name, operation).is_none(), "the operation {name} is listed twice");
    }
    table
}
