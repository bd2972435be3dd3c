//! What the state machine says of a host that wants in, and how that reads to the host.

use std::sync::Arc;

use http::StatusCode;
use longshore_common::{
    arn,
    id::{FleetId, HostId},
    protocol::{RegisterRequest, Registered},
};

use crate::{
    driver::{Handle, Refused, Unavailable},
    state_machine::{Answer, Command, Rejection},
};

/// Asks the state machine, and returns only what is durable.
#[derive(Clone)]
pub struct Admission {
    handle: Handle,
    identity: Arc<arn::Identity>,
}

/// Why a host does not get what it asked for, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl Admission {
    /// `identity` is whose ARNs the hosts are told.
    pub fn new(handle: Handle, identity: Arc<arn::Identity>) -> Self {
        Admission { handle, identity }
    }

    /// Uses a token up by one, and gives the host its id.
    pub(super) async fn join(
        &self,
        secret_hash: [u8; 32],
        requested_host: Option<HostId>,
    ) -> Result<HostId, Denied> {
        let command = Command::UseJoinToken { secret_hash, requested_host };
        match self.handle.submit(command, |_, answer| answer).await? {
            Answer::Host(host) => Ok(host),
            other => unreachable!("the use of a token answers with a host, not with {other:?}"),
        }
    }

    /// Whether the host is still a member.
    pub(super) async fn renew(&self, host: HostId) -> Result<(), Denied> {
        // A journal that went back may not know of a join that its CA vouches for. The host keeps
        // its certificate while the operator decides; orders it gets none.
        let went_back = self.handle.went_back().borrow().is_some();
        let judged = self.handle.read(|state| {
            let recovering = went_back || state.recovered() == Some(state.epoch());
            match state.membership(host) {
                Some(member) if member.revoked => Err(Rejection::HostDeregistered(host)),
                Some(_) => Ok(()),
                None if recovering => Ok(()),
                None => Err(Rejection::HostUnknown(host)),
            }
        });
        Ok(judged.await.map_err(Refused::from)??)
    }

    /// Takes down what the host is.
    pub(super) async fn register(
        &self,
        fleet: FleetId,
        host: HostId,
        request: RegisterRequest,
    ) -> Result<Registered, Denied> {
        let cluster = request.cluster.clone();
        let command = Command::RegisterHost { host, request: Box::new(request) };
        self.handle.submit(command, |_, _| ()).await?;
        Ok(Registered {
            host,
            fleet,
            container_instance_arn: self.identity.container_instance(&cluster, host),
            region: self.identity.region.clone(),
            account: self.identity.account.clone(),
        })
    }
}

impl Denied {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Denied { status, message: message.into() }
    }
}

impl From<Refused> for Denied {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Rejected(rejection) => rejection.into(),
            Refused::Unavailable(Unavailable) | Refused::JournalWentBack(_) => {
                Denied::new(StatusCode::SERVICE_UNAVAILABLE, refused.to_string())
            }
        }
    }
}

impl From<Rejection> for Denied {
    /// The agent gives up on all of these; the sentence is for its operator.
    fn from(rejection: Rejection) -> Self {
        Denied::new(StatusCode::FORBIDDEN, rejection.to_string())
    }
}
