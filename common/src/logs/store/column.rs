//! Values as SQLite's columns hold them: its whole numbers have a sign.

use crate::clock::Timestamp;

pub(super) fn ms(at: Timestamp) -> i64 {
    as_i64(at.0)
}

pub(super) fn as_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
