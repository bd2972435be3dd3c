//! `make bench BENCH=…`.

use std::process::ExitCode;

use clap::Parser;
use longshore_tests::bench::{Options, run};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("longshore-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
