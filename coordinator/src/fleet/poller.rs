//! Polls every agent (design.md rule 5): one long poll parked at each, a newer one when there is
//! something new, and the word that a host is silent.
//!
//! Never: an order before it is durable, an order to any host while the journal is known to have
//! gone back, or a judgement about tasks.

pub mod exchange;
mod followed;
mod host;
mod pace;
mod start_barrier;
pub mod testimony;

pub(crate) use self::host::{ORDER_SECONDS, POLLS};

use std::{collections::BTreeSet, sync::Arc};

use longshore_common::{
    arn::Identity,
    id::{FleetId, HostId},
};
use longshore_core::{Command, command::EpochCommand};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::{exchange::Sender, start_barrier::StartBarrier};
use super::{client::AgentClient, topics::Topics};
use crate::{contained::contained, driver::Handle};

/// Polls until `shutdown`; each host has a task of its own.
pub async fn run<A: AgentClient>(
    handle: Handle,
    agents: Arc<A>,
    fleet: FleetId,
    identity: Identity,
    topics: Arc<Topics>,
    shutdown: CancellationToken,
) {
    let known = handle.peek(|state| {
        state.hosts().filter(|host| host.agent.is_some()).map(|host| host.id).collect::<Vec<_>>()
    });
    let barrier = Arc::new(StartBarrier::new(known.iter().copied()));
    let begin = {
        let (barrier, handle) = (barrier.clone(), handle.clone());
        async move {
            barrier.passed().await;
            handle.hearing().end();
            // Refused while the journal is known to be old; `recover` begins then.
            let _ = handle.submit(Command::Epoch(EpochCommand::BeginScheduling), |_, _| ()).await;
        }
    };
    tokio::spawn(begin);
    let sender = Arc::new(Sender { fleet, identity });
    let mut polled = BTreeSet::new();
    let mut tasks = JoinSet::new();
    let start = |host: HostId, polled: &mut BTreeSet<HostId>, tasks: &mut JoinSet<HostId>| {
        if !polled.insert(host) {
            return;
        }
        let poller = host::HostPoller::new(
            host,
            sender.clone(),
            handle.clone(),
            agents.clone(),
            barrier.clone(),
            topics.clone(),
        );
        let shutdown = shutdown.clone();
        tasks.spawn(async move {
            tokio::select! {
                _ended = contained("poller of a host", host, poller.run()) => {}
                () = shutdown.cancelled() => {}
            }
            host
        });
    };
    for host in known {
        start(host, &mut polled, &mut tasks);
    }
    loop {
        tokio::select! {
            hosts = handle.signals().unclaimed() => {
                for host in hosts {
                    start(host, &mut polled, &mut tasks);
                }
            }
            Some(ended) = tasks.join_next() => {
                let host = ended.expect("a poller does not panic");
                polled.remove(&host);
                agents.forget(host);
                // What changed while the task ended may be an agent that came back.
                if handle.peek(|state| host::has_agent(state, host)) && !shutdown.is_cancelled() {
                    start(host, &mut polled, &mut tasks);
                }
            }
            () = shutdown.cancelled() => break,
        }
    }
    while tasks.join_next().await.is_some() {}
}
