//! What a single value means, by its kind. An error is advice: what to write instead.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use longshore_common::{
    boolean,
    id::HostId,
    protocol::Attribute,
    resources::{CpuUnits, HostPort, MemoryMib, Transport},
    task_policy::{self, Forbidden},
};

use super::super::{Ec2Metadata, Gpus, value::Value};
use crate::settings::{
    Objects, PortBounds, Proxies, PullPolicy, RepositoryCredentials, RequestRate,
    image_cleanup::INTERVAL_MIN,
};

/// Default port of the coordinator at which agents join.
const JOIN_PORT: u16 = 8421;
/// Maximum of characters of a cluster's name (API reference, CreateCluster: "up to 255 letters,
/// numbers, underscores, hyphens").
const CLUSTER_NAME_CHARS_MAX: usize = 255;
/// Maximum of reserved ports of an instance beside the six of ECS itself (ecs-behaviour 1.3).
const RESERVED_PORTS_MAX: usize = 94;
/// Maximum of characters of an attribute's name or value (API reference, PutAttributes).
const ATTRIBUTE_CHARS_MAX: usize = 128;
const TAGS_MAX: usize = 50;
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;
/// Maximum of GPUs of a host that the coordinator takes.
const GPUS_MAX: usize = 64;
const GPU_ID_CHARS_MAX: usize = 128;
const CPU_PERIOD_US: std::ops::RangeInclusive<u64> = 8_000..=100_000;
const PROCESSES_MAX: u32 = 4 * 1024 * 1024;
/// Minimum timeout of making a container.
const CREATE_TIMEOUT_MIN: Duration = Duration::from_secs(60);
/// Minimum of the two durations that ECS's agent bounds.
const DURATION_MIN: Duration = Duration::from_secs(1);
/// Maximum of stopped tasks that may be kept: Docker lists all of them at once.
const STOPPED_TASKS_KEPT_MAX: usize = 100_000;
/// Maximum of images removed in a cycle: more than a host holds.
const IMAGES_PER_CYCLE_MAX: usize = 100_000;
/// Maximum of CPU units of a host: a thousand cores. More is a slip.
const CPU_UNITS_MAX: u32 = 1024 * 1024;

pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) if text.trim().is_empty() => {
            Err("is empty: give a value, or leave it out".to_owned())
        }
        Value::Text(text) => Ok(text.clone()),
        Value::List(_) | Value::Map(_) => {
            Err("is a list or a table: give a single value".to_owned())
        }
    }
}

pub(super) fn items(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Text(text) => Ok(text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()),
        Value::List(items) => Ok(items.clone()),
        Value::Map(_) => Err("is a table: give a list".to_owned()),
    }
}

/// Names with their values; a name alone has none.
pub(super) fn pairs(value: &Value) -> Result<Vec<(String, Option<String>)>, String> {
    let mut pairs: Vec<(String, Option<String>)> = Vec::new();
    match value {
        Value::Map(map) => pairs.extend(map.iter().cloned().map(|(name, value)| {
            let value = Some(value).filter(|value| !value.is_empty());
            (name, value)
        })),
        other => pairs.extend(items(other)?.into_iter().map(|item| match item.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (item, None),
        })),
    }
    let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|two| two[0] == two[1]) {
        Some(two) => Err(format!("names `{}` twice: keep one of them", two[0])),
        None => Ok(pairs),
    }
}

pub(super) fn coordinator(value: &Value) -> Result<String, String> {
    let given = text(value)?;
    let advice = || {
        format!(
            "`{given}` is not a host and port: write it as 10.0.0.1:8421, coordinator.example:8421 \
             or [2001:db8::1]:8421"
        )
    };
    if let Ok(address) = given.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, JOIN_PORT).to_string());
    }
    if let Ok(address) = given.parse::<SocketAddr>() {
        return if address.port() == 0 { Err(advice()) } else { Ok(given) };
    }
    let (host, port) = match given.rsplit_once(':') {
        Some((host, port)) => {
            (host, port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(advice)?)
        }
        None => (given.as_str(), JOIN_PORT),
    };
    if is_host_name(host) { Ok(format!("{host}:{port}")) } else { Err(advice()) }
}

