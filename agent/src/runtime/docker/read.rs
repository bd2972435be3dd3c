//! Reading Docker's answers leniently: what we need of them, and nothing that could fail for more.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use longshore_common::{
    clock::Timestamp,
    image_reference::{familiar_name, name_and_tag},
    protocol::NetworkBinding,
    resources::Transport,
    task::HealthStatus,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::failure::{failed_by_status, with_causes};
use crate::runtime::{
    ContainerDetails, ContainerSummary, Image, MountPoint, RunState, RuntimeError, Unknown,
    local_log::{DRIVER, LOG_FILE, LOG_FOLDER},
};

/// Maximum of bytes of an answer: a listing of some ten thousand containers.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A 2xx answer's body.
#[derive(Debug)]
pub(super) struct DockerAnswer(pub(super) Bytes);

impl DockerAnswer {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

pub(super) async fn get(socket: &Path, path: &str) -> Result<DockerAnswer, RuntimeError> {
    let (status, body) = call(socket, Method::GET, path).await?;
    match status {
        200..300 => Ok(DockerAnswer(body)),
        status => Err(failed_by_status(status, message(&body))),
    }
}

/// Whether it was done now, and not already before (304).
pub(super) async fn post(socket: &Path, path: &str) -> Result<bool, RuntimeError> {
    let (status, body) = call(socket, Method::POST, path).await?;
    match status {
        200..300 => Ok(true),
        304 => Ok(false),
        status => Err(failed_by_status(status, message(&body))),
    }
}

/// One request on a connection of its own: a unix socket's costs nothing, and none can be stale.
async fn call(socket: &Path, method: Method, path: &str) -> Result<(u16, Bytes), RuntimeError> {
    let failed = |error: &dyn std::error::Error| RuntimeError::transport(with_causes(error));
    let stream = UnixStream::connect(socket).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, "docker")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    // Moved, so that its end lets the connection end.
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(|error| failed(&*error))?.to_bytes();
        Ok::<_, RuntimeError>((status, body))
    };
    let (exchanged, _) = tokio::join!(exchange, connection);
    exchanged
}

fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Failure {
        message: String,
    }
    match serde_json::from_slice::<Failure>(body) {
        Ok(failure) => failure.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

/// For a path or a query: everything but what names and ids are made of is written as %XX.
pub(super) fn escaped(text: &str) -> String {
    use std::fmt::Write;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.:/@".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// What of `/info` is said of the host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EngineInfo {
    pub(super) log_drivers: Vec<String>,
    pub(super) volume_drivers: Vec<String>,
    /// `apparmor` of `name=apparmor,…`.
    pub(super) security_options: Vec<String>,
    /// `1` or `2`.
    pub(super) cgroup_version: Option<String>,
    /// `cgroupfs` or `systemd`.
    pub(super) cgroup_driver: Option<String>,
    pub(super) data_root: Option<PathBuf>,
    /// See [`crate::runtime::RuntimeVersion::containerd_images`].
    pub(super) containerd_images: bool,
}

pub(super) fn engine_info(answer: &DockerAnswer) -> Result<EngineInfo, RuntimeError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Info {
        plugins: Option<PluginsBody>,
        security_options: Option<Vec<String>>,
        cgroup_version: Option<String>,
        cgroup_driver: Option<String>,
        docker_root_dir: Option<PathBuf>,
        driver_status: Option<Vec<(String, String)>>,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct PluginsBody {
        log: Option<Vec<String>>,
        volume: Option<Vec<String>>,
    }
    let info: Info = parse(answer)?;
    let plugins = info.plugins.unwrap_or_default();
    let name = |option: &String| {
        let first = option.split(',').next().unwrap_or_default();
        first.strip_prefix("name=").unwrap_or(first).to_owned()
    };
    Ok(EngineInfo {
        log_drivers: plugins.log.unwrap_or_default(),
        volume_drivers: plugins.volume.unwrap_or_default(),
        security_options: info.security_options.unwrap_or_default().iter().map(name).collect(),
        cgroup_version: info.cgroup_version,
        cgroup_driver: info.cgroup_driver,
        data_root: info.docker_root_dir.filter(|root| root.is_absolute()),
        containerd_images: info.driver_status.unwrap_or_default().iter().any(|(name, value)| {
            name == "driver-type" && value.starts_with("io.containerd.snapshotter")
        }),
    })
}

pub(super) fn image(answer: &DockerAnswer, reference: &str) -> Result<Image, RuntimeError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Inspected {
        id: String,
        repo_digests: Option<Vec<String>>,
    }
    let inspected: Inspected = parse(answer)?;
    let (name, asked) = name_and_tag(reference);
    let known = inspected.repo_digests.unwrap_or_default();
    // Only the repository that was asked for is sure to have the image by this digest; it may
    // have it by several.
    let of_repository = |known: &String| {
        let (repository, digest) = known.split_once('@')?;
        (familiar_name(repository) == familiar_name(name)).then(|| digest.to_owned())
    };
    let mut digests: Vec<String> = known.iter().filter_map(of_repository).collect();
    digests.sort_by_key(|digest| digest != asked);
    Ok(Image { id: inspected.id, digest: digests.into_iter().next() })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Inspected {
    id: String,
    name: Option<String>,
    state: StateBody,
    config: Option<ConfigBody>,
    network_settings: Option<NetworkSettings>,
    log_path: Option<String>,
    host_config: Option<HostConfig>,
    created: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    image: Option<String>,
    mounts: Option<Vec<MountBody>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    log_config: Option<LogConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LogConfig {
    #[serde(rename = "Type")]
    driver: Option<String>,
}

impl Inspected {
    /// Whether its log follows from where the engine keeps its data: Docker tells the place of no log
    /// but `json-file`'s.
    pub(super) fn keeps_local_log(&self) -> bool {
        let log = self.host_config.as_ref().and_then(|config| config.log_config.as_ref());
        log.is_some_and(|log| log.driver.as_deref() == Some(DRIVER))
    }

    fn local_log(&self, data_root: &Path) -> Option<String> {
        let folder = data_root.join("containers").join(&self.id).join(LOG_FOLDER);
        self.keeps_local_log().then(|| folder.join(LOG_FILE).display().to_string())
    }

    /// `data_root` is where the engine keeps its data, as far as it has said so.
    pub(super) fn details(self, data_root: Option<&Path>) -> ContainerDetails {
        let local_log = data_root.and_then(|root| self.local_log(root));
        let StateBody {
            status,
            running,
            pid,
            exit_code,
            oom_killed,
            error,
            started_at,
            finished_at,
            health,
        } = self.state;
        let (started_at, finished_at) = (time(started_at.as_deref()), time(finished_at.as_deref()));
        let status = status.unwrap_or_default();
        let state = run_state(&status, running.unwrap_or(false), started_at.is_some());
        let (ports, networks) = match self.network_settings {
            Some(settings) => (settings.ports, settings.networks),
            None => (None, None),
        };
        let exit_code = exit_code.and_then(|code| i32::try_from(code).ok());
        let health = health.and_then(|health| health.status).filter(|status| status != "none");
        ContainerDetails {
            id: self.id,
            name: self.name.unwrap_or_default().trim_start_matches('/').to_owned(),
            labels: self.config.and_then(|config| config.labels).unwrap_or_default(),
            state,
            pid: pid.filter(|pid| *pid != 0),
            exit_code: exit_code.filter(|_| state == RunState::Exited),
            oom_killed: oom_killed.unwrap_or(false),
            error: error.filter(|error| !error.is_empty()),
            started_at,
            finished_at,
            health: health.map(|status| health_status(&status)),
            bindings: bindings(ports.unwrap_or_default()),
            log_path: self.log_path.filter(|path| !path.is_empty()).or(local_log),
            created_at: time(self.created.as_deref()),
            image_id: self.image,
            addresses: addresses(networks),
            mounts: self.mounts.unwrap_or_default().into_iter().map(mount_point).collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MountBody {
    name: Option<String>,
    source: Option<String>,
    destination: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StateBody {
    status: Option<String>,
    running: Option<bool>,
    pid: Option<u32>,
    exit_code: Option<i64>,
    #[serde(rename = "OOMKilled")]
    oom_killed: Option<bool>,
    error: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    health: Option<HealthBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthBody {
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigBody {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    ports: Option<BTreeMap<String, Option<Vec<PortBody>>>>,
    networks: Option<Networks>,
}

type Networks = BTreeMap<String, Option<NetworkBody>>;

/// What Docker writes for no address is an empty text.
#[derive(Deserialize)]
struct NetworkBody {
    #[serde(rename = "IPAddress")]
    ipv4: Option<String>,
    #[serde(rename = "GlobalIPv6Address")]
    ipv6: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PortBody {
    host_ip: Option<String>,
    host_port: Option<String>,
}

pub(super) fn inspected(answer: &DockerAnswer) -> Result<Inspected, RuntimeError> {
    parse(answer)
}

fn mount_point(mounted: MountBody) -> MountPoint {
    MountPoint {
        volume: mounted.name.unwrap_or_default(),
        source: mounted.source.unwrap_or_default(),
        target: mounted.destination.unwrap_or_default(),
    }
}

fn addresses(networks: Option<Networks>) -> Vec<IpAddr> {
    let attached = networks.unwrap_or_default().into_values().flatten();
    attached
        .flat_map(|attached| [attached.ipv4, attached.ipv6])
        .filter_map(|address| address?.parse().ok())
        .collect()
}

/// A text, or nothing where there is something else.
fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_str().map(str::to_owned))
}

pub(super) fn containers(answer: &DockerAnswer) -> Result<Vec<ContainerSummary>, RuntimeError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Listed {
        id: String,
        names: Option<Vec<String>>,
        labels: Option<BTreeMap<String, String>>,
        state: Option<String>,
        network_settings: Option<ListedNetworks>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct ListedNetworks {
        networks: Option<Networks>,
    }
    let listed: Vec<Listed> = parse(answer)?;
    let summary = |listed: Listed| {
        let names = listed.names.unwrap_or_default();
        // A link gives the container another name, below that of the one that links to it.
        let own = |name: &&str| !name.contains('/');
        let name = names.iter().map(|name| name.trim_start_matches('/')).find(own);
        let name = name.map(str::to_owned);
        ContainerSummary {
            id: listed.id,
            name: name.unwrap_or_default(),
            labels: listed.labels.unwrap_or_default(),
            state: run_state(listed.state.as_deref().unwrap_or_default(), false, true),
            addresses: addresses(listed.network_settings.and_then(|settings| settings.networks)),
        }
    };
    Ok(listed.into_iter().map(summary).collect())
}

/// A word that is new to us is read by what else is said.
fn run_state(status: &str, running: bool, was_started: bool) -> RunState {
    match status {
        "created" => RunState::Created,
        "running" | "paused" | "restarting" | "stopping" => RunState::Running,
        "exited" | "dead" | "removing" if was_started => RunState::Exited,
        _ if running => RunState::Running,
        _ if was_started => RunState::Exited,
        _ => RunState::Created,
    }
}

/// Docker binds IPv4 and IPv6 alike; ECS shows the first of such twins.
fn bindings(ports: BTreeMap<String, Option<Vec<PortBody>>>) -> Vec<NetworkBinding> {
    let mut bindings: Vec<NetworkBinding> = Vec::new();
    for (port, bound) in ports {
        let (number, transport) = port.split_once('/').unwrap_or((&port, "tcp"));
        let protocol = match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => continue,
        };
        let Ok(container_port) = number.parse() else { continue };
        for PortBody { host_ip, host_port } in bound.into_iter().flatten() {
            let Some(host_port) = host_port.and_then(|port| port.parse().ok()) else { continue };
            let bind_ip = host_ip.filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".into());
            let twin = bindings.iter().any(|other| {
                (other.container_port, other.host_port, other.protocol)
                    == (container_port, host_port, protocol)
            });
            if !(twin && bind_ip == "::") {
                bindings.push(NetworkBinding { bind_ip, container_port, host_port, protocol });
            }
        }
    }
    bindings.sort_by_key(|binding| (binding.container_port, binding.host_port));
    bindings
}

/// Docker's zero time, the year 1, is no time.
fn time(text: Option<&str>) -> Option<Timestamp> {
    let ms = text?.parse::<jiff::Timestamp>().ok()?.as_millisecond();
    u64::try_from(ms).ok().map(Timestamp)
}

pub(super) fn parse<T: DeserializeOwned>(answer: &DockerAnswer) -> Result<T, RuntimeError> {
    serde_json::from_slice(&answer.0)
        .map_err(|error| Unknown::Unreadable { message: error.to_string() }.into())
}

pub(super) fn health_status(text: &str) -> HealthStatus {
    match text {
        "healthy" => HealthStatus::Healthy,
        "unhealthy" => HealthStatus::Unhealthy,
        _ => HealthStatus::Unknown,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use longshore_common::task::HealthStatus;

    use super::*;

    fn details(json: &str) -> ContainerDetails {
        let root = Path::new("/var/lib/docker");
        let answer = DockerAnswer(Bytes::copy_from_slice(json.as_bytes()));
        inspected(&answer).unwrap().details(Some(root))
    }

    #[test]
    fn an_inspect_answer_with_members_of_another_version_is_read() {
        let details = details(
            r#"{"Id":"abc","Name":"/ecs-web-1-app-00","Image":7,"HostConfig":{"ConsoleSize":"odd"},
                "State":{"Status":"hibernating","Running":true,"ExitCode":0,"New":{},
                         "StartedAt":"2026-01-02T03:04:05.678901234Z",
                         "FinishedAt":"0001-01-01T00:00:00Z",
                         "Health":{"Status":"starting"}},
                "Config":{"Labels":{"a":"b"}},
                "Mounts":[{"Type":"bind","Source":"/srv","Destination":"/data","RW":true}],
                "NetworkSettings":{"Networks":{"bridge":{"IPAddress":"172.17.0.2",
                    "GlobalIPv6Address":"","GlobalIPv6PrefixLen":0},"gone":null},
                    "Ports":{"80/tcp":[
                    {"HostIp":"0.0.0.0","HostPort":"49153"},{"HostIp":"::","HostPort":"49153"}],
                    "53/udp":null,"9/sctp":[{"HostIp":"","HostPort":"9"}]}}}"#,
        );
        assert_eq!(details.state, RunState::Running);
        assert_eq!(details.exit_code, None);
        assert_eq!(details.started_at, Some(Timestamp(1_767_323_045_678)));
        assert_eq!(details.finished_at, None);
        assert_eq!(details.health, Some(HealthStatus::Unknown));
        assert_eq!(details.name, "ecs-web-1-app-00");
        let [binding] = &details.bindings[..] else { panic!("{:?}", details.bindings) };
        assert_eq!((binding.container_port, binding.host_port), (80, 49153));
        assert_eq!(details.addresses, [IpAddr::from([172, 17, 0, 2])]);
        assert_eq!((details.mounts[0].source.as_str(), details.image_id), ("/srv", None));
    }

    #[test]
    fn what_the_engine_has_is_read_by_name() {
        let answer = DockerAnswer(Bytes::from_static(
            br#"{"DockerRootDir":"/var/lib/docker","Plugins":{"Log":["gelf"],"Volume":["local"],"Network":["host"]},
                "SecurityOptions":["name=apparmor","name=seccomp,profile=default"]}"#,
        ));
        let info = engine_info(&answer).unwrap();
        assert_eq!(
            (&info.log_drivers[..], &info.volume_drivers[..]),
            (&["gelf".to_owned()][..], &["local".to_owned()][..],)
        );
        assert_eq!(info.security_options, ["apparmor", "seccomp"]);
        assert_eq!(info.data_root, Some(PathBuf::from("/var/lib/docker")));
        let nothing = engine_info(&DockerAnswer(Bytes::from_static(b"{}"))).unwrap();
        assert_eq!(nothing, EngineInfo::default());
    }

    #[test]
    fn a_container_is_listed_by_its_own_name_and_not_by_a_links() {
        let answer = DockerAnswer(Bytes::from_static(
            br#"[{"Id":"1","Names":["/web/db","/ecs-db"],"State":"running"}]"#,
        ));
        assert_eq!(containers(&answer).unwrap()[0].name, "ecs-db");
    }

    #[test]
    fn an_answer_that_is_no_json_is_unknown() {
        let error = inspected(&DockerAnswer(Bytes::from_static(b"{\"Id\":"))).err().unwrap();
        assert!(matches!(error, RuntimeError::Unknown(Unknown::Unreadable { .. })), "{error:?}");
    }

    #[test]
    fn the_place_of_a_log_is_told_or_follows_from_its_driver() {
        let path = |driver: &str, told: &str| {
            details(&format!(
                r#"{{"Id":"abc","State":{{"Status":"running"}},"LogPath":"{told}",
                    "HostConfig":{{"LogConfig":{{"Type":"{driver}"}}}}}}"#
            ))
            .log_path
        };
        let local = "/var/lib/docker/containers/abc/local-logs/container.log";
        assert_eq!(path("local", "").as_deref(), Some(local));
        assert_eq!(path("json-file", "/d/abc-json.log").as_deref(), Some("/d/abc-json.log"));
        assert_eq!(path("journald", ""), None);
    }

    #[test]
    fn a_failed_start_shows_as_created() {
        let details = details(
            r#"{"Id":"abc","State":{"Status":"created","Running":false,"ExitCode":127,
                "Error":"no such file","StartedAt":"0001-01-01T00:00:00Z"}}"#,
        );
        assert_eq!((details.state, details.exit_code), (RunState::Created, None));
        assert_eq!(details.error.as_deref(), Some("no such file"));
    }

    #[test]
    fn the_digest_is_the_one_of_the_repository_asked_for() {
        let answer = DockerAnswer(Bytes::from_static(
            br#"{"Id":"sha256:1","RepoDigests":
                ["a/b@sha256:2","registry:5000/c@sha256:3","a/b@sha256:4"]}"#,
        ));
        let digest = |reference| image(&answer, reference).unwrap().digest;
        assert_eq!(digest("registry:5000/c:v1").as_deref(), Some("sha256:3"));
        assert_eq!(digest("docker.io/a/b").as_deref(), Some("sha256:2"));
        assert_eq!(digest("a/b@sha256:4").as_deref(), Some("sha256:4"));
        assert_eq!(digest("elsewhere"), None);
    }

    #[test]
    fn a_path_holds_no_character_that_could_end_it() {
        assert_eq!(escaped("a/b:c@d?e#f g%"), "a/b:c@d%3Fe%23f%20g%25");
    }
}
