//! The data directory: made for its owner only, used by one agent at a time.
//!
//! Owns the directory, its lock and the copy of the last registration. The identity and the ledger in
//! it belong to their modules.

use std::{
    collections::BTreeSet,
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use longshore_common::{
    data_directory::{self, NotOurs},
    id::{FleetId, HostId},
    protocol::Registered,
    secret_file,
    telemetry::chain,
};
use rustix::fs::{FlockOperation, flock};

use crate::engine::ledger;

/// The directory holds a private key: nobody else may look.
const OWNER_ONLY: u32 = 0o700;
const OTHERS: u32 = 0o077;
const LOCK_FILE: &str = "lock";
const LEDGER_FILE: &str = "ledger.sqlite";
/// Separates the name of a ledger that was moved away from the host that joined in its place.
const ASIDE: &str = ".before-";
const LOGS_FILE: &str = "logs.sqlite";
const TASK_FILES: &str = "tasks";
const VOLUMES: &str = "volumes";
const ENDPOINTS_KEY_FILE: &str = "task-endpoints.key";
const REGISTRATION_FILE: &str = "registration.json";

/// The directory, held for as long as this lives.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: fs_err::File,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    #[error("the data directory cannot be used: run as root, or give another by --data-dir")]
    Unusable(#[source] io::Error),
    #[error("the data directory cannot be used")]
    NotOurs(#[from] NotOurs),
    #[error(
        "{} is in use by another agent: stop that one, or give this one a directory of its own by \
         --data-dir",
        .0.display()
    )]
    Taken(PathBuf),
}

