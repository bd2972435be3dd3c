//! Which service a request is for: by what it names, or by what it claims to be signed for.

use http::request::Parts;

use crate::edge::{protocol::Wire, service::Service, sigv4};

/// Every service that is here.
pub(crate) struct Router(Vec<Service>);

impl Router {
    /// The first service that speaks a protocol is asked by requests that name none of them.
    pub(crate) fn new(services: Vec<Service>) -> Self {
        for wire in [Wire::Json1_1, Wire::Query, Wire::RpcV2Cbor] {
            assert!(services.iter().any(|service| service.speaks(wire)), "none speaks {wire:?}");
        }
        Router(services)
    }

    pub(crate) fn services(&self) -> &[Service] {
        &self.0
    }

    /// The service that a request is for. The check of the signature comes after.
    pub(crate) fn service(&self, wire: Wire, parts: &Parts) -> &Service {
        let claimed = sigv4::claimed_service(&parts.headers).unwrap_or_default();
        let mut speaking = self.0.iter().filter(|service| service.speaks(wire));
        let named = speaking.clone().find(|service| match wire {
            Wire::Query => service.name() == claimed,
            Wire::Json1_0 | Wire::Json1_1 | Wire::RpcV2Cbor => service.is_named_by(wire, parts),
        });
        named.or_else(|| speaking.next()).expect("each protocol has a service since the start")
    }

    /// The services that are here, as signatures name them.
    pub(crate) fn service_names(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = self.0.iter().map(Service::name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether targets or paths of RPCs that begin so are for a service that is here.
    pub(crate) fn has_target(&self, target: &str) -> bool {
        self.0.iter().any(|service| service.target() == Some(target))
    }
}
