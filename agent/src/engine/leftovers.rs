//! Containers on this engine that an agent made for another host than this one: what earlier
//! identities of this host left, for all that it can tell. Nobody orders, counts or stops those, so
//! each start says that they are there.
//!
//! The engine alone is asked whose they are: an identity that is lost with its data directory left
//! no other trace. Another agent on the same engine is told of too, once a start, since nothing on
//! the engine tells its containers from leftovers; the operator knows.
//!
//! Never: a touch of one, or a word in `/healthz`. Whether they are of use is the operator's to say.

use std::{collections::BTreeMap, time::Duration};

use longshore_common::{
    id::{FleetId, HostId},
    telemetry::chain,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    host::docker_reach::DockerReach,
    runtime::{ContainerRuntime, RunState, RuntimeError},
    task::labels,
};

/// Interval of attempts to list what is left.
const TRY_EVERY: Duration = Duration::from_secs(10);
/// Maximum of hosts that the log names one by one: more are agents that share an engine, as in a
/// test of many.
const HOSTS_TOLD_MAX: usize = 8;

/// The host that asks: containers of all other hosts count as left over.
#[derive(Clone, Debug)]
pub(crate) struct OwnHost {
    pub(crate) fleet: FleetId,
    pub(crate) host: HostId,
    /// The hosts that this one is known to have been.
    pub(crate) former: Vec<HostId>,
}

/// Whose the containers are, in the order in which the log tells of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LeftoverOwner {
    /// This host before it joined anew: its ledger is kept.
    Former,
    ThisFleet,
    OtherFleet(FleetId),
}

/// The containers of one host.
#[derive(Debug, PartialEq, Eq)]
struct HostLeftovers {
    origin: LeftoverOwner,
    host: HostId,
    containers: usize,
    running: usize,
}

/// Says what others have on this engine, once Docker answers.
pub(crate) async fn tell<R: ContainerRuntime>(
    runtime: R,
    own: OwnHost,
    mut docker: watch::Receiver<DockerReach>,
    shutdown: CancellationToken,
) {
    let telling = async {
        loop {
            // Fails when the program ends.
            let Ok(_) = docker.wait_for(|reach| reach.answers).await else { return };
            match left_by_others(&runtime, &own).await {
                Ok(left) => return warn_of(&left),
                Err(error) => {
                    tracing::debug!(error = chain(&error), "leftovers are not listed yet");
                    tokio::time::sleep(TRY_EVERY).await;
                }
            }
        }
    };
    let _ = shutdown.run_until_cancelled(telling).await;
}

async fn left_by_others<R: ContainerRuntime>(
    runtime: &R,
    own: &OwnHost,
) -> Result<Vec<HostLeftovers>, RuntimeError> {
    let mut hosts: BTreeMap<(LeftoverOwner, HostId), HostLeftovers> = BTreeMap::new();
    for container in runtime.list_labelled(labels::HOST).await? {
        let Some((fleet, host)) = labels::agent_of(&container) else { continue };
        if (fleet, host) == (own.fleet, own.host) {
            continue;
        }
        let origin = match own.former.contains(&host) {
            true => LeftoverOwner::Former,
            false if fleet == own.fleet => LeftoverOwner::ThisFleet,
            false => LeftoverOwner::OtherFleet(fleet),
        };
        let none = HostLeftovers { origin, host, containers: 0, running: 0 };
        let left = hosts.entry((origin, host)).or_insert(none);
        left.containers += 1;
        left.running += usize::from(container.state == RunState::Running);
    }
    Ok(hosts.into_values().collect())
}

fn warn_of(left: &[HostLeftovers]) {
    let (told, more) = left.split_at(left.len().min(HOSTS_TOLD_MAX));
    for one in told {
        let filter = format!("label={}={}", labels::HOST, one.host);
        let see = format!(
            "See them with `docker ps --all --filter {filter}`; remove them with `docker rm --force \
             $(docker ps --all --quiet --filter {filter})`"
        );
        tracing::warn!(
            host = %one.host,
            containers = one.containers,
            running = one.running,
            "{}. {see}",
            whose(one.origin)
        );
    }
    if !more.is_empty() {
        tracing::warn!(
            hosts = more.len(),
            containers = more.iter().map(|one| one.containers).sum::<usize>(),
            running = more.iter().map(|one| one.running).sum::<usize>(),
            "containers of further hosts are on this engine. See them with `docker ps --all --filter \
             label={}`",
            labels::HOST
        );
    }
}