impl DataDir {
    /// Makes it if there is none, closes it to others if it is open, and takes the lock.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let unusable = DataDirError::Unusable;
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(OWNER_ONLY).create(path).map_err(|error| {
            unusable(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        })?;
        data_directory::check(path)?;
        let mode = fs_err::metadata(path).map_err(unusable)?.permissions().mode();
        if mode & OTHERS != 0 {
            let closed = std::fs::Permissions::from_mode(OWNER_ONLY);
            fs_err::set_permissions(path, closed).map_err(unusable)?;
            tracing::warn!(path = %path.display(), "closed the data directory to other users");
        }
        let lock = fs_err::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK_FILE))
            .map_err(unusable)?;
        match flock(lock.file(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(DataDir { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::Taken(path.to_owned())),
            Err(error) => Err(unusable(error.into())),
        }
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.path.join(LEDGER_FILE)
    }

    /// The ledger of another identity is moved away, so that a host that joins anew begins its own:
    /// what the other one's containers are is not for this host to say. What the ledger holds
    /// decides, at each start: an agent may end at any moment between its joining and this.
    pub(crate) fn set_aside_ledger_of_others(
        &self,
        fleet: FleetId,
        joined: HostId,
    ) -> Result<(), DataDirError> {
        match ledger::owner(&self.ledger()) {
            Some(owner) if owner != (fleet, joined) => {}
            Some(_) | None => return Ok(()),
        }
        // The file itself last: with it gone, what is left of its log would be read into the next one.
        for ending in ["-shm", "-wal", ""] {
            let old = self.path.join(format!("{LEDGER_FILE}{ending}"));
            let aside = self.path.join(format!("{LEDGER_FILE}{ASIDE}{joined}{ending}"));
            match fs_err::rename(&old, &aside) {
                Ok(()) if ending.is_empty() => tracing::warn!(
                    path = %aside.display(),
                    "moved the ledger of another identity away: this host has joined anew"
                ),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(DataDirError::Unusable(error)),
            }
        }
        Ok(())
    }

    /// The hosts that this one was before, by the ledgers that were moved away.
    pub(crate) fn former_hosts(&self, host: HostId) -> Vec<HostId> {
        let Ok(entries) = fs_err::read_dir(&self.path) else { return Vec::new() };
        let aside = format!("{LEDGER_FILE}{ASIDE}");
        let former = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            let ending = path.file_name()?.to_str()?.strip_prefix(&aside)?.to_owned();
            // Not of a log beside one.
            let _: HostId = ending.parse().ok()?;
            ledger::owner(&path).map(|(_, former)| former)
        });
        let former: BTreeSet<HostId> = former.filter(|former| *former != host).collect();
        former.into_iter().collect()
    }

    /// Where the events of containers' logs are kept.
    pub(crate) fn logs(&self) -> PathBuf {
        self.path.join(LOGS_FILE)
    }

    /// Directory with one for each task that needs files.
    pub(crate) fn task_files(&self) -> PathBuf {
        self.path.join(TASK_FILES)
    }

    /// For mounts, where the agent makes them itself.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.path.join(VOLUMES)
    }

    /// What the ids of the task endpoints are made with.
    pub(crate) fn endpoints_key(&self) -> PathBuf {
        self.path.join(ENDPOINTS_KEY_FILE)
    }

    /// How this host was registered last, so that it can go on while the coordinator is away. One
    /// that cannot be read counts as none: registering makes it anew.
    pub(crate) fn registration(&self) -> Option<Registered> {
        let content = fs_err::read(self.path.join(REGISTRATION_FILE)).ok()?;
        serde_json::from_slice(&content).ok()
    }

    pub(crate) fn keep_registration(&self, registered: &Registered) {
        let content = serde_json::to_vec_pretty(registered).expect("plain values only");
        let path = self.path.join(REGISTRATION_FILE);
        if fs_err::read(&path).is_ok_and(|kept| kept == content) {
            return;
        }
        if let Err(error) = secret_file::replace(&path, &content) {
            let error = chain(&error);
            tracing::warn!(
                error,
                "cannot keep the registration: a restart will wait for a new one"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use longshore_common::protocol::{Epoch, Seen};

    use super::*;
    use crate::engine::ledger::{Batch, Head, Ledger};

    const FLEET: FleetId = FleetId::new(2);
    const HOST: HostId = HostId::new(1);

    fn files(data: &DataDir) -> Vec<String> {
        let entries = fs_err::read_dir(&data.path).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.starts_with(LEDGER_FILE) && !name.ends_with("lock"));
        names.sort();
        names
    }

    /// Joining is not repeated after a stop that follows it: each start must find what it left.
    #[test]
    fn ledger_of_another_identity_is_set_aside_at_whatever_start() {
        for (fleet, host, of_others) in
            [(FLEET, HOST, false), (FLEET, HostId::new(9), true), (FleetId::new(9), HOST, true)]
        {
            let directory = tempfile::tempdir().unwrap();
            let data = DataDir::open(directory.path()).unwrap();
            data.set_aside_ledger_of_others(fleet, host).unwrap();
            assert_eq!(files(&data), [""; 0], "nothing is made where there was none");
            let (mut kept, _) = Ledger::open(&data.ledger(), FLEET, HOST).unwrap();
            let seen = Seen { epoch: Epoch { counter: 1, incarnation: 7 }, order: 3 };
            let head = Head { fleet: FLEET, host: HOST, seen };
            kept.write(&Batch { head: Some(head), ..Batch::default() }).unwrap();
            // As a kill leaves it, with its log beside it.
            std::mem::forget(kept);
            let copy = tempfile::tempdir().unwrap();
            for file in files(&data) {
                fs_err::copy(data.path.join(&file), copy.path().join(&file)).unwrap();
            }
            let data = DataDir::open(copy.path()).unwrap();
            data.set_aside_ledger_of_others(fleet, host).unwrap();
            let aside = format!("{LEDGER_FILE}.before-{host}");
            assert_eq!(files(&data).contains(&aside), of_others);
            let former = if of_others && host != HOST { vec![HOST] } else { vec![] };
            assert_eq!(data.former_hosts(host), former);
            let (_, contents) = Ledger::open(&data.ledger(), fleet, host).unwrap();
            assert_eq!(contents.head.is_none(), of_others);
        }
    }

    #[test]
    fn a_data_directory_is_made_for_its_owner_only() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("longshore/agent");
        let _opened = DataDir::open(&path).unwrap();
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
    }

    #[test]
    fn an_open_directory_is_closed_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        fs_err::set_permissions(directory.path(), open).unwrap();
        let _opened = DataDir::open(directory.path()).unwrap();
        let mode = fs_err::metadata(directory.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
    }

    #[test]
    fn a_second_agent_is_refused_until_the_first_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let first = DataDir::open(directory.path()).unwrap();
        let second = DataDir::open(directory.path()).unwrap_err();
        assert!(matches!(second, DataDirError::Taken(_)), "{second}");
        drop(first);
        DataDir::open(directory.path()).unwrap();
    }

    #[test]
    fn a_registration_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        assert!(data.registration().is_none());
        data.keep_registration(&Registered {
            host: HostId::new(1),
            fleet: FleetId::new(2),
            container_instance_arn: "arn".to_owned(),
            region: "eu-1".to_owned(),
            account: "0".to_owned(),
        });
        assert_eq!(data.registration().unwrap().region, "eu-1");
    }
}
