//! `make run`: Longshore and a sample task on this machine, from the programs that the tests are run with.

mod terminal;
mod traces;
mod docker;
mod ports;
mod sample;
mod local;

use std::process::ExitCode;

use clap::Parser;

use crate::local::{Options, up};

#[tokio::main]
async fn main() -> ExitCode {
    match up(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("longshore: {error:#}");
            ExitCode::FAILURE
        }
    }
}
