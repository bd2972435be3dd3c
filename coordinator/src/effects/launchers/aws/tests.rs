//! Rounds against an Auto Scaling group that lives in this process, cut off wherever they can be.

mod group;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use longshore_common::clock::SteppedClock;
use longshore_core::{
    command::EpochCommand,
    model::{
        auto_scaling::{GroupConfig, Instance, LaunchSource, Lifecycle},
        capacity_provider::{CapacityPolicy, LauncherPolicy},
    },
};

use self::group::{Aws, refused};
use super::*;
use crate::{driver, journal::memory::MemoryDisk};

const NOW: Timestamp = Timestamp(1_767_323_045_000);
const LAUNCHER: &str = "ec2";
/// Maximum number of rounds until everything has come to rest.
const ROUNDS_MAX: usize = 30;

struct World {
    aws: Aws,
    disk: MemoryDisk,
    handle: Handle,
    clock: Arc<SteppedClock>,
    memory: Memory,
    incarnation: u64,
}

impl World {
    async fn new() -> World {
        let clock = SteppedClock::at(NOW);
        let world = Self::start(Aws::new(), MemoryDisk::default(), clock, 1).await;
        let config = GroupConfig {
            min: 0,
            max: 10,
            desired: 0,
            cooldown_s: 0,
            grace_s: 0,
            protects_new: false,
            launch: LaunchSource::Template { launcher: LAUNCHER.to_owned(), version: None },
            zones: Vec::new(),
            subnets: None,
            tags: BTreeMap::new(),
        };
        let name = "g".parse().unwrap();
        world
            .call(Command::AutoScaling(AutoScalingCommand::CreateAutoScalingGroup {
                name,
                config: Box::new(config),
            }))
            .await;
        world
    }

