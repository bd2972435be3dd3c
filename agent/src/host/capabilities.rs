//! What this agent can do, in ECS's words. Task definitions require such attributes, and placement
//! offers a task only to hosts that have them all.
//!
//! Never: a capability that the engine does not honour now. Each has its reason here, so that who
//! builds a feature knows where to announce it, and who removes one where to take it back.

use longshore_common::{logs::options::AWSLOGS, protocol::Attribute};

use crate::runtime::{RuntimeVersion, local_log};

/// What every agent of this version honours, whatever the host.
const ALWAYS: &[(&str, &str)] = &[
    (
        "ecs.capability.container-health-check",
        "health probes are Docker's, their state is reported",
    ),
    ("ecs.capability.firelens.fluentbit", "the router's configuration is generated"),
    ("ecs.capability.firelens.fluentd", "likewise"),
    ("ecs.capability.network.container-port-range", "host ports in a row are sought"),
    ("ecs.capability.container-ordering", "dependsOn, startTimeout and stopTimeout are honoured"),
    ("ecs.capability.container-restart-policy", "a container that ends is started again in place"),
    (
        "ecs.capability.pid-ipc-namespace-sharing",
        "the host's namespaces can be shared, and those of the task by a pause container",
    ),
];

/// Cpu and memory of a task limit its containers together, unless the operator disabled it.
const TASK_LIMITS: &str = "ecs.capability.task-cpu-mem-limit";

/// Unless the operator disabled it.
const PRIVILEGED: &str = "com.amazonaws.ecs.capability.privileged-container";

/// `apparmor` and `selinux`, where Docker applies them.
const SECURITY_OPTION: &str = "com.amazonaws.ecs.capability.";
const SECURITY_OPTIONS: [&str; 2] = ["apparmor", "selinux"];

/// One for each volume driver of the host's Docker.
const VOLUME_DRIVER: &str = "ecs.capability.docker-plugin.";

/// One for each version of Docker's API up to the one agreed on: a definition requires the version
/// that brought what it uses, and later ones have not taken it away.
const DOCKER_API: &str = "com.amazonaws.ecs.capability.docker-remote-api.";
/// Minimum minor version of Docker's API that ECS's requirements name.
const DOCKER_API_MINOR_MIN: u32 = 17;
/// Maximum minor version that is announced, far above any real one: bounds the list after a wrong
/// answer.
const DOCKER_API_MINOR_MAX: u32 = 99;

/// One for each log driver of the host's Docker that tasks may use.
const LOGGING_DRIVER: &str = "com.amazonaws.ecs.capability.logging-driver.";
/// Docker does not list it among its plugins, but always has it.
const LOGS_NOWHERE: &str = "none";
/// What the agent makes of `awslogs`.
const LOGS_FOLLOWED: &str = local_log::DRIVER;
/// Required besides the driver by definitions with an execution role, which logs need none of here.
const LOGS_BY_EXECUTION_ROLE: &str = "ecs.capability.execution-role-awslogs";

/// Where the setting `s3` names a store.
const OBJECTS: [&str; 2] =
    ["ecs.capability.env-files.s3", "ecs.capability.firelens.options.config.s3"];
/// Where the setting `efs` names file systems; what each of them cannot do is refused by name.
const FILE_SYSTEMS: [&str; 2] = ["ecs.capability.efs", "ecs.capability.efsAuth"];
/// Where there are logins for registries: a credential helper knows ECR's.
const LOGINS: [&str; 2] =
    ["com.amazonaws.ecs.capability.ecr-auth", "ecs.capability.execution-role-ecr-pull"];
/// Where the setting `repository-credentials` names secrets; another one is refused by name.
const SECRET_LOGINS: &str = "ecs.capability.private-registry-authentication.secretsmanager";
/// Routed lines come by Docker's driver of this name.
const ROUTED: (&str, &str) = ("awsfirelens", "fluentd");

/// What an operator takes away from, or names of, what the host has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed<'a> {
    pub(crate) privileged: bool,
    pub(crate) task_limits: bool,
    pub(crate) logging_drivers: Option<&'a [String]>,
    pub(crate) objects: bool,
    pub(crate) file_systems: bool,
    pub(crate) logins: bool,
    pub(crate) secret_logins: bool,
}

