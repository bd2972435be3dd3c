//! What the values mean. Every refusal names where the value stands and says what to write instead.

use longshore_common::task_policy::TaskPolicy;

use self::values::*;
pub(super) use self::values::{cpu_period, port_bounds, request_rate};
use super::{
    Gpus, SettingProblem, SettingProblems, Settings, TokenSource,
    value::{RawSetting, SettingOrigin, SettingValues, Value},
};
use crate::settings::{
    DiskRules, FileSystems, ImageCleanup, LimitRules, Proxies, Registries, Timeouts,
};

mod values;

/// `None` when a value that nothing can stand for is missing or wrong; `problems` then says so.
pub(crate) fn settings(
    values: SettingValues,
    warnings: Vec<String>,
    problems: &mut SettingProblems,
) -> Option<Settings> {
    let mut read = Reader { values, warnings, problems };
    let coordinator = read.coordinator();
    let join_token = read.join_token();
    let container_instance = read.parse("container-instance", container_instance);
    let cluster = read.parse("cluster", cluster);
    let data_dir = read.parse("data-dir", path);
    let advertise = read.parse("advertise", advertise);
    let poll_listen = read.parse("poll-listen", listen);
    let introspection_listen = read.parse("introspection-listen", listen);
    let task_endpoints_listen = read.parse("task-endpoints-listen", listen_or_off);
    let task_endpoints_rate = read.parse("task-endpoints-rate", request_rate);
    let allow_instance_metadata = read.parse("allow-instance-metadata", boolean);
    let docker = read.parse("docker", docker_socket);
    let cpu = read.parse("cpu", cpu);
    let memory = read.parse("memory", memory);
    let reserved_memory = read.parse("reserved-memory", memory_or_none);
    let container_metadata = read.parse("container-metadata", boolean);
    let gpus = read.parse("gpus", gpus).unwrap_or(Gpus::None);
    let gpu_runtime = read.parse("gpu-runtime", text);
    let reserved_ports = read.parse("reserved-ports", reserved_ports).unwrap_or_default();
    let dynamic_host_ports = read.parse("dynamic-host-ports", port_bounds);
    let task_cpu_mem_limit = read.parse("task-cpu-mem-limit", boolean);
    let task_cpu_period = read.parse("task-cpu-period", cpu_period);
    let task_pids_limit = read.parse("task-pids-limit", processes);
    let attributes = read.parse("attributes", attributes).unwrap_or_default();
    let tags = read.parse("tags", tags).unwrap_or_default();
    let instance_type = read.parse("instance-type", attribute_value);
    let availability_zone = read.parse("availability-zone", attribute_value);
    let instance_id = read.parse("instance-id", attribute_value);
    let ec2_metadata = read.parse("ec2-metadata", ec2_metadata);
    let drain_on_spot_interruption = read.parse("drain-on-spot-interruption", boolean);
    let ec2_metadata_endpoint = read.parse("ec2-metadata-endpoint", http_endpoint);
    let logging_drivers = read.parse("logging-drivers", logging_drivers);
    let disable_privileged = read.parse("disable-privileged", boolean);
    let forbidden = read.parse("forbid", forbidden).unwrap_or_default();
    let bind_roots = read.parse("bind-roots", bind_roots);
    let allowed_volumes = read.parse("allow-volumes", allowed_volumes).unwrap_or_default();
    let engine_sockets = read.parse("engine-sockets", paths).unwrap_or_default();
    let volumes_socket = read.parse("volumes-socket", path);
    let proxies = read.proxies();
    let objects = read.parse("s3", |value| objects(value, proxies));
    let efs = read.parse("efs", |value| FileSystems::read(&items(value)?)).unwrap_or_default();
    let repository_credentials =
        read.parse("repository-credentials", repository_credentials).unwrap_or_default();
    let docker_config = read.parse("docker-config", path);
    let _known = read.parse("engine-auth-type", engine_auth_type);
    let auths = read.parse("engine-auth-data", engine_auth_data);
    let image_pull = read.parse("image-pull", image_pull);
    let pull_dependent_upfront = read.parse("pull-dependent-upfront", boolean);
    let image_cleanup = read.image_cleanup();
    let timeouts = read.timeouts();
    let container_stop_timeout = read.parse("container-stop-timeout", duration);
    let task_cleanup_wait = read.parse("task-cleanup-wait", duration);
    let stopped_tasks_kept = read.parse("stopped-tasks-kept", stopped_tasks_kept);
    let disk = read.disk();
    let log_store_age = read.parse("log-store-age", duration);
    let log_store_size = read.parse("log-store-size", log_store_size);
    let log = read.parse("log", text);
    let log_format = read.parse("log-format", |value| text(value)?.parse());
    debug_assert!(read.values.left().is_empty(), "settings that nothing reads");
    let warnings = read.warnings;
    Some(Settings {
        coordinator: coordinator?,
        join_token,
        container_instance,
        cluster: cluster?,
        data_dir: data_dir?,
        advertise,
        poll_listen: poll_listen?,
        introspection_listen: introspection_listen?,
        task_endpoints_listen: task_endpoints_listen?,
        task_endpoints_rate: task_endpoints_rate?,
        allow_instance_metadata: allow_instance_metadata?,
        docker: docker?,
        cpu,
        memory,
        reserved_memory: reserved_memory?,
        gpus,
        gpu_runtime,
        container_metadata: container_metadata?,
        reserved_ports,
        dynamic_host_ports,
        task_limits: LimitRules {
            cpu_and_memory: task_cpu_mem_limit?,
            processes: task_pids_limit,
            cpu_period_us: task_cpu_period?,
        },
        attributes,
        tags,
        instance_type,
        availability_zone,
        instance_id,
        ec2_metadata: ec2_metadata?,
        drain_on_spot_interruption: drain_on_spot_interruption?,
        ec2_metadata_endpoint: ec2_metadata_endpoint?,
        logging_drivers,
        privileged: !disable_privileged?,
        task_policy: TaskPolicy { forbidden, bind_roots, allowed_volumes },
        engine_sockets,
        volumes_socket,
        objects,
        efs,
        repository_credentials,
        registries: Registries { docker_config, auths },
        image_pull: image_pull?,
        pull_dependent_upfront: pull_dependent_upfront?,
        image_cleanup: image_cleanup?,
        timeouts: timeouts?,
        container_stop_timeout: container_stop_timeout?,
        task_cleanup_wait: task_cleanup_wait?,
        stopped_tasks_kept: stopped_tasks_kept?,
        disk: disk?,
        log_store_age: log_store_age?,
        log_store_size: log_store_size?,
        log: log?,
        log_format: log_format?,
        warnings,
    })
}

