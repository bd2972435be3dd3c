//! The tables of what services were: deployments, revisions, messages.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row, ToSql, params, types::Value};

use super::history_rows::{DEPLOYMENTS, EVENTS, REVISIONS, Reader, record_in};
use crate::journal::{
    DeploymentEntry, DeploymentFilter, HISTORY_DEPLOYMENTS_KEPT, SERVICE_EVENTS_MAX, ServiceEvent,
};
use longshore_common::clock::Timestamp;
use longshore_core::{
    batch::HistoryItems,
    checkpoint::record,
    model::{
        deployment::DeploymentRecord,
        revision::RevisionRecord,
        service::{DeploymentId, RevisionId, ServiceId},
    },
};

pub(super) fn append(
    connection: &Connection,
    items: &HistoryItems,
    seq: u64,
) -> Result<(), rusqlite::Error> {
    for (service, deployment) in &items.deployments {
        let values = vec![
            deployment.id.value().to_be_bytes().to_vec().into(),
            service.value().to_be_bytes().to_vec().into(),
            signed(deployment.created_at.0),
            record::encode(deployment).into(),
        ];
        DEPLOYMENTS.put(connection, values)?;
    }
    for (service, revision) in &items.revisions {
        let values = vec![
            key_of(revision.id).into(),
            service.value().to_be_bytes().to_vec().into(),
            signed(revision.created_at.0),
            record::encode(revision).into(),
        ];
        REVISIONS.put(connection, values)?;
    }
    for (service, message, at) in &items.service_events {
        let values = vec![
            service.value().to_be_bytes().to_vec().into(),
            signed(at.0),
            message.clone().into(),
            signed(seq),
        ];
        EVENTS.put(connection, values)?;
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
    reader: &Reader<'_>,
    service: ServiceId,
    until: u64,
    limit: usize,
) -> Result<Vec<ServiceEvent>, rusqlite::Error> {
    let clause = "WHERE service = ?1 AND seq <= ?2 ORDER BY number DESC";
    let event = |row: &Row<'_>| {
        let (number, message) = (row.get("number")?, row.get("message")?);
        Ok(ServiceEvent { number, message, at: Timestamp(row.get("at")?) })
    };
    let service = service.value().to_be_bytes();
    reader.rows(&EVENTS, clause, &[&service, &until], limit, event)
}

pub(super) fn deployments(
    reader: &Reader<'_>,
    filter: &DeploymentFilter,
) -> Result<Vec<DeploymentEntry>, rusqlite::Error> {
    let clause = "WHERE service = ?1 AND number < ?2 AND created_at > ?3 AND created_at < ?4
         ORDER BY number DESC";
    let last = i64::MAX as u64;
    let entry = |row: &Row<'_>| {
        Ok(DeploymentEntry { number: row.get("number")?, deployment: record_in(row)? })
    };
    let values: [&dyn ToSql; 4] = [
        &filter.service.value().to_be_bytes(),
        &filter.before.unwrap_or(last),
        &filter.created_after.map_or(-1, |after| after.0 as i64),
        &filter.created_before.map_or(last, |before| before.0),
    ];
    reader.rows(&DEPLOYMENTS, clause, &values, filter.limit, entry)
}

pub(super) fn deployments_by_id(
    reader: &Reader<'_>,
    ids: &[DeploymentId],
) -> Result<Vec<(ServiceId, DeploymentRecord)>, rusqlite::Error> {
    let mut found = Vec::new();
    for id in ids {
        let id = id.value().to_be_bytes();
        found.extend(reader.rows(&DEPLOYMENTS, "WHERE id = ?1", &[&id], 1, with_service)?);
    }
    Ok(found)
}

pub(super) fn revisions(
    reader: &Reader<'_>,
    ids: &[RevisionId],
) -> Result<Vec<(ServiceId, RevisionRecord)>, rusqlite::Error> {
    let mut found = Vec::new();
    for id in ids {
        let id = key_of(*id);
        found.extend(reader.rows(&REVISIONS, "WHERE id = ?1", &[&id], 1, with_service)?);
    }
    Ok(found)
}

/// SQLite's integers are signed: the same 64 bits.
fn key_of(id: RevisionId) -> i64 {
    id.value() as i64
}

/// As [`key_of`].
fn signed(number: u64) -> Value {
    Value::Integer(number as i64)
}

fn with_service<T: for<'de> serde::Deserialize<'de>>(
    row: &Row<'_>,
) -> Result<(ServiceId, T), rusqlite::Error> {
    let service: [u8; 16] = row.get("service")?;
    Ok((ServiceId::new(u128::from_be_bytes(service)), record_in(row)?))
}
