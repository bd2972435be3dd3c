//! Ledgers that released agents have written are read whole.

use longshore_common::{
    clock::Timestamp,
    protocol::NetworkBinding,
    resources::Transport,
    task::{HealthStatus, StopCode},
};
use serde_json::{Value, json};

use super::*;
use crate::{engine::plan::sample::every_member, golden};

const LEDGER: &str = "agent-ledger.sqlite";

#[test]
fn ledgers_of_earlier_agents_are_read_in_every_field() {
    for (file, expected) in golden::files(LEDGER) {
        let (_folder, copy) = golden::copy(&file);
        let (_, contents) = Ledger::open(&copy, FLEET, HOST).unwrap();
        golden::assert_contains(&held(&contents), &expected, &file.display().to_string());
    }
}

#[test]
#[ignore = "writes a ledger for later agents to read: see golden"]
fn golden_ledger_of_this_agent_is_written() {
    let file = golden::next(LEDGER);
    let (mut ledger, _) = Ledger::open(&file, FLEET, HOST).unwrap();
    let (orders, observations) = rich();
    ledger.write(&orders).unwrap();
    ledger.write(&observations).unwrap();
    drop(ledger);
    let (ledger, contents) = Ledger::open(&file, FLEET, HOST).unwrap();
    golden::describe(&file, &held(&contents));
    drop(ledger);
    fs_err::remove_file(file.with_extension("sqlite.lock")).unwrap();
}

/// What a ledger holds, with everything of each record.
fn held(contents: &LedgerContents) -> Value {
    let mut intents: Vec<&Intent> = contents.intents.iter().map(|intent| &**intent).collect();
    intents.sort_by_key(|intent| intent.key);
    let of = |key: &TaskKey, record: Value| json!({ "key": key, "record": record });
    let stops = contents.stops.iter().map(|(key, stop)| of(key, json!(stop)));
    let observations = contents.observations.iter().map(|(key, seen)| of(key, json!(seen)));
    json!({
        "head": contents.head,
        "intents": intents,
        "stops": stops.collect::<Vec<_>>(),
        "observations": observations.collect::<Vec<_>>(),
        "images": contents.images,
    })
}

/// Orders and observations of every kind, and tasks in every state.
fn rich() -> (Batch, Batch) {
    let mut orders = Batch { head: Some(head(u64::MAX, 1 << 40)), ..Batch::default() };
    let mut seen = Batch::default();
    let key = |number: u128, generation| TaskKey { task: TaskId::new(number), generation };
    for (number, (intent, stop, observed)) in (1_u128..).zip(tasks()) {
        let key = key(number << 100 | 0xbee, 1);
        orders.intents.extend(intent.map(|intent| Arc::new(Intent { key, ..intent })));
        orders.stops.extend(stop.map(|stop| (key, stop)));
        seen.observations.extend(observed.map(|observed| (key, observed)));
    }
    // A task that was ordered anew: the older one stops first.
    let anew = |generation| Arc::new(Intent { key: key(7, generation), ..every_member() });
    orders.intents.extend([anew(u32::MAX - 1), anew(u32::MAX)]);
    seen.observations.insert(key(7, u32::MAX - 1), task(vec![running()]));
    for code in CODES {
        let stop = StopCause { code, reason: "läuft ab\n".to_owned() };
        orders.stops.insert(key(100 + code as u128, 1), stop.clone());
        let stopped = TaskRecord { own_stop: Some(stop), ..task(vec![ended(0)]) };
        seen.observations.insert(key(200 + code as u128, 1), stopped);
    }
    let image = |references: &[&str], used_at| {
        let references = references.iter().map(|&name| name.to_owned()).collect();
        Some(UsedImage { references, used_at: Timestamp(used_at), origin: ImageOrigin::Pulled })
    };
    seen.images = [
        ("sha256:aa".to_owned(), image(&["web:1", "registry.example.com/web@sha256:00"], 5)),
        ("sha256:bb".to_owned(), image(&[], u64::MAX >> 1)),
        ("sha256:cc".to_owned(), None),
    ]
    .into();
    (orders, seen)
}

