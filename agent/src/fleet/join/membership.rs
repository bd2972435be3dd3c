//! What a host asks of its coordinator once it is a member of the fleet.
//!
//! Never: without its certificate.

use std::{sync::Arc, time::Duration};

use longshore_common::{
    clock::Clock,
    id::{FleetId, HostId},
    join_token::JoinToken,
    machine::AgentRun,
    mutual_tls::{self, ALPN_HTTP1, Presented, TlsSetUpError, Trust},
    node::Node,
    protocol::{
        Certificate, JOIN_PATH, JoinRequest, PROTOCOL_VERSION, REGISTER_PATH, RENEW_PATH,
        RegisterRequest, Registered, RenewRequest, TASK_PATH, TaskReply, TaskRequest,
    },
};
use serde::{Serialize, de::DeserializeOwned};

use super::call::{CALL_TIMEOUT, CallError, call};
use crate::fleet::{coordinators::Coordinators, identity::Identity};

/// Minimum time of a call that each of several addresses has.
const SHARE_MIN: Duration = Duration::from_secs(2);

/// A member of a fleet. Cheap to clone; all clones show the certificate that is current.
#[derive(Clone)]
pub struct Membership {
    pub host: HostId,
    pub fleet: FleetId,
    pub trust: Trust,
    pub presented: Presented,
    run: AgentRun,
    pub coordinators: Coordinators,
    pub(super) clock: Arc<dyn Clock>,
}

impl Membership {
    pub(super) fn of(
        identity: &Identity,
        presented: Presented,
        run: AgentRun,
        coordinators: Coordinators,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TlsSetUpError> {
        Ok(Membership {
            host: identity.host,
            fleet: identity.fleet,
            trust: identity.trust()?,
            presented,
            run,
            coordinators,
            clock,
        })
    }

    pub async fn register(&self, request: &RegisterRequest) -> Result<Registered, CallError> {
        let request = RegisterRequest { run: Some(self.run.clone()), ..request.clone() };
        self.call(REGISTER_PATH, &request).await
    }

    /// Passes a task's question on; answered for tasks of this host only.
    pub async fn task(&self, request: &TaskRequest) -> Result<TaskReply, CallError> {
        let request = TaskRequest { run: Some(self.run.clone()), ..request.clone() };
        self.call(TASK_PATH, &request).await
    }

    pub(super) async fn renew(&self, csr: String) -> Result<Certificate, CallError> {
        let run = Some(self.run.clone());
        let request = RenewRequest { protocol: PROTOCOL_VERSION, csr, run };
        self.call(RENEW_PATH, &request).await
    }

    /// Renews with a token beside a certificate that alone is not enough any more.
    pub(super) async fn come_back(
        &self,
        token: &JoinToken,
        csr: String,
    ) -> Result<Certificate, CallError> {
        let request = JoinRequest {
            protocol: PROTOCOL_VERSION,
            secret: token.secret.expose_text(),
            csr,
            host: Some(self.host),
            run: Some(self.run.clone()),
        };
        self.call(JOIN_PATH, &request).await
    }

    async fn call<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<A, CallError> {
        let clock = self.clock.clone();
        let config = mutual_tls::client_config(clock, &self.presented, &self.trust, ALPN_HTTP1)
            .map_err(CallError::SetUp)?;
        let addresses = self.coordinators.addresses();
        let within = (CALL_TIMEOUT / addresses.len() as u32).max(SHARE_MIN);
        let mut failed: Option<CallError> = None;
        for address in addresses {
            let name = mutual_tls::server_name(Node::coordinator(self.fleet));
            match call(&address, config.clone(), name, path, body, within).await {
                Ok(answer) => {
                    self.coordinators.answered(&address);
                    return Ok(answer);
                }
                Err(error) if error.is_of_the_address() => {
                    // What passes wins: who is no coordinator at one address says nothing of the others.
                    let of_settings = address == self.coordinators.configured();
                    failed = Some(match failed {
                        Some(known) if known.is_passing() && !error.is_passing() => known,
                        Some(known) if known.is_passing() == error.is_passing() && !of_settings => {
                            known
                        }
                        _ => error,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Err(failed.expect("the address in the settings is always one of them"))
    }
}
