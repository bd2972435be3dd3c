//! Finding groups, streams and events. Streams are merged by time while they are read, a few rows of
//! each at once, so that a question costs what it returns and not what is kept.

use std::collections::{BTreeSet, VecDeque};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    column::{as_i64, ms},
    error::StoreError,
};
use crate::{
    clock::Timestamp,
    logs::{
        pattern::Pattern,
        query::{
            AskEvents, AskStreams, EventPlace, HeldEvent, HeldEvents, HeldGroup, HeldStream,
            LOG_EVENT_OVERHEAD_BYTES, LOG_EVENTS_BYTES_MAX, LOG_EVENTS_MAX, LOG_NAMES_MAX,
            StreamChoice, StreamOrder,
        },
    },
};

/// Maximum of events that one answer looks at, wanted or not.
const EXAMINED_MAX: usize = 50_000;
/// Maximum of bytes of events that one answer looks at.
const EXAMINED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Maximum of events of one stream that are read ahead.
const READ_AHEAD: u32 = 128;
/// Maximum of bytes of events that are read ahead, of all streams together; but one event of each.
const READ_AHEAD_BYTES: usize = 4 * 1024 * 1024;

pub(super) fn groups(
    connection: &Connection,
    prefix: &str,
    part: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<HeldGroup>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT groups.name, groups.created, coalesce(sum(streams.bytes), 0)
         FROM groups LEFT JOIN streams ON grp = groups.id
         WHERE groups.name >= ?1 AND groups.name > ?2 AND substr(groups.name, 1, length(?1)) = ?1
             AND instr(groups.name, ?4) > 0
         GROUP BY groups.id ORDER BY groups.name LIMIT ?3",
    )?;
    let found =
        select.query_map(params![prefix, after, limit.min(LOG_NAMES_MAX), part], |row| {
            Ok(HeldGroup {
                name: row.get(0)?,
                created_at: time(row.get(1)?),
                bytes: row.get::<_, i64>(2)?.max(0) as u64,
            })
        })?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn streams(
    connection: &Connection,
    ask: &AskStreams,
) -> Result<Option<Vec<HeldStream>>, StoreError> {
    let Some(group) = group_id(connection, &ask.group)? else { return Ok(None) };
    let place = match ask.order {
        StreamOrder::Name => "(0, name)",
        StreamOrder::LastEvent => "(coalesce(last_at, 0), name)",
    };
    let order = match (ask.order, ask.descending) {
        (StreamOrder::Name, false) => "name",
        (StreamOrder::Name, true) => "name DESC",
        (StreamOrder::LastEvent, false) => "coalesce(last_at, 0), name",
        (StreamOrder::LastEvent, true) => "coalesce(last_at, 0) DESC, name DESC",
    };
    let beyond = match (&ask.after, ask.descending) {
        (None, _) => "?3 = ?3 AND ?4 = ?4".to_owned(),
        (Some(_), false) => format!("{place} > (?3, ?4)"),
        (Some(_), true) => format!("{place} < (?3, ?4)"),
    };
    let mut select = connection.prepare_cached(&format!(
        "SELECT name, created, first_at, last_at, last_ingested FROM streams
         WHERE grp = ?1 AND substr(name, 1, length(?2)) = ?2 AND {beyond}
         ORDER BY {order} LIMIT ?5"
    ))?;
    let (last_event, name) = match &ask.after {
        Some(after) => (after.last_event, after.name.as_str()),
        None => (Timestamp::default(), ""),
    };
    let optional = |at: Option<i64>| at.map(time);
    let found = select.query_map(
        params![group, ask.prefix, ms(last_event), name, ask.limit.min(LOG_NAMES_MAX)],
        |row| {
            Ok(HeldStream {
                name: row.get(0)?,
                created_at: time(row.get(1)?),
                first_event: optional(row.get(2)?),
                last_event: optional(row.get(3)?),
                last_ingestion: optional(row.get(4)?),
            })
        },
    )?;
    Ok(Some(found.collect::<Result<_, _>>()?))
}

pub(super) fn events(connection: &Connection, ask: &AskEvents) -> Result<HeldEvents, StoreError> {
    let pattern = Pattern::parse(&ask.pattern)?;
    let mut held = HeldEvents::default();
    let Some(group) = group_id(connection, &ask.group)? else { return Ok(held) };
    held.group_known = true;
    let mut lanes = Vec::new();
    for stream in chosen(connection, group, &ask.streams)? {
        held.stream_known = true;
        let overlaps = stream.first_at.is_some_and(|first| first < ask.until)
            && stream.last_at.is_some_and(|last| last >= ask.from);
        if overlaps {
            lanes.push(Lane::new(stream.id, held.streams.len() as u32, ask));
            held.streams.push(stream.name);
        }
    }
    let ahead_bytes = READ_AHEAD_BYTES / lanes.len().max(1);
    let mut heads = BTreeSet::new();
    for (index, lane) in lanes.iter_mut().enumerate() {
        lane.fill(connection, ask, ahead_bytes)?;
        heads.extend(lane.head(ask.backward).map(|place| (place, index)));
    }
    let limit = ask.limit.min(LOG_EVENTS_MAX) as usize;
    let (mut bytes, mut examined, mut examined_bytes) = (0, 0, 0);
    while let Some((_, index)) = heads.pop_first() {
        let lane = &mut lanes[index];
        let Some(event) = lane.ahead.pop_front() else { continue };
        let size = event.message.len() + LOG_EVENT_OVERHEAD_BYTES;
        let wanted = pattern.matches(&event.message);
        let full = held.events.len() >= limit
            || (bytes + size > LOG_EVENTS_BYTES_MAX && !held.events.is_empty());
        if (wanted && full) || examined >= EXAMINED_MAX || examined_bytes >= EXAMINED_BYTES_MAX {
            // Nothing was looked at beyond the event before this one.
            return Ok(held);
        }
        examined += 1;
        examined_bytes += size;
        held.reached = Some(event.place);
        if wanted {
            bytes += size;
            held.events.push(event);
        }
        if lane.ahead.is_empty() {
            lane.fill(connection, ask, ahead_bytes)?;
        }
        heads.extend(lane.head(ask.backward).map(|place| (place, index)));
    }
    held.reached = None;
    Ok(held)
}