const CODES: [StopCode; 7] = [
    StopCode::TaskFailedToStart,
    StopCode::EssentialContainerExited,
    StopCode::UserInitiated,
    StopCode::ServiceSchedulerInitiated,
    StopCode::SpotInterruption,
    StopCode::TerminationNotice,
    StopCode::InfrastructureHealth,
];

type Row = (Option<Intent>, Option<StopCause>, Option<TaskRecord>);

/// One for each way in which a task can stand in a ledger.
fn tasks() -> Vec<Row> {
    let plain = || Some((*intent(&["app", "side"])).clone());
    let observed = |containers| Some(task(containers));
    let pulling = TaskRecord { pull_stopped_at: None, ..task(vec![in_state("Absent")]) };
    let stopping = TaskRecord { stopping_at: Some(Timestamp(70)), ..task(vec![running()]) };
    let stopped = |acknowledged| TaskRecord {
        stopping_at: Some(Timestamp(70)),
        execution_stopped_at: Some(Timestamp(80)),
        acknowledged,
        own_stop: Some(stop()),
        ..task(vec![ended(137), in_state("Removed")])
    };
    vec![
        (Some(every_member()), None, None),
        (plain(), None, Some(pulling)),
        (plain(), None, observed(vec![in_state("Created"), in_state("Absent")])),
        (Some(every_member()), None, observed(vec![running(), ended(0), in_state("Unknown")])),
        (plain(), None, observed(vec![in_state("Restarting"), never_ran()])),
        (plain(), Some(stop()), Some(stopping)),
        (plain(), Some(stop()), Some(stopped(false))),
        (plain(), None, Some(stopped(true))),
        // Ordered to stop before anything was known of it; and seen by its labels alone.
        (None, Some(stop()), None),
        (None, None, observed(vec![running()])),
        (plain(), Some(stop()), None),
    ]
}

fn task(containers: Vec<ContainerRecord>) -> TaskRecord {
    TaskRecord {
        containers,
        pull_started_at: Some(Timestamp(10)),
        pull_stopped_at: Some(Timestamp(20)),
        ..TaskRecord::default()
    }
}

fn in_state(state: &str) -> ContainerRecord {
    let state = serde_json::from_value(json!(state)).unwrap();
    ContainerRecord { state, ..ContainerRecord::default() }
}

fn running() -> ContainerRecord {
    let mut container = in_state("Running");
    container.id = Some("5b1f".repeat(16));
    container.ever_ran = true;
    container.image_digest = Some("sha256:00".to_owned());
    container.bindings = vec![
        NetworkBinding {
            bind_ip: "0.0.0.0".to_owned(),
            container_port: 80,
            host_port: 49_153,
            protocol: Transport::Tcp,
        },
        NetworkBinding {
            bind_ip: "::".to_owned(),
            container_port: 53,
            host_port: 53,
            protocol: Transport::Udp,
        },
    ];
    container.health = Some(HealthStatus::Healthy);
    container.started_at = Some(Timestamp(30));
    container.restarts = 2;
    container
}

fn ended(code: i32) -> ContainerRecord {
    let mut container = running();
    container.state = ContainerStage::Stopped;
    container.exit_code = Some(code);
    container.reason = Some("OutOfMemoryError: Container killed due to memory usage".to_owned());
    container.health = Some(HealthStatus::Unhealthy);
    container.finished_at = Some(Timestamp(60));
    container.last_lines = Some(vec!["one".to_owned(), String::new(), "drei ß".to_owned()]);
    container
}

fn never_ran() -> ContainerRecord {
    let mut container = in_state("Stopped");
    container.reason = Some("CannotPullContainerError: no such image".to_owned());
    container.health = Some(HealthStatus::Unknown);
    container
}
