//! The coordinator's settings and command line: file < `LONGSHORE_*` < flags.
//!
//! Never: a key that is read and not used, or a bad value replaced by a default.

mod capacity;
mod error;

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use longshore_common::{
    arn::Identity,
    coordinator_address::{COORDINATORS_MAX, is_coordinator_address},
    task_policy::{self, TaskPolicy},
    telemetry::LogFormat,
};
use longshore_core::model::{
    capacity_provider::CapacityPolicy,
    options::parse_seconds,
    service::{LostAfter, ServicePolicy},
};
use serde::Deserialize;

pub use self::{
    capacity::{AwsGroup, Launcher, LauncherKind},
    error::SettingsError,
};
use self::{
    capacity::{HostMarkOptions, LaunchOptions},
    error::ACCOUNT_DIGITS,
};

/// Read when it exists and no other is named.
const DEFAULT_FILE: &str = "/etc/longshore/coordinator.toml";

/// Amazon ECS on your own hosts: keeps the clusters' state, places tasks, polls the agents.
#[derive(Debug, Parser)]
#[command(name = "longshore-coordinator", version)]
pub struct CommandLine {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Settings that every subcommand goes by, and so its help shows.
const OF_EVERY_SUBCOMMAND: [&str; 2] = ["config", "data_dir"];

impl CommandLine {
    /// The words of this process. Those that are wrong, and `--help`, are errors that say so.
    pub fn read() -> Result<Self, clap::Error> {
        Self::from_arg_matches(&Self::shown().try_get_matches()?)
    }

