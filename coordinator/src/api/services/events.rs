//! `events[]` of services: the newest messages, from the history.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::view::{ServiceView, Shown};
use crate::{
    api::{Api, error::ApiError},
    journal::ServiceEvent,
    state_machine::service::ServiceId,
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

/// The services with their events.
pub(super) async fn added(api: &Api, shown: Vec<Shown>) -> Result<Vec<ServiceView>, ApiError> {
    let ids: Vec<ServiceId> = shown.iter().map(|shown| shown.id).collect();
    let found = api
        .history(move |history| {
            ids.into_iter().map(|id| Ok((id, history.service_events(id, EVENTS_MAX)?))).collect()
        })
        .await?;
    let found: Vec<(ServiceId, Vec<ServiceEvent>)> = found;
    let with_events = |(mut shown, (id, events)): (Shown, (ServiceId, Vec<ServiceEvent>))| {
        shown.view.events = events.into_iter().map(|event| view(id, event)).collect();
        shown.view
    };
    Ok(shown.into_iter().zip(found).map(with_events).collect())
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