pub(super) fn advertise(value: &Value) -> Result<String, String> {
    let given = text(value)?;
    let unspecified = given.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
    let usable = given.parse::<IpAddr>().is_ok() || is_host_name(&given);
    if usable && !unspecified {
        return Ok(given);
    }
    Err(format!(
        "`{given}` is not an address of this host: give one that others can reach, without a port, \
         for example 10.0.0.7"
    ))
}

pub(super) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

pub(super) fn cluster(value: &Value) -> Result<String, String> {
    let given = text(value)?;
    let fits = given.len() <= CLUSTER_NAME_CHARS_MAX
        && given.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if fits {
        return Ok(given);
    }
    Err(format!(
        "`{given}` is not a cluster's name: give up to {CLUSTER_NAME_CHARS_MAX} letters, digits, \
         hyphens and underscores, not an ARN"
    ))
}

/// The id of a container instance, or the ARN that ends with the id.
pub(super) fn container_instance(value: &Value) -> Result<HostId, String> {
    let given = text(value)?;
    given.rsplit('/').next().unwrap_or_default().parse().map_err(|_| {
        format!(
            "`{given}` is not a container instance: give its ARN or its id of 32 digits, as \
             RegisterContainerInstance answered it"
        )
    })
}

pub(super) fn http_endpoint(value: &Value) -> Result<String, String> {
    let given = text(value)?;
    match given.strip_prefix("http://") {
        Some(rest) if !rest.is_empty() && !rest.contains(char::is_whitespace) => Ok(given),
        _ => Err(format!("`{given}` is not an HTTP address: write http://169.254.169.254")),
    }
}

pub(super) fn path(value: &Value) -> Result<PathBuf, String> {
    text(value).map(PathBuf::from)
}

pub(super) fn listen(value: &Value) -> Result<SocketAddr, String> {
    let given = text(value)?;
    given.parse().map_err(|_| {
        format!("`{given}` is not an address and port: write it as 0.0.0.0:51680 or [::]:51680")
    })
}

pub(super) fn listen_or_off(value: &Value) -> Result<Option<SocketAddr>, String> {
    match text(value)?.as_str() {
        "off" => Ok(None),
        given => match given.parse::<SocketAddr>() {
            Ok(address) if !address.ip().is_unspecified() && address.port() != 0 => {
                Ok(Some(address))
            }
            _ => Err(format!(
                "`{given}` is not an address and port that tasks can be told: write it as \
                 169.254.170.2:80, or `off`"
            )),
        },
    }
}

/// `ECS_TASK_METADATA_RPS_LIMIT` is written so too.
pub(in crate::settings) fn request_rate(value: &Value) -> Result<RequestRate, String> {
    let items = items(value)?;
    let number = |item: &String| item.trim().parse::<u32>().ok().filter(|number| *number > 0);
    match items.iter().map(number).collect::<Option<Vec<_>>>().as_deref() {
        Some(&[steady, burst]) if burst >= steady => Ok(RequestRate { steady, burst }),
        _ => Err(format!(
            "`{}` is not a rate: give requests a second and how many at once, which is not less: \
             40,60",
            items.join(",")
        )),
    }
}

pub(super) fn docker_socket(value: &Value) -> Result<PathBuf, String> {
    let given = text(value)?;
    match given.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => Err(format!(
            "`{given}` is not a unix socket: the agent talks to the Docker Engine of its own host, \
             write it as unix:///var/run/docker.sock"
        )),
    }
}

pub(super) fn number<T: FromStr + PartialOrd>(
    value: &Value,
    range: std::ops::RangeInclusive<T>,
    advice: &str,
) -> Result<T, String> {
    let given = text(value)?;
    given
        .trim()
        .parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("`{given}` is not {advice}"))
}

pub(super) fn cpu(value: &Value) -> Result<CpuUnits, String> {
    number(value, 1..=CPU_UNITS_MAX, "a number of CPU units: give a whole one, 1024 for each core")
        .map(CpuUnits)
}

pub(super) fn memory(value: &Value) -> Result<MemoryMib, String> {
    number(value, 1..=u32::MAX, "an amount of memory: give a whole number of MiB, above zero")
        .map(MemoryMib)
}

