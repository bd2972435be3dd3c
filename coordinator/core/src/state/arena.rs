//! Dense storage under small reusable slots.

use std::ops::{Index, IndexMut};

use super::slot::Slot;

/// Values under slots; a freed slot is the next to be used again.
///
/// An arena takes the slots of its own kind alone: another arena's slot does not compile.
pub(super) struct Arena<S, T> {
    slots: Vec<Option<T>>,
    free: Vec<S>,
}

impl<S, T> Default for Arena<S, T> {
    fn default() -> Self {
        Arena { slots: Vec::new(), free: Vec::new() }
    }
}

impl<S: Slot, T> Arena<S, T> {
    pub(super) fn insert(&mut self, value: T) -> S {
        self.insert_with(|_| value)
    }

    /// Inserts a value that knows its slot.
    pub(super) fn insert_with(&mut self, value: impl FnOnce(S) -> T) -> S {
        match self.free.pop() {
            Some(slot) => {
                self.slots[index(slot)] = Some(value(slot));
                slot
            }
            None => {
                let position = u32::try_from(self.slots.len());
                let slot = S::at(position.expect("fewer than 2^32 of one kind"));
                self.slots.push(Some(value(slot)));
                slot
            }
        }
    }

    pub(super) fn remove(&mut self, slot: S) -> T {
        self.free.push(slot);
        self.slots[index(slot)].take().expect("a slot in use")
    }

    pub(super) fn get(&self, slot: S) -> Option<&T> {
        self.slots.get(index(slot))?.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }
}

impl<S: Slot, T> Index<S> for Arena<S, T> {
    type Output = T;

    fn index(&self, slot: S) -> &T {
        self.slots[index(slot)].as_ref().expect("a slot in use")
    }
}

impl<S: Slot, T> IndexMut<S> for Arena<S, T> {
    fn index_mut(&mut self, slot: S) -> &mut T {
        self.slots[index(slot)].as_mut().expect("a slot in use")
    }
}

fn index<S: Slot>(slot: S) -> usize {
    slot.position() as usize
}
