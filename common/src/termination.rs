//! SIGTERM and SIGINT: how a program is told to stop.
//!
//! Watched from before a program's first sign of life, so that whoever has seen one may answer with a
//! signal at once. Never: what is done about it.

use std::{fmt, io};

use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};

/// Both signals, caught from the moment this is made.
#[derive(Debug)]
pub struct Termination {
    terminate: Signal,
    interrupt: Signal,
}

/// The one that came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToldBy {
    Terminate,
    Interrupt,
}

impl Termination {
    /// Made before the log is set up, a file is written or a port is bound.
    pub fn watch(runtime: &Runtime) -> io::Result<Self> {
        let _inside = runtime.enter();
        Ok(Termination {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one; a wait that is given up loses none.
    pub async fn told(&mut self) -> ToldBy {
        tokio::select! {
            _ = self.terminate.recv() => ToldBy::Terminate,
            _ = self.interrupt.recv() => ToldBy::Interrupt,
        }
    }
}

impl fmt::Display for ToldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ToldBy::Terminate => "SIGTERM",
            ToldBy::Interrupt => "SIGINT",
        })
    }
}
