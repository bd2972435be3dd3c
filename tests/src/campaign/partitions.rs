//! P7: a partition stops no healthy container, and heals to what each service wants.
//!
//! Five hosts, one or two of them cut off at a time: by the link, in one direction only, or by a
//! link that comes and goes. A singleton that must not run twice writes down when it runs, where no
//! partition reaches.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use longshore_harness::{
    ecs::{EcsClient, list_all},
    fleet::{Fleet, FleetSettings},
    lives::{Life, ended, lives},
    service::{Bounds, Sampled, Sampler, describe, percents, service, sleeper, tags, until},
    witness::{Witness, overlaps},
};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{
    chance::Chance,
    figures::{count, figure, progress, reached},
};

pub(super) const CYCLES: usize = 100;
/// One of so many cycles more is run at shipped timers.
const SHIPPED_ONE_IN: usize = 10;
const HOSTS: usize = 5;
const CUT_MAX: usize = 2;
/// P7's own bound.
const EXACT_WITHIN: Duration = Duration::from_secs(30);
/// At shipped timers a replacement is healthy after 40 s; until then the service that keeps it
/// gives nothing up that was healthy before.
const SHIPPED_MOVED_WITHIN: Duration = Duration::from_secs(40 + 30);
const START_PATIENCE: Duration = Duration::from_secs(120);
/// Pace of looking at containers, which tell nobody.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Times that a flapping link goes down in a cycle, at most.
const FLAPS_MAX: usize = 4;

/// Keeps what came back.
const WEB: &str = "web";
/// Keeps what took the place of what was lost.
const MOVED: &str = "moved";
/// Is never replaced.
const SINGLE: &str = "single";
const SERVICES: [(&str, usize); 3] = [(WEB, 10), (MOVED, 5), (SINGLE, 1)];

pub struct Partitions {
    cycles: usize,
    seed: u64,
}

#[derive(Clone, Debug, Default)]
pub struct PartitionCounts {
    asked_cycles: usize,
    seed: u64,
    pub cycles: usize,
    pub shipped_cycles: usize,
    /// Cuts by kind: link, incoming only, outgoing only, flapping.
    pub kinds: BTreeMap<&'static str, usize>,
    /// Cycles in which a replacement was made.
    pub with_loss: usize,
    pub stopped: usize,
    pub originals_restarted: usize,
    pub overlapped: usize,
    pub single_runs: usize,
    pub inexact: usize,
    pub unknown: usize,
    pub samples: usize,
    pub above_maximum: usize,
    /// Of the services that keep their tasks.
    pub slowest_exact_s: f64,
    /// Of all services, and of what their hosts run.
    pub slowest_all_exact_s: f64,
}

/// How long a phase's partitions last, and what its services say of time.
struct Timers {
    name: &'static str,
    tags: &'static [(&'static str, &'static str)],
    least: Duration,
    spread: Duration,
    /// When the service that keeps replacements is exact; the others are within P7's bound.
    moved_within: Duration,
}

const SCALED: Timers = Timers {
    name: "scaled",
    // LOST is never sooner than three missed beats, 1.5 s.
    tags: &[("longshore:lost-after", "1"), ("longshore:healthy-after", "1")],
    least: Duration::from_millis(500),
    spread: Duration::from_millis(4500),
    moved_within: EXACT_WITHIN,
};
const SHIPPED: Timers = Timers {
    name: "shipped",
    tags: &[],
    least: Duration::from_secs(8),
    spread: Duration::from_secs(8),
    moved_within: SHIPPED_MOVED_WITHIN,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Link,
    Incoming,
    Outgoing,
    Flapping,
}

const KINDS: [(Kind, &str); 4] = [
    (Kind::Link, "link"),
    (Kind::Incoming, "incoming"),
    (Kind::Outgoing, "outgoing"),
    (Kind::Flapping, "flapping"),
];

impl Partitions {
    pub fn of(cycles: usize, seed: u64) -> Partitions {
        Partitions { cycles, seed }
    }