pub(super) fn log_store_size(value: &Value) -> Result<MemoryMib, String> {
    number(value, 1..=u32::MAX, "a size: give a whole number of MiB, above zero").map(MemoryMib)
}

pub(super) fn memory_or_none(value: &Value) -> Result<MemoryMib, String> {
    number(value, 0..=u32::MAX, "an amount of memory: give a whole number of MiB").map(MemoryMib)
}

pub(super) fn gpus(value: &Value) -> Result<Gpus, String> {
    let ids = items(value)?;
    if ids == ["auto"] {
        return Ok(Gpus::Auto);
    }
    if let Some(wrong) = ids.iter().find(|id| !is_gpu(id)) {
        return Err(format!(
            "`{wrong}` is not the id of a GPU: give `auto`, or ids as `nvidia-smi -L` shows them, \
             GPU-8f6d… for example"
        ));
    }
    if ids.len() > GPUS_MAX {
        return Err(format!("names {} GPUs: at most {GPUS_MAX} can be", ids.len()));
    }
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    if let Some(two) = sorted.windows(2).find(|two| two[0] == two[1]) {
        return Err(format!("names `{}` twice: keep one of them", two[0]));
    }
    Ok(if ids.is_empty() { Gpus::None } else { Gpus::Named(ids) })
}

