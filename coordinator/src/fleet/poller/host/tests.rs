use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::poll;
use longshore_common::{
    arn::Identity,
    clock::Timestamp,
    id::FleetId,
    machine::MachineMarks,
    protocol::{Epoch, StorageHealth},
    topic::TopicKey,
};
use longshore_core::{
    command::{SettableHostStatus, TagCommand},
    model::{tagged::Resource, tags::Tags},
    step::RULES,
    test_kit::world::{CLUSTER, World, replicas},
};
use tokio::pin;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    driver::{CheckpointPace, JournalWentBack, stepped},
    fleet::poller,
    journal::memory::{MemoryDisk, MemoryJournal},
};

/// Agents that no test asks.
struct Nobody;

impl AgentClient for Nobody {
    async fn poll(&self, _: &Peer, _: PollRequest) -> Result<PollAnswer, PollError> {
        Err(PollError::Timeout(Duration::ZERO))
    }

    fn forget(&self, _: HostId) {}
}

/// An agent that answers every poll with the same claim of what it has seen.
struct Claims {
    seen: Option<Seen>,
    polls: AtomicUsize,
}

impl Claims {
    fn new(seen: Option<Seen>) -> Arc<Self> {
        Arc::new(Claims { seen, polls: AtomicUsize::new(0) })
    }

    fn answer(&self, host: HostId) -> PollAnswer {
        PollAnswer {
            protocol: 1,
            host,
            boot_id: "boot".to_owned(),
            session: 1,
            seen: self.seen,
            machine: Default::default(),
            engine: EngineHealth::Answers,
            storage: Default::default(),
            leaving: false,
            looked: Some(true),
            subscriptions: None,
            outcome: PollOutcome::Accepted {
                reports: Vec::new(),
                needs_manifest: false,
                images: None,
            },
        }
    }
}

/// Maximum number of polls: more are a loop without end, which no clock would stop.
const POLLS_MAX: usize = 1000;

impl AgentClient for Claims {
    async fn poll(&self, peer: &Peer, _: PollRequest) -> Result<PollAnswer, PollError> {
        let polls = self.polls.fetch_add(1, Ordering::Relaxed);
        assert!(polls < POLLS_MAX, "polls have no pace");
        Ok(self.answer(peer.host))
    }

    fn forget(&self, _: HostId) {}
}

fn start(world: World) -> (Handle, stepped::Stepped<MemoryJournal>) {
    let mut next = 0u128;
    let entropy = Box::new(move || {
        next += 1 << 64;
        next
    });
    let journal = MemoryDisk::default().journal();
    stepped::start(world.state, journal, entropy, CheckpointPace::default())
}

fn no_topics() -> Arc<Topics> {
    Arc::new(Topics::new(TopicKey([0; 32]), 1))
}

fn poller_of<A: AgentClient>(host: HostId, handle: &Handle, agents: Arc<A>) -> HostPoller<A> {
    let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
    let sender = Arc::new(Sender { fleet: FleetId::new(1), identity });
    let barrier = Arc::new(StartBarrier::new(std::iter::empty()));
    HostPoller::new(host, sender, handle.clone(), agents, barrier, no_topics())
}

/// Lets the driver do whatever is asked of it until `asking` has its answer.
async fn drive<T>(
    stepped: &mut stepped::Stepped<MemoryJournal>,
    asking: impl Future<Output = T>,
) -> T {
    pin!(asking);
    loop {
        tokio::select! {
            done = &mut asking => return done,
            () = stepped.requested() => {
                stepped.turn(&RULES, Timestamp(2_000_000), |_| ());
                stepped.flush().unwrap();
            }
        }
    }
}

#[tokio::test]
async fn lie_of_one_host_closes_nothing_to_the_others() {
    let world = World::with_hosts(2);
    let (host, epoch) = (world.hosts[0], world.state.epoch());
    let (handle, mut stepped) = start(world);
    let lies = [
        Seen { epoch, order: u64::MAX },
        Seen { epoch, order: 1 },
        Seen { epoch: Epoch { counter: u64::MAX, incarnation: 1 }, order: 0 },
        Seen { epoch: Epoch { counter: 1, incarnation: 9 }, order: u64::MAX },
    ];
    for lie in lies {
        let agents = Claims::new(Some(lie));
        let mut poller = poller_of(host, &handle, agents);
        let greeted = drive(&mut stepped, poller.greet()).await;
        let Err(Again::Silent(why)) = greeted else { panic!("{lie:?} was believed") };
        assert!(why.contains("does not tell the truth"), "{why}");
        assert_eq!(*handle.went_back().borrow(), None, "{lie:?}");
    }
    let cluster = Resource::Cluster(CLUSTER.parse().unwrap());
    let tag = Command::Tag(TagCommand::Tag { resource: cluster, tags: Tags::new() });
    drive(&mut stepped, handle.submit(tag, |_, _| ())).await.unwrap();
}

