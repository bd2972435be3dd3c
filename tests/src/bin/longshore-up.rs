//! `make run`.

use std::process::ExitCode;

use clap::Parser;
use longshore_tests::local::{Options, up};

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
