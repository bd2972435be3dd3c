//! The agent's settings: flags, `LONGSHORE_*` variables, the variables of Amazon's agent, the file.
//!
//! Precedence: file < `ECS_*` < `LONGSHORE_*` < flags. A stronger source replaces a value whole; lists
//! and attributes of two sources are not merged. An empty variable counts as not set.
//!
//! Never: a value that is read and not used, or a bad one that is replaced by a default. All problems
//! are reported at once, before anything is bound or written.

use std::collections::BTreeMap;

mod disk_rules;
mod file_systems;
pub(crate) mod image_cleanup;
mod limit_rules;
mod objects;
mod port_bounds;
mod proxies;
mod pull_policy;
mod registries;
mod repository_credentials;
mod request_rate;
mod timeouts;
mod parsed;
mod problems;
mod table;
mod value;
mod command_line;
mod parse;
mod ecs;
mod source;
#[cfg(test)]
mod tests;

pub(crate) use self::file_systems::{ANY_USER, AccessPoint, FileSystemSource, inside};
use self::problems::SettingProblem;
pub use self::{
    command_line::SUBCOMMANDS,
    disk_rules::DiskRules,
    file_systems::FileSystems,
    image_cleanup::ImageCleanup,
    limit_rules::LimitRules,
    objects::Objects,
    parsed::{Ec2Metadata, Gpus, Settings, TokenSource},
    port_bounds::PortBounds,
    problems::{EXIT_BAD_SETTINGS, SettingProblems, SettingsEnd},
    proxies::Proxies,
    pull_policy::PullPolicy,
    registries::Registries,
    repository_credentials::RepositoryCredentials,
    request_rate::RequestRate,
    timeouts::Timeouts,
    value::Environment,
};

/// Reads the settings. `arguments` begin with the program's name.
pub fn load(arguments: &[String], environment: &Environment) -> Result<Settings, SettingsEnd> {
    load_for(None, arguments, environment)
}

/// As [`load`], for the help of one of the [`SUBCOMMANDS`], which is not among the arguments.
pub fn load_for(
    subcommand: Option<&str>,
    arguments: &[String],
    environment: &Environment,
) -> Result<Settings, SettingsEnd> {
    let flags: BTreeMap<&'static str, String> = command_line::read(subcommand, arguments)?;
    let (mut problems, mut warnings) = (SettingProblems::default(), Vec::new());
    let values = source::collect(&flags, environment, &mut problems, &mut warnings);
    let settings = parse::settings(values, warnings, &mut problems);
    match settings {
        Some(settings) if problems.0.is_empty() => Ok(settings),
        _ => Err(SettingsEnd::Bad(problems)),
    }
}