    async fn start(
        aws: Aws,
        disk: MemoryDisk,
        clock: Arc<SteppedClock>,
        incarnation: u64,
    ) -> World {
        let mut state = disk.recover();
        let policy = LauncherPolicy {
            boot_deadline: Duration::from_secs(600),
            size: None,
            names_machines: true,
        };
        state.set_capacity_policy(CapacityPolicy {
            launchers: BTreeMap::from([(LAUNCHER.to_owned(), policy)]),
            ..CapacityPolicy::default()
        });
        let mut next = u128::from(incarnation) << 100;
        let entropy = Box::new(move || {
            next += 1 << 64;
            next
        });
        let (handle, _) = driver::start(state, disk.journal(), clock.clone(), entropy);
        let world = World { aws, disk, handle, clock, memory: Memory::default(), incarnation };
        world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation })).await;
        world.call(Command::Epoch(EpochCommand::BeginScheduling)).await;
        world
    }

    async fn call(&self, command: Command) {
        self.handle.submit(command, |_, _| ()).await.unwrap();
    }

    /// A new start on the same journal and the same AWS, with nothing else that was known.
    async fn crash(self) -> World {
        let World { aws, disk, clock, incarnation, handle, .. } = self;
        drop(handle);
        aws.with(|group| group.cut = None);
        Self::start(aws, disk, clock, incarnation + 1).await
    }

    async fn want(&self, desired: u32) {
        let name = "g".parse().unwrap();
        self.call(Command::AutoScaling(AutoScalingCommand::SetDesiredCapacity {
            name,
            desired,
            honour_cooldown: false,
        }))
        .await;
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.call(Command::Epoch(EpochCommand::Tick)).await;
    }

    async fn round(&mut self) -> Next {
        round(&self.handle, &self.aws, LAUNCHER, &mut self.memory, &*self.clock).await
    }

    /// Absent when it is cut off at a call of AWS's.
    async fn round_or_cut(&mut self) -> Option<Next> {
        let aws = self.aws.clone();
        let is_over = || aws.with(|group| group.cut.is_some_and(|(at, _)| at <= group.calls));
        let mut round = std::pin::pin!(self.round());
        // The round goes first: it is cut off where it waits for an answer.
        std::future::poll_fn(|context| match round.as_mut().poll(context) {
            Poll::Ready(next) => Poll::Ready(Some(next)),
            Poll::Pending if is_over() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Rounds and, if one is cut off, a new start, until nothing is to be done.
    async fn settle(mut self) -> World {
        for _ in 0..ROUNDS_MAX {
            let next = self.round_or_cut().await;
            match next {
                None => self = self.crash().await,
                Some(_) if self.is_at_rest() => return self,
                Some(_) => self.pass(Duration::from_secs(1)).await,
            }
        }
        panic!("it does not come to rest: {:?} {:?}", self.instances(), self.asked());
    }

    fn is_at_rest(&self) -> bool {
        let bound = |one: &Instance| {
            one.machine.is_some() && !matches!(one.lifecycle, Lifecycle::Terminating { .. })
        };
        let instances = self.instances();
        instances.iter().all(bound) && instances.len() == self.aws.alive().len()
    }

    fn instances(&self) -> Vec<Instance> {
        self.handle.peek(|state| {
            let group = state.auto_scaling_group("g");
            group.into_iter().flat_map(|group| group.instances.values()).cloned().collect()
        })
    }

    /// Sorted, as AWS's are in the order in which they were launched.
    fn machines(&self) -> Vec<InstanceId> {
        let mut machines: Vec<_> = self.instances().iter().filter_map(|one| one.machine).collect();
        machines.sort();
        machines
    }

    fn asked(&self) -> Vec<String> {
        self.aws.with(|group| std::mem::take(&mut group.asked))
    }

    /// What AWS has is what is recorded, and as many as it was ever to launch.
    fn check(&self, there: usize, launched: u64, when: &str) {
        let alive = self.aws.alive();
        assert_eq!(alive, self.machines(), "{when}");
        self.aws.with(|group| {
            assert_eq!((alive.len(), group.desired as usize), (there, there), "{when}");
            assert_eq!(group.launched, launched, "{when}: none is launched twice");
            assert_eq!(group.chosen, 0, "{when}: AWS chooses nothing");
        });
    }
}

/// Two come, one goes, the other is replaced, all go. `cut` counts AWS's calls from the beginning.
async fn a_life(mut world: World, when: &str) -> World {
    world.want(2).await;
    world = world.settle().await;
    world.check(2, 2, when);
    world.want(1).await;
    world = world.settle().await;
    world.check(1, 2, when);
    let instance = world.machines()[0];
    world
        .call(Command::AutoScaling(AutoScalingCommand::TerminateInstance {
            instance,
            decrement: false,
        }))
        .await;
    world = world.settle().await;
    world.check(1, 3, when);
    assert_ne!(world.machines(), [instance], "{when}");
    world.want(0).await;
    world = world.settle().await;
    world.check(0, 3, when);
    world
}

#[tokio::test]
async fn aws_launches_the_wanted_machines_and_ends_the_named_ones() {
    let world = a_life(World::new().await, "without a cut").await;
    let asked = world.asked();
    let told: Vec<&str> =
        asked.iter().map(String::as_str).filter(|asked| *asked != "describe").collect();
    assert_eq!(
        told,
        [
            "protect new",
            "set desired 2",
            "terminate i-0abc0000000000002 one less",
            "terminate i-0abc0000000000001 to be replaced",
            "terminate i-0abc0000000000003 one less",
        ]
    );
}

#[tokio::test]
async fn coordinator_killed_at_any_call_launches_none_twice() {
    let mut cuts = 0;
    for heard in [false, true] {
        for at in 1.. {
            let world = World::new().await;
            world.aws.with(|group| group.cut = Some((at, heard)));
            let when = format!("cut at call {at}, which AWS has heard: {heard}");
            let world = a_life(world, &when).await;
            if world.aws.with(|group| group.calls) < at {
                break;
            }
            cuts += 1;
        }
    }
    assert!(cuts > 20, "{cuts}");
}

/// Ends a future after it was polled `polls` times.
struct Cut<F> {
    future: Pin<Box<F>>,
    polls: usize,
}

impl<F: Future> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.future.as_mut().poll(context).map(Some)
    }
}

