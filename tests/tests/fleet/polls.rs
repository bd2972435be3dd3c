//! The poll's transport: one connection, two polls at once, failures that tell what failed.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use longshore_agent::{engine::supervisor::EngineStopped, fleet::poll_endpoint::AnswersPolls};
use longshore_common::{
    id::{FleetId, HostId},
    limits::POLL_BODY_BYTES_MAX,
    protocol::{PollAnswer, PollRequest},
};
use longshore_coordinator::fleet::client::{
    AgentClient, Connect, HttpClient, Opened, Peer, PollError, TlsConnect,
};
use tokio::{io::DuplexStream, net::TcpListener, sync::Notify};

use super::setting::{CountedPolls, Fleet, answer, poll_of};

/// Counts the connections that are opened.
struct Counting<C> {
    connect: C,
    opened: Arc<AtomicUsize>,
}

impl<C: Connect> Connect for Counting<C> {
    type Stream = C::Stream;

    async fn connect(&self, peer: &Peer) -> Result<Opened<C::Stream>, PollError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        self.connect.connect(peer).await
    }
}

/// Parks a poll that asks to be held until one arrives that does not: as the engine does.
#[derive(Clone, Default)]
struct ParkingPolls {
    parked: Arc<Notify>,
    release: Arc<Notify>,
}

