//! Random desired counts, percentages, deployments, failures and hosts, step by step.
//!
//! Each world has one service. At every step the bounds are checked; from time to time the trouble
//! stops, and the service must become steady in bounded time.

use std::{collections::BTreeSet, time::Duration};

use longshore_common::{
    clock::Timestamp,
    id::TaskId,
    protocol::{Desired, ReportedPhase},
    task::HealthStatus,
};

use crate::{
    Command, Event,
    command::{AttachmentStatus, ClusterCommand, EpochCommand, SettableHostStatus, TaskCommand},
    event::TaskEvent,
    model::{
        attachment::{AttachmentKind, AttachmentSpec},
        capacity_provider::{CapacityPolicy, FARGATE, FARGATE_SPOT, HostMark, StrategyItem},
        cluster::ClusterCapacity,
        host::HostStatus,
        name::CapacityProviderName,
        revision::Rollout,
        task::{Phase, Wish},
    },
    placement::{AVAILABILITY_ZONE, Resource, SpreadOver, Strategy},
    query::Constraint,
    state::{Standing, Task},
    test_kit::{
        recorder::Recorder,
        world::{CLUSTER, Sabotage, World, bounded, replicas},
    },
};

/// Number of steps in every run of the tests; `LONGSHORE_TROUBLE_STEPS` gives the whole million.
pub(super) const STEPS_FAST: u64 = 20_000;
/// Seed of the first world.
pub(super) const SEED: u64 = 20_261_124;
/// Number of steps in one world.
const STEPS_OF_A_WORLD: u64 = 400;
/// Maximum number of hosts in one world.
const HOSTS_MAX: usize = 8;
/// Number of steps from one comparison with what a start would give to the next.
const STEPS_BETWEEN_STARTS: u64 = 100;

/// SplitMix64.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[self.below(of.len() as u64) as usize])
    }
}

/// Takes at least `steps` steps and says how many it took.
pub(super) fn run(steps: u64, seed: u64) -> u64 {
    // Read when this is compiled: the core asks no environment, its tests included.
    let asked = option_env!("LONGSHORE_TROUBLE_STEPS").and_then(|steps| steps.parse().ok());
    let steps = asked.unwrap_or(steps);
    let (mut taken, mut number) = (0, 0);
    while taken < steps {
        let seed = seed + number;
        let outcome = std::panic::catch_unwind(|| Trial::new(seed).run());
        match outcome {
            Ok(more) => taken += more,
            Err(panic) => {
                eprintln!("seed {seed} of the trouble");
                std::panic::resume_unwind(panic);
            }
        }
        number += 1;
    }
    println!("trouble: {taken} steps, {number} worlds from seed {seed}");
    taken
}

pub(super) struct Trial {
    world: World,
    chance: Chance,
    /// Tasks of this family never start.
    broken: bool,
    checked: bool,
    family: &'static str,
    steps: u64,
    /// Healthy tasks before the step.
    served: BTreeSet<TaskId>,
}

