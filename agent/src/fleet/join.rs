//! How this host becomes and stays a member of a fleet: join once with a token, register at every
//! start, renew the certificate for as long as the host lives.
//!
//! The key is made here and never leaves. Never: the token's secret to a server whose CA is not the
//! token's, or in a log.

mod call;
mod membership;
mod renewal;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use longshore_common::{
    clock::{Clock, Timestamp},
    id::HostId,
    join_token::JoinToken,
    machine::AgentRun,
    mutual_tls::TlsSetUpError,
    protocol::{
        Certificate, JOIN_PATH, JoinRequest, PROTOCOL_VERSION, RegisterRequest, Registered,
    },
};

use self::call::{CALL_TIMEOUT, call};
use crate::fleet::{
    coordinators::Coordinators,
    identity::{Identity, IdentityError, NewKey},
    tls,
};

pub use self::{
    call::CallError,
    membership::Membership,
    renewal::{RenewError, Renewal},
};

/// First and longest pause between two attempts to join or to register.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What a host needs to enter its fleet.
#[derive(Clone, Debug)]
pub struct FleetEntry {
    /// Host and port of the coordinator's joining port.
    pub coordinator: String,
    /// Needed at the first start, and to come back when the certificate has ended and the
    /// coordinator does not remember its key.
    pub token: Option<JoinToken>,
    /// A container instance made by the API beforehand, to be this host.
    pub host: Option<HostId>,
    /// Where the identity is kept.
    pub directory: PathBuf,
    /// This run of the agent, on this machine.
    pub run: AgentRun,
}

#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    #[error(
        "this host has not joined a fleet yet and has no join token: make one with \
         `longshore-coordinator join-token create`, write it into a file that only root can read, \
         and name that by --join-token-file (join_token_file in the settings file)"
    )]
    NoToken,
    #[error("the host's identity cannot be used")]
    Identity(#[source] IdentityError),
    #[error("this host cannot join")]
    Join(#[source] CallError),
    #[error("this host's certificate cannot be used")]
    SetUp(#[source] TlsSetUpError),
}

/// The identity kept here, or the one that joining gives. An identity that is kept is never given
/// up for another: with a certificate that has ended it is renewed like any other, and the host's
/// tasks are looked after meanwhile. While the coordinator cannot be reached, joining goes on trying;
/// it fails only for what somebody has to put right.
pub async fn enter(
    entry: &FleetEntry,
    clock: Arc<dyn Clock>,
) -> Result<(Membership, Renewal), EnterError> {
    let kept = Identity::load(&entry.directory).map_err(EnterError::Identity)?;
    let identity = match (kept, &entry.token) {
        (Some(kept), _) => {
            note_foreign_token(&kept, entry);
            note_ended_certificate(&kept, clock.wall());
            kept
        }
        (None, Some(token)) => join_until_done(entry, token, &clock).await?,
        (None, None) => return Err(EnterError::NoToken),
    };
    membership(identity, entry, clock).map_err(EnterError::SetUp)
}

/// Says what this host is, at every start. Goes on trying as [`enter`] does.
pub async fn register_until_done(
    membership: &Membership,
    request: &RegisterRequest,
) -> Result<Registered, CallError> {
    retried("register", || membership.register(request)).await
}

fn note_foreign_token(kept: &Identity, entry: &FleetEntry) {
    if let Some(token) = &entry.token
        && !kept.trusts(token.ca)
    {
        tracing::warn!(
            fleet = %kept.fleet,
            path = %Identity::path(&entry.directory).display(),
            "this host is a member of another fleet than the token's and stays there: to join the \
             token's fleet, drain the host, stop the agent and remove this file"
        );
    }
}

fn note_ended_certificate(kept: &Identity, now: Timestamp) {
    if kept.has_expired(now) {
        tracing::warn!(
            host = %kept.host,
            since = %kept.certificate.not_after,
            "this host's certificate has ended: asking the coordinator to take the host back as itself"
        );
    }
}

async fn join_until_done(
    entry: &FleetEntry,
    token: &JoinToken,
    clock: &Arc<dyn Clock>,
) -> Result<Identity, EnterError> {
    // One key for all attempts.
    let key = NewKey::generate().map_err(EnterError::Identity)?;
    let csr = key.signing_request().map_err(EnterError::Identity)?;
    tracing::info!(coordinator = entry.coordinator, "joining the fleet");
    let answer = retried("join", || join(entry, token, &csr, clock)).await;
    let identity =
        key.certified(answer.map_err(EnterError::Join)?).map_err(EnterError::Identity)?;
    identity.store(&entry.directory).map_err(EnterError::Identity)?;
    tracing::info!(
        host = %identity.host,
        fleet = %identity.fleet,
        path = %Identity::path(&entry.directory).display(),
        "joined the fleet; the host's identity is in this file"
    );
    Ok(identity)
}

/// One attempt. The secret leaves only after the handshake has shown the token's CA.
async fn join(
    entry: &FleetEntry,
    token: &JoinToken,
    csr: &str,
    clock: &Arc<dyn Clock>,
) -> Result<Certificate, CallError> {
    let config = tls::pinned_config(clock.clone(), token.ca).map_err(CallError::SetUp)?;
    let request = JoinRequest {
        protocol: PROTOCOL_VERSION,
        secret: token.secret.expose_text(),
        csr: csr.to_owned(),
        host: entry.host,
        run: Some(entry.run.clone()),
    };
    let name = tls::unknown_coordinator();
    call(&entry.coordinator, config, name, JOIN_PATH, &request, CALL_TIMEOUT).await
}

/// Attempts `what` until it succeeds or fails for a reason that will not pass.
async fn retried<T>(
    what: &str,
    attempt: impl AsyncFn() -> Result<T, CallError>,
) -> Result<T, CallError> {
    let mut pause = RETRY_MIN;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if error.is_passing() => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot {what} yet; trying again in {} s",
                    pause.as_secs()
                );
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

fn membership(
    identity: Identity,
    entry: &FleetEntry,
    clock: Arc<dyn Clock>,
) -> Result<(Membership, Renewal), TlsSetUpError> {
    let (presenter, presented) = identity.present()?;
    let coordinators = Coordinators::open(&entry.coordinator, &entry.directory);
    let membership = Membership::of(&identity, presented, entry.run.clone(), coordinators, clock)?;
    // A token of another fleet opens nothing here, and its secret is not shown.
    let token = entry.token.clone().filter(|token| identity.trusts(token.ca));
    let directory: &Path = &entry.directory;
    let renewal =
        Renewal::new(membership.clone(), identity.certificate, presenter, token, directory);
    Ok((membership, renewal))
}