    /// With the help of each subcommand short: all take the settings of `serve`, few go by them.
    fn shown() -> clap::Command {
        let mut all = Self::command();
        // Makes the settings arguments of the subcommands.
        all.build();
        let settings: Vec<clap::Id> = Options::augment_args(clap::Command::new("settings"))
            .get_arguments()
            .map(|argument| argument.get_id().clone())
            .filter(|id| !OF_EVERY_SUBCOMMAND.contains(&id.as_str()))
            .collect();
        for of in all.get_subcommands_mut().filter(|of| of.get_name() != "serve") {
            hide(of, &settings);
        }
        all
    }
}

fn hide(command: &mut clap::Command, arguments: &[clap::Id]) {
    *command =
        std::mem::take(command).mut_args(|argument| match arguments.contains(argument.get_id()) {
            true => argument.hide(true),
            false => argument,
        });
    command.get_subcommands_mut().for_each(|of| hide(of, arguments));
}

/// What may stand in the file, the environment and on the command line.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// A TOML file with these settings, named as the flags with `_` for `-`
    /// [default: /etc/longshore/coordinator.toml, when it exists]
    #[arg(long, global = true, env = "LONGSHORE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Where the journal, the CA and the root key are kept [default: /var/lib/longshore/coordinator]
    #[arg(long, global = true, env = "LONGSHORE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the API listens; `[::]` is every address, of IPv4 too [default: `[::]:8420`]
    #[arg(long, global = true, env = "LONGSHORE_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where agents join; `[::]` is every address, of IPv4 too [default: `[::]:8421`]
    #[arg(long, global = true, env = "LONGSHORE_JOIN_LISTEN", value_name = "ADDRESS:PORT")]
    join_listen: Option<SocketAddr>,
    /// The address or name that agents and DiscoverPollEndpoint are told [default: the machine's
    /// host name]
    #[arg(long, global = true, env = "LONGSHORE_ADVERTISE", value_name = "HOST")]
    advertise: Option<String>,
    /// Joining ports of all coordinators of the fleet, which every host is told and tries when the
    /// address in its own settings does not answer: when the coordinator moves, the old and the new
    /// one [default: `advertise` with the port of `join_listen`]
    #[arg(
        long,
        global = true,
        env = "LONGSHORE_COORDINATORS",
        value_name = "HOST:PORT,…",
        value_delimiter = ','
    )]
    coordinators: Option<Vec<String>>,
    /// Of every ARN, and of the signatures that are accepted [default: us-east-1]
    #[arg(long, global = true, env = "LONGSHORE_REGION")]
    region: Option<String>,
    /// Of every ARN: twelve digits [default: 000000000000]
    #[arg(long, global = true, env = "LONGSHORE_ACCOUNT")]
    account: Option<String>,
    /// Seconds that a service's task without health checks runs until it counts as healthy; the tag
    /// longshore:healthy-after of a service or cluster wins [default: 40]
    #[arg(long, global = true, env = "LONGSHORE_HEALTHY_AFTER", value_name = "SECONDS")]
    healthy_after: Option<String>,
    /// Seconds that a host is silent until its services' tasks are replaced, or `never`; the tag
    /// longshore:lost-after of a service or cluster wins [default: 10]
    #[arg(long, global = true, env = "LONGSHORE_LOST_AFTER", value_name = "SECONDS")]
    lost_after: Option<String>,
    /// What no task may have: privileged, host-network, host-processes, host-ipc, devices,
    /// capabilities (added ones), docker-socket, unconfined (security options), log-addresses (log
    /// options that make the engine connect or read a file)
    #[arg(
        long,
        global = true,
        env = "LONGSHORE_FORBID",
        value_name = "NAME,…",
        value_delimiter = ','
    )]
    forbid: Option<Vec<String>>,
    /// Tasks may mount host paths from below these only [default: from anywhere]
    #[arg(
        long,
        global = true,
        env = "LONGSHORE_BIND_ROOTS",
        value_name = "DIR,…",
        value_delimiter = ','
    )]
    bind_roots: Option<Vec<String>>,
    /// Docker volumes that tasks may have although `bind_roots`, or `forbid` of devices or
    /// docker-socket, fences hosts in: types of file systems for the driver `local` (nfs), or
    /// driver:NAME
    #[arg(
        long,
        global = true,
        env = "LONGSHORE_ALLOW_VOLUMES",
        value_name = "KIND,…",
        value_delimiter = ','
    )]
    allow_volumes: Option<Vec<String>>,
    /// Give each service series of its own in /metrics (desired, running and pending tasks), up to
    /// 2,000 services [default: only sums of each cluster]
    #[arg(long, global = true, env = "LONGSHORE_METRICS_PER_SERVICE", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "true|false")]
    metrics_per_service: Option<bool>,
    /// What to log: `error`, `warn`, `info`, `debug` or a filter of the tracing crate [default: info]
    #[arg(long, global = true, env = "LONGSHORE_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// `text` or `json` [default: text]
    #[arg(long, global = true, env = "LONGSHORE_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    #[arg(skip)]
    launch: BTreeMap<String, LaunchOptions>,
    #[arg(skip)]
    capacity_providers: BTreeMap<String, HostMarkOptions>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the coordinator (what happens without a subcommand too)
    Serve,
    /// Make, list or revoke the tokens with which hosts join
    #[command(subcommand)]
    JoinToken(JoinTokenCommand),
    /// Go on from a journal that is older than what the hosts have seen, such as a restored backup
    ///
    /// The running coordinator raises an alarm and gives no orders after a `restore`, and when a host
    /// proves that the journal went back. If a newer journal exists, stop the coordinator and restore that one
    /// instead. With `recover`, hosts obey this journal again, and tasks that they run and it does
    /// not know are taken back from them. For 90 seconds services start and stop nothing; then they go
    /// back to the task definition and the count that the journal holds, so update them before. What
    /// was deleted, deregistered or revoked after the backup is there again. What was acknowledged
    /// after the backup and left no trace on a host is lost.
    Recover,
    /// Replace the tasks of lost hosts though half of a cluster's hosts were lost at once
    ///
    /// When at least half of the hosts fall silent together, the network is the likelier cause: the
    /// coordinator raises an alarm and replaces nothing, so that no task runs twice by the hundred.
    /// If the hosts are gone for good, this lets their tasks be replaced at once.
    ReplaceLostTasks {
        /// The cluster that the alarm names
        #[arg(long, value_name = "NAME")]
        cluster: String,
    },
    /// Say where tasks would go, for how many there is room, and why there is no more
    ///
    /// A dry run of the scheduler over the cluster as it is now; nothing is started or reserved.
    /// With --task-definition it answers for RunTask, with --service for the tasks that the service
    /// lacks, or would lack with another --desired-count or --task-definition (what an update would
    /// stop makes no room in it). With --task it tells why that task is where it is (what was
    /// recorded, and how its container instance stands to it now), or what it waits for.
    Explain(Explain),
    /// Copy the journal as of now to a new file, while the coordinator may be running
    ///
    /// The copy holds no keys. Keep copies of ca.pem, root-credentials, metrics-token and
    /// alertmanager-token of the data directory elsewhere too, once, and of the settings file: without its
    /// CA no host obeys a coordinator. `restore` puts a copy back.
    Backup {
        /// The copy, a new file
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Put a backup into the journal's place, while the coordinator is stopped
    ///
    /// The backup is checked first; the journal that was there is kept beside it. The CA (ca.pem), the
    /// root key and the tokens of the data directory stay: a backup holds none of them, and the hosts
    /// trust this CA only. Then start the coordinator: it gives no orders before you go on from
    /// the backup, see `recover --help`.
    Restore {
        /// What `backup` wrote
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Restore it without the rows of its history that are damaged (of stopped tasks, deployments
        /// and services' messages), on which nothing that runs depends
        #[arg(long)]
        leave_out_damaged_history: bool,
    },
    /// Make a new CA for the fleet, when its ca.pem is lost for good
    ///
    /// While the coordinator is stopped. No host trusts the new CA: on each, stop the agent, remove
    /// identity.json from its data directory and start it with a new join token. It is a new container
    /// instance then. What it ran before runs on: docs/operating/recovery.md, "A host that joined anew".
    NewCa,
    /// Read the whole journal and say whether it is intact
    Check,
    /// Run the programs that launch hosts, for the coordinator (what its unit longshore-launcher does)
    ///
    /// For launchers of kind `helper`, whose programs need what the coordinator's own unit keeps from
    /// it. Listens on a socket in the data directory.
    Launcher,
}

/// What `explain` explains.
#[derive(Args, Clone, Debug)]
pub struct Explain {
    /// The cluster's name
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub cluster: String,
    /// A task that has not stopped: its id or ARN
    #[arg(
        long,
        value_name = "TASK",
        required_unless_present_any = ["task_definition", "service"],
        conflicts_with_all = ["task_definition", "service", "constraints", "strategies"]
    )]
    pub task: Option<String>,
    /// A task definition: FAMILY, FAMILY:REVISION or its ARN
    #[arg(long, value_name = "FAMILY:REVISION")]
    pub task_definition: Option<String>,
    /// A service's name
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// How many tasks of the task definition [default: 1]
    #[arg(long, requires = "task_definition", conflicts_with = "service")]
    pub count: Option<u32>,
    /// The group that the tasks would be in [default: family:FAMILY]
    #[arg(long, requires = "task_definition", conflicts_with = "service")]
    pub group: Option<String>,
    /// How many tasks the service would have
    #[arg(long, requires = "service")]
    pub desired_count: Option<u32>,
    /// `distinctInstance`, or an expression for memberOf; may be repeated. With --service: instead
    /// of the service's own
    #[arg(long = "constraint", value_name = "EXPRESSION")]
    pub constraints: Vec<String>,
    /// `random`, `binpack:memory`, `spread:attribute:ecs.availability-zone`, …; may be repeated.
    /// With --service: instead of the service's own
    #[arg(long = "strategy", value_name = "TYPE:FIELD")]
    pub strategies: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum JoinTokenCommand {
    /// Print a new token; it is shown this once
    Create {
        /// The only cluster that hosts with this token may be in
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
        /// How long it can be used: 30m, 12h, 7d
        #[arg(long, value_parser = duration, default_value = "1h", value_name = "TIME")]
        ttl: Duration,
        /// How many hosts can join with it [default: any number]
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        uses: Option<u32>,
    },
    /// List the tokens, without their secrets
    List,
    /// Make a token useless at once
    Revoke {
        /// As `list` shows it
        id: String,
    },
}

