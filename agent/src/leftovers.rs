//! Containers of identities that this host had before it joined anew: nobody orders, counts or stops
//! them, so each start says that they are there.
//!
//! Never: a touch of one. Whether they are still of use is the operator's to say.

use std::time::Duration;

use longshore_common::{id::HostId, telemetry::chain};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    docker_reach::Reach,
    plan::labels,
    runtime::{ContainerRuntime, RunState, RuntimeError},
};

/// Interval between two attempts to list them.
const TRY_EVERY: Duration = Duration::from_secs(10);

/// What an earlier identity has left behind.
#[derive(Debug, PartialEq, Eq)]
struct Leftovers {
    containers: usize,
    running: usize,
    /// For `docker ps --filter`.
    filter: String,
}

/// Says what `former` identities have left, once Docker answers.
pub(crate) async fn tell<R: ContainerRuntime>(
    runtime: R,
    former: Vec<HostId>,
    mut docker: watch::Receiver<Reach>,
    shutdown: CancellationToken,
) {
    let telling = async {
        for host in former {
            let left = loop {
                // Fails when the program ends.
                let Ok(_) = docker.wait_for(|reach| reach.answers).await else { return };
                match left_by(&runtime, host).await {
                    Ok(left) => break left,
                    Err(error) => {
                        tracing::debug!(%host, error = chain(&error), "leftovers are not listed yet");
                        tokio::time::sleep(TRY_EVERY).await;
                    }
                }
            };
            let Some(Leftovers { containers, running, filter }) = left else { continue };
            tracing::warn!(
                former_host = %host,
                containers,
                running,
                "an earlier identity of this host has left containers: they take room that \
                 placement does not count, and nobody stops them. See them with `docker ps --all \
                 --filter {filter}`; remove them with `docker rm --force $(docker ps --all --quiet \
                 --filter {filter})`"
            );
        }
    };
    let _ = shutdown.run_until_cancelled(telling).await;
}

async fn left_by<R: ContainerRuntime>(
    runtime: &R,
    host: HostId,
) -> Result<Option<Leftovers>, RuntimeError> {
    let owner = labels::owner(host);
    let found = runtime.list(&owner).await?;
    let running = found.iter().filter(|one| one.state == RunState::Running).count();
    let filter = format!("label={}={}", owner.name, owner.value);
    Ok((!found.is_empty()).then_some(Leftovers { containers: found.len(), running, filter }))
}

#[cfg(test)]
mod tests {
    use longshore_common::clock::{SteppedClock, Timestamp};

    use super::*;
    use crate::runtime::{ContainerConfig, fake::FakeRuntime};

    #[tokio::test]
    async fn leftovers_are_those_of_the_former_identity_alone() {
        let (former, own) = (HostId::new(1), HostId::new(2));
        let fake = FakeRuntime::new(SteppedClock::at(Timestamp(1)));
        for (name, host) in [("old-1", former), ("old-2", former), ("new", own)] {
            let owner = labels::owner(host);
            let labels = [(owner.name, owner.value)].into();
            fake.create_outside(name, ContainerConfig { labels, ..ContainerConfig::default() });
        }
        let left = left_by(&fake, former).await.unwrap().unwrap();
        assert_eq!((left.containers, left.running), (2, 0));
        assert_eq!(left.filter, format!("label=longshore.host={former}"));
        fake.start_outside("old-1");
        assert_eq!(left_by(&fake, former).await.unwrap().unwrap().running, 1);
        assert_eq!(left_by(&fake, HostId::new(3)).await.unwrap(), None);
    }
}
