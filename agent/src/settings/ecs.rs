//! The variables of Amazon's own agent, so that a host's `/etc/ecs/ecs.config` works as it is. What is
//! not built is named in a warning, never silently ignored, unless its value asks for nothing.

use std::{collections::BTreeMap, time::Duration};

use longshore_common::boolean;

use super::{
    SettingProblem, SettingProblems,
    value::{Environment, RawSetting, SettingOrigin, Value},
};
use crate::settings::image_cleanup::INTERVAL_MIN;

/// How a variable's text is written.
#[derive(Clone, Copy)]
enum ValueForm {
    Text,
    /// A JSON list of strings or numbers: `["json-file"]`.
    List,
    /// A JSON object of strings: `{"rack":"12"}`.
    Map,
    LogLevel,
    LogFormat,
    /// `true` offers all that are found.
    GpuSupport,
    /// NVIDIA's usual one does what device requests do, and need not be configured for them.
    GpuRuntime,
    /// `true` listens on every address.
    OffHostIntrospection,
    /// In every form of Go's ParseBool, as ECS's agent reads it.
    Boolean,
    /// As Go writes a duration. ECS's agent goes on with its default when it is shorter than this.
    AtLeast(Duration),
    /// The same, but a shorter one counts as this.
    RaisedTo(Duration),
    /// A whole number. ECS's agent goes on with its default when it is out of these bounds.
    Within(u64, u64),
    /// One of these words. ECS's agent goes on with its default at any other.
    OneOf(&'static [&'static str]),
    /// The lowest and the highest. ECS's agent goes on with its default at anything else.
    Ports,
    /// ECS's agent goes on with its default when it is not within its bounds.
    CpuPeriod,
    /// Requests a second and at once. ECS's agent goes on with its default at anything else.
    Rate,
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// Maximum of images in a cycle that the setting takes.
const IMAGES_MAX: u64 = 10_000;
const MEMORY_MAX: u64 = u32::MAX as u64;
/// Maximum of processes that `pids.max` takes (README of ECS's agent).
const PROCESSES_MAX: u64 = 4 * 1024 * 1024;
const LOG_LEVELS: &[&str] =
    &["crit", "critical", "error", "warn", "warning", "info", "debug", "trace"];
const PULLS: &[&str] = &["default", "always", "once", "prefer-cached"];