impl Trial {
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let hosts = 1 + chance.below(HOSTS_MAX as u64) as usize;
        let mut world = World::with_hosts(hosts);
        world.record(Recorder::default());
        let mut world = world.forgetful();
        world.define("checked", 10, true);
        // One of these fills a host.
        world.define("big", 2500, false);
        let checked = chance.below(3) == 0;
        let family = if checked {
            "checked"
        } else if chance.below(3) == 0 {
            "big"
        } else {
            "app"
        };
        let (minimum, maximum) = percentages(&mut chance);
        let mut config = bounded(chance.below(14) as u32, minimum, maximum);
        config.strategies = strategies(&mut chance);
        config.distinct_instance = chance.below(6) == 0;
        config.deployment.circuit_breaker.enable = chance.below(2) == 0;
        config.deployment.circuit_breaker.rollback = chance.below(2) == 0;
        let over_zones = match config.strategies.first() {
            None => true,
            Some(Strategy::Spread(SpreadOver::Attribute(_))) => true,
            Some(_) => false,
        };
        config.az_rebalancing = over_zones && maximum > 100 && chance.below(2) == 0;
        if chance.below(3) == 0 {
            let holds = "runningTasksCount >= 0 and not(attribute:rack exists)";
            config.member_of = vec![Constraint::parse(holds).unwrap()];
        }
        if chance.below(3) == 0 {
            by_two_providers(&mut world, &mut chance);
        }
        config.options.rebalance_hosts = Some(chance.below(3) == 0);
        config.options.replace = Some(chance.below(4) > 0);
        if chance.below(4) == 0 {
            let spec = |kind: AttachmentKind| AttachmentSpec { kind, name: kind.name().to_owned() };
            let kinds = AttachmentKind::ALL.into_iter().filter(|_| chance.below(3) > 0);
            config.options.attachments = kinds.map(spec).collect();
        }
        world.create_named("s", family, config);
        Trial { world, chance, broken: false, checked, family, steps: 0, served: BTreeSet::new() }
    }

    pub(super) fn sabotaged(mut self, sabotage: Sabotage) -> Self {
        self.world.sabotage = Some(sabotage);
        self
    }

    pub(super) fn run(mut self) -> u64 {
        for _ in 0..STEPS_OF_A_WORLD {
            self.trouble();
            self.check();
            self.steps += 1;
            if self.steps.is_multiple_of(STEPS_BETWEEN_STARTS) {
                self.a_start_gives_back_the_state();
            }
        }
        self.a_start_gives_back_the_state();
        self.calm();
        self.steps
    }

    fn a_start_gives_back_the_state(&self) {
        assert_eq!(self.world.faults(), Vec::<String>::new());
        assert!(self.world.checkpoints() > 3, "{} checkpoints", self.world.checkpoints());
    }

    fn trouble(&mut self) {
        let healthy = |task: &&Task| task.standing() == Some(Standing::Healthy);
        self.served = self.world.tasks().into_iter().filter(healthy).map(|task| task.id).collect();
        match self.chance.below(26) {
            24 | 25 => self.world.attachments_follow(),
            22 | 23 => self.one_attachment(),
            21 => {
                let hosts = self.world.hosts.clone();
                let names = ["busybox:latest", "other:1"];
                if let (Some(host), Some(name)) =
                    (self.chance.pick(&hosts), self.chance.pick(&names))
                {
                    self.world.holds_image(host, name);
                }
            }
            20 => {
                let tasks = self.world.running();
                if let Some(task) = self.chance.pick(&tasks) {
                    let (cluster, minutes) = (CLUSTER.parse().unwrap(), Some(1));
                    let tasks = vec![task];
                    let protect = Command::Task(TaskCommand::UpdateTaskProtection {
                        cluster,
                        tasks,
                        minutes,
                    });
                    self.world.call(protect).unwrap();
                }
            }
            0 => {
                let desired = self.chance.below(14) as u32;
                self.world.scale(desired);
            }
            1 => {
                self.broken = self.chance.below(3) == 0;
                self.world.deploy(self.family);
            }
            2 => {
                let (minimum, maximum) = percentages(&mut self.chance);
                self.world.update(|update| {
                    update.deployment.minimum_healthy_percent = Some(minimum);
                    update.deployment.maximum_percent = Some(maximum);
                    update.az_rebalancing = (maximum == 100).then_some(false);
                });
            }
            3 => self.host_trouble(),
            4 => {
                let running = self.world.running();
                if let Some(task) = self.chance.pick(&running) {
                    self.world.exits(task);
                }
            }
            5 => {
                let running = self.world.running();
                if let Some(task) = self.chance.pick(&running) {
                    let health = [HealthStatus::Healthy, HealthStatus::Unhealthy];
                    let health = health[self.chance.below(2) as usize];
                    self.world.set_health(task, health);
                }
            }
            6 | 7 => {
                let seconds = self.chance.below(30) as f64;
                self.world.pass(seconds);
            }
            _ => self.one_report(),
        }
    }

    fn host_trouble(&mut self) {
        let hosts = self.world.hosts.clone();
        let Some(host) = self.chance.pick(&hosts) else { return };
        match self.chance.below(6) {
            0 => self.world.cut(host),
            1 => self.world.heal(host),
            2 => self.world.set_status(host, SettableHostStatus::Draining),
            3 => self.world.set_status(host, SettableHostStatus::Active),
            4 if hosts.len() < HOSTS_MAX => {
                self.world.add_host();
            }
            _ => {
                let incarnation = self.steps;
                self.world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation })).unwrap();
            }
        }
    }

    /// Whoever attaches says the next thing of one attachment, or time passes until it is too late.
    fn one_attachment(&mut self) {
        let mut asked = Vec::new();
        for task in self.world.tasks() {
            let list = task.attachments.iter().flat_map(|attachments| &attachments.list);
            asked.extend((0..).zip(list).map(|(position, _)| (task.id, position)));
        }
        let Some((task, position)) = self.chance.pick(&asked) else { return };
        match self.chance.below(8) {
            0 => self.world.pass(700.0),
            1 => drop(self.world.submit(task, position, AttachmentStatus::Failed)),
            2..=4 => drop(self.world.submit(task, position, AttachmentStatus::Attached)),
            _ => drop(self.world.submit(task, position, AttachmentStatus::Detached)),
        }
    }

    /// One agent says the next thing of one of its tasks.
    fn one_report(&mut self) {
        let heard: Vec<(TaskId, ReportedPhase)> = self
            .world
            .tasks()
            .into_iter()
            .filter(|task| self.world.state.host_at(task.host).connected)
            .filter_map(|task| {
                let says_running =
                    task.report.as_ref().is_some_and(|said| said.phase == ReportedPhase::Running);
                let phase = match (task.ordered()?, &task.wish, task.phase) {
                    (Desired::Stop, Wish::Stop { cause, .. }, Phase::Stopping { .. }) => {
                        ReportedPhase::Stopped(cause.clone())
                    }
                    (Desired::Stop, Wish::Stop { cause, .. }, _) => {
                        ReportedPhase::Stopping(cause.clone())
                    }
                    (Desired::Run, Wish::Stop { cause, .. }, Phase::Deactivating { .. }) => {
                        ReportedPhase::Stopping(cause.clone())
                    }
                    (Desired::Run, _, Phase::Pending) => ReportedPhase::Activating,
                    (Desired::Run, _, Phase::Activating) if !says_running => ReportedPhase::Running,
                    _ => return None,
                };
                Some((task.id, phase))
            })
            .collect();
        if heard.is_empty() {
            return self.world.pass(1.0);
        }
        let (task, phase) = heard[self.chance.below(heard.len() as u64) as usize].clone();
        match phase {
            ReportedPhase::Running if self.broken => self.world.starts_fail(),
            ReportedPhase::Running => {
                self.world.report(task, phase);
                if self.checked && self.chance.below(8) > 0 {
                    self.world.set_health(task, HealthStatus::Healthy);
                }
            }
            _ => self.world.report(task, phase),
        }
    }

    fn check(&mut self) {
        self.bounds_of_the_call();
        self.what_must_not_be_stopped();
        self.silent_hosts_are_lost();
        let service = self.world.service();
        // Every count is what the tasks say.
        for revision in &service.revisions {
            let mut wanted = 0;
            for slot in revision.tasks.values() {
                match self.world.state.task_at(*slot).standing() {
                    Some(
                        Standing::Pending
                        | Standing::Blocked
                        | Standing::Settling
                        | Standing::Healthy
                        | Standing::Unhealthy,
                    ) => wanted += 1,
                    Some(
                        Standing::LeavingPending
                        | Standing::LeavingRunning
                        | Standing::Stopping
                        | Standing::Deprovisioning
                        | Standing::Lost,
                    ) => {}
                    None => panic!("a task of a service stands for nothing"),
                }
            }
            assert_eq!(wanted, revision.counts.wanted());
        }
        if !service.config.options.replace.unwrap_or(true) {
            self.no_more_copies_than_desired();
        }
    }

    fn what_must_not_be_stopped(&self) {
        for event in &self.world.recent {
            let Event::Task(TaskEvent::TasksStopRequested { tasks, failed: false, at, .. }) = event
            else {
                continue;
            };
            for task in tasks.iter().filter_map(|task| self.world.state.task(*task)) {
                let protected = task.service.as_ref().is_some_and(|of| of.is_protected(*at));
                assert!(!protected, "a protected task was scaled in");
            }
        }
    }

    fn silent_hosts_are_lost(&self) {
        let state = &self.world.state;
        for task in self.world.tasks() {
            let Some(of) = &task.service else { continue };
            let Some(since) = state.silent_since(state.host_at(task.host)) else { continue };
            // The shipped lost_after, and the beats that are never less.
            let lost = self.world.at.since(since) > Duration::from_secs(10);
            assert!(!lost || of.lost, "a task of a silent host counts as running");
        }
    }

    /// What was started fits under the ceiling, and what was stopped left the floor standing.
    fn bounds_of_the_call(&self) {
        let service = self.world.service();
        let config = &service.config.deployment;
        let desired = service.config.desired;
        let recent = &self.world.recent;
        let shown = service.running() + service.pending();
        if recent.iter().any(|event| matches!(event, Event::Task(TaskEvent::TasksStarted(_)))) {
            let ceiling = config.running_ceiling(desired);
            assert!(shown <= ceiling, "started: {shown} of at most {ceiling}, {desired} desired");
        }
        let scaled = recent.iter().any(|event| {
            matches!(event, Event::Task(TaskEvent::TasksStopRequested { failed: false, tasks, .. })
                if tasks.iter().any(|task| self.served.contains(task)))
        });
        if scaled {
            let primary = service.primary;
            let serving: u32 = service
                .revisions
                .iter()
                .map(|revision| {
                    let counts = &revision.counts;
                    let settling = match Some(revision.record.id) == primary {
                        true => counts.draining(Standing::Settling),
                        false => counts.of(Standing::Settling),
                    };
                    counts.of(Standing::Healthy) + settling
                })
                .sum();
            // With no revision to go back to, a draining host is emptied whatever is left.
            let stranded = service.primary().is_some_and(|p| p.record.rollout == Rollout::Failed)
                && service.completed.is_none_or(|id| Some(id) == primary);
            if stranded {
                return;
            }
            // One that never runs twice stops before it starts.
            let replaces = service.config.options.replace.unwrap_or(true);
            let most = if replaces { desired } else { desired.saturating_sub(1) };
            let floor = config.healthy_floor(desired).min(most);
            // What the call itself took away is not the scheduler's doing.
            let taken = |event: &&Event| match event {
                Event::Task(TaskEvent::TasksLost { tasks, .. }) => {
                    tasks.iter().any(|t| self.served.contains(t))
                }
                Event::Task(TaskEvent::TaskStopped { task, .. })
                | Event::Task(TaskEvent::TaskReported { task, .. }) => self.served.contains(task),
                _ => false,
            };
            let taken = recent.iter().filter(taken).count() > 0;
            assert!(
                serving >= floor || taken,
                "stopped: {serving} serve of at least {floor} after {recent:#?}"
            );
        }
    }

    /// A service that does not replace never starts a copy beside one that may still run.
    fn no_more_copies_than_desired(&self) {
        let started = self
            .world
            .recent
            .iter()
            .any(|event| matches!(event, Event::Task(TaskEvent::TasksStarted(_))));
        let service = self.world.service();
        let slots = service.revisions.iter().flat_map(|revision| revision.tasks.values());
        let standings = slots.map(|slot| self.world.state.task_at(*slot).standing());
        let copies = standings.filter(|of| *of != Some(Standing::Deprovisioning)).count();
        let desired = service.config.desired as usize;
        assert!(
            !started || copies <= desired,
            "{copies} copies of {desired} may run after {:#?}",
            self.world.recent
        );
    }

    /// What fits is started once all hosts are back and nobody updates anything.
    fn uses_the_room_there_is(&mut self) {
        for _ in 0..50 {
            self.world.agents_work();
            self.world.attachments_follow();
            let next = self.world.state.next_wake();
            let later = Timestamp(self.world.at.0 + 2_000_000);
            self.world.at = next.filter(|wake| *wake <= later).unwrap_or(later);
            self.world.call(Command::Epoch(EpochCommand::Tick)).unwrap();
        }
        let service = self.world.service();
        let Some(primary) = service.primary() else { return };
        let desired = service.config.desired;
        let shown = service.running() + service.pending();
        let mut ceiling = service.config.deployment.running_ceiling(desired);
        if !service.config.options.replace.unwrap_or(true) {
            ceiling = ceiling.min(desired);
        }
        let short = primary.counts.wanted() + primary.counts.of(Standing::Lost) < desired
            && shown < ceiling
            && primary.record.rollout != Rollout::Failed
            && primary.counts.leaving() == 0;
        let (state, demand) = (&self.world.state, memory_of(self.family));
        let holders = service.config.distinct_instance;
        let free = self.world.hosts.iter().any(|host| {
            let host = state.host(*host).unwrap();
            let left = state.cluster(CLUSTER).unwrap().index.remaining(host.slot).unwrap();
            host.status == HostStatus::Active
                && left.memory >= demand
                && (!holders || host.tasks.is_empty())
        });
        assert!(!(short && free), "room is left unused: {}", self.world.counts());
    }

    /// The trouble stops: hosts are back, images are good, checks pass.
    fn calm(&mut self) {
        for host in self.world.hosts.clone() {
            if self.world.state.host(host).unwrap().status == HostStatus::Draining {
                self.world.set_status(host, SettableHostStatus::Active);
            }
            self.world.heal(host);
        }
        self.broken = false;
        self.uses_the_room_there_is();
        // A failed deployment launches nothing until an update.
        let failed = |world: &World| {
            world.service().primary().is_some_and(|p| p.record.rollout == Rollout::Failed)
        };
        if failed(&self.world)
            || self.world.service().config.distinct_instance
            || self.family == "big"
        {
            let hosts = self.world.hosts.len() as u32;
            self.world.update(|update| update.desired = Some(hosts.min(5)));
            self.world.deploy(self.family);
        }
        // Bounds under which every move is legal.
        self.world.update(|update| {
            update.deployment.minimum_healthy_percent = Some(50);
            update.deployment.maximum_percent = Some(200);
        });
        if self.world.service().config.distinct_instance || self.family == "big" {
            self.world.update(|update| update.deployment.minimum_healthy_percent = Some(0));
        }
        for _ in 0..600 {
            self.world.agents_work();
            self.world.attachments_follow();
            if self.checked {
                for task in self.world.running() {
                    let healthy = self.world.state.task(task).and_then(|t| t.checked_health);
                    if healthy != Some(HealthStatus::Healthy) {
                        self.world.set_health(task, HealthStatus::Healthy);
                    }
                }
            }
            let service = self.world.service();
            if service.steady {
                assert_eq!(service.running(), service.config.desired);
                assert_eq!(service.pending(), 0);
                assert!(service.under_way().is_none());
                let mut revisions = service.revisions.iter().map(|revision| revision.record.id);
                let needed = [service.primary, service.completed];
                assert!(revisions.all(|id| needed.contains(&Some(id))), "a revision is kept");
                let lost = |task: &&Task| task.service.as_ref().is_some_and(|of| of.lost);
                assert!(!self.world.tasks().iter().any(lost), "a lost task did not return");
                return;
            }
            match self.world.state.next_wake() {
                Some(wake) => {
                    self.world.at = self.world.at.max(wake);
                    self.world.call(Command::Epoch(EpochCommand::Tick)).unwrap();
                }
                None => {
                    let runs = |task: &Task| {
                        task.wish == Wish::Run && matches!(task.phase, Phase::Running { .. })
                    };
                    let work = !self.world.tasks().into_iter().all(runs);
                    assert!(work, "stuck: {}", self.world.counts());
                }
            }
        }
        panic!(
            "not steady: {} of {} desired, {:?}",
            self.world.counts(),
            self.world.service().config.desired,
            self.world.service().deployment
        );
    }
}