    pub async fn run(self) -> Result<PartitionCounts> {
        let shipped = self.cycles / SHIPPED_ONE_IN;
        progress(&format!(
            "p7: {} partitions and {shipped} at shipped timers, seed {}",
            self.cycles, self.seed
        ));
        let settings =
            FleetSettings { hosts: HOSTS, cpu: 4096, memory: 4096, ..Default::default() };
        let fleet = Fleet::start(settings).await?;
        let witness = Witness::in_folder(&fleet.folder().join("witness"))?;
        let client = fleet.ecs()?;
        for definition in [sleeper("task", json!({})), witness.definition(SINGLE)] {
            client.call("RegisterTaskDefinition", definition).await?;
        }
        let mut campaign = Campaign {
            fleet,
            client,
            witness,
            chance: Chance::from_seed(self.seed),
            counts: PartitionCounts {
                asked_cycles: self.cycles + shipped,
                seed: self.seed,
                ..Default::default()
            },
        };
        campaign.phase(&SCALED, self.cycles).await?;
        if shipped > 0 {
            campaign.phase(&SHIPPED, shipped).await?;
            campaign.counts.shipped_cycles = shipped;
        }
        Ok(campaign.counts)
    }
}

impl PartitionCounts {
    pub fn print_and_judge(&self) -> Result<()> {
        figure("seed", self.seed as f64, "seed")?;
        count("cycles", self.cycles)?;
        count("cycles_at_shipped_timers", self.shipped_cycles)?;
        for (kind, cycles) in &self.kinds {
            count(&format!("cycles_{kind}"), *cycles)?;
        }
        count("cycles_with_replacements", self.with_loss)?;
        count("healthy_containers_stopped", self.stopped)?;
        count("originals_restarted", self.originals_restarted)?;
        count("singleton_runs", self.single_runs)?;
        count("singletons_overlapped", self.overlapped)?;
        count("heals_not_exact_in_time", self.inexact)?;
        figure("slowest_exact_s", self.slowest_exact_s, "s")?;
        figure("slowest_all_exact_s", self.slowest_all_exact_s, "s")?;
        count("unknown_containers", self.unknown)?;
        count("samples", self.samples)?;
        count("samples_above_maximum_percent", self.above_maximum)?;
        self.judge()
    }

    pub fn judge(&self) -> Result<()> {
        reached("cycles", self.cycles, self.asked_cycles)?;
        reached("cycles with replacements", self.with_loss, self.asked_cycles / 4)?;
        ensure!(self.stopped == 0, "{} healthy containers were stopped", self.stopped);
        let restarted = self.originals_restarted;
        ensure!(restarted == 0, "{restarted} containers were restarted or replaced after a heal");
        ensure!(self.overlapped == 0, "{} singletons ran at the same time", self.overlapped);
        ensure!(self.inexact == 0, "{} heals were not exact in time", self.inexact);
        ensure!(self.unknown == 0, "{} containers belong to no task", self.unknown);
        let above = self.above_maximum;
        ensure!(above == 0, "{above} samples show more tasks than maximumPercent allows");
        Ok(())
    }
}

struct Campaign {
    fleet: Fleet,
    client: EcsClient,
    witness: Witness,
    chance: Chance,
    counts: PartitionCounts,
}

impl Campaign {
    async fn phase(&mut self, timers: &Timers, cycles: usize) -> Result<()> {
        self.create(timers).await?;
        let mut samplers = Vec::new();
        for (name, desired) in SERVICES {
            let ceiling = if name == SINGLE { 1 } else { desired * 2 };
            samplers.push(Sampler::start(&self.client, name, Bounds { floor: 0, ceiling }));
        }
        for cycle in 1..=cycles {
            self.cycle(timers, cycle).await?;
        }
        for sampler in samplers {
            let Sampled { samples, above_ceiling, .. } = sampler.stop().await?;
            self.counts.samples += samples;
            self.counts.above_maximum += above_ceiling;
        }
        self.delete().await?;
        let runs = self.witness.runs()?;
        self.counts.single_runs = runs.len();
        self.counts.overlapped = overlaps(&runs);
        Ok(())
    }