/// The variables that mean the same here, with the setting that each gives.
const HONOURED: &[(&str, &str, ValueForm)] = &[
    ("DOCKER_HOST", "docker", ValueForm::Text),
    (
        "ECS_ALLOW_OFFHOST_INTROSPECTION_ACCESS",
        "introspection-listen",
        ValueForm::OffHostIntrospection,
    ),
    ("ECS_AVAILABLE_LOGGING_DRIVERS", "logging-drivers", ValueForm::List),
    ("ECS_CGROUP_CPU_PERIOD", "task-cpu-period", ValueForm::CpuPeriod),
    ("ECS_CLUSTER", "cluster", ValueForm::Text),
    ("ECS_CONTAINER_INSTANCE_TAGS", "tags", ValueForm::Map),
    ("ECS_CONTAINER_CREATE_TIMEOUT", "container-create-timeout", ValueForm::RaisedTo(MINUTE)),
    ("ECS_CONTAINER_START_TIMEOUT", "container-start-timeout", ValueForm::AtLeast(SECOND)),
    ("ECS_CONTAINER_STOP_TIMEOUT", "container-stop-timeout", ValueForm::AtLeast(SECOND)),
    ("ECS_DISABLE_IMAGE_CLEANUP", "disable-image-cleanup", ValueForm::Boolean),
    ("ECS_DISABLE_PRIVILEGED", "disable-privileged", ValueForm::Boolean),
    ("ECS_DYNAMIC_HOST_PORT_RANGE", "dynamic-host-ports", ValueForm::Ports),
    ("ECS_ENABLE_SPOT_INSTANCE_DRAINING", "drain-on-spot-interruption", ValueForm::Boolean),
    ("ECS_ENABLE_TASK_CPU_MEM_LIMIT", "task-cpu-mem-limit", ValueForm::Boolean),
    ("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", "task-cleanup-wait", ValueForm::AtLeast(SECOND)),
    ("ECS_ENGINE_AUTH_DATA", "engine-auth-data", ValueForm::Text),
    ("ECS_ENGINE_AUTH_TYPE", "engine-auth-type", ValueForm::Text),
    ("ECS_ENABLE_CONTAINER_METADATA", "container-metadata", ValueForm::Boolean),
    ("ECS_ENABLE_GPU_SUPPORT", "gpus", ValueForm::GpuSupport),
    ("ECS_EXCLUDE_UNTRACKED_IMAGE", "image-cleanup-exclude", ValueForm::Text),
    ("ECS_IMAGE_CLEANUP_INTERVAL", "image-cleanup-interval", ValueForm::AtLeast(INTERVAL_MIN)),
    ("ECS_IMAGE_MINIMUM_CLEANUP_AGE", "image-minimum-cleanup-age", ValueForm::AtLeast(SECOND)),
    ("ECS_IMAGE_PULL_BEHAVIOR", "image-pull", ValueForm::OneOf(PULLS)),
    ("ECS_IMAGE_PULL_INACTIVITY_TIMEOUT", "image-pull-silence", ValueForm::AtLeast(SECOND)),
    ("ECS_IMAGE_PULL_TIMEOUT", "image-pull-timeout", ValueForm::AtLeast(SECOND)),
    ("ECS_INSTANCE_ATTRIBUTES", "attributes", ValueForm::Map),
    ("ECS_LOGLEVEL", "log", ValueForm::LogLevel),
    ("ECS_LOG_OUTPUT_FORMAT", "log-format", ValueForm::LogFormat),
    ("ECS_MANIFEST_PULL_TIMEOUT", "manifest-pull-timeout", ValueForm::AtLeast(SECOND)),
    (
        "ECS_NUM_IMAGES_DELETE_PER_CYCLE",
        "images-deleted-per-cycle",
        ValueForm::Within(1, IMAGES_MAX),
    ),
    ("ECS_NVIDIA_RUNTIME", "gpu-runtime", ValueForm::GpuRuntime),
    ("ECS_PULL_DEPENDENT_CONTAINERS_UPFRONT", "pull-dependent-upfront", ValueForm::Boolean),
    ("ECS_RESERVED_MEMORY", "reserved-memory", ValueForm::Within(0, MEMORY_MAX)),
    ("ECS_TASK_METADATA_RPS_LIMIT", "task-endpoints-rate", ValueForm::Rate),
    ("ECS_TASK_PIDS_LIMIT", "task-pids-limit", ValueForm::Within(1, PROCESSES_MAX)),
    ("HTTPS_PROXY", "https-proxy", ValueForm::Text),
    ("HTTP_PROXY", "http-proxy", ValueForm::Text),
    ("NO_PROXY", "no-proxy", ValueForm::Text),
];

/// Two variables that together make one setting.
const TCP_PORTS: &str = "ECS_RESERVED_PORTS";
const UDP_PORTS: &str = "ECS_RESERVED_PORTS_UDP";

