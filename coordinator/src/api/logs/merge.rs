//! Events of several sources as one sequence, and places in it that clients can come back to. Pure.

use std::{cmp::Ordering, fmt};

use longshore_common::{
    clock::Timestamp,
    logs::query::{EventPlace, HeldEvents, LOG_EVENT_OVERHEAD_BYTES, LOG_EVENTS_BYTES_MAX},
};

use crate::fleet::logs::Source;

/// Where an event stands among those of all sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) at: Timestamp,
    pub(super) source: Source,
    pub(super) seq: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the earliest event on.
    Forward,
    /// From the latest one back.
    Backward,
}

/// Everything beyond a position, in a direction: `f/…` or `b/…` as a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beyond {
    pub(super) direction: Direction,
    pub(super) position: Position,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MergedEvent {
    pub(super) position: Position,
    pub(super) stream: String,
    pub(super) ingested_at: Timestamp,
    pub(super) message: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Merged {
    /// Events in the direction's order.
    pub(super) events: Vec<MergedEvent>,
    /// Where to continue; absent when all was seen.
    pub(super) next: Option<Position>,
}

impl Beyond {
    /// The position as a place at one source, whose events all have numbers from 1 on.
    pub(super) fn at(&self, source: Source) -> EventPlace {
        let Position { at, seq, .. } = self.position;
        let seq = match source.cmp(&self.position.source) {
            Ordering::Less => u64::MAX,
            Ordering::Equal => seq,
            Ordering::Greater => 0,
        };
        EventPlace { at, seq }
    }

    /// What the other direction's page is, next to an empty page of this one.
    pub(super) fn back(&self) -> Beyond {
        let Position { at, source, seq } = self.position;
        match self.direction {
            Direction::Forward => Beyond {
                direction: Direction::Backward,
                position: Position { at, source, seq: seq.saturating_add(1) },
            },
            Direction::Backward => Beyond {
                direction: Direction::Forward,
                position: Position { at, source, seq: seq.saturating_sub(1) },
            },
        }
    }

    pub(super) fn parse(token: &str) -> Option<Beyond> {
        let mut parts = token.split('/');
        let direction = match parts.next()? {
            "f" => Direction::Forward,
            "b" => Direction::Backward,
            _ => return None,
        };
        let at = Timestamp(parts.next()?.parse().ok()?);
        let source = u128::from_str_radix(parts.next()?, 16).ok()?;
        let seq = parts.next()?.parse().ok()?;
        let beyond = Beyond { direction, position: Position { at, source, seq } };
        (parts.next().is_none() && beyond.to_string() == token).then_some(beyond)
    }
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { at, source, seq } = self.position;
        let direction = match self.direction {
            Direction::Forward => "f",
            Direction::Backward => "b",
        };
        write!(f, "{direction}/{}/{source:032x}/{seq}", at.0)
    }
}

/// Merges what each source answered. An event is taken only when no source can still have one that
/// comes before it in the direction.
pub(super) fn merge(held: Vec<(Source, HeldEvents)>, direction: Direction, limit: usize) -> Merged {
    let position = |source, place: EventPlace| Position { at: place.at, source, seq: place.seq };
    let reached = held.iter().filter_map(|(source, held)| Some(position(*source, held.reached?)));
    let bound = match direction {
        Direction::Forward => reached.min(),
        Direction::Backward => reached.max(),
    };
    let is_within = |position: &Position| match direction {
        Direction::Forward => bound.is_none_or(|bound| *position <= bound),
        Direction::Backward => bound.is_none_or(|bound| *position >= bound),
    };
    let mut events: Vec<MergedEvent> = Vec::new();
    for (source, HeldEvents { streams, events: of_source, .. }) in held {
        events.extend(of_source.into_iter().filter_map(|event| {
            let position = position(source, event.place);
            is_within(&position).then(|| MergedEvent {
                position,
                stream: streams.get(event.stream as usize).cloned().unwrap_or_default(),
                ingested_at: event.ingested_at,
                message: event.message,
            })
        }));
    }
    events.sort_unstable_by_key(|event| event.position);
    if direction == Direction::Backward {
        events.reverse();
    }
    let mut bytes = 0;
    let fits = events
        .iter()
        .take(limit)
        .take_while(|event| {
            let first = bytes == 0;
            bytes += event.message.len() + LOG_EVENT_OVERHEAD_BYTES;
            first || bytes <= LOG_EVENTS_BYTES_MAX
        })
        .count();
    let next = match fits < events.len() {
        true => events[..fits].last().map(|last| last.position),
        false => bound,
    };
    events.truncate(fits);
    Merged { events, next }
}