fn percentages(chance: &mut Chance) -> (u32, u32) {
    let minimum = [0, 25, 50, 75, 100][chance.below(5) as usize];
    let maximum = [100, 125, 150, 200][chance.below(4) as usize];
    if minimum == 100 && maximum == 100 { (50, 100) } else { (minimum, maximum) }
}

/// Two capacity providers whose hosts are all there are, so that what fits is what fitted without.
pub(super) fn by_two_providers(world: &mut World, chance: &mut Chance) {
    let names = [FARGATE, FARGATE_SPOT].map(|name| name.parse::<CapacityProviderName>().unwrap());
    let mark = HostMark { attribute: AVAILABILITY_ZONE.to_owned(), value: None };
    let fargate = names.clone().map(|name| (name, mark.clone())).into();
    world.state.set_capacity_policy(CapacityPolicy { fargate, ..CapacityPolicy::default() });
    let (base, weights) = (chance.below(4) as u32, [1, chance.below(4) as u32]);
    let items = names.iter().zip(weights).zip([base, 0]);
    let default_strategy = items
        .map(|((provider, weight), base)| StrategyItem {
            provider: provider.clone(),
            base,
            weight,
            by_launch_type: false,
        })
        .collect();
    let capacity = ClusterCapacity { providers: names.to_vec(), default_strategy };
    let cluster = CLUSTER.parse().unwrap();
    world
        .call(Command::Cluster(ClusterCommand::PutClusterCapacityProviders { cluster, capacity }))
        .unwrap();
}

fn strategies(chance: &mut Chance) -> Vec<Strategy> {
    match chance.below(5) {
        0 => vec![Strategy::Binpack(Resource::Memory)],
        1 => vec![Strategy::Random],
        2 => vec![Strategy::Spread(SpreadOver::Instance)],
        3 => vec![
            Strategy::Spread(SpreadOver::Attribute(AVAILABILITY_ZONE.to_owned())),
            Strategy::Binpack(Resource::Cpu),
        ],
        _ => replicas(0).strategies,
    }
}

/// MiB of one task.
fn memory_of(family: &str) -> i64 {
    if family == "big" { 2500 } else { 10 }
}
