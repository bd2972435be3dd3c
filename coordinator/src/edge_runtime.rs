//! The threads that answer callers: apart from those that poll the agents, so that nothing that a caller
//! sends can keep the polls waiting and make hosts look silent.
//!
//! Never: the driver, the pollers, or anything else that the fleet's life depends on.

use tokio::runtime::{Builder, Handle, Runtime};

/// Connections, heads, small requests.
const LISTENER_THREADS: usize = 2;
/// Large requests, which keep a thread for milliseconds: one at a time, in the order in which they came.
const WORKSHOP_THREADS: usize = 1;

pub(crate) struct EdgeRuntime {
    listeners: Option<Runtime>,
    workshop: Option<Runtime>,
}

impl EdgeRuntime {
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = |name: &str, threads| {
            Builder::new_multi_thread()
                .worker_threads(threads)
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
    /// Where it is dropped nothing may be waited for.
    fn drop(&mut self) {
        for runtime in [self.listeners.take(), self.workshop.take()].into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}
