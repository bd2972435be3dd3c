//! The files of one container's log, read in order over their rotations.
//!
//! Docker writes to `FILE`, and when that is full renames it to `FILE.1`, that to `FILE.2` and so on,
//! the last one away. A place is an inode and an offset, and, because the number of a file that is
//! gone is used again, a checksum of how the file begins. Never: a write.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::record::{Beginning, Format, RECORD_BYTES_MAX};
use crate::runtime::local_log::{FILES, LOG_FOLDER};

/// Maximum of bytes that are read at once.
const READ_BYTES: usize = 256 * 1024;
/// Bytes of a file's beginning by which the file is known again.
const HEAD_BYTES: usize = 256;

/// How far the log was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogPosition {
    inode: u64,
    /// After the last whole record that was read.
    offset: u64,
    head_bytes: u32,
    head_crc: u32,
}

#[derive(Debug)]
pub(super) struct DockerLog {
    path: PathBuf,
    format: Format,
    open: Option<File>,
    place: LogPosition,
}

/// What one look at the log found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LogFinding<'a> {
    /// Whole records.
    Records(&'a [u8]),
    /// The log goes on in a newer file; `lost` when files between were gone before they were read,
    /// or the end of a file was no whole record.
    NextFile { lost: bool },
    /// What is no record, or longer than Docker writes any: skipped.
    Damage,
    /// Everything was read.
    Nothing,
}

