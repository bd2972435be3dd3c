//! What members of a definition become in a container's configuration.

use longshore_common::task_definition::{TaskDefinition, Volume};
use serde_json::{Value, json};

use super::*;
use crate::{
    engine::plan::{
        sample::{KEY, intent_of, rules},
        task_limits::MIB,
    },
    runtime::CpuQuota,
    settings::LimitRules,
    task::names::docker_name,
};

/// A container with these members, beside one named `db`.
fn config(members: Value) -> ContainerConfig {
    configured(members, json!([])).unwrap()
}

fn configured(members: Value, volumes: Value) -> Result<ContainerConfig, String> {
    let mut container = json!({ "name": "app", "image": "web:1" });
    for (name, value) in members.as_object().unwrap() {
        container[name] = value.clone();
    }
    let db = json!({ "name": "db", "image": "db:1" });
    let containers = [container, db].map(|c| serde_json::from_value(c).unwrap());
    let mut intent = (*intent_of(containers.to_vec())).clone();
    let volumes: Vec<Volume> = serde_json::from_value(volumes).unwrap();
    let mut definition: TaskDefinition = (*intent.definition).clone();
    definition.spec.volumes = volumes;
    intent.definition = definition.into();
    container_config(&intent, 0, &rules())
}

#[test]
fn the_swappiness_that_was_asked_for_reaches_the_engine() {
    let linux = |memory: Value, parameters: Value| {
        let config = config(json!({ "memory": memory, "linuxParameters": parameters }));
        (config.linux.memory_and_swap_bytes, config.linux.swappiness)
    };
    let cases = [
        (json!(64), json!({ "maxSwap": 32, "swappiness": 10 }), (Some(96 * MIB), Some(10))),
        (json!(64), json!({ "maxSwap": 0 }), (Some(64 * MIB), None)),
        // Without maxSwap it says nothing (ECS's documentation of LinuxParameters).
        (json!(64), json!({ "swappiness": 10 }), (None, None)),
        (json!(null), json!({ "maxSwap": 32 }), (Some(32 * MIB), None)),
    ];
    for (memory, parameters, expected) in cases {
        assert_eq!(linux(memory, parameters.clone()), expected, "{parameters}");
    }
}

#[test]
fn a_device_without_permissions_has_all_and_without_a_path_its_own() {
    let devices = json!([
        { "hostPath": "/dev/a" },
        { "hostPath": "/dev/b", "containerPath": "/dev/c", "permissions": ["write", "mknod"] },
    ]);
    let config = config(json!({ "linuxParameters": { "devices": devices } }));
    let shown = config
        .linux
        .devices
        .iter()
        .map(|d| format!("{} {} {}", d.host_path, d.container_path, d.permissions));
    assert_eq!(shown.collect::<Vec<_>>(), ["/dev/a /dev/a rwm", "/dev/b /dev/c wm"]);
}

#[test]
fn security_options_are_written_as_docker_writes_them() {
    let options = ["no-new-privileges", "apparmor:strict", "label:type:web_t"];
    let config = config(json!({ "dockerSecurityOptions": options }));
    assert_eq!(
        config.linux.security_options,
        ["no-new-privileges", "apparmor=strict", "label=type:web_t"],
    );
}

#[test]
fn links_and_volumes_from_name_the_engines_containers() {
    let from = json!([{ "sourceContainer": "db", "readOnly": true }]);
    let config = config(json!({ "links": ["db", "db:store"], "volumesFrom": from }));
    let db = docker_name("web", 3, "db", KEY);
    assert_eq!(config.links, [format!("{db}:db"), format!("{db}:store")]);
    assert_eq!(config.volumes_from, [format!("{db}:ro")]);
}

