//! Registrations, polls and answers of earlier programs are read in every field: the coordinator and
//! its agents are not replaced in the same moment.

use std::{path::Path, sync::Arc};

use longshore_common::{
    clock::Timestamp,
    id::{FleetId, HostId, TaskId},
    machine::{AgentRun, MachineMarks},
    protocol::{
        Attribute, ContainerReport, ContainerStatus, Desired, DesiredDigest, EngineHealth, Epoch,
        HeldImages, Manifest, NetworkBinding, Order, OrderKind, PROTOCOL_VERSION, PollAnswer,
        PollOutcome, PollRequest, PullReport, Refusal, RegisterRequest, Report, ReportBody,
        ReportPosition, ReportedPhase, RunIntent, Seen, StorageHealth, TaskReport, Versions,
    },
    resources::{Capacity, CpuUnits, HostPort, MemoryMib, Transport},
    task::{HealthStatus, StopCause, StopCode},
    topic::{
        self, Basis, Section, Subscription, TopicChange, TopicKey, TopicMap, TopicName, TopicState,
        TopicVersion,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{assert_contains, describe, files, next};
use crate::engine::plan::sample::every_member;

const REGISTRATIONS: &str = "registrations.msgpack";
const POLLS: &str = "polls.msgpack";
const ANSWERS: &str = "poll-answers.msgpack";

const FLEET: FleetId = FleetId::new(0xf1ee7);
const HOST: HostId = HostId::new(0x4057);
const EPOCH: Epoch = Epoch { counter: 9, incarnation: u64::MAX };
const POSITION: ReportPosition = ReportPosition { session: u64::MAX, seq: 1 << 40 };

#[test]
fn messages_of_earlier_programs_are_read_in_every_field() {
    are_read::<RegisterRequest>(REGISTRATIONS);
    are_read::<PollRequest>(POLLS);
    are_read::<PollAnswer>(ANSWERS);
}

#[test]
#[ignore = "writes messages for later programs to read: see golden"]
fn golden_messages_of_these_programs_are_written() {
    write(REGISTRATIONS, &registrations());
    write(POLLS, &polls());
    write(ANSWERS, &answers());
}

fn are_read<T: DeserializeOwned + Serialize>(name: &str) {
    for (file, expected) in files(name) {
        assert_contains(&held::<T>(&file), &expected, &file.display().to_string());
    }
}

fn held<T: DeserializeOwned + Serialize>(file: &Path) -> Value {
    let messages: Vec<T> = rmp_serde::from_slice(&fs_err::read(file).unwrap()).unwrap();
    serde_json::to_value(messages).unwrap()
}

fn write<T: DeserializeOwned + Serialize>(name: &str, messages: &[T]) {
    let file = next(name);
    fs_err::write(&file, rmp_serde::to_vec_named(messages).unwrap()).unwrap();
    describe(&file, &held::<T>(&file));
}

fn marks() -> MachineMarks {
    MachineMarks { installation: Some("5b".repeat(16)), hardware: Some("1f".repeat(16)) }
}

fn registrations() -> Vec<RegisterRequest> {
    let attribute = |name: &str, value: Option<&str>| Attribute {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    let full = RegisterRequest {
        protocol: PROTOCOL_VERSION,
        cluster: "web".to_owned(),
        capacity: Capacity {
            cpu: CpuUnits(4096),
            memory: MemoryMib(7680),
            reserved_ports: [Transport::Tcp, Transport::Udp]
                .map(|transport| HostPort { port: 51_680, transport })
                .into(),
            gpus: ["GPU-1".to_owned()].into(),
        },
        attributes: vec![attribute("ecs.os-type", Some("linux")), attribute("ssd", None)],
        tags: vec![("team".to_owned(), "läuft".to_owned())],
        versions: Versions {
            agent: "1.90.0".to_owned(),
            agent_hash: "5b1f".to_owned(),
            docker: Some("28.2.1".to_owned()),
        },
        poll_address: "[::1]:51680".to_owned(),
        advertise: "::1".to_owned(),
        instance_id: Some("i-0123".to_owned()),
        boot_id: "a boot".to_owned(),
        run: Some(AgentRun { session: u64::MAX, machine: marks() }),
    };
    let mut bare = full.clone();
    (bare.versions.docker, bare.instance_id, bare.run) = (None, None, None);
    vec![full, bare]
}

fn stop(code: StopCode) -> StopCause {
    StopCause { code, reason: "läuft ab\n".to_owned() }
}

fn polls() -> Vec<PollRequest> {
    let task = every_member();
    let order = |seq, kind| Order { seq, task: TaskId::new(u128::MAX), generation: 2, kind };
    let orders = vec![
        order(1 << 40, OrderKind::Run(Box::new(task.order.clone()))),
        order((1 << 40) + 1, OrderKind::Stop(stop(StopCode::ServiceSchedulerInitiated))),
    ];
    let mut digest = DesiredDigest::default();
    digest.add(TaskId::new(u128::MAX), 2, Desired::Stop);
    let hello = PollRequest {
        protocol: PROTOCOL_VERSION,
        fleet: FLEET,
        host: HOST,
        epoch: EPOCH,
        hold_ms: 0,
        acknowledged: None,
        definitions: Vec::new(),
        orders: Vec::new(),
        last_order: 0,
        digest: DesiredDigest::default(),
        manifest: None,
        images: None,
        sections: Vec::new(),
        knows_subscriptions: false,
    };
    let news = PollRequest {
        hold_ms: 30_000,
        acknowledged: Some(POSITION),
        definitions: vec![Arc::clone(&task.definition)],
        orders: orders.clone(),
        last_order: (1 << 40) + 1,
        digest,
        images: Some(POSITION),
        sections: sections(),
        knows_subscriptions: true,
        ..hello.clone()
    };
    let manifest = Manifest { orders, given_before: vec![TaskId::new(7)], seen_order: 4 };
    let whole = PollRequest { orders: Vec::new(), manifest: Some(manifest), ..news.clone() };
    vec![hello, news, whole]
}

/// The whole of a topic, and a change of it.
fn sections() -> Vec<Section> {
    let key = TopicKey([0xc0; 32]);
    let mut map = TopicMap::new(key);
    let mut change_to = |change, key: &str, value: Option<&[u8]>| {
        let changed =
            TopicChange { key: key.to_owned(), value: value.map(|value| value.to_vec().into()) };
        map.apply(&changed);
        let version = TopicVersion { start: EPOCH.incarnation, change };
        (topic::encode(&[changed]), TopicState { version, hash: map.hash() })
    };
    let (whole, first) = change_to(1, "10.0.0.1:51678", Some(b""));
    let (gone, second) = change_to(u64::MAX, "10.0.0.1:51678", None);
    let section = |basis, state, changes| Section {
        topic: TopicName::coordinators(),
        basis,
        state,
        changes: vec![changes],
    };
    vec![section(Basis::Nothing(key), first, whole), section(Basis::Held(first), second, gone)]
}

fn answers() -> Vec<PollAnswer> {
    let task = every_member();
    let refused = |refusal| PollAnswer {
        protocol: PROTOCOL_VERSION,
        host: HOST,
        boot_id: "a boot".to_owned(),
        session: POSITION.session,
        seen: None,
        machine: MachineMarks::default(),
        engine: EngineHealth::Unknown,
        storage: StorageHealth::Unknown,
        leaving: false,
        looked: None,
        subscriptions: None,
        outcome: PollOutcome::Refused(refusal),
    };
    let run = RunIntent { definition: (*task.definition).clone(), order: task.order.clone() };
    let candidate = |run| ReportBody::StopCandidate { task: TaskId::new(9), generation: 1, run };
    let phases = [
        ReportedPhase::Pending,
        ReportedPhase::Activating,
        ReportedPhase::Running,
        ReportedPhase::Stopping(stop(StopCode::UserInitiated)),
        ReportedPhase::Stopped(stop(StopCode::EssentialContainerExited)),
    ];
    let of_tasks = phases.map(|phase| ReportBody::Task(Box::new(report(phase))));
    let bodies = of_tasks.into_iter().chain([candidate(None), candidate(Some(Box::new(run)))]);
    let reports = (1..).zip(bodies).map(|(seq, body)| Report { seq, body }).collect();
    let references = vec!["web:1".to_owned()];
    let healths = [
        (EngineHealth::Answers, StorageHealth::Ready),
        (EngineHealth::Silent, StorageHealth::Full),
        (EngineHealth::Answers, StorageHealth::Unwritable),
    ];
    let quiet = healths.map(|(engine, storage)| PollAnswer {
        seen: Some(Seen { epoch: EPOCH, order: 1 << 40 }),
        machine: marks(),
        engine,
        storage,
        leaving: true,
        looked: Some(true),
        subscriptions: Some(vec![
            Subscription { topic: TopicName::coordinators(), held: None },
            Subscription { topic: TopicName::coordinators(), held: Some(TopicState::default()) },
        ]),
        outcome: PollOutcome::Accepted { reports: Vec::new(), needs_manifest: true, images: None },
        ..refused(Refusal::StaleEpoch)
    });
    let images = Some(HeldImages { position: POSITION, references });
    let news = PollAnswer {
        outcome: PollOutcome::Accepted { reports, needs_manifest: false, images },
        ..quiet[0].clone()
    };
    let refusals = [
        Refusal::StaleEpoch,
        Refusal::OtherFleet(FLEET),
        Refusal::OtherHost,
        Refusal::OrderGap { expected: 1 << 40 },
        Refusal::UnknownProtocol { supported: PROTOCOL_VERSION },
    ];
    quiet.into_iter().chain([news]).chain(refusals.map(refused)).collect()
}

fn report(phase: ReportedPhase) -> TaskReport {
    let running = ContainerReport {
        name: "app".to_owned(),
        status: ContainerStatus::Running,
        runtime_id: Some("5b1f".repeat(16)),
        image_digest: Some("sha256:00".to_owned()),
        exit_code: Some(137),
        reason: Some("OutOfMemoryError: Container killed due to memory usage".to_owned()),
        network_bindings: vec![NetworkBinding {
            bind_ip: "0.0.0.0".to_owned(),
            container_port: 53,
            host_port: 49_153,
            protocol: Transport::Udp,
        }],
        health: Some(HealthStatus::Unhealthy),
        started_at: Some(Timestamp(30)),
        finished_at: Some(Timestamp(60)),
        last_lines: vec!["one".to_owned(), String::new()],
    };
    let pending = ContainerReport { name: "side".to_owned(), ..ContainerReport::default() };
    let pull = PullReport {
        image: "web:1".to_owned(),
        bytes: 1 << 40,
        of_bytes: 1 << 41,
        failed_attempts: 2,
        last_error: Some("no route to host".to_owned()),
    };
    TaskReport {
        task: TaskId::new(u128::MAX),
        generation: 2,
        phase,
        containers: vec![running, pending],
        pull_started_at: Some(Timestamp(10)),
        pull_stopped_at: Some(Timestamp(20)),
        stopping_at: Some(Timestamp(50)),
        execution_stopped_at: Some(Timestamp(60)),
        pulls: vec![pull, PullReport::default()],
    }
}
