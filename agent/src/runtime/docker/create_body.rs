//! A [`ContainerConfig`] in Docker's words.

use std::{collections::BTreeMap, time::Duration};

use bollard::models::{
    ContainerCreateBody, DeviceMapping as DockerDevice, DeviceRequest, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount, MountType, MountVolumeOptions,
    MountVolumeOptionsDriverConfig as VolumeDriver, PortBinding, ResourcesUlimits,
};
use longshore_common::task_definition::{HostEntry, Ulimit};

use crate::{
    runtime::{
        Bind, BindSource, ContainerConfig, DeviceMapping, HealthProbe, IpcNamespace, LogTarget,
        Network, PidNamespace, PublishedPort, VolumeMount,
    },
    settings::PortBounds,
};

/// What only the engine tells.
#[derive(Debug, Default)]
pub(super) struct EngineFacts {
    /// The parent of the container's control group, in the words of the engine's driver.
    pub(super) group: Option<String>,
    /// The engine labels files for SELinux.
    pub(super) selinux: bool,
}

pub(super) fn create_body(config: &ContainerConfig, engine: EngineFacts) -> ContainerCreateBody {
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let is_set = |name: &String| config.environment.iter().any(|(known, _)| known == name);
    let defaults = config.environment_defaults.iter().filter(|(name, _)| !is_set(name));
    let environment = config.environment.iter().chain(defaults);
    let environment = environment.map(|(name, value)| format!("{name}={value}"));
    ContainerCreateBody {
        image: Some(config.image.clone()),
        entrypoint: some(&config.entry_point),
        cmd: some(&config.command),
        env: Some(environment.collect()),
        labels: Some(config.labels.clone().into_iter().collect()),
        user: config.user.clone(),
        working_dir: config.working_directory.clone(),
        hostname: config.hostname.clone(),
        exposed_ports: some(&port_bindings(config).into_keys().collect::<Vec<_>>()),
        network_disabled: Some(config.network_disabled),
        open_stdin: Some(config.interactive),
        tty: Some(config.terminal),
        healthcheck: config.health.as_ref().map(health_config),
        host_config: Some(HostConfig {
            cgroup_parent: engine.group,
            ..host_config(config, engine.selinux)
        }),
        ..ContainerCreateBody::default()
    }
}

/// What is not named here cannot be asked of Docker.
fn host_config(config: &ContainerConfig, selinux: bool) -> HostConfig {
    let linux = &config.linux;
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    HostConfig {
        cpu_shares: Some(config.cpu_shares.into()),
        cpu_period: config.cpu_quota.map(|quota| saturating(quota.period_us)),
        cpu_quota: config.cpu_quota.map(|quota| saturating(quota.us)),
        memory: config.memory_bytes.map(saturating),
        pids_limit: config.processes.map(i64::from),
        memory_reservation: config.memory_reservation_bytes.map(saturating),
        network_mode: Some(
            match config.network {
                Network::Bridge => "bridge",
                Network::Host => "host",
                Network::None => "none",
            }
            .to_owned(),
        ),
        port_bindings: Some(port_bindings(config).into_iter().collect()),
        binds: Some(binds(config, BindSource::Agent).map(|bind| own_bind(bind, selinux)).collect()),
        log_config: config.log.as_ref().map(log_config),
        links: some(&config.links),
        dns: some(&config.dns_servers),
        dns_search: some(&config.dns_search_domains),
        extra_hosts: some(&config.extra_hosts.iter().map(extra_host).collect::<Vec<_>>()),
        mounts: Some(
            config
                .volumes
                .iter()
                .map(mount)
                .chain(binds(config, BindSource::Helper).map(helpers_bind))
                .collect(),
        ),
        volumes_from: some(&config.volumes_from),
        cap_add: some(&linux.capabilities_added),
        cap_drop: some(&linux.capabilities_dropped),
        devices: Some(linux.devices.iter().map(device).collect()),
        device_requests: (!config.gpus.is_empty() && config.gpu_runtime.is_none())
            .then(|| vec![gpus(&config.gpus)]),
        // NVIDIA's runtime reads NVIDIA_VISIBLE_DEVICES.
        runtime: config.gpu_runtime.clone().filter(|_| !config.gpus.is_empty()),
        init: linux.init.then_some(true),
        shm_size: linux.shared_memory_bytes.map(saturating),
        tmpfs: Some(linux.tmpfs.clone().into_iter().collect()),
        memory_swap: linux.memory_and_swap_bytes.map(saturating),
        memory_swappiness: linux.swappiness.map(i64::from),
        ulimits: Some(linux.ulimits.iter().map(ulimit).collect()),
        sysctls: Some(linux.kernel_settings.clone().into_iter().collect()),
        security_opt: some(&linux.security_options),
        pid_mode: match &linux.processes {
            PidNamespace::EngineDefault => None,
            PidNamespace::Host => Some("host".to_owned()),
            PidNamespace::Container(name) => Some(format!("container:{name}")),
        },
        ipc_mode: match &linux.ipc {
            IpcNamespace::EngineDefault => None,
            IpcNamespace::Host => Some("host".to_owned()),
            IpcNamespace::None => Some("none".to_owned()),
            IpcNamespace::Shareable => Some("shareable".to_owned()),
            IpcNamespace::Container(name) => Some(format!("container:{name}")),
        },
        privileged: Some(config.privileged),
        readonly_rootfs: Some(config.readonly_root),
        ..HostConfig::default()
    }
}

