//! `networkBindings`: a `containerPortRange` is shown as one, where the host's ports are in a row too.

use longshore_common::{
    protocol::NetworkBinding, resources::Transport, task_definition::ContainerDefinition,
};
use serde::Serialize;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BindingView {
    #[serde(rename = "bindIP")]
    bind_ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_port_range: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_port_range: Option<String>,
    protocol: Transport,
}

pub(super) fn view(
    definition: &ContainerDefinition,
    reported: &[NetworkBinding],
) -> Vec<BindingView> {
    let mut left: Vec<&NetworkBinding> = reported.iter().collect();
    let mut shown = Vec::new();
    for mapping in &definition.port_mappings {
        let Some((first, last)) = mapping.range() else { continue };
        let protocol = mapping.protocol.unwrap_or(Transport::Tcp);
        let within = |binding: &&NetworkBinding| {
            binding.protocol == protocol && (first..=last).contains(&binding.container_port)
        };
        let (mut range, others): (Vec<_>, Vec<_>) = left.iter().copied().partition(within);
        range.sort_by_key(|binding| binding.container_port);
        let Some(host_first) = range.first().map(|binding| binding.host_port) else { continue };
        let in_a_row = range.iter().enumerate().all(|(offset, binding)| {
            usize::from(binding.container_port) == usize::from(first) + offset
                && usize::from(binding.host_port) == usize::from(host_first) + offset
        });
        if in_a_row && range.len() == usize::from(last - first) + 1 {
            shown.push(BindingView {
                bind_ip: range[0].bind_ip.clone(),
                container_port: None,
                host_port: None,
                container_port_range: mapping.container_port_range.clone(),
                host_port_range: Some(format!("{host_first}-{}", host_first + (last - first))),
                protocol,
            });
            left = others;
        }
    }
    let single = |binding: &NetworkBinding| BindingView {
        bind_ip: binding.bind_ip.clone(),
        container_port: Some(binding.container_port),
        host_port: Some(binding.host_port),
        container_port_range: None,
        host_port_range: None,
        protocol: binding.protocol,
    };
    shown.splice(0..0, left.into_iter().map(single));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_one_binding_and_other_ports_are_their_own() {
        let definition = serde_json::from_value(serde_json::json!({
            "name": "app",
            "portMappings": [{ "containerPortRange": "8000-8002" }, { "containerPort": 80 }],
        }))
        .unwrap();
        let bound = |ports: &[(u16, u16)]| -> Vec<NetworkBinding> {
            let binding = |&(container_port, host_port): &(u16, u16)| NetworkBinding {
                bind_ip: "0.0.0.0".to_owned(),
                container_port,
                host_port,
                protocol: Transport::Tcp,
            };
            ports.iter().map(binding).collect()
        };
        let shown = |ports: &[(u16, u16)]| {
            serde_json::to_string(&view(&definition, &bound(ports))).unwrap()
        };
        expect_test::expect![[r#"[{"bindIP":"0.0.0.0","containerPort":80,"hostPort":49153,"protocol":"tcp"},{"bindIP":"0.0.0.0","containerPortRange":"8000-8002","hostPortRange":"60000-60002","protocol":"tcp"}]"#]]
            .assert_eq(&shown(&[(80, 49153), (8001, 60001), (8000, 60000), (8002, 60002)]));
        expect_test::expect![[r#"[{"bindIP":"0.0.0.0","containerPort":8000,"hostPort":60000,"protocol":"tcp"},{"bindIP":"0.0.0.0","containerPort":8001,"hostPort":60009,"protocol":"tcp"}]"#]]
            .assert_eq(&shown(&[(8000, 60000), (8001, 60009)]));
    }
}
