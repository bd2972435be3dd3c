//! The tables of what services were: deployments, revisions, messages.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::unreadable;
use crate::{
    journal::{
        DeploymentEntry, DeploymentFilter, HISTORY_DEPLOYMENTS_KEPT, HistoryItems,
        SERVICE_EVENTS_MAX, ServiceEvent,
    },
    state_machine::{
        record::{self, DeploymentRecord, RevisionRecord},
        service::{DeploymentId, RevisionId, ServiceId},
    },
};
use longshore_common::clock::Timestamp;

pub(super) fn append(
    connection: &Connection,
    items: &HistoryItems,
    seq: u64,
) -> Result<(), rusqlite::Error> {
    for (service, deployment) in &items.deployments {
        let mut put = connection.prepare_cached(
            "INSERT INTO service_deployments (id, service, created_at, record)
             VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET record = excluded.record",
        )?;
        put.execute(params![
            deployment.id.value().to_be_bytes(),
            service.value().to_be_bytes(),
            deployment.created_at.0,
            record::encode(deployment),
        ])?;
    }
    for (service, revision) in &items.revisions {
        let mut put = connection.prepare_cached(
            "INSERT OR REPLACE INTO service_revisions (id, service, created_at, record)
             VALUES (?1, ?2, ?3, ?4)",
        )?;
        put.execute(params![
            key_of(revision.id),
            service.value().to_be_bytes(),
            revision.created_at.0,
            record::encode(revision),
        ])?;
    }
    for (service, message, at) in &items.service_events {
        let mut put = connection.prepare_cached(
            "INSERT INTO service_events (service, at, message, seq) VALUES (?1, ?2, ?3, ?4)",
        )?;
        put.execute(params![service.value().to_be_bytes(), at.0, message, seq])?;
    }
    let spoke: BTreeSet<ServiceId> = items.service_events.iter().map(|(id, ..)| *id).collect();
    let mut drop_oldest = connection.prepare_cached(
        "DELETE FROM service_events WHERE service = ?1 AND number <= (
             SELECT number FROM service_events WHERE service = ?1
             ORDER BY number DESC LIMIT 1 OFFSET ?2)",
    )?;
    for service in spoke {
        drop_oldest.execute(params![service.value().to_be_bytes(), SERVICE_EVENTS_MAX])?;
    }
    Ok(())
}

/// Drop what is older than the limit, of services that are gone too: counted from the newest that
/// there is, since a journal knows no clock. A checkpoint runs these while replies wait for it.
pub(in crate::journal) const EXPIRE: [&str; 3] = [
    "DELETE FROM service_deployments WHERE created_at <
         (SELECT coalesce(max(created_at), 0) FROM service_deployments) - ?1",
    "DELETE FROM service_revisions WHERE created_at <
         (SELECT coalesce(max(created_at), 0) FROM service_revisions) - ?1",
    "DELETE FROM service_events WHERE at <
         (SELECT coalesce(max(at), 0) FROM service_events) - ?1",
];

pub(super) fn expire(connection: &Connection) -> Result<(), rusqlite::Error> {
    let kept = HISTORY_DEPLOYMENTS_KEPT.as_millis() as u64;
    for statement in EXPIRE {
        connection.execute(statement, [kept])?;
    }
    Ok(())
}

pub(super) fn events(
    connection: &Connection,
    service: ServiceId,
    until: u64,
    limit: usize,
) -> Result<Vec<ServiceEvent>, rusqlite::Error> {
    let mut select = connection.prepare_cached(
        "SELECT number, at, message FROM service_events WHERE service = ?1 AND seq <= ?2
         ORDER BY number DESC LIMIT ?3",
    )?;
    let event = |row: &Row<'_>| {
        let (number, at, message) = (row.get(0)?, Timestamp(row.get(1)?), row.get(2)?);
        Ok(ServiceEvent { number, message, at })
    };
    select.query_map(params![service.value().to_be_bytes(), until, limit], event)?.collect()
}

pub(super) fn deployments(
    connection: &Connection,
    filter: &DeploymentFilter,
) -> Result<Vec<DeploymentEntry>, rusqlite::Error> {
    let mut select = connection.prepare_cached(
        "SELECT number, record FROM service_deployments
         WHERE service = ?1 AND number < ?2 AND created_at > ?3 AND created_at < ?4
         ORDER BY number DESC LIMIT ?5",
    )?;
    let last = i64::MAX as u64;
    let entry =
        |row: &Row<'_>| Ok(DeploymentEntry { number: row.get(0)?, deployment: read(row.get(1)?)? });
    let rows = select.query_map(
        params![
            filter.service.value().to_be_bytes(),
            filter.before.unwrap_or(last),
            filter.created_after.map_or(-1, |after| after.0 as i64),
            filter.created_before.map_or(last, |before| before.0),
            filter.limit,
        ],
        entry,
    )?;
    rows.collect()
}

pub(super) fn deployments_by_id(
    connection: &Connection,
    ids: &[DeploymentId],
) -> Result<Vec<(ServiceId, DeploymentRecord)>, rusqlite::Error> {
    let mut select = connection
        .prepare_cached("SELECT service, record FROM service_deployments WHERE id = ?1")?;
    let mut found = Vec::new();
    for id in ids {
        let row = select.query_row([id.value().to_be_bytes()], with_service).optional()?;
        found.extend(row);
    }
    Ok(found)
}

pub(super) fn revisions(
    connection: &Connection,
    ids: &[RevisionId],
) -> Result<Vec<(ServiceId, RevisionRecord)>, rusqlite::Error> {
    let mut select =
        connection.prepare_cached("SELECT service, record FROM service_revisions WHERE id = ?1")?;
    let mut found = Vec::new();
    for id in ids {
        found.extend(select.query_row([key_of(*id)], with_service).optional()?);
    }
    Ok(found)
}

/// SQLite's integers are signed: the same 64 bits.
fn key_of(id: RevisionId) -> i64 {
    id.value() as i64
}

fn with_service<T: for<'de> serde::Deserialize<'de>>(
    row: &Row<'_>,
) -> Result<(ServiceId, T), rusqlite::Error> {
    let service: [u8; 16] = row.get(0)?;
    Ok((ServiceId::new(u128::from_be_bytes(service)), read(row.get(1)?)?))
}

fn read<T: for<'de> serde::Deserialize<'de>>(bytes: Vec<u8>) -> Result<T, rusqlite::Error> {
    record::decode(&bytes).map_err(|error| unreadable(Box::new(error)))
}
