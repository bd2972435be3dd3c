//! A coordinator's fleet without its polling: CA, state machine, joining port, a stepped clock.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use longshore_agent::{
    engine::supervisor::EngineStopped,
    fleet::{
        join::{self, EnterError, FleetEntry, Membership, Renewal},
        poll_endpoint::{self, AnswersPolls},
    },
};
use longshore_common::{
    arn::Identity,
    clock::{Clock, SteppedClock, Timestamp},
    id::{FleetId, HostId},
    join_token::JoinToken,
    machine::{AgentRun, MachineMarks},
    protocol::{
        EngineHealth, Epoch, PROTOCOL_VERSION, PollAnswer, PollOutcome, PollRequest,
        RegisterRequest, StorageHealth, Versions,
    },
    resources::Capacity,
};
use longshore_coordinator::{
    driver::{self, Handle},
    fleet::{
        client::{HttpClient, Peer, TlsConnect},
        join::{Admission, make_token},
    },
    journal::memory::MemoryDisk,
    pki::{Authority, OwnCertificate},
    random::Random,
};
use longshore_core::{Command, command::TokenCommand, model::name::ClusterName};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const START: Timestamp = Timestamp(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

pub(crate) struct Fleet {
    pub(crate) authority: Arc<Authority>,
    pub(crate) clock: Arc<SteppedClock>,
    pub(crate) own: OwnCertificate,
    pub(crate) handle: Handle,
    pub(crate) joining: SocketAddr,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) shutdown: CancellationToken,
    _ends_with_this: DropGuard,
}

impl Fleet {
    pub(crate) async fn start(fleet: u128) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = SteppedClock::at(START);
        let authority = Authority::open(directory.path(), FleetId::new(fleet), 0, START).unwrap();
        let authority = Arc::new(authority);
        let own = OwnCertificate::issue(authority.clone(), START).unwrap();
        let disk = MemoryDisk::default();
        let mut drawn = fleet << 64;
        let entropy = Box::new(move || {
            drawn += 1;
            drawn
        });
        let (handle, _) = driver::start(disk.recover(), disk.journal(), clock.clone(), entropy);
        let shutdown = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let joining = listener.local_addr().unwrap();
        let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
        let admission = Admission::new(handle.clone(), identity.into());
        let (server, presented) = (authority.clone(), own.presented());
        let (server_clock, until) = (clock.clone(), shutdown.clone());
        tokio::spawn(async move {
            let served = longshore_coordinator::fleet::join::serve(
                listener,
                server,
                &presented,
                admission,
                server_clock,
                until,
            );
            served.await.unwrap();
        });
        let _ends_with_this = shutdown.clone().drop_guard();
        Fleet { authority, clock, own, handle, joining, directory, shutdown, _ends_with_this }
    }

    pub(crate) fn dyn_clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// A token for an hour.
    pub(crate) async fn token(&self, uses: Option<u32>) -> JoinToken {
        self.token_with_id(uses, None).await.0
    }

    pub(crate) async fn token_with_id(
        &self,
        uses: Option<u32>,
        cluster: Option<&str>,
    ) -> (JoinToken, String) {
        let expires_at = self.clock.wall().saturating_add(HOUR);
        let cluster = cluster.map(|name| name.parse::<ClusterName>().unwrap());
        let made =
            make_token(&Random::of_system(), self.authority.hash(), cluster, expires_at, uses)
                .unwrap();
        let id = made.kept.id.clone();
        self.handle
            .submit(Command::Token(TokenCommand::CreateJoinToken(made.kept)), |_, _| ())
            .await
            .unwrap();
        (made.word, id)
    }

    pub(crate) fn entry(&self, directory: &Path, token: Option<JoinToken>) -> FleetEntry {
        let (coordinator, directory) = (self.joining.to_string(), directory.to_owned());
        FleetEntry { coordinator, token, host: None, directory, run: AgentRun::default() }
    }

    pub(crate) async fn enter(
        &self,
        entry: &FleetEntry,
    ) -> Result<(Membership, Renewal), EnterError> {
        join::enter(entry, self.dyn_clock()).await
    }

    /// A host that has joined.
    pub(crate) async fn host(&self) -> Host {
        let directory = tempfile::tempdir().unwrap();
        let entry = self.entry(directory.path(), Some(self.token(Some(1)).await));
        let (membership, renewal) = self.enter(&entry).await.unwrap();
        Host { membership, renewal, directory, entry }
    }

    /// Lets time pass, for hosts and for the coordinator's own certificate.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.own.renew_if_due(self.clock.wall()).unwrap();
    }

    pub(crate) fn client(&self) -> HttpClient<TlsConnect> {
        HttpClient::new(self.connect())
    }

    pub(crate) fn connect(&self) -> TlsConnect {
        let trust = self.authority.trust().unwrap();
        TlsConnect::new(self.dyn_clock(), &self.own.presented(), &trust).unwrap()
    }
}

pub(crate) struct Host {
    pub(crate) membership: Membership,
    pub(crate) renewal: Renewal,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) entry: FleetEntry,
}

impl Host {
    /// Starts the poll endpoint and says where.
    pub(crate) async fn serve(&self, fleet: &Fleet, polls: impl AnswersPolls) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let membership = self.membership.clone();
        let (clock, until) = (fleet.dyn_clock(), fleet.shutdown.clone());
        tokio::spawn(async move {
            let Membership { presented, trust, .. } = &membership;
            poll_endpoint::serve(listener, clock, presented, trust, polls, until).await.unwrap();
        });
        Peer { host: self.membership.host, fleet: self.membership.fleet, address }
    }
}

/// Answers at once, and counts what reached it.
#[derive(Clone, Default)]
pub(crate) struct CountedPolls(Arc<AtomicUsize>);

impl CountedPolls {
    pub(crate) fn reached(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl AnswersPolls for CountedPolls {
    async fn poll(&self, request: PollRequest) -> Result<PollAnswer, EngineStopped> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(answer(request.host))
    }
}

pub(crate) fn poll_of(peer: &Peer, hold_ms: u32) -> PollRequest {
    PollRequest {
        protocol: PROTOCOL_VERSION,
        fleet: peer.fleet,
        host: peer.host,
        epoch: Epoch { counter: 1, incarnation: 1 },
        hold_ms,
        acknowledged: None,
        definitions: vec![],
        orders: vec![],
        last_order: 0,
        digest: Default::default(),
        manifest: None,
        images: None,
        sections: Vec::new(),
        knows_subscriptions: false,
    }
}

pub(crate) fn answer(host: HostId) -> PollAnswer {
    PollAnswer {
        protocol: PROTOCOL_VERSION,
        host,
        boot_id: "boot".into(),
        session: 1,
        seen: None,
        machine: MachineMarks::default(),
        engine: EngineHealth::Unknown,
        storage: StorageHealth::Unknown,
        leaving: false,
        looked: Some(true),
        subscriptions: None,
        outcome: PollOutcome::Accepted { reports: vec![], needs_manifest: false, images: None },
    }
}

pub(crate) fn registration(cluster: &str) -> RegisterRequest {
    RegisterRequest {
        protocol: PROTOCOL_VERSION,
        cluster: cluster.into(),
        capacity: Capacity::default(),
        attributes: vec![],
        tags: vec![],
        versions: Versions::default(),
        poll_address: "127.0.0.1:51680".into(),
        advertise: "127.0.0.1".into(),
        instance_id: None,
        boot_id: "boot".into(),
        run: None,
    }
}
