//! Benchmarks against real engines: `make bench BENCH=start`. What else each figure contains is
//! printed beside it (the disk's fdatasync, the same work without us).

mod start;
mod swarm;
mod restart;
mod idle;

use anyhow::{Result, bail};

#[derive(Clone, Debug, clap::Parser)]
#[command(about = "Prints figures as lines `name value unit`")]
pub struct Options {
    /// start: a task's start against Docker's own and Swarm's. restart: serving again with
    /// 100,000 tasks. idle: memory and CPU with 30 containers.
    #[arg(default_value = "")]
    pub name: String,
}

pub async fn run(options: Options) -> Result<()> {
    match options.name.as_str() {
        "start" => start::run().await,
        "restart" => restart::run().await,
        "idle" => idle::run().await,
        "" => bail!("say which: `make bench BENCH=start`, BENCH=restart or BENCH=idle"),
        other => bail!("there is no benchmark `{other}`: there are start, restart and idle"),
    }
}