/// One stream, as far as it was read.
struct Lane {
    stream: i64,
    index: u32,
    beyond: EventPlace,
    ahead: VecDeque<HeldEvent>,
    ended: bool,
}

impl Lane {
    fn new(stream: i64, index: u32, ask: &AskEvents) -> Self {
        // Numbers of events begin with one.
        let edge = EventPlace { at: if ask.backward { ask.until } else { ask.from }, seq: 0 };
        let beyond = match (ask.beyond, ask.backward) {
            (None, _) => edge,
            (Some(place), false) => place.max(edge),
            (Some(place), true) => place.min(edge),
        };
        Lane { stream, index, beyond, ahead: VecDeque::new(), ended: false }
    }

    /// What orders it among others: the place, turned round when going backward.
    fn head(&self, backward: bool) -> Option<(u64, u64)> {
        let EventPlace { at, seq } = self.ahead.front()?.place;
        Some(if backward { (u64::MAX - at.0, u64::MAX - seq) } else { (at.0, seq) })
    }

    fn fill(
        &mut self,
        connection: &Connection,
        ask: &AskEvents,
        bytes: usize,
    ) -> Result<(), StoreError> {
        if self.ended {
            return Ok(());
        }
        let (sql, edge) = match ask.backward {
            false => (
                "SELECT at, seq, ingested, message FROM events
                 WHERE stream = ?1 AND (at, seq) > (?2, ?3) AND at < ?4
                 ORDER BY at, seq LIMIT ?5",
                ask.until,
            ),
            true => (
                "SELECT at, seq, ingested, message FROM events
                 WHERE stream = ?1 AND (at, seq) < (?2, ?3) AND at >= ?4
                 ORDER BY at DESC, seq DESC LIMIT ?5",
                ask.from,
            ),
        };
        let mut select = connection.prepare_cached(sql)?;
        let (at, seq) = (ms(self.beyond.at), as_i64(self.beyond.seq));
        let mut rows = select.query(params![self.stream, at, seq, ms(edge), READ_AHEAD])?;
        let (mut read, mut read_bytes) = (0, 0);
        while let Some(row) = rows.next()? {
            let event = self.event(row)?;
            read += 1;
            read_bytes += event.message.len();
            self.beyond = event.place;
            self.ahead.push_back(event);
            if read_bytes >= bytes {
                return Ok(());
            }
        }
        self.ended = read < READ_AHEAD;
        Ok(())
    }

    fn event(&self, row: &Row<'_>) -> rusqlite::Result<HeldEvent> {
        Ok(HeldEvent {
            stream: self.index,
            place: EventPlace { at: time(row.get(0)?), seq: row.get::<_, i64>(1)?.max(0) as u64 },
            ingested_at: time(row.get(2)?),
            message: row.get(3)?,
        })
    }
}

struct Stream {
    id: i64,
    name: String,
    first_at: Option<Timestamp>,
    last_at: Option<Timestamp>,
}

fn chosen(
    connection: &Connection,
    group: i64,
    choice: &StreamChoice,
) -> Result<Vec<Stream>, StoreError> {
    let stream = |row: &Row<'_>| {
        Ok(Stream {
            id: row.get(0)?,
            name: row.get(1)?,
            first_at: row.get::<_, Option<i64>>(2)?.map(time),
            last_at: row.get::<_, Option<i64>>(3)?.map(time),
        })
    };
    match choice {
        StreamChoice::Prefixed(prefix) => {
            let mut select = connection.prepare_cached(
                "SELECT id, name, first_at, last_at FROM streams
                 WHERE grp = ?1 AND substr(name, 1, length(?2)) = ?2 ORDER BY name",
            )?;
            let found = select.query_map(params![group, prefix], stream)?;
            Ok(found.collect::<Result<_, _>>()?)
        }
        StreamChoice::Named(names) => {
            let mut select = connection.prepare_cached(
                "SELECT id, name, first_at, last_at FROM streams WHERE grp = ?1 AND name = ?2",
            )?;
            let mut found = Vec::new();
            for name in names {
                found.extend(select.query_row(params![group, name], stream).optional()?);
            }
            Ok(found)
        }
    }
}

fn group_id(connection: &Connection, group: &str) -> Result<Option<i64>, StoreError> {
    let mut select = connection.prepare_cached("SELECT id FROM groups WHERE name = ?1")?;
    Ok(select.query_row([group], |row| row.get(0)).optional()?)
}

fn time(ms: i64) -> Timestamp {
    Timestamp(ms.max(0) as u64)
}
