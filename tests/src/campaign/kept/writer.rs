//! One writer: changes things one call at a time, and reads everything back after each kill.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::{Result, bail};
use longshore_harness::{
    ecs::{CallError, EcsClient},
    image::SAMPLE_IMAGE,
};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    campaign::kept::{
        change::Change,
        model::{Cluster, Model, Names},
    },
    chance::Chance,
    figures::progress,
};

const FAMILIES: usize = 4;

/// Which start of the coordinator serves; 0 while none does.
pub(super) type Serving = watch::Receiver<usize>;

pub(super) struct Writer {
    number: usize,
    client: EcsClient,
    chance: Chance,
    names: Names,
    model: Model,
    /// Sent, and neither acknowledged nor refused.
    pending: Option<Change>,
    tally: Tally,
    acked: Arc<watch::Sender<usize>>,
    changes: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) acked: usize,
    pub(super) unanswered: usize,
    pub(super) refused: usize,
    pub(super) lost: usize,
    pub(super) invented: usize,
    pub(super) kinds: BTreeSet<&'static str>,
}

impl Writer {
    /// `acked` counts what all writers had acknowledged.
    pub(super) fn new(
        number: usize,
        chance: Chance,
        client: EcsClient,
        acked: Arc<watch::Sender<usize>>,
    ) -> Writer {
        let prefix = format!("kept{number}x");
        let families = (0..FAMILIES).map(|family| format!("{prefix}f{family}")).collect();
        let names = Names { hosts_cluster: format!("{prefix}hosts"), families, prefix };
        Writer {
            number,
            client,
            chance,
            names,
            model: Model::default(),
            pending: None,
            tally: Tally::default(),
            acked,
            changes: 0,
        }
    }

    fn count_acked(&mut self) {
        self.tally.acked += 1;
        self.acked.send_modify(|acked| *acked += 1);
    }

    /// Writes until `serving` closes; says in `checked` what it has read back last.
    pub(super) async fn run(
        mut self,
        mut serving: Serving,
        checked: Arc<watch::Sender<Vec<usize>>>,
    ) -> Result<Tally> {
        self.prepare().await?;
        let mut checked_start = 0;
        loop {
            let Ok(start) = serving.wait_for(|start| *start != 0).await.map(|start| *start) else {
                return Ok(self.tally);
            };
            if start != checked_start {
                match self.check().await {
                    Ok(()) => {
                        checked_start = start;
                        checked.send_modify(|starts| starts[self.number] = start);
                    }
                    // Killed again before everything was read.
                    Err(CheckError::NoAnswer) => {
                        self.wait_for_other_start(&mut serving, start).await
                    }
                    Err(CheckError::Broken(error)) => return Err(error),
                }
            }
            // The channel has closed: everything was read back from the last start.
            if serving.has_changed().is_err() {
                return Ok(self.tally);
            }
            if checked_start == start && !self.change().await? {
                self.wait_for_other_start(&mut serving, start).await;
            }
        }
    }

    async fn wait_for_other_start(&self, serving: &mut Serving, start: usize) {
        // An error means that no other will come, which the caller sees too.
        let _ = serving.wait_for(|now| *now != start).await;
    }

    /// The cluster of its hosts, and the definition that all writers run.
    async fn prepare(&mut self) -> Result<()> {
        let cluster = self.names.hosts_cluster.clone();
        self.client.call("CreateCluster", json!({ "clusterName": cluster })).await?;
        let made = Cluster::default();
        self.model.clusters.insert(cluster, made);
        if self.number == 0 {
            let definition = json!({
                "family": "kept-runnable",
                "containerDefinitions": [{
                    "name": "main",
                    "image": SAMPLE_IMAGE,
                    "memory": 8,
                    "command": ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"],
                }],
            });
            self.client.call("RegisterTaskDefinition", definition).await?;
        }
        Ok(())
    }

    /// Makes one change. `false`: no answer came.
    async fn change(&mut self) -> Result<bool> {
        let change = Change::choose(&self.model, &self.names, self.changes, &mut self.chance);
        self.changes += 1;
        let (operation, input) = change.call();
        match self.client.call(operation, input).await {
            Ok(answer) => {
                if change.acknowledged(&mut self.model, &answer) {
                    self.count_acked();
                    self.tally.kinds.insert(operation);
                } else {
                    self.tally.refused += 1;
                }
                Ok(true)
            }
            Err(CallError::Refused { code, message, status }) => {
                if status >= 500 {
                    bail!("{change:?} was answered with {status} {code}: {message}");
                }
                self.tally.refused += 1;
                Ok(true)
            }
            Err(CallError::NoAnswer(_)) => {
                self.tally.unanswered += 1;
                self.pending = Some(change);
                Ok(false)
            }
        }
    }

    /// Reads everything back, judges it, and goes on from what is there.
    async fn check(&mut self) -> Result<(), CheckError> {
        let known = self.model.tasks.keys().cloned().collect();
        let found = Model::read(&self.client, &self.names, &known).await?;
        let pending = self.pending.clone();
        let after = pending.as_ref().and_then(|change| change.made_after_all(&self.model, &found));
        let made = after.filter(|after| after.compare(&found).is_none());
        if made.is_none() {
            let difference = self.model.compare(&found);
            for line in difference.lost.iter().chain(&difference.invented) {
                progress(&format!("p1: WRONG: {line}; the unanswered call: {pending:?}"));
            }
            self.tally.lost += difference.lost.len();
            self.tally.invented += difference.invented.len();
        }
        self.model = found;
        self.pending = None;
        if let Some(Change::RunTask { .. }) = &pending {
            self.run_again(pending.as_ref()).await?;
        }
        Ok(())
    }

    /// The same call with the same token must answer with what it did the first time.
    async fn run_again(&mut self, run: Option<&Change>) -> Result<(), CheckError> {
        let Some(run) = run else { return Ok(()) };
        let (operation, input) = run.call();
        let tasks_before: BTreeMap<_, _> = self.model.tasks.clone();
        match self.client.call(operation, input).await {
            Ok(answer) => {
                if run.acknowledged(&mut self.model, &answer) {
                    self.count_acked();
                    self.tally.kinds.insert(operation);
                }
                let known = self.model.tasks.keys().cloned().collect();
                let found = Model::read(&self.client, &self.names, &known).await?;
                let extra = found.tasks.len().saturating_sub(tasks_before.len());
                if extra > 1 || self.model.tasks.len() < found.tasks.len() {
                    progress(&format!("p1: WRONG: {run:?} sent twice ran twice"));
                    self.tally.invented += 1;
                }
                self.model.tasks = found.tasks;
                Ok(())
            }
            Err(CallError::NoAnswer(error)) => {
                self.pending = Some(run.clone());
                Err(CallError::NoAnswer(error).into())
            }
            Err(CallError::Refused { .. }) => {
                self.tally.refused += 1;
                Ok(())
            }
        }
    }
}

enum CheckError {
    NoAnswer,
    Broken(anyhow::Error),
}

impl From<CallError> for CheckError {
    fn from(error: CallError) -> CheckError {
        match error {
            CallError::NoAnswer(_) => CheckError::NoAnswer,
            refused => {
                CheckError::Broken(anyhow::Error::new(refused).context("reading everything back"))
            }
        }
    }
}