struct Reader<'a> {
    values: SettingValues,
    warnings: Vec<String>,
    problems: &'a mut SettingProblems,
}

impl Reader<'_> {
    /// Absent when it is not set, or wrong and among the problems.
    fn parse<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let raw = self.values.take(name)?;
        self.parsed(&raw, parse)
    }

    fn parsed<T>(
        &mut self,
        raw: &RawSetting,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        match parse(&raw.value) {
            Ok(parsed) => Some(parsed),
            Err(advice) => {
                self.problems.push(SettingProblem(format!("{}: {advice}", raw.origin)));
                None
            }
        }
    }

    fn coordinator(&mut self) -> Option<String> {
        let Some(raw) = self.values.take("coordinator") else {
            if !self.problems.0.is_empty() {
                return None; // it may stand in what could not be read
            }
            self.problems.push(SettingProblem(
                "no coordinator is set: give its host and joining port, for example by the line \
                 coordinator = \"10.0.0.1:8421\" in /etc/longshore/agent.toml, by --coordinator \
                 10.0.0.1:8421 or by LONGSHORE_COORDINATOR=10.0.0.1:8421"
                    .to_owned(),
            ));
            return None;
        };
        self.parsed(&raw, coordinator)
    }

    /// The token, or the file that holds one: the stronger source counts.
    fn join_token(&mut self) -> Option<TokenSource> {
        let (token, file) = (self.values.take("join-token"), self.values.take("join-token-file"));
        match (token, file) {
            (None, None) => None,
            (Some(token), Some(file)) if same_source(&token.origin, &file.origin) => {
                self.problems.push(SettingProblem(format!(
                    "{} and {} are both set: remove one of them",
                    token.origin, file.origin
                )));
                None
            }
            (Some(token), Some(file)) if file.origin > token.origin => self.token_file(&file),
            (Some(token), _) => self.parsed(&token, |value| {
                // A wrong token is not echoed: it may be a right one but for a letter.
                text(value)?.parse().map(TokenSource::Given).map_err(|_| {
                    "is not a join token: copy the whole of what `longshore-coordinator \
                     join-token create` printed, v1-…-…"
                        .to_owned()
                })
            }),
            (None, Some(file)) => self.token_file(&file),
        }
    }

    fn token_file(&mut self, file: &RawSetting) -> Option<TokenSource> {
        self.parsed(file, path).map(TokenSource::File)
    }

    fn proxies(&mut self) -> Proxies {
        Proxies {
            http: self.parse("http-proxy", proxy),
            https: self.parse("https-proxy", proxy),
            direct: self.parse("no-proxy", items).unwrap_or_default(),
        }
    }

    fn timeouts(&mut self) -> Option<Timeouts> {
        let manifest = self.parse("manifest-pull-timeout", duration);
        let pull = self.parse("image-pull-timeout", duration);
        let pull_silence = self.parse("image-pull-silence", duration);
        let create = self.parse("container-create-timeout", create_timeout);
        let start = self.parse("container-start-timeout", duration);
        Some(Timeouts {
            manifest: manifest?,
            pull: pull?,
            pull_silence: pull_silence?,
            create: create?,
            start: start?,
            ..Timeouts::default()
        })
    }

    fn image_cleanup(&mut self) -> Option<ImageCleanup> {
        let disabled = self.parse("disable-image-cleanup", boolean);
        let interval = self.parse("image-cleanup-interval", image_cleanup_interval);
        let minimum_age = self.parse("image-minimum-cleanup-age", duration);
        let removed_per_cycle = self.parse("images-deleted-per-cycle", images_per_cycle);
        let exclude = self.parse("image-cleanup-exclude", items).unwrap_or_default();
        Some(ImageCleanup {
            enabled: !disabled?,
            interval: interval?,
            minimum_age: minimum_age?,
            removed_per_cycle: removed_per_cycle?,
            exclude,
        })
    }

    fn disk(&mut self) -> Option<DiskRules> {
        let clean_at = self.parse("disk-clean-at", percent);
        let refuse_at = self.parse("disk-refuse-at", percent);
        let floor = self.parse("disk-floor", disk_floor);
        Some(DiskRules {
            clean_at: clean_at?,
            refuse_at: refuse_at?,
            floor_bytes: u64::from(floor?.0) << 20,
        })
    }
}

fn same_source(a: &SettingOrigin, b: &SettingOrigin) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}
