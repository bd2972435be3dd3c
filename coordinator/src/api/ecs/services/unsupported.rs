//! Members of services that this release cannot honour, typed as in [`crate::api::ecs::unsupported`].
//! What each refusal says to do is beside it.

use std::collections::BTreeMap;

use longshore_common::task_definition::Switch;
use serde::{Deserialize, Serialize};

use crate::{
    api::ecs::unsupported::{EbsTagSpecification, FilesystemType},
    edge::error::ApiError,
};

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoadBalancer {
    target_group_arn: Option<String>,
    load_balancer_name: Option<String>,
    container_name: Option<String>,
    container_port: Option<i32>,
    advanced_configuration: Option<AdvancedConfiguration>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct AdvancedConfiguration {
    alternate_target_group_arn: Option<String>,
    production_listener_rule: Option<String>,
    test_listener_rule: Option<String>,
    role_arn: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceRegistry {
    registry_arn: Option<String>,
    port: Option<i32>,
    container_name: Option<String>,
    container_port: Option<i32>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceConnectConfiguration {
    enabled: bool,
    namespace: Option<String>,
    #[serde(default)]
    services: Vec<ServiceConnectService>,
    log_configuration: Option<LogConfiguration>,
    access_log_configuration: Option<AccessLogConfiguration>,
    #[serde(default)]
    container_configurations: Vec<ServiceConnectContainer>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceConnectService {
    port_name: String,
    discovery_name: Option<String>,
    #[serde(default)]
    client_aliases: Vec<ClientAlias>,
    ingress_port_override: Option<i32>,
    timeout: Option<Timeout>,
    tls: Option<Tls>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientAlias {
    port: i32,
    dns_name: Option<String>,
    test_traffic_rules: Option<TestTrafficRules>,
}

#[derive(Debug, Deserialize, Serialize)]
struct TestTrafficRules {
    header: TestTrafficHeader,
}

#[derive(Debug, Deserialize, Serialize)]
struct TestTrafficHeader {
    name: String,
    value: Option<TestTrafficHeaderValue>,
}

#[derive(Debug, Deserialize, Serialize)]
struct TestTrafficHeaderValue {
    exact: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Timeout {
    idle_timeout_seconds: Option<i32>,
    per_request_timeout_seconds: Option<i32>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tls {
    issuer_certificate_authority: CertificateAuthority,
    kms_key: Option<String>,
    role_arn: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateAuthority {
    aws_pca_authority_arn: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogConfiguration {
    log_driver: LogDriver,
    #[serde(default)]
    options: BTreeMap<String, String>,
    #[serde(default)]
    secret_options: Vec<SecretOption>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum LogDriver {
    JsonFile,
    Syslog,
    Journald,
    Gelf,
    Fluentd,
    Awslogs,
    Splunk,
    Awsfirelens,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct SecretOption {
    name: String,
    value_from: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct AccessLogConfiguration {
    format: AccessLogFormat,
    include_query_parameters: Option<Switch>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum AccessLogFormat {
    Text,
    Json,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceConnectContainer {
    log_level: Option<ProxyLogLevel>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum ProxyLogLevel {
    Debug,
    Info,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceVolumeConfiguration {
    pub(crate) name: String,
    #[serde(rename = "managedEBSVolume")]
    managed_ebs_volume: Option<ServiceManagedEbsVolume>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceManagedEbsVolume {
    encrypted: Option<bool>,
    kms_key_id: Option<String>,
    volume_type: Option<String>,
    #[serde(rename = "sizeInGiB")]
    size_in_gib: Option<i32>,
    snapshot_id: Option<String>,
    volume_initialization_rate: Option<i32>,
    iops: Option<i32>,
    throughput: Option<i32>,
    #[serde(default)]
    tag_specifications: Vec<EbsTagSpecification>,
    role_arn: String,
    filesystem_type: Option<FilesystemType>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VpcLatticeConfiguration {
    role_arn: String,
    target_group_arn: String,
    port_name: String,
    advanced_configuration: Option<VpcLatticeAdvanced>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct VpcLatticeAdvanced {
    alternate_target_group_arn: Option<String>,
    production_listener_rule: Option<String>,
    test_listener_rule: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GatewayConnector {
    port_name: String,
    health_check: Option<GatewayHealthCheck>,
    filters: Option<GatewayFilters>,
    deregistration_delay: Option<GatewayDeregistrationDelay>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayHealthCheck {
    health_check_protocol: Option<GatewayProtocol>,
    health_check_port: Option<i32>,
    health_check_path: Option<String>,
    health_check_timeout_seconds: Option<i32>,
    health_check_interval_seconds: Option<i32>,
    healthy_threshold_count: Option<i32>,
    unhealthy_threshold_count: Option<i32>,
    matcher: Option<GatewayMatcher>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum GatewayProtocol {
    Http,
    Https,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayMatcher {
    http_code: Option<String>,
    grpc_code: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayFilters {
    #[serde(default)]
    access_types: Vec<GatewayAccess>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum GatewayAccess {
    Public,
    Private,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayDeregistrationDelay {
    timeout_seconds: Option<i32>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MonitoringConfiguration {
    #[serde(default)]
    metric_configurations: Vec<MetricConfiguration>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct MetricConfiguration {
    metric_names: Vec<String>,
    resolution_seconds: i32,
}

pub(crate) fn no_load_balancers(given: &[LoadBalancer]) -> Result<(), ApiError> {
    let Some(first) = given.first() else { return Ok(()) };
    let named = first.target_group_arn.as_deref().or(first.load_balancer_name.as_deref());
    Err(ApiError::unsupported_feature(format!(
        "loadBalancers cannot be honoured: this release of Longshore has no load balancers, so `{}` \
         would get no targets. Leave loadBalancers out, and give the tasks fixed host ports behind \
         a proxy of your own.",
        named.unwrap_or_default()
    )))
}

pub(crate) fn no_registries(given: &[ServiceRegistry]) -> Result<(), ApiError> {
    let Some(first) = given.first() else { return Ok(()) };
    Err(ApiError::unsupported_feature(format!(
        "serviceRegistries cannot be honoured: this release of Longshore has no service discovery, \
         so nothing would be registered in `{}`. Leave serviceRegistries out; DescribeTasks tells \
         where tasks listen.",
        first.registry_arn.as_deref().unwrap_or_default()
    )))
}

pub(crate) fn no_service_connect(
    given: Option<&ServiceConnectConfiguration>,
) -> Result<(), ApiError> {
    if given.is_none_or(|connect| !connect.enabled) {
        return Ok(());
    }
    Err(ApiError::unsupported_feature(
        "serviceConnectConfiguration cannot be honoured: this release of Longshore has no Service \
         Connect. Leave it out or say enabled false.",
    ))
}

pub(crate) fn no_lattice(given: &[VpcLatticeConfiguration]) -> Result<(), ApiError> {
    if given.is_empty() {
        return Ok(());
    }
    Err(ApiError::unsupported_feature(
        "vpcLatticeConfigurations cannot be honoured: there is no VPC Lattice outside of Amazon Web \
         Services. Leave vpcLatticeConfigurations out.",
    ))
}

pub(crate) fn no_gateways(given: &[GatewayConnector]) -> Result<(), ApiError> {
    if given.is_empty() {
        return Ok(());
    }
    Err(ApiError::unsupported_feature(
        "gatewayConnectors cannot be honoured: this release of Longshore has no gateways. Leave \
         gatewayConnectors out, and give the tasks fixed host ports behind a proxy of your own.",
    ))
}

pub(crate) fn no_monitoring(given: Option<&MonitoringConfiguration>) -> Result<(), ApiError> {
    if given.is_none_or(|monitoring| monitoring.metric_configurations.is_empty()) {
        return Ok(());
    }
    Err(ApiError::unsupported_feature(
        "monitoring cannot be honoured: this release of Longshore has no metrics of services. Leave \
         monitoring out.",
    ))
}

/// `role` is for load balancers.
pub(crate) fn no_role(given: Option<&str>) -> Result<(), ApiError> {
    if given.is_none_or(str::is_empty) {
        return Ok(());
    }
    Err(ApiError::invalid_parameter(
        "The role parameter is only permitted with a load balancer, which this release of Longshore \
         does not have. Leave role out.",
    ))
}