fn port_name(port: &PublishedPort) -> String {
    format!("{}/{}", port.container_port, port.transport)
}

fn port_bindings(config: &ContainerConfig) -> BTreeMap<String, Option<Vec<PortBinding>>> {
    let mut bindings: BTreeMap<String, Option<Vec<PortBinding>>> = BTreeMap::new();
    // Of a range Docker picks one that is free.
    let any = config.dynamic_ports.map(|PortBounds { first, last }| format!("{first}-{last}"));
    for port in &config.ports {
        let host_port = port.host_port.map(|port| port.to_string());
        let host_port = host_port.or_else(|| any.clone()).unwrap_or_default();
        let binding = PortBinding { host_ip: None, host_port: Some(host_port) };
        bindings.entry(port_name(port)).or_default().get_or_insert_default().push(binding);
    }
    bindings
}

fn binds(config: &ContainerConfig, from: BindSource) -> impl Iterator<Item = &Bind> {
    config.binds.iter().filter(move |bind| bind.from == from)
}

/// `Z`: a label of this container's own, as ECS's agent gives its files.
fn own_bind(bind: &Bind, selinux: bool) -> String {
    let options = match (bind.read_only, selinux) {
        (true, true) => ":ro,Z",
        (true, false) => ":ro",
        (false, true) => ":Z",
        (false, false) => "",
    };
    format!("{}:{}{options}", bind.source, bind.target)
}

/// Not in the words of `binds`, for which Docker would make a directory that is not there.
fn helpers_bind(bind: &Bind) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(bind.source.clone()),
        target: Some(bind.target.clone()),
        read_only: Some(bind.read_only),
        ..Mount::default()
    }
}

fn extra_host(entry: &HostEntry) -> String {
    format!("{}:{}", entry.hostname, entry.ip_address)
}