#[test]
fn volumes_are_bound_shared_or_the_tasks_own() {
    let mount =
        |volume: &str| json!({ "sourceVolume": volume, "containerPath": format!("/{volume}") });
    let volumes = json!([
        { "name": "host", "host": { "sourcePath": "/srv" } },
        { "name": "empty", "host": {} },
        { "name": "docker", "dockerVolumeConfiguration": { "scope": "task", "driver": "rexray" } },
        { "name": "shared", "dockerVolumeConfiguration": { "scope": "shared" } },
        { "name": "made", "dockerVolumeConfiguration": { "scope": "shared", "autoprovision": true } },
        { "name": "unused" },
    ]);
    let names = ["host", "empty", "docker", "shared", "made"];
    let mounts: Vec<Value> = names.iter().map(|name| mount(name)).collect();
    let config = configured(json!({ "mountPoints": mounts }), volumes).unwrap();
    assert_eq!(config.binds, [], "what is of the host comes from the helper");
    let shown = config.volumes.iter().map(|volume| {
        // The task's own end in twenty digits of a hash.
        let own = volume.name.starts_with("ecs-");
        let name = if own { &volume.name[..volume.name.len() - 20] } else { &volume.name };
        let labelled = volume.labels.contains_key("longshore.task");
        format!("{name} {:?} labelled {labelled}, must exist {}", volume.driver, volume.must_exist)
    });
    expect_test::expect![[r#"
        ecs-web-3-empty- None labelled true, must exist false
        ecs-web-3-docker- Some("rexray") labelled true, must exist false
        shared None labelled false, must exist true
        made None labelled false, must exist false"#]]
    .assert_eq(&shown.collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_mount_that_cannot_be_carried_out_is_named() {
    let wrong = |mount: Value, volumes: Value| {
        configured(json!({ "mountPoints": [mount] }), volumes).unwrap_err()
    };
    let at = json!({ "sourceVolume": "v", "containerPath": "/x" });
    assert_eq!(wrong(at, json!([])), "volume `v`, which is not defined");
    let nowhere = json!({ "sourceVolume": "v" });
    let volumes = json!([{ "name": "v" }]);
    assert_eq!(wrong(nowhere, volumes), "a mount of volume `v` without containerPath");
}

#[test]
fn overridden_environment_files_come_first() {
    let file = |name: &str| json!({ "type": "s3", "value": format!("arn:aws:s3:::b/{name}.env") });
    let container = json!({
        "name": "app", "image": "web:1", "environmentFiles": [file("own")],
    });
    let mut intent = (*intent_of(vec![serde_json::from_value(container).unwrap()])).clone();
    intent.order.overrides = serde_json::from_value(json!({
        "containerOverrides": [{ "name": "app", "environmentFiles": [file("over")] }],
    }))
    .unwrap();
    let needs = |rules: &Rules| needs(&intent, 0, rules);
    let arns = needs(&rules()).unwrap().environment_files;
    assert_eq!(arns, ["arn:aws:s3:::b/over.env", "arn:aws:s3:::b/own.env"]);
    let nowhere = needs(&Rules { has_objects: false, ..rules() }).unwrap_err();
    assert_eq!(nowhere, "objects of S3, for which this host's setting s3 names no store");
}

/// An environment file is read after this: what it says of the region counts.
#[test]
fn region_is_a_default_that_others_may_set() {
    let set = json!([{ "name": "AWS_REGION", "value": "eu-west-3" }]);
    let config = config(json!({ "environment": set }));
    assert!(config.environment.contains(&("AWS_REGION".to_owned(), "eu-west-3".to_owned())));
    let names: Vec<&str> =
        config.environment_defaults.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["AWS_REGION", "AWS_DEFAULT_REGION"]);
}

#[test]
fn the_limits_of_a_task_are_its_containers_together() {
    let limited = |containers: usize, cpu: Option<&str>, memory: Option<&str>| {
        let container = |n| json!({ "name": format!("c{n}"), "image": "web:1", "cpu": 100 });
        let containers = (0..containers).map(|n| serde_json::from_value(container(n)).unwrap());
        let mut intent = (*intent_of(containers.collect())).clone();
        let mut definition: TaskDefinition = (*intent.definition).clone();
        definition.spec.cpu = cpu.map(str::to_owned);
        definition.spec.memory = memory.map(str::to_owned);
        intent.definition = definition.into();
        let config = container_config(&intent, 0, &rules()).unwrap();
        (config.cpu_quota, config.memory_bytes, task_group(&intent, &rules()))
    };
    let group = |cpu_shares, cpu_quota, memory_bytes| {
        Some(crate::runtime::TaskGroup {
            name: crate::task::names::group_name(KEY),
            cpu_shares,
            cpu_quota,
            memory_bytes,
            processes: None,
        })
    };
    let half_a_core = Some(CpuQuota { us: 50_000, period_us: 100_000 });
    assert_eq!(limited(1, Some("512"), Some("64")), (half_a_core, Some(64 * MIB), None));
    assert_eq!(
        limited(2, Some("512"), Some("64")),
        (None, Some(64 * MIB), group(512, half_a_core, Some(64 * MIB)))
    );
    let unlimited_cpu = group(300, None, Some(64 * MIB));
    assert_eq!(limited(3, None, Some("64")), (None, Some(64 * MIB), unlimited_cpu));
    assert_eq!(limited(2, Some("512"), None), (None, None, group(512, half_a_core, None)));
    assert_eq!(limited(2, None, None), (None, None, None));
}

/// As an operator sets them for all tasks of a host.
#[test]
fn limits_of_the_host_hold_each_task() {
    let task = |containers: usize| {
        let container = |n| json!({ "name": format!("c{n}"), "image": "web:1", "cpu": 100 });
        let containers = (0..containers).map(|n| serde_json::from_value(container(n)).unwrap());
        let mut intent = (*intent_of(containers.collect())).clone();
        let mut definition: TaskDefinition = (*intent.definition).clone();
        (definition.spec.cpu, definition.spec.memory) = (Some("512".into()), Some("64".into()));
        intent.definition = definition.into();
        intent
    };
    let limited = |containers, cpu_and_memory, processes| {
        let limits = LimitRules { cpu_and_memory, processes, cpu_period_us: 10_000 };
        let rules = Rules { limits, ..rules() };
        let intent = task(containers);
        let config = container_config(&intent, 0, &rules).unwrap();
        let group = task_group(&intent, &rules);
        let label = config.labels["longshore.task-group"].clone();
        assert_eq!(group.as_ref().map(|g| g.name.clone()).unwrap_or_default(), label);
        let group = group.map(|group| (group.cpu_quota, group.memory_bytes, group.processes));
        ((config.cpu_quota, config.memory_bytes, config.processes), group)
    };
    let (cpu, memory) = (Some(CpuQuota { us: 5_000, period_us: 10_000 }), Some(64 * MIB));
    for (containers, cpu_and_memory, processes, own, together) in [
        (1, true, None, (cpu, memory, None), None),
        (1, true, Some(9), (cpu, memory, Some(9)), None),
        (1, false, None, (None, None, None), None),
        (1, false, Some(9), (None, None, Some(9)), None),
        (2, true, None, (None, memory, None), Some((cpu, memory, None))),
        (2, true, Some(9), (None, memory, None), Some((cpu, memory, Some(9)))),
        (2, false, None, (None, None, None), None),
        (2, false, Some(9), (None, None, None), Some((None, None, Some(9)))),
    ] {
        let found = limited(containers, cpu_and_memory, processes);
        assert_eq!(found, (own, together), "{containers} {cpu_and_memory} {processes:?}");
    }
}

#[test]
fn each_container_sees_its_own_of_the_tasks_gpus() {
    let asks = |count: &str| json!([{ "type": "GPU", "value": count }]);
    let container = |name: &str, gpus: Value| {
        let environment = json!([{ "name": "NVIDIA_VISIBLE_DEVICES", "value": "all" }]);
        let container = json!({
            "name": name, "image": "web:1", "resourceRequirements": gpus, "environment": environment,
        });
        serde_json::from_value(container).unwrap()
    };
    let containers =
        vec![container("app", asks("2")), container("db", json!([])), container("side", asks("1"))];
    let mut intent = (*intent_of(containers)).clone();
    intent.order.gpus = ["GPU-a", "GPU-b", "GPU-c"].map(str::to_owned).to_vec();
    let seen = |intent: &Intent, index| {
        let config = container_config(intent, index, &rules()).unwrap();
        let visible = config.environment.iter().find(|(name, _)| name == "NVIDIA_VISIBLE_DEVICES");
        (config.gpus.join(" "), visible.unwrap().1.clone())
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(seen(&intent, 0), pair("GPU-a GPU-b", "GPU-a,GPU-b"));
    assert_eq!(seen(&intent, 1), pair("", "all"));
    assert_eq!(seen(&intent, 2), pair("GPU-c", "GPU-c"));

    let over =
        json!({ "containerOverrides": [{ "name": "app", "resourceRequirements": asks("1") }] });
    intent.order.overrides = serde_json::from_value(over).unwrap();
    assert_eq!(seen(&intent, 2), pair("GPU-b", "GPU-b"));

    intent.order.gpus.truncate(1);
    let refused = container_config(&intent, 2, &rules()).unwrap_err();
    assert_eq!(refused, "1 GPUs, of which the order names 0");
}

#[test]
fn of_one_variable_given_twice_the_last_value_counts() {
    let config = config(json!({ "environment": [
        { "name": "A", "value": "1" }, { "name": "B", "value": "2" }, { "name": "A", "value": "3" },
    ] }));
    let of = |wanted: &str| {
        let named = config.environment.iter().filter(|(name, _)| name == wanted);
        named.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    assert_eq!((of("A"), of("B")), (vec!["3"], vec!["2"]));
}

#[test]
fn port_on_two_host_ports_is_published_on_both() {
    let config = config(json!({ "portMappings": [
        { "containerPort": 80, "hostPort": 8080 }, { "containerPort": 80, "hostPort": 8081 },
        { "containerPort": 80 },
    ] }));
    let hosts: Vec<_> = config.ports.iter().map(|p| (p.container_port, p.host_port)).collect();
    assert_eq!(hosts, [(80, Some(8080)), (80, Some(8081)), (80, None)]);
}

#[test]
fn options_of_a_bind_are_the_helpers_to_keep() {
    let asked = |options: &str| {
        let config = json!({ "driverOpts": { "type": "none", "o": options, "device": "/srv" } });
        let mut intent = (*intent_of(vec![
            serde_json::from_value(json!({ "name": "app", "image": "web:1",
                "mountPoints": [{ "sourceVolume": "v", "containerPath": "/v" }] }))
            .unwrap(),
        ]))
        .clone();
        let mut definition: TaskDefinition = (*intent.definition).clone();
        let volume = json!([{ "name": "v", "dockerVolumeConfiguration": config }]);
        definition.spec.volumes = serde_json::from_value(volume).unwrap();
        intent.definition = definition.into();
        let mount = super::needs(&intent, 0, &rules()).unwrap().of_host.remove(0);
        let options = mount.request.options;
        let names = [
            (mount.read_only, "ro"),
            (options.nosuid, "nosuid"),
            (options.nodev, "nodev"),
            (options.noexec, "noexec"),
            (options.alone, "alone"),
        ];
        let set = names.iter().filter(|(set, _)| *set).map(|(_, name)| *name);
        set.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(asked("bind"), "alone");
    assert_eq!(asked("rbind"), "");
    assert_eq!(asked("bind,ro,nosuid,nodev,noexec"), "ro nosuid nodev noexec alone");
}
