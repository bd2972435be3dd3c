//! The flags and the help, made from the table of settings.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, Command, error::ErrorKind};

use super::{
    SettingProblem, SettingProblems, SettingsEnd,
    table::{CONFIG, SETTINGS, Setting},
};

const PROGRAM: &str = "longshore-agent";

const ABOUT: &str = "Registers this host with a Longshore coordinator and runs the tasks that it \
                     orders on the host's Docker Engine.";

/// The subcommands with their descriptions. Each takes the agent's settings, so that one file serves all.
pub const SUBCOMMANDS: [(&str, &str); 3] = [
    (
        "prepare-host",
        "Prepares this host's network for the tasks' endpoints and makes Docker's control group: \
         once, as root, before the agent starts. systemd runs it so.",
    ),
    (
        "network",
        "Keeps this host's network as tasks need it until SIGTERM: a service of its own, with the \
         rights that the agent's does not have.",
    ),
    (
        "volumes",
        "Makes the mounts that tasks have of this host until SIGTERM: a service of its own, with \
         the rights that the agent's does not have.",
    ),
];

const SETTINGS_HELP: &str = "\
Settings come, the weakest first, from the file, from the variables of Amazon's ECS agent \
(ECS_CLUSTER, ECS_RESERVED_MEMORY, ECS_INSTANCE_ATTRIBUTES, …), from LONGSHORE_* variables, from \
flags. In the file a setting's name has `_` for `-`: reserved_memory = 256.";

const AFTER_HELP: &str = "\
Examples:
  First start of a host, with the token that `longshore-coordinator join-token create` printed:
    longshore-agent --coordinator 10.0.0.1:8421 --join-token-file /etc/longshore/join-token

  Any later start: the identity in the data directory is enough:
    longshore-agent --coordinator 10.0.0.1:8421

  A second agent on the same machine, with a share of it:
    longshore-agent --coordinator 10.0.0.1:8421 --data-dir /var/lib/longshore/second --cpu 2048 \\
      --memory 4096 --poll-listen 0.0.0.0:52680 --introspection-listen 127.0.0.1:52678

  Let a service without capabilities serve tasks' metadata (systemd does this before it):
    longshore-agent prepare-host --coordinator 10.0.0.1:8421

On SIGTERM or SIGINT the agent ends and leaves every container running; a later start adopts them.
Exit status: 0 ended as asked, 64 bad settings, 69 a port or the data directory is taken, 77 the
coordinator refused this host for good, 1 anything else.";

/// The flags that were given, by the names of their settings.
pub(crate) fn read(
    subcommand: Option<&str>,
    arguments: &[String],
) -> Result<BTreeMap<&'static str, String>, SettingsEnd> {
    let matches =
        command(subcommand).try_get_matches_from(arguments).map_err(|error| {
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    SettingsEnd::Shown(error.to_string())
                }
                _ => {
                    let mut problems = SettingProblems::default();
                    let text = error.to_string();
                    let text = text.strip_prefix("error: ").unwrap_or(&text);
                    problems.push(SettingProblem(text.trim_end().to_owned()));
                    SettingsEnd::Bad(problems)
                }
            }
        })?;
    Ok(all()
        .filter_map(|setting| {
            Some((setting.name, matches.get_one::<String>(setting.name)?.to_owned()))
        })
        .collect())
}

fn command(subcommand: Option<&str>) -> Command {
    let command = Command::new(PROGRAM)
        .version(env!("CARGO_PKG_VERSION"))
        .max_term_width(100)
        .args(all().map(argument));
    match SUBCOMMANDS.iter().find(|(name, _)| Some(*name) == subcommand) {
        Some((name, about)) => {
            command.bin_name(format!("{PROGRAM} {name}")).about(*about).after_help(SETTINGS_HELP)
        }
        None => {
            let subcommands = SUBCOMMANDS
                .iter()
                .map(|(name, about)| format!("  {name:13} {about}"))
                .collect::<Vec<_>>()
                .join("\n");
            command.about(ABOUT).after_help(format!(
                "Subcommands, before the flags, of which each takes the same:\n\
                 {subcommands}\n\n{SETTINGS_HELP}\n\n{AFTER_HELP}"
            ))
        }
    }
}

fn all() -> impl Iterator<Item = &'static Setting> {
    std::iter::once(&CONFIG).chain(SETTINGS)
}

fn argument(setting: &'static Setting) -> Arg {
    let mut help = format!("{} [env: {}]", setting.help, setting.variable());
    if let Some(default) = setting.default {
        help = format!("{help} [default: {default}]");
    }
    let argument = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.value)
        .action(ArgAction::Set)
        .help(help);
    if setting.switch {
        argument.num_args(0..=1).require_equals(true).default_missing_value("true")
    } else {
        argument
    }
}