/// Variables that are not honoured: the values that ask for nothing, and what to do instead.
const NOT_HONOURED: &[(&str, &[&str], &str)] = &[
    ("ECS_AGENT_APPARMOR_PROFILE", &[], "the agent is no container: its unit confines it"),
    ("ECS_AGENT_HEALTHCHECK_HOST", &["localhost"], "the agent is no container: ask /healthz"),
    ("ECS_AGENT_LABELS", &[], "the agent is no container"),
    ("ECS_ALTERNATE_CREDENTIAL_PROFILE", &["default"], "give keys in the environment"),
    ("ECS_APPARMOR_CAPABLE", &["true"], "Docker says by itself whether the host has AppArmor"),
    ("ECS_AWSVPC_ADDITIONAL_LOCAL_ROUTES", &["[]"], "network mode awsvpc is not built yet"),
    ("ECS_AWSVPC_BLOCK_IMDS", &["true"], "network mode awsvpc is not built yet"),
    ("ECS_BACKEND_HOST", &[], "set LONGSHORE_COORDINATOR to the coordinator's joining port"),
    ("ECS_CGROUP_PATH", &["/sys/fs/cgroup"], "control groups are where systemd mounts them"),
    ("ECS_CHECKPOINT", &["true"], "the ledger is always kept"),
    ("ECS_CNI_PLUGINS_PATH", &[], "network mode awsvpc is not built yet"),
    (
        "ECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM",
        &["none"],
        "write the tags into ECS_CONTAINER_INSTANCE_TAGS",
    ),
    ("ECS_DATADIR", &[], "set LONGSHORE_DATA_DIR"),
    ("ECS_DISABLE_DOCKER_HEALTH_CHECK", &["false"], "the agent is no container: ask /healthz"),
    ("ECS_DISABLE_METRICS", &["true"], "metrics are not sent; scrape /metrics"),
    ("ECS_EBSTA_SUPPORTED", &["false"], "EBS volumes are not built yet"),
    (
        "ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE",
        &["true", "false"],
        "awslogs goes to the coordinator and needs no role",
    ),
    (
        "ECS_ENABLE_CPU_UNBOUNDED_WINDOWS_WORKAROUND",
        &["true", "false"],
        "there is no agent for Windows",
    ),
    ("ECS_ENABLE_HIGH_DENSITY_ENI", &["true", "false"], "network mode awsvpc is not built yet"),
    (
        "ECS_ENABLE_MEMORY_UNBOUNDED_WINDOWS_WORKAROUND",
        &["true", "false"],
        "there is no agent for Windows",
    ),
    ("ECS_ENABLE_RUNTIME_STATS", &["false"], "scrape /metrics"),
    ("ECS_ENABLE_TASK_ENI", &["false"], "network mode awsvpc is not built yet"),
    ("ECS_ENABLE_TASK_IAM_ROLE", &["false"], "task roles are not built yet"),
    ("ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST", &["false"], "task roles are not built yet"),
    (
        "ECS_ENABLE_UNTRACKED_IMAGE_CLEANUP",
        &["false"],
        "images that were not pulled for a task are left alone: remove them by hand",
    ),
    (
        "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER",
        &[],
        "tasks are removed one after the other, so that nothing has to be spread",
    ),
    (
        "ECS_EXCLUDE_IPV6_PORTBINDING",
        &["true"],
        "DescribeTasks shows bindings of IPv4 and IPv6 alike",
    ),
    ("ECS_FSX_WINDOWS_FILE_SERVER_SUPPORTED", &["false"], "there is no agent for Windows"),
    ("ECS_GMSA_SUPPORTED", &["false"], "gMSA is not built"),
    ("ECS_HOST_DATA_DIR", &[], "the agent is no container: set LONGSHORE_DATA_DIR"),
    ("ECS_LOGFILE", &[], "read the log with `journalctl -u longshore-agent`"),
    ("ECS_LOGLEVEL_ON_INSTANCE", &[], "there is one log, whose level is ECS_LOGLEVEL"),
    ("ECS_LOG_DRIVER", &[], "the agent is no container: its log goes to the journal"),
    ("ECS_LOG_MAX_FILE_SIZE_MB", &[], "the journal keeps the log: see journald.conf"),
    ("ECS_LOG_MAX_ROLL_COUNT", &[], "the journal keeps the log: see journald.conf"),
    ("ECS_LOG_OPTS", &["{}"], "the agent is no container: its log goes to the journal"),
    ("ECS_LOG_ROLLOVER_TYPE", &[], "the journal keeps the log: see journald.conf"),
    (
        "ECS_OFFHOST_INTROSPECTION_INTERFACE_NAME",
        &[],
        "set LONGSHORE_INTROSPECTION_LISTEN to an address",
    ),
    ("ECS_POLLING_METRICS_WAIT_DURATION", &[], "metrics are not sent; scrape /metrics"),
    ("ECS_POLL_METRICS", &["true", "false"], "metrics are not sent; scrape /metrics"),
    ("ECS_SELINUX_CAPABLE", &["true"], "Docker says by itself whether the host has SELinux"),
    (
        "ECS_SHARED_VOLUME_MATCH_FULL_CONFIG",
        &["false"],
        "shared volumes are the same when their names are",
    ),
    ("ECS_SKIP_LOCALHOST_TRAFFIC_FILTER", &["true", "false"], "no route to loopback is opened"),
    ("ECS_UPDATES_ENABLED", &["false"], "update the agent as you installed it"),
    ("ECS_WARM_POOLS_CHECK", &["false"], "start the agent when the instance is in service"),
];

/// Variables of ECS's agent that do not begin with `ECS_`, and what to do instead.
const OTHERS_NOT_HONOURED: &[(&str, &str)] = &[
    ("CREDENTIALS_FETCHER_HOST", "gMSA is not built"),
    ("CREDENTIALS_FETCHER_SECRET_NAME_FOR_DOMAINLESS_GMSA", "gMSA is not built"),
    (
        "NON_ECS_IMAGE_MINIMUM_CLEANUP_AGE",
        "images that no task has used are left alone: remove them by hand",
    ),
];