/// The capabilities as attributes, sorted. What depends on Docker is left out while it is not known.
pub(crate) fn attributes(allowed: Allowed<'_>, docker: Option<&RuntimeVersion>) -> Vec<Attribute> {
    let mut names: Vec<String> = ALWAYS.iter().map(|(name, _)| (*name).to_owned()).collect();
    if allowed.privileged {
        names.push(PRIVILEGED.to_owned());
    }
    if allowed.task_limits {
        names.push(TASK_LIMITS.to_owned());
    }
    if allowed.secret_logins {
        names.push(SECRET_LOGINS.to_owned());
    }
    let given = [
        (allowed.objects, OBJECTS),
        (allowed.file_systems, FILE_SYSTEMS),
        (allowed.logins, LOGINS),
    ];
    for (_, capabilities) in given.into_iter().filter(|(given, _)| *given) {
        names.extend(capabilities.map(str::to_owned));
    }
    if let Some(docker) = docker {
        if let Some(newest) = minor_of(&docker.api_version) {
            let versions = DOCKER_API_MINOR_MIN..=newest.min(DOCKER_API_MINOR_MAX);
            names.extend(versions.map(|minor| format!("{DOCKER_API}1.{minor}")));
        }
        let secured = SECURITY_OPTIONS
            .iter()
            .filter(|known| docker.security_options.iter().any(|option| option == **known));
        names.extend(secured.map(|option| format!("{SECURITY_OPTION}{option}")));
        names.extend(docker.volume_drivers.iter().map(|driver| format!("{VOLUME_DRIVER}{driver}")));
        let drivers = logging_drivers(allowed, docker);
        if drivers.contains(&AWSLOGS) {
            names.push(LOGS_BY_EXECUTION_ROLE.to_owned());
        }
        names.extend(drivers.into_iter().map(|driver| format!("{LOGGING_DRIVER}{driver}")));
    }
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| Attribute { name, value: None }).collect()
}

/// The drivers that the operator named and this Docker has not.
pub(crate) fn missing_logging_drivers<'a>(
    allowed: Allowed<'a>,
    docker: &RuntimeVersion,
) -> Vec<&'a str> {
    let wanted = allowed.logging_drivers.unwrap_or_default();
    wanted.iter().map(String::as_str).filter(|driver| !has(docker, driver)).collect()
}

fn logging_drivers<'a>(allowed: Allowed<'a>, docker: &'a RuntimeVersion) -> Vec<&'a str> {
    match allowed.logging_drivers {
        Some(named) => named.iter().map(String::as_str).filter(|name| has(docker, name)).collect(),
        None => docker
            .log_drivers
            .iter()
            .map(String::as_str)
            // Docker's own of this name would send lines away.
            .filter(|driver| *driver != AWSLOGS)
            .chain([LOGS_NOWHERE, AWSLOGS, ROUTED.0])
            .filter(|driver| has(docker, driver))
            .collect(),
    }
}

fn has(docker: &RuntimeVersion, driver: &str) -> bool {
    let docker_has = |driver| docker.log_drivers.iter().any(|known| known == driver);
    match driver {
        LOGS_NOWHERE => true,
        AWSLOGS => docker_has(LOGS_FOLLOWED),
        driver if driver == ROUTED.0 => docker_has(ROUTED.1),
        driver => docker_has(driver),
    }
}

