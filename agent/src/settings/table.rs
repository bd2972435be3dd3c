//! The list of settings: one row is a flag, a `LONGSHORE_*` variable, a key of the file and a line of
//! the help at once, so that none of the four can know more than the others.

/// One setting.
pub(crate) struct Setting {
    /// As a flag: `reserved-memory`. See [`Setting::variable`] and [`Setting::key`].
    pub(crate) name: &'static str,
    /// What stands for the value in the help.
    pub(crate) value: &'static str,
    pub(crate) default: Option<&'static str>,
    pub(crate) help: &'static str,
    /// Whether the flag alone means `true`.
    pub(crate) switch: bool,
}

impl Setting {
    /// In the environment: `LONGSHORE_RESERVED_MEMORY`.
    pub(crate) fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.replace('-', "_").to_ascii_uppercase())
    }

    /// In the file: `reserved_memory`.
    pub(crate) fn key(&self) -> String {
        self.name.replace('-', "_")
    }
}

pub(crate) const VARIABLE_PREFIX: &str = "LONGSHORE_";

const fn setting(
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting { name, value, default, help, switch: false }
}

/// Where the file is read from. Not a key of the file itself.
pub(crate) const CONFIG: Setting = setting(
    "config",
    "FILE",
    Some("/etc/longshore/agent.toml"),
    "Settings file (TOML). The default one may be missing, a named one may not",
);

