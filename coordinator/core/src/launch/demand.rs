//! What a task takes of its host (ecs-behaviour 1.7, host accounting).

use longshore_common::{
    gpus,
    resources::{CpuUnits, Demand, HostPort, MemoryMib, Transport},
    task::TaskOverride,
    task_definition::{NetworkMode, TaskSpec},
};

/// The task's own CPU and memory where given, else the sum over its containers; every static
/// host port.
pub(crate) fn demand(spec: &TaskSpec, overrides: &TaskOverride) -> Demand {
    let mut cpu_sum = 0u32;
    let mut memory_sum = 0u32;
    let mut ports = Vec::new();
    for container in &spec.container_definitions {
        let over = overrides.container(&container.name);
        let cpu = over.and_then(|o| o.cpu).unwrap_or(container.cpu);
        let reservation = over.and_then(|o| o.memory_reservation).or(container.memory_reservation);
        let memory = over.and_then(|o| o.memory).or(container.memory);
        cpu_sum = cpu_sum.saturating_add(cpu);
        memory_sum = memory_sum.saturating_add(reservation.or(memory).unwrap_or(0));
        for mapping in &container.port_mappings {
            let transport = mapping.protocol.unwrap_or(Transport::Tcp);
            let port = match spec.network_mode() {
                NetworkMode::Bridge => mapping.host_port,
                NetworkMode::Host => mapping.host_port.or(mapping.container_port),
                NetworkMode::Awsvpc | NetworkMode::None => None,
            };
            if let Some(port) = port.filter(|&port| port != 0) {
                ports.push(HostPort { transport, port });
            }
        }
    }
    ports.sort();
    ports.dedup();
    let given = |over: &Option<String>, own: &Option<String>| {
        over.as_deref().or(own.as_deref()).and_then(|text| text.parse().ok())
    };
    Demand {
        cpu: CpuUnits(given(&overrides.cpu, &spec.cpu).unwrap_or(cpu_sum)),
        memory: MemoryMib(given(&overrides.memory, &spec.memory).unwrap_or(memory_sum)),
        ports: ports.into(),
        gpus: gpus::of_task(spec, overrides),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: serde_json::Value, overrides: serde_json::Value, expected: &str) {
        let spec = serde_json::from_value(spec).unwrap();
        let overrides = serde_json::from_value(overrides).unwrap();
        let Demand { cpu, memory, ports, .. } = demand(&spec, &overrides);
        let ports: Vec<String> =
            ports.iter().map(|p| format!("{}/{}", p.port, p.transport)).collect();
        assert_eq!(format!("{} {} {ports:?}", cpu.0, memory.0), expected);
    }

    #[test]
    fn containers_add_up_and_a_reservation_counts_before_a_limit() {
        let spec = serde_json::json!({ "containerDefinitions": [
            { "name": "a", "cpu": 100, "memory": 512, "memoryReservation": 128 },
            { "name": "b", "cpu": 28, "memory": 64 },
        ] });
        check(spec.clone(), serde_json::json!({}), "128 192 []");
        let over =
            serde_json::json!({ "containerOverrides": [{ "name": "b", "cpu": 1, "memory": 32 }] });
        check(spec, over, "101 160 []");
    }

    #[test]
    fn the_tasks_own_size_counts_before_its_containers() {
        let spec = serde_json::json!({ "cpu": "256", "memory": "1024", "containerDefinitions": [
            { "name": "a", "cpu": 100, "memory": 512 } ] });
        check(spec, serde_json::json!({}), "256 1024 []");
    }

    #[test]
    fn only_static_host_ports_are_taken() {
        let ports = serde_json::json!([
            { "containerPort": 80, "hostPort": 8080 }, { "containerPort": 81, "hostPort": 0 },
            { "containerPort": 53, "hostPort": 53, "protocol": "udp" }, { "containerPort": 82 },
        ]);
        let spec = |mode: &str| {
            serde_json::json!({ "networkMode": mode, "containerDefinitions": [
            { "name": "a", "memory": 4, "portMappings": ports.clone() } ] })
        };
        check(spec("bridge"), serde_json::json!({}), r#"0 4 ["8080/tcp", "53/udp"]"#);
        check(spec("none"), serde_json::json!({}), "0 4 []");
    }

    #[test]
    fn in_host_mode_every_container_port_is_a_host_port() {
        let spec = serde_json::json!({ "networkMode": "host", "containerDefinitions": [
            { "name": "a", "memory": 4, "portMappings": [{ "containerPort": 80 }] } ] });
        check(spec, serde_json::json!({}), r#"0 4 ["80/tcp"]"#);
    }
}