/// What `serve` and the subcommands go by.
#[derive(Clone, Debug)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    pub join_listen: SocketAddr,
    pub advertise: String,
    /// `HOST:PORT` of joining ports; empty: `advertise` with the port of `join_listen`.
    pub coordinators: Vec<String>,
    pub identity: Identity,
    /// Of services whose tags and whose cluster's tags say nothing else.
    pub service_policy: ServicePolicy,
    /// What no task definition may have, in any cluster.
    pub task_policy: TaskPolicy,
    /// Who launches hosts for Auto Scaling groups, by name.
    pub launchers: BTreeMap<String, Launcher>,
    pub capacity_policy: CapacityPolicy,
    /// Whether `/metrics` tells of each service.
    pub metrics_per_service: bool,
    pub log: String,
    pub log_format: LogFormat,
}

impl Options {
    /// Puts the file beneath what the command line and the environment gave.
    pub fn settings(self) -> Result<Settings, SettingsError> {
        let file = self.file()?;
        let account = self.account.or(file.account).unwrap_or_else(|| "0".repeat(ACCOUNT_DIGITS));
        if account.len() != ACCOUNT_DIGITS || !account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(SettingsError::BadAccount(account));
        }
        let region = self.region.or(file.region).unwrap_or_else(|| "us-east-1".to_owned());
        let in_regions = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if region.is_empty() || !region.bytes().all(in_regions) {
            return Err(SettingsError::BadRegion(region));
        }
        let launchers = capacity::launchers(file.launch)?;
        let capacity_policy = capacity::policy(&launchers, file.capacity_providers)?;
        let every_address = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        Ok(Settings {
            data_dir: self
                .data_dir
                .or(file.data_dir)
                .unwrap_or_else(|| "/var/lib/longshore/coordinator".into()),
            listen: self.listen.or(file.listen).unwrap_or(every_address(8420)),
            join_listen: self.join_listen.or(file.join_listen).unwrap_or(every_address(8421)),
            advertise: self.advertise.or(file.advertise).unwrap_or_else(host_name),
            coordinators: coordinators(self.coordinators.or(file.coordinators))?,
            identity: Identity { region, account },
            service_policy: service_policy(
                self.healthy_after.or(file.healthy_after).as_deref(),
                self.lost_after.or(file.lost_after).as_deref(),
            )?,
            task_policy: TaskPolicy {
                forbidden: task_policy::forbidden(&self.forbid.or(file.forbid).unwrap_or_default())
                    .map_err(|error| SettingsError::BadPolicy { setting: "forbid", error })?,
                bind_roots: self
                    .bind_roots
                    .or(file.bind_roots)
                    .map(|roots| task_policy::bind_roots(&roots))
                    .transpose()
                    .map_err(|error| SettingsError::BadPolicy { setting: "bind_roots", error })?,
                allowed_volumes: task_policy::allowed_volumes(
                    &self.allow_volumes.or(file.allow_volumes).unwrap_or_default(),
                )
                .map_err(|error| SettingsError::BadPolicy { setting: "allow_volumes", error })?,
            },
            launchers,
            capacity_policy,
            metrics_per_service: self
                .metrics_per_service
                .or(file.metrics_per_service)
                .unwrap_or_default(),
            log: self.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
            log_format: self.log_format.or(file.log_format).unwrap_or_default(),
        })
    }

    fn file(&self) -> Result<Options, SettingsError> {
        let (path, must_exist) = match &self.config {
            Some(path) => (path.clone(), true),
            None => (DEFAULT_FILE.into(), false),
        };
        let text = match fs_err::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {
                return Ok(Options::default());
            }
            Err(error) => return Err(SettingsError::Unreadable(error)),
        };
        toml::from_str(&text).map_err(|error| SettingsError::Malformed(path, Box::new(error)))
    }
}

