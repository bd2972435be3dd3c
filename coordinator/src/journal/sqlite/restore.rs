//! A backup takes the journal's place: checked first, then put there whole, with what was there kept
//! beside it. If a restore is broken off at any point, either nothing has changed or the next start
//! completes it. The copy bears a mark, so that no start takes it for the journal that it was left
//! off from.
//!
//! Never: a write-ahead log beside a database that it does not belong to. SQLite would read the two
//! as one.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use longshore_common::data_directory;
use rusqlite::{Connection, OpenFlags, params, types::Value};
use rustix::fs::{CWD, Mode, OFlags};

use super::{
    format::{
        FILE_NAME, FORMAT, OpenError, RESTORING, format_of, require_format, require_own_log,
        with_log,
    },
    history_rows::{self, DamagedRow},
    integrity::{damaged_history, integrity_of},
    rebuild::{RESTORED_UP_TO, recover_from},
    schema::put_meta,
};
use crate::journal::lock::DirectoryLock;

/// The copy while it is written and checked. Worth nothing after a crash.
const COPYING: &str = "journal.db.copying";
const NO_JOURNAL: &str = "it is no journal of a coordinator";
/// Maximum number of damaged rows of the history that a refusal names (ours).
const DAMAGED_NAMED: usize = 3;
/// Maximum number of copies of one folder that can be kept beside each other (ours).
const KEPT_MAX: u32 = 10_000;

/// What a restore has done, for whoever asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Path of the journal that was there before.
    pub kept: Option<PathBuf>,
    pub hosts: usize,
    pub tasks: usize,
    /// Rows of its history that were damaged.
    pub left_out: Vec<DamagedRow>,
}

/// What becomes of damaged rows of the history, on which nothing that runs depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamagedHistory {
    Refused,
    /// All else of the backup is restored.
    LeftOut,
}

/// Why a backup is not put into the journal's place, which is then as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(
        "cannot restore into {}: start the coordinator there once, or make the folder for its user, \
         and name it with --data-dir", .0.display()
    )]
    NoFolder(PathBuf, #[source] io::Error),
    #[error("cannot read the backup {}", .0.display())]
    NoBackup(PathBuf, #[source] io::Error),
    #[error("{} is not changed", .directory.display())]
    Open { directory: PathBuf, source: OpenError },
    #[error("the backup {} is damaged ({what}): take an earlier one", .path.display())]
    Damaged { path: PathBuf, what: String },
    #[error(
        "the history in the backup {} is damaged ({named}; {rows} in all): take an earlier one, or restore \
         this one without those rows with --leave-out-damaged-history. What hosts run does not depend on \
         them: they tell what has stopped, what was deployed, and what services said", .path.display()
    )]
    DamagedHistory { path: PathBuf, rows: usize, named: String },
    #[error(
        "the restore could not be done in {}, where the journal is as it was or as the backup has it: mend \
         the cause and run it again", .0.display()
    )]
    Io(PathBuf, #[source] io::Error),
}

/// Puts a copy of `from` into the place of the journal in `directory`, which no coordinator may be
/// serving. Files get the folder's owner, who need not be who asks.
pub fn restore(
    directory: &Path,
    from: &Path,
    history: DamagedHistory,
) -> Result<Restored, RestoreError> {
    let io = |error| RestoreError::Io(directory.to_owned(), error);
    let open = |source| RestoreError::Open { directory: directory.to_owned(), source };
    let folder = fs::metadata(directory)
        .map_err(|error| RestoreError::NoFolder(directory.to_owned(), error))?;
    let lock = DirectoryLock::take(directory).map_err(io)?;
    let lock = lock.ok_or_else(|| open(OpenError::InUse(directory.to_owned())))?;
    lock.give_to(folder.uid(), folder.gid()).map_err(io)?;
    let copy = directory.join(COPYING);
    let clear = || remove_with_log(&copy);
    clear().map_err(io)?;
    let checked = match copied(directory, &folder, from, &copy, history) {
        Ok(checked) => checked,
        Err(error) => {
            // Half a copy on a full disk would keep the coordinator from starting.
            clear().map_err(io)?;
            return Err(error);
        }
    };
    fs::rename(&copy, directory.join(RESTORING)).map_err(io)?;
    let kept = finish(directory).map_err(io)?;
    let Checked { hosts, tasks, left_out } = checked;
    Ok(Restored { kept, hosts, tasks, left_out })
}

/// What a backup holds.
struct Checked {
    hosts: usize,
    tasks: usize,
    left_out: Vec<DamagedRow>,
}

/// A whole copy of the backup in one file, read as a start would read it.
fn copied(
    directory: &Path,
    folder: &fs::Metadata,
    from: &Path,
    copy: &Path,
    history: DamagedHistory,
) -> Result<Checked, RestoreError> {
    let io = |error| RestoreError::Io(directory.to_owned(), error);
    let no_backup = |error| RestoreError::NoBackup(from.to_owned(), error);
    let mut source = fs::File::open(from).map_err(no_backup)?;
    if !source.metadata().map_err(no_backup)?.is_file() {
        return Err(no_backup(io::Error::other("it is not a file")));
    }
    let mut target = owned(copy, folder).map_err(io)?;
    io::copy(&mut source, &mut target).map_err(io)?;
    let [_, log, _] = with_log(from);
    if let Ok(mut source) = fs::File::open(log) {
        // What `backup` writes has none; a copy of a whole data folder has, and it belongs to it.
        let [_, log, _] = with_log(copy);
        io::copy(&mut source, &mut owned(&log, folder).map_err(io)?).map_err(io)?;
    }
    let checked = make_one_file(copy, from, history)?;
    target.sync_all().map_err(io)?;
    Ok(checked)
}

