//! Volumes of a task definition (ecs-behaviour 1.4).

use longshore_common::task_definition::{
    DockerVolumeConfiguration, EfsVolumeConfiguration, Switch, Volume,
};

use super::{Invalid, check_name, refuse};

pub(super) fn check(volumes: &[Volume]) -> Result<(), Invalid> {
    for (index, volume) in volumes.iter().enumerate() {
        check_name("Volume.name", &volume.name)?;
        if volumes[..index].iter().any(|other| other.name == volume.name) {
            return refuse(format!("Volume name '{}' is used twice.", volume.name));
        }
        check_kind(volume)?;
        if let Some(docker) = &volume.docker_volume_configuration {
            check_docker(&volume.name, docker)?;
        }
        if let Some(efs) = &volume.efs_volume_configuration {
            check_efs(&volume.name, efs)?;
        }
        if let Some(s3) = &volume.s3_files_volume_configuration
            && s3.file_system_arn.is_empty()
        {
            return refuse(format!(
                "Volume '{}' needs a fileSystemArn in its s3filesVolumeConfiguration.",
                volume.name
            ));
        }
    }
    if volumes.iter().filter(|volume| volume.configured_at_launch == Some(true)).count() > 1 {
        return refuse("Only one volume of a task definition can be configuredAtLaunch.");
    }
    Ok(())
}

/// A volume is of one kind. `host: {}` is how ECS writes the kind without a member of its own, so
/// it stands beside any other.
fn check_kind(volume: &Volume) -> Result<(), Invalid> {
    let kinds = [
        ("host.sourcePath", volume.host.as_ref().is_some_and(|h| h.source_path.is_some())),
        ("dockerVolumeConfiguration", volume.docker_volume_configuration.is_some()),
        ("efsVolumeConfiguration", volume.efs_volume_configuration.is_some()),
        (
            "fsxWindowsFileServerVolumeConfiguration",
            volume.fsx_windows_file_server_volume_configuration.is_some(),
        ),
        ("s3filesVolumeConfiguration", volume.s3_files_volume_configuration.is_some()),
        ("configuredAtLaunch", volume.configured_at_launch == Some(true)),
    ];
    let given: Vec<&str> =
        kinds.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    if given.len() > 1 {
        return refuse(format!(
            "Volume '{}' can be of one kind only, and {} are given.",
            volume.name,
            given.join(" and ")
        ));
    }
    Ok(())
}

fn check_docker(name: &str, docker: &DockerVolumeConfiguration) -> Result<(), Invalid> {
    if docker.driver.as_deref() == Some("") {
        return refuse(format!("Volume '{name}' gives an empty driver; leave it out for `local`."));
    }
    Ok(())
}

fn check_efs(name: &str, efs: &EfsVolumeConfiguration) -> Result<(), Invalid> {
    if efs.file_system_id.is_empty() {
        return refuse(format!("Volume '{name}' needs a fileSystemId."));
    }
    let encrypted = efs.transit_encryption == Some(Switch::Enabled);
    if efs.transit_encryption_port.is_some() && !encrypted {
        return refuse(format!(
            "Volume '{name}' gives a transitEncryptionPort without transitEncryption ENABLED."
        ));
    }
    let Some(authorization) = &efs.authorization_config else { return Ok(()) };
    let uses_iam = authorization.iam == Some(Switch::Enabled);
    if (uses_iam || authorization.access_point_id.is_some()) && !encrypted {
        return refuse(format!(
            "Volume '{name}' needs transitEncryption ENABLED for an access point or IAM."
        ));
    }
    let root = efs.root_directory.as_deref().unwrap_or("/");
    if authorization.access_point_id.is_some() && root != "/" {
        return refuse(format!(
            "Volume '{name}' has an access point, so its rootDirectory must be / or left out."
        ));
    }
    Ok(())
}