/// Every setting but [`CONFIG`], in the order of the help.
pub(crate) const SETTINGS: &[Setting] = &[
    setting(
        "coordinator",
        "HOST[:PORT]",
        None,
        "The coordinator's joining port (8421 when no port is given)",
    ),
    setting(
        "join-token",
        "TOKEN",
        None,
        "Join token, as `longshore-coordinator join-token create` printed it. Needed for the first \
         start only. Other users can read it in the process list: prefer --join-token-file",
    ),
    setting("join-token-file", "FILE", None, "File that holds the join token"),
    setting(
        "container-instance",
        "ARN|ID",
        None,
        "A container instance that RegisterContainerInstance made, to be this host. Counts at the \
         first start only",
    ),
    setting("cluster", "NAME", Some("default"), "ECS cluster that this host is to be in"),
    setting(
        "data-dir",
        "DIR",
        Some("/var/lib/longshore/agent"),
        "Where this host's identity and the ledger of its tasks are kept. Losing it makes a new \
         host of this one",
    ),
    setting(
        "advertise",
        "ADDRESS",
        None,
        "Address at which the coordinator and other hosts reach this one. When not given: that of \
         --poll-listen if it names one, else the one by which the coordinator is reached",
    ),
    setting(
        "poll-listen",
        "ADDRESS:PORT",
        Some("[::]:51680"),
        "Where the coordinator polls this agent (mutual TLS); [::] is every address, of IPv4 too",
    ),
    setting(
        "introspection-listen",
        "ADDRESS:PORT",
        Some("127.0.0.1:51678"),
        "Where introspection, /healthz and /metrics are served (plain HTTP, read only)",
    ),
    setting(
        "task-endpoints-listen",
        "ADDRESS:PORT|off",
        Some("169.254.170.2:80"),
        "Where tasks of this host ask for their metadata. The address is given to the host's \
         loopback device and a port below 1024 redirected to 51679, which takes root: see \
         `longshore-agent prepare-host`",
    ),
    setting(
        "task-endpoints-rate",
        "STEADY,BURST",
        Some("40,60"),
        "Requests a second that each task may make of them, and how many at once",
    ),
    Setting {
        switch: true,
        ..setting(
            "allow-instance-metadata",
            "BOOL",
            Some("false"),
            "Let tasks on the bridge reach EC2's instance metadata, and so the host's credentials",
        )
    },
    setting("docker", "unix://PATH", Some("unix:///var/run/docker.sock"), "Docker Engine's socket"),
    setting(
        "cpu",
        "UNITS",
        None,
        "CPU to offer to tasks, 1024 a core, instead of all that the machine has: needed when \
         several agents share one machine",
    ),
    setting(
        "memory",
        "MIB",
        None,
        "Memory to offer to tasks, instead of the machine's total less --reserved-memory",
    ),
    setting(
        "reserved-memory",
        "MIB",
        Some("0"),
        "Memory to keep from tasks, for the system and Docker",
    ),
    setting(
        "gpus",
        "auto|ID,…",
        None,
        "NVIDIA GPUs to offer to tasks: all that nvidia-smi shows, or these. Docker needs NVIDIA's \
         container toolkit. When not given: none",
    ),
    setting(
        "gpu-runtime",
        "NAME",
        None,
        "The runtime of Docker's that gives containers their GPUs by NVIDIA_VISIBLE_DEVICES. When not \
         given: Docker's device requests do",
    ),
    Setting {
        switch: true,
        ..setting(
            "container-metadata",
            "BOOL",
            Some("false"),
            "Give each container a file about itself, which ECS_CONTAINER_METADATA_FILE names",
        )
    },
    setting(
        "reserved-ports",
        "PORT[/udp],…",
        None,
        "Host ports that no task may ask for, besides 22, 2375, 2376, 51678 to 51680 and the \
         agent's own",
    ),
    setting(
        "dynamic-host-ports",
        "LOWEST-HIGHEST",
        None,
        "Host ports that tasks get which ask for any (hostPort 0, containerPortRange), 40000-49999 \
         for example. When not given: the kernel's net.ipv4.ip_local_port_range",
    ),
    setting(
        "task-cpu-mem-limit",
        "BOOL",
        Some("true"),
        "Hold tasks to the cpu and memory of their definition; `false` leaves them to placement and \
         to the limits of single containers",
    ),
    setting(
        "task-cpu-period",
        "DURATION",
        Some("100ms"),
        "In which period a task's CPU time is counted, 8ms to 100ms: a shorter one throttles it for a \
         shorter time, more often",
    ),
    setting(
        "task-pids-limit",
        "COUNT",
        None,
        "How many processes and threads one task may have. When not given: any number",
    ),
    setting(
        "attributes",
        "NAME=VALUE,…",
        None,
        "Custom attributes for placement constraints, `rack=12,ssd` for example",
    ),
    setting("tags", "KEY=VALUE,…", None, "Tags of the container instance"),
    setting(
        "instance-type",
        "TYPE",
        None,
        "Attribute ecs.instance-type, and what DescribeContainerInstances shows",
    ),
    setting("availability-zone", "ZONE", None, "Attribute ecs.availability-zone, to spread by"),
    setting(
        "instance-id",
        "ID",
        None,
        "ec2InstanceId of the container instance: a name for this machine. On EC2 it is found",
    ),
    setting(
        "ec2-metadata",
        "auto|on|off",
        Some("auto"),
        "Whether to ask EC2's instance metadata for type, zone, instance and image id. `auto` asks \
         on EC2's machines only",
    ),
    Setting {
        switch: true,
        ..setting(
            "drain-on-spot-interruption",
            "BOOL",
            Some("false"),
            "Have this host drained when EC2's metadata tells that it will interrupt the Spot instance",
        )
    },
    setting(
        "ec2-metadata-endpoint",
        "URL",
        Some("http://169.254.169.254"),
        "Where instance metadata is asked for",
    ),
    setting(
        "logging-drivers",
        "NAME,…",
        None,
        "Log drivers that tasks may use. When not given: all that Docker has, and awslogs, whose \
         lines this host keeps",
    ),
    Setting {
        switch: true,
        ..setting("disable-privileged", "BOOL", Some("false"), "Take no privileged containers")
    },
    setting(
        "forbid",
        "NAME,…",
        None,
        "What no task may have on this host: privileged, host-network, host-processes, host-ipc, \
         devices, capabilities (added ones), docker-socket (of any engine, also with a folder), \
         unconfined (security options), log-addresses (log options that make the engine connect or \
         read a file)",
    ),
    setting(
        "bind-roots",
        "DIR,…",
        None,
        "Tasks may mount paths of this host from below these only, from anywhere when not given. \
         Links that lead out of them are refused, whoever made them",
    ),
    setting(
        "allow-volumes",
        "KIND,…",
        None,
        "Docker volumes that tasks may have although `bind_roots`, or `forbid` of devices or \
         docker-socket, rules the host in: types of file systems for the driver `local` (nfs), or \
         driver:NAME. Always allowed: plain ones, tmpfs, and o=bind of a path that may be mounted",
    ),
    setting(
        "engine-sockets",
        "PATH,…",
        None,
        "Sockets of container engines that are not at their usual places, for `forbid` of \
         docker-socket",
    ),
    setting(
        "volumes-socket",
        "PATH",
        None,
        "Where `longshore-agent volumes` listens, which makes the mounts of tasks. When not given: an \
         agent with all rights makes them itself, one without asks at \
         /run/longshore/volumes/socket",
    ),
    setting(
        "s3",
        "URL|DIR",
        None,
        "Where environment files and configurations that task definitions name by an S3 ARN are \
         read from: an S3-compatible endpoint (keys and region: AWS_ACCESS_KEY_ID, \
         AWS_SECRET_ACCESS_KEY, AWS_REGION), or a directory with a folder for each bucket",
    ),
    setting(
        "http-proxy",
        "HOST:PORT|URL",
        None,
        "Proxy by which objects are read from the S3-compatible endpoint. The coordinator, this host \
         and 169.254.0.0/16 are never asked by one; Docker has its own for registries",
    ),
    setting(
        "https-proxy",
        "HOST:PORT|URL",
        None,
        "The same for https; the other one when not given",
    ),
    setting(
        "no-proxy",
        "HOST,…",
        None,
        "What is asked directly: names, domains, addresses, networks",
    ),
    setting(
        "efs",
        "ID=PLACE,…",
        None,
        "Where EFS file systems are on this host: `fs-1=/mnt/efs` where it is mounted, \
         `fs-1=10.0.0.9:/export` for Docker to mount by NFS; access points of a mounted one: \
         `fs-1/fsap-1=/app:1000:1000:0755`, a directory, its owner and its mode when it is \
         made; containers act as their own user",
    ),
    setting(
        "repository-credentials",
        "SECRET=FILE,…",
        None,
        "Logins that task definitions name by repositoryCredentials: for the name or ARN of each \
         secret a file with {\"username\":…,\"password\":…}, as the secret holds it. Read at each \
         pull",
    ),
    setting(
        "docker-config",
        "FILE",
        None,
        "Docker's configuration file with registries to log in to: `auths`, `credHelpers` and \
         `credsStore`. Read at each pull",
    ),
    setting(
        "engine-auth-type",
        "TYPE",
        None,
        "Form of --engine-auth-data, as ECS_ENGINE_AUTH_TYPE: `dockercfg` (auth) or `docker` \
         (username and password). Both are recognized",
    ),
    setting(
        "engine-auth-data",
        "JSON",
        None,
        "Logins by registry, as ECS_ENGINE_AUTH_DATA. Other users can read it in the process list: \
         prefer --docker-config, or the variable",
    ),
    setting(
        "image-pull",
        "POLICY",
        Some("default"),
        "When images are pulled: `default` pulls and falls back to what the host has, `always` \
         pulls or fails, `once` pulls what this agent has not pulled before, `prefer-cached` pulls \
         only what the host has not",
    ),
    Setting {
        switch: true,
        ..setting(
            "pull-dependent-upfront",
            "BOOL",
            Some("false"),
            "Pull the image of a container that waits for others (dependsOn) while it waits",
        )
    },
    Setting {
        switch: true,
        ..setting(
            "disable-image-cleanup",
            "BOOL",
            Some("false"),
            "Leave images that no task needs any more where they are",
        )
    },
    setting(
        "image-cleanup-interval",
        "DURATION",
        Some("30m"),
        "How often images that no task needs are removed, 10m or more. Only those that tasks have \
         used, and that a registry has",
    ),
    setting(
        "image-minimum-cleanup-age",
        "DURATION",
        Some("1h"),
        "How long an image is kept after it was pulled or used last",
    ),
    setting(
        "images-deleted-per-cycle",
        "COUNT",
        Some("5"),
        "How many are removed each time at most, the one that was not used for longest first",
    ),
    setting("image-cleanup-exclude", "IMAGE,…", None, "Images that are kept, whoever used them"),
    setting(
        "manifest-pull-timeout",
        "DURATION",
        Some("1m"),
        "How long a registry may take to answer with an image's manifest",
    ),
    setting("image-pull-timeout", "DURATION", Some("2h"), "How long the pull of an image may take"),
    setting(
        "image-pull-silence",
        "DURATION",
        Some("1m"),
        "How long a pull may show no progress until it is given up",
    ),
    setting(
        "container-create-timeout",
        "DURATION",
        Some("4m"),
        "How long Docker may take to make a container, 1m or more",
    ),
    setting(
        "container-start-timeout",
        "DURATION",
        Some("3m"),
        "How long Docker may take to start a container",
    ),
    setting(
        "container-stop-timeout",
        "DURATION",
        Some("30s"),
        "Time between SIGTERM and SIGKILL for containers whose definition gives no stopTimeout",
    ),
    setting(
        "task-cleanup-wait",
        "DURATION",
        Some("3h"),
        "How long a stopped task's containers are kept before they are removed",
    ),
    setting(
        "stopped-tasks-kept",
        "COUNT",
        Some("200"),
        "Of how many stopped tasks they are kept at most, the newest ones",
    ),
    setting(
        "disk-clean-at",
        "PERCENT",
        Some("85"),
        "How full the file system of Docker's data or of --data-dir may be until images that no task \
         needs, and all stopped tasks but the newest, are removed at once",
    ),
    setting(
        "disk-refuse-at",
        "PERCENT",
        Some("95"),
        "How full it may be until new tasks are refused; those that run go on",
    ),
    setting(
        "disk-floor",
        "MIB",
        Some("128"),
        "With less free than this they are refused too, whatever the percentage",
    ),
    setting(
        "log-store-age",
        "DURATION",
        Some("168h"),
        "How long lines of the awslogs driver are kept when their log group has no retention policy",
    ),
    setting(
        "log-store-size",
        "MIB",
        Some("2048"),
        "How much of them is kept at most; the oldest lines go first",
    ),
    setting("log", "FILTER", Some("info"), "What to log: error, warn, info, debug or trace"),
    setting("log-format", "text|json", Some("text"), "Form of the log's lines"),
];

pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}
