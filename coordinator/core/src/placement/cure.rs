//! What makes a host have an attribute that a task definition requires and the host lacks.
//!
//! The agent announces these by its settings or by what its Docker has; the names are ECS's.

/// How an attribute can come to a host: a sentence without its end. `None`: it is the user's own.
pub(super) fn cure(attribute: &str) -> Option<&'static str> {
    let capability = attribute
        .strip_prefix("com.amazonaws.ecs.capability.")
        .or_else(|| attribute.strip_prefix("ecs.capability."))?;
    let (kind, _) = capability.split_once('.').unwrap_or((capability, ""));
    Some(match kind {
        "ecr-auth" | "execution-role-ecr-pull" => {
            "an agent has it whose setting docker_config (or ECS_ENGINE_AUTH_DATA) gives logins for \
             registries"
        }
        "env-files" => "an agent has it whose setting s3 names a store of objects",
        "firelens" if capability.ends_with(".s3") => {
            "an agent has it whose setting s3 names a store of objects"
        }
        "efs" | "efsAuth" => "an agent has it whose setting efs names the file systems",
        "private-registry-authentication" => {
            "an agent has it whose setting repository_credentials names the secrets"
        }
        "privileged-container" => "an agent has it whose setting disable_privileged is false",
        "logging-driver" | "execution-role-awslogs" => {
            "an agent has it whose setting logging_drivers names the driver, or is left out, and \
             whose Docker has the driver"
        }
        "docker-plugin" => "an agent has it whose Docker has the volume plugin",
        "apparmor" | "selinux" => "an agent has it whose Docker applies that security module",
        "docker-remote-api" => "an agent has it whose Docker is new enough",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_that_a_setting_gives_names_the_setting() {
        for (attribute, names) in [
            ("com.amazonaws.ecs.capability.ecr-auth", "docker_config"),
            ("ecs.capability.execution-role-ecr-pull", "docker_config"),
            ("ecs.capability.env-files.s3", "setting s3"),
            ("ecs.capability.firelens.options.config.s3", "setting s3"),
            ("ecs.capability.efs", "setting efs"),
            ("ecs.capability.efsAuth", "setting efs"),
            (
                "ecs.capability.private-registry-authentication.secretsmanager",
                "repository_credentials",
            ),
            ("com.amazonaws.ecs.capability.privileged-container", "disable_privileged"),
            ("com.amazonaws.ecs.capability.logging-driver.gelf", "logging_drivers"),
            ("ecs.capability.execution-role-awslogs", "logging_drivers"),
            ("ecs.capability.docker-plugin.rexray", "volume plugin"),
            ("com.amazonaws.ecs.capability.apparmor", "security module"),
            ("com.amazonaws.ecs.capability.docker-remote-api.1.25", "new enough"),
        ] {
            let cure = cure(attribute).unwrap_or_default();
            assert!(cure.contains(names), "{attribute}: {cure}");
        }
        for own in ["rack", "ecs.os-type", "longshore.auto-scaling-group"] {
            assert_eq!(cure(own), None, "{own}");
        }
    }
}
