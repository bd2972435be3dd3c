//! Two agents with one identity: a copied data directory, disk or machine. The host stays the one
//! that it was, and the copy is told what to do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use longshore_agent::{
    engine::supervisor::EngineStopped,
    fleet::{
        identity::Identity,
        join::{CallError, Membership},
        poll_endpoint::{self, AnswersPolls},
    },
};
use longshore_common::{
    arn,
    id::HostId,
    machine::{AgentRun, MachineMarks},
    protocol::{PollAnswer, PollRequest, RegisterRequest},
};
use longshore_coordinator::fleet::{poller, topics::Topics};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use super::setting::{Fleet, Host, answer, registration};

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers polls as one run of an agent, and counts them.
#[derive(Clone)]
struct Run {
    run: AgentRun,
    polled: Arc<watch::Sender<u64>>,
}

impl AnswersPolls for Run {
    async fn poll(&self, request: PollRequest) -> Result<PollAnswer, EngineStopped> {
        self.polled.send_modify(|polled| *polled += 1);
        // What a parked poll would do, so that the poller does not spin.
        if request.hold_ms > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (session, machine) = (self.run.session, self.run.machine.clone());
        Ok(PollAnswer { session, machine, ..answer(request.host) })
    }
}

/// An agent that runs: its poll endpoint, and where that is.
struct Agent {
    membership: Membership,
    address: String,
    polled: watch::Receiver<u64>,
    ends: CancellationToken,
}

impl Agent {
    async fn start(fleet: &Fleet, host: &Host, run: AgentRun, address: &str) -> Self {
        let mut entry = host.entry.clone();
        entry.run = run.clone();
        let (membership, _) = fleet.enter(&entry).await.unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, polled) = watch::channel(0);
        let polls = Run { run, polled: Arc::new(sender) };
        let (clock, ends) = (fleet.dyn_clock(), fleet.shutdown.child_token());
        let (member, until) = (membership.clone(), ends.clone());
        tokio::spawn(async move {
            let Membership { presented, trust, .. } = &member;
            poll_endpoint::serve(listener, clock, presented, trust, polls, until).await.unwrap();
        });
        Agent { membership, address, polled, ends }
    }

    async fn register(&self) -> Result<(), CallError> {
        let poll_address = self.address.clone();
        let request = RegisterRequest { poll_address, ..registration("default") };
        self.membership.register(&request).await.map(drop)
    }

    /// Until two polls arrived after now: the first one's answer is then in the state.
    async fn heard(&mut self) {
        let now = *self.polled.borrow();
        let heard = self.polled.wait_for(|polled| *polled >= now + 2);
        tokio::time::timeout(PATIENCE, heard).await.expect("polled").unwrap();
    }

    fn polls(&self) -> u64 {
        *self.polled.borrow()
    }
}

fn start_polling(fleet: &Fleet) {
    let identity = arn::Identity { region: "us-east-1".into(), account: "0".repeat(12) };
    let (handle, until) = (fleet.handle.clone(), fleet.shutdown.clone());
    let (client, id) = (Arc::new(fleet.client()), fleet.authority.fleet());
    let topics = Arc::new(Topics::new(fleet.authority.topic_key(), 1));
    tokio::spawn(async move { poller::run(handle, client, id, identity, topics, until).await });
}

fn run(session: u64, installation: &str, hardware: &str) -> AgentRun {
    AgentRun { session, machine: MachineMarks::new(Some(installation), Some(hardware)) }
}

async fn place(fleet: &Fleet, host: HostId) -> (String, bool) {
    let place = |state: &longshore_core::State| {
        let host = state.host(host).unwrap();
        (host.agent.as_ref().unwrap().poll_address.clone(), host.connected)
    };
    fleet.handle.read(place).await.unwrap()
}

