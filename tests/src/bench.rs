//! Benchmarks against real engines: `make bench BENCH=start`. What else each figure contains is
//! printed beside it (the disk's fdatasync, the same work without us).

mod start;
mod swarm;
mod restart;
mod idle;
mod service;
mod scheduler;
mod agent;
mod capacity;
mod hostile;

use anyhow::{Result, bail};

const NAMES: [&str; 8] =
    ["start", "restart", "idle", "service", "scheduler", "agent", "capacity", "hostile"];

#[derive(Clone, Debug, clap::Parser)]
#[command(about = "Prints figures as lines `name value unit`")]
pub struct Options {
    /// start: a task's start against Docker's own and Swarm's. restart: serving again with
    /// 100,000 tasks. idle: memory and CPU with 30 containers. service: a killed container and a lost host
    /// replaced. scheduler: the CPU of a rolling deployment on 1,000 hosts and of idle services.
    /// agent: what it takes with 100 containers, idle and when they ask 5,000 questions a second; how
    /// soon a log line is seen, and whether any is missing of 10,000 a second. capacity: tasks on a cluster without hosts, over the boot of those that come.
    /// hostile: memory, and a good client's calls, while strangers and a careless key attack the API.
    #[arg(default_value = "")]
    pub name: String,
}

pub async fn run(options: Options) -> Result<()> {
    match options.name.as_str() {
        "start" => start::run().await,
        "restart" => restart::run().await,
        "idle" => idle::run().await,
        "service" => service::run().await,
        "scheduler" => scheduler::run().await,
        "agent" => agent::run().await,
        "capacity" => capacity::run().await,
        "hostile" => hostile::run().await,
        "" => bail!("say which: `make bench BENCH=start`; there are {}", NAMES.join(", ")),
        other => bail!("there is no benchmark `{other}`: there are {}", NAMES.join(", ")),
    }
}
