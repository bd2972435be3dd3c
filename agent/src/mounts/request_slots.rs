//! Maximum of requests that one file system may keep waiting.
//!
//! A dead server of NFS never answers: a request to it waits in the kernel and cannot be ended. Such
//! requests keep a share of the helper's threads and leave the rest to other file systems.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Maximum number of requests under way for one file system: a quarter of the helper's connections,
/// and as many as the agent prepares containers at once.
pub(super) const FOR_ONE_MAX: usize = 16;

#[derive(Debug, Default)]
pub(super) struct RequestSlots(Mutex<BTreeMap<String, usize>>);

/// One request under way; its slot is given back when this is dropped.
#[derive(Debug)]
pub(super) struct RequestSlot<'a> {
    turns: &'a RequestSlots,
    of: String,
}

impl RequestSlots {
    pub(super) fn take(&self, of: String) -> Result<RequestSlot<'_>, String> {
        let mut held = self.held();
        let count = held.entry(of.clone()).or_default();
        if *count >= FOR_ONE_MAX {
            return Err(format!(
                "{FOR_ONE_MAX} requests for the file system {of} are under way and have no answer: \
                 see whether its server is there (`stat -f` on its mount)"
            ));
        }
        *count += 1;
        Ok(RequestSlot { turns: self, of })
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RequestSlot<'_> {
    fn drop(&mut self) {
        let mut held = self.turns.held();
        match held.get_mut(&self.of) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(held.remove(&self.of)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_hangs_keeps_its_share_and_no_more() {
        let turns = RequestSlots::default();
        let mut hung: Vec<_> = (0..FOR_ONE_MAX).map(|_| turns.take("fs-1".to_owned())).collect();
        assert!(hung.iter().all(Result::is_ok));
        assert!(turns.take("fs-1".to_owned()).unwrap_err().contains("fs-1"));
        assert!(turns.take("fs-2".to_owned()).is_ok());
        hung.pop();
        assert!(turns.take("fs-1".to_owned()).is_ok());
        drop(hung);
        assert!(turns.held().is_empty());
    }
}
