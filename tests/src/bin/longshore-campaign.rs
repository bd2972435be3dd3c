//! `make campaign NAME=…`.

use std::process::ExitCode;

use clap::Parser;
use longshore_tests::campaign::{Options, run};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("longshore-campaign: {error:#}");
            ExitCode::FAILURE
        }
    }
}