/// The agent never says what it has seen, so that orders always seem to wait.
#[tokio::test(start_paused = true)]
async fn agent_that_holds_no_poll_is_polled_once_a_beat() {
    let mut world = World::with_hosts(1);
    world.create(replicas(1));
    let host = world.hosts[0];
    let (handle, mut stepped) = start(world);
    let agents = Claims::new(None);
    let poller = poller_of(host, &handle, agents.clone());
    let watched = tokio::time::timeout(Duration::from_secs(60), poller.run());
    assert!(drive(&mut stepped, watched).await.is_err());
    let polls = agents.polls.load(Ordering::Relaxed);
    assert!((60..=180).contains(&polls), "{polls} polls in 60 s");
}

/// A host's proof may be a lie that nobody can tell from the truth: the way out is open.
#[tokio::test]
async fn host_whose_proof_is_not_believed_can_be_thrown_out() {
    let world = World::with_hosts(1);
    let (host, epoch) = (world.hosts[0], world.state.epoch());
    let (handle, mut stepped) = start(world);
    let proof = Epoch { counter: epoch.counter + 3, incarnation: 777 };
    let agents = Claims::new(Some(Seen { epoch: proof, order: 5 }));
    let mut poller = poller_of(host, &handle, agents.clone());
    assert!(matches!(drive(&mut stepped, poller.greet()).await, Err(Again::Unfamiliar)));
    assert!(handle.went_back().borrow().is_some());
    let cluster = Resource::Cluster(CLUSTER.parse().unwrap());
    let tag = Command::Tag(TagCommand::Tag { resource: cluster, tags: Tags::new() });
    let refused = drive(&mut stepped, handle.submit(tag, |_, _| ())).await;
    assert!(matches!(refused, Err(Refused::JournalWentBack(_))), "{refused:?}");
    let cluster = CLUSTER.parse().unwrap();
    let deregister =
        Command::Host(HostCommand::DeregisterContainerInstance { cluster, host, force: true });
    drive(&mut stepped, handle.submit(deregister, |_, _| ())).await.unwrap();
    drive(&mut stepped, handle.recover(3)).await.unwrap();
    assert!(matches!(drive(&mut stepped, poller.greet()).await, Err(Again::Ended)));
    assert_eq!(*handle.went_back().borrow(), None);
}

/// What a host claims of the lost part of a journal is taken over only as far as numbers reach.
#[tokio::test]
async fn order_number_that_nobody_reaches_is_not_taken_over() {
    let mut world = World::with_hosts(1);
    world
        .call(Command::Epoch(EpochCommand::Recover { beyond: 9, incarnation: 3, proved: None }))
        .unwrap();
    let host = world.hosts[0];
    let to = u64::MAX;
    world.call(Command::Epoch(EpochCommand::SkipLostOrders { host, to })).unwrap();
    assert_eq!(world.state.host(host).unwrap().last_order, 0);
    world.create(replicas(1));
    // Services wait for the hosts' word first.
    world.pass(90.0);
    let given = world.state.host(host).unwrap().last_order;
    assert_eq!(given, 1);
    let (handle, mut stepped) = start(world);
    let lost = Epoch { counter: 8, incarnation: 777 };
    for (order, taken_over) in [(u64::MAX, given), (40, 40)] {
        let agents = Claims::new(Some(Seen { epoch: lost, order }));
        let mut poller = poller_of(host, &handle, agents);
        assert!(drive(&mut stepped, poller.greet()).await.is_err());
        assert_eq!(handle.peek(|state| state.host(host).unwrap().last_order), taken_over);
    }
}

/// Until the operator has spoken, hosts are asked what they have seen, and for nothing else.
#[tokio::test]
async fn restored_journal_is_held_until_recover_goes_beyond_its_hosts() {
    let mut world = World::with_hosts(1);
    let (host, epoch) = (world.hosts[0], world.state.epoch());
    world.state.set_restored(Some(world.state.seq()));
    let (handle, mut stepped) = start(world);
    let restored = JournalWentBack::Restored { proof: None };
    assert_eq!(*handle.went_back().borrow(), Some(restored));
    let counter = epoch.counter + 3;
    let agents = Claims::new(Some(Seen { epoch: Epoch { counter, incarnation: 7 }, order: 5 }));
    let mut poller = poller_of(host, &handle, agents.clone());
    let recovers = async {
        while handle.went_back().borrow().as_ref().unwrap().proof().is_none() {
            tokio::task::yield_now().await;
        }
        let cluster = Resource::Cluster(CLUSTER.parse().unwrap());
        let tag = Command::Tag(TagCommand::Tag { resource: cluster, tags: Tags::new() });
        let refused = handle.submit(tag, |_, _| ()).await;
        assert!(matches!(refused, Err(Refused::JournalWentBack(_))), "{refused:?}");
        handle.recover(3).await.unwrap();
    };
    let both = async { tokio::join!(poller.greet(), recovers) };
    let (greeted, ()) = drive(&mut stepped, both).await;
    assert!(matches!(greeted, Err(Again::Unfamiliar)));
    assert_eq!(agents.polls.load(Ordering::Relaxed), 1);
    assert_eq!(*handle.went_back().borrow(), None);
    assert_eq!(handle.peek(State::epoch).counter, counter + 1);
    // It obeys now, once its orders are numbered above those that are lost.
    assert!(drive(&mut stepped, poller.greet()).await.is_err());
    assert!(drive(&mut stepped, poller.greet()).await.is_ok());
}

