//! The tables `[launch.NAME]`, who can launch hosts, and `[capacity_providers.NAME]`, which hosts
//! stand in for FARGATE and FARGATE_SPOT.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use longshore_common::resources::{Capacity, CpuUnits, MemoryMib};
use longshore_core::model::capacity_provider::{
    CapacityPolicy, HostMark, LauncherPolicy, is_fargate,
};
use serde::Deserialize;

use super::error::SettingsError;

/// Default timeout of one call of a launcher (ours), unless its table says otherwise.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Default timeout of one call of AWS's API (ours), unless its table says otherwise.
const AWS_TIMEOUT: Duration = Duration::from_secs(30);
/// Minimum and maximum timeout of one call in seconds (ours).
const TIMEOUT_S: std::ops::RangeInclusive<u64> = 1..=3600;
/// Default timeout of a launched host's registration (ours), unless its table says otherwise.
const BOOT_DEADLINE: Duration = Duration::from_secs(600);
/// Minimum and maximum timeout of a launched host's registration in seconds (ours).
const BOOT_DEADLINE_S: std::ops::RangeInclusive<u64> = 10..=24 * 3600;

/// One table `[launch.NAME]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LaunchOptions {
    kind: String,
    program: Option<PathBuf>,
    /// AWS's Auto Scaling group.
    group: Option<String>,
    region: Option<String>,
    endpoint: Option<String>,
    /// Timeout of one call in seconds.
    timeout: Option<u64>,
    /// Timeout of a launched host's registration in seconds.
    boot_deadline: Option<u64>,
    /// CPU units of a launched host.
    cpu: Option<u32>,
    /// Memory of a launched host in MiB.
    memory: Option<u32>,
}

/// One table `[capacity_providers.NAME]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostMarkOptions {
    attribute: String,
    value: Option<String>,
}

/// What launches and terminates hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    pub kind: LauncherKind,
    /// Timeout of one call.
    pub timeout: Duration,
    pub boot_deadline: Duration,
    /// What a launched host offers.
    pub size: Option<Capacity>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LauncherKind {
    /// A program of the operator's.
    Program {
        path: PathBuf,
        /// The unit `longshore-launcher` runs it, not the coordinator.
        helper: bool,
    },
    Aws(AwsGroup),
}

/// An Auto Scaling group of AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsGroup {
    pub name: String,
    pub region: String,
    /// Instead of AWS's own of the region.
    pub endpoint: Option<String>,
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
    let kind = match table.kind.as_str() {
        "exec" | "helper" => LauncherKind::Program {
            path: program(&table).map_err(bad)?,
            helper: table.kind == "helper",
        },
        "aws" => LauncherKind::Aws(aws_group(&table).map_err(bad)?),
        other => {
            return Err(bad(format!(
                "kind `{other}` is not known; use kind = \"exec\", \"helper\" or \"aws\""
            )));
        }
    };
    let timeout = match kind {
        LauncherKind::Program { .. } => TIMEOUT,
        LauncherKind::Aws(_) => AWS_TIMEOUT,
    };
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
        kind,
        size,
        timeout: seconds("timeout", table.timeout, timeout, &TIMEOUT_S)?,
        boot_deadline: seconds(
            "boot_deadline",
            table.boot_deadline,
            BOOT_DEADLINE,
            &BOOT_DEADLINE_S,
        )?,
    })
}

fn program(table: &LaunchOptions) -> Result<PathBuf, String> {
    let of_aws =
        [("group", &table.group), ("region", &table.region), ("endpoint", &table.endpoint)];
    if let Some((key, _)) = of_aws.iter().find(|(_, given)| given.is_some()) {
        return Err(format!("{key} is for kind = \"aws\" only; take it out"));
    }
    let path = table.program.clone().ok_or("it has no program; give its path")?;
    match path.is_absolute() {
        true => Ok(path),
        false => Err(format!("program `{}` is not an absolute path", path.display())),
    }
}

fn aws_group(table: &LaunchOptions) -> Result<AwsGroup, String> {
    if table.program.is_some() {
        return Err("program is for the kinds \"exec\" and \"helper\"; take it out".to_owned());
    }
    let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let name =
        given(&table.group).ok_or("it has no group; give the name of AWS's Auto Scaling group")?;
    let region = given(&table.region).ok_or("it has no region; give that of the group")?;
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !region.bytes().all(is_plain) {
        return Err(format!("region `{region}` is none of AWS's; eu-central-1 is one"));
    }
    if let Some(endpoint) = &table.endpoint {
        let is_url = reqwest::Url::parse(endpoint)
            .is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        if !is_url {
            return Err(format!(
                "endpoint `{endpoint}` is no URL that begins with https:// or http://"
            ));
        }
    }
    Ok(AwsGroup { name, region, endpoint: table.endpoint.clone() })
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
            names_machines: matches!(launcher.kind, LauncherKind::Aws(_)),
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

#[cfg(test)]
mod tests {
    use longshore_core::model::capacity_provider::FARGATE;

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
        let path = PathBuf::from("/opt/rack");
        assert_eq!(rack.kind, LauncherKind::Program { path, helper: false });
        assert!(!policy.launchers["rack"].names_machines);
        assert_eq!((rack.timeout.as_secs(), rack.boot_deadline.as_secs()), (120, 90));
        assert_eq!(policy.launchers["rack"].boot_deadline.as_secs(), 90);
        let mark = &policy.fargate[FARGATE];
        assert_eq!((mark.attribute.as_str(), mark.value.as_deref()), ("pool", Some("shared")));
    }

    #[test]
    fn a_launcher_may_be_a_group_of_aws() {
        let (launchers, policy) = read(
            "[launch.ec2]\nkind = 'aws'\ngroup = 'hosts'\nregion = 'eu-central-1'\n\
             endpoint = 'http://127.0.0.1:5000'\ncpu = 2048\nmemory = 3800\n",
        )
        .unwrap();
        let ec2 = &launchers["ec2"];
        let group = AwsGroup {
            name: "hosts".to_owned(),
            region: "eu-central-1".to_owned(),
            endpoint: Some("http://127.0.0.1:5000".to_owned()),
        };
        assert_eq!(ec2.kind, LauncherKind::Aws(group));
        assert_eq!((ec2.timeout.as_secs(), ec2.boot_deadline.as_secs()), (30, 600));
        assert!(policy.launchers["ec2"].names_machines);
    }

    #[test]
    fn tables_that_mean_nothing_are_refused_by_name() {
        for (text, says) in [
            ("[launch.a]\nkind = 'aws'\nregion = 'eu-west-1'\n", "[launch.a]: it has no group"),
            ("[launch.a]\nkind = 'aws'\ngroup = 'g'\n", "it has no region"),
            ("[launch.a]\nkind = 'aws'\ngroup = 'g'\nregion = 'EU West'\n", "is none of AWS's"),
            ("[launch.a]\nkind = 'aws'\nprogram = '/a'\n", "program is for the kinds"),
            (
                "[launch.a]\nkind = 'aws'\ngroup = 'g'\nregion = 'eu-west-1'\nendpoint = 'moto:5000'\n",
                "endpoint `moto:5000` is no URL",
            ),
            ("[launch.a]\nkind = 'exec'\nprogram = '/a'\nregion = 'x'\n", "region is for kind"),
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