const PREFIX: &str = "ECS_";

/// What the environment gives to settings, by their names.
pub(crate) fn read(
    environment: &Environment,
    problems: &mut SettingProblems,
    warnings: &mut Vec<String>,
) -> BTreeMap<&'static str, RawSetting> {
    let mut values = BTreeMap::new();
    let set = |name: &str| environment.get(name).map(|text| text.trim()).filter(|t| !t.is_empty());
    for &(variable, setting, form) in HONOURED {
        // curl and many others read only the small form of these.
        let small = variable.ends_with("_PROXY").then(|| variable.to_ascii_lowercase());
        let Some(text) = set(variable).or_else(|| set(&small?)) else { continue };
        let parsed = match parse(text, form) {
            Ok(parsed) => parsed,
            Err(advice) => {
                problems.push(SettingProblem(format!("{variable} {advice}")));
                continue;
            }
        };
        warnings.extend(parsed.warning.map(|warning| format!("{variable} {warning}")));
        if let Some(value) = parsed.value {
            let origin = SettingOrigin::EcsVariable(variable.to_owned());
            values.insert(setting, RawSetting { value, origin });
        }
    }
    if let Some(ports) = reserved_ports(environment, problems) {
        values.insert("reserved-ports", ports);
    }
    for (name, text) in environment.range(PREFIX.to_owned()..) {
        if !name.starts_with(PREFIX) {
            break;
        }
        if text.trim().is_empty() || name == TCP_PORTS || name == UDP_PORTS {
            continue;
        }
        if !HONOURED.iter().any(|(variable, ..)| variable == name) {
            warnings.extend(not_honoured(name, text.trim()));
        }
    }
    for (name, advice) in OTHERS_NOT_HONOURED.iter().filter(|(name, _)| set(name).is_some()) {
        warnings.push(format!("{name} has no effect on this agent: {advice}"));
    }
    values
}

/// Never shows the value: it can be a password.
fn not_honoured(name: &str, text: &str) -> Option<String> {
    match NOT_HONOURED.iter().find(|(variable, ..)| *variable == name) {
        Some((_, harmless, _)) if harmless.iter().any(|word| means(text, word)) => None,
        Some((_, _, advice)) => Some(format!("{name} has no effect on this agent: {advice}")),
        None => Some(format!(
            "{name} has no effect on this agent: what it asks for is not built; `longshore-agent \
             --help` lists what is"
        )),
    }
}

/// Whether a value says `word`, which may be a boolean in another form.
fn means(text: &str, word: &str) -> bool {
    text == word || boolean::parse(text).is_some_and(|b| Some(b) == boolean::parse(word))
}

fn reserved_ports(environment: &Environment, problems: &mut SettingProblems) -> Option<RawSetting> {
    let mut ports = Vec::new();
    let mut origins = Vec::new();
    for (variable, suffix) in [(TCP_PORTS, ""), (UDP_PORTS, "/udp")] {
        let Some(text) = environment.get(variable).filter(|text| !text.trim().is_empty()) else {
            continue;
        };
        origins.push(variable);
        match list(text.trim()) {
            Ok(items) => ports.extend(items.into_iter().map(|port| format!("{port}{suffix}"))),
            Err(advice) => problems.push(SettingProblem(format!("{variable} {advice}"))),
        }
    }
    (!origins.is_empty()).then(|| RawSetting {
        value: Value::List(ports),
        origin: SettingOrigin::EcsVariable(origins.join(" and ")),
    })
}

/// A variable with its meaning.
#[derive(Default)]
struct ParsedVariable {
    /// Absent when the setting keeps its default.
    value: Option<Value>,
    /// Completes a sentence that begins with the variable's name.
    warning: Option<String>,
}

impl ParsedVariable {
    fn text(text: &str) -> ParsedVariable {
        ParsedVariable { value: Some(Value::Text(text.to_owned())), warning: None }
    }

    /// ECS's agent goes on with its default too.
    fn ignored(text: &str, bounds: &str) -> ParsedVariable {
        let warning = format!("has no effect: `{text}` is not {bounds}");
        ParsedVariable { value: None, warning: Some(warning) }
    }
}