#[tokio::test]
async fn host_heard_after_recover_of_a_backup_raises_the_alarm_again() {
    let mut world = World::with_hosts(1);
    let host = world.hosts[0];
    world.state.set_restored(Some(world.state.seq()));
    let (handle, mut stepped) = start(world);
    drive(&mut stepped, handle.recover(3)).await.unwrap();
    let counter = handle.peek(State::epoch).counter + 3;
    let agents = Claims::new(Some(Seen { epoch: Epoch { counter, incarnation: 7 }, order: 0 }));
    let mut poller = poller_of(host, &handle, agents);
    assert!(drive(&mut stepped, poller.greet()).await.is_err());
    let evidence = handle.went_back().borrow().clone();
    assert!(matches!(evidence, Some(JournalWentBack::Proved(_))), "{evidence:?}");
    drive(&mut stepped, handle.recover(4)).await.unwrap();
    assert_eq!(handle.peek(State::epoch).counter, counter + 1);
    assert!(drive(&mut stepped, poller.greet()).await.is_ok());
}

/// As after a restart in which one host was heard at once and proved it, and the other a little later.
#[tokio::test]
async fn recover_goes_beyond_a_host_that_was_heard_after_the_alarm() {
    let world = World::with_hosts(2);
    let (hosts, ours) = (world.hosts.clone(), world.state.epoch().counter);
    let (handle, mut stepped) = start(world);
    let claims = |ahead: u64| {
        Claims::new(Some(Seen { epoch: Epoch { counter: ours + ahead, incarnation: 7 }, order: 0 }))
    };
    let mut first = poller_of(hosts[0], &handle, claims(1));
    assert!(drive(&mut stepped, first.greet()).await.is_err());
    let mut later = poller_of(hosts[1], &handle, claims(3));
    let recovers = async {
        while handle.went_back().borrow().as_ref().unwrap().proof().unwrap().host != hosts[1] {
            tokio::task::yield_now().await;
        }
        handle.recover(3).await.unwrap();
    };
    let both = async { tokio::join!(later.greet(), recovers) };
    let (greeted, ()) = drive(&mut stepped, both).await;
    assert!(matches!(greeted, Err(Again::Unfamiliar)));
    assert!(handle.hearing().has_heard(hosts[1]));
    assert_eq!(handle.peek(State::epoch).counter, ours + 4);
    assert!(drive(&mut stepped, first.greet()).await.is_ok());
    assert!(drive(&mut stepped, later.greet()).await.is_ok());
}

/// Metrics, `recover` and whoever describes the host rely on this.
#[tokio::test(start_paused = true)]
async fn host_that_is_silent_while_recover_is_awaited_is_disconnected() {
    let mut world = World::with_hosts(1);
    let host = world.hosts[0];
    world.state.set_restored(Some(world.state.seq()));
    let (handle, mut stepped) = start(world);
    let connected = || handle.peek(|state| state.host(host).unwrap().connected);
    assert!(connected());
    let silent = async {
        while connected() {
            tokio::task::yield_now().await;
        }
    };
    let polls = poller_of(host, &handle, Arc::new(Nobody)).run();
    let both = async {
        tokio::select! { () = polls => {}, () = silent => {} }
    };
    drive(&mut stepped, both).await;
    assert!(!connected());
    assert!(!handle.hearing().has_heard(host));
}

/// An operator starts the coordinator and calls `recover` in the same line.
#[tokio::test(start_paused = true)]
async fn recover_waits_until_hosts_had_the_time_to_be_heard() {
    let mut world = World::with_hosts(1);
    let ours = world.state.epoch().counter;
    world.state.set_restored(Some(world.state.seq()));
    let (handle, mut stepped) = start(world);
    handle.hearing().begin();
    let seen = Seen { epoch: Epoch { counter: ours + 3, incarnation: 7 }, order: 0 };
    let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
    let agents = Claims::new(Some(seen));
    let shutdown = CancellationToken::new();
    let polls = poller::run(
        handle.clone(),
        agents,
        FleetId::new(1),
        identity,
        no_topics(),
        shutdown.clone(),
    );
    let recovers = async {
        handle.recover(3).await.unwrap();
        shutdown.cancel();
    };
    let both = async { tokio::join!(biased; recovers, polls) };
    drive(&mut stepped, both).await;
    assert_eq!(handle.peek(State::epoch).counter, ours + 4);
}