    async fn cycle(&mut self, timers: &Timers, cycle: usize) -> Result<()> {
        let before = lives(&self.fleet).await?;
        let moved = self.tasks_of(MOVED).await?;
        let first = self.chance.below(HOSTS);
        let mut victims = BTreeSet::from([first]);
        if self.chance.one_in(CUT_MAX) {
            victims.insert((first + 1 + self.chance.below(HOSTS - 1)) % HOSTS);
        }
        let (kind, name) = KINDS[self.chance.below(KINDS.len())];
        let lasts = timers.least + self.chance.up_to(timers.spread);
        let log = self.fleet.coordinator()?.log().clone();
        let from = log.position();
        self.partition(kind, &victims, lasts).await?;
        let during = lives(&self.fleet).await?;
        let stopped = self.stopped(kind, &before, &during, &moved);
        self.counts.stopped += stopped;

        self.heal(&victims)?;
        let healed = Instant::now();
        let kept = timeout(EXACT_WITHIN, self.shows_exactly(&[WEB, SINGLE])).await;
        let kept_seconds = healed.elapsed().as_secs_f64();
        let exact = timeout_at(healed + timers.moved_within, self.exact()).await;
        let seconds = healed.elapsed().as_secs_f64();
        match (kept, exact) {
            (Ok(kept), Ok(exact)) => kept.and(exact)?,
            (Err(_), _) | (_, Err(_)) => {
                self.counts.inexact += 1;
                progress(&format!("p7: WRONG: not exact: {}", self.shown().await?));
                // The next cycle begins with the right counts all the same.
                timeout(START_PATIENCE, self.exact()).await??;
            }
        }
        let lost = log.lines()[from..].iter().any(|line| line.contains("is LOST"));
        self.counts.with_loss += usize::from(lost);
        self.counts.slowest_exact_s = self.counts.slowest_exact_s.max(kept_seconds);
        self.counts.slowest_all_exact_s = self.counts.slowest_all_exact_s.max(seconds);
        let after = lives(&self.fleet).await?;
        let originals = keeping(&before, &moved);
        for life in ended(&originals, &after) {
            progress(&format!("p7: WRONG: {life:?} was not kept"));
            self.counts.originals_restarted += 1;
        }
        self.counts.unknown += self.unknown().await?;
        self.counts.cycles += 1;
        *self.counts.kinds.entry(name).or_default() += 1;
        progress(&format!(
            "p7: {} cycle {cycle}: {name} of {victims:?} for {:.1} s, lost {lost}, stopped \
             {stopped}, exact after {kept_seconds:.1} s, all after {seconds:.1} s",
            timers.name,
            lasts.as_secs_f64(),
        ));
        Ok(())
    }

    /// Containers that ran before the partition and do not run at its end. A link that comes back
    /// heals, and then the service that keeps replacements gives originals up.
    fn stopped(
        &self,
        kind: Kind,
        before: &BTreeMap<String, Life>,
        during: &BTreeMap<String, Life>,
        moved: &[String],
    ) -> usize {
        let before = match kind {
            Kind::Flapping => keeping(before, moved),
            Kind::Link | Kind::Incoming | Kind::Outgoing => before.clone(),
        };
        let stopped = ended(&before, during);
        for life in &stopped {
            progress(&format!("p7: WRONG: {life:?} was stopped by a partition"));
        }
        stopped.len()
    }

    async fn partition(
        &mut self,
        kind: Kind,
        victims: &BTreeSet<usize>,
        lasts: Duration,
    ) -> Result<()> {
        let hosts = victims.iter().map(|host| self.fleet.hosts[*host].network.clone());
        let hosts: Vec<_> = hosts.collect();
        match kind {
            Kind::Link => {
                hosts.iter().try_for_each(|host| host.cut())?;
                sleep(lasts).await;
            }
            Kind::Incoming => {
                hosts.iter().try_for_each(|host| host.cut_incoming())?;
                sleep(lasts).await;
            }
            Kind::Outgoing => {
                hosts.iter().try_for_each(|host| host.cut_outgoing())?;
                sleep(lasts).await;
            }
            Kind::Flapping => {
                for flap in (0..=self.chance.below(FLAPS_MAX)).rev() {
                    hosts.iter().try_for_each(|host| host.cut())?;
                    sleep(self.chance.up_to(lasts)).await;
                    if flap > 0 {
                        hosts.iter().try_for_each(|host| host.heal())?;
                        sleep(self.chance.up_to(lasts / 2)).await;
                    }
                }
            }
        }
        Ok(())
    }

