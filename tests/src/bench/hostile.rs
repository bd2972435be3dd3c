//! The API under attack: what strangers and a key that is used carelessly can make the coordinator hold,
//! what a good client notices of it, and whether the agent stays connected.
//!
//! Quiet means: the same attackers, aimed at an idle second coordinator on the same machine, so that
//! the ratio says what the attacked one does and not what the attackers take from it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use longshore_harness::{
    credentials::Credentials,
    ecs::EcsClient,
    fleet::{Fleet, FleetSettings},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};

use crate::{
    bare_coordinator::BareCoordinator,
    bench::idle::rss_mib,
    figures::{count, figure, percentile, progress},
};

/// From which strangers come: each is a party of its own.
const STRANGERS: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3)),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 4)),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5)),
];
/// From which signed forms come.
const CARELESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));
const FORGED_BODIES: usize = 4_096;
const NEVER_READING: usize = 1_000;
const HALF_OPEN_PER_ADDRESS: usize = 1_030;
const FORM_CALLERS: usize = 16;
const BODY_BYTES: usize = 1024 * 1024;
/// How long each attack goes on.
const ATTACK: Duration = Duration::from_secs(12);
/// Pace of the good client.
const CALL_EVERY: Duration = Duration::from_millis(4);
/// Calls of the good client on one connection, before it opens another.
const CALLS_PER_CONNECTION: usize = 10;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Before a connection that was closed is opened again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug)]
enum Attack {
    ForgedBodies,
    NeverReading,
    HalfOpenHeads,
    SignedForms,
}

const ATTACKS: [(Attack, &str); 4] = [
    (Attack::ForgedBodies, "forged_bodies"),
    (Attack::NeverReading, "never_reading"),
    (Attack::HalfOpenHeads, "half_open_heads"),
    (Attack::SignedForms, "signed_forms"),
];

/// A coordinator to attack, and a key of it.
#[derive(Clone)]
struct Target {
    address: SocketAddr,
    client: EcsClient,
    access_key_id: String,
}

pub(super) async fn run() -> Result<()> {
    let fleet = Fleet::start(FleetSettings { hosts: 1, ..FleetSettings::default() }).await?;
    let folder = fleet.folder().join("idle");
    fs_err::create_dir_all(&folder)?;
    let idle = BareCoordinator::start(&folder, &folder.join("data"), &[]).await?;
    let attacked =
        Target::new(fleet.api_address().parse()?, fleet.ecs()?, &fleet.coordinator_folder())?;
    let decoy = Target::new(idle.running.api, idle.ecs()?, idle.folder())?;
    let coordinator = fleet.coordinator()?;
    let from = coordinator.log().position();
    let mut refused = 0;
    let (mut all_quiet, mut all_attacked) = (Vec::new(), Vec::new());
    let (mut worst, mut growth_max) = (0.0_f64, 0.0_f64);
    // Its memory once everything was used: a call of each kind, and what metrics keep.
    good_client(&attacked, Duration::from_secs(3)).await?;
    for (attack, name) in ATTACKS {
        progress(&format!("hostile: {name}, at the idle coordinator, then at the good client's"));
        let (quiet, _) = under(attack, &decoy, &attacked).await?;
        let before = rss_mib(coordinator)?;
        let peak = Arc::new(AtomicBool::new(true));
        let watching = async {
            let mut highest = before;
            while peak.load(Ordering::Relaxed) {
                highest = highest.max(rss_mib(coordinator)?);
                sleep(LOOK_EVERY).await;
            }
            anyhow::Ok(highest)
        };
        let attacking = async {
            let done = under(attack, &attacked, &attacked).await;
            peak.store(false, Ordering::Relaxed);
            done
        };
        let (highest, done) = tokio::join!(watching, attacking);
        let (took, failed) = done?;
        let growth = highest? - before;
        let ratio = percentile(&took, 0.99)? / percentile(&quiet, 0.99)?;
        figure(&format!("{name}_rss_growth_mib"), growth, "MiB")?;
        figure(&format!("{name}_quiet_p99_ms"), percentile(&quiet, 0.99)?, "ms")?;
        figure(&format!("{name}_p99_ms"), percentile(&took, 0.99)?, "ms")?;
        figure(&format!("{name}_p99_ratio"), ratio, "times")?;
        worst = worst.max(ratio);
        growth_max = growth_max.max(growth);
        refused += failed;
        all_quiet.extend(quiet);
        all_attacked.extend(took);
    }
    let ratio = percentile(&all_attacked, 0.99)? / percentile(&all_quiet, 0.99)?;
    let lines = coordinator.log().lines();
    let gone = lines.iter().skip(from).filter(|line| line.contains("agent disconnected")).count();
    count("good_client_calls", all_attacked.len())?;
    figure("rss_growth_mib", growth_max, "MiB")?;
    figure("good_client_p99_ratio", ratio, "times")?;
    figure("worst_attack_p99_ratio", worst, "times")?;
    count("good_client_refused", refused)?;
    count("agents_disconnected", gone)
}

impl Target {
    fn new(address: SocketAddr, client: EcsClient, data: &std::path::Path) -> Result<Target> {
        let credentials = Credentials::read(&data.join("root-credentials"))?;
        Ok(Target { address, client, access_key_id: credentials.access_key_id })
    }
}

