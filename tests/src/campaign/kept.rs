//! P1: what was acknowledged survives a coordinator that is killed at any instant, and what was
//! not is there whole or not at all.
//!
//! Writers change things of their own, one call at a time, and hold what they must find. After
//! every kill each of them reads everything back before it goes on.

mod model;
mod change;
mod writer;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use longshore_harness::fleet::{Fleet, FleetSettings};
use tokio::{sync::watch, time::timeout};

use crate::{
    campaign::kept::writer::Writer,
    chance::Chance,
    figures::{count, progress, reached},
};

pub(super) const KILLS: usize = 100;
const WRITERS: usize = 8;
/// Acknowledged calls that every kill must have behind it, on the average.
const ACKED_PER_KILL: usize = 50;
const KINDS_MIN: usize = 12;
/// A kill comes this long after every writer went on, at the most.
const KILL_WITHIN: Duration = Duration::from_millis(400);
/// One in so many kills hits the coordinator again while it is still recovering.
const KILL_IN_RECOVERY: usize = 5;
const RECOVERY_KILL_WITHIN: Duration = Duration::from_millis(60);
/// How long all writers together may take to read everything back.
const CHECK_PATIENCE: Duration = Duration::from_secs(120);

/// What a run is to do.
pub struct Kept {
    kills: usize,
    seed: u64,
}

#[derive(Clone, Debug, Default)]
pub struct KeptCounts {
    asked_kills: usize,
    seed: u64,
    pub kills: usize,
    pub kills_in_recovery: usize,
    pub acked: usize,
    pub unanswered: usize,
    pub refused: usize,
    pub kinds: usize,
    pub lost: usize,
    pub invented: usize,
}

impl Kept {
    pub fn of(kills: usize, seed: u64) -> Kept {
        Kept { kills, seed }
    }

    pub async fn run(self) -> Result<KeptCounts> {
        progress(&format!("p1: {} kills, {WRITERS} writers, seed {}", self.kills, self.seed));
        let mut fleet = Fleet::start(FleetSettings { hosts: 1, ..Default::default() }).await?;
        let chance = Chance::from_seed(self.seed);
        let (serving_sender, serving) = watch::channel(1);
        let (progress_sender, mut checked) = watch::channel(vec![0; WRITERS]);
        let progress_sender = Arc::new(progress_sender);
        let (acked_sender, mut acked) = watch::channel(0);
        let acked_sender = Arc::new(acked_sender);
        let mut writers = tokio::task::JoinSet::new();
        for number in 0..WRITERS {
            let chance = chance.part(number as u64);
            let writer = Writer::new(number, chance, fleet.ecs()?, acked_sender.clone());
            writers.spawn(writer.run(serving.clone(), progress_sender.clone()));
        }
        let watched = Watched { checked: &mut checked, acked: &mut acked };
        let outcome = self.kill(&mut fleet, chance.part(1000), &serving_sender, watched).await;
        let (kills, kills_in_recovery) = match outcome {
            Ok(kills) => kills,
            Err(error) => match writers.try_join_next() {
                // A writer that ended early is the cause, and says more.
                Some(writer) => return Err(writer?.err().unwrap_or(error)),
                None => return Err(error),
            },
        };
        // Writers end when nothing will serve any more; they have read everything back.
        drop(serving_sender);
        let mut counts = KeptCounts {
            asked_kills: self.kills,
            seed: self.seed,
            kills,
            kills_in_recovery,
            ..Default::default()
        };
        let mut kinds = std::collections::BTreeSet::new();
        while let Some(writer) = writers.join_next().await {
            let tally = writer??;
            counts.acked += tally.acked;
            counts.unanswered += tally.unanswered;
            counts.refused += tally.refused;
            counts.lost += tally.lost;
            counts.invented += tally.invented;
            kinds.extend(tally.kinds);
        }
        counts.kinds = kinds.len();
        Ok(counts)
    }

    async fn kill(
        &self,
        fleet: &mut Fleet,
        mut chance: Chance,
        serving: &watch::Sender<usize>,
        Watched { checked, acked }: Watched<'_>,
    ) -> Result<(usize, usize)> {
        let (mut kills, mut in_recovery, mut start) = (0, 0, 1);
        all_checked(checked, start).await?;
        while kills < self.kills {
            // A slow machine acknowledges less between two kills: they wait for it.
            let due = kills.saturating_sub(in_recovery) * ACKED_PER_KILL;
            let enough = timeout(CHECK_PATIENCE, acked.wait_for(|acked| *acked >= due)).await;
            enough.context("the writers hardly write")?.context("the writers have ended")?;
            tokio::time::sleep(chance.up_to(KILL_WITHIN)).await;
            serving.send_replace(0);
            fleet.kill_coordinator().await?;
            kills += 1;
            while kills < self.kills && chance.one_in(KILL_IN_RECOVERY) {
                let coordinator = fleet.spawn_coordinator().await?;
                tokio::time::sleep(chance.up_to(RECOVERY_KILL_WITHIN)).await;
                coordinator.kill().await?;
                kills += 1;
                in_recovery += 1;
            }
            fleet.start_coordinator().await?;
            start += 1;
            serving.send_replace(start);
            all_checked(checked, start).await?;
            if kills.is_multiple_of(10) {
                progress(&format!("p1: {kills} kills"));
            }
        }
        let due = self.kills * ACKED_PER_KILL;
        let enough = timeout(CHECK_PATIENCE, acked.wait_for(|acked| *acked >= due)).await;
        enough.context("the writers hardly write")?.context("the writers have ended")?;
        Ok((kills, in_recovery))
    }
}

/// What the writers say of their progress.
struct Watched<'a> {
    /// The start from which each has read everything back.
    checked: &'a mut watch::Receiver<Vec<usize>>,
    acked: &'a mut watch::Receiver<usize>,
}

/// Waits until every writer has read everything back from this start of the coordinator.
async fn all_checked(checked: &mut watch::Receiver<Vec<usize>>, start: usize) -> Result<()> {
    let all = checked.wait_for(|starts| starts.iter().all(|checked| *checked >= start));
    let all = timeout(CHECK_PATIENCE, all).await;
    all.context("the writers did not come to reading everything back")?
        .context("the writers have ended")?;
    Ok(())
}

impl KeptCounts {
    pub fn print_and_judge(&self) -> Result<()> {
        crate::figures::figure("seed", self.seed as f64, "seed")?;
        count("kills", self.kills)?;
        count("kills_in_recovery", self.kills_in_recovery)?;
        count("writers", WRITERS)?;
        count("kinds", self.kinds)?;
        count("acked", self.acked)?;
        count("unanswered", self.unanswered)?;
        count("refused", self.refused)?;
        count("lost", self.lost)?;
        count("invented", self.invented)?;
        self.judge()
    }

    pub fn judge(&self) -> Result<()> {
        reached("kills", self.kills, self.asked_kills)?;
        reached("acknowledged calls", self.acked, self.asked_kills * ACKED_PER_KILL)?;
        reached("kinds of call", self.kinds, KINDS_MIN)?;
        ensure!(self.lost == 0, "{} acknowledged changes were lost", self.lost);
        ensure!(self.invented == 0, "{} things are there that nobody asked for", self.invented);
        Ok(())
    }
}