#[tokio::test]
async fn it_may_end_between_any_two_steps_again_and_again() {
    for polls in 1..12 {
        let mut world = World::new().await;
        let when = format!("each round ends after {polls} steps");
        for (desired, launched) in [(3, 3), (1, 3), (2, 4), (0, 4)] {
            world.want(desired).await;
            for _ in 0..4 {
                let round = Box::pin(world.round());
                let whole = Cut { future: round, polls }.await.is_some();
                if !whole {
                    world = world.crash().await;
                }
            }
            world = world.settle().await;
            world.check(desired as usize, launched, &when);
        }
    }
}

#[tokio::test]
async fn what_was_there_before_is_taken_first_and_protected() {
    let mut world = World::new().await;
    world.aws.with(|group| {
        group.desired = 2;
        group.settle();
    });
    world.want(1).await;
    world.round().await;
    assert_eq!(world.machines().len(), 1, "no other is launched for it");
    let world = world.settle().await;
    world.check(1, 2, "one of the two is surplus");
    let asked = world.asked();
    assert!(asked.contains(&"protect 2".to_owned()), "{asked:?}");
}

#[tokio::test]
async fn a_refusal_is_the_instances_error_and_is_tried_again_later() {
    let mut world = World::new().await;
    world
        .aws
        .with(|group| group.refusals = vec![refused("DescribeAutoScalingGroups", "Rate exceeded")]);
    world.want(1).await;
    assert_eq!(world.round().await, Next::Failed(1));
    let error = |world: &World| world.instances()[0].tries.error.clone().unwrap();
    assert_eq!(
        error(&world),
        "AWS refused DescribeAutoScalingGroups: Rate exceeded (ValidationError)"
    );
    world.round().await;
    let asked = world.asked();
    assert!(!asked.iter().any(|asked| asked.starts_with("set")), "not so soon: {asked:?}");
    world.pass(Duration::from_secs(5)).await;
    world.settle().await.check(1, 1, "after the failure");
}

#[tokio::test]
async fn beyond_awss_maximum_what_fits_is_launched_and_the_rest_says_why() {
    let mut world = World::new().await;
    world.aws.with(|group| group.max = 2);
    world.want(3).await;
    for _ in 0..4 {
        world.round().await;
    }
    assert_eq!(world.machines().len(), 2);
    let instances = world.instances();
    let error = instances[2].tries.error.as_deref().unwrap();
    assert!(error.contains("may have 2 instances (MaxSize), and 3 are needed"), "{error}");
    world.aws.with(|group| group.max = 3);
    world.pass(Duration::from_secs(300)).await;
    world.settle().await.check(3, 3, "when it is raised");
}

#[tokio::test]
async fn what_aws_cannot_launch_is_told_with_its_reason() {
    let mut world = World::new().await;
    world.aws.with(|group| group.is_full = true);
    world.want(1).await;
    world.round().await;
    world.round().await;
    assert_eq!(world.instances()[0].tries.error, None, "it may only be slow");
    world.pass(STALLED_AFTER).await;
    world.round().await;
    assert_eq!(world.instances()[0].tries.error.as_deref(), Some("no capacity"));
    world.asked();
    world.round().await;
    assert_eq!(world.asked(), ["describe"], "AWS is not asked all the time");
    world.aws.with(|group| {
        group.is_full = false;
        group.settle();
    });
    let world = world.settle().await;
    world.check(1, 1, "it came at last");
    assert_eq!(world.instances()[0].tries.error, None);
}

#[tokio::test]
async fn awss_own_minimum_is_left_to_it() {
    let mut world = World::new().await;
    world.aws.with(|group| {
        group.min = 1;
        group.desired = 1;
        group.settle();
    });
    world.want(1).await;
    world = world.settle().await;
    world.want(0).await;
    for _ in 0..5 {
        world.round().await;
        world.pass(Duration::from_secs(2)).await;
    }
    let instances = world.instances();
    let error = instances[0].tries.error.as_deref().unwrap();
    assert!(error.contains("keeps 1 instances (MinSize)"), "{error}");
    let asked = world.asked();
    assert!(!asked.iter().any(|asked| asked.starts_with("terminate")), "{asked:?}");
    world.aws.with(|group| assert_eq!((group.launched, group.machines.len()), (1, 1)));
}

