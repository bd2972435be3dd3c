//! EFS file systems as this host has them: mounted already, or served by NFS (setting `efs`).
//!
//! Owns what `efsVolumeConfiguration` becomes: what the helper is to mount, or options for Docker to
//! mount NFS by. Never: a path that is resolved here; a promise that a network without encryption or
//! IAM keeps; a definition that asks for one is refused.

use std::{collections::BTreeMap, path::Path};

use longshore_common::task_definition::{ContainerDefinition, EfsVolumeConfiguration, Switch};

use crate::{
    mounts::protocol::MountSource as Mounted,
    settings::{ANY_USER, AccessPoint, FileSystemSource, FileSystems, inside},
};

#[cfg(test)]
mod tests;

/// What Amazon recommends for mounting EFS.
const NFS_OPTIONS: &str = "nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2";

/// What a volume is mounted from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Efs {
    /// By the helper.
    Mounted(Mounted),
    /// Options of Docker's `local` driver.
    Nfs(BTreeMap<String, String>),
}

impl FileSystems {
    /// EFS makes all who come by an access point its POSIX user. No mount of Linux does so for a file
    /// system of the network, so that a container of another user is refused.
    pub(super) fn check_user(
        &self,
        source: &Mounted,
        container: &ContainerDefinition,
    ) -> Result<(), String> {
        let Mounted::AccessPoint { file_system, id, .. } = source else { return Ok(()) };
        let point = self.access_point(file_system, id).filter(|point| !point.any_user);
        let Some(AccessPoint { owner: (user, group), .. }) = point else { return Ok(()) };
        let owner = format!("{user}:{group}");
        match container.user.as_deref() {
            Some(own) if own == owner => Ok(()),
            own => Err(format!(
                "access point {id} for the user {own}, whom EFS would make {owner} there: set the \
                 container's user to {owner}, or end the access point in this host's setting efs \
                 with :{ANY_USER}",
                own = own.unwrap_or("of the image")
            )),
        }
    }

    /// `Err` says what cannot be carried out.
    pub(super) fn mounted(&self, config: &EfsVolumeConfiguration) -> Result<Efs, String> {
        let id = &config.file_system_id;
        let known = self.0.get(id).and_then(|system| Some((system, system.source.as_ref()?)));
        let (system, source) = known.ok_or_else(|| {
            format!("file system {id}, which this host's setting efs does not name")
        })?;
        let authorization = config.authorization_config.as_ref();
        if authorization.is_some_and(|a| a.iam == Some(Switch::Enabled)) {
            return Err(format!("file system {id} with IAM authorization"));
        }
        let root = inside(Path::new(config.root_directory.as_deref().unwrap_or("/")))
            .ok_or_else(|| format!("rootDirectory of file system {id}, which leads out of it"))?;
        let point = authorization.and_then(|a| a.access_point_id.as_ref());
        if let Some(point) = point.filter(|point| !system.access_points.contains_key(*point)) {
            return Err(format!(
                "access point {point}, which this host's setting efs does not name"
            ));
        }
        let encrypted = config.transit_encryption == Some(Switch::Enabled);
        match (source, point) {
            (FileSystemSource::Mounted(_), None) => Ok(Efs::Mounted(Mounted::FileSystem {
                id: id.clone(),
                root_directory: root,
                encrypted,
            })),
            (FileSystemSource::Mounted(_), Some(point)) => Ok(Efs::Mounted(Mounted::AccessPoint {
                file_system: id.clone(),
                id: point.clone(),
                encrypted,
            })),
            (FileSystemSource::Nfs { server, export }, _) => {
                // The kernel would follow a link that a task planted there, out of the export.
                if root != Path::new("") && export != Path::new("/") {
                    return Err(format!(
                        "rootDirectory of file system {id}, which is served by NFS here: mount it \
                         on the host and give that path in the setting efs ({id}=/mnt/{id}), for \
                         no link to lead out of it"
                    ));
                }
                if encrypted {
                    return Err(format!(
                        "transitEncryption of file system {id}, which is served by NFS here"
                    ));
                }
                let options = [
                    ("type", "nfs".to_owned()),
                    ("o", format!("addr={server},{NFS_OPTIONS}")),
                    ("device", format!(":{}", export.join(root).display())),
                ];
                Ok(Efs::Nfs(options.map(|(name, value)| (name.to_owned(), value)).into()))
            }
        }
    }
}