/// What may stand in `NVIDIA_VISIBLE_DEVICES` for one: never a word that means several.
fn is_gpu(id: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:./".contains(&byte);
    let means_several = ["all", "none", "void", "auto"].contains(&id);
    (1..=GPU_ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(fits) && !means_several
}

pub(super) fn reserved_ports(value: &Value) -> Result<Vec<HostPort>, String> {
    let mut ports = Vec::new();
    for item in items(value)? {
        let (port, transport) = match item.split_once('/') {
            None => (item.as_str(), Some(Transport::Tcp)),
            Some((port, "tcp")) => (port, Some(Transport::Tcp)),
            Some((port, "udp")) => (port, Some(Transport::Udp)),
            Some((port, _)) => (port, None),
        };
        let port = port.parse::<u16>().ok().filter(|port| *port > 0);
        match (port, transport) {
            (Some(port), Some(transport)) => ports.push(HostPort { transport, port }),
            _ => {
                return Err(format!(
                    "`{item}` is not a port: write 8080 or 9000/udp, from 1 to 65535"
                ));
            }
        }
    }
    ports.sort_unstable();
    ports.dedup();
    if ports.len() > RESERVED_PORTS_MAX {
        return Err(format!(
            "reserves {} ports: at most {RESERVED_PORTS_MAX} can be, besides ECS's own six",
            ports.len()
        ));
    }
    Ok(ports)
}

pub(super) fn attributes(value: &Value) -> Result<Vec<Attribute>, String> {
    pairs(value)?
        .into_iter()
        .map(|(name, value)| {
            attribute_name(&name)?;
            let value = value.map(|value| attribute_value(&Value::Text(value))).transpose()?;
            Ok(Attribute { name, value })
        })
        .collect()
}

pub(super) fn attribute_name(name: &str) -> Result<(), String> {
    if name.starts_with("ecs.") || name.starts_with("com.amazonaws.") {
        return Err(format!(
            "`{name}` is set by the agent itself: use a name that does not begin with `ecs.` or \
             `com.amazonaws.`; type and zone have settings of their own"
        ));
    }
    let fits = (1..=ATTRIBUTE_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/\\.".contains(&b));
    if fits {
        return Ok(());
    }
    Err(format!(
        "`{name}` is not an attribute's name: give 1 to {ATTRIBUTE_CHARS_MAX} letters, digits, \
         hyphens, underscores, slashes, backslashes or periods"
    ))
}

pub(super) fn attribute_value(value: &Value) -> Result<String, String> {
    let given = text(value)?;
    let fits = given.len() <= ATTRIBUTE_CHARS_MAX
        && given.trim() == given
        && given.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./\\@: ".contains(&b));
    if fits {
        return Ok(given);
    }
    Err(format!(
        "`{given}` is not an attribute's value: give up to {ATTRIBUTE_CHARS_MAX} letters, digits, \
         spaces inside, or any of - _ . / \\ @ :"
    ))
}

pub(super) fn tags(value: &Value) -> Result<Vec<(String, String)>, String> {
    let tags: Vec<(String, String)> =
        pairs(value)?.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect();
    if tags.len() > TAGS_MAX {
        return Err(format!("gives {} tags: at most {TAGS_MAX} can be", tags.len()));
    }
    for (key, value) in &tags {
        let reserved = key.to_ascii_lowercase().starts_with("aws:");
        let fits = (1..=TAG_KEY_CHARS_MAX).contains(&key.chars().count())
            && value.chars().count() <= TAG_VALUE_CHARS_MAX;
        if reserved || !fits {
            return Err(format!(
                "`{key}` cannot be a tag: give a key of 1 to {TAG_KEY_CHARS_MAX} characters that \
                 does not begin with `aws:`, and a value of at most {TAG_VALUE_CHARS_MAX}"
            ));
        }
    }
    Ok(tags)
}

pub(super) fn logging_drivers(value: &Value) -> Result<Vec<String>, String> {
    let drivers = items(value)?;
    match drivers.iter().find(|name| {
        name.is_empty()
            || name.len() > ATTRIBUTE_CHARS_MAX / 2
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:".contains(&b))
    }) {
        Some(name) => Err(format!(
            "`{name}` is not a log driver's name: give Docker's, for example json-file,journald"
        )),
        None => Ok(drivers),
    }
}

pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    let given = text(value)?;
    boolean::parse(&given).ok_or_else(|| format!("`{given}` is neither: give {}", boolean::FORMS))
}

pub(super) fn ec2_metadata(value: &Value) -> Result<Ec2Metadata, String> {
    let given = text(value)?;
    match (given.as_str(), boolean::parse(&given)) {
        ("auto", _) => Ok(Ec2Metadata::Auto),
        ("on", _) | (_, Some(true)) => Ok(Ec2Metadata::On),
        ("off", _) | (_, Some(false)) => Ok(Ec2Metadata::Off),
        _ => Err(format!("`{given}` is not known: give auto, on or off")),
    }
}

pub(super) fn forbidden(value: &Value) -> Result<BTreeSet<Forbidden>, String> {
    task_policy::forbidden(&items(value)?).map_err(|error| error.to_string())
}

pub(super) fn bind_roots(value: &Value) -> Result<Vec<PathBuf>, String> {
    task_policy::bind_roots(&items(value)?).map_err(|error| error.to_string())
}

pub(super) fn allowed_volumes(value: &Value) -> Result<BTreeSet<String>, String> {
    task_policy::allowed_volumes(&items(value)?).map_err(|error| error.to_string())
}

/// Absolute ones.
pub(super) fn paths(value: &Value) -> Result<Vec<PathBuf>, String> {
    task_policy::bind_roots(&items(value)?).map_err(|error| error.to_string())
}

pub(super) fn engine_auth_type(value: &Value) -> Result<(), String> {
    match text(value)?.as_str() {
        "docker" | "dockercfg" => Ok(()),
        other => Err(format!("`{other}` is not known: give dockercfg or docker")),
    }
}

pub(super) fn repository_credentials(value: &Value) -> Result<RepositoryCredentials, String> {
    RepositoryCredentials::read(pairs(value)?)
}

/// Never shows the value: it holds passwords.
pub(super) fn engine_auth_data(value: &Value) -> Result<String, String> {
    let given = text(value)?;
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&given) {
        Ok(_) => Ok(given),
        Err(_) => Err("is not a JSON object of registries: write it as \
                       {\"registry.example.com\":{\"auth\":\"…\"}}"
            .to_owned()),
    }
}

/// A directory, or an endpoint's URL.
pub(super) fn objects(value: &Value, proxies: Proxies) -> Result<Objects, String> {
    let given = text(value)?;
    if given.starts_with('/') {
        return Ok(Objects::Directory(PathBuf::from(given)));
    }
    let address = given.strip_prefix("http://").or_else(|| given.strip_prefix("https://"));
    let valid = address.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace));
    valid.then(|| Objects::Endpoint(given.clone(), proxies)).ok_or_else(|| {
        format!(
            "`{given}` is neither a URL nor a directory: give http://10.0.0.5:9000 or /srv/objects"
        )
    })
}

