//! `events[]` of services: the newest messages, from the history.

use longshore_core::{State, model::service::ServiceId};
use sha2::{Digest, Sha256};

use super::view::{EventView, ServiceView, ServiceWithoutEvents};
use crate::{
    edge::{context::Api, error::ApiError},
    journal::ServiceEvent,
};

/// Maximum number of a service's events that are shown (ecs-behaviour 1.8, events list).
const EVENTS_MAX: usize = 100;

/// What a look at the state shows.
pub(super) struct Looked {
    pub(super) shown: Vec<ServiceWithoutEvents>,
    /// ARNs of services that are not there.
    pub(super) missing: Vec<String>,
}

/// Services with their events, both as of one sequence of the journal: what is written after the
/// look is left out. The ARNs are those of services that are not there.
pub(super) async fn together(
    api: &Api,
    look: impl FnOnce(&State) -> Result<Looked, ApiError>,
) -> Result<(Vec<ServiceView>, Vec<String>), ApiError> {
    let (looked, seq) = api.read(|state| (look(state), state.seq())).await?;
    let Looked { shown, missing } = looked?;
    let ids = shown.iter().map(|shown| shown.id).collect();
    let events = of_services(api, ids, seq).await?;
    Ok((
        shown.into_iter().zip(events).map(|(shown, events)| added(shown, events)).collect(),
        missing,
    ))
}

/// The newest messages of each of these services, up to a sequence of the journal.
pub(super) async fn of_services(
    api: &Api,
    ids: Vec<ServiceId>,
    until: u64,
) -> Result<Vec<Vec<EventView>>, ApiError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let found = api
        .history(move |history| {
            ids.into_iter()
                .map(|id| Ok((id, history.service_events(id, until, EVENTS_MAX)?)))
                .collect()
        })
        .await?;
    let found: Vec<(ServiceId, Vec<ServiceEvent>)> = found;
    let views = |(id, events): (ServiceId, Vec<ServiceEvent>)| {
        events.into_iter().map(|event| view(id, event)).collect()
    };
    Ok(found.into_iter().map(views).collect())
}

pub(super) fn added(mut shown: ServiceWithoutEvents, events: Vec<EventView>) -> ServiceView {
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
    use super::*;

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
