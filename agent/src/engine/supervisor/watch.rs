//! Watches the container engine: whether it answers, its events, its containers.
//!
//! The event stream is opened before the listing, so that nothing falls between the two. Never: a
//! conclusion; what a silence or an error means is decided by who reads this.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use longshore_common::clock::{Clock, Timestamp};
use tokio::sync::mpsc::Sender;

use crate::runtime::{
    ContainerRuntime, ContainerSummary, OwnerLabel, RuntimeError, RuntimeEvent, RuntimeVersion,
};

/// First and longest pause between two attempts to reach the container engine.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Time before now at which the event stream begins: covers the moment until the engine has
/// subscribed us. Events are hints to look again, so a repeated one does no harm.
const EVENTS_BACK: Duration = Duration::from_secs(2);

pub(super) enum EngineNews {
    Up(RuntimeVersion),
    Down(RuntimeError),
    Listing(Vec<ContainerSummary>),
    Event(RuntimeEvent),
}

/// Ends when nobody listens any more.
pub(super) async fn watch<R: ContainerRuntime>(
    runtime: Arc<R>,
    clock: Arc<dyn Clock>,
    owner: OwnerLabel,
    resync: Duration,
    out: Sender<EngineNews>,
) {
    let mut wait = RETRY_MIN;
    let mut heard = None;
    while let Err(EngineGone { was_up, error }) =
        follow(&*runtime, &*clock, &owner, resync, &mut heard, &out).await
    {
        if out.send(EngineNews::Down(error)).await.is_err() {
            return;
        }
        wait = if was_up { RETRY_MIN } else { (wait * 2).min(RETRY_MAX) };
        tokio::time::sleep(wait).await;
    }
}

struct EngineGone {
    was_up: bool,
    error: RuntimeError,
}

/// `Ok` when nobody listens any more, `Err` when the container engine went away.
async fn follow<R: ContainerRuntime>(
    runtime: &R,
    clock: &dyn Clock,
    owner: &OwnerLabel,
    resync: Duration,
    heard: &mut Option<Timestamp>,
    out: &Sender<EngineNews>,
) -> Result<(), EngineGone> {
    let not_up = |error| EngineGone { was_up: false, error };
    let version = runtime.version().await.map_err(not_up)?;
    let back = Timestamp(clock.wall().0.saturating_sub(EVENTS_BACK.as_millis() as u64));
    // What an engine said that was not heard, it says again, as much of it as it keeps.
    let since = heard.map_or(back, |heard| back.min(heard));
    let mut events = runtime.events(owner, since).await.map_err(not_up)?;
    let listing = runtime.list(owner).await.map_err(not_up)?;
    for news in [EngineNews::Up(version), EngineNews::Listing(listing)] {
        if out.send(news).await.is_err() {
            return Ok(());
        }
    }
    let was_up = |error| EngineGone { was_up: true, error };
    let mut again = tokio::time::interval(resync);
    again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    again.tick().await;
    loop {
        let news = tokio::select! {
            event = events.next() => match event {
                Some(event) => {
                    let event = event.map_err(was_up)?;
                    *heard = Some(event.at);
                    EngineNews::Event(event)
                }
                None => return Err(was_up(RuntimeError::transport("the event stream ended"))),
            },
            _ = again.tick() => EngineNews::Listing(runtime.list(owner).await.map_err(was_up)?),
        };
        if out.send(news).await.is_err() {
            return Ok(());
        }
    }
}
