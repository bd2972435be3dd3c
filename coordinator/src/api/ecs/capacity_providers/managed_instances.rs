//! Amazon ECS Managed Instances, which there are none of: typed, so that an ill-formed one is refused
//! as such, and refused with what to do otherwise (design.md rule 9).

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only refused")]
pub(super) struct ManagedInstancesProvider {
    infrastructure_role_arn: Option<String>,
    instance_launch_template: Option<InstanceLaunchTemplate>,
    propagate_tags: Option<String>,
    infrastructure_optimization: Option<InfrastructureOptimization>,
    auto_repair_configuration: Option<AutoRepairConfiguration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only refused")]
struct InstanceLaunchTemplate {
    ec2_instance_profile_arn: Option<String>,
    network_configuration: Option<NetworkConfiguration>,
    storage_configuration: Option<StorageConfiguration>,
    local_storage_configuration: Option<LocalStorageConfiguration>,
    monitoring: Option<String>,
    capacity_option_type: Option<String>,
    instance_metadata_tags_propagation: Option<bool>,
    instance_requirements: Option<InstanceRequirements>,
    fips_enabled: Option<bool>,
    capacity_reservations: Option<CapacityReservations>,
    nitro_enclaves_enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only refused")]
struct NetworkConfiguration {
    subnets: Option<Vec<String>>,
    security_groups: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only refused")]
struct StorageConfiguration {
    storage_size_gi_b: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only refused")]
struct LocalStorageConfiguration {
    use_local_storage: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only refused")]
struct InstanceRequirements {
    v_cpu_count: Option<WholeRange>,
    memory_mi_b: Option<WholeRange>,
    cpu_manufacturers: Option<Vec<String>>,
    memory_gi_b_per_v_cpu: Option<Range>,
    excluded_instance_types: Option<Vec<String>>,
    instance_generations: Option<Vec<String>>,
    spot_max_price_percentage_over_lowest_price: Option<i32>,
    on_demand_max_price_percentage_over_lowest_price: Option<i32>,
    bare_metal: Option<String>,
    burstable_performance: Option<String>,
    require_hibernate_support: Option<bool>,
    network_interface_count: Option<WholeRange>,
    local_storage: Option<String>,
    local_storage_types: Option<Vec<String>>,
    #[serde(rename = "totalLocalStorageGB")]
    total_local_storage_gb: Option<Range>,
    baseline_ebs_bandwidth_mbps: Option<WholeRange>,
    accelerator_types: Option<Vec<String>>,
    accelerator_count: Option<WholeRange>,
    accelerator_manufacturers: Option<Vec<String>>,
    accelerator_names: Option<Vec<String>>,
    accelerator_total_memory_mi_b: Option<WholeRange>,
    network_bandwidth_gbps: Option<Range>,
    allowed_instance_types: Option<Vec<String>>,
    max_spot_price_as_percentage_of_optimal_on_demand_price: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only refused")]
struct WholeRange {
    min: Option<i32>,
    max: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only refused")]
struct Range {
    min: Option<f64>,
    max: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only refused")]
struct CapacityReservations {
    reservation_group_arn: Option<String>,
    reservation_preference: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only refused")]
struct InfrastructureOptimization {
    scale_in_after: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only refused")]
struct AutoRepairConfiguration {
    actions_status: Option<String>,
}
