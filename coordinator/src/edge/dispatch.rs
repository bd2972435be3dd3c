//! From a request's head and body to its answer: who asks, whether calls are served now, and the service
//! that does what is asked.
//!
//! Nothing is looked up, parsed or run before the signature has been checked.

#[cfg(test)]
pub(crate) mod declared;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::request::Parts;
use longshore_common::{arn::Identity, clock::Clock, join_token::CaHash, secret::Secret};

use crate::{
    credentials::Credentials,
    driver::Handle,
    edge::{
        context::{Api, Caller},
        error::{ApiError, ErrorCode},
        health::{Health, Metrics},
        keyring::Keyring,
        page::PageScope,
        protocol::Wire,
        router::Router,
        service::{Routed, Service},
        sigv4::{self, Verifier},
        webhook::Webhook,
    },
    fleet::logs::Logs,
    random::Random,
};

/// What the API speaks for.
pub struct Backend {
    pub identity: Identity,
    pub driver: Handle,
    /// The URL at which this API is reached from outside.
    pub endpoint: String,
    /// What join tokens pin.
    pub ca: CaHash,
    /// What Alertmanager must show.
    pub webhook_token: Secret<String>,
    /// What whoever reads the metrics from another machine must show.
    pub metrics_token: Secret<String>,
    pub logs: Logs,
    pub random: Random,
}

/// What is offered to callers.
pub(crate) struct Offer {
    pub(crate) services: Vec<Service>,
    pub(crate) webhook: Webhook,
}

/// Everything behind the listener of the API, shared by all its connections.
pub struct Edge {
    pub(in crate::edge) identity: Arc<Identity>,
    pub(in crate::edge) driver: Handle,
    endpoint: Arc<str>,
    ca: CaHash,
    pub(in crate::edge) webhook: Webhook,
    pub(in crate::edge) webhook_token: Secret<String>,
    pub(in crate::edge) metrics_token: Secret<String>,
    logs: Logs,
    random: Random,
    verifier: Verifier,
    pub(in crate::edge) router: Router,
    pub(in crate::edge) clock: Arc<dyn Clock>,
    pub(in crate::edge) health: Health,
    pub(in crate::edge) metrics: Metrics,
}

/// A request that may be who it says, its body still unread.
pub(crate) struct Admitted<'r> {
    wire: Wire,
    service: &'r Service,
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
    service: &'r Service,
    parts: &'r Parts,
    caller: Arc<Caller>,
}

impl Edge {
    pub(crate) fn with(
        Backend { identity, driver, endpoint, ca, webhook_token, metrics_token, logs, random }: Backend,
        root: &Credentials,
        clock: Arc<dyn Clock>,
        health: Health,
        metrics: Metrics,
        Offer { services, webhook }: Offer,
    ) -> Self {
        let keyring = Keyring::root(root, &identity);
        Edge {
            verifier: Verifier::new(identity.region.clone(), keyring),
            identity: Arc::new(identity),
            driver,
            endpoint: endpoint.into(),
            ca,
            webhook,
            webhook_token,
            metrics_token,
            logs,
            random,
            router: Router::new(services),
            clock,
            health,
            metrics,
        }
    }

    /// Refuses strangers, and what no operation of ours could be.
    pub(crate) fn admit<'r>(&'r self, parts: &'r Parts) -> Result<Admitted<'r>, ApiError> {
        let wire = Wire::of(parts);
        let service = self.router.service(wire, parts);
        let signature = self.verifier.admit(parts, service.name(), self.clock.wall())?;
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
        let service = authenticated.service;
        let routed = self.answer(authenticated, body, request_id).await;
        #[cfg(test)]
        declared::check(service, &routed);
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
        service.answer(&api, wire, parts, body, request_id).await
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
