//! What an agent takes with a hundred containers, what it makes of their questions, and of their logs:
//! how soon a line can be read, and whether any is missing of ten thousand a second.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use longshore_common::clock::{Clock, SystemClock};
use longshore_harness::{
    ecs::EcsClient,
    fleet::{Fleet, FleetSettings},
    image::SAMPLE_IMAGE,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    bench::idle::{cpu_seconds, rss_mib},
    figures::{count, disk_baseline, figure, median, percentile, progress},
};

mod hundred;

/// Lines of which it is measured how soon they are seen, ten a second.
const TAILED: usize = 300;
/// As a reader who follows asks.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Containers that write at once, and what each writes.
const WRITERS: usize = 4;
const LINES_EACH: usize = 180_000;
/// A writer writes so many lines, then waits for a fiftieth of a second.
const LINES_AT_ONCE: usize = 80;
const PATIENCE: Duration = Duration::from_secs(240);

pub(super) async fn run() -> Result<()> {
    hundred::run().await?;
    let settings = FleetSettings { hosts: 1, ..Default::default() };
    let fleet = Fleet::start(settings).await?;
    disk_baseline(fleet.folder())?;
    let client = fleet.ecs()?;
    tail(&client).await?;
    many(&fleet, &client).await?;
    disk_baseline(fleet.folder())
}

async fn start(client: &EcsClient, group: &str, script: &str, tasks: usize) -> Result<()> {
    let options = json!({
        "awslogs-group": group,
        "awslogs-region": "us-east-1",
        "awslogs-stream-prefix": "bench",
        "mode": "blocking",
    });
    let definition = json!({
        "family": group,
        "containerDefinitions": [{
            "name": "main",
            "image": SAMPLE_IMAGE,
            "memory": 16,
            "stopTimeout": 2,
            "command": ["/bin/sh", "-c", script],
            "logConfiguration": { "logDriver": "awslogs", "options": options },
        }],
    });
    client.call("RegisterTaskDefinition", definition).await?;
    let ran = client.call("RunTask", json!({ "taskDefinition": group, "count": tasks })).await?;
    match ran["failures"].get(0) {
        Some(failure) => bail!("a task could not be placed: {failure}"),
        None => Ok(()),
    }
}

/// Follows a log as `aws logs tail --follow` does. A line's age when it is first seen is counted from
/// the time that Docker wrote beside it, on the same machine.
async fn tail(client: &EcsClient) -> Result<()> {
    let script =
        format!("i=0; while [ $i -lt {TAILED} ]; do echo line $i; i=$((i+1)); sleep 0.1; done");
    start(client, "tail", &script, 1).await?;
    let (logs, clock) = (client.logs(), SystemClock::start());
    let (mut seen, mut from) = (BTreeMap::new(), 0);
    let began = Instant::now();
    progress(&format!("agent: following {TAILED} lines, asked every {ASK_EVERY:?}"));
    while seen.len() < TAILED {
        if began.elapsed() > PATIENCE {
            bail!("only {} of {TAILED} lines were seen", seen.len());
        }
        sleep(ASK_EVERY).await;
        // Before the first line there is no such group.
        let input = json!({ "logGroupName": "tail", "startTime": from });
        let Ok(page) = logs.call("FilterLogEvents", input).await else { continue };
        let now = clock.wall().0;
        for event in page["events"].as_array().context("no events")? {
            let at = event["timestamp"].as_u64().context("no timestamp")?;
            let id = event["eventId"].as_str().context("no event id")?.to_owned();
            seen.entry(id).or_insert(now.saturating_sub(at) as f64);
            from = from.max(at);
        }
    }
    let ages: Vec<f64> = seen.into_values().collect();
    figure("tail_latency_ms", median(&ages)?, "ms")?;
    figure("tail_latency_p99_ms", percentile(&ages, 0.99)?, "ms")?;
    figure("tail_latency_max_ms", percentile(&ages, 1.0)?, "ms")
}

/// Writers at full speed, and what can be read when they have ended.
async fn many(fleet: &Fleet, client: &EcsClient) -> Result<()> {
    let script = format!(
        "i=0; while [ $i -lt {LINES_EACH} ]; do n=0; while [ $n -lt {LINES_AT_ONCE} ] && \
         [ $i -lt {LINES_EACH} ]; do echo a line of ordinary length, and its number: $i; \
         i=$((i+1)); n=$((n+1)); done; sleep 0.02; done; echo end"
    );
    let agent = fleet.hosts[0].agent.as_ref().context("no agent")?;
    let cpu = cpu_seconds(agent)?;
    let began = Instant::now();
    start(client, "many", &script, WRITERS).await?;
    progress(&format!("agent: {WRITERS} writers write {} lines", WRITERS * LINES_EACH));
    let logs = client.logs();
    let ended = json!({ "logGroupName": "many", "filterPattern": "-line" });
    let mut rss: f64 = 0.0;
    loop {
        rss = rss.max(rss_mib(agent)?);
        if began.elapsed() > PATIENCE {
            bail!("the writers did not end in {PATIENCE:?}");
        }
        // As `ended` goes through all that was written, it is not asked often.
        sleep(Duration::from_secs(2)).await;
        if all(&logs, ended.clone()).await.is_ok_and(|ended| ended.len() == WRITERS) {
            break;
        }
    }
    let used = cpu_seconds(agent)? - cpu;
    let events = all(&logs, json!({ "logGroupName": "many" })).await?;
    let times = events.iter().filter_map(|event| event["timestamp"].as_u64());
    let (first, last) = (times.clone().min(), times.max());
    let seconds = (last.unwrap_or_default() - first.unwrap_or_default()) as f64 / 1000.0;
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut lost, mut repeated) = (0, 0);
    for event in &events {
        let stream = event["logStreamName"].as_str().context("no stream")?;
        let message = event["message"].as_str().context("no message")?;
        let Some((_, number)) = message.rsplit_once(' ') else { continue };
        let (number, next) = (number.parse::<usize>()?, next.entry(stream).or_default());
        match number.cmp(next) {
            std::cmp::Ordering::Less => repeated += 1,
            std::cmp::Ordering::Equal => *next += 1,
            std::cmp::Ordering::Greater => {
                lost += number - *next;
                *next = number + 1;
            }
        }
    }
    lost += WRITERS * LINES_EACH - next.values().sum::<usize>();
    figure("log_lines_per_s", events.len() as f64 / seconds, "lines/s")?;
    figure("log_lines_seconds", seconds, "s")?;
    count("log_lines_lost", lost)?;
    count("log_lines_repeated", repeated)?;
    figure("log_agent_core_percent", used / began.elapsed().as_secs_f64() * 100.0, "%")?;
    figure("log_agent_rss_mib", rss, "MiB")
}

/// Every page.
async fn all(logs: &EcsClient, mut input: Value) -> Result<Vec<Value>> {
    let mut events = Vec::new();
    loop {
        let mut page = logs.call("FilterLogEvents", input.clone()).await?;
        match page["events"].take() {
            Value::Array(some) => events.extend(some),
            other => bail!("no events: {other}"),
        }
        match page["nextToken"].take() {
            Value::Null => return Ok(events),
            token => input["nextToken"] = token,
        }
    }
}
