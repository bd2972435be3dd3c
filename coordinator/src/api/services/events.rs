//! `events[]` of services: the newest messages, from the history.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::view::{ServiceView, Shown};
use crate::{
    api::{Api, error::ApiError},
    journal::ServiceEvent,
    state_machine::{State, service::ServiceId},
};

/// ecs-behaviour 1.8, events list.
const EVENTS_MAX: usize = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventView {
    id: String,
    created_at: f64,
    message: String,
}

/// Later than any batch.
const ALL_BATCHES: u64 = i64::MAX as u64;
/// Looks that may be taken until a service stood still while its events were read.
const LOOKS_MAX: usize = 4;

/// What a look at the state shows.
pub(super) struct Looked {
    pub(super) shown: Vec<Shown>,
    /// ARNs of services that are not there.
    pub(super) missing: Vec<String>,
}

/// Services with their events, both of one moment: the history is read beside the state, and what
/// changed meanwhile is looked at again. The ARNs are those of services that are not there.
pub(super) async fn together(
    api: &Api,
    look: impl Fn(&State) -> Result<Looked, ApiError> + Send + Sync,
) -> Result<(Vec<ServiceView>, Vec<String>), ApiError> {
    let state = || async { api.read(&look).await? };
    let events = |looked: &Looked| {
        let ids = looked.shown.iter().map(|shown| shown.id).collect();
        of_services(api, ids)
    };
    let (Looked { shown, missing }, events) = of_one_moment(state, events, same).await?;
    Ok((
        shown.into_iter().zip(events).map(|(shown, events)| added(shown, events)).collect(),
        missing,
    ))
}

/// What `state` says and what `beside` says of it, where both are of the same moment: `state` says
/// the same before and after. After [`LOOKS_MAX`] tries, as near as it gets.
async fn of_one_moment<S, B, E, States, Besides>(
    state: impl Fn() -> States,
    beside: impl Fn(&S) -> Besides,
    same: impl Fn(&S, &S) -> bool,
) -> Result<(S, B), E>
where
    States: Future<Output = Result<S, E>>,
    Besides: Future<Output = Result<B, E>>,
{
    let mut before = state().await?;
    for _ in 1..LOOKS_MAX {
        let found = beside(&before).await?;
        let after = state().await?;
        if same(&before, &after) {
            return Ok((before, found));
        }
        before = after;
    }
    let found = beside(&before).await?;
    Ok((before, found))
}

fn same(one: &Looked, other: &Looked) -> bool {
    let json = |looked: &Looked| -> Option<Vec<Vec<u8>>> {
        looked.shown.iter().map(|shown| serde_json::to_vec(&shown.view).ok()).collect()
    };
    json(one) == json(other)
}

/// Of each of these services, the newest messages.
pub(super) async fn of_services(
    api: &Api,
    ids: Vec<ServiceId>,
) -> Result<Vec<Vec<EventView>>, ApiError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let found = api
        .history(move |history| {
            ids.into_iter()
                .map(|id| Ok((id, history.service_events(id, ALL_BATCHES, EVENTS_MAX)?)))
                .collect()
        })
        .await?;
    let found: Vec<(ServiceId, Vec<ServiceEvent>)> = found;
    let views = |(id, events): (ServiceId, Vec<ServiceEvent>)| {
        events.into_iter().map(|event| view(id, event)).collect()
    };
    Ok(found.into_iter().map(views).collect())
}

pub(super) fn added(mut shown: Shown, events: Vec<EventView>) -> ServiceView {
    shown.view.events = events;
    shown.view
}

fn view(service: ServiceId, event: ServiceEvent) -> EventView {
    EventView {
        id: uuid(service, event.number),
        created_at: event.at.as_epoch_seconds(),
        message: event.message,
    }
}

/// The same event has the same id for ever: a UUID of version 8 (RFC 9562) made of its number.
fn uuid(service: ServiceId, number: u64) -> String {
    let mut hash = Sha256::new();
    hash.update(service.value().to_be_bytes());
    hash.update(number.to_be_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Counts and messages of a service that goes on while it is looked at, `changes` times.
    async fn looked_at(changes: u32) -> (u32, u32) {
        let tasks = Cell::new(0);
        let state = || async { Ok::<u32, ()>(tasks.get()) };
        let messages = |_: &u32| async {
            // The scheduler starts a task, and says so, between the two.
            if tasks.get() < changes {
                tasks.set(tasks.get() + 1);
            }
            Ok(tasks.get())
        };
        of_one_moment(state, messages, |one, other| one == other).await.unwrap()
    }

    #[tokio::test]
    async fn counts_and_messages_of_a_service_are_of_one_moment() {
        for changes in 0..LOOKS_MAX as u32 {
            assert_eq!(looked_at(changes).await, (changes, changes));
        }
        // It never stands still: the look that was taken last.
        let (tasks, messages) = looked_at(u32::MAX).await;
        assert_eq!(messages, tasks + 1);
    }

    #[test]
    fn an_events_id_is_a_uuid_that_stays() {
        let id = uuid(ServiceId::new(1), 7);
        assert_eq!(id, uuid(ServiceId::new(1), 7));
        assert_ne!(id, uuid(ServiceId::new(1), 8));
        assert_ne!(id, uuid(ServiceId::new(2), 7));
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!((lengths, id.as_bytes()[14]), (vec![8, 4, 4, 4, 12], b'8'));
    }
}
