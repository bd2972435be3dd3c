//! Members that are refused by name, in the order of ECS's model.

use self::Where::{Container, Run, Task};

/// Where a refused member is given.
pub(super) enum Where {
    Task,
    Container,
    Run,
}

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
