//! Where the coordinator of a data directory is reached, for the subcommands: written once it serves,
//! removed when it stops in peace. Whatever `--listen` and `--region` a subcommand is given, it calls the
//! coordinator whose key it holds.
//!
//! Never: a secret, or proof that the coordinator still runs; after a crash the file is old.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Name of the file in the data directory.
const FILE: &str = "running.json";

/// Where a coordinator serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub api: SocketAddr,
    pub join: SocketAddr,
    /// Region of the signatures that the coordinator accepts.
    pub region: String,
    pub pid: u32,
}

impl Running {
    /// Nothing when none has served from this directory, or the last one stopped in peace.
    pub fn read(data_dir: &Path) -> Result<Option<Self>, RunningError> {
        let path = data_dir.join(FILE);
        match fs_err::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|source| RunningError::Malformed { path, source }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RunningError::Io(error)),
        }
    }

    /// A loopback address where the coordinator listens on all.
    pub fn endpoint(&self) -> String {
        reached_at(self.api).to_string()
    }

    /// Tells it until the guard is dropped.
    pub(crate) fn tell(&self, data_dir: &Path) -> Result<Told, RunningError> {
        let path = data_dir.join(FILE);
        let new = data_dir.join(format!("{FILE}.new"));
        let bytes = serde_json::to_vec(self).expect("addresses and texts are always written");
        fs_err::write(&new, bytes).map_err(RunningError::Io)?;
        fs_err::rename(&new, &path).map_err(RunningError::Io)?;
        Ok(Told(path))
    }
}

/// The address at which this machine reaches the coordinator: over IPv4 where it listens on all,
/// which is there though IPv6 is turned off.
pub(crate) fn reached_at(listen: SocketAddr) -> SocketAddr {
    match listen.ip().is_unspecified() {
        true => (Ipv4Addr::LOCALHOST, listen.port()).into(),
        false => listen,
    }
}

/// Keeps the file; dropping this removes it.
pub(crate) struct Told(PathBuf);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = fs_err::remove_file(&self.0);
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RunningError {
    #[error("the file that tells where the coordinator serves cannot be used")]
    Io(#[source] io::Error),
    #[error("{} is not understood: remove it and restart the coordinator", path.display())]
    Malformed { path: PathBuf, source: serde_json::Error },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinator_is_found_by_its_data_directory_while_it_serves() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Running::read(directory.path()).unwrap(), None);
        let running = Running {
            api: "0.0.0.0:9420".parse().unwrap(),
            join: "0.0.0.0:9421".parse().unwrap(),
            region: "eu-west-1".into(),
            pid: 7,
        };
        let told = running.tell(directory.path()).unwrap();
        let read = Running::read(directory.path()).unwrap().unwrap();
        assert_eq!(read, running);
        assert_eq!(read.endpoint(), "127.0.0.1:9420");
        drop(told);
        assert_eq!(Running::read(directory.path()).unwrap(), None);
    }

    #[test]
    fn address_of_all_interfaces_is_reached_over_loopback() {
        for (listen, reached) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "127.0.0.1:1"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
        ] {
            assert_eq!(reached_at(listen.parse().unwrap()).to_string(), reached);
        }
    }
}