/// 41 of `1.41`.
fn minor_of(api_version: &str) -> Option<u32> {
    api_version.strip_prefix("1.")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn docker(api_version: &str, log_drivers: &[&str]) -> RuntimeVersion {
        RuntimeVersion {
            version: "20.10.24".to_owned(),
            api_version: api_version.to_owned(),
            log_drivers: log_drivers.iter().map(|&driver| driver.to_owned()).collect(),
            ..RuntimeVersion::default()
        }
    }

    fn check(allowed: Allowed<'_>, docker: Option<&RuntimeVersion>, expected: Expect) {
        let names: Vec<String> = attributes(allowed, docker)
            .into_iter()
            .map(|attribute| {
                assert_eq!(attribute.value, None);
                attribute.name.replace("com.amazonaws.ecs.capability", "…")
            })
            .collect();
        expected.assert_eq(&names.join("\n"));
    }

    const ALL: Allowed<'_> = Allowed {
        privileged: true,
        task_limits: true,
        logging_drivers: None,
        objects: true,
        file_systems: true,
        logins: true,
        secret_logins: true,
    };
    const NOTHING: Allowed<'_> = Allowed {
        privileged: false,
        task_limits: false,
        logging_drivers: None,
        objects: false,
        file_systems: false,
        logins: false,
        secret_logins: false,
    };

    #[test]
    fn agent_announces_only_its_own_capabilities_without_docker() {
        check(
            ALL,
            None,
            expect![[r#"
                ….ecr-auth
                ….privileged-container
                ecs.capability.container-health-check
                ecs.capability.container-ordering
                ecs.capability.container-restart-policy
                ecs.capability.efs
                ecs.capability.efsAuth
                ecs.capability.env-files.s3
                ecs.capability.execution-role-ecr-pull
                ecs.capability.firelens.fluentbit
                ecs.capability.firelens.fluentd
                ecs.capability.firelens.options.config.s3
                ecs.capability.network.container-port-range
                ecs.capability.pid-ipc-namespace-sharing
                ecs.capability.private-registry-authentication.secretsmanager
                ecs.capability.task-cpu-mem-limit"#]],
        );
    }

    #[test]
    fn every_api_version_up_to_dockers_and_all_log_drivers_are_announced() {
        check(
            ALL,
            Some(&docker("1.19", &["awslogs", "journald", "json-file", "local"])),
            expect![[r#"
                ….docker-remote-api.1.17
                ….docker-remote-api.1.18
                ….docker-remote-api.1.19
                ….ecr-auth
                ….logging-driver.awslogs
                ….logging-driver.journald
                ….logging-driver.json-file
                ….logging-driver.local
                ….logging-driver.none
                ….privileged-container
                ecs.capability.container-health-check
                ecs.capability.container-ordering
                ecs.capability.container-restart-policy
                ecs.capability.efs
                ecs.capability.efsAuth
                ecs.capability.env-files.s3
                ecs.capability.execution-role-awslogs
                ecs.capability.execution-role-ecr-pull
                ecs.capability.firelens.fluentbit
                ecs.capability.firelens.fluentd
                ecs.capability.firelens.options.config.s3
                ecs.capability.network.container-port-range
                ecs.capability.pid-ipc-namespace-sharing
                ecs.capability.private-registry-authentication.secretsmanager
                ecs.capability.task-cpu-mem-limit"#]],
        );
    }

    #[test]
    fn an_operator_narrows_the_log_drivers_and_takes_privileged_away() {
        let named = ["awslogs", "gelf", "none"].map(str::to_owned);
        let allowed = Allowed { logging_drivers: Some(&named), ..NOTHING };
        let docker = docker("1.17", &["awslogs", "json-file", "local"]);
        check(
            allowed,
            Some(&docker),
            expect![[r#"
                ….docker-remote-api.1.17
                ….logging-driver.awslogs
                ….logging-driver.none
                ecs.capability.container-health-check
                ecs.capability.container-ordering
                ecs.capability.container-restart-policy
                ecs.capability.execution-role-awslogs
                ecs.capability.firelens.fluentbit
                ecs.capability.firelens.fluentd
                ecs.capability.network.container-port-range
                ecs.capability.pid-ipc-namespace-sharing"#]],
        );
        assert_eq!(missing_logging_drivers(allowed, &docker), ["gelf"]);
    }

    #[test]
    fn volume_drivers_and_what_confines_containers_are_announced() {
        let names = |text: &[&str]| text.iter().map(|&name| name.to_owned()).collect();
        let docker = RuntimeVersion {
            volume_drivers: names(&["local", "rexray"]),
            security_options: names(&["apparmor", "seccomp"]),
            ..docker("1.16", &[])
        };
        let named = [];
        let allowed = Allowed { logging_drivers: Some(&named), ..NOTHING };
        check(
            allowed,
            Some(&docker),
            expect![[r#"
                ….apparmor
                ecs.capability.container-health-check
                ecs.capability.container-ordering
                ecs.capability.container-restart-policy
                ecs.capability.docker-plugin.local
                ecs.capability.docker-plugin.rexray
                ecs.capability.firelens.fluentbit
                ecs.capability.firelens.fluentd
                ecs.capability.network.container-port-range
                ecs.capability.pid-ipc-namespace-sharing"#]],
        );
    }

    #[test]
    fn a_senseless_api_version_announces_no_docker_api() {
        for version in ["", "2.0", "1.x", "1.99999999999"] {
            let names = attributes(ALL, Some(&docker(version, &[])));
            assert!(names.iter().all(|a| !a.name.contains("docker-remote-api")), "{version}");
        }
    }
}
