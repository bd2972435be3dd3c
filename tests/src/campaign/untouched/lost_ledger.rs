//! What an operator or a failing disk does to a ledger while its agent is away: it is deleted, or
//! an older copy is put back. All that runs is adopted all the same, by its labels.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::life::Life;
use longshore_harness::{command::run, fleet::FleetHost};

const LEDGER: &str = "ledger.sqlite";
/// What SQLite keeps beside it.
const FILES: [&str; 3] = ["", "-wal", "-shm"];
const INTROSPECTION: &str = "http://127.0.0.1:51678/v1/tasks";
/// How long an agent may take to compare what it finds with a manifest.
const ADOPTED_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    Deleted,
    RolledBack,
}

/// Copies of a ledger from earlier; only taken and put back while its agent is away.
pub(super) struct LedgerCopy {
    folder: PathBuf,
    copied: Vec<(String, Vec<u8>)>,
}

impl LedgerCopy {
    pub(super) fn of(host: &FleetHost) -> LedgerCopy {
        LedgerCopy { folder: host.agent_folder(), copied: Vec::new() }
    }

    pub(super) fn take(&mut self) -> Result<()> {
        self.copied.clear();
        for file in files() {
            let path = self.folder.join(&file);
            if path.exists() {
                self.copied.push((file, fs_err::read(path)?));
            }
        }
        Ok(())
    }

    pub(super) fn lose(&self, loss: Loss) -> Result<()> {
        for file in files() {
            let path = self.folder.join(&file);
            if path.exists() {
                fs_err::remove_file(path)?;
            }
        }
        if loss == Loss::RolledBack {
            for (file, bytes) in &self.copied {
                fs_err::write(self.folder.join(file), bytes)?;
            }
        }
        Ok(())
    }
}

fn files() -> impl Iterator<Item = String> {
    FILES.iter().map(|suffix| format!("{LEDGER}{suffix}"))
}

/// Waits until the agent shows each of these tasks as running in its container; how many it does.
pub(super) async fn adopted(host: &FleetHost, watched: &BTreeMap<String, Life>) -> Result<usize> {
    let deadline = Instant::now() + ADOPTED_WITHIN;
    loop {
        let shown = shown_by(host.network.namespace())?;
        let tasks = shown["Tasks"].as_array().context("no tasks in the introspection's answer")?;
        let runs_in = |task: &Value, life: &Life| {
            task["KnownStatus"] == json!("RUNNING")
                && task["Containers"][0]["DockerId"] == json!(life.container)
        };
        let is_adopted = |(arn, life): (&String, &Life)| {
            tasks.iter().any(|task| task["Arn"] == json!(arn) && runs_in(task, life))
        };
        let adopted = watched.iter().filter(|watched| is_adopted(*watched)).count();
        if adopted == watched.len() || Instant::now() > deadline {
            return Ok(adopted);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn shown_by(namespace: &Path) -> Result<Value> {
    let net = format!("--net={}", namespace.display());
    let said = run("nsenter", &[&net, "curl", "-sS", "--max-time", "5", INTROSPECTION])?;
    Ok(serde_json::from_str(&said)?)
}
