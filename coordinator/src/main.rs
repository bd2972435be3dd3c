//! `longshore-coordinator`: reads the command line and starts what it asks for.

use std::process::ExitCode;

use longshore_common::{telemetry, termination::Termination};
use longshore_coordinator::{
    edge_runtime::BLOCKING_THREADS_MAX,
    effects::launchers::helper,
    serve::serve,
    settings::{Command, CommandLine, Settings},
    subcommands,
};

/// Exit code EX_USAGE of sysexits: restarting does not help.
const EXIT_BAD_SETTINGS: u8 = 64;
/// Number of threads that carry connections (ours); the driver and the flush thread do the work.
const WORKER_THREADS: usize = 2;

fn main() -> ExitCode {
    let line = match CommandLine::read() {
        Ok(line) => line,
        Err(error) => {
            let code = if error.use_stderr() { EXIT_BAD_SETTINGS } else { 0 };
            // Nothing is left to tell it to when the terminal is gone.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let settings = match line.options.settings() {
        Ok(settings) => settings,
        Err(error) => return fail(anyhow::Error::from(error), EXIT_BAD_SETTINGS),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(error.into(), 1),
    };
    let ended = match line.command.unwrap_or(Command::Serve) {
        command @ (Command::Serve | Command::Launcher) => {
            let termination = match Termination::watch(&runtime) {
                Ok(termination) => termination,
                Err(error) => return fail(error.into(), 1),
            };
            if let Err(error) = start_log(&settings) {
                return fail(anyhow::Error::msg(error), EXIT_BAD_SETTINGS);
            }
            match command {
                Command::Launcher => runtime.block_on(helper::serve(settings, termination)),
                _ => runtime.block_on(serve(settings, termination)),
            }
        }
        command => runtime.block_on(subcommands::run(command, &settings)),
    };
    // A thread that reads a journal or waits for a disk is not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error, 1),
    }
}

fn start_log(settings: &Settings) -> Result<(), String> {
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    telemetry::init(&settings.log, settings.log_format, under_systemd)
}

fn fail(error: anyhow::Error, code: u8) -> ExitCode {
    eprintln!("longshore-coordinator: {error:#}");
    ExitCode::from(code)
}
