//! Keeps the host's certificate fresh: a new key and certificate at some random point of the second
//! half of its life, so that a fleet that joined at once does not renew at once.
//!
//! A certificate that has ended is renewed too: its key proves who asks, and the coordinator
//! remembers the keys that it certified last. Where it does not, a join token beside the certificate
//! does. Never: another host's identity in the place of this one's.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use longshore_common::{
    clock::{Clock, Monotonic, Timestamp},
    join_token::JoinToken,
    mutual_tls::{Holder, Presenter, TlsSetUpError},
    protocol::Certificate,
};
use tokio_util::sync::CancellationToken;

use super::{call::CallError, membership::Membership};
use crate::fleet::identity::{IdentityError, NewKey};

/// Renewal falls into this part of the certificate's life, in percent.
const RENEW_FROM_PERCENT: u64 = 50;
const RENEW_TO_PERCENT: u64 = 80;
/// First and longest pause after a failed renewal.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(3600);
/// Maximum pause once the certificate has ended: until it is renewed, nobody can poll this host.
const RETRY_ENDED_MAX: Duration = Duration::from_secs(60);
/// Interval of looks at the wall clock: a suspended machine's timers do not count its sleep.
const CHECK: Duration = Duration::from_secs(30);

/// The one owner of this host's certificate. Run it with [`Renewal::keep_renewed`].
pub struct Renewal {
    membership: Membership,
    certificate: Holder,
    presenter: Presenter,
    token: Option<JoinToken>,
    directory: PathBuf,
    /// By the certificate.
    due: Timestamp,
    /// After a failure. By the time that passes: a wall clock that is put right again must not put
    /// off the next attempt for as long as it was wrong.
    again: Option<Monotonic>,
    pause: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    #[error("the coordinator did not renew the certificate")]
    Call(#[source] CallError),
    #[error("the new certificate cannot be kept")]
    Identity(#[source] IdentityError),
    #[error("the new certificate cannot be shown")]
    SetUp(#[source] TlsSetUpError),
    #[error(
        "this host's certificate ended on {since} and is not renewed yet: its coordinator cannot \
         poll it; its containers go on"
    )]
    Expired { since: Timestamp, source: Box<RenewError> },
}

impl Renewal {
    pub(super) fn new(
        membership: Membership,
        certificate: Holder,
        presenter: Presenter,
        token: Option<JoinToken>,
        directory: &Path,
    ) -> Self {
        let due = renew_at(&certificate, random());
        let directory = directory.to_owned();
        Renewal {
            membership,
            certificate,
            presenter,
            token,
            directory,
            due,
            again: None,
            pause: RETRY_MIN,
        }
    }

    /// Keeps the certificate renewed until `shutdown`.
    pub async fn keep_renewed(mut self, shutdown: CancellationToken) {
        loop {
            let by_certificate = self.due.since(self.membership.clock.wall());
            let wait = by_certificate.max(self.pause_left()).min(CHECK);
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            let renewed = tokio::select! {
                () = shutdown.cancelled() => return,
                renewed = self.renew_if_due() => renewed,
            };
            match renewed {
                Ok(None) => {}
                Ok(Some(until)) => tracing::info!(%until, "renewed this host's certificate"),
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    next_attempt_in_s = self.pause_left().as_secs(),
                    "cannot renew this host's certificate"
                ),
            }
        }
    }

    fn pause_left(&self) -> Duration {
        let again = self.again.unwrap_or_default();
        again.since(self.membership.clock.monotonic())
    }

    /// Renews when it is time to; then says until when the new certificate is good.
    pub async fn renew_if_due(&mut self) -> Result<Option<Timestamp>, RenewError> {
        let now = self.membership.clock.wall();
        if now < self.due || !self.pause_left().is_zero() {
            return Ok(None);
        }
        match self.renew().await {
            Ok(()) => {
                self.due = renew_at(&self.certificate, random());
                (self.again, self.pause) = (None, RETRY_MIN);
                Ok(Some(self.certificate.not_after))
            }
            Err(error) => {
                let monotonic = self.membership.clock.monotonic();
                let since = self.certificate.not_after;
                let longest = if now < since { RETRY_MAX } else { RETRY_ENDED_MAX };
                self.again = Some(Monotonic(monotonic.0 + self.pause.min(longest)));
                self.pause = (self.pause * 2).min(longest);
                if now < since {
                    return Err(error);
                }
                Err(RenewError::Expired { since, source: Box::new(error) })
            }
        }
    }

    /// The new identity is on disk before anybody sees it: a crash in between loses nothing.
    async fn renew(&mut self) -> Result<(), RenewError> {
        let key = NewKey::generate().map_err(RenewError::Identity)?;
        let csr = key.signing_request().map_err(RenewError::Identity)?;
        let answer = self.ask(csr).await.map_err(RenewError::Call)?;
        let identity = key.certified(answer).map_err(RenewError::Identity)?;
        identity.store(&self.directory).map_err(RenewError::Identity)?;
        identity.present_anew(&self.presenter).map_err(RenewError::SetUp)?;
        self.certificate = identity.certificate;
        Ok(())
    }

    /// The certificate alone, and where it has ended and is not enough, with the token.
    async fn ask(&self, csr: String) -> Result<Certificate, CallError> {
        let refused = match self.membership.renew(csr.clone()).await {
            Err(refused @ CallError::Refused { .. }) if !refused.is_passing() => refused,
            answered => return answered,
        };
        let ended = self.membership.clock.wall() >= self.certificate.not_after;
        match &self.token {
            Some(token) if ended => self.membership.come_back(token, csr).await,
            _ => Err(refused),
        }
    }
}

fn renew_at(certificate: &Holder, random: u64) -> Timestamp {
    let life = certificate.not_after.since(certificate.not_before).as_millis() as u64;
    let (from, to) = (life / 100 * RENEW_FROM_PERCENT, life / 100 * RENEW_TO_PERCENT);
    let after = from + random % (to - from).max(1);
    certificate.not_before.saturating_add(Duration::from_millis(after))
}

/// Without random numbers, all hosts renew at the beginning of the range: early, so safe.
fn random() -> u64 {
    getrandom::u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use longshore_common::{
        id::{FleetId, HostId},
        node::Node,
    };

    use super::*;

    #[test]
    fn renewal_falls_into_the_second_half_of_life_and_leaves_a_fifth() {
        let certificate = Holder {
            node: Node::agent(FleetId::new(1), HostId::new(2)),
            serves: true,
            calls: true,
            not_before: Timestamp(1_000_000),
            not_after: Timestamp(2_000_000),
        };
        assert_eq!(renew_at(&certificate, 0), Timestamp(1_500_000));
        for random in [1, 299_999, 300_000, u64::MAX, 0x9e37_79b9_7f4a_7c15] {
            let at = renew_at(&certificate, random);
            assert!((1_500_000..1_800_000).contains(&at.0), "{at}");
        }
    }
}