/// Does what is left of a restore once its copy is checked, if one is under way: moves the journal
/// aside, its log first, so that neither is ever beside a file that it does not belong to.
pub(super) fn finish(directory: &Path) -> io::Result<Option<PathBuf>> {
    let restoring = directory.join(RESTORING);
    if !restoring.try_exists()? {
        return Ok(None);
    }
    sync(directory)?;
    let [journal, log, index] = with_log(&directory.join(FILE_NAME));
    // Made anew by whoever opens the database.
    remove(&index)?;
    let mut kept = None;
    if journal.try_exists()? {
        let aside = free_name(directory)?;
        let [_, log_aside, _] = with_log(&aside);
        if log.try_exists()? {
            fs::rename(&log, log_aside)?;
            sync(directory)?;
        }
        fs::rename(&journal, &aside)?;
        kept = Some(aside);
    } else {
        // Without its database a log is nothing.
        remove(&log)?;
    }
    sync(directory)?;
    fs::rename(&restoring, &journal)?;
    sync(directory)?;
    tracing::info!(path = %journal.display(), "a backup has taken the journal's place");
    Ok(kept)
}

/// Checks the copy as a start would read it, its history too, and brings its log into it.
fn make_one_file(
    copy: &Path,
    from: &Path,
    history: DamagedHistory,
) -> Result<Checked, RestoreError> {
    let damaged = |what: String| RestoreError::Damaged { path: from.to_owned(), what };
    let sqlite = |error: rusqlite::Error| damaged(error.to_string());
    // Whatever SQLite finds wrong with the copy is wrong with the backup, whose name is known.
    let named = |error: OpenError| match error {
        OpenError::NotAJournal(_) => damaged(NO_JOURNAL.to_owned()),
        OpenError::Damaged(_, what) => damaged(what),
        OpenError::Newer { found, .. } => {
            damaged(format!("it has format {found}, of a newer release: start that release"))
        }
        error => damaged(error.to_string()),
    };
    if require_own_log(copy).is_err() {
        return Err(damaged("beside it is another journal's write-ahead log".to_owned()));
    }
    let connection =
        Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sqlite)?;
    require_format(&connection, copy).map_err(named)?;
    if format_of(&connection).map_err(sqlite)? == 0 {
        return Err(damaged(NO_JOURNAL.to_owned()));
    }
    if let Some(problem) = integrity_of(&connection).map_err(sqlite)?.into_iter().next() {
        return Err(damaged(problem));
    }
    let (state, _) = recover_from(&connection).map_err(|error| damaged(error.to_string()))?;
    if let Some(problem) = state.check().into_iter().next() {
        return Err(damaged(problem));
    }
    let left_out = damaged_history(&connection).map_err(sqlite)?;
    if !left_out.is_empty() && history == DamagedHistory::Refused {
        let named: Vec<String> =
            left_out.iter().take(DAMAGED_NAMED).map(DamagedRow::to_string).collect();
        let (path, rows, named) = (from.to_owned(), left_out.len(), named.join("; "));
        return Err(RestoreError::DamagedHistory { path, rows, named });
    }
    history_rows::remove(&connection, &left_out).map_err(sqlite)?;
    mark_as_restored(&connection, state.seq()).map_err(sqlite)?;
    connection.pragma_update(None, "journal_mode", "DELETE").map_err(sqlite)?;
    Ok(Checked { hosts: state.hosts_len(), tasks: state.tasks_len(), left_out })
}

/// Whatever the journal holds beyond this batch was written after the restore. A mark that came with
/// the backup is of an earlier one.
fn mark_as_restored(connection: &Connection, seq: u64) -> Result<(), rusqlite::Error> {
    if format_of(connection)? == FORMAT {
        return put_meta(connection, RESTORED_UP_TO, Value::Integer(seq as i64));
    }
    let put = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
    connection.execute(put, params![RESTORED_UP_TO, seq]).map(drop)
}

/// A name for the journal that was there, which no earlier one has.
fn free_name(directory: &Path) -> io::Result<PathBuf> {
    for number in 1..=KEPT_MAX {
        let name = directory.join(format!("journal-before-restore-{number}.db"));
        if !name.try_exists()? {
            return Ok(name);
        }
    }
    Err(io::Error::other("too many journals of earlier restores are kept: remove some"))
}

/// Removes a database that is worth nothing, where there is one.
pub(super) fn remove_with_log(database: &Path) -> io::Result<()> {
    let rollback_journal = {
        let mut path = database.as_os_str().to_owned();
        path.push("-journal");
        PathBuf::from(path)
    };
    with_log(database).iter().chain([&rollback_journal]).try_for_each(|path| remove(path))
}

/// A new file that its owner alone may read, of the folder's owner.
fn owned(path: &Path, folder: &fs::Metadata) -> io::Result<fs::File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::File::from(rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600))?);
    data_directory::give_to_owner_of(folder, path)?;
    Ok(file)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn sync(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}
