//! What port mappings are refused.

use super::*;

#[test]
fn port_mappings_are_within_what_their_network_mode_can() {
    let ports = |mapping: Value| json!({"portMappings": [mapping]});
    check_container(ports(json!({"containerPort": 80})), "ok");
    check_container(ports(json!({"containerPort": 80, "hostPort": 8080})), "ok");
    check_container(ports(json!({"containerPort": 65535, "protocol": "udp"})), "ok");
    check_container(ports(json!({})), "Container 'app' has a port mapping without a containerPort");
    check_container(
        ports(json!({"containerPort": 0})),
        "Container 'app' has a port mapping without a containerPort",
    );
    check_container(
        ports(json!({"containerPort": 65536})),
        "`containerDefinitions[0].portMappings[0].containerPort` must be",
    );
    check_container(
        ports(json!({"containerPort": 80, "protocol": "sctp"})),
        "`containerDefinitions[0].portMappings[0].protocol` must be one of",
    );
    for mode in ["host", "awsvpc"] {
        let mapped = |host: u16| ports(json!({"containerPort": 80, "hostPort": host}));
        check(json!({"networkMode": mode}), mapped(0), "ok");
        check(json!({"networkMode": mode}), mapped(80), "ok");
        check(
            json!({"networkMode": mode}),
            mapped(81),
            &format!(
                "When networkMode={mode}, the host ports and container ports in port mappings must \
                 match."
            ),
        );
    }
    check(
        json!({"networkMode": "none"}),
        ports(json!({"containerPort": 80})),
        "Port mappings are not supported when networkMode=none.",
    );
}

#[test]
fn container_port_may_be_published_on_several_host_ports_in_bridge_mode() {
    let ports = |hosts: &[u16]| -> Value {
        hosts.iter().map(|host| json!({"containerPort": 80, "hostPort": host})).collect()
    };
    let cases: &[(&str, &[u16], &str)] = &[
        ("bridge", &[8080, 8081], "ok"),
        ("bridge", &[0, 0], "ok"),
        ("bridge", &[0, 8080, 8081], "ok"),
        (
            "bridge",
            &[8080, 8080],
            "Two containers of the task cannot have one host port: 8080/tcp.",
        ),
        ("host", &[80, 80], "Container 'app' maps a container port twice: 80/tcp."),
        ("awsvpc", &[80, 80], "Container 'app' maps a container port twice: 80/tcp."),
    ];
    for (mode, hosts, said) in cases {
        check(json!({"networkMode": mode}), json!({"portMappings": ports(hosts)}), said);
    }
}

#[test]
fn a_host_port_is_mapped_once() {
    let both = json!({"portMappings": [
        {"containerPort": 80}, {"containerPort": 80, "protocol": "udp"}]});
    check_container(both, "ok");
    let two = |first: Value, second: Value| {
        json!([
            container("a", json!({"portMappings": [first]})),
            container("b", json!({"portMappings": [second]}))
        ])
    };
    let one_port = two(
        json!({"containerPort": 80, "hostPort": 9000}),
        json!({"containerPort": 81, "hostPort": 9000}),
    );
    check_task(
        json!({"containerDefinitions": one_port}),
        "Two containers of the task cannot have one host port: 9000/tcp.",
    );
    let same = two(json!({"containerPort": 80}), json!({"containerPort": 80}));
    check_task(json!({"containerDefinitions": same}), "ok");
    check_task(
        json!({"containerDefinitions": same, "networkMode": "host"}),
        "Two containers of the task cannot have one host port: 80/tcp.",
    );
}

#[test]
fn port_ranges_are_two_ports_in_order() {
    let range = |text: &str| json!({"portMappings": [{"containerPortRange": text}]});
    check_container(range("8000-8010"), "ok");
    for bad in ["8000", "8010-8000", "0-10", "1-65536", "a-b", "5-5"] {
        check_container(range(bad), &format!("The containerPortRange `{bad}`"));
    }
    check(
        json!({"networkMode": "host"}),
        range("8000-8010"),
        "containerPortRange is only supported with the bridge and awsvpc network modes.",
    );
    check_container(
        json!({"portMappings": [{"containerPortRange": "1-2", "hostPort": 3}]}),
        "Container 'app' gives a hostPort with a containerPortRange",
    );
    check_container(
        json!({"portMappings": [{"containerPortRange": "1-2", "containerPort": 3}]}),
        "Container 'app' gives both containerPort and containerPortRange",
    );
    check_container(
        json!({"portMappings": [{"containerPortRange": "1-9"}, {"containerPort": 5}]}),
        "Container 'app' maps a container port twice: 5/tcp.",
    );
    let many: Vec<Value> = (0..101)
        .map(|i| json!({"containerPortRange": format!("{}-{}", 10 * i + 1, 10 * i + 2)}))
        .collect();
    check_container(json!({"portMappings": many}), "Container 'app' has 101 port ranges");
}

#[test]
fn port_names_are_short_lower_case_and_unique() {
    let named = |name: &str| json!({"portMappings": [{"containerPort": 80, "name": name}]});
    check_container(named("http_1-a"), "ok");
    for bad in ["", "-a", "A", "a b", "a".repeat(65).as_str()] {
        check_container(named(bad), &format!("The port mapping name `{bad}` must be"));
    }
    let twice = json!({"portMappings": [
        {"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}]});
    check_container(twice, "The port mapping name `a` is used twice.");
    check_container(
        json!({"portMappings": [{"containerPort": 80, "appProtocol": "grpc"}]}),
        "Container 'app' has a port mapping with an appProtocol and no name",
    );
}