#[tokio::test]
async fn a_group_that_aws_does_not_have_ends_nothing() {
    let mut world = World::new().await;
    world.want(1).await;
    world = world.settle().await;
    let (name, region) = ("hosts".to_owned(), "eu-central-1".to_owned());
    for _ in 0..4 {
        let absent = AwsError::NoGroup { name: name.clone(), region: region.clone() };
        world.aws.with(|group| group.refusals = vec![absent]);
        assert!(matches!(world.round().await, Next::Failed(_)));
    }
    assert!(matches!(world.instances()[0].lifecycle, Lifecycle::Pending { launched: Some(_) }));
    world.settle().await.check(1, 1, "when it is there again");
}

#[tokio::test]
async fn machine_that_aws_loses_is_asked_for_again_or_taken_when_replaced() {
    let mut world = World::new().await;
    world.want(2).await;
    world = world.settle().await;
    let lost = world.machines()[0];
    // Found ill: AWS ends it and launches another.
    world.aws.with(|group| {
        group.machines.iter_mut().find(|one| one.id == lost).unwrap().state = MachineState::Leaving;
        group.settle();
    });
    for _ in 0..4 {
        world.round().await;
        world.pass(Duration::from_secs(5)).await;
    }
    let world = world.settle().await;
    world.check(2, 3, "one was replaced");
    assert!(!world.machines().contains(&lost));
}

#[tokio::test]
async fn machine_launched_after_it_was_given_up_is_ended() {
    let mut world = World::new().await;
    world.aws.with(|group| group.is_full = true);
    world.want(1).await;
    world.round().await;
    world.want(0).await;
    // It comes at the last moment: between the list and the smaller number.
    world.aws.with(|group| {
        group.is_full = false;
        group.settle();
    });
    let world = world.settle().await;
    world.check(0, 1, "nothing is left");
    // The same holds when the group is deleted.
    let mut world = world;
    world.aws.with(|group| group.is_full = true);
    world.want(1).await;
    world.round().await;
    world
        .call(Command::AutoScaling(AutoScalingCommand::DeleteAutoScalingGroup {
            name: "g".parse().unwrap(),
            force: true,
        }))
        .await;
    world.aws.with(|group| {
        group.is_full = false;
        group.settle();
    });
    for _ in 0..6 {
        world.round().await;
    }
    assert!(world.handle.peek(|state| state.auto_scaling_group("g").is_none()));
    assert_eq!(world.aws.with(|group| (group.desired, group.machines.len())), (0, 0));
}

#[tokio::test]
async fn a_record_stays_while_aws_may_still_launch_what_it_was_asked_for() {
    let mut world = World::new().await;
    world.aws.with(|group| group.is_full = true);
    world.want(1).await;
    world.round().await;
    world
        .call(Command::AutoScaling(AutoScalingCommand::DeleteAutoScalingGroup {
            name: "g".parse().unwrap(),
            force: true,
        }))
        .await;
    world.aws.with(|group| group.is_busy = true);
    for _ in 0..4 {
        world.round().await;
        world.pass(Duration::from_secs(300)).await;
    }
    assert_eq!(world.instances().len(), 1, "AWS is to have one yet");
    world.aws.with(|group| {
        (group.is_full, group.is_busy) = (false, false);
        group.settle();
    });
    for _ in 0..6 {
        world.round().await;
    }
    assert!(world.instances().is_empty());
    assert_eq!(world.aws.with(|group| (group.desired, group.machines.len())), (0, 0));
}

