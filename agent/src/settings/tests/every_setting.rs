//! Every setting from every source.

use super::*;

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