impl DockerLog {
    pub(super) fn new(path: &Path, place: LogPosition) -> Self {
        DockerLog { path: path.to_owned(), format: Format::of(path), open: None, place }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    pub(super) fn place(&self) -> LogPosition {
        self.place
    }

    /// Closes what is open; the next look opens it again.
    pub(super) fn rest(&mut self) {
        self.open = None;
    }

    /// Reads on, by a buffer that may serve many logs; `complete` when nobody writes to it any more.
    /// An error says that the files cannot be read now.
    pub(super) fn read<'b>(
        &mut self,
        buffer: &'b mut Vec<u8>,
        complete: bool,
    ) -> io::Result<LogFinding<'b>> {
        if self.open.is_none() {
            let (file, place, lost) = self.reopened()?;
            (self.open, self.place) = (Some(file), place);
            if lost {
                return Ok(LogFinding::NextFile { lost });
            }
        }
        let Some(file) = &self.open else { return Ok(LogFinding::Nothing) };
        match fill(file, buffer, self.place.offset, self.format)? {
            Beginning::Part => {}
            filled => return Ok(taken(&mut self.place, buffer, filled)),
        }
        if inode_at(&self.path)? == Some(self.place.inode) {
            if file.metadata()?.len() < self.place.offset {
                // Something other than Docker cut it where it is, as logrotate's copytruncate does.
                self.place = LogPosition { inode: self.place.inode, ..LogPosition::default() };
                return Ok(LogFinding::NextFile { lost: true });
            }
            return match complete && has_more(file, self.place)? {
                true => past_torn(file, buffer, &mut self.place, self.format),
                false => Ok(LogFinding::Nothing),
            };
        }
        // The file was renamed, after which Docker writes no more to it; but it may have before.
        match fill(file, buffer, self.place.offset, self.format)? {
            Beginning::Part => {}
            filled => return Ok(taken(&mut self.place, buffer, filled)),
        }
        let torn = has_more(file, self.place)?;
        if torn && let LogFinding::Damage = past_torn(file, buffer, &mut self.place, self.format)? {
            return Ok(LogFinding::Damage);
        }
        let Some((next, inode, skipped)) = self.newer()? else { return Ok(LogFinding::Nothing) };
        self.open = Some(next);
        self.place = LogPosition { inode, ..LogPosition::default() };
        Ok(LogFinding::NextFile { lost: torn || skipped })
    }

    /// The file of [`Self::place`]; else the oldest one, and whether something was lost by that.
    fn reopened(&self) -> io::Result<(File, LogPosition, bool)> {
        let mut files = self.files()?;
        let at = files.iter().position(|(file, inode)| self.is_place_of(file, *inode));
        match at {
            Some(at) => Ok((files.swap_remove(at).0, self.place, false)),
            None => {
                let (file, inode) =
                    files.pop().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                let lost = self.place != LogPosition::default();
                Ok((file, LogPosition { inode, ..LogPosition::default() }, lost))
            }
        }
    }

    fn is_place_of(&self, file: &File, inode: u64) -> bool {
        let LogPosition { offset, head_bytes, head_crc, .. } = self.place;
        let mut head = vec![0; (head_bytes as usize).min(HEAD_BYTES)];
        inode == self.place.inode
            && file.metadata().is_ok_and(|metadata| metadata.len() >= offset)
            && file.read_exact_at(&mut head, 0).is_ok()
            && crc32fast::hash(&head) == head_crc
    }

    /// The file after the one that is open, and whether others were between.
    fn newer(&self) -> io::Result<Option<(File, u64, bool)>> {
        let mut files = self.files()?;
        match files.iter().position(|(_, inode)| *inode == self.place.inode) {
            Some(0) => Ok(None),
            Some(at) => {
                let (file, inode) = files.swap_remove(at - 1);
                Ok(Some((file, inode, false)))
            }
            None => Ok(files.pop().map(|(file, inode)| (file, inode, true))),
        }
    }

    /// The newest first. A rotation meanwhile renames towards the end, so that none is missed.
    fn files(&self) -> io::Result<Vec<(File, u64)>> {
        let mut files: Vec<(File, u64)> = Vec::with_capacity(FILES);
        for number in 0..FILES {
            let mut path = self.path.clone().into_os_string();
            if number > 0 {
                path.push(format!(".{number}"));
            }
            match File::open(path) {
                Ok(file) => {
                    let inode = file.metadata()?.ino();
                    if files.iter().all(|(_, known)| *known != inode) {
                        files.push((file, inode));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }
}

fn inode_at(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.ino())),
        // Between the two renames of a rotation.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads from `offset`: what is there by now.
fn fill(file: &File, buffer: &mut Vec<u8>, offset: u64, format: Format) -> io::Result<Beginning> {
    let mut wanted = READ_BYTES;
    loop {
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        let mut read = 0;
        while read < wanted {
            match file.read_at(&mut buffer[read..wanted], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        match format.beginning(&buffer[..read]) {
            Beginning::Part if read < wanted => return Ok(Beginning::Part),
            Beginning::Part if wanted >= RECORD_BYTES_MAX => return Ok(Beginning::Damage(read)),
            Beginning::Part => wanted = RECORD_BYTES_MAX,
            filled => return Ok(filled),
        }
    }
}

fn has_more(file: &File, place: LogPosition) -> io::Result<bool> {
    Ok(file.metadata()?.len() > place.offset)
}

/// The record that begins here is never completed: the records behind it are read none the less.
fn past_torn(
    file: &File,
    buffer: &mut Vec<u8>,
    place: &mut LogPosition,
    format: Format,
) -> io::Result<LogFinding<'static>> {
    let length = file.metadata()?.len().saturating_sub(place.offset) as usize;
    buffer.resize(length.min(RECORD_BYTES_MAX).max(buffer.len()), 0);
    let rest = &mut buffer[..length.min(RECORD_BYTES_MAX)];
    file.read_exact_at(rest, place.offset)?;
    Ok(match format.torn(rest) {
        Some(length) => {
            taken(place, &rest[..length], Beginning::Damage(length));
            LogFinding::Damage
        }
        None => LogFinding::Nothing,
    })
}

fn taken<'b>(place: &mut LogPosition, buffer: &'b [u8], filled: Beginning) -> LogFinding<'b> {
    let (length, records) = match filled {
        Beginning::Records(length) => (length, true),
        Beginning::Damage(length) => (length, false),
        Beginning::Part => return LogFinding::Nothing,
    };
    let bytes = &buffer[..length];
    if place.offset == 0 {
        let head = &bytes[..length.min(HEAD_BYTES)];
        place.head_bytes = head.len() as u32;
        place.head_crc = crc32fast::hash(head);
    }
    place.offset += length as u64;
    match records {
        true => LogFinding::Records(bytes),
        false => LogFinding::Damage,
    }
}

/// Docker's folder of all containers, in which each one's folder holds its log.
pub(super) fn folder_of_containers(log: &Path) -> Option<&Path> {
    let folder = log.parent()?;
    match folder.file_name() {
        Some(name) if name == LOG_FOLDER => folder.parent()?.parent(),
        _ => folder.parent(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::{
        super::record::{LogEntry, frame_of},
        *,
    };
    use crate::runtime::local_log::LOG_FILE;

    struct Written {
        folder: tempfile::TempDir,
        log: DockerLog,
    }

    impl Written {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let log = DockerLog::new(&folder.path().join("x-json.log"), LogPosition::default());
            let written = Written { folder, log };
            written.write("");
            written
        }

        fn path(&self, number: usize) -> PathBuf {
            let ending = if number == 0 { String::new() } else { format!(".{number}") };
            self.folder.path().join(format!("x-json.log{ending}"))
        }

        fn write(&self, text: &str) {
            let mut file =
                fs::OpenOptions::new().create(true).append(true).open(self.path(0)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        /// As Docker does it.
        fn rotate(&self) {
            for number in (1..FILES).rev() {
                let _ = fs::rename(self.path(number - 1), self.path(number));
            }
            self.write("");
        }

        /// A new agent, at the place where the old one was.
        fn restart(&mut self) {
            let saved = rmp_serde::to_vec(&self.log.place()).unwrap();
            self.log = DockerLog::new(&self.path(0), rmp_serde::from_slice(&saved).unwrap());
        }

        fn read_all(&mut self) -> String {
            let (mut read, mut buffer) = (String::new(), Vec::new());
            loop {
                match self.log.read(&mut buffer, false).unwrap() {
                    LogFinding::Records(lines) => {
                        read.push_str(std::str::from_utf8(lines).unwrap())
                    }
                    LogFinding::NextFile { lost } => read.push_str(if lost { "LOST " } else { "" }),
                    LogFinding::Damage => read.push_str("OVERLONG "),
                    LogFinding::Nothing => return read,
                }
            }
        }
    }

    #[test]
    fn only_whole_lines_are_read_each_once() {
        let mut log = Written::new();
        log.write("a\nb\nhal");
        assert_eq!(log.read_all(), "a\nb\n");
        log.write("f\n");
        assert_eq!(log.read_all(), "half\n");
        assert_eq!(log.read_all(), "");
    }

    #[test]
    fn a_rotation_is_followed_also_by_an_agent_that_restarts() {
        for restart in [false, true] {
            let mut log = Written::new();
            let mut expected = String::new();
            let mut read = String::new();
            for round in 0..20 {
                for line in 0..3 {
                    let text = format!("{round} {line}\n");
                    log.write(&text);
                    expected.push_str(&text);
                    if round % 4 == 0 {
                        read.push_str(&log.read_all());
                    }
                }
                if restart {
                    log.restart();
                }
                log.rotate();
            }
            read.push_str(&log.read_all());
            assert_eq!(read, expected, "restart {restart}");
        }
    }

    #[test]
    fn what_was_rotated_away_unread_is_said_to_be_lost() {
        let mut log = Written::new();
        log.write("first\n");
        assert_eq!(log.read_all(), "first\n");
        for round in 0..=FILES {
            log.write(&format!("{round}\n"));
            log.rotate();
        }
        assert_eq!(log.read_all(), "0\nLOST 2\n3\n4\n5\n");
        let mut log = Written::new();
        log.write("first\n");
        log.read_all();
        for round in 0..=FILES {
            log.rotate();
            log.write(&format!("{round}\n"));
        }
        log.restart();
        assert_eq!(log.read_all(), "LOST 1\n2\n3\n4\n5\n");
    }

    #[test]
    fn log_that_was_cut_where_it_is_is_read_from_its_beginning() {
        let mut log = Written::new();
        log.write("first line\nsecond line\n");
        assert_eq!(log.read_all(), "first line\nsecond line\n");
        fs::write(log.path(0), "").unwrap();
        assert_eq!(log.read_all(), "LOST ");
        log.write("third\n");
        assert_eq!(log.read_all(), "third\n");
        log.restart();
        log.write("fourth\n");
        assert_eq!(log.read_all(), "fourth\n");
    }

    #[test]
    fn a_file_with_the_number_of_an_older_one_is_not_taken_for_it() {
        let mut log = Written::new();
        log.write("old line\n");
        log.read_all();
        let place = log.log.place();
        fs::write(log.path(0), "new line\nnew\n").unwrap();
        log.log = DockerLog::new(&log.path(0), place);
        assert_eq!(log.read_all(), "LOST new line\nnew\n");
    }

    #[test]
    fn lines_of_any_length_that_docker_writes_are_read() {
        let mut log = Written::new();
        let long = "x".repeat(READ_BYTES * 2) + "\n";
        log.write(&long);
        log.write("short\n");
        assert_eq!(log.read_all(), long + "short\n");
        log.write(&"y".repeat(RECORD_BYTES_MAX));
        log.write("tail\nnext\n");
        assert_eq!(log.read_all(), "OVERLONG tail\nnext\n");
    }

    /// A disk was full, a machine lost its power: what Docker wrote after that is read, at the
    /// container's end or when the file is full.
    #[test]
    fn records_behind_a_torn_one_are_read_once_nobody_goes_on_with_it() {
        let record = |line: &str| {
            let line = line.as_bytes().to_vec();
            frame_of(&LogEntry {
                source: "stdout".to_owned(),
                time_nano: 1,
                line,
                ..LogEntry::default()
            })
        };
        let (torn, behind) = (&record(&"x".repeat(1000))[..100], record("behind"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOG_FILE);
        for rotated in [false, true] {
            fs::write(&path, [&record("before")[..], torn, &behind].concat()).unwrap();
            let mut log = DockerLog::new(&path, LogPosition::default());
            let mut buffer = Vec::new();
            let before = record("before");
            assert_eq!(log.read(&mut buffer, false).unwrap(), LogFinding::Records(&before));
            assert_eq!(log.read(&mut buffer, false).unwrap(), LogFinding::Nothing);
            if rotated {
                fs::rename(&path, folder.path().join(format!("{LOG_FILE}.1"))).unwrap();
                fs::write(&path, []).unwrap();
            }
            assert_eq!(log.read(&mut buffer, !rotated).unwrap(), LogFinding::Damage);
            assert_eq!(log.read(&mut buffer, !rotated).unwrap(), LogFinding::Records(&behind));
        }
    }

    #[test]
    fn the_folder_of_all_containers_is_above_either_form_of_log() {
        for log in ["/d/containers/abc/abc-json.log", "/d/containers/abc/local-logs/container.log"]
        {
            assert_eq!(folder_of_containers(Path::new(log)), Some(Path::new("/d/containers")));
        }
    }

    #[test]
    fn a_log_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = DockerLog::new(&folder.path().join("none"), LogPosition::default());
        assert_eq!(log.read(&mut Vec::new(), false).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