#[tokio::test]
async fn a_machine_that_is_put_aside_in_aws_is_kept_and_not_replaced() {
    let mut world = World::new().await;
    world.want(2).await;
    world = world.settle().await;
    let aside = world.machines()[0];
    world.aws.with(|group| {
        group.machines.iter_mut().find(|one| one.id == aside).unwrap().state =
            MachineState::Standby;
        group.desired = 1;
    });
    world.asked();
    for _ in 0..4 {
        world.round().await;
        world.pass(Duration::from_secs(5)).await;
    }
    let asked = world.asked();
    assert!(asked.iter().all(|asked| asked == "describe"), "{asked:?}");
    assert_eq!(world.machines().len(), 2);
}

#[tokio::test]
async fn nothing_is_done_while_the_coordinator_does_not_schedule() {
    let world = World::new().await;
    world.want(1).await;
    let World { aws, disk, clock, .. } = world;
    let state = disk.recover();
    let (handle, _) = driver::start(state, disk.journal(), clock.clone(), Box::new(|| 7));
    let mut memory = Memory::default();
    assert_eq!(round(&handle, &aws, LAUNCHER, &mut memory, &*clock).await, Next::Idle);
    assert_eq!(aws.with(|group| group.calls), 0);
}

#[tokio::test]
async fn whatever_happens_on_either_side_they_come_together_and_nothing_leaks() {
    let mut seed = 20_261_127u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let (mut crashes, mut stale) = (0, 0);
    for trial in 0..100 {
        let mut world = World::new().await;
        for _ in 0..40 {
            match random(12) {
                0 | 1 => world.want(random(5) as u32).await,
                2..=5 => {
                    let whole = match random(3) {
                        0 => {
                            let heard = random(2) == 0;
                            let further = 1 + random(4) as usize;
                            world
                                .aws
                                .with(|group| group.cut = Some((group.calls + further, heard)));
                            world.round_or_cut().await.is_some()
                        }
                        1 => {
                            let polls = 1 + random(12) as usize;
                            Cut { future: Box::pin(world.round()), polls }.await.is_some()
                        }
                        _ => {
                            world.round().await;
                            true
                        }
                    };
                    if !whole {
                        world = world.crash().await;
                        crashes += 1;
                    }
                    world.aws.with(|group| group.cut = None);
                }
                6 => world.aws.with(|group| {
                    group.refusals = vec![refused("Any", "Rate exceeded"); 1 + random(3) as usize];
                }),
                7 => world.aws.with(|group| {
                    stale += 1;
                    group.stale = Some((1 + random(2) as u32, group.listed()));
                }),
                8 => world.aws.with(|group| {
                    // Found ill, and replaced.
                    if let Some(one) = group.machines.first_mut() {
                        one.state = MachineState::Leaving;
                    }
                    group.settle();
                }),
                9 => world.aws.with(|group| {
                    group.is_full = !group.is_full;
                    group.settle();
                }),
                10 => {
                    let instances = world.instances();
                    if !instances.is_empty() {
                        let instance = instances[random(instances.len() as u64) as usize].id;
                        let decrement = random(2) == 0;
                        let terminate =
                            Command::AutoScaling(AutoScalingCommand::TerminateInstance {
                                instance,
                                decrement,
                            });
                        let _ = world.handle.submit(terminate, |_, _| ()).await;
                    }
                }
                _ => world.pass(Duration::from_secs(random(700))).await,
            }
        }
        world.aws.with(|group| {
            group.refusals.clear();
            group.stale = None;
            group.is_full = false;
            group.settle();
        });
        world.want(2).await;
        // Hosts never come here, so that instances are given up for others in the end.
        let together = |world: &World| {
            let desired = world.aws.with(|group| group.desired);
            world.is_at_rest() && world.machines() == world.aws.alive() && desired == 2
        };
        for _ in 0..100 {
            world.round().await;
            if together(&world) {
                break;
            }
            world.pass(Duration::from_secs(10)).await;
        }
        let (alive, instances) = (world.aws.alive(), world.instances());
        assert!(together(&world), "trial {trial}: {alive:?} {instances:?}");
        assert_eq!(world.aws.with(|group| group.chosen), 0, "trial {trial}: AWS chooses nothing");
    }
    assert!(crashes > 50 && stale > 50, "{crashes} crashes, {stale} stale lists");
}