fn parse(text: &str, form: ValueForm) -> Result<ParsedVariable, String> {
    let given = |value| Ok(ParsedVariable { value: Some(value), warning: None });
    let neither = || format!("is `{text}`: give true or false");
    let duration = || text.parse::<jiff::SignedDuration>().ok().and_then(|d| d.try_into().ok());
    Ok(match form {
        ValueForm::Text => ParsedVariable::text(text),
        ValueForm::List => return given(Value::List(list(text)?)),
        ValueForm::Map => return given(Value::Map(map(text)?)),
        ValueForm::LogLevel => match text {
            "crit" | "critical" => ParsedVariable::text("error"),
            "warning" => ParsedVariable::text("warn"),
            level if LOG_LEVELS.contains(&level) => ParsedVariable::text(level),
            other => ParsedVariable::ignored(other, &format!("one of {}", LOG_LEVELS.join(", "))),
        },
        ValueForm::LogFormat => match text {
            "logfmt" => ParsedVariable::text("text"),
            "json" => ParsedVariable::text("json"),
            other => ParsedVariable::ignored(other, "logfmt or json"),
        },
        ValueForm::Boolean => match boolean::parse(text).ok_or_else(neither)? {
            true => ParsedVariable::text("true"),
            false => ParsedVariable::text("false"),
        },
        ValueForm::GpuRuntime => match text {
            "nvidia" => ParsedVariable::default(),
            other => ParsedVariable::text(other),
        },
        ValueForm::GpuSupport => match boolean::parse(text).ok_or_else(neither)? {
            true => ParsedVariable::text("auto"),
            false => ParsedVariable::default(),
        },
        ValueForm::OffHostIntrospection => match boolean::parse(text).ok_or_else(neither)? {
            true => ParsedVariable::text("0.0.0.0:51678"),
            false => ParsedVariable::default(),
        },
        ValueForm::AtLeast(least) => match duration() {
            Some::<Duration>(duration) if duration >= least => ParsedVariable::text(text),
            _ => ParsedVariable::ignored(
                text,
                &format!("a duration of {} s or more", least.as_secs()),
            ),
        },
        ValueForm::RaisedTo(least) => match duration() {
            Some::<Duration>(duration) if duration >= least => ParsedVariable::text(text),
            Some(_) => {
                let least = format!("{}s", least.as_secs());
                let warning = Some(format!("counts as {least}, the least that there is"));
                ParsedVariable { value: Some(Value::Text(least)), warning }
            }
            None => ParsedVariable::ignored(text, "a duration, such as 90s or 4m"),
        },
        ValueForm::Within(least, most) => match text.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => ParsedVariable::text(text),
            _ => ParsedVariable::ignored(text, &format!("a whole number from {least} to {most}")),
        },
        ValueForm::OneOf(words) => match words.contains(&text) {
            true => ParsedVariable::text(text),
            false => ParsedVariable::ignored(text, &format!("one of {}", words.join(", "))),
        },
        ValueForm::Ports => match super::parse::port_bounds(&Value::Text(text.to_owned())) {
            Ok(_) => ParsedVariable::text(text),
            Err(_) => ParsedVariable::ignored(text, "a range such as 40000-49999"),
        },
        ValueForm::CpuPeriod => match super::parse::cpu_period(&Value::Text(text.to_owned())) {
            Ok(_) => ParsedVariable::text(text),
            Err(_) => ParsedVariable::ignored(text, "a period of 8 ms to 100 ms"),
        },
        ValueForm::Rate => match super::parse::request_rate(&Value::Text(text.to_owned())) {
            Ok(_) => ParsedVariable::text(text),
            Err(_) => ParsedVariable::ignored(text, "a rate such as 40,60"),
        },
    })
}

fn list(text: &str) -> Result<Vec<String>, String> {
    let advice = "is not a JSON list: write it as [\"json-file\",\"journald\"] or [80,443]";
    let items: Vec<serde_json::Value> =
        serde_json::from_str(text).map_err(|error| format!("{advice} ({error})"))?;
    items.into_iter().map(|item| scalar(item).ok_or_else(|| advice.to_owned())).collect()
}

fn map(text: &str) -> Result<Vec<(String, String)>, String> {
    let advice = "is not a JSON object of strings: write it as {\"rack\":\"12\"}";
    let members: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| format!("{advice} ({error})"))?;
    members
        .into_iter()
        .map(|(key, value)| match value {
            serde_json::Value::String(value) => Ok((key, value)),
            _ => Err(advice.to_owned()),
        })
        .collect()
}

fn scalar(item: serde_json::Value) -> Option<String> {
    match item {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
