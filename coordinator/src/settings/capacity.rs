//! The tables `[launch.NAME]`, who can launch hosts, and `[capacity_providers.NAME]`, which hosts
//! stand in for FARGATE and FARGATE_SPOT.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use longshore_common::resources::{Capacity, CpuUnits, MemoryMib};
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
    /// CPU units of a launched host.
    cpu: Option<u32>,
    /// MiB.
    memory: Option<u32>,
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
    /// The unit `longshore-launcher` runs it, not the coordinator.
    pub helper: bool,
    /// What a launched host offers.
    pub size: Option<Capacity>,
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
        "exec" | "helper" => {}
        "aws" => {
            return Err(bad(
                "kind `aws` is not in this release; use kind = \"exec\" with a program that calls \
                 EC2"
                .to_owned(),
            ));
        }
        other => {
            return Err(bad(format!(
                "kind `{other}` is not known; use kind = \"exec\" or \"helper\""
            )));
        }
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
    let size = match (table.cpu, table.memory) {
        (None, None) => None,
        (Some(cpu), Some(memory)) if cpu > 0 && memory > 0 => {
            Some(Capacity { cpu: CpuUnits(cpu), memory: MemoryMib(memory), ..Capacity::default() })
        }
        (Some(_), Some(_)) => return Err(bad("cpu and memory must be above 0".to_owned())),
        (Some(_), None) | (None, Some(_)) => {
            return Err(bad("cpu and memory go together: give both or none".to_owned()));
        }
    };
    Ok(Launcher {
        program,
        helper: table.kind == "helper",
        size,
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
        let policy = LauncherPolicy {
            boot_deadline: launcher.boot_deadline,
            size: launcher.size.clone(),
            names_machines: false,
        };
        (name.clone(), policy)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Tables {
        #[serde(default)]
        launch: BTreeMap<String, LaunchOptions>,
        #[serde(default)]
        capacity_providers: BTreeMap<String, HostMarkOptions>,
    }

    fn read(text: &str) -> Result<(BTreeMap<String, Launcher>, CapacityPolicy), String> {
        let tables: Tables = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let launchers = launchers(tables.launch).map_err(|error| error.to_string())?;
        let policy = policy(&launchers, tables.capacity_providers);
        policy.map(|policy| (launchers, policy)).map_err(|error| error.to_string())
    }

    #[test]
    fn launchers_are_programs_with_times() {
        let (launchers, policy) = read(
            "[launch.rack]\nkind = 'exec'\nprogram = '/opt/rack'\nboot_deadline = 90\n\
             [capacity_providers.FARGATE]\nattribute = 'pool'\nvalue = 'shared'\n",
        )
        .unwrap();
        let rack = &launchers["rack"];
        assert_eq!(rack.program, PathBuf::from("/opt/rack"));
        assert_eq!((rack.timeout.as_secs(), rack.boot_deadline.as_secs()), (120, 90));
        assert_eq!(policy.launchers["rack"].boot_deadline.as_secs(), 90);
        let mark = &policy.fargate[FARGATE];
        assert_eq!((mark.attribute.as_str(), mark.value.as_deref()), ("pool", Some("shared")));
    }

    #[test]
    fn tables_that_mean_nothing_are_refused_by_name() {
        for (text, says) in [
            ("[launch.a]\nkind = 'aws'\n", "[launch.a]: kind `aws` is not in this release"),
            ("[launch.a]\nkind = 'magic'\n", "kind `magic` is not known"),
            ("[launch.a]\nkind = 'exec'\n", "it has no program"),
            ("[launch.a]\nkind = 'exec'\nprogram = 'rack'\n", "not an absolute path"),
            ("[launch.a]\nkind = 'exec'\nprogram = '/a'\ntimeout = 0\n", "between 1 and 3600"),
            ("[launch.a]\nkind = 'exec'\nprogram = '/a'\nshell = true\n", "shell"),
            ("[capacity_providers.mine]\nattribute = 'a'\n", "only FARGATE and FARGATE_SPOT"),
            ("[capacity_providers.FARGATE]\nvalue = 'a'\n", "attribute"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(says), "{said}");
        }
    }
}
