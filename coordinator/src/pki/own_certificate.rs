//! The coordinator's own certificate: shown to agents it polls and to hosts that join, and renewed
//! in process long before it ends.

use std::{sync::Arc, time::Duration};

use longshore_common::{
    clock::{Clock, Timestamp},
    mutual_tls::{Presented, Presenter},
    node::Role,
};
use rcgen::KeyPair;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_util::sync::CancellationToken;

use super::{Authority, CERTIFICATE_LIFE, PkiError, RequestedKey};

/// Age at which the coordinator renews its certificate (ours): it asks itself, so that half of the
/// life is early enough.
const RENEW_AFTER: Duration = Duration::from_secs(CERTIFICATE_LIFE.as_secs() / 2);
/// Interval of looking at the certificate's age (ours): short against the life, so that a machine
/// that was suspended is found out soon.
const RENEW_CHECK: Duration = Duration::from_secs(60);

/// Holds the certificate and replaces it in time. [`OwnCertificate::presented`] goes into the TLS
/// configurations.
pub struct OwnCertificate {
    authority: Arc<Authority>,
    presenter: Presenter,
    presented: Presented,
    issued_at: Timestamp,
}

impl OwnCertificate {
    pub fn issue(authority: Arc<Authority>, now: Timestamp) -> Result<Self, PkiError> {
        let (chain, key) = fresh(&authority, now)?;
        let (presenter, presented) = Presented::new(chain, key).map_err(PkiError::Tls)?;
        Ok(OwnCertificate { authority, presenter, presented, issued_at: now })
    }

    pub fn presented(&self) -> Presented {
        self.presented.clone()
    }

    /// Renews when it is time to, and says whether it was. A clock that went back counts as time
    /// to: the certificate may not have begun yet.
    pub fn renew_if_due(&mut self, now: Timestamp) -> Result<bool, PkiError> {
        if now >= self.issued_at && now.since(self.issued_at) < RENEW_AFTER {
            return Ok(false);
        }
        let (chain, key) = fresh(&self.authority, now)?;
        self.presenter.replace(chain, key).map_err(PkiError::Tls)?;
        self.issued_at = now;
        Ok(true)
    }

    /// Keeps the certificate fresh until `shutdown`.
    pub async fn keep_renewed(mut self, clock: Arc<dyn Clock>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(RENEW_CHECK) => {}
            }
            match self.renew_if_due(clock.wall()) {
                Ok(true) => tracing::info!("renewed the coordinator's certificate"),
                Ok(false) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "cannot renew the coordinator's certificate");
                }
            }
        }
    }
}

fn fresh(
    authority: &Authority,
    now: Timestamp,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), PkiError> {
    let key = KeyPair::generate().map_err(PkiError::Certificate)?;
    let requested = RequestedKey::of(&key)?;
    let certificate = authority.issue(Role::Coordinator, &requested, now)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok((authority.chain(&certificate), key.into()))
}
