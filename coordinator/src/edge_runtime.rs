//! The threads that answer callers: apart from those that poll the agents, so that nothing that a caller
//! sends can keep the polls waiting and make hosts look silent.
//!
//! Never: the driver, the pollers, or anything else that the fleet's life depends on.

use tokio::runtime::{Builder, Handle, Runtime};

/// Number of threads for connections, heads and small requests (ours).
const LISTENER_THREADS: usize = 2;
/// Number of threads for large requests, which keep a thread for milliseconds (ours): one request
/// at a time, in the order in which they came.
const WORKSHOP_THREADS: usize = 1;
/// Maximum number of threads of each runtime for work that blocks, such as reading stopped tasks
/// (ours): as many as read at once; more readers wait. The unit's `TasksMax` has room for those of
/// all three runtimes.
pub const BLOCKING_THREADS_MAX: usize = 48;

pub(crate) struct EdgeRuntime {
    listeners: Option<Runtime>,
    workshop: Option<Runtime>,
}

impl EdgeRuntime {
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = |name: &str, threads| {
            Builder::new_multi_thread()
                .worker_threads(threads)
                .max_blocking_threads(BLOCKING_THREADS_MAX)
                .thread_name(name)
                .enable_all()
                .build()
                .map(Some)
        };
        Ok(EdgeRuntime {
            listeners: runtime("edge", LISTENER_THREADS)?,
            workshop: runtime("workshop", WORKSHOP_THREADS)?,
        })
    }

    pub(crate) fn listeners(&self) -> Handle {
        self.listeners.as_ref().expect("it lives as long as this").handle().clone()
    }

    pub(crate) fn workshop(&self) -> Handle {
        self.workshop.as_ref().expect("it lives as long as this").handle().clone()
    }
}

impl Drop for EdgeRuntime {
    /// Waits for nothing: where this is dropped nothing may be waited for.
    fn drop(&mut self) {
        for runtime in [self.listeners.take(), self.workshop.take()].into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_all_runtimes_fit_the_unit() {
        let unit = include_str!("../../systemd/longshore-coordinator.service");
        let tasks_max = unit.lines().find_map(|line| line.strip_prefix("TasksMax="));
        let tasks_max: usize = tasks_max.and_then(|max| max.parse().ok()).unwrap();
        // Number of threads that do not block: workers, the driver, the journal's, and programs
        // that launch hosts.
        const OTHERS: usize = 64;
        assert!(
            3 * BLOCKING_THREADS_MAX + LISTENER_THREADS + WORKSHOP_THREADS + OTHERS <= tasks_max
        );
    }

    #[test]
    fn work_that_blocks_gets_a_bounded_number_of_threads() {
        use std::sync::{Condvar, Mutex};
        let runtimes = EdgeRuntime::start().unwrap();
        let running = std::sync::Arc::new((Mutex::new((0_usize, false)), Condvar::new()));
        let works: Vec<_> = (0..2 * BLOCKING_THREADS_MAX)
            .map(|_| {
                let running = running.clone();
                runtimes.listeners().spawn_blocking(move || {
                    let (state, changed) = &*running;
                    let mut state = state.lock().unwrap();
                    state.0 += 1;
                    changed.notify_all();
                    let at_once = state.0;
                    // As many as may run are here before any of them ends.
                    while state.0 < BLOCKING_THREADS_MAX && !state.1 {
                        state = changed.wait(state).unwrap();
                    }
                    state.1 = true;
                    state.0 -= 1;
                    at_once
                })
            })
            .collect();
        let at_once = works.into_iter().map(|work| runtimes.listeners().block_on(work).unwrap());
        assert_eq!(at_once.max(), Some(BLOCKING_THREADS_MAX));
    }
}