fn whose(origin: LeftoverOwner) -> String {
    const UNCOUNTED: &str = "they take room that placement does not count, and nobody stops them";
    match origin {
        LeftoverOwner::Former => {
            format!("an earlier identity of this host has left containers: {UNCOUNTED}")
        }
        LeftoverOwner::ThisFleet => format!(
            "containers of another host of this fleet are on this engine. Unless a second agent of the \
             fleet runs on it, an identity that this host had before its data directory was lost has \
             left them: {UNCOUNTED}"
        ),
        LeftoverOwner::OtherFleet(fleet) => format!(
            "containers of a host of the fleet {fleet}, which is not this one, are on this engine. \
             Unless an agent of that fleet runs on it, this host has left them when it was of that \
             fleet: {UNCOUNTED}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use longshore_common::clock::{SteppedClock, Timestamp};
    use serde_json::json;

    use super::*;
    use crate::{
        engine::plan::sample::{KEY, intent_of, rules},
        runtime::{ContainerConfig, fake::FakeRuntime},
        task::rules::Rules,
    };

    const LOST: HostId = HostId::new(1);
    const FORMER: HostId = HostId::new(2);
    const STRANGER: HostId = HostId::new(3);
    const OTHERS: FleetId = FleetId::new(9);

    fn own() -> OwnHost {
        OwnHost { fleet: rules().fleet, host: rules().host, former: vec![FORMER] }
    }

    /// A container as the agent of that host makes it, and its name.
    fn made_by(fleet: FleetId, host: HostId, container: &str) -> (String, ContainerConfig) {
        let definition = json!({ "name": container, "image": "web:1" });
        let intent = intent_of(vec![serde_json::from_value(definition).unwrap()]);
        let labels =
            crate::engine::plan::labels::labels(&intent, 0, &Rules { fleet, host, ..rules() });
        let definition = &intent.definition;
        let name = crate::task::names::docker_name(
            &definition.family,
            definition.revision,
            container,
            KEY,
        );
        (name, ContainerConfig { labels, ..ContainerConfig::default() })
    }

    /// Whatever the data directory still knows: an identity that is lost with it is found too.
    #[tokio::test]
    async fn leftovers_are_those_of_every_other_host() {
        let fake = FakeRuntime::new(SteppedClock::at(Timestamp(1)));
        let of = [
            (own().fleet, own().host, "own"),
            (own().fleet, LOST, "lost-1"),
            (own().fleet, LOST, "lost-2"),
            (own().fleet, FORMER, "former"),
            (OTHERS, STRANGER, "other"),
            // The same host in another fleet: a coordinator that was made anew.
            (OTHERS, own().host, "before"),
        ];
        for (fleet, host, container) in of {
            let (name, config) = made_by(fleet, host, container);
            fake.create_outside(&name, config);
            if container == "lost-1" {
                fake.start_outside(&name);
            }
        }
        // Made by hand of an image that has such labels, or with values that nobody can run.
        let (_, config) = made_by(own().fleet, LOST, "baked");
        fake.create_outside("by-hand", config);
        let (name, mut config) = made_by(own().fleet, LOST, "odd");
        config.labels.insert(labels::HOST.to_owned(), "$(reboot)".to_owned());
        fake.create_outside(&name, config);

        let left = left_by_others(&fake, &own()).await.unwrap();
        let one =
            |origin, host, containers, running| HostLeftovers { origin, host, containers, running };
        let expected = [
            one(LeftoverOwner::Former, FORMER, 1, 0),
            one(LeftoverOwner::ThisFleet, LOST, 2, 1),
            one(LeftoverOwner::OtherFleet(OTHERS), STRANGER, 1, 0),
            one(LeftoverOwner::OtherFleet(OTHERS), own().host, 1, 0),
        ];
        assert_eq!(left, expected);
        assert_eq!(fake.containers().len(), 8, "none is touched");
    }
}
