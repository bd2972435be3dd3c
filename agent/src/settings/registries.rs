//! Where logins for registries come from.
//!
//! Never: a password in a log.

use std::{fmt, path::PathBuf};

/// Where logins come from; the file first.
#[derive(Clone, Default)]
pub struct Registries {
    /// As `docker login` writes it: `auths`, `credHelpers` and `credsStore`.
    pub docker_config: Option<PathBuf>,
    /// The `auths` alone, as JSON.
    pub auths: Option<String>,
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let auths = self.auths.as_ref().map(|_| "…");
        f.debug_struct("Registries")
            .field("docker_config", &self.docker_config)
            .field("auths", &auths)
            .finish()
    }
}

impl Registries {
    pub(crate) fn is_empty(&self) -> bool {
        self.docker_config.is_none() && self.auths.is_none()
    }
}