/// What the good client's calls took, in milliseconds, and how many failed, during an attack.
async fn under(attack: Attack, target: &Target, good: &Target) -> Result<(Vec<f64>, usize)> {
    let mut attackers = JoinSet::new();
    let target = Arc::new(target.clone());
    match attack {
        Attack::ForgedBodies => {
            for (n, from) in STRANGERS.iter().cycle().take(FORGED_BODIES).enumerate() {
                attackers.spawn(forge(target.clone(), *from, n % 2 == 0));
            }
        }
        Attack::NeverReading => {
            for from in STRANGERS.iter().cycle().take(NEVER_READING) {
                attackers.spawn(never_read(target.clone(), *from));
            }
        }
        Attack::HalfOpenHeads => {
            for from in STRANGERS.iter().cycle().take(HALF_OPEN_PER_ADDRESS * STRANGERS.len()) {
                attackers.spawn(half_open(target.clone(), *from));
            }
        }
        Attack::SignedForms => {
            let form: Arc<str> = worst_form().into();
            for _ in 0..FORM_CALLERS {
                attackers.spawn(forms(target.clone(), form.clone()));
            }
        }
    }
    let measured = good_client(good, ATTACK).await;
    attackers.shutdown().await;
    // What was accepted is let go before the next.
    sleep(Duration::from_secs(2)).await;
    measured
}

/// In a thread of its own, so that the attackers' work does not count as the coordinator's.
async fn good_client(good: &Target, time: Duration) -> Result<(Vec<f64>, usize)> {
    let client = good.client.clone();
    let measure = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (mut took, mut failed) = (Vec::new(), 0);
            let mut client = client;
            let mut pace = interval(CALL_EVERY);
            let until = Instant::now() + time;
            while Instant::now() < until {
                pace.tick().await;
                if took.len() % CALLS_PER_CONNECTION == 0 {
                    client = client.clone();
                }
                let began = Instant::now();
                match client.call("DescribeClusters", json!({})).await {
                    Ok(_) => took.push(began.elapsed().as_secs_f64() * 1000.0),
                    Err(error) => {
                        progress(&format!("the good client: {:#}", anyhow!(error)));
                        failed += 1;
                        client = client.clone();
                    }
                }
            }
            anyhow::Ok((took, failed))
        })
    };
    tokio::task::spawn_blocking(measure).await?
}

async fn connect(target: &Target, from: IpAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    timeout(ATTACK, socket.connect(target.address)).await?.context("no connection")
}

/// A request with a known key's id, a signature that nobody made, and a body of 1 MiB; half of them keep
/// the last byte back.
async fn forge(target: Arc<Target>, from: IpAddr, whole: bool) {
    loop {
        let _ = Box::pin(forge_once(&target, from, whole)).await;
        sleep(AGAIN_AFTER).await;
    }
}

async fn forge_once(target: &Target, from: IpAddr, whole: bool) -> Result<()> {
    let mut stream = connect(target, from).await?;
    let now = jiff::Timestamp::now();
    let (time, day) = (now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d"));
    let head = format!(
        "POST / HTTP/1.1\r\nhost: a\r\nx-amz-date: {time}\r\n\
         content-type: application/x-amz-json-1.1\r\n\
         x-amz-target: AmazonEC2ContainerServiceV20141113.ListClusters\r\n\
         authorization: AWS4-HMAC-SHA256 Credential={}/{day}/us-east-1/ecs/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature={}\r\n\
         content-length: {BODY_BYTES}\r\n\r\n",
        target.access_key_id,
        "0".repeat(64),
    );
    stream.write_all(head.as_bytes()).await?;
    let part = vec![b' '; 64 * 1024];
    let mut left = if whole { BODY_BYTES } else { BODY_BYTES - 1 };
    while left > 0 {
        let bytes = left.min(part.len());
        stream.write_all(&part[..bytes]).await?;
        left -= bytes;
    }
    let _ = stream.read(&mut [0; 64]).await?;
    Ok(())
}

/// Asks for the metrics again and again and reads nothing.
async fn never_read(target: Arc<Target>, from: IpAddr) {
    loop {
        if let Ok(mut stream) = connect(&target, from).await {
            let request = b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n".repeat(64);
            while stream.write_all(&request).await.is_ok() {
                sleep(LOOK_EVERY).await;
            }
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// Begins a head and keeps the connection until it is closed.
async fn half_open(target: Arc<Target>, from: IpAddr) {
    loop {
        if let Ok(mut stream) = connect(&target, from).await
            && stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\nx-half: ").await.is_ok()
        {
            let _ = stream.read(&mut [0; 64]).await;
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// Signs forms that are as dear as 1 MiB can be, and waits for each refusal.
async fn forms(target: Arc<Target>, form: Arc<str>) {
    loop {
        if let Ok(mut stream) = connect(&target, CARELESS).await
            && let Ok(request) = target.client.signed_form("autoscaling", &form)
            && stream.write_all(&request).await.is_ok()
        {
            let _ = stream.read(&mut [0; 64]).await;
        } else {
            sleep(AGAIN_AFTER).await;
        }
    }
}

/// As many long names as fit, each with as many members as a name may have.
fn worst_form() -> String {
    let mut form = "Action=DescribeAutoScalingGroups&Version=2011-01-01".to_owned();
    let members = ".a".repeat(60);
    for n in 0.. {
        let next = format!("&a{n}{members}=x");
        if form.len() + next.len() > BODY_BYTES {
            break;
        }
        form += &next;
    }
    form
}
