//! What a caller may hold, and for how long: time, and memory by who asks.

use std::time::Duration;

use crate::door::{
    Room, Rooms,
    bodies::{BodyPace, BodyRoom},
    stream::WritePace,
};

/// Timeout of a head, and of an idle connection (promises.md 4).
pub(super) const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Timeout of a body (ours): 1 MiB at 35 KiB/s.
pub(super) const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// Maximum of what unknown callers may hold (ours): heads that are unfinished and bodies that
/// nobody has proved to have signed yet. One address has room for 1,000 unfinished heads, or for
/// two bodies of 1 MiB.
const STRANGERS: Room = Room {
    bytes_max: 8 * 1024 * 1024,
    reserve_bytes: 2 * 1024 * 1024,
    party_bytes_max: 5 * 512 * 1024,
    fair_bytes: FAIR_BYTES,
};
/// Maximum of what callers with a valid signature may hold besides bodies that have room of their
/// own below (ours): 2,700 connections, of which one address has 2,000.
const KNOWN: Room = Room {
    bytes_max: 64 * 1024 * 1024,
    reserve_bytes: 0,
    party_bytes_max: 48 * 1024 * 1024,
    fair_bytes: FAIR_BYTES,
};
/// Fair share of one party in bytes (ours): a connection with a request whose body is small.
const FAIR_BYTES: usize = 64 * 1024;
/// Maximum size in bytes of a body that is worked on at once (ours): hashing and parsing such a
/// body takes less than a millisecond. Of a larger one, this many bytes have to be here before it
/// is given room.
pub(super) const SMALL_BODY_BYTES_MAX: usize = 16 * 1024;
/// Maximum of larger bodies of unknown callers that are in memory at once (ours): as many as the
/// account of [`STRANGERS`] may hold, the part included that it keeps for proved addresses. So a
/// body that the door lets in waits for nothing but the memory of those that gave way.
const STRANGERS_BODIES: BodyRoom =
    BodyRoom { bytes_max: STRANGERS.bytes_max, wait_max: BODY_DEADLINE, pace: None };
/// Maximum of larger bodies of known callers that are in memory at once (ours): one large body is
/// worked on at a time, the others only wait in memory.
const KNOWN_BODIES: BodyRoom =
    BodyRoom { bytes_max: 5 * 1024 * 1024, wait_max: BODY_DEADLINE, pace: Some(BODY_PACE) };
/// Maximum size in bytes of a body that has room of its own, so that it never waits for larger ones
/// (ours): most requests that are not small are task definitions, which ECS bounds at 64 KiB.
pub(super) const MIDDLING_BODY_BYTES_MAX: usize = 64 * 1024;
/// Maximum of bodies up to `MIDDLING_BODY_BYTES_MAX` that are in memory at once (ours).
const MIDDLING_BODIES: BodyRoom = BodyRoom { bytes_max: 1024 * 1024, ..KNOWN_BODIES };
/// Minimum pace of a known caller's body while others wait for its memory (ours): 1 MBit/s.
const BODY_PACE: BodyPace =
    BodyPace { grace: Duration::from_secs(1), bytes_per_second: 128 * 1024 };

/// What a test makes smaller.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) head_deadline: Duration,
    pub(super) body_deadline: Duration,
    pub(super) pace: WritePace,
    pub(super) rooms: Rooms,
    pub(super) strangers_bodies: BodyRoom,
    pub(super) middling_bodies: BodyRoom,
    pub(super) known_bodies: BodyRoom,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_deadline: HEAD_DEADLINE,
            body_deadline: BODY_DEADLINE,
            pace: WritePace::default(),
            rooms: Rooms { strangers: STRANGERS, known: KNOWN },
            strangers_bodies: STRANGERS_BODIES,
            middling_bodies: MIDDLING_BODIES,
            known_bodies: KNOWN_BODIES,
        }
    }
}
