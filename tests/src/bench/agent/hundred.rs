//! An agent with a hundred containers: idle, and while they ask for their metadata 5,000 times a
//! second, which is more than they may.

use std::{
    fs::File,
    net::{SocketAddr, TcpStream},
    os::fd::AsFd,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use longshore_harness::{
    coordinator_log::all_reach,
    engine_api::EngineApi,
    fleet::{Fleet, FleetSettings},
    image::SAMPLE_IMAGE,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{
    bench::idle::{cpu_seconds, rss_mib},
    figures::{count, disk_baseline, figure, milliseconds, percentile, progress},
};

const CONTAINERS: usize = 100;
/// RunTask takes no more.
const RUN_MAX: usize = 10;
const PATIENCE: Duration = Duration::from_secs(240);
const SETTLE: Duration = Duration::from_secs(15);
const WATCHED: Duration = Duration::from_secs(60);

const QUESTIONS_PER_SECOND: u32 = 5_000;
const ASKED_FOR: Duration = Duration::from_secs(30);
const ENDPOINTS: ([u8; 4], u16) = ([169, 254, 170, 2], 80);
const VARIABLE: &str = "ECS_CONTAINER_METADATA_URI_V4=http://169.254.170.2";

pub(super) async fn run() -> Result<()> {
    let settings = FleetSettings { hosts: 1, cpu: 102_400, memory: 8192, ..Default::default() };
    let fleet = Fleet::start(settings).await?;
    disk_baseline(fleet.folder())?;
    let client = fleet.ecs()?;
    let definition = json!({
        "family": "hundred",
        "networkMode": "bridge",
        "containerDefinitions": [{
            "name": "main",
            "image": SAMPLE_IMAGE,
            "memory": 8,
            "command": ["/bin/sleep", "100000"],
        }],
    });
    client.call("RegisterTaskDefinition", definition).await?;
    let log = fleet.coordinator()?.log();
    let mut tasks = Vec::new();
    while tasks.len() < CONTAINERS {
        let run = json!({ "taskDefinition": "hundred", "count": RUN_MAX });
        let ran = client.call("RunTask", run).await?;
        if let Some(failure) = ran["failures"].get(0) {
            bail!("a task could not be placed: {failure}");
        }
        let ran = ran["tasks"].as_array().context("RunTask gave no tasks")?;
        tasks.extend(ran.iter().filter_map(|task| task["taskArn"].as_str().map(str::to_owned)));
    }
    all_reach(log, 0, &tasks, "RUNNING", PATIENCE).await?;
    progress(&format!("agent: {CONTAINERS} containers run; watching for {WATCHED:?}"));
    sleep(SETTLE).await;
    let agent = fleet.hosts[0].agent.as_ref().context("no agent")?;
    let (began, before) = (Instant::now(), cpu_seconds(agent)?);
    sleep(WATCHED).await;
    let used = cpu_seconds(agent)? - before;
    figure("agent_rss_mib_100", rss_mib(agent)?, "MiB")?;
    figure("agent_core_percent_100", used / began.elapsed().as_secs_f64() * 100.0, "%")?;

    let asking = containers(&fleet.hosts[0].engine()?).await?;
    let each = QUESTIONS_PER_SECOND / u32::try_from(asking.len())?;
    progress(&format!("agent: {} containers ask {each} times a second each", asking.len()));
    let (began, before) = (Instant::now(), cpu_seconds(agent)?);
    let mut askers = JoinSet::new();
    for one in asking {
        askers.spawn(one.ask(each));
    }
    let mut said = Said::default();
    let mut rss: f64 = 0.0;
    let mut look = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = look.tick() => rss = rss.max(rss_mib(agent)?),
            ended = askers.join_next() => match ended {
                Some(ended) => said.add(ended??),
                None => break,
            },
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let used = cpu_seconds(agent)? - before;
    let asked = said.answered + said.limited + said.other;
    figure("metadata_requests_per_s", asked as f64 / seconds, "requests/s")?;
    count("metadata_answered", said.answered)?;
    count("metadata_limited", said.limited)?;
    count("metadata_failed", said.other)?;
    figure("metadata_p50_ms", percentile(&said.took_ms, 0.5)?, "ms")?;
    figure("metadata_p99_ms", percentile(&said.took_ms, 0.99)?, "ms")?;
    figure("metadata_agent_rss_mib", rss, "MiB")?;
    figure("metadata_agent_core_percent", used / seconds * 100.0, "%")?;
    disk_baseline(fleet.folder())
}

/// A container, from whose network is asked.
struct Asking {
    network: PathBuf,
    path: String,
}

#[derive(Default)]
struct Said {
    answered: usize,
    limited: usize,
    other: usize,
    took_ms: Vec<f64>,
}

impl Said {
    fn add(&mut self, more: Said) {
        self.answered += more.answered;
        self.limited += more.limited;
        self.other += more.other;
        self.took_ms.extend(more.took_ms);
    }
}

async fn containers(engine: &EngineApi) -> Result<Vec<Asking>> {
    let mut asking = Vec::new();
    for listed in engine.containers(false).await? {
        let shown = engine.get_json(&format!("/containers/{}/json", listed.id)).await?;
        let environment = shown["Config"]["Env"].as_array().context("no environment")?;
        let path = environment.iter().find_map(|pair| pair.as_str()?.strip_prefix(VARIABLE));
        let pid = shown["State"]["Pid"].as_u64().context("no process")?;
        asking.push(Asking {
            network: format!("/proc/{pid}/ns/net").into(),
            path: path.context("the container is told of no endpoints")?.to_owned(),
        });
    }
    Ok(asking)
}

impl Asking {
    async fn ask(self, per_second: u32) -> Result<Said> {
        let mut said = Said::default();
        let mut next = interval(Duration::from_secs(1) / per_second);
        next.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let until = Instant::now() + ASKED_FOR;
        let mut connection = self.connect().await?;
        // A machine that does not keep up asks fewer, not for longer.
        while next.tick().await < until && Instant::now() < until {
            let asked = Instant::now();
            let status = match self.once(&mut connection).await {
                Ok(status) => status,
                // The agent ends a connection after a while.
                Err(_) => {
                    connection = self.connect().await?;
                    self.once(&mut connection).await.unwrap_or_default()
                }
            };
            said.took_ms.push(milliseconds(asked.elapsed()));
            match status {
                200 => said.answered += 1,
                429 => said.limited += 1,
                _ => said.other += 1,
            }
        }
        Ok(said)
    }

    async fn once(&self, connection: &mut SendRequest<Empty<Bytes>>) -> Result<u16> {
        connection.ready().await?;
        let request = Request::get(&self.path).header(header::HOST, "169.254.170.2");
        let answer = connection.send_request(request.body(Empty::new())?).await?;
        let status = answer.status().as_u16();
        answer.into_body().collect().await?;
        Ok(status)
    }

    /// A socket belongs to the network that its thread was in when it was made.
    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>> {
        let network = self.network.clone();
        let connect = move || {
            let network = File::open(network)?;
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
            TcpStream::connect(SocketAddr::from(ENDPOINTS))
        };
        // A thread of its own, since it stays in that network.
        let connecting = std::thread::spawn(connect);
        let joined = tokio::task::spawn_blocking(move || connecting.join()).await?;
        let stream = joined.map_err(|_| anyhow::anyhow!("the thread broke"))??;
        stream.set_nonblocking(true)?;
        let stream = TokioIo::new(tokio::net::TcpStream::from_std(stream)?);
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