impl AnswersPolls for ParkingPolls {
    async fn poll(&self, request: PollRequest) -> Result<PollAnswer, EngineStopped> {
        if request.hold_ms > 0 {
            self.parked.notify_one();
            self.release.notified().await;
        } else {
            self.release.notify_one();
        }
        Ok(answer(request.host))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_poll_passes_the_parked_one_on_the_same_connection() {
    let fleet = Fleet::start(0xd1).await;
    let host = fleet.host().await;
    let polls = ParkingPolls::default();
    let peer = host.serve(&fleet, polls.clone()).await;
    let opened = Arc::new(AtomicUsize::new(0));
    let connect: Counting<TlsConnect> =
        Counting { connect: fleet.connect(), opened: opened.clone() };
    let client = Arc::new(HttpClient::new(connect));
    for _ in 0..50 {
        let parked = tokio::spawn({
            let (client, peer) = (client.clone(), peer.clone());
            async move { client.poll(&peer, poll_of(&peer, 60_000)).await }
        });
        polls.parked.notified().await;
        client.poll(&peer, poll_of(&peer, 0)).await.unwrap();
        parked.await.unwrap().unwrap();
    }
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    client.forget(peer.host);
    client.poll(&peer, poll_of(&peer, 0)).await.unwrap();
    assert_eq!(opened.load(Ordering::SeqCst), 2, "forgotten means closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_that_start_together_share_one_new_connection() {
    let fleet = Fleet::start(0xd2).await;
    let host = fleet.host().await;
    let polls = CountedPolls::default();
    let peer = host.serve(&fleet, polls.clone()).await;
    let opened = Arc::new(AtomicUsize::new(0));
    let client = HttpClient::new(Counting { connect: fleet.connect(), opened: opened.clone() });
    let together = (0..4).map(|_| client.poll(&peer, poll_of(&peer, 0)));
    for polled in futures_util::future::join_all(together).await {
        polled.unwrap();
    }
    assert_eq!((polls.reached(), opened.load(Ordering::SeqCst)), (4, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_agent_is_lost_while_parked_and_refused_after_that() {
    let fleet = Fleet::start(0xd3).await;
    let host = fleet.host().await;
    let polls = ParkingPolls::default();
    let peer = host.serve(&fleet, polls.clone()).await;
    let client = Arc::new(fleet.client());
    let parked = tokio::spawn({
        let (client, peer) = (client.clone(), peer.clone());
        async move { client.poll(&peer, poll_of(&peer, 60_000)).await }
    });
    polls.parked.notified().await;
    fleet.shutdown.cancel();
    let error = parked.await.unwrap().unwrap_err();
    assert!(matches!(error, PollError::Lost(_)) && error.is_disconnection(), "{error:?}");
    // The listener closes a moment after its connections.
    let error = loop {
        match client.poll(&peer, poll_of(&peer, 0)).await.unwrap_err() {
            PollError::Lost(_) => tokio::task::yield_now().await,
            other => break other,
        }
    };
    assert!(matches!(error, PollError::Refused(_)) && error.is_disconnection(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_takes_connections_and_says_nothing_times_out() {
    let fleet = Fleet::start(0xd4).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let peer = Peer { host: HostId::new(1), fleet: fleet.authority.fleet(), address };
    let error = fleet.client().poll(&peer, poll_of(&peer, 0)).await.unwrap_err();
    assert!(matches!(error, PollError::Timeout(_)) && !error.is_disconnection(), "{error:?}");
    let nowhere = Peer { address: "no-such-host.invalid:51680".into(), ..peer };
    let error = fleet.client().poll(&nowhere, poll_of(&nowhere, 0)).await.unwrap_err();
    assert!(matches!(error, PollError::Unreachable(_)), "{error:?}");
}

/// A network without sockets, at whose other end something answers in its own way.
struct Simulated(fn() -> Response<Full<Bytes>>);

impl Connect for Simulated {
    type Stream = DuplexStream;

    async fn connect(&self, _: &Peer) -> Result<Opened<DuplexStream>, PollError> {
        let (stream, other_end) = tokio::io::duplex(64 * 1024);
        let respond = self.0;
        let service = service_fn(move |_| async move { Ok::<_, Infallible>(respond()) });
        let serve = http2::Builder::new(TokioExecutor::new());
        tokio::spawn(serve.serve_connection(TokioIo::new(other_end), service));
        Ok(Opened { stream, usable_for: Duration::MAX })
    }
}

/// A network on which connections are made when told so, and of which only the second answers.
#[derive(Clone, Default)]
struct Stuck {
    begun: Arc<AtomicUsize>,
    connecting: Arc<Notify>,
    may_connect: Arc<Notify>,
    asked: Arc<Notify>,
}

impl Connect for Stuck {
    type Stream = DuplexStream;

    async fn connect(&self, _: &Peer) -> Result<Opened<DuplexStream>, PollError> {
        let answers = self.begun.fetch_add(1, Ordering::SeqCst) > 0;
        self.connecting.notify_one();
        self.may_connect.notified().await;
        let (stream, other_end) = tokio::io::duplex(64 * 1024);
        let asked = self.asked.clone();
        let service = service_fn(move |_| {
            asked.notify_one();
            async move {
                if !answers {
                    std::future::pending::<()>().await;
                }
                let body = rmp_serde::to_vec_named(&answer(HostId::new(1))).unwrap();
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(body)))
            }
        });
        let serve = http2::Builder::new(TokioExecutor::new());
        tokio::spawn(serve.serve_connection(TokioIo::new(other_end), service));
        Ok(Opened { stream, usable_for: Duration::MAX })
    }
}

#[tokio::test]
async fn poll_given_up_keeps_the_new_connection_and_ends_the_old() {
    let (host, fleet) = (HostId::new(1), FleetId::new(2));
    let peer = Peer { host, fleet, address: "simulated".into() };
    let stuck = Stuck::default();
    let client = HttpClient::new(stuck.clone());
    let give_up_at = async |moment: &Notify| {
        tokio::select! {
            ended = client.poll(&peer, poll_of(&peer, 0)) => panic!("it ended: {ended:?}"),
            () = moment.notified() => {}
        }
    };
    give_up_at(&stuck.connecting).await;
    stuck.may_connect.notify_one();
    // On the connection that was made for the first: new for the second, old for the third.
    give_up_at(&stuck.asked).await;
    give_up_at(&stuck.asked).await;
    assert_eq!(stuck.begun.load(Ordering::SeqCst), 1);
    stuck.may_connect.notify_one();
    client.poll(&peer, poll_of(&peer, 0)).await.unwrap();
    client.poll(&peer, poll_of(&peer, 0)).await.unwrap();
    assert_eq!(stuck.begun.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_answer_that_is_no_answer_is_told_apart() {
    async fn error_of(respond: fn() -> Response<Full<Bytes>>) -> PollError {
        let (host, fleet) = (HostId::new(1), FleetId::new(2));
        let peer = Peer { host, fleet, address: "simulated".into() };
        let client = HttpClient::new(Simulated(respond));
        client.poll(&peer, poll_of(&peer, 0)).await.unwrap_err()
    }
    let error = error_of(|| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    });
    assert!(matches!(error.await, PollError::Status(StatusCode::SERVICE_UNAVAILABLE)));
    let error = error_of(|| Response::new(Full::from("not an answer")));
    assert!(matches!(error.await, PollError::Undecodable(_)));
    let error = error_of(|| Response::new(vec![0; POLL_BODY_BYTES_MAX + 1].into()));
    assert!(matches!(error.await, PollError::TooLarge(POLL_BODY_BYTES_MAX)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_coordinator_finds_room_whoever_crowds_the_poll_port() {
    let fleet = Fleet::start(0xd6).await;
    let host = fleet.host().await;
    let polls = CountedPolls::default();
    let peer = host.serve(&fleet, polls.clone()).await;
    // As many silent connections as several tasks can open, and the coordinator among them.
    let mut crowd = Vec::new();
    for round in 1..=10 {
        for _ in 0..40 {
            crowd.push(tokio::net::TcpStream::connect(&peer.address).await.unwrap());
        }
        fleet.client().poll(&peer, poll_of(&peer, 0)).await.unwrap();
        assert_eq!(polls.reached(), round);
    }
    // Connections that a coordinator left behind do not keep the next one out either.
    let clients: Vec<_> = (0..20).map(|_| fleet.client()).collect();
    for client in &clients {
        client.poll(&peer, poll_of(&peer, 0)).await.unwrap();
    }
    assert_eq!(polls.reached(), 30);
    println!("poll_port_crowd {} connections", crowd.len());
}