fn mount(volume: &VolumeMount) -> Mount {
    let driver = VolumeDriver {
        name: volume.driver.clone(),
        options: Some(volume.driver_options.clone().into_iter().collect()),
    };
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(volume.name.clone()),
        target: Some(volume.target.clone()),
        read_only: Some(volume.read_only),
        volume_options: Some(MountVolumeOptions {
            labels: Some(volume.labels.clone().into_iter().collect()),
            driver_config: Some(driver),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

fn device(device: &DeviceMapping) -> DockerDevice {
    DockerDevice {
        path_on_host: Some(device.host_path.clone()),
        path_in_container: Some(device.container_path.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    }
}

fn gpus(ids: &[String]) -> DeviceRequest {
    DeviceRequest {
        driver: Some("nvidia".to_owned()),
        device_ids: Some(ids.to_vec()),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    }
}

fn ulimit(ulimit: &Ulimit) -> ResourcesUlimits {
    ResourcesUlimits {
        name: Some(ulimit.name.clone()),
        soft: Some(ulimit.soft_limit),
        hard: Some(ulimit.hard_limit),
    }
}

fn log_config(log: &LogTarget) -> HostConfigLogConfig {
    HostConfigLogConfig {
        typ: Some(log.driver.clone()),
        config: Some(log.options.clone().into_iter().collect()),
    }
}

fn health_config(probe: &HealthProbe) -> HealthConfig {
    let nanoseconds =
        |duration: Duration| Some(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX));
    HealthConfig {
        test: Some(probe.test.clone()),
        interval: nanoseconds(probe.interval),
        timeout: nanoseconds(probe.timeout),
        retries: Some(probe.retries.into()),
        start_period: nanoseconds(probe.start_period),
        start_interval: None,
    }
}

fn saturating(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use longshore_common::resources::Transport;

    use super::*;

    fn of(from: BindSource, read_only: bool) -> Bind {
        let (source, target) = ("/from".to_owned(), "/to".to_owned());
        Bind { source, target, read_only, from }
    }

    #[test]
    fn port_published_twice_is_exposed_once_and_bound_twice() {
        let published =
            |host_port| PublishedPort { container_port: 80, transport: Transport::Tcp, host_port };
        let ports = vec![published(Some(8080)), published(Some(8081)), published(None)];
        let config = ContainerConfig { ports, ..ContainerConfig::default() };
        let body = serde_json::to_value(create_body(&config, EngineFacts::default())).unwrap();
        expect_test::expect![[
            r#"{"80/tcp":{}} {"80/tcp":[{"HostPort":"8080"},{"HostPort":"8081"},{"HostPort":""}]}"#
        ]]
        .assert_eq(&format!("{} {}", body["ExposedPorts"], body["HostConfig"]["PortBindings"]));
    }

    #[test]
    fn gpus_come_by_device_requests_or_the_runtime_that_is_named() {
        let gpus = || vec!["GPU-a".to_owned()];
        let runtime = || Some("nvidia-experimental".to_owned());
        for (gpus, gpu_runtime, requests, named) in [
            (vec![], None, false, None),
            (vec![], runtime(), false, None),
            (gpus(), None, true, None),
            (gpus(), runtime(), false, runtime()),
        ] {
            let config = ContainerConfig { gpus, gpu_runtime, ..ContainerConfig::default() };
            let host = create_body(&config, EngineFacts::default()).host_config.unwrap();
            assert_eq!((host.device_requests.is_some(), host.runtime), (requests, named));
        }
    }

    #[test]
    fn port_of_any_number_is_picked_from_the_hosts_range() {
        let published =
            |host_port| PublishedPort { container_port: 80, transport: Transport::Tcp, host_port };
        let ports = vec![published(Some(8080)), published(None)];
        let dynamic_ports = Some(PortBounds { first: 40_000, last: 40_099 });
        let config = ContainerConfig { ports, dynamic_ports, ..ContainerConfig::default() };
        let body = serde_json::to_value(create_body(&config, EngineFacts::default())).unwrap();
        expect_test::expect![[r#"{"80/tcp":[{"HostPort":"8080"},{"HostPort":"40000-40099"}]}"#]]
            .assert_eq(&body["HostConfig"]["PortBindings"].to_string());
    }

    #[test]
    fn only_files_of_the_agent_are_labelled_and_only_for_selinux() {
        let binds = [true, false].map(|read_only| of(BindSource::Agent, read_only));
        let config = ContainerConfig { binds: binds.to_vec(), ..ContainerConfig::default() };
        let shown = |selinux| {
            let engine = EngineFacts { group: None, selinux };
            create_body(&config, engine).host_config.unwrap().binds.unwrap()
        };
        assert_eq!(shown(false), ["/from:/to:ro", "/from:/to"]);
        assert_eq!(shown(true), ["/from:/to:ro,Z", "/from:/to:Z"]);
    }

    #[test]
    fn what_the_helper_mounted_must_be_there() {
        let binds = vec![of(BindSource::Helper, true)];
        let config = ContainerConfig { binds, ..ContainerConfig::default() };
        let host = create_body(&config, EngineFacts::default()).host_config.unwrap();
        let mounts = host.mounts.unwrap();
        assert_eq!((mounts.len(), mounts[0].typ), (1, Some(MountType::BIND)));
        assert_eq!((mounts[0].source.as_deref(), mounts[0].read_only), (Some("/from"), Some(true)));
        assert_eq!(host.binds, Some(Vec::new()), "for these Docker makes a directory");
    }
}
