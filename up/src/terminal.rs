//! What `make run` says, and the programs' logs between its lines once they are wanted.

use std::{
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
};

pub(crate) fn say(text: &str) {
    show(&format!("longshore: {text}"));
}

pub(crate) fn warn(text: &str) {
    say(&format!("warning: {text}"));
}

/// A closed terminal is no reason to stop: the rest must still be cleaned up.
pub(crate) fn show(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Lets log lines through while it is open; they are in files in any case.
#[derive(Default)]
pub(crate) struct LogTap {
    open: AtomicBool,
}

impl LogTap {
    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    pub(crate) fn close(&self) {
        self.open.store(false, Ordering::Relaxed);
    }

    pub(crate) fn line(&self, program: &str, line: &str) {
        if self.open.load(Ordering::Relaxed) {
            show(&format!("{program:>11} | {line}"));
        }
    }
}
