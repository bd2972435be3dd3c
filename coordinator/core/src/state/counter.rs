//! Counters that events keep.
//!
//! A counter never ends the process: one that would fall below zero stays at zero, and
//! [`State::check`](super::State::check) says that it is not what the entities say.

pub(super) fn count(counter: &mut u32, by: i32) {
    *counter = counter.saturating_add_signed(by);
}
