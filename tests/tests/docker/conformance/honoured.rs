//! Members that are honoured, each with what shows it: a line a member, in the order of ECS's model.

use self::Proof::{Described, Docker, Test};

/// What shows that a member is honoured.
pub(super) enum Proof {
    /// Of which container, where in Docker's inspection, what is there.
    Docker(&'static str, &'static str, &'static str),
    /// A test of that name.
    Test(&'static str),
    /// ECS itself does nothing with it on a host but show it.
    Described,
}

const DESCRIBED: Proof = Test("definitions_are_described_as_they_were_registered");
const FILES: Proof = Test("environment_files_and_a_mapped_file_system_reach_the_container");
const PULLED_BY_SECRET: Proof = Test("a_private_image_is_pulled_by_the_login_of_its_secret");
const ROUTED: Proof = Test("a_range_of_ports_is_bound_in_a_row_and_lines_reach_the_tasks_router");
const REFUSED_BY_HOST: Proof = Test("what_this_host_cannot_keep_is_refused_by_name");
const OVERRIDDEN_FILES: Proof = Test("overridden_environment_files_come_first");
/// To the last line before the kernel: the machines of these tests have no GPU, and Docker refuses to
/// start what asks for one.
const GPUS: Proof = Docker(
    "gpu",
    "/HostConfig/DeviceRequests",
    r#"[{"Driver":"nvidia","DeviceIDs":["GPU-a"],"Capabilities":[["gpu"]]}]"#,
);
const OVERRIDDEN_GPUS: Proof = Test("gpus_are_offered_pinned_shown_overridden_and_given_back");
const TAGS: Proof = Test("tags_come_from_the_call_the_definition_and_ecs");
const MEMBER_OF: Proof =
    Test("run_task_keeps_to_the_constraints_of_the_call_and_of_the_definition");
const LISTED: Proof = Test("tasks_are_listed_by_any_one_of_their_properties");
const FLOWS: Proof = Test("a_task_is_run_waited_for_described_listed_and_stopped_by_the_aws_cli");

pub(super) const HONOURED: &[(&str, Proof)] = &[
    (
        "family",
        Docker("main", "/Config/Labels/com.amazonaws.ecs.task-definition-family", r#""bridge""#),
    ),
    ("executionRoleArn", Described),
    ("networkMode", Docker("hosted", "/HostConfig/NetworkMode", r#""host""#)),
    ("containerDefinitions", Docker("main", "/State/Running", "true")),
    (
        "containerDefinitions[].name",
        Docker("main", "/Config/Labels/com.amazonaws.ecs.container-name", r#""main""#),
    ),
    (
        "containerDefinitions[].image",
        Docker("main", "/Config/Image", r#""longshore/sample:latest""#),
    ),
    ("containerDefinitions[].repositoryCredentials", PULLED_BY_SECRET),
    ("containerDefinitions[].repositoryCredentials.credentialsParameter", PULLED_BY_SECRET),
    ("containerDefinitions[].cpu", Docker("db", "/HostConfig/CpuShares", "64")),
    ("containerDefinitions[].memory", Docker("db", "/HostConfig/Memory", "33554432")),
    (
        "containerDefinitions[].memoryReservation",
        Docker("db", "/HostConfig/MemoryReservation", "16777216"),
    ),
    ("containerDefinitions[].links", Test("linked_containers_reach_each_other_by_their_alias")),
    (
        "containerDefinitions[].portMappings",
        Docker(
            "main",
            "/HostConfig/PortBindings",
            r#"{"80/tcp":[{"HostPort":"8088"}],"53/udp":[{"HostPort":""}]}"#,
        ),
    ),
    (
        "containerDefinitions[].portMappings[].containerPort",
        Docker("main", "/Config/ExposedPorts/80~1tcp", "{}"),
    ),
    (
        "containerDefinitions[].portMappings[].hostPort",
        Docker("main", "/NetworkSettings/Ports/80~1tcp", r#"[{"HostPort":"8088"}]"#),
    ),
    (
        "containerDefinitions[].portMappings[].protocol",
        Docker("main", "/Config/ExposedPorts/53~1udp", "{}"),
    ),
    ("containerDefinitions[].portMappings[].containerPortRange", ROUTED),
    ("containerDefinitions[].environmentFiles", FILES),
    ("containerDefinitions[].environmentFiles[].value", FILES),
    ("containerDefinitions[].environmentFiles[].type", FILES),
    ("containerDefinitions[].firelensConfiguration", ROUTED),
    ("containerDefinitions[].firelensConfiguration.type", ROUTED),
    (
        "containerDefinitions[].firelensConfiguration.options",
        Test("configuration_includes_the_users_own_and_may_omit_metadata"),
    ),
    ("volumes[].efsVolumeConfiguration", FILES),
    ("volumes[].efsVolumeConfiguration.fileSystemId", FILES),
    ("volumes[].efsVolumeConfiguration.rootDirectory", FILES),
    ("volumes[].efsVolumeConfiguration.transitEncryption", REFUSED_BY_HOST),
    ("volumes[].efsVolumeConfiguration.transitEncryptionPort", Described),
    ("volumes[].efsVolumeConfiguration.authorizationConfig", FILES),
    ("volumes[].efsVolumeConfiguration.authorizationConfig.accessPointId", FILES),
    ("volumes[].efsVolumeConfiguration.authorizationConfig.iam", REFUSED_BY_HOST),
    ("RunTask.overrides.containerOverrides[].environmentFiles", OVERRIDDEN_FILES),
    ("RunTask.overrides.containerOverrides[].environmentFiles[].value", OVERRIDDEN_FILES),
    ("RunTask.overrides.containerOverrides[].environmentFiles[].type", OVERRIDDEN_FILES),
    ("containerDefinitions[].portMappings[].name", Described),
    ("containerDefinitions[].portMappings[].appProtocol", Described),
    (
        "containerDefinitions[].essential",
        Test("a_web_server_starts_after_its_migration_and_stops_before_its_sidecar"),
    ),
    (
        "containerDefinitions[].restartPolicy",
        Test("a_container_with_a_restart_policy_is_started_again_in_place"),
    ),
    (
        "containerDefinitions[].restartPolicy.enabled",
        Test("a_container_with_a_restart_policy_is_started_again_in_place"),
    ),
    (
        "containerDefinitions[].restartPolicy.ignoredExitCodes",
        Test("a_container_with_a_restart_policy_is_started_again_in_place"),
    ),
    (
        "containerDefinitions[].restartPolicy.restartAttemptPeriod",
        Test("a_container_with_a_restart_policy_is_started_again_in_place"),
    ),
    (
        "containerDefinitions[].entryPoint",
        Docker("main", "/Config/Entrypoint", r#"["/bin/sh","-c"]"#),
    ),
    ("containerDefinitions[].command", Docker("db", "/Config/Cmd", r#"["-c"]"#)),
    (
        "containerDefinitions[].environment",
        Docker("main", "/Config/Env", r#"["GIVEN=here","TWICE=override"]"#),
    ),
    (
        "containerDefinitions[].environment[].name",
        Docker("main", "/Config/Env", r#"["GIVEN=here"]"#),
    ),
    (
        "containerDefinitions[].environment[].value",
        Docker("main", "/Config/Env", r#"["GIVEN=here"]"#),
    ),
    (
        "containerDefinitions[].mountPoints",
        Docker("main", "/Mounts", r#"[{"Destination":"/scratch","Type":"volume"}]"#),
    ),
    (
        "containerDefinitions[].mountPoints[].sourceVolume",
        Docker("main", "/Mounts", r#"[{"Destination":"/shared","Name":"shared"}]"#),
    ),
    (
        "containerDefinitions[].mountPoints[].containerPath",
        Docker("main", "/Mounts", r#"[{"Destination":"/hosted"}]"#),
    ),
    (
        "containerDefinitions[].mountPoints[].readOnly",
        Docker(
            "main",
            "/Mounts",
            r#"[{"Destination":"/shared","RW":false},{"Destination":"/hosted","RW":true}]"#,
        ),
    ),
    (
        "containerDefinitions[].volumesFrom",
        Docker("main", "/Mounts", r#"[{"Destination":"/of-db"}]"#),
    ),
    (
        "containerDefinitions[].volumesFrom[].sourceContainer",
        Docker("main", "/Mounts", r#"[{"Destination":"/of-db"}]"#),
    ),
    (
        "containerDefinitions[].volumesFrom[].readOnly",
        Docker("main", "/Mounts", r#"[{"Destination":"/of-db","RW":false}]"#),
    ),
    ("containerDefinitions[].linuxParameters", Docker("main", "/HostConfig/ShmSize", "16777216")),
    (
        "containerDefinitions[].linuxParameters.capabilities",
        Docker("main", "/HostConfig/CapAdd", r#"["NET_ADMIN"]"#),
    ),
    (
        "containerDefinitions[].linuxParameters.capabilities.add",
        Docker("main", "/HostConfig/CapAdd", r#"["NET_ADMIN"]"#),
    ),
    (
        "containerDefinitions[].linuxParameters.capabilities.drop",
        Docker("main", "/HostConfig/CapDrop", r#"["MKNOD"]"#),
    ),
    (
        "containerDefinitions[].linuxParameters.devices",
        Docker("main", "/HostConfig/Devices", r#"[{"PathOnHost":"/dev/full"}]"#),
    ),
    (
        "containerDefinitions[].linuxParameters.devices[].hostPath",
        Docker("main", "/HostConfig/Devices", r#"[{"PathOnHost":"/dev/null"}]"#),
    ),
    (
        "containerDefinitions[].linuxParameters.devices[].containerPath",
        Docker(
            "main",
            "/HostConfig/Devices",
            r#"[{"PathOnHost":"/dev/null","PathInContainer":"/dev/nil"},{"PathOnHost":"/dev/full","PathInContainer":"/dev/full"}]"#,
        ),
    ),
    (
        "containerDefinitions[].linuxParameters.devices[].permissions",
        Docker(
            "main",
            "/HostConfig/Devices",
            r#"[{"PathOnHost":"/dev/null","CgroupPermissions":"rw"},{"PathOnHost":"/dev/full","CgroupPermissions":"rwm"}]"#,
        ),
    ),
    (
        "containerDefinitions[].linuxParameters.initProcessEnabled",
        Docker("main", "/HostConfig/Init", "true"),
    ),
    (
        "containerDefinitions[].linuxParameters.sharedMemorySize",
        Docker("main", "/HostConfig/ShmSize", "16777216"),
    ),
    (
        "containerDefinitions[].linuxParameters.tmpfs",
        Docker("main", "/HostConfig/Tmpfs", r#"{"/fast":"size=4m,noexec"}"#),
    ),
    (
        "containerDefinitions[].linuxParameters.tmpfs[].containerPath",
        Docker("main", "/HostConfig/Tmpfs", r#"{"/fast":"size=4m,noexec"}"#),
    ),
    (
        "containerDefinitions[].linuxParameters.tmpfs[].size",
        Docker("main", "/HostConfig/Tmpfs", r#"{"/fast":"size=4m,noexec"}"#),
    ),
    (
        "containerDefinitions[].linuxParameters.tmpfs[].mountOptions",
        Docker("main", "/HostConfig/Tmpfs", r#"{"/fast":"size=4m,noexec"}"#),
    ),
    (
        "containerDefinitions[].linuxParameters.maxSwap",
        Docker("db", "/HostConfig/MemorySwap", "67108864"),
    ),
    (
        "containerDefinitions[].linuxParameters.swappiness",
        Test("the_swappiness_that_was_asked_for_reaches_the_engine"),
    ),
    (
        "containerDefinitions[].dependsOn",
        Test("a_web_server_starts_after_its_migration_and_stops_before_its_sidecar"),
    ),
    (
        "containerDefinitions[].dependsOn[].containerName",
        Test("a_web_server_starts_after_its_migration_and_stops_before_its_sidecar"),
    ),
    ("containerDefinitions[].dependsOn[].condition", Test("a_worker_waits_for_a_healthy_queue")),
    (
        "containerDefinitions[].startTimeout",
        Test("an_init_container_that_does_not_end_in_time_fails_the_task"),
    ),
    ("containerDefinitions[].stopTimeout", FLOWS),
    // `disabled` is how images are pulled; `enabled` is refused.
    ("containerDefinitions[].versionConsistency", Described),
    ("containerDefinitions[].hostname", Docker("main", "/Config/Hostname", r#""box""#)),
    ("containerDefinitions[].user", Docker("main", "/Config/User", r#""0:0""#)),
    ("containerDefinitions[].workingDirectory", Docker("main", "/Config/WorkingDir", r#""/www""#)),
    (
        "containerDefinitions[].disableNetworking",
        Docker("unconnected", "/Config/NetworkDisabled", "true"),
    ),
    ("containerDefinitions[].privileged", Docker("privileged", "/HostConfig/Privileged", "true")),
    (
        "containerDefinitions[].readonlyRootFilesystem",
        Docker("main", "/HostConfig/ReadonlyRootfs", "true"),
    ),
    ("containerDefinitions[].dnsServers", Docker("main", "/HostConfig/Dns", r#"["192.0.2.53"]"#)),
    (
        "containerDefinitions[].dnsSearchDomains",
        Docker("main", "/HostConfig/DnsSearch", r#"["example.test"]"#),
    ),
    (
        "containerDefinitions[].extraHosts",
        Docker("main", "/HostConfig/ExtraHosts", r#"["elsewhere:192.0.2.1"]"#),
    ),
    (
        "containerDefinitions[].extraHosts[].hostname",
        Docker("main", "/HostConfig/ExtraHosts", r#"["elsewhere:192.0.2.1"]"#),
    ),
    (
        "containerDefinitions[].extraHosts[].ipAddress",
        Docker("main", "/HostConfig/ExtraHosts", r#"["elsewhere:192.0.2.1"]"#),
    ),
    (
        "containerDefinitions[].dockerSecurityOptions",
        Docker("main", "/HostConfig/SecurityOpt", r#"["no-new-privileges"]"#),
    ),
    ("containerDefinitions[].interactive", Docker("main", "/Config/OpenStdin", "true")),
    ("containerDefinitions[].pseudoTerminal", Docker("main", "/Config/Tty", "true")),
    ("containerDefinitions[].dockerLabels", Docker("main", "/Config/Labels/team", r#""web""#)),
    (
        "containerDefinitions[].ulimits",
        Docker("main", "/HostConfig/Ulimits", r#"[{"Name":"nofile","Soft":100,"Hard":200}]"#),
    ),
    (
        "containerDefinitions[].ulimits[].name",
        Docker("main", "/HostConfig/Ulimits", r#"[{"Name":"nofile"}]"#),
    ),
    (
        "containerDefinitions[].ulimits[].softLimit",
        Docker("main", "/HostConfig/Ulimits", r#"[{"Soft":100}]"#),
    ),
    (
        "containerDefinitions[].ulimits[].hardLimit",
        Docker("main", "/HostConfig/Ulimits", r#"[{"Hard":200}]"#),
    ),
    (
        "containerDefinitions[].logConfiguration",
        Docker("main", "/HostConfig/LogConfig/Type", r#""json-file""#),
    ),
    (
        "containerDefinitions[].logConfiguration.logDriver",
        Docker("main", "/HostConfig/LogConfig/Type", r#""json-file""#),
    ),
    (
        "containerDefinitions[].logConfiguration.options",
        Docker("main", "/HostConfig/LogConfig/Config", r#"{"max-size":"1m"}"#),
    ),
    ("containerDefinitions[].healthCheck", Docker("main", "/State/Health/FailingStreak", "0")),
    (
        "containerDefinitions[].healthCheck.command",
        Docker("main", "/Config/Healthcheck/Test", r#"["CMD","/bin/true"]"#),
    ),
    (
        "containerDefinitions[].healthCheck.interval",
        Docker("main", "/Config/Healthcheck/Interval", "5000000000"),
    ),
    (
        "containerDefinitions[].healthCheck.timeout",
        Docker("main", "/Config/Healthcheck/Timeout", "2000000000"),
    ),
    (
        "containerDefinitions[].healthCheck.retries",
        Docker("main", "/Config/Healthcheck/Retries", "2"),
    ),
    (
        "containerDefinitions[].healthCheck.startPeriod",
        Docker("main", "/Config/Healthcheck/StartPeriod", "1000000000"),
    ),
    (
        "containerDefinitions[].systemControls",
        Docker("main", "/HostConfig/Sysctls", r#"{"net.core.somaxconn":"1024"}"#),
    ),
    (
        "containerDefinitions[].systemControls[].namespace",
        Docker("main", "/HostConfig/Sysctls", r#"{"net.core.somaxconn":"1024"}"#),
    ),
    (
        "containerDefinitions[].systemControls[].value",
        Docker("main", "/HostConfig/Sysctls", r#"{"net.core.somaxconn":"1024"}"#),
    ),
    ("volumes", Docker("main", "/Mounts", r#"[{"Destination":"/scratch","Driver":"local"}]"#)),
    ("volumes[].name", Docker("main", "/Mounts", r#"[{"Name":"shared"}]"#)),
    ("volumes[].host", Docker("main", "/Mounts", r#"[{"Type":"bind","Destination":"/hosted"}]"#)),
    (
        "volumes[].host.sourcePath",
        Docker("main", "/Mounts", r#"[{"Type":"bind","Destination":"/hosted"}]"#),
    ),
    (
        "volumes[].dockerVolumeConfiguration",
        Docker("main", "/Mounts", r#"[{"Name":"made","Destination":"/made"}]"#),
    ),
    ("volumes[].dockerVolumeConfiguration.scope", Test("volumes_are_what_was_asked_for")),
    (
        "volumes[].dockerVolumeConfiguration.autoprovision",
        Test("a_shared_volume_that_is_not_there_fails_the_task_and_says_what_to_do"),
    ),
    ("volumes[].dockerVolumeConfiguration.driver", Test("volumes_are_what_was_asked_for")),
    ("volumes[].dockerVolumeConfiguration.driverOpts", Test("volumes_are_what_was_asked_for")),
    ("volumes[].dockerVolumeConfiguration.labels", Test("volumes_are_what_was_asked_for")),
    ("cpu", Docker("limited", "/HostConfig/CpuQuota", "25000")),
    ("memory", Docker("limited", "/HostConfig/Memory", "134217728")),
    ("placementConstraints", MEMBER_OF),
    ("placementConstraints[].type", MEMBER_OF),
    ("placementConstraints[].expression", MEMBER_OF),
    ("requiresCompatibilities", DESCRIBED),
    ("tags", TAGS),
    ("tags[].key", TAGS),
    ("tags[].value", TAGS),
    ("pidMode", Docker("hosted", "/HostConfig/PidMode", r#""host""#)),
    ("ipcMode", Docker("hosted", "/HostConfig/IpcMode", r#""host""#)),
    ("runtimePlatform", DESCRIBED),
    (
        "runtimePlatform.cpuArchitecture",
        Test("a_definition_for_another_architecture_finds_no_host"),
    ),
    ("runtimePlatform.operatingSystemFamily", DESCRIBED),
    ("containerDefinitions[].resourceRequirements", GPUS),
    ("containerDefinitions[].resourceRequirements[].value", GPUS),
    ("containerDefinitions[].resourceRequirements[].type", GPUS),
    ("RunTask.overrides.containerOverrides[].resourceRequirements", OVERRIDDEN_GPUS),
    ("RunTask.overrides.containerOverrides[].resourceRequirements[].value", OVERRIDDEN_GPUS),
    ("RunTask.overrides.containerOverrides[].resourceRequirements[].type", OVERRIDDEN_GPUS),
    ("RunTask.cluster", FLOWS),
    ("RunTask.count", FLOWS),
    ("RunTask.enableECSManagedTags", TAGS),
    ("RunTask.group", LISTED),
    ("RunTask.launchType", LISTED),
    ("RunTask.overrides", Docker("main", "/HostConfig/CpuShares", "256")),
    ("RunTask.overrides.containerOverrides", Docker("main", "/HostConfig/CpuShares", "256")),
    ("RunTask.overrides.containerOverrides[].name", Docker("main", "/HostConfig/CpuShares", "256")),
    (
        "RunTask.overrides.containerOverrides[].command",
        Docker("main", "/Config/Cmd", r#"["trap 'exit 0' TERM; sleep 99999 & wait"]"#),
    ),
    (
        "RunTask.overrides.containerOverrides[].environment",
        Docker("main", "/Config/Env", r#"["TWICE=override"]"#),
    ),
    (
        "RunTask.overrides.containerOverrides[].environment[].name",
        Docker("main", "/Config/Env", r#"["TWICE=override"]"#),
    ),
    (
        "RunTask.overrides.containerOverrides[].environment[].value",
        Docker("main", "/Config/Env", r#"["TWICE=override"]"#),
    ),
    ("RunTask.overrides.containerOverrides[].cpu", Docker("main", "/HostConfig/CpuShares", "256")),
    (
        "RunTask.overrides.containerOverrides[].memory",
        Docker("main", "/HostConfig/Memory", "67108864"),
    ),
    (
        "RunTask.overrides.containerOverrides[].memoryReservation",
        Docker("main", "/HostConfig/MemoryReservation", "50331648"),
    ),
    ("RunTask.overrides.cpu", Docker("overridden", "/HostConfig/CpuQuota", "50000")),
    ("RunTask.overrides.memory", Docker("overridden", "/HostConfig/Memory", "67108864")),
    ("RunTask.overrides.executionRoleArn", Described),
    ("RunTask.placementConstraints", Test("distinct_instances_and_strategies_are_obeyed")),
    ("RunTask.placementConstraints[].type", Test("distinct_instances_and_strategies_are_obeyed")),
    ("RunTask.placementConstraints[].expression", MEMBER_OF),
    ("RunTask.placementStrategy", Test("distinct_instances_and_strategies_are_obeyed")),
    ("RunTask.placementStrategy[].type", Test("distinct_instances_and_strategies_are_obeyed")),
    ("RunTask.placementStrategy[].field", Test("distinct_instances_and_strategies_are_obeyed")),
    ("RunTask.propagateTags", TAGS),
    ("RunTask.referenceId", Described),
    ("RunTask.startedBy", LISTED),
    ("RunTask.tags", TAGS),
    ("RunTask.tags[].key", TAGS),
    ("RunTask.tags[].value", TAGS),
    ("RunTask.taskDefinition", FLOWS),
    ("RunTask.clientToken", Test("a_client_token_stands_for_one_call")),
];
