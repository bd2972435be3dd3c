//! What must be there before a container is made, and only input and output can bring: environment
//! files, host ports in a row, files and directories that it mounts.
//!
//! Owns everything between a plan and its create. Never: a decision what a container needs (that is
//! `plan`), a call to the container engine, or a path of the host outside the agent's own (that is
//! the helper's, see `mounts`).

use std::{io, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use longshore_common::id::HostId;

use self::ports::FreePorts;
use crate::{
    blocking::FILES,
    mounts::{MountHelper, protocol::TaskMounts},
    preparation::needs::{FileContents, HostMount, NeededDirectory, NeededFile, Needs},
    runtime::{Bind, BindSource, ContainerConfig, RuntimeError, Unknown},
    settings::Objects,
};

pub(crate) mod needs;
pub(crate) mod environment_file;
pub(crate) mod objects;
mod ports;
#[cfg(test)]
mod tests;

/// Timeout of fetching what a container needs from elsewhere; the container fails after it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// A task's files are read by containers of any user.
const READABLE: u32 = 0o644;

/// Brings what containers need.
#[derive(Debug, Default)]
pub(crate) struct Preparation {
    objects: Option<Objects>,
    mounts: MountHelper,
    ports: FreePorts,
}

impl Preparation {
    pub(crate) fn new(objects: Option<Objects>, mounts: MountHelper) -> Self {
        Preparation { objects, mounts, ports: FreePorts::default() }
    }

    /// Completes `config` by what it needs. An error says what could not be had; nothing was made
    /// of the container then.
    pub(crate) async fn prepare(
        &self,
        needs: &Needs,
        config: &mut ContainerConfig,
    ) -> Result<(), RuntimeError> {
        if *needs == Needs::default() {
            return Ok(());
        }
        in_time(self.bring(needs, config)).await
    }

    /// Makes the mounts of a container that is about to start again, as far as they are not there: a
    /// boot of the host takes them.
    pub(crate) async fn mount_again(&self, mounts: &[HostMount]) -> Result<(), RuntimeError> {
        if mounts.is_empty() {
            return Ok(());
        }
        in_time(async {
            for mount in mounts {
                self.mounts.bind(&mount.request).await?;
            }
            Ok(())
        })
        .await
    }

    /// Unmounts what a task had of the host. `Ok` too when it had nothing.
    pub(crate) async fn release(&self, task: TaskMounts) -> Result<(), RuntimeError> {
        match self.mounts.is_there() {
            true => {
                let released = self.mounts.release(task).await;
                released.map_err(|message| Unknown::Engine { message }.into())
            }
            false => Ok(()),
        }
    }

    /// Tasks of this host that have mounts.
    pub(crate) async fn mounted(&self, host: HostId) -> Result<Vec<TaskMounts>, String> {
        match self.mounts.is_there() {
            true => self.mounts.list(host).await,
            false => Ok(Vec::new()),
        }
    }

    async fn bring(&self, needs: &Needs, config: &mut ContainerConfig) -> Result<(), String> {
        for arn in &needs.environment_files {
            let text = String::from_utf8(self.object(arn).await?)
                .map_err(|_| format!("environment file {arn} is not text in UTF-8"))?;
            for (name, value) in environment_file::variables(&text) {
                if config.environment.iter().all(|(known, _)| known != name) {
                    config.environment.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        for range in &needs.port_ranges {
            self.ports.publish(*range, config).await?;
        }
        for directory in needs.directories.clone() {
            in_background(move || make(&directory)).await?;
        }
        for NeededFile { path, contents } in &needs.files {
            let contents = match contents {
                FileContents::Text(text) => text.clone().into_bytes(),
                FileContents::Object(arn) => self.object(arn).await?,
            };
            let path = path.clone();
            in_background(move || write(&path, &contents)).await?;
        }
        for HostMount { request, target, read_only } in &needs.of_host {
            let place = self.mounts.bind(request).await?;
            config.binds.push(Bind {
                source: place.display().to_string(),
                target: target.clone(),
                read_only: *read_only,
                from: BindSource::Helper,
            });
        }
        Ok(())
    }

    async fn object(&self, arn: &str) -> Result<Vec<u8>, String> {
        let objects = self.objects.as_ref();
        let objects =
            objects.ok_or("this host's setting s3 names no store to read objects from")?;
        objects.read(arn).await
    }
}

/// Writes a file of a task's anew. Nothing happens where its directory is not: no container has it.
pub(crate) async fn rewrite(path: &Path, text: String) -> Result<(), RuntimeError> {
    let path = path.to_owned();
    let written = in_background(move || {
        let is_mounted = path.parent().is_some_and(Path::is_dir);
        if is_mounted { write(&path, text.as_bytes()) } else { Ok(()) }
    });
    written.await.map_err(|message| Unknown::Engine { message }.into())
}

/// Removes a task's directory. `Ok` too when there is none.
pub(crate) async fn remove(directory: &Path) -> Result<(), RuntimeError> {
    match tokio::fs::remove_dir_all(directory).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let message = format!("{}: {error}", directory.display());
            Err(Unknown::Engine { message }.into())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A file system of the network may not answer: no thread of the runtime waits for it.
async fn in_background(
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), String> {
    let done = FILES.run(work).await;
    done.flatten().map_err(|error| error.to_string())
}

async fn in_time(work: impl Future<Output = Result<(), String>>) -> Result<(), RuntimeError> {
    let done = tokio::time::timeout(FETCH_TIMEOUT, work).await;
    let late = || format!("it took longer than {} s", FETCH_TIMEOUT.as_secs());
    done.unwrap_or_else(|_| Err(late())).map_err(|message| RuntimeError::NotPrepared { message })
}

fn make(NeededDirectory { path, mode }: &NeededDirectory) -> io::Result<()> {
    fs_err::create_dir_all(path)?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(*mode))
}

/// Under another name first: a container that mounts it never sees half of it.
fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let half = path.with_extension("half");
    fs_err::write(&half, contents)?;
    fs_err::set_permissions(&half, std::fs::Permissions::from_mode(READABLE))?;
    fs_err::rename(half, path)
}
