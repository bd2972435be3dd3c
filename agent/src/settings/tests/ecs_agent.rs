//! The variables of ECS's agent.

use super::*;

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
    let SettingsEnd::Bad(problems) = refused else { panic!("{refused:?}") };
    assert!(problems.to_string().contains("HTTP_PROXY"), "{problems}");
    assert!(!problems.to_string().contains("secret"), "{problems}");
}
