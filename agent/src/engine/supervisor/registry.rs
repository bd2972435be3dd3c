//! What is pulled from one registry, and what waits.

use std::collections::VecDeque;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{runtime::ImageSource, task::key::TaskKey};

/// What is pulled from one registry.
#[derive(Default)]
pub(super) struct Registry {
    /// Exactly the pulls that are wanted and not begun.
    pub(super) waiting: VecDeque<ImageSource>,
    pub(super) begun: usize,
    /// The registry did not answer: until when it is not asked, and Docker's message.
    pub(super) silent: Option<(Instant, String)>,
}

impl Registry {
    pub(super) fn silence(&self) -> Option<String> {
        let (until, message) = self.silent.as_ref()?;
        (Instant::now() < *until).then(|| message.clone())
    }
}

/// One pull of one image by one login, for every container that needs it.
pub(super) struct Pulling {
    pub(super) wanted_by: Vec<(TaskKey, usize)>,
    pub(super) begun: bool,
    pub(super) cancel: CancellationToken,
}
