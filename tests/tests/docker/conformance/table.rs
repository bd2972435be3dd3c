//! The table: a line a member, in the order of ECS's model.

use longshore_harness::image::SAMPLE_IMAGE;
use serde_json::{Value, json};

use crate::definition::SLEEPER;

use self::Proof::{Described, Docker, Test};
use self::Where::{Container, Run, Task};

/// What shows that a member is honoured.
pub(super) enum Proof {
    /// Of which container, where in Docker's inspection, what is there.
    Docker(&'static str, &'static str, &'static str),
    /// A test of that name.
    Test(&'static str),
    /// ECS itself does nothing with it on a host but show it.
    Described,
}

/// Where a refused member is given.
pub(super) enum Where {
    Task,
    Container,
    Run,
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
        Test("a_configuration_of_the_users_own_is_included_and_metadata_can_be_left_out"),
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

/// By the name that the refusal gives. ` = ` is followed by the value that is refused, where others
/// are not, or by the words that name it.
pub(super) const REFUSED: &[(&str, Where, &str)] = &[
    ("taskRoleArn", Task, r#"{"taskRoleArn":"arn:aws:iam::000000000000:role/app"}"#),
    ("networkMode = awsvpc", Task, r#"{"networkMode":"awsvpc"}"#),
    ("containerDefinitions[].secrets", Container, r#"{"secrets":[{"name":"A","valueFrom":"/a"}]}"#),
    (
        "containerDefinitions[].logConfiguration.secretOptions",
        Container,
        r#"{"logConfiguration":{"logDriver":"splunk","options":{"splunk-url":"https://logs"},"secretOptions":[{"name":"splunk-token","valueFrom":"/a"}]}}"#,
    ),
    (
        "containerDefinitions[].resourceRequirements[].value = ALL",
        Container,
        r#"{"resourceRequirements":[{"type":"GPU","value":"ALL"}]}"#,
    ),
    (
        "containerDefinitions[].resourceRequirements[].sharingStrategy",
        Container,
        r#"{"resourceRequirements":[{"type":"GPU","sharingStrategy":{"nvidiaMps":{"memory":16}}}]}"#,
    ),
    (
        "containerDefinitions[].credentialSpecs",
        Container,
        r#"{"credentialSpecs":["credentialspec:arn:aws:s3:::bucket/spec.json"]}"#,
    ),
    (
        "volumes[].s3filesVolumeConfiguration",
        Task,
        r#"{"volumes":[{"name":"v","s3filesVolumeConfiguration":{"fileSystemArn":"arn:aws:s3files:us-east-1:000000000000:file-system/fs-1"}}]}"#,
    ),
    (
        "volumes[].fsxWindowsFileServerVolumeConfiguration",
        Task,
        r#"{"volumes":[{"name":"v","fsxWindowsFileServerVolumeConfiguration":{"fileSystemId":"fs-1","rootDirectory":"/","authorizationConfig":{"credentialsParameter":"arn:aws:ssm:us-east-1:000000000000:parameter/a","domain":"d"}}}]}"#,
    ),
    (
        "volumes[].configuredAtLaunch",
        Task,
        r#"{"volumes":[{"name":"v","configuredAtLaunch":true}]}"#,
    ),
    (
        "proxyConfiguration",
        Task,
        r#"{"proxyConfiguration":{"type":"APPMESH","containerName":"app"}}"#,
    ),
    (
        "inferenceAccelerators",
        Task,
        r#"{"inferenceAccelerators":[{"deviceName":"d","deviceType":"eia1.medium"}]}"#,
    ),
    ("ephemeralStorage", Task, r#"{"ephemeralStorage":{"sizeInGiB":30}}"#),
    (
        "runtimePlatform.operatingSystemFamily = WINDOWS",
        Task,
        r#"{"runtimePlatform":{"operatingSystemFamily":"WINDOWS_SERVER_2022_CORE"}}"#,
    ),
    ("enableFaultInjection", Task, r#"{"networkMode":"host","enableFaultInjection":true}"#),
    ("trustedExecutionConfiguration", Task, r#"{"trustedExecutionConfiguration":{}}"#),
    (
        "RunTask.capacityProviderStrategy",
        Run,
        r#"{"capacityProviderStrategy":[{"capacityProvider":"p"}]}"#,
    ),
    ("RunTask.enableExecuteCommand", Run, r#"{"enableExecuteCommand":true}"#),
    (
        "RunTask.networkConfiguration",
        Run,
        r#"{"networkConfiguration":{"awsvpcConfiguration":{"subnets":["subnet-1"]}}}"#,
    ),
    (
        "RunTask.overrides.containerOverrides[].resourceRequirements[].value = ALL",
        Run,
        r#"{"overrides":{"containerOverrides":[{"name":"app","resourceRequirements":[{"type":"GPU","value":"ALL"}]}]}}"#,
    ),
    (
        "RunTask.overrides.containerOverrides[].resourceRequirements[].sharingStrategy",
        Run,
        r#"{"overrides":{"containerOverrides":[{"name":"app","resourceRequirements":[{"type":"GPU","sharingStrategy":{"nvidiaMps":{"memory":16}}}]}]}}"#,
    ),
    (
        "RunTask.overrides.inferenceAcceleratorOverrides",
        Run,
        r#"{"overrides":{"inferenceAcceleratorOverrides":[{"deviceName":"d","deviceType":"t"}]}}"#,
    ),
    (
        "RunTask.overrides.taskRoleArn",
        Run,
        r#"{"overrides":{"taskRoleArn":"arn:aws:iam::000000000000:role/app"}}"#,
    ),
    (
        "RunTask.overrides.ephemeralStorage",
        Run,
        r#"{"overrides":{"ephemeralStorage":{"sizeInGiB":30}}}"#,
    ),
    ("RunTask.platformVersion = platform version", Run, r#"{"platformVersion":"1.4.0"}"#),
    (
        "RunTask.volumeConfigurations",
        Run,
        r#"{"volumeConfigurations":[{"name":"v","managedEBSVolume":{"roleArn":"arn:aws:iam::000000000000:role/ebs","sizeInGiB":1}}]}"#,
    ),
];

/// Two containers on the bridge, with nearly everything that a container can be given.
pub(super) fn bridge() -> Value {
    json!({
        "family": "bridge",
        "containerDefinitions": [
            {
                "name": "db",
                "image": SAMPLE_IMAGE,
                "essential": false,
                "cpu": 64,
                "memory": 32,
                "memoryReservation": 16,
                "entryPoint": [SLEEPER[0]],
                "command": SLEEPER[1..],
                "mountPoints": [{ "sourceVolume": "of-db", "containerPath": "/of-db" }],
                "linuxParameters": { "maxSwap": 32, "swappiness": 10 },
            },
            {
                "name": "main",
                "image": SAMPLE_IMAGE,
                "cpu": 128,
                "memory": 96,
                "memoryReservation": 64,
                "links": ["db:database"],
                "portMappings": [
                    { "containerPort": 80, "hostPort": 8088, "name": "web", "appProtocol": "http" },
                    { "containerPort": 53, "protocol": "udp" },
                ],
                "entryPoint": ["/bin/sh", "-c"],
                "command": [SLEEPER[2]],
                "environment": [
                    { "name": "GIVEN", "value": "here" },
                    { "name": "TWICE", "value": "definition" },
                ],
                "mountPoints": [
                    { "sourceVolume": "scratch", "containerPath": "/scratch" },
                    { "sourceVolume": "hosted", "containerPath": "/hosted" },
                    { "sourceVolume": "shared", "containerPath": "/shared", "readOnly": true },
                    { "sourceVolume": "made", "containerPath": "/made" },
                    { "sourceVolume": "own", "containerPath": "/own" },
                ],
                "volumesFrom": [{ "sourceContainer": "db", "readOnly": true }],
                "linuxParameters": {
                    "capabilities": { "add": ["NET_ADMIN"], "drop": ["MKNOD"] },
                    "devices": [
                        {
                            "hostPath": "/dev/null",
                            "containerPath": "/dev/nil",
                            "permissions": ["read", "write"],
                        },
                        { "hostPath": "/dev/full" },
                    ],
                    "initProcessEnabled": true,
                    "sharedMemorySize": 16,
                    "tmpfs": [{ "containerPath": "/fast", "size": 4, "mountOptions": ["noexec"] }],
                },
                "stopTimeout": 2,
                "hostname": "box",
                "user": "0:0",
                "workingDirectory": "/www",
                "readonlyRootFilesystem": true,
                "dnsServers": ["192.0.2.53"],
                "dnsSearchDomains": ["example.test"],
                "extraHosts": [{ "hostname": "elsewhere", "ipAddress": "192.0.2.1" }],
                "dockerSecurityOptions": ["no-new-privileges"],
                "interactive": true,
                "pseudoTerminal": true,
                "dockerLabels": { "team": "web" },
                "ulimits": [{ "name": "nofile", "softLimit": 100, "hardLimit": 200 }],
                "logConfiguration": { "logDriver": "json-file", "options": { "max-size": "1m" } },
                "healthCheck": {
                    "command": ["CMD", "/bin/true"],
                    "interval": 5, "timeout": 2, "retries": 2, "startPeriod": 1,
                },
                "systemControls": [{ "namespace": "net.core.somaxconn", "value": "1024" }],
            },
        ],
        "volumes": [
            { "name": "of-db" },
            { "name": "scratch", "host": {} },
            { "name": "hosted", "host": { "sourcePath": "/srv" } },
            { "name": "shared", "dockerVolumeConfiguration": { "scope": "shared" } },
            { "name": "own", "dockerVolumeConfiguration": { "labels": { "team": "web" } } },
            {
                "name": "made",
                "dockerVolumeConfiguration": {
                    "scope": "shared",
                    "autoprovision": true,
                    "driver": "local",
                    "driverOpts": { "type": "tmpfs", "device": "tmpfs", "o": "size=1m" },
                    "labels": { "team": "web" },
                },
            },
        ],
    })
}

/// Of the task of [`bridge`].
pub(super) fn overrides() -> Value {
    json!({ "containerOverrides": [{
        "name": "main",
        "command": ["trap 'exit 0' TERM; sleep 99999 & wait"],
        "environment": [{ "name": "TWICE", "value": "override" }],
        "cpu": 256,
        "memory": 64,
        "memoryReservation": 48,
    }] })
}

/// In the host's namespaces.
pub(super) fn host() -> Value {
    json!({
        "family": "host",
        "networkMode": "host",
        "pidMode": "host",
        "ipcMode": "host",
        "containerDefinitions": [{
            "name": "hosted", "image": SAMPLE_IMAGE, "memory": 16, "command": SLEEPER,
        }],
    })
}

/// Limits of the task, which its one container has as its own.
pub(super) fn limited(name: &str) -> Value {
    json!({
        "family": name,
        "cpu": "256",
        "memory": "128",
        "containerDefinitions": [{ "name": name, "image": SAMPLE_IMAGE, "command": SLEEPER }],
    })
}

/// A kernel that gives its host no more than some capabilities refuses to start it.
pub(super) fn privileged() -> Value {
    json!({
        "family": "privileged",
        "containerDefinitions": [{
            "name": "privileged", "image": SAMPLE_IMAGE, "memory": 16, "command": SLEEPER,
            "privileged": true,
        }],
    })
}

/// No host of these tests has a GPU: it is made, and does not start.
pub(super) fn gpu() -> Value {
    json!({
        "family": "gpu",
        "containerDefinitions": [{
            "name": "gpu", "image": SAMPLE_IMAGE, "memory": 16, "command": SLEEPER,
            "resourceRequirements": [{ "type": "GPU", "value": "1" }],
        }],
    })
}

pub(super) fn alone() -> Value {
    json!({
        "family": "alone",
        "ipcMode": "none",
        "containerDefinitions": [{
            "name": "unconnected", "image": SAMPLE_IMAGE, "memory": 16, "command": SLEEPER,
            "disableNetworking": true,
        }],
    })
}

pub(super) fn isolated() -> Value {
    json!({
        "family": "isolated",
        "networkMode": "none",
        "containerDefinitions": [{
            "name": "isolated", "image": SAMPLE_IMAGE, "memory": 16, "command": SLEEPER,
        }],
    })
}