    fn heal(&self, victims: &BTreeSet<usize>) -> Result<()> {
        victims.iter().try_for_each(|host| self.fleet.hosts[*host].network.heal())
    }

    /// Waits until every service shows what it wants, and the hosts run just that.
    async fn exact(&self) -> Result<()> {
        let wanted: usize = SERVICES.iter().map(|(_, desired)| *desired).sum();
        loop {
            self.shows_exactly(&[WEB, MOVED, SINGLE]).await?;
            if lives(&self.fleet).await?.len() == wanted {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until these services show what they want, and every host is heard.
    async fn shows_exactly(&self, names: &[&str]) -> Result<()> {
        loop {
            // Whoever waits for this has a bound of its own.
            let mut counted = self.fleet.all_connected().await.is_ok();
            for (name, desired) in SERVICES.into_iter().filter(|(name, _)| names.contains(name)) {
                let shown = describe(&self.client, name).await?;
                counted &= shown.running() == desired && shown.pending() == 0;
            }
            if counted {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// What there is of each service, for a message.
    async fn shown(&self) -> Result<String> {
        let mut text = String::new();
        for (name, desired) in SERVICES {
            let shown = describe(&self.client, name).await?;
            let (running, pending) = (shown.running(), shown.pending());
            text.push_str(&format!("{name} {running} + {pending} of {desired}, "));
        }
        let containers = lives(&self.fleet).await?.len();
        Ok(format!("{text}{containers} containers"))
    }

    /// Running containers of no task. Those of a task that is being stopped go within a moment.
    async fn unknown(&self) -> Result<usize> {
        let end = Instant::now() + EXACT_WITHIN;
        loop {
            let lives = lives(&self.fleet).await?;
            let tasks = list_all(&self.client, "ListTasks", json!({}), "taskArns").await?;
            let unknown = lives.values().filter(|life| !tasks.contains(&life.task)).count();
            if unknown == 0 || Instant::now() > end {
                return Ok(unknown);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn tasks_of(&self, name: &str) -> Result<Vec<String>> {
        longshore_harness::service::tasks(&self.client, name).await
    }

    async fn create(&self, timers: &Timers) -> Result<()> {
        for (name, desired) in SERVICES {
            let mut all = timers.tags.to_vec();
            let mut more = json!({});
            match name {
                MOVED => all.push(("longshore:reconcile", "keep-replacement")),
                SINGLE => {
                    all.push(("longshore:replace", "false"));
                    more["deploymentConfiguration"] = percents(0, 100);
                }
                _ => {}
            }
            more["tags"] = tags(&all);
            let family = if name == SINGLE { SINGLE } else { "task" };
            self.client.call("CreateService", service(name, family, desired, more)).await?;
        }
        timeout(START_PATIENCE, self.exact()).await??;
        Ok(())
    }

    async fn delete(&self) -> Result<()> {
        for (name, _) in SERVICES {
            let delete = json!({ "service": name, "force": true });
            self.client.call("DeleteService", delete).await?;
        }
        for (name, _) in SERVICES {
            until(&self.client, name, START_PATIENCE, |s| s.status() == "INACTIVE").await?;
        }
        let deadline = Instant::now() + START_PATIENCE;
        while !lives(&self.fleet).await?.is_empty() {
            if Instant::now() > deadline {
                bail!("containers of deleted services are still there");
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

/// What is to be kept also when a lost host is back.
fn keeping(before: &BTreeMap<String, Life>, moved: &[String]) -> BTreeMap<String, Life> {
    let mut kept = before.clone();
    kept.retain(|_, life| !moved.contains(&life.task));
    kept
}
