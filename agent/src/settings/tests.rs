use std::{fmt::Write, path::PathBuf, time::Duration};

use expect_test::{Expect, expect};
use longshore_common::{
    protocol::Attribute,
    resources::{CpuUnits, MemoryMib},
    telemetry::LogFormat,
};

use super::*;

/// What comes of flags, variables (one `NAME=VALUE` a line) and a file.
fn outcome(flags: &[&str], variables: &str, file: &str) -> Result<Settings, Ended> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.toml");
    fs_err::write(&path, file).unwrap();
    let mut arguments = vec!["longshore-agent".to_owned()];
    arguments.extend(["--config".to_owned(), path.display().to_string()]);
    arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
    let environment = variables
        .lines()
        .filter_map(|line| line.trim().split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    load(&arguments, &environment)
}

/// 256 and 128 bits of nothing.
const TOKEN: &str =
    "v1-00000000000000000000000000000000000000000000000000-0000000000000000000000000";
const COORDINATOR: &str = "coordinator = 'c:1'";

fn good(flags: &[&str], variables: &str, file: &str) -> Settings {
    match outcome(flags, variables, &format!("{COORDINATOR}\n{file}")) {
        Ok(settings) => settings,
        Err(ended) => panic!("{ended:?}"),
    }
}

/// What is wrong, with the file's folder left out.
fn check_refused(flags: &[&str], variables: &str, file: &str, expected: Expect) {
    let Err(Ended::Bad(problems)) = outcome(flags, variables, file) else {
        panic!("these settings should be refused");
    };
    let mut shown = String::new();
    for line in problems.to_string().lines() {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for word in &mut words {
            if let Some(at) = word.find("/agent.toml") {
                *word = format!("FILE{}", &word[at + "/agent.toml".len()..]);
            }
        }
        writeln!(shown, "{}", words.join(" ")).unwrap();
    }
    expected.assert_eq(&shown);
}

