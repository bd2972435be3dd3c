//! Services as users of ECS see them, and samples of what is shown while they change.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{ecs::EcsClient, image::SAMPLE_IMAGE};

/// Timeout of a service coming to what is awaited.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// Interval at which a [`Sampler`] asks.
const SAMPLE_EVERY: Duration = Duration::from_millis(20);

/// A task that sleeps, ends at once when asked to, and shares its host's network, which Docker
/// starts quickest.
pub fn sleeper(family: &str, more: Value) -> Value {
    let mut container = json!({
        "name": "main",
        "image": SAMPLE_IMAGE,
        "memory": 16,
        // Told to end before it has set its trap it does not hear: then not for long.
        "stopTimeout": 2,
        "command": ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"],
    });
    if let Some(more) = more.as_object() {
        for (member, value) in more {
            container[member] = value.clone();
        }
    }
    json!({ "family": family, "networkMode": "host", "containerDefinitions": [container] })
}

/// CreateService's input: small timers, tasks on all hosts. Members of `more` are added.
pub fn service(name: &str, family: &str, desired: usize, more: Value) -> Value {
    let mut input = json!({
        "serviceName": name,
        "taskDefinition": family,
        "desiredCount": desired,
        "placementStrategy": [{ "type": "spread", "field": "instanceId" }],
        "tags": tags(&[("longshore:healthy-after", "1")]),
    });
    if let Some(more) = more.as_object() {
        for (member, value) in more {
            input[member] = value.clone();
        }
    }
    input
}

pub fn tags(tags: &[(&str, &str)]) -> Value {
    tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

pub fn percents(minimum: u32, maximum: u32) -> Value {
    json!({ "minimumHealthyPercent": minimum, "maximumPercent": maximum })
}

/// A service as DescribeServices shows it.
#[derive(Clone, Debug)]
pub struct Shown(pub Value);

impl Shown {
    pub fn of(answer: &Value) -> Option<Shown> {
        answer["services"].get(0).cloned().map(Shown)
    }

    fn count(&self, member: &str) -> usize {
        self.0[member].as_u64().unwrap_or_default() as usize
    }

    pub fn running(&self) -> usize {
        self.count("runningCount")
    }

    pub fn pending(&self) -> usize {
        self.count("pendingCount")
    }

    pub fn desired(&self) -> usize {
        self.count("desiredCount")
    }

    pub fn status(&self) -> &str {
        self.0["status"].as_str().unwrap_or_default()
    }

    pub fn deployments(&self) -> &[Value] {
        self.0["deployments"].as_array().map_or(&[], Vec::as_slice)
    }

    /// What `aws ecs wait services-stable` waits for, that nothing is on its way, and that the
    /// deployment is done.
    pub fn is_stable(&self) -> bool {
        let [deployment] = self.deployments() else { return false };
        self.status() == "ACTIVE"
            && self.running() == self.desired()
            && self.pending() == 0
            && deployment["rolloutState"] == json!("COMPLETED")
    }

    /// The family and revision that its tasks are to run.
    pub fn definition(&self) -> &str {
        let arn = self.0["taskDefinition"].as_str().unwrap_or_default();
        arn.rsplit('/').next().unwrap_or(arn)
    }
}

pub async fn describe(client: &EcsClient, name: &str) -> Result<Shown> {
    let answer = client.call("DescribeServices", json!({ "services": [name] })).await?;
    Shown::of(&answer).with_context(|| format!("no service {name}: {answer}"))
}

/// Asks until the service is as wanted.
pub async fn until(
    client: &EcsClient,
    name: &str,
    patience: Duration,
    is_so: impl Fn(&Shown) -> bool,
) -> Result<Shown> {
    let input = json!({ "services": [name] });
    client
        .eventually("DescribeServices", input, patience, |answer| {
            Shown::of(answer).filter(|shown| is_so(shown))
        })
        .await
}

pub async fn until_stable(client: &EcsClient, name: &str, desired: usize) -> Result<Shown> {
    until(client, name, PATIENCE, |shown| shown.desired() == desired && shown.is_stable()).await
}

/// The ARNs of the tasks of a service that are to run.
pub async fn tasks(client: &EcsClient, name: &str) -> Result<Vec<String>> {
    let list = json!({ "serviceName": name });
    Ok(crate::ecs::list_all(client, "ListTasks", list, "taskArns").await?)
}

/// What a service may show at any moment.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Fewest running tasks.
    pub floor: usize,
    /// Most running and pending tasks.
    pub ceiling: usize,
}

/// What was seen of a service while it changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampled {
    pub samples: usize,
    pub least_running: usize,
    pub most_shown: usize,
    pub below_floor: usize,
    pub above_ceiling: usize,
}

/// Samples a service on a connection of its own until it is told to stop.
pub struct Sampler {
    stop: watch::Sender<bool>,
    sampling: JoinHandle<Result<Sampled>>,
}

impl Sampler {
    pub fn start(client: &EcsClient, name: &str, bounds: Bounds) -> Sampler {
        let (stop, stopped) = watch::channel(false);
        let sampling = tokio::spawn(sample(client.clone(), name.to_owned(), bounds, stopped));
        Sampler { stop, sampling }
    }

    pub async fn stop(self) -> Result<Sampled> {
        self.stop.send_replace(true);
        self.sampling.await?
    }
}

async fn sample(
    client: EcsClient,
    name: String,
    bounds: Bounds,
    stopped: watch::Receiver<bool>,
) -> Result<Sampled> {
    let mut sampled = Sampled { least_running: usize::MAX, ..Sampled::default() };
    let mut ticks = interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !*stopped.borrow() {
        ticks.tick().await;
        let shown = describe(&client, &name).await?;
        let (running, all) = (shown.running(), shown.running() + shown.pending());
        sampled.samples += 1;
        sampled.least_running = sampled.least_running.min(running);
        sampled.most_shown = sampled.most_shown.max(all);
        sampled.below_floor += usize::from(running < bounds.floor);
        sampled.above_ceiling += usize::from(all > bounds.ceiling);
        if (running < bounds.floor || all > bounds.ceiling)
            && sampled.below_floor + sampled.above_ceiling <= 3
        {
            eprintln!("# {name} shows {running} running of {all}, bounds {bounds:?}");
        }
    }
    if sampled.samples == 0 {
        bail!("{name} was never sampled");
    }
    Ok(sampled)
}
