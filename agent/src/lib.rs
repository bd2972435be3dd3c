//! The agent: registers one host with a coordinator, and drives the host's Docker Engine as the
//! coordinator orders.
//!
//! Never: a decision about which host runs what, a stop that nobody ordered, a touch of a container
//! that is not labelled as ours.
//!
//! The modules stand in the order of their layers, the lowest first: each takes only from those above
//! it (`tests/tests/tidy.rs`). Reading order: `task` (what is wanted and known of one task), `engine`
//! (one step at a time towards it), `fleet` (who may order), `run` (one life of the agent).

// Tools, which know nothing of a task.
mod blocking;
mod connection_permits;
mod plain_http;
mod service_manager;

// What the operator says.
pub mod settings;

// What the kernel and Docker say, and what that makes of this host.
mod kernel;
pub mod runtime;
pub mod host;

// One task: values and pure rules.
mod task;

// What a task has besides containers.
pub mod logs;
mod mounts;
mod network;
mod preparation;
mod pause;

// What is done for tasks, one step at a time.
pub mod engine;
pub mod rehearsal;

// Whom this agent answers: its host, the coordinator, its tasks.
mod status;
pub mod fleet;
pub mod endpoints;

// One life of the agent.
mod data_dir;
mod run;

#[cfg(test)]
mod golden;

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
    sync::Arc,
};

use longshore_common::{clock::SystemClock, telemetry, termination::Termination};
use settings::{EXIT_BAD_SETTINGS, Environment, SettingsEnd};

/// What the agent does is wait: for the coordinator, for Docker, for its disk.
const WORKER_THREADS: usize = 2;

/// What the program is called for, by its first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subcommand {
    /// The agent itself.
    Serve,
    /// With all rights, before the service: what it may not do itself.
    PrepareHost,
    /// A unit of its own beside the service: keeps the host's network prepared.
    Network,
    /// A unit of its own beside the service: makes mounts for tasks.
    Volumes,
}

impl Subcommand {
    fn of(argument: Option<&str>) -> Subcommand {
        match argument {
            Some("prepare-host") => Subcommand::PrepareHost,
            Some("network") => Subcommand::Network,
            Some("volumes") => Subcommand::Volumes,
            _ => Subcommand::Serve,
        }
    }
}

/// `help`, alone or before a subcommand, is that one's `--help`.
fn help_as_flag(arguments: &[String]) -> Vec<String> {
    match arguments {
        [program, help, rest @ ..] if help == "help" => {
            [std::slice::from_ref(program), rest, &["--help".to_owned()]].concat()
        }
        _ => arguments.to_vec(),
    }
}

/// The program: settings, log, runtime, then [`run`]. `arguments` begin with the program's name.
pub fn program(arguments: &[String], environment: &Environment) -> ExitCode {
    let arguments = help_as_flag(arguments);
    let first = arguments.get(1).map(String::as_str);
    if first == Some(network::probe::SUBCOMMAND) {
        return network_probe();
    }
    let subcommand = Subcommand::of(first);
    let skipped = usize::from(subcommand != Subcommand::Serve);
    let (program, rest) = arguments.split_at(1.min(arguments.len()));
    let given = [program, rest.get(skipped..).unwrap_or_default()].concat();
    let named = first.filter(|_| skipped > 0);
    let settings = match settings::load_for(named, &given, environment) {
        Ok(settings) => settings,
        Err(SettingsEnd::Shown(text)) => {
            // Nobody is left to tell when standard output is closed.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(SettingsEnd::Bad(problems)) => {
            eprint!("{problems}");
            return ExitCode::from(EXIT_BAD_SETTINGS);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(blocking::THREADS_MAX)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("longshore-agent: no threads could be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Before anything that others could see.
    let termination = match Termination::watch(&runtime) {
        Ok(termination) => termination,
        Err(error) => {
            eprintln!("longshore-agent: signals cannot be waited for: {error}");
            return ExitCode::FAILURE;
        }
    };
    let to_the_journal =
        environment.contains_key("JOURNAL_STREAM") && !std::io::stderr().is_terminal();
    if let Err(problem) = telemetry::init(&settings.log, settings.log_format, to_the_journal) {
        eprintln!("longshore-agent: {problem}");
        return ExitCode::from(EXIT_BAD_SETTINGS);
    }
    // Fails only if there is a provider already, which then is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ended = match subcommand {
        Subcommand::Serve => {
            runtime.block_on(run::run(settings, Arc::new(SystemClock::start()), termination))
        }
        Subcommand::PrepareHost => return prepare_host(&runtime, &settings, termination),
        Subcommand::Volumes => runtime.block_on(run::volumes(&settings, termination)),
        Subcommand::Network => runtime.block_on(run::network(settings, termination)),
    };
    // A thread that waits for a file system is not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            let status = failed.exit_status();
            tracing::error!(error = telemetry::chain(&failed), status, "longshore-agent ends");
            ExitCode::from(status)
        }
    }
}

fn prepare_host(
    runtime: &tokio::runtime::Runtime,
    settings: &settings::Settings,
    mut termination: Termination,
) -> ExitCode {
    // Without it tasks with limits of their own may be refused; the endpoints work all the same.
    if let Err(error) = runtime::docker::prepare_control_groups() {
        tracing::warn!(%error, "Docker's control group cannot be made: run this as root");
    }
    let prepared = runtime.block_on(async {
        tokio::select! {
            told_by = termination.told() => Err(told_by),
            prepared = run::prepare_host(settings) => Ok(prepared),
        }
    });
    match prepared {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Err(told_by) => {
            tracing::error!("this host may not be prepared: told to stop ({told_by})");
            ExitCode::FAILURE
        }
        Ok(Err(error)) => {
            let error = telemetry::chain(&error);
            tracing::error!(error, "this host could not be prepared: run it as root");
            ExitCode::FAILURE
        }
    }
}

/// One thread, no settings, no log: it says on standard output what came of it.
fn network_probe() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = runtime.and_then(|runtime| runtime.block_on(network::probe::run_inside()));
    if ran.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_a_word_before_a_subcommand_too() {
        let cases = [
            ("help", "--help"),
            ("help network", "network --help"),
            ("network --help", "network --help"),
            ("--coordinator help", "--coordinator help"),
        ];
        for (given, expected) in cases {
            let words = |text: &str| -> Vec<String> {
                std::iter::once("longshore-agent")
                    .chain(text.split(' '))
                    .map(str::to_owned)
                    .collect()
            };
            assert_eq!(help_as_flag(&words(given)), words(expected), "{given}");
        }
    }

    #[test]
    fn every_subcommand_of_the_help_is_one() {
        for (name, _) in settings::SUBCOMMANDS {
            assert_ne!(Subcommand::of(Some(name)), Subcommand::Serve, "{name}");
        }
    }
}
