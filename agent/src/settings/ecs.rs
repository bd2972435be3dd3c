//! The variables of Amazon's own agent, so that a host's `/etc/ecs/ecs.config` works as it is. What is
//! not built is named in a warning, never silently ignored, unless its value asks for nothing.

use std::collections::BTreeMap;

use longshore_common::boolean;

use super::{
    Problem, Problems,
    source::{Environment, Origin, Raw, Value},
};

/// How a variable's text is written.
#[derive(Clone, Copy)]
enum Form {
    Text,
    /// A JSON list of strings or numbers: `["json-file"]`.
    List,
    /// A JSON object of strings: `{"rack":"12"}`.
    Map,
    LogLevel,
    LogFormat,
    /// `true` offers all that are found.
    GpuSupport,
    /// `true` listens on every address.
    OffHostIntrospection,
}

/// The variables that mean the same here, with the setting that each gives.
const HONOURED: &[(&str, &str, Form)] = &[
    ("DOCKER_HOST", "docker", Form::Text),
    ("ECS_ALLOW_OFFHOST_INTROSPECTION_ACCESS", "introspection-listen", Form::OffHostIntrospection),
    ("ECS_AVAILABLE_LOGGING_DRIVERS", "logging-drivers", Form::List),
    ("ECS_CLUSTER", "cluster", Form::Text),
    ("ECS_CONTAINER_INSTANCE_TAGS", "tags", Form::Map),
    ("ECS_CONTAINER_STOP_TIMEOUT", "container-stop-timeout", Form::Text),
    ("ECS_DISABLE_IMAGE_CLEANUP", "disable-image-cleanup", Form::Text),
    ("ECS_DISABLE_PRIVILEGED", "disable-privileged", Form::Text),
    ("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", "task-cleanup-wait", Form::Text),
    ("ECS_ENGINE_AUTH_DATA", "engine-auth-data", Form::Text),
    ("ECS_ENGINE_AUTH_TYPE", "engine-auth-type", Form::Text),
    ("ECS_ENABLE_CONTAINER_METADATA", "container-metadata", Form::Text),
    ("ECS_ENABLE_GPU_SUPPORT", "gpus", Form::GpuSupport),
    ("ECS_EXCLUDE_UNTRACKED_IMAGE", "image-cleanup-exclude", Form::Text),
    ("ECS_IMAGE_CLEANUP_INTERVAL", "image-cleanup-interval", Form::Text),
    ("ECS_IMAGE_MINIMUM_CLEANUP_AGE", "image-minimum-cleanup-age", Form::Text),
    ("ECS_IMAGE_PULL_BEHAVIOR", "image-pull", Form::Text),
    ("ECS_INSTANCE_ATTRIBUTES", "attributes", Form::Map),
    ("ECS_LOGLEVEL", "log", Form::LogLevel),
    ("ECS_LOG_OUTPUT_FORMAT", "log-format", Form::LogFormat),
    ("ECS_NUM_IMAGES_DELETE_PER_CYCLE", "images-deleted-per-cycle", Form::Text),
    ("ECS_RESERVED_MEMORY", "reserved-memory", Form::Text),
    ("ECS_TASK_METADATA_RPS_LIMIT", "task-endpoints-rate", Form::Text),
];

/// Two variables that together make one setting.
const TCP_PORTS: &str = "ECS_RESERVED_PORTS";
const UDP_PORTS: &str = "ECS_RESERVED_PORTS_UDP";

/// Variables that are not honoured: the values that ask for nothing, and what to do instead.
const NOT_HONOURED: &[(&str, &[&str], &str)] = &[
    ("ECS_BACKEND_HOST", &[], "set LONGSHORE_COORDINATOR to the coordinator's joining port"),
    ("ECS_CHECKPOINT", &["true"], "the ledger is always kept"),
    ("ECS_DATADIR", &[], "set LONGSHORE_DATA_DIR"),
    ("ECS_DISABLE_METRICS", &["true"], "metrics are not sent; scrape /metrics"),
    ("ECS_ENABLE_SPOT_INSTANCE_DRAINING", &["false"], "drain by UpdateContainerInstancesState"),
    ("ECS_ENABLE_TASK_ENI", &["false"], "network mode awsvpc is not built yet"),
    ("ECS_ENABLE_TASK_IAM_ROLE", &["false"], "task roles are not built yet"),
    ("ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST", &["false"], "task roles are not built yet"),
    (
        "ECS_ENABLE_UNTRACKED_IMAGE_CLEANUP",
        &["false"],
        "images that no task has used are left alone: remove them by hand",
    ),
    ("ECS_POLL_METRICS", &["false"], "metrics are not sent; scrape /metrics"),
    ("ECS_UPDATES_ENABLED", &["false"], "update the agent as you installed it"),
];

const PREFIX: &str = "ECS_";

/// What the environment gives to settings, by their names.
pub(crate) fn read(
    environment: &Environment,
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) -> BTreeMap<&'static str, Raw> {
    let mut values = BTreeMap::new();
    for &(variable, setting, form) in HONOURED {
        let Some(text) = environment.get(variable).filter(|text| !text.trim().is_empty()) else {
            continue;
        };
        match parse(text.trim(), form) {
            Ok(Some(value)) => {
                let origin = Origin::EcsVariable(variable.to_owned());
                values.insert(setting, Raw { value, origin });
            }
            Ok(None) => {}
            Err(advice) => problems.push(Problem(format!("{variable} {advice}"))),
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

fn reserved_ports(environment: &Environment, problems: &mut Problems) -> Option<Raw> {
    let mut ports = Vec::new();
    let mut origins = Vec::new();
    for (variable, suffix) in [(TCP_PORTS, ""), (UDP_PORTS, "/udp")] {
        let Some(text) = environment.get(variable).filter(|text| !text.trim().is_empty()) else {
            continue;
        };
        origins.push(variable);
        match list(text.trim()) {
            Ok(items) => ports.extend(items.into_iter().map(|port| format!("{port}{suffix}"))),
            Err(advice) => problems.push(Problem(format!("{variable} {advice}"))),
        }
    }
    (!origins.is_empty()).then(|| Raw {
        value: Value::List(ports),
        origin: Origin::EcsVariable(origins.join(" and ")),
    })
}

fn parse(text: &str, form: Form) -> Result<Option<Value>, String> {
    let text_value = |text: &str| Ok(Some(Value::Text(text.to_owned())));
    match form {
        Form::Text => text_value(text),
        Form::List => list(text).map(|items| Some(Value::List(items))),
        Form::Map => map(text).map(|pairs| Some(Value::Map(pairs))),
        Form::LogLevel => match text {
            "crit" | "critical" => text_value("error"),
            "warning" => text_value("warn"),
            other => text_value(other),
        },
        Form::LogFormat => match text {
            "logfmt" => text_value("text"),
            other => text_value(other),
        },
        Form::GpuSupport => if_true(text, "auto"),
        Form::OffHostIntrospection => if_true(text, "0.0.0.0:51678"),
    }
}

/// What a boolean stands for when it is true; false leaves the setting as it is.
fn if_true(text: &str, meant: &str) -> Result<Option<Value>, String> {
    match boolean::parse(text) {
        Some(true) => Ok(Some(Value::Text(meant.to_owned()))),
        Some(false) => Ok(None),
        None => Err(format!("is `{text}`: give {}", boolean::FORMS)),
    }
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
