//! A [`ContainerConfig`] in Docker's words.

use std::{collections::BTreeMap, time::Duration};

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, PortBinding,
};

use crate::runtime::{Bind, ContainerConfig, HealthProbe, LogTarget, Network, PublishedPort};

pub(super) fn create_body(config: &ContainerConfig) -> ContainerCreateBody {
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let environment = config.environment.iter().map(|(name, value)| format!("{name}={value}"));
    ContainerCreateBody {
        image: Some(config.image.clone()),
        entrypoint: some(&config.entry_point),
        cmd: some(&config.command),
        env: Some(environment.collect()),
        labels: Some(config.labels.clone().into_iter().collect()),
        user: config.user.clone(),
        working_dir: config.working_directory.clone(),
        hostname: config.hostname.clone(),
        exposed_ports: some(&config.ports.iter().map(port_name).collect::<Vec<_>>()),
        healthcheck: config.health.as_ref().map(health_config),
        host_config: Some(host_config(config)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(config: &ContainerConfig) -> HostConfig {
    HostConfig {
        cpu_shares: Some(config.cpu_shares.into()),
        cpu_period: config.cpu_quota_us.map(|_| 100_000),
        cpu_quota: config.cpu_quota_us.map(saturating),
        memory: config.memory_bytes.map(saturating),
        memory_reservation: config.memory_reservation_bytes.map(saturating),
        network_mode: Some(
            match config.network {
                Network::Bridge => "bridge",
                Network::Host => "host",
                Network::None => "none",
            }
            .to_owned(),
        ),
        port_bindings: Some(port_bindings(&config.ports).into_iter().collect()),
        binds: Some(config.binds.iter().map(bind).collect()),
        log_config: config.log.as_ref().map(log_config),
        privileged: Some(config.privileged),
        readonly_rootfs: Some(config.readonly_root),
        ..HostConfig::default()
    }
}

fn port_name(port: &PublishedPort) -> String {
    format!("{}/{}", port.container_port, port.transport)
}

fn port_bindings(ports: &[PublishedPort]) -> BTreeMap<String, Option<Vec<PortBinding>>> {
    let mut bindings: BTreeMap<String, Option<Vec<PortBinding>>> = BTreeMap::new();
    for port in ports {
        let host_port = port.host_port.map_or_else(String::new, |port| port.to_string());
        let binding = PortBinding { host_ip: None, host_port: Some(host_port) };
        bindings.entry(port_name(port)).or_default().get_or_insert_default().push(binding);
    }
    bindings
}

fn bind(bind: &Bind) -> String {
    let mode = if bind.read_only { ":ro" } else { "" };
    format!("{}:{}{mode}", bind.source, bind.target)
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
