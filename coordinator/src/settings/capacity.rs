//! The tables `[launch.NAME]`, who can launch hosts, and `[capacity_providers.NAME]`, which hosts
//! stand in for FARGATE and FARGATE_SPOT.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::SettingsError;
use crate::state_machine::capacity_provider::{
    CapacityPolicy, FARGATE, FARGATE_SPOT, HostMark, LauncherPolicy, is_fargate,
};

/// How long one call of a launcher may take, unless its table says otherwise.
const TIMEOUT: Duration = Duration::from_secs(120);
const TIMEOUT_S: std::ops::RangeInclusive<u64> = 1..=3600;
/// How long a launched host may take until it registers, unless its table says otherwise.
const BOOT_DEADLINE: Duration = Duration::from_secs(600);
const BOOT_DEADLINE_S: std::ops::RangeInclusive<u64> = 10..=24 * 3600;

/// One table `[launch.NAME]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LaunchOptions {
    kind: String,
    program: Option<PathBuf>,
    /// Seconds.
    timeout: Option<u64>,
    /// Seconds.
    boot_deadline: Option<u64>,
}

/// One table `[capacity_providers.NAME]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostMarkOptions {
    attribute: String,
    value: Option<String>,
}

/// A program that launches and terminates hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    pub program: PathBuf,
    pub timeout: Duration,
    pub boot_deadline: Duration,
}

pub(super) fn launchers(
    tables: BTreeMap<String, LaunchOptions>,
) -> Result<BTreeMap<String, Launcher>, SettingsError> {
    let read = |(name, table): (String, LaunchOptions)| {
        let launcher = launcher(&name, table)?;
        Ok((name, launcher))
    };
    tables.into_iter().map(read).collect()
}

fn launcher(name: &str, table: LaunchOptions) -> Result<Launcher, SettingsError> {
    let bad = |why: String| SettingsError::BadLauncher { name: name.to_owned(), why };
    match table.kind.as_str() {
        "exec" => {}
        "aws" => {
            return Err(bad(
                "kind `aws` is not in this release; use kind = \"exec\" with a program that calls \
                 EC2"
                .to_owned(),
            ));
        }
        other => return Err(bad(format!("kind `{other}` is not known; use kind = \"exec\""))),
    }
    let program =
        table.program.ok_or_else(|| bad("it has no program; give its path".to_owned()))?;
    if !program.is_absolute() {
        let program = program.display();
        return Err(bad(format!("program `{program}` is not an absolute path")));
    }
    let seconds = |key: &str,
                   given: Option<u64>,
                   default: Duration,
                   range: &std::ops::RangeInclusive<u64>| {
        match given {
            None => Ok(default),
            Some(seconds) if range.contains(&seconds) => Ok(Duration::from_secs(seconds)),
            Some(seconds) => Err(bad(format!(
                "{key} is {seconds}; it must be between {} and {} seconds",
                range.start(),
                range.end()
            ))),
        }
    };
    Ok(Launcher {
        program,
        timeout: seconds("timeout", table.timeout, TIMEOUT, &TIMEOUT_S)?,
        boot_deadline: seconds(
            "boot_deadline",
            table.boot_deadline,
            BOOT_DEADLINE,
            &BOOT_DEADLINE_S,
        )?,
    })
}

/// What the state machine is told of both.
pub(super) fn policy(
    launchers: &BTreeMap<String, Launcher>,
    marks: BTreeMap<String, HostMarkOptions>,
) -> Result<CapacityPolicy, SettingsError> {
    let known = |(name, launcher): (&String, &Launcher)| {
        (name.clone(), LauncherPolicy { boot_deadline: launcher.boot_deadline })
    };
    let mut fargate = BTreeMap::new();
    for (name, HostMarkOptions { attribute, value }) in marks {
        if !is_fargate(&name) {
            return Err(SettingsError::BadCapacityProvider(name));
        }
        let name = name.parse().map_err(|_| SettingsError::BadCapacityProvider(name))?;
        fargate.insert(name, HostMark { attribute, value });
    }
    Ok(CapacityPolicy { launchers: launchers.iter().map(known).collect(), fargate })
}

/// For [`SettingsError`].
pub(super) fn fargate_names() -> String {
    format!("{FARGATE} and {FARGATE_SPOT}")
}