#[cfg(test)]
mod tests {
    use longshore_common::logs::query::HeldEvent;

    use super::*;

    /// Events `at.seq` of a source, and whether there is more after the last.
    fn source(source: Source, places: &[(u64, u64)], more: bool) -> (Source, HeldEvents) {
        let place = |&(at, seq): &(u64, u64)| EventPlace { at: Timestamp(at), seq };
        let events = places.iter().map(|pair| HeldEvent {
            stream: 0,
            place: place(pair),
            ingested_at: Timestamp(0),
            message: format!("{source}:{}.{}", pair.0, pair.1),
        });
        let held = HeldEvents {
            group_known: true,
            stream_known: true,
            streams: vec!["s".to_owned()],
            events: events.collect(),
            reached: places.last().filter(|_| more).map(place),
        };
        (source, held)
    }

    fn shown(merged: &Merged) -> String {
        let events: Vec<&str> = merged.events.iter().map(|e| e.message.as_str()).collect();
        let next = merged.next.map(|p| format!(" next {}:{}.{}", p.source, p.at.0, p.seq));
        events.join(" ") + &next.unwrap_or_default()
    }

    #[test]
    fn events_are_merged_by_time_then_source_then_number() {
        let held =
            vec![source(2, &[(10, 1), (11, 5)], false), source(1, &[(10, 9), (12, 10)], false)];
        assert_eq!(shown(&merge(held, Direction::Forward, 10)), "1:10.9 2:10.1 2:11.5 1:12.10");
    }

    #[test]
    fn what_a_source_may_still_have_bounds_the_page() {
        let held =
            vec![source(1, &[(10, 1), (11, 2)], true), source(2, &[(11, 1), (30, 2)], false)];
        assert_eq!(shown(&merge(held, Direction::Forward, 10)), "1:10.1 1:11.2 next 1:11.2");
        let held =
            vec![source(1, &[(30, 4), (20, 2)], true), source(2, &[(25, 1), (10, 2)], false)];
        assert_eq!(
            shown(&merge(held, Direction::Backward, 10)),
            "1:30.4 2:25.1 1:20.2 next 1:20.2"
        );
    }

    #[test]
    fn a_page_ends_at_its_limit() {
        let held = vec![source(1, &[(10, 1), (11, 2)], false), source(2, &[(10, 1)], false)];
        assert_eq!(shown(&merge(held, Direction::Forward, 2)), "1:10.1 2:10.1 next 2:10.1");
    }

    #[test]
    fn a_position_goes_on_at_each_source_without_loss_or_repeat() {
        let position = Position { at: Timestamp(10), source: 5, seq: 7 };
        let seq = |direction, source| Beyond { direction, position }.at(source).seq;
        assert_eq!([4, 5, 6].map(|source| seq(Direction::Forward, source)), [u64::MAX, 7, 0]);
        assert_eq!([4, 5, 6].map(|source| seq(Direction::Backward, source)), [u64::MAX, 7, 0]);
    }

    #[test]
    fn tokens_read_back_and_nothing_else_does() {
        let position = Position { at: Timestamp(10), source: 0xab, seq: 7 };
        for direction in [Direction::Forward, Direction::Backward] {
            let beyond = Beyond { direction, position };
            assert_eq!(Beyond::parse(&beyond.to_string()), Some(beyond));
            assert_eq!(beyond.back().back(), beyond);
        }
        for bad in ["", "f", "f/1", "x/1/2/3", "f/1/2/3/4", "f/01/2/3", "f/-1/0/1"] {
            assert_eq!(Beyond::parse(bad), None, "{bad}");
        }
    }
}
