//! A backend for tests in this crate: a driver over a journal in memory.

use std::sync::Arc;

use longshore_common::{
    arn::Identity,
    clock::{SteppedClock, Timestamp},
    join_token::CaHash,
    secret::Secret,
};
use longshore_core::model::capacity_provider::CapacityPolicy;

use super::{Backend, page::PageScope};
use crate::{
    driver,
    edge::context::{Api, Caller},
    fleet::logs::fake::FakeHosts,
    journal::memory::MemoryDisk,
    random::Random,
};

/// Time of the clock, 2026-01-02T03:04:05Z.
pub(crate) const NOW: Timestamp = Timestamp(1_767_323_045_000);

/// What Alertmanager must show.
pub(crate) const WEBHOOK_TOKEN: &str = "a-token-of-alertmanager";

/// What whoever reads the metrics from another machine must show.
pub(crate) const METRICS_TOKEN: &str = "a-token-of-prometheus";

/// A backend with an empty state.
pub(crate) fn empty(identity: Identity) -> Backend {
    with_capacity(identity, CapacityPolicy::default())
}

/// A backend with an empty state and settings that say this of capacity.
pub(crate) fn with_capacity(identity: Identity, policy: CapacityPolicy) -> Backend {
    let disk = MemoryDisk::default();
    let mut next = 0_u128;
    let entropy = Box::new(move || {
        next += 1;
        next << 64
    });
    let mut state = disk.recover();
    state.set_capacity_policy(policy);
    let (driver, _) = driver::start(state, disk.journal(), SteppedClock::at(NOW), entropy);
    let endpoint = "http://coordinator.test:8420/".to_owned();
    let webhook_token = Secret::new(WEBHOOK_TOKEN.to_owned());
    let metrics_token = Secret::new(METRICS_TOKEN.to_owned());
    let logs = FakeHosts::default().logs(SteppedClock::at(NOW));
    Backend {
        identity,
        driver,
        endpoint,
        ca: CaHash([7; 32]),
        webhook_token,
        metrics_token,
        logs,
        random: Random::of_system(),
    }
}

/// What a handler of the root user works with.
pub(crate) fn api() -> Api {
    api_of(Identity { region: "us-east-1".into(), account: "000000000000".into() })
}

pub(crate) fn api_of(identity: Identity) -> Api {
    let Backend { identity, driver, endpoint, ca, logs, random, .. } = empty(identity);
    let caller = Caller {
        arn: identity.root(),
        user_id: identity.account.clone(),
        account: identity.account.clone(),
    };
    Api {
        identity: Arc::new(identity),
        caller: Arc::new(caller),
        driver,
        endpoint: endpoint.into(),
        clock: SteppedClock::at(NOW),
        ca,
        logs,
        random,
        page_scope: PageScope::none(),
    }
}
