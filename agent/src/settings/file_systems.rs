//! EFS file systems as this host has them: mounted already, or served by NFS (setting `efs`).
//!
//! Never: a path that is resolved here.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

/// By file system id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSystems(pub(crate) BTreeMap<String, FileSystem>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileSystem {
    pub(crate) source: Option<FileSystemSource>,
    pub(crate) access_points: BTreeMap<String, AccessPoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileSystemSource {
    Mounted(PathBuf),
    Nfs { server: String, export: PathBuf },
}

/// A part of a mounted file system, made for its owner when it is first used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessPoint {
    /// Below the file system's root.
    pub(crate) path: PathBuf,
    /// User and group id.
    pub(crate) owner: (u32, u32),
    pub(crate) mode: u32,
    /// Containers of other users than the owner may mount it.
    pub(crate) any_user: bool,
}

/// Mode of an access point whose setting gives none.
const MODE: u32 = 0o755;

/// Ends an access point's setting: no container is refused for its user.
pub(crate) const ANY_USER: &str = "any-user";

impl FileSystems {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the host has mounted it.
    pub(crate) fn mounted_at(&self, id: &str) -> Option<&Path> {
        match self.0.get(id)?.source.as_ref()? {
            FileSystemSource::Mounted(path) => Some(path),
            FileSystemSource::Nfs { .. } => None,
        }
    }

    pub(crate) fn access_point(&self, file_system: &str, id: &str) -> Option<&AccessPoint> {
        self.0.get(file_system)?.access_points.get(id)
    }

    /// `fs-1=/mnt/efs`, `fs-1=10.0.0.9:/export`, `fs-1/fsap-1=/app:1000:1000:0750`. An error is
    /// advice.
    pub(crate) fn read(items: &[String]) -> Result<Self, String> {
        let mut systems = FileSystems::default();
        for item in items {
            let (name, value) = item.split_once('=').ok_or_else(|| {
                format!("`{item}` names no place: write fs-1=/mnt/efs or fs-1=10.0.0.9:/export")
            })?;
            match name.trim().split_once('/') {
                None => {
                    let system = systems.0.entry(name.trim().to_owned()).or_default();
                    if system.source.replace(value.trim().parse()?).is_some() {
                        return Err(format!("`{}` is there twice", name.trim()));
                    }
                }
                Some((system, point)) => {
                    let system = systems.0.entry(system.to_owned()).or_default();
                    system.access_points.insert(point.to_owned(), value.trim().parse()?);
                }
            }
        }
        for (name, system) in &systems.0 {
            let nfs = matches!(system.source, Some(FileSystemSource::Nfs { .. }));
            if system.source.is_none() {
                return Err(format!(
                    "`{name}` has access points and no place: add {name}=/mnt/efs"
                ));
            }
            if nfs && !system.access_points.is_empty() {
                return Err(format!(
                    "`{name}` is served by NFS: mount it on the host and give that path, for its \
                     access points to be made"
                ));
            }
        }
        Ok(systems)
    }
}

/// The path without its first `/`; none if it leads out of where it is joined to.
pub(crate) fn inside(path: &Path) -> Option<PathBuf> {
    let mut inner = PathBuf::new();
    for part in path.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => inner.push(name),
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(inner)
}

impl FromStr for FileSystemSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') && !text.contains(':') {
            return Ok(FileSystemSource::Mounted(PathBuf::from(text)));
        }
        // Of an IPv6 address the last colon counts.
        match text.rsplit_once(':') {
            Some((server, export)) if !server.is_empty() && export.starts_with('/') => {
                Ok(FileSystemSource::Nfs {
                    server: server.to_owned(),
                    export: PathBuf::from(export),
                })
            }
            _ => Err(format!("`{text}` is no place: give /a/path, or SERVER:/export")),
        }
    }
}

impl FromStr for AccessPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let advice = || {
            format!(
                "`{text}` is no access point: give /PATH:USER:GROUP, /PATH:USER:GROUP:MODE, or either with :any-user, /app:1000:1000"
            )
        };
        let (point, any_user) = match text.strip_suffix(ANY_USER).map(|rest| rest.strip_suffix(':'))
        {
            Some(Some(point)) => (point, true),
            Some(None) | None => (text, false),
        };
        let (path, user, group, mode) = match point.split(':').collect::<Vec<_>>()[..] {
            [path, user, group] => (path, user, group, None),
            [path, user, group, mode] => (path, user, group, Some(mode)),
            _ => return Err(advice()),
        };
        let path = inside(Path::new(path)).filter(|_| path.starts_with('/'));
        let id = |text: &str| text.parse::<u32>().map_err(|_| advice());
        let mode = match mode.map(|mode| u32::from_str_radix(mode, 8)) {
            None => MODE,
            // Without any a directory is not whole.
            Some(Ok(mode)) if (1..=0o7777).contains(&mode) => mode,
            Some(_) => return Err(advice()),
        };
        let (path, owner) = (path.ok_or_else(advice)?, (id(user)?, id(group)?));
        Ok(AccessPoint { path, owner, mode, any_user })
    }
}

impl fmt::Display for FileSystems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.keys().cloned().collect::<Vec<_>>().join(", "))
    }
}