fn coordinators(named: Option<Vec<String>>) -> Result<Vec<String>, SettingsError> {
    let named = named.unwrap_or_default();
    if named.len() > COORDINATORS_MAX {
        return Err(SettingsError::TooManyCoordinators(named.len()));
    }
    match named.iter().find(|address| !is_coordinator_address(address)) {
        Some(address) => Err(SettingsError::BadCoordinator(address.clone())),
        None => Ok(named),
    }
}

fn service_policy(
    healthy_after: Option<&str>,
    lost_after: Option<&str>,
) -> Result<ServicePolicy, SettingsError> {
    let bad = |setting, value: &str, expected| {
        let value = value.to_owned();
        SettingsError::BadTime { setting, value, expected }
    };
    let mut policy = ServicePolicy::default();
    if let Some(value) = healthy_after {
        let expected = "say seconds, 40 or 0.5 for example";
        let milliseconds =
            parse_seconds(value).ok_or_else(|| bad("healthy_after", value, expected))?;
        policy.healthy_after = Duration::from_millis(milliseconds);
    }
    if let Some(value) = lost_after {
        let expected = "say seconds, 10 or 2.5 for example, or never";
        let parsed = LostAfter::parse(value);
        policy.lost_after = parsed.ok_or_else(|| bad("lost_after", value, expected))?;
    }
    Ok(policy)
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A number with `s`, `m`, `h` or `d`.
fn duration(text: &str) -> Result<Duration, NotADuration> {
    let (number, seconds) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        Some((at, 'd')) => (&text[..at], 24 * 3600),
        _ => return Err(NotADuration),
    };
    let number: u64 = number.parse().map_err(|_| NotADuration)?;
    match number.checked_mul(seconds) {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(NotADuration),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NotADuration;

impl std::error::Error for NotADuration {}

impl fmt::Display for NotADuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("say a time as 90s, 30m, 12h or 7d")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Options {
        let line = ["longshore-coordinator"].iter().chain(arguments);
        CommandLine::try_parse_from(line).unwrap().options
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("c.toml");
        fs_err::write(&file, "region = 'eu-west-1'\naccount = '123456789012'\n").unwrap();
        let file = file.to_str().unwrap();
        let settings = options(&["--config", file, "--region", "eu-north-1"]).settings().unwrap();
        assert_eq!(settings.identity.region, "eu-north-1");
        assert_eq!(settings.identity.account, "123456789012");
        assert_eq!(settings.listen.to_string(), "[::]:8420");
    }

    /// `serve` has the settings; elsewhere they would bury what the subcommand is about.
    #[test]
    fn help_of_a_subcommand_shows_its_own_flags() {
        let help = |words: &[&str]| {
            let line = [&["longshore-coordinator"], words, &["--help"]].concat();
            CommandLine::shown().try_get_matches_from(line).unwrap_err().to_string()
        };
        for words in [&["backup"][..], &["join-token", "create"], &["explain"], &["check"]] {
            let help = help(words);
            assert!(help.contains("--data-dir") && help.contains("--config"), "{help}");
            assert!(!help.contains("--join-listen") && !help.contains("--region"), "{help}");
        }
        assert!(help(&["backup"]).contains("--to <FILE>"));
        for words in [&["serve"][..], &[]] {
            assert!(help(words).contains("--join-listen"), "{words:?}");
        }
        // They count all the same, before and after.
        for line in [["--region=eu-west-1", "check"], ["check", "--region=eu-west-1"]] {
            let line = ["longshore-coordinator"].into_iter().chain(line);
            let read = CommandLine::shown().try_get_matches_from(line).unwrap();
            let read = CommandLine::from_arg_matches(&read).unwrap();
            assert_eq!(read.options.settings().unwrap().identity.region, "eu-west-1");
        }
    }

    #[test]
    fn an_unknown_key_in_the_file_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("c.toml");
        fs_err::write(&file, "regoin = 'eu-west-1'\n").unwrap();
        let refused = options(&["--config", file.to_str().unwrap()]).settings().unwrap_err();
        assert!(refused.to_string().contains("regoin"), "{refused}");
    }

    #[test]
    fn accounts_and_regions_are_checked() {
        assert!(matches!(
            options(&["--account", "12"]).settings(),
            Err(SettingsError::BadAccount(_))
        ));
        assert!(matches!(
            options(&["--region", "EU 1"]).settings(),
            Err(SettingsError::BadRegion(_))
        ));
    }

    #[test]
    fn services_go_by_settings_where_no_tag_says_otherwise() {
        let policy = |arguments: &[&str]| options(arguments).settings().map(|s| s.service_policy);
        let given = policy(&["--healthy-after", "0.5", "--lost-after", "never"]).unwrap();
        assert_eq!(given.healthy_after, Duration::from_millis(500));
        assert_eq!(given.lost_after, LostAfter::Never);
        for bad in ["", "-1", "soon", "1e12"] {
            let refused = policy(&[&format!("--lost-after={bad}")]).unwrap_err();
            assert!(refused.to_string().contains("or never"), "{refused}");
        }
    }

    #[test]
    fn what_no_task_may_have_is_a_list_of_known_names_and_absolute_paths() {
        let policy = |arguments: &[&str]| options(arguments).settings().map(|s| s.task_policy);
        let given = policy(&["--forbid=privileged,devices", "--bind-roots=/srv"]).unwrap();
        assert_eq!(given.forbidden.len(), 2);
        assert_eq!(given.bind_roots, Some(vec![PathBuf::from("/srv")]));
        assert_eq!(policy(&[]).unwrap(), TaskPolicy::default());
        let refused = policy(&["--forbid=root"]).unwrap_err();
        assert!(refused.to_string().contains("`root` is not known"), "{refused}");
        let refused = policy(&["--bind-roots=srv"]).unwrap_err();
        assert!(refused.to_string().contains("not an absolute path"), "{refused}");
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 24 * 3600)));
        for bad in ["", "7", "0h", "h", "-1h", "1.5h", "99999999999999999999d"] {
            assert_eq!(duration(bad), Err(NotADuration), "{bad}");
        }
    }
}
