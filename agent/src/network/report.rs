//! What `longshore-agent network` tells the agent: whether tasks reach their metadata, and whether
//! EC2's is kept from them. One small file, replaced whole.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Made by the unit's RuntimeDirectory=.
pub(crate) const REPORT_FILE: &str = "/run/longshore-network/report.json";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkReport {
    /// Absent when all is well.
    pub(crate) problem: Option<String>,
}

impl NetworkReport {
    pub(super) fn write(&self, file: &Path) -> std::io::Result<()> {
        let next = file.with_extension("next");
        fs_err::write(&next, serde_json::to_vec(self)?)?;
        fs_err::rename(next, file)
    }

    /// Absent where no such program has told anything.
    pub(crate) fn read(file: &Path) -> Option<NetworkReport> {
        serde_json::from_slice(&fs_err::read(file).ok()?).ok()
    }
}