pub(super) fn image_pull(value: &Value) -> Result<PullPolicy, String> {
    match text(value)?.as_str() {
        "default" => Ok(PullPolicy::PullFirst),
        "always" => Ok(PullPolicy::Always),
        "once" => Ok(PullPolicy::Once),
        "prefer-cached" => Ok(PullPolicy::PreferCached),
        other => {
            Err(format!("`{other}` is not known: give default, always, once or prefer-cached"))
        }
    }
}

pub(super) fn image_cleanup_interval(value: &Value) -> Result<Duration, String> {
    let interval = duration(value)?;
    match interval < INTERVAL_MIN {
        true => Err(format!(
            "is shorter than {} minutes: give 10m or more; where room is short, images are cleaned up \
             at once",
            INTERVAL_MIN.as_secs() / 60
        )),
        false => Ok(interval),
    }
}

pub(in crate::settings) fn port_bounds(value: &Value) -> Result<PortBounds, String> {
    let given = text(value)?;
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let bounds = given.split_once('-').and_then(|(first, last)| {
        let bounds = PortBounds { first: port(first)?, last: port(last)? };
        (bounds.first <= bounds.last).then_some(bounds)
    });
    bounds.ok_or_else(|| {
        format!("`{given}` is not a range of ports: give the lowest and the highest, 40000-49999")
    })
}

/// In microseconds; ECS's agent has the same bounds.
pub(in crate::settings) fn cpu_period(value: &Value) -> Result<u64, String> {
    let given = text(value)?;
    let parsed = given.trim().parse::<jiff::SignedDuration>().ok();
    let period = parsed.and_then(|period| u64::try_from(period.as_micros()).ok());
    period.filter(|period| CPU_PERIOD_US.contains(period)).ok_or_else(|| {
        format!("`{given}` is not a period of 8 ms to 100 ms: write 10ms, for example")
    })
}

/// Requests of one task, as the README of ECS's agent bounds them.
pub(super) fn processes(value: &Value) -> Result<u32, String> {
    number(value, 1..=PROCESSES_MAX, "a number of processes: give a whole one, above zero")
}

/// With a scheme or without one, as `HTTP_PROXY` has it.
pub(super) fn proxy(value: &Value) -> Result<String, String> {
    let given = text(value)?;
    let url = if given.contains("://") { given.clone() } else { format!("http://{given}") };
    // The address is not shown: it can hold a password.
    reqwest::Proxy::all(&url)
        .map(|_| url)
        .map_err(|_| "is not a proxy's address: write it as 10.0.0.131:3128".to_owned())
}

/// ECS's agent has the same minimum.
pub(super) fn create_timeout(value: &Value) -> Result<Duration, String> {
    let timeout = duration(value)?;
    match timeout < CREATE_TIMEOUT_MIN {
        true => Err(format!("is shorter than {} s", CREATE_TIMEOUT_MIN.as_secs())),
        false => Ok(timeout),
    }
}

pub(super) fn images_per_cycle(value: &Value) -> Result<usize, String> {
    number(value, 1..=IMAGES_PER_CYCLE_MAX, "a number of images: give a whole one, above zero")
}

pub(super) fn stopped_tasks_kept(value: &Value) -> Result<usize, String> {
    number(value, 1..=STOPPED_TASKS_KEPT_MAX, "a number of tasks: give a whole one, 1 to 100000")
}

pub(super) fn percent(value: &Value) -> Result<u8, String> {
    number(value, 1..=100, "a percentage: give a whole number, 1 to 100")
}

pub(super) fn disk_floor(value: &Value) -> Result<MemoryMib, String> {
    number(value, 0..=u32::MAX, "a size: give a whole number of MiB").map(MemoryMib)
}

/// As Go writes it: `30s`, `1m30s`, `3h`.
pub(super) fn duration(value: &Value) -> Result<Duration, String> {
    let given = text(value)?;
    let parsed = given
        .trim()
        .parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| *duration >= DURATION_MIN);
    parsed.ok_or_else(|| {
        format!("`{given}` is not a duration of a second or more: write 30s, 1m30s or 3h")
    })
}