async fn disconnected(fleet: &Fleet, host: HostId) {
    let signal = fleet.handle.signals().listen(host);
    let gone = async {
        while place(fleet, host).await.1 {
            let _ = tokio::time::timeout(Duration::from_millis(50), signal.changed()).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("its silence is noticed");
}

/// The sentence of a refusal, after the one attempt that is answered "try again".
async fn refusal(agent: &Agent) -> (u16, String) {
    for _ in 0..2 {
        match agent.register().await.unwrap_err() {
            error @ CallError::Refused { .. } if error.is_passing() => {}
            CallError::Refused { status, message } => return (status.as_u16(), message),
            other => panic!("{other:?}"),
        }
    }
    panic!("refused for a passing reason only")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_refused_while_its_original_lives() {
    // The same machine marks are those of a machine whose disk and firmware were both copied.
    let copies = [run(2, "a", "u"), run(3, "b", "u"), run(4, "a", "v"), run(5, "b", "v")];
    let mut cells = 0;
    for copied in copies {
        let fleet = Fleet::start(0xc10 + u128::from(copied.session)).await;
        start_polling(&fleet);
        let host = fleet.host().await;
        let mut original = Agent::start(&fleet, &host, run(1, "a", "u"), "127.0.0.1:0").await;
        original.register().await.unwrap();
        original.heard().await;

        let copy = Agent::start(&fleet, &host, copied.clone(), "127.0.0.1:0").await;
        let (status, message) = refusal(&copy).await;
        assert_eq!(status, 409, "{message}");
        assert!(message.contains("identity.json") && message.contains("join token"), "{message}");
        let (address, connected) = place(&fleet, original.membership.host).await;
        assert_eq!((address, connected), (original.address.clone(), true), "{copied:?}");
        original.heard().await;
        assert_eq!(copy.polls(), 0, "nothing that a copy says counts");

        // The copy does not get a certificate of its own either.
        let mut entry = host.entry.clone();
        entry.run = copied;
        fleet.clock.advance(Duration::from_secs(20 * 3600));
        let kept = std::fs::read(Identity::path(host.directory.path())).unwrap();
        let (_, mut renewal) = fleet.enter(&entry).await.unwrap();
        let error = renewal.renew_if_due().await.unwrap_err();
        let error = longshore_common::telemetry::chain(&error);
        assert!(error.contains("the coordinator refused"), "{error}");
        assert_eq!(std::fs::read(Identity::path(host.directory.path())).unwrap(), kept);
        cells += 1;
    }
    println!("copies_refused {cells} cells");
    assert_eq!(cells, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_on_another_machine_is_refused_after_its_original_is_gone() {
    let fleet = Fleet::start(0xc20).await;
    start_polling(&fleet);
    let host = fleet.host().await;
    let mut original = Agent::start(&fleet, &host, run(1, "a", "u"), "127.0.0.1:0").await;
    original.register().await.unwrap();
    original.heard().await;
    original.ends.cancel();
    disconnected(&fleet, original.membership.host).await;

    // It registers from another address, or answers at the very address of the original.
    let elsewhere = Agent::start(&fleet, &host, run(2, "a", "v"), "127.0.0.1:0").await;
    let (status, message) = refusal(&elsewhere).await;
    assert_eq!(status, 409);
    assert!(message.contains("belongs to another machine"), "{message}");
    let mut in_its_place = Agent::start(&fleet, &host, run(3, "b", "u"), &original.address).await;
    assert_eq!(refusal(&in_its_place).await.0, 409);
    in_its_place.heard().await;
    assert!(!place(&fleet, original.membership.host).await.1, "it is polled and not believed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_or_moved_agent_is_not_taken_for_a_copy() {
    let fleet = Fleet::start(0xc30).await;
    start_polling(&fleet);
    let host = fleet.host().await;
    let mut first = Agent::start(&fleet, &host, run(1, "a", "u"), "127.0.0.1:0").await;
    let id = first.membership.host;
    first.register().await.unwrap();
    first.heard().await;

    // Restarted where it was, whether or not the end of the first one was noticed.
    first.ends.cancel();
    let address = first.address.clone();
    let mut second = loop {
        // The listener closes a moment after it was told to.
        if TcpListener::bind(&address).await.is_ok() {
            break Agent::start(&fleet, &host, run(2, "a", "u"), &address).await;
        }
        tokio::task::yield_now().await;
    };
    second.register().await.unwrap();
    second.heard().await;

    // Says something new of itself while it runs.
    second.register().await.unwrap();

    // Restarted at another address, after its silence was noticed.
    second.ends.cancel();
    disconnected(&fleet, id).await;
    let mut third = Agent::start(&fleet, &host, run(3, "a", "u"), "127.0.0.1:0").await;
    third.register().await.unwrap();
    third.heard().await;
    assert_eq!(place(&fleet, id).await, (third.address.clone(), true));

    // An agent of before says nothing of its machine, and is the host at the host's address.
    third.ends.cancel();
    let silent = AgentRun { session: 4, machine: MachineMarks::default() };
    disconnected(&fleet, id).await;
    let mut fourth = Agent::start(&fleet, &host, silent, "127.0.0.1:0").await;
    fourth.register().await.unwrap();
    fourth.heard().await;
    // And the machine is still known after it.
    let copy = Agent::start(&fleet, &host, run(5, "b", "u"), "127.0.0.1:0").await;
    assert!(refusal(&copy).await.1.contains("belongs to another machine"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_without_its_identity_joins_as_a_host_of_its_own() {
    static SESSION: AtomicU64 = AtomicU64::new(10);
    let fleet = Fleet::start(0xc40).await;
    start_polling(&fleet);
    let host = fleet.host().await;
    let mut original = Agent::start(&fleet, &host, run(1, "a", "u"), "127.0.0.1:0").await;
    original.register().await.unwrap();
    original.heard().await;
    let directory = tempfile::tempdir().unwrap();
    let mut entry = fleet.entry(directory.path(), Some(fleet.token(Some(1)).await));
    entry.run = run(SESSION.fetch_add(1, Ordering::SeqCst), "b", "v");
    let (membership, renewal) = fleet.enter(&entry).await.unwrap();
    assert_ne!(membership.host, original.membership.host);
    let other = Host { membership, renewal, directory, entry };
    let mut agent = Agent::start(&fleet, &other, other.entry.run.clone(), "127.0.0.1:0").await;
    agent.register().await.unwrap();
    agent.heard().await;
    original.heard().await;
}
