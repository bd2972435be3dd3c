//! A state from the rows of a checkpoint and the batches after it.
//!
//! Refuses a gap or a bad sum; it never guesses.

use longshore_core::{
    Event, State,
    checkpoint::record::{self, Record},
};
use rusqlite::{Connection, OptionalExtension};

use super::{
    format::{OpenError, RESTORE_A_BACKUP},
    history_rows::damaged_meta,
};

/// The key of the mark of a restored copy in `meta`.
pub(super) const RESTORED_UP_TO: &str = "restored";

/// What a start found, for the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub rows: u64,
    pub batches: u64,
    pub events: u64,
    pub seq: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error("the journal has a gap: after {after} comes {found}. {RESTORE_A_BACKUP}")]
    Gap { after: u64, found: u64 },
    #[error("the journal's batch {seq} is damaged: its sum does not match. {RESTORE_A_BACKUP}")]
    BadBatch { seq: u64 },
    #[error(
        "a row of the checkpoint (kind {kind}) is damaged: its sum does not match. {RESTORE_A_BACKUP}"
    )]
    BadRow { kind: u8 },
    #[error(
        "what the journal says of its {key} is damaged: its sum does not match. {RESTORE_A_BACKUP}"
    )]
    BadMeta { key: String },
    #[error(
        "the checkpoint holds rows of kind {kind}, which a newer release wrote; start that release"
    )]
    UnknownKind { kind: u8 },
    #[error("the journal holds what this release cannot read; start the release that wrote it")]
    Unreadable(#[source] rmp_serde::decode::Error),
    #[error("the journal cannot be read")]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
}

pub(in crate::journal) fn recover_from(
    connection: &Connection,
) -> Result<(State, Recovered), RecoveryError> {
    let mut state = State::to_recover();
    let mut recovered = Recovered::default();
    if let Some(key) = damaged_meta(connection)? {
        return Err(RecoveryError::BadMeta { key });
    }
    let checkpoint: u64 =
        connection
            .query_row("SELECT value FROM meta WHERE key = 'checkpoint'", [], |row| row.get(0))?;
    restore_rows(connection, &mut state, &mut recovered)?;
    recovered.seq = checkpoint;
    replay(connection, &mut state, &mut recovered)?;
    state.recovered_at(recovered.seq);
    state.set_restored(restored_up_to(connection)?);
    Ok((state, recovered))
}

fn restore_rows(
    connection: &Connection,
    state: &mut State,
    recovered: &mut Recovered,
) -> Result<(), RecoveryError> {
    let mut kinds = connection.prepare("SELECT DISTINCT kind FROM state")?;
    for kind in kinds.query_map([], |row| row.get(0))? {
        let kind = kind?;
        if !record::RESTORE_ORDER.contains(&kind) {
            return Err(RecoveryError::UnknownKind { kind });
        }
    }
    let mut select =
        connection.prepare("SELECT id, crc, value FROM state WHERE kind = ?1 ORDER BY id")?;
    for kind in record::RESTORE_ORDER {
        let mut rows = select.query([kind])?;
        while let Some(row) = rows.next()? {
            let key = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            let crc: u32 = row.get(1)?;
            let value = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
            if row_crc(kind, key, value) != crc {
                return Err(RecoveryError::BadRow { kind });
            }
            let record: Record = record::decode(value).map_err(RecoveryError::Unreadable)?;
            state.restore(record);
            recovered.rows += 1;
        }
    }
    Ok(())
}

fn replay(
    connection: &Connection,
    state: &mut State,
    recovered: &mut Recovered,
) -> Result<(), RecoveryError> {
    let mut select =
        connection.prepare("SELECT seq, epoch, crc, events FROM journal ORDER BY seq")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (seq, epoch): (u64, u64) = (row.get(0)?, row.get(1)?);
        let crc: u32 = row.get(2)?;
        let bytes = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
        if seq != recovered.seq + 1 {
            return Err(RecoveryError::Gap { after: recovered.seq, found: seq });
        }
        if batch_crc(seq, epoch, bytes) != crc {
            return Err(RecoveryError::BadBatch { seq });
        }
        let events: Vec<Event> = record::decode(bytes).map_err(RecoveryError::Unreadable)?;
        events.iter().for_each(|event| state.apply(event, seq));
        recovered.events += events.len() as u64;
        recovered.batches += 1;
        recovered.seq = seq;
    }
    Ok(())
}

/// The last batch that a restored copy had; none where nobody has restored the journal.
fn restored_up_to(connection: &Connection) -> Result<Option<u64>, rusqlite::Error> {
    let get = "SELECT value FROM meta WHERE key = ?1";
    connection.query_row(get, [RESTORED_UP_TO], |row| row.get(0)).optional()
}

/// Covers what a row says and where it stands.
pub(in crate::journal) fn batch_crc(seq: u64, epoch: u64, events: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seq.to_be_bytes());
    hasher.update(&epoch.to_be_bytes());
    hasher.update(events);
    hasher.finalize()
}

pub(in crate::journal) fn row_crc(kind: u8, key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}