/// A hello still shows the earlier start, and nothing happens on this host afterwards.
#[tokio::test]
async fn quiet_host_is_believed_only_until_it_has_told_all() {
    let mut world = World::with_hosts(1);
    world
        .call(Command::Epoch(EpochCommand::Recover { beyond: 9, incarnation: 3, proved: None }))
        .unwrap();
    let (host, ours) = (world.hosts[0], world.state.epoch());
    let (handle, mut stepped) = start(world);
    for (epoch, told_all) in [(Epoch { counter: 8, incarnation: 7 }, 0), (ours, ours.counter)] {
        let agents = Claims::new(Some(Seen { epoch, order: 0 }));
        let answer = agents.answer(host);
        let mut poller = poller_of(host, &handle, agents);
        assert!(drive(&mut stepped, poller.take(&answer)).await.is_ok());
        assert_eq!(handle.peek(|state| state.host(host).unwrap().told_all), told_all);
    }
}

/// One notice drains once: an operator may make the host ACTIVE again.
#[tokio::test]
async fn host_that_leaves_is_drained_once_for_each_notice() {
    let world = World::with_hosts(1);
    let host = world.hosts[0];
    let (handle, mut stepped) = start(world);
    let mut poller = poller_of(host, &handle, Arc::new(Nobody));
    for (leaving, drains) in
        [(false, false), (true, true), (true, false), (false, false), (true, true)]
    {
        let answer = PollAnswer {
            protocol: 1,
            host,
            boot_id: "boot".to_owned(),
            session: 7,
            seen: None,
            machine: MachineMarks::default(),
            engine: EngineHealth::Answers,
            storage: StorageHealth::Ready,
            leaving,
            looked: Some(true),
            subscriptions: None,
            outcome: PollOutcome::Accepted { reports: vec![], needs_manifest: false, images: None },
        };
        {
            let taken = poller.take(&answer);
            pin!(taken);
            while poll!(&mut taken).is_pending() {
                stepped.requested().await;
                stepped.turn(&RULES, Timestamp(2_000_000), |_| ());
                stepped.flush().unwrap();
            }
        }
        let status = handle.peek(|state| state.host(host).unwrap().status);
        assert_eq!(status == HostStatus::Draining, drains, "{leaving}");
        // The operator wants it all the same.
        let (cluster, hosts) = (CLUSTER.parse().unwrap(), vec![host]);
        let status = SettableHostStatus::Active;
        let active =
            Command::Host(HostCommand::UpdateContainerInstancesState { cluster, hosts, status });
        let active = handle.submit(active, |_, _| ());
        pin!(active);
        assert!(poll!(&mut active).is_pending());
        stepped.requested().await;
        stepped.turn(&RULES, Timestamp(2_000_000), |_| ());
        stepped.flush().unwrap();
        active.await.unwrap();
    }
}

/// An order shows a definition, a revision, a cluster: whichever of them is newer than the disk.
#[tokio::test]
async fn orders_wait_until_all_that_they_show_is_durable() {
    let mut world = World::with_hosts(1);
    world.create(replicas(1));
    let host = world.hosts[0];
    let (handle, mut stepped) = start(world);
    let poller = poller_of(host, &handle, Arc::new(Nobody));
    let polled = |state: &State, host: &Host, sender: &Sender| {
        (exchange::poll(state, host, sender, AgentPeer::default(), 0), ())
    };
    let (_, request, ()) = poller.prepare(polled).await.ok().unwrap();
    assert_eq!(request.manifest.unwrap().orders.len(), 1);

    // Nothing of the host itself changes.
    let before = handle.peek(|state| state.host(host).unwrap().changed_seq);
    let cluster = Resource::Cluster(CLUSTER.parse().unwrap());
    let tags = Tags::from([("team".to_owned(), "a".to_owned())]);
    let tag = handle.submit(Command::Tag(TagCommand::Tag { resource: cluster, tags }), |_, _| ());
    pin!(tag);
    assert!(poll!(&mut tag).is_pending());
    stepped.requested().await;
    stepped.turn(&RULES, Timestamp(2_000_000), |_| ());
    assert_eq!(handle.peek(|state| state.host(host).unwrap().changed_seq), before);
    let prepared = poller.prepare(polled);
    pin!(prepared);
    assert!(poll!(&mut prepared).is_pending(), "an order shows what a crash would undo");
    stepped.flush().unwrap();
    assert!(poll!(&mut prepared).is_ready());
}