fn check_warnings(variables: &str, expected: Expect) {
    expected.assert_eq(&good(&[], variables, "").warnings.join("\n"));
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let settings = good(&[], "", "");
    expect![[r#"
        Settings {
            coordinator: "c:1",
            join_token: None,
            container_instance: None,
            cluster: "default",
            data_dir: "/var/lib/longshore/agent",
            advertise: None,
            poll_listen: [::]:51680,
            introspection_listen: 127.0.0.1:51678,
            task_endpoints_listen: Some(
                169.254.170.2:80,
            ),
            task_endpoints_rate: RequestRate {
                steady: 40,
                burst: 60,
            },
            allow_instance_metadata: false,
            docker: "/var/run/docker.sock",
            cpu: None,
            memory: None,
            reserved_memory: MemoryMib(
                0,
            ),
            gpus: None,
            gpu_runtime: None,
            container_metadata: false,
            reserved_ports: [],
            dynamic_host_ports: None,
            task_limits: LimitRules {
                cpu_and_memory: true,
                processes: None,
                cpu_period_us: 100000,
            },
            attributes: [],
            tags: [],
            instance_type: None,
            availability_zone: None,
            instance_id: None,
            ec2_metadata: Auto,
            drain_on_spot_interruption: false,
            ec2_metadata_endpoint: "http://169.254.169.254",
            logging_drivers: None,
            privileged: true,
            task_policy: TaskPolicy {
                forbidden: {},
                bind_roots: None,
                allowed_volumes: {},
            },
            engine_sockets: [],
            volumes_socket: None,
            objects: None,
            efs: FileSystems(
                {},
            ),
            repository_credentials: RepositoryCredentials(
                {},
            ),
            registries: Registries {
                docker_config: None,
                auths: None,
            },
            image_pull: PullFirst,
            pull_dependent_upfront: false,
            image_cleanup: ImageCleanup {
                enabled: true,
                interval: 1800s,
                minimum_age: 3600s,
                removed_per_cycle: 5,
                exclude: [],
            },
            timeouts: Timeouts {
                version: 10s,
                pull: 7200s,
                manifest: 60s,
                pull_silence: 60s,
                load: 60s,
                create: 240s,
                start: 180s,
                stop: 120s,
                inspect: 30s,
                list: 60s,
                remove: 300s,
                last_lines: 2s,
            },
            container_stop_timeout: 30s,
            task_cleanup_wait: 10800s,
            stopped_tasks_kept: 200,
            disk: DiskRules {
                clean_at: 85,
                refuse_at: 95,
                floor_bytes: 134217728,
            },
            log_store_age: 604800s,
            log_store_size: MemoryMib(
                2048,
            ),
            log: "info",
            log_format: Text,
            warnings: [],
        }
    "#]]
    .assert_debug_eq(&settings);
}

#[test]
fn flags_win_over_variables_over_amazons_variables_over_the_file() {
    let cluster =
        |flags: &[&str], variables: &str| good(flags, variables, "cluster='file'").cluster;
    assert_eq!(cluster(&[], ""), "file");
    assert_eq!(cluster(&[], "ECS_CLUSTER=amazon"), "amazon");
    assert_eq!(cluster(&[], "ECS_CLUSTER=amazon\nLONGSHORE_CLUSTER=ours"), "ours");
    assert_eq!(cluster(&["--cluster", "flag"], "LONGSHORE_CLUSTER=ours"), "flag");
}

#[test]
fn an_empty_variable_is_not_set() {
    assert_eq!(good(&[], "ECS_CLUSTER=\nLONGSHORE_CLUSTER=", "cluster='file'").cluster, "file");
}

#[test]
fn every_setting_can_be_given_by_flag_variable_and_file_alike() {
    let values = [
        ("coordinator", "10.0.0.1"),
        ("join-token", TOKEN),
        (
            "container-instance",
            "arn:aws:ecs:us-east-1:0:container-instance/web/00000000000000000000000000000001",
        ),
        ("cluster", "web_1"),
        ("data-dir", "/data"),
        ("advertise", "10.0.0.7"),
        ("poll-listen", "[::]:1"),
        ("task-endpoints-listen", "169.254.170.3:8080"),
        ("task-endpoints-rate", "10,20"),
        ("allow-instance-metadata", "true"),
        ("introspection-listen", "127.0.0.1:2"),
        ("docker", "unix:///d.sock"),
        ("cpu", "512"),
        ("memory", "1024"),
        ("reserved-memory", "32"),
        ("reserved-ports", "8080,53/udp,8080"),
        ("dynamic-host-ports", "40000-40099"),
        ("task-cpu-mem-limit", "false"),
        ("task-cpu-period", "10ms"),
        ("task-pids-limit", "100"),
        ("attributes", "rack=12,ssd"),
        ("tags", "team=a b,empty="),
        ("instance-type", "m5.large"),
        ("availability-zone", "eu-1a"),
        ("instance-id", "i-1"),
        ("ec2-metadata", "off"),
        ("drain-on-spot-interruption", "true"),
        ("ec2-metadata-endpoint", "http://127.0.0.1:3"),
        ("logging-drivers", "json-file,journald"),
        ("disable-privileged", "true"),
        ("forbid", "docker-socket,host-ipc"),
        ("bind-roots", "/srv,/data/../volumes"),
        ("allow-volumes", "nfs,driver:rexray/ebs"),
        ("engine-sockets", "/srv/engine.sock"),
        ("volumes-socket", "/srv/volumes.sock"),
        ("s3", "http://10.0.0.5:9000"),
        ("http-proxy", "10.0.0.131:3128"),
        ("https-proxy", "http://10.0.0.132:3128"),
        ("no-proxy", "minio,10.0.0.0/8"),
        ("efs", "fs-1=/mnt/efs,fs-1/fsap-1=/app:1:2"),
        ("repository-credentials", "ci=/etc/longshore/ci.json"),
        ("docker-config", "/etc/longshore/docker.json"),
        ("engine-auth-type", "dockercfg"),
        ("engine-auth-data", "{}"),
        ("image-pull", "always"),
        ("pull-dependent-upfront", "true"),
        ("manifest-pull-timeout", "2m"),
        ("image-pull-timeout", "1h"),
        ("image-pull-silence", "3m"),
        ("container-create-timeout", "5m"),
        ("container-start-timeout", "6m"),
        ("disable-image-cleanup", "true"),
        ("image-cleanup-interval", "10m"),
        ("image-minimum-cleanup-age", "2h"),
        ("images-deleted-per-cycle", "7"),
        ("image-cleanup-exclude", "base:1,10.0.0.5:5000/base"),
        ("container-stop-timeout", "1m30s"),
        ("gpus", "GPU-a,GPU-b"),
        ("gpu-runtime", "nvidia"),
        ("container-metadata", "true"),
        ("task-cleanup-wait", "1.5h"),
        ("stopped-tasks-kept", "9"),
        ("disk-clean-at", "70"),
        ("disk-refuse-at", "80"),
        ("disk-floor", "1024"),
        ("log-store-age", "24h"),
        ("log-store-size", "64"),
        ("log", "debug"),
        ("log-format", "json"),
    ];
    let not_here: Vec<&str> = table::SETTINGS
        .iter()
        .map(|setting| setting.name)
        .filter(|name| *name != "join-token-file" && !values.iter().any(|(known, _)| known == name))
        .collect();
    assert_eq!(not_here, [""; 0]);

    let flags: Vec<String> =
        values.iter().map(|(name, value)| format!("--{name}={value}")).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let by_flag = format!("{:#?}", outcome(&flags, "", "").unwrap());

    let (mut variables, mut file) = (String::new(), String::new());
    for (name, value) in values {
        let setting = table::find(name).unwrap();
        writeln!(variables, "{}={value}", setting.variable()).unwrap();
        writeln!(file, "{} = \"{value}\"", setting.key()).unwrap();
    }
    assert_eq!(format!("{:#?}", outcome(&[], &variables, "").unwrap()), by_flag);
    assert_eq!(format!("{:#?}", outcome(&[], "", &file).unwrap()), by_flag);
    expect![[r#"
        Settings {
            coordinator: "10.0.0.1:8421",
            join_token: Some(
                Given(
                    JoinToken {
                        ca: 00000000000000000000000000000000000000000000000000,
                        secret: JoinSecret(
                            [secret],
                        ),
                    },
                ),
            ),
            container_instance: Some(
                00000000000000000000000000000001,
            ),
            cluster: "web_1",
            data_dir: "/data",
            advertise: Some(
                "10.0.0.7",
            ),
            poll_listen: [::]:1,
            introspection_listen: 127.0.0.1:2,
            task_endpoints_listen: Some(
                169.254.170.3:8080,
            ),
            task_endpoints_rate: RequestRate {
                steady: 10,
                burst: 20,
            },
            allow_instance_metadata: true,
            docker: "/d.sock",
            cpu: Some(
                CpuUnits(
                    512,
                ),
            ),
            memory: Some(
                MemoryMib(
                    1024,
                ),
            ),
            reserved_memory: MemoryMib(
                32,
            ),
            gpus: Named(
                [
                    "GPU-a",
                    "GPU-b",
                ],
            ),
            gpu_runtime: Some(
                "nvidia",
            ),
            container_metadata: true,
            reserved_ports: [
                HostPort {
                    transport: Tcp,
                    port: 8080,
                },
                HostPort {
                    transport: Udp,
                    port: 53,
                },
            ],
            dynamic_host_ports: Some(
                PortBounds {
                    first: 40000,
                    last: 40099,
                },
            ),
            task_limits: LimitRules {
                cpu_and_memory: false,
                processes: Some(
                    100,
                ),
                cpu_period_us: 10000,
            },
            attributes: [
                Attribute {
                    name: "rack",
                    value: Some(
                        "12",
                    ),
                },
                Attribute {
                    name: "ssd",
                    value: None,
                },
            ],
            tags: [
                (
                    "team",
                    "a b",
                ),
                (
                    "empty",
                    "",
                ),
            ],
            instance_type: Some(
                "m5.large",
            ),
            availability_zone: Some(
                "eu-1a",
            ),
            instance_id: Some(
                "i-1",
            ),
            ec2_metadata: Off,
            drain_on_spot_interruption: true,
            ec2_metadata_endpoint: "http://127.0.0.1:3",
            logging_drivers: Some(
                [
                    "json-file",
                    "journald",
                ],
            ),
            privileged: false,
            task_policy: TaskPolicy {
                forbidden: {
                    HostIpc,
                    DockerSocket,
                },
                bind_roots: Some(
                    [
                        "/srv",
                        "/volumes",
                    ],
                ),
                allowed_volumes: {
                    "driver:rexray/ebs",
                    "nfs",
                },
            },
            engine_sockets: [
                "/srv/engine.sock",
            ],
            volumes_socket: Some(
                "/srv/volumes.sock",
            ),
            objects: Some(
                Endpoint(
                    "http://10.0.0.5:9000",
                    Proxies {
                        http: true,
                        https: true,
                        direct: [
                            "minio",
                            "10.0.0.0/8",
                        ],
                    },
                ),
            ),
            efs: FileSystems(
                {
                    "fs-1": FileSystem {
                        source: Some(
                            Mounted(
                                "/mnt/efs",
                            ),
                        ),
                        access_points: {
                            "fsap-1": AccessPoint {
                                path: "app",
                                owner: (
                                    1,
                                    2,
                                ),
                                mode: 493,
                                any_user: false,
                            },
                        },
                    },
                },
            ),
            repository_credentials: RepositoryCredentials(
                {
                    "ci": "/etc/longshore/ci.json",
                },
            ),
            registries: Registries {
                docker_config: Some(
                    "/etc/longshore/docker.json",
                ),
                auths: Some(
                    "…",
                ),
            },
            image_pull: Always,
            pull_dependent_upfront: true,
            image_cleanup: ImageCleanup {
                enabled: false,
                interval: 600s,
                minimum_age: 7200s,
                removed_per_cycle: 7,
                exclude: [
                    "base:1",
                    "10.0.0.5:5000/base",
                ],
            },
            timeouts: Timeouts {
                version: 10s,
                pull: 3600s,
                manifest: 120s,
                pull_silence: 180s,
                load: 60s,
                create: 300s,
                start: 360s,
                stop: 120s,
                inspect: 30s,
                list: 60s,
                remove: 300s,
                last_lines: 2s,
            },
            container_stop_timeout: 90s,
            task_cleanup_wait: 5400s,
            stopped_tasks_kept: 9,
            disk: DiskRules {
                clean_at: 70,
                refuse_at: 80,
                floor_bytes: 1073741824,
            },
            log_store_age: 86400s,
            log_store_size: MemoryMib(
                64,
            ),
            log: "debug",
            log_format: Json,
            warnings: [],
        }"#]]
    .assert_eq(&by_flag);
}

#[test]
fn gpus_are_named_found_or_not_offered_at_all() {
    use super::Gpus;
    let gpus = |flags: &[&str], variables: &str| good(flags, variables, "").gpus;
    assert_eq!(gpus(&[], ""), Gpus::None);
    assert_eq!(gpus(&[], "ECS_ENABLE_GPU_SUPPORT=false"), Gpus::None);
    assert_eq!(gpus(&[], "ECS_ENABLE_GPU_SUPPORT=true"), Gpus::Auto);
    let named = Gpus::Named(vec!["GPU-b".to_owned(), "MIG-a".to_owned()]);
    assert_eq!(gpus(&["--gpus", "GPU-b,MIG-a"], "ECS_ENABLE_GPU_SUPPORT=true"), named);
}

#[test]
fn the_file_may_use_toml_of_its_own_kinds() {
    let settings = good(
        &[],
        "",
        "cpu = 2048\ndisable_privileged = true\nreserved_ports = [8080, '53/udp']\n\
         [attributes]\nrack = '12'\n[tags]\nowner = 'a,b'",
    );
    assert_eq!(settings.cpu, Some(CpuUnits(2048)));
    assert!(!settings.privileged);
    assert_eq!(settings.reserved_ports.len(), 2);
    assert_eq!(settings.attributes[0].value.as_deref(), Some("12"));
    assert_eq!(settings.tags, [("owner".to_owned(), "a,b".to_owned())]);
}

#[test]
fn an_ecs_config_of_amazons_agent_works_as_it_is() {
    let settings = good(
        &[],
        r#"
        ECS_CLUSTER=prod
        ECS_RESERVED_MEMORY=256
        ECS_RESERVED_PORTS=[22,8080]
        ECS_RESERVED_PORTS_UDP=[53]
        ECS_INSTANCE_ATTRIBUTES={"rack":"12","ssd":""}
        ECS_CONTAINER_INSTANCE_TAGS={"team":"web, api"}
        ECS_CONTAINER_STOP_TIMEOUT=1m
        ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=10m
        ECS_DISABLE_IMAGE_CLEANUP=false
        ECS_IMAGE_CLEANUP_INTERVAL=20m
        ECS_IMAGE_MINIMUM_CLEANUP_AGE=15m
        ECS_NUM_IMAGES_DELETE_PER_CYCLE=9
        ECS_EXCLUDE_UNTRACKED_IMAGE=base:1,base:2
        ECS_AVAILABLE_LOGGING_DRIVERS=["json-file","journald"]
        ECS_DISABLE_PRIVILEGED=true
        ECS_IMAGE_PULL_BEHAVIOR=prefer-cached
        ECS_LOGLEVEL=warning
        ECS_LOG_OUTPUT_FORMAT=json
        ECS_ALLOW_OFFHOST_INTROSPECTION_ACCESS=true
        ECS_UPDATES_ENABLED=false
        ECS_DISABLE_METRICS=true
        DOCKER_HOST=unix:///other.sock
        "#,
        "",
    );
    assert_eq!(settings.warnings, [""; 0]);
    assert_eq!(
        (settings.cluster.as_str(), settings.reserved_memory, settings.privileged),
        ("prod", MemoryMib(256), false)
    );
    assert_eq!(settings.reserved_ports.len(), 3);
    assert_eq!(settings.attributes[1], Attribute { name: "ssd".to_owned(), value: None });
    assert_eq!(settings.tags[0].1, "web, api");
    assert_eq!(settings.container_stop_timeout, Duration::from_secs(60));
    assert_eq!(settings.task_cleanup_wait, Duration::from_secs(600));
    let minutes = |count: u64| Duration::from_secs(count * 60);
    let images = settings.image_cleanup;
    assert_eq!((images.interval, images.minimum_age), (minutes(20), minutes(15)));
    assert_eq!((images.enabled, images.removed_per_cycle), (true, 9));
    assert_eq!(images.exclude, ["base:1", "base:2"]);
    assert_eq!(settings.logging_drivers.unwrap(), ["json-file", "journald"]);
    assert_eq!(settings.image_pull, PullPolicy::PreferCached);
    assert_eq!((settings.log.as_str(), settings.log_format), ("warn", LogFormat::Json));
    assert_eq!(settings.introspection_listen.to_string(), "0.0.0.0:51678");
    assert_eq!(settings.docker, PathBuf::from("/other.sock"));
}

#[test]
fn what_has_no_effect_is_named_without_its_value() {
    check_warnings(
        "ECS_BACKEND_HOST=user:hunter2@example.com\n\
         ECS_CGROUP_PATH=/cgroup\n\
         ECS_ENABLE_TASK_ENI=false\n\
         ECS_NEW_THING=1\n\
         LONGSHORE_CLUTSER=a",
        expect![[r#"
            ECS_BACKEND_HOST has no effect on this agent: set LONGSHORE_COORDINATOR to the coordinator's joining port
            ECS_CGROUP_PATH has no effect on this agent: control groups are where systemd mounts them
            ECS_NEW_THING has no effect on this agent: what it asks for is not built; `longshore-agent --help` lists what is
            LONGSHORE_CLUTSER is not a setting of the agent and has no effect; `longshore-agent --help` lists them"#]],
    );
}

#[test]
fn the_stronger_of_a_token_and_a_token_file_counts() {
    let token = |flags: &[&str], file: &str| good(flags, "", file).join_token;
    let by_file = token(&["--join-token-file", "/t"], "join_token = 'v1-x'");
    assert!(matches!(by_file, Some(TokenSource::File(_))), "{by_file:?}");
    let given = token(&["--join-token", TOKEN], "join_token_file = '/t'");
    assert!(matches!(given, Some(TokenSource::Given(_))), "{given:?}");
    check_refused(
        &["--coordinator=c", "--join-token=a", "--join-token-file=b"],
        "",
        "",
        expect![[r#"
            longshore-agent: --join-token and --join-token-file are both set: remove one of them
        "#]],
    );
}

#[test]
fn a_coordinator_is_a_host_with_the_joining_port_unless_another_is_given() {
    let coordinator = |text: &str| good(&["--coordinator", text], "", "").coordinator;
    assert_eq!(coordinator("10.0.0.1"), "10.0.0.1:8421");
    assert_eq!(coordinator("c.example:9"), "c.example:9");
    assert_eq!(coordinator("2001:db8::1"), "[2001:db8::1]:8421");
    assert_eq!(coordinator("[2001:db8::1]:9"), "[2001:db8::1]:9");
}

#[test]
fn the_coordinator_must_be_set() {
    check_refused(
        &[],
        "",
        "",
        expect![[r#"
        longshore-agent: no coordinator is set: give its host and joining port, for example by the line coordinator = "10.0.0.1:8421" in FILE, by --coordinator 10.0.0.1:8421 or by LONGSHORE_COORDINATOR=10.0.0.1:8421
    "#]],
    );
}

#[test]
fn every_bad_value_says_where_it_stands_and_what_to_write() {
    check_refused(
        &[
            "--coordinator=https://c",
            "--join-token=v1-secret",
            "--container-instance=i-1",
            "--ec2-metadata-endpoint=ftp://a",
            "--advertise=0.0.0.0",
            "--cpu=two",
            "--memory=0",
        ],
        "LONGSHORE_POLL_LISTEN=51680\n\
         LONGSHORE_DOCKER=tcp://10.0.0.1:2375\n\
         LONGSHORE_RESERVED_MEMORY=-1\n\
         LONGSHORE_RESERVED_PORTS=80,90/sctp\n\
         LONGSHORE_CONTAINER_STOP_TIMEOUT=30\n\
         ECS_CLUSTER=arn:aws:ecs:eu-1:1:cluster/a\n\
         ECS_INSTANCE_ATTRIBUTES=rack=12\n\
         ECS_AVAILABLE_LOGGING_DRIVERS=json-file",
        "attributes = { 'ecs.os-type' = 'linux' }\n\
         tags = { 'aws:x' = '1' }\n\
         availability_zone = ' a'\n\
         ec2_metadata = 'maybe'\n\
         disable_privileged = 'yes'\n\
         forbid = ['root']\n\
         bind_roots = ['srv']\n\
         image_pull = 'never'\n\
         log_format = 'xml'\n\
         data_dir = ''\n\
         task_cleanup_wait = '0s'\n\
         image_cleanup_interval = '5m'\n\
         disk_clean_at = '85%'\n\
         stopped_tasks_kept = 0\n\
         images_deleted_per_cycle = 0\n\
         logging_drivers = ['a b']\n\
         cluster_name = 'x'\n\
         log = 1.5",
        expect![[r#"
            longshore-agent: `cluster_name` in FILE is not a setting; the known ones are coordinator, join_token, join_token_file, container_instance, cluster, data_dir, advertise, poll_listen, introspection_listen, task_endpoints_listen, task_endpoints_rate, allow_instance_metadata, docker, cpu, memory, reserved_memory, gpus, gpu_runtime, container_metadata, reserved_ports, dynamic_host_ports, task_cpu_mem_limit, task_cpu_period, task_pids_limit, attributes, tags, instance_type, availability_zone, instance_id, ec2_metadata, drain_on_spot_interruption, ec2_metadata_endpoint, logging_drivers, disable_privileged, forbid, bind_roots, allow_volumes, engine_sockets, volumes_socket, s3, http_proxy, https_proxy, no_proxy, efs, repository_credentials, docker_config, engine_auth_type, engine_auth_data, image_pull, pull_dependent_upfront, disable_image_cleanup, image_cleanup_interval, image_minimum_cleanup_age, images_deleted_per_cycle, image_cleanup_exclude, manifest_pull_timeout, image_pull_timeout, image_pull_silence, container_create_timeout, container_start_timeout, container_stop_timeout, task_cleanup_wait, stopped_tasks_kept, disk_clean_at, disk_refuse_at, disk_floor, log_store_age, log_store_size, log, log_format
            longshore-agent: `log` in FILE has a value of a kind that no setting has: give a string, a whole number, true or false, a list of strings or numbers, or a table of strings
            longshore-agent: ECS_AVAILABLE_LOGGING_DRIVERS is not a JSON list: write it as ["json-file","journald"] or [80,443] (expected value at line 1 column 1)
            longshore-agent: ECS_INSTANCE_ATTRIBUTES is not a JSON object of strings: write it as {"rack":"12"} (expected value at line 1 column 1)
            longshore-agent: --coordinator: `https://c` is not a host and port: write it as 10.0.0.1:8421, coordinator.example:8421 or [2001:db8::1]:8421
            longshore-agent: --join-token: is not a join token: copy the whole of what `longshore-coordinator join-token create` printed, v1-…-…
            longshore-agent: --container-instance: `i-1` is not a container instance: give its ARN or its id of 32 digits, as RegisterContainerInstance answered it
            longshore-agent: ECS_CLUSTER: `arn:aws:ecs:eu-1:1:cluster/a` is not a cluster's name: give up to 255 letters, digits, hyphens and underscores, not an ARN
            longshore-agent: `data_dir` in FILE: is empty: give a value, or leave it out
            longshore-agent: --advertise: `0.0.0.0` is not an address of this host: give one that others can reach, without a port, for example 10.0.0.7
            longshore-agent: LONGSHORE_POLL_LISTEN: `51680` is not an address and port: write it as 0.0.0.0:51680 or [::]:51680
            longshore-agent: LONGSHORE_DOCKER: `tcp://10.0.0.1:2375` is not a unix socket: the agent talks to the Docker Engine of its own host, write it as unix:///var/run/docker.sock
            longshore-agent: --cpu: `two` is not a number of CPU units: give a whole one, 1024 for each core
            longshore-agent: --memory: `0` is not an amount of memory: give a whole number of MiB, above zero
            longshore-agent: LONGSHORE_RESERVED_MEMORY: `-1` is not an amount of memory: give a whole number of MiB
            longshore-agent: LONGSHORE_RESERVED_PORTS: `90/sctp` is not a port: write 8080 or 9000/udp, from 1 to 65535
            longshore-agent: `attributes` in FILE: `ecs.os-type` is set by the agent itself: use a name that does not begin with `ecs.` or `com.amazonaws.`; type and zone have settings of their own
            longshore-agent: `tags` in FILE: `aws:x` cannot be a tag: give a key of 1 to 128 characters that does not begin with `aws:`, and a value of at most 256
            longshore-agent: `availability_zone` in FILE: ` a` is not an attribute's value: give up to 128 letters, digits, spaces inside, or any of - _ . / \ @ :
            longshore-agent: `ec2_metadata` in FILE: `maybe` is not known: give auto, on or off
            longshore-agent: --ec2-metadata-endpoint: `ftp://a` is not an HTTP address: write http://169.254.169.254
            longshore-agent: `logging_drivers` in FILE: `a b` is not a log driver's name: give Docker's, for example json-file,journald
            longshore-agent: `disable_privileged` in FILE: `yes` is neither: give true or false
            longshore-agent: `forbid` in FILE: `root` is not known: forbid privileged, host-network, host-processes, host-ipc, devices, capabilities, docker-socket, unconfined or log-addresses
            longshore-agent: `bind_roots` in FILE: `srv` is not an absolute path: write /srv/volumes, for example
            longshore-agent: `image_pull` in FILE: `never` is not known: give default, always, once or prefer-cached
            longshore-agent: `image_cleanup_interval` in FILE: is shorter than 10 minutes: give 10m or more; where room is short, images are cleaned up at once
            longshore-agent: `images_deleted_per_cycle` in FILE: `0` is not a number of images: give a whole one, above zero
            longshore-agent: LONGSHORE_CONTAINER_STOP_TIMEOUT: `30` is not a duration of a second or more: write 30s, 1m30s or 3h
            longshore-agent: `task_cleanup_wait` in FILE: `0s` is not a duration of a second or more: write 30s, 1m30s or 3h
            longshore-agent: `stopped_tasks_kept` in FILE: `0` is not a number of tasks: give a whole one, 1 to 100000
            longshore-agent: `disk_clean_at` in FILE: `85%` is not a percentage: give a whole number, 1 to 100
            longshore-agent: `log_format` in FILE: `xml` is not a log format: say `text` or `json`
        "#]],
    );
}

#[test]
fn a_file_that_is_not_toml_is_shown_where_it_breaks() {
    check_refused(
        &[],
        "",
        "cluster = ",
        expect![[r#"
            longshore-agent: FILE is not TOML: TOML parse error at line 1, column 11
              |
            1 | cluster = 
              |           ^
            string values must be quoted, expected literal string; correct it there
        "#]],
    );
}

#[test]
fn a_named_file_must_be_there() {
    let arguments = ["longshore-agent", "--config", "/nowhere/agent.toml"].map(str::to_owned);
    let Err(Ended::Bad(problems)) = load(&arguments, &Environment::new()) else { panic!() };
    expect![[r#"
        longshore-agent: the settings file cannot be read: failed to open file `/nowhere/agent.toml`: No such file or directory (os error 2); correct --config or the file
    "#]].assert_eq(&problems.to_string());
}

#[test]
fn an_unknown_flag_is_refused_by_name() {
    check_refused(
        &["--clutser=a"],
        "",
        "",
        expect![[r#"
            longshore-agent: unexpected argument '--clutser' found

              tip: a similar argument exists: '--cluster'

            Usage: longshore-agent --config <FILE> --cluster <NAME>

            For more information, try '--help'.
        "#]],
    );
}

#[test]
fn the_help_names_every_setting_with_its_variable() {
    let Err(Ended::Shown(help)) = outcome(&["--help"], "", "") else { panic!() };
    for setting in table::SETTINGS {
        assert!(help.contains(&format!("--{}", setting.name)), "{}", setting.name);
        assert!(help.contains(&setting.variable()), "{}", setting.name);
    }
}

#[test]
fn the_help_lists_the_subcommands_and_each_has_its_own() {
    let help = |subcommand: Option<&str>| {
        let arguments = ["longshore-agent", "--help"].map(str::to_owned);
        match load_for(subcommand, &arguments, &Environment::new()) {
            Err(Ended::Shown(help)) => help,
            other => panic!("{other:?}"),
        }
    };
    let general = help(None);
    let mut seen = vec![general.clone()];
    for (name, about) in SUBCOMMANDS {
        assert!(general.contains(&format!("  {name} ")), "{name}");
        let own = help(Some(name));
        assert!(own.starts_with(&about[..40]), "{own}");
        assert!(own.contains(&format!("Usage: longshore-agent {name} ")), "{own}");
        assert!(own.contains("--task-endpoints-listen"), "{name} takes the settings");
        assert!(!seen.contains(&own));
        seen.push(own);
    }
}

/// The file that `make install` installs: every setting stands in it, as a comment.
#[test]
fn the_example_file_shows_every_setting_and_each_can_be_used_as_it_is_shown() {
    let example = include_str!("../../../systemd/agent.toml");
    let as_installed = outcome(&["--coordinator=c"], "", example).unwrap();
    assert_eq!(as_installed.warnings, [""; 0]);
    let shown = |line: &&str| {
        line.strip_prefix('#')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let lines: Vec<&str> =
        example.lines().filter(shown).map(|line| line.trim_start_matches('#')).collect();
    for setting in table::SETTINGS {
        let line = lines.iter().find(|line| line.starts_with(&format!("{} = ", setting.key())));
        let line = line.unwrap_or_else(|| panic!("{} is not in the example", setting.key()));
        let flags: &[&str] = if setting.name == "coordinator" { &[] } else { &["--coordinator=c"] };
        outcome(flags, "", line).unwrap_or_else(|ended| panic!("{line}: {ended:?}"));
    }
    assert_eq!(lines.len(), table::SETTINGS.len());
}

/// Amazon's agent reads its booleans by Go's ParseBool.
#[test]
fn booleans_are_read_in_every_form_of_parse_bool() {
    for (text, value) in [
        ("1", true),
        ("t", true),
        ("T", true),
        ("TRUE", true),
        ("true", true),
        ("True", true),
        ("0", false),
        ("f", false),
        ("F", false),
        ("FALSE", false),
        ("false", false),
        ("False", false),
    ] {
        let disabled = good(&[], &format!("ECS_DISABLE_PRIVILEGED={text}"), "");
        assert_eq!(disabled.privileged, !value, "{text}");
        let gpus = good(&[], &format!("ECS_ENABLE_GPU_SUPPORT={text}"), "").gpus;
        assert_eq!(gpus == Gpus::Auto, value, "{text}");
        let ignored = good(&[], &format!("ECS_ENABLE_TASK_ENI={text}"), "").warnings;
        assert_eq!(ignored.is_empty(), !value, "{text}");
    }
}

/// The variables that the README of ECS's agent names, those of its ecs-init too, each with a value
/// that asks for something, and whether it is honoured.
const ECS_AGENT_VARIABLES: &[(&str, &str, bool)] = &[
    ("AWS_DEFAULT_REGION", "eu-west-1", true),
    ("CREDENTIALS_FETCHER_HOST", "unix:///a.sock", false),
    ("CREDENTIALS_FETCHER_SECRET_NAME_FOR_DOMAINLESS_GMSA", "a", false),
    ("DOCKER_HOST", "unix:///a.sock", true),
    ("ECS_AGENT_APPARMOR_PROFILE", "unconfined", false),
    ("ECS_AGENT_HEALTHCHECK_HOST", "10.0.0.1", false),
    ("ECS_AGENT_LABELS", r#"{"a":"b"}"#, false),
    ("ECS_ALLOW_OFFHOST_INTROSPECTION_ACCESS", "true", true),
    ("ECS_ALTERNATE_CREDENTIAL_PROFILE", "a", false),
    ("ECS_APPARMOR_CAPABLE", "false", false),
    ("ECS_AVAILABLE_LOGGING_DRIVERS", r#"["journald"]"#, true),
    ("ECS_AWSVPC_ADDITIONAL_LOCAL_ROUTES", r#"["10.0.15.0/24"]"#, false),
    ("ECS_AWSVPC_BLOCK_IMDS", "false", false),
    ("ECS_CGROUP_CPU_PERIOD", "10ms", true),
    ("ECS_CGROUP_PATH", "/cgroup", false),
    ("ECS_CHECKPOINT", "false", false),
    ("ECS_CLUSTER", "web", true),
    ("ECS_CNI_PLUGINS_PATH", "/ecs/cni", false),
    ("ECS_CONTAINER_CREATE_TIMEOUT", "10m", true),
    ("ECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM", "ec2_instance", false),
    ("ECS_CONTAINER_INSTANCE_TAGS", r#"{"a":"b"}"#, true),
    ("ECS_CONTAINER_START_TIMEOUT", "10m", true),
    ("ECS_CONTAINER_STOP_TIMEOUT", "10m", true),
    ("ECS_DATADIR", "/data", false),
    ("ECS_DISABLE_DOCKER_HEALTH_CHECK", "true", false),
    ("ECS_DISABLE_IMAGE_CLEANUP", "true", true),
    ("ECS_DISABLE_METRICS", "false", false),
    ("ECS_DISABLE_PRIVILEGED", "true", true),
    ("ECS_DYNAMIC_HOST_PORT_RANGE", "100-200", true),
    ("ECS_EBSTA_SUPPORTED", "true", false),
    ("ECS_ENABLE_CONTAINER_METADATA", "true", true),
    ("ECS_ENABLE_GPU_SUPPORT", "true", true),
    ("ECS_ENABLE_RUNTIME_STATS", "true", false),
    ("ECS_ENABLE_SPOT_INSTANCE_DRAINING", "true", true),
    ("ECS_ENABLE_TASK_CPU_MEM_LIMIT", "false", true),
    ("ECS_ENABLE_TASK_ENI", "true", false),
    ("ECS_ENABLE_TASK_IAM_ROLE", "true", false),
    ("ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST", "true", false),
    ("ECS_ENABLE_UNTRACKED_IMAGE_CLEANUP", "true", false),
    ("ECS_ENGINE_AUTH_DATA", r#"{"r":{"auth":"YTpi"}}"#, true),
    ("ECS_ENGINE_AUTH_TYPE", "dockercfg", true),
    ("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", "10m", true),
    ("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER", "1h", false),
    ("ECS_EXCLUDE_IPV6_PORTBINDING", "false", false),
    ("ECS_EXCLUDE_UNTRACKED_IMAGE", "alpine:latest", true),
    ("ECS_FSX_WINDOWS_FILE_SERVER_SUPPORTED", "true", false),
    ("ECS_GMSA_SUPPORTED", "true", false),
    ("ECS_HOST_DATA_DIR", "/var/lib/ecs", false),
    ("ECS_IMAGE_CLEANUP_INTERVAL", "20m", true),
    ("ECS_IMAGE_MINIMUM_CLEANUP_AGE", "30m", true),
    ("ECS_IMAGE_PULL_BEHAVIOR", "once", true),
    ("ECS_IMAGE_PULL_INACTIVITY_TIMEOUT", "2m", true),
    ("ECS_IMAGE_PULL_TIMEOUT", "1h", true),
    ("ECS_INSTANCE_ATTRIBUTES", r#"{"stack":"prod"}"#, true),
    ("ECS_LOGFILE", "/ecs-agent.log", false),
    ("ECS_LOGLEVEL", "debug", true),
    ("ECS_LOGLEVEL_ON_INSTANCE", "debug", false),
    ("ECS_LOG_DRIVER", "journald", false),
    ("ECS_LOG_MAX_FILE_SIZE_MB", "10", false),
    ("ECS_LOG_MAX_ROLL_COUNT", "24", false),
    ("ECS_LOG_OPTS", r#"{"a":"b"}"#, false),
    ("ECS_LOG_OUTPUT_FORMAT", "json", true),
    ("ECS_LOG_ROLLOVER_TYPE", "size", false),
    ("ECS_MANIFEST_PULL_TIMEOUT", "10m", true),
    ("ECS_NUM_IMAGES_DELETE_PER_CYCLE", "7", true),
    ("ECS_NVIDIA_RUNTIME", "other", true),
    ("ECS_OFFHOST_INTROSPECTION_INTERFACE_NAME", "eth0", false),
    ("ECS_POLLING_METRICS_WAIT_DURATION", "10s", false),
    ("ECS_PULL_DEPENDENT_CONTAINERS_UPFRONT", "true", true),
    ("ECS_RESERVED_MEMORY", "32", true),
    ("ECS_RESERVED_PORTS", "[22]", true),
    ("ECS_RESERVED_PORTS_UDP", "[53]", true),
    ("ECS_SELINUX_CAPABLE", "false", false),
    ("ECS_SHARED_VOLUME_MATCH_FULL_CONFIG", "true", false),
    ("ECS_TASK_METADATA_RPS_LIMIT", "100,150", true),
    ("ECS_TASK_PIDS_LIMIT", "100", true),
    ("ECS_UPDATES_ENABLED", "true", false),
    ("ECS_WARM_POOLS_CHECK", "true", false),
    ("HTTP_PROXY", "10.0.0.131:3128", true),
    ("NON_ECS_IMAGE_MINIMUM_CLEANUP_AGE", "30m", false),
    ("NO_PROXY", "169.254.169.254,169.254.170.2,/var/run/docker.sock", true),
    // Whatever they say, they ask for nothing here.
    ("ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE", "true", true),
    ("ECS_ENABLE_CPU_UNBOUNDED_WINDOWS_WORKAROUND", "true", true),
    ("ECS_ENABLE_HIGH_DENSITY_ENI", "false", true),
    ("ECS_ENABLE_MEMORY_UNBOUNDED_WINDOWS_WORKAROUND", "true", true),
    ("ECS_POLL_METRICS", "true", true),
    ("ECS_SKIP_LOCALHOST_TRAFFIC_FILTER", "true", true),
];

/// One that is honoured changes a setting, or asks for what is so already; of any other the operator
/// hears by its name, with what to do instead.
#[test]
fn every_variable_of_ecss_agent_is_honoured_or_told_of() {
    let default = format!("{:?}", good(&[], "", ""));
    let without_effect = [
        "AWS_DEFAULT_REGION", // of objects: see `preparation::objects`
        "ECS_ENGINE_AUTH_TYPE",
        "ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE",
        "ECS_ENABLE_CPU_UNBOUNDED_WINDOWS_WORKAROUND",
        "ECS_ENABLE_HIGH_DENSITY_ENI",
        "ECS_ENABLE_MEMORY_UNBOUNDED_WINDOWS_WORKAROUND",
        "ECS_POLL_METRICS",
        "ECS_SKIP_LOCALHOST_TRAFFIC_FILTER",
    ];
    let proxied = ["--s3=https://s3.example.com"];
    for &(variable, value, honoured) in ECS_AGENT_VARIABLES {
        let flags: &[&str] = if variable.ends_with("_PROXY") { &proxied } else { &[] };
        let settings = good(flags, &format!("{variable}={value}"), "");
        let told = settings.warnings.iter().filter(|warning| warning.contains(variable)).count();
        assert_eq!(settings.warnings.len(), told, "{variable}: {:?}", settings.warnings);
        assert_eq!(told, usize::from(!honoured), "{variable}: {:?}", settings.warnings);
        for warning in &settings.warnings {
            let (_, advice) = warning.split_once(": ").unwrap();
            assert!(!advice.contains("what it asks for is not built"), "{variable} is not known");
        }
        if honoured && !without_effect.contains(&variable) {
            let plain = if flags.is_empty() { default.clone() } else { shown(flags) };
            assert_ne!(format!("{settings:?}"), plain, "{variable} is read and not acted on");
        }
    }
    let names: std::collections::BTreeSet<&str> =
        ECS_AGENT_VARIABLES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names.len(), ECS_AGENT_VARIABLES.len(), "one is there twice");
}

fn shown(flags: &[&str]) -> String {
    format!("{:?}", good(flags, "", ""))
}

/// ECS's agent starts with such values: it goes on with its default, or with the nearest that it
/// takes. A host that had it must start here too, and say so.
#[test]
fn values_that_ecss_agent_clamps_do_not_end_this_one() {
    let default = good(&[], "", "");
    for (variable, values) in [
        ("ECS_CGROUP_CPU_PERIOD", &["7ms", "101ms", "x", "-10ms"][..]),
        ("ECS_CONTAINER_CREATE_TIMEOUT", &["x", "-1s"]),
        ("ECS_CONTAINER_START_TIMEOUT", &["10ms", "0", "soon"]),
        ("ECS_CONTAINER_STOP_TIMEOUT", &["10ms", "60"]),
        ("ECS_DYNAMIC_HOST_PORT_RANGE", &["100", "200-100", "0-7", "1-70000"]),
        ("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", &["999ms", "x"]),
        ("ECS_IMAGE_CLEANUP_INTERVAL", &["1m", "9m59s"]),
        ("ECS_IMAGE_MINIMUM_CLEANUP_AGE", &["0s"]),
        ("ECS_IMAGE_PULL_BEHAVIOR", &["never"]),
        ("ECS_IMAGE_PULL_INACTIVITY_TIMEOUT", &["0s"]),
        ("ECS_IMAGE_PULL_TIMEOUT", &["x"]),
        ("ECS_LOGLEVEL", &["loud"]),
        ("ECS_LOG_OUTPUT_FORMAT", &["xml"]),
        ("ECS_MANIFEST_PULL_TIMEOUT", &["x"]),
        ("ECS_NUM_IMAGES_DELETE_PER_CYCLE", &["0", "-3", "many"]),
        ("ECS_RESERVED_MEMORY", &["-1", "1g"]),
        ("ECS_TASK_METADATA_RPS_LIMIT", &["40", "60,40", "a,b"]),
        ("ECS_TASK_PIDS_LIMIT", &["0", "4194305", "x"]),
    ] {
        for value in values {
            let settings = good(&[], &format!("{variable}={value}"), "");
            let warnings = settings.warnings.join("\n");
            assert!(warnings.starts_with(&format!("{variable} has no effect: ")), "{warnings}");
            let same = Settings { warnings: Vec::new(), ..settings };
            assert_eq!(format!("{same:?}"), format!("{default:?}"), "{variable}={value}");
        }
    }
    let raised = good(&[], "ECS_CONTAINER_CREATE_TIMEOUT=5s", "");
    assert_eq!(raised.timeouts.create, Duration::from_secs(60));
    assert_eq!(raised.warnings.len(), 1);
    // The same in this agent's own words is a mistake that can be corrected.
    for flag in ["--container-create-timeout=5s", "--task-pids-limit=0", "--image-pull=never"] {
        outcome(&["--coordinator=c", flag], "", "").unwrap_err();
    }
}

/// Small letters too, as curl has them; of both, the large ones count.
#[test]
fn proxies_are_read_in_either_case() {
    let http = |variables: &str| match good(&["--s3=http://s3:9000"], variables, "").objects {
        Some(crate::settings::Objects::Endpoint(_, proxies)) => proxies.http,
        other => panic!("{other:?}"),
    };
    let of = |host: &str| Some(format!("http://{host}:3128"));
    assert_eq!(http("HTTP_PROXY=a:3128"), of("a"));
    assert_eq!(http("http_proxy=http://b:3128"), of("b"));
    assert_eq!(http("http_proxy=b:3128\nHTTP_PROXY=a:3128"), of("a"));
    assert_eq!(http(""), None);
    let settings = good(&["--s3=http://s3:9000"], "HTTP_PROXY=http://me:secret@a:3128", "");
    assert!(!format!("{settings:?}").contains("secret"));
    let refused = outcome(&["--coordinator=c"], "HTTP_PROXY=http://me:secret@a b", "").unwrap_err();
    let Ended::Bad(problems) = refused else { panic!("{refused:?}") };
    assert!(problems.to_string().contains("HTTP_PROXY"), "{problems}");
    assert!(!problems.to_string().contains("secret"), "{problems}");
}
