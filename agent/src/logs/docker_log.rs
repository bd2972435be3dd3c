//! The files of one container's `json-file` log, read in order over their rotations.
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

use crate::plan::awslogs::FILES;

/// What is read at once.
const READ_BYTES: usize = 256 * 1024;
/// A longer line is none of Docker's: 16 KiB of text, each byte written as six.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// By so much of its beginning a file is known again.
const HEAD_BYTES: usize = 256;

/// How far the log was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    inode: u64,
    /// After the last whole line that was read.
    offset: u64,
    head_bytes: u32,
    head_crc: u32,
}

#[derive(Debug)]
pub(super) struct DockerLog {
    path: PathBuf,
    open: Option<File>,
    place: Place,
}

/// What one look at the log found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// Whole lines, each with its newline.
    Lines(&'a [u8]),
    /// The log goes on in a newer file; `lost` when files between were gone before they were read,
    /// or the end of a file was no whole line.
    NextFile { lost: bool },
    /// A line that is longer than Docker writes any: skipped.
    Overlong,
    /// Everything was read.
    Nothing,
}

impl DockerLog {
    pub(super) fn new(path: &Path, place: Place) -> Self {
        DockerLog { path: path.to_owned(), open: None, place }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Closes what is open; the next look opens it again.
    pub(super) fn rest(&mut self) {
        self.open = None;
    }

    /// Reads on, by a buffer that may serve many logs. An error says that the files cannot be read
    /// now.
    pub(super) fn read<'b>(&mut self, buffer: &'b mut Vec<u8>) -> io::Result<Found<'b>> {
        if self.open.is_none() {
            let (file, place, lost) = self.reopened()?;
            (self.open, self.place) = (Some(file), place);
            if lost {
                return Ok(Found::NextFile { lost });
            }
        }
        let Some(file) = &self.open else { return Ok(Found::Nothing) };
        if let Some(length) = fill(file, buffer, self.place.offset)? {
            return Ok(taken(&mut self.place, buffer, length));
        }
        if inode_at(&self.path)? == Some(self.place.inode) {
            return Ok(Found::Nothing);
        }
        // The file was renamed, after which Docker writes no more to it; but it may have before.
        if let Some(length) = fill(file, buffer, self.place.offset)? {
            return Ok(taken(&mut self.place, buffer, length));
        }
        let torn = file.metadata()?.len() > self.place.offset;
        let Some((next, inode, skipped)) = self.newer()? else { return Ok(Found::Nothing) };
        self.open = Some(next);
        self.place = Place { inode, ..Place::default() };
        Ok(Found::NextFile { lost: torn || skipped })
    }

    /// The file of [`Self::place`]; else the oldest one, and whether something was lost by that.
    fn reopened(&self) -> io::Result<(File, Place, bool)> {
        let mut files = self.files()?;
        let at = files.iter().position(|(file, inode)| self.is_place_of(file, *inode));
        match at {
            Some(at) => Ok((files.swap_remove(at).0, self.place, false)),
            None => {
                let (file, inode) =
                    files.pop().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                let lost = self.place != Place::default();
                Ok((file, Place { inode, ..Place::default() }, lost))
            }
        }
    }

    fn is_place_of(&self, file: &File, inode: u64) -> bool {
        let Place { offset, head_bytes, head_crc, .. } = self.place;
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

/// Reads from `offset`; the length of the whole lines, or of all when none ends within the limit.
fn fill(file: &File, buffer: &mut Vec<u8>, offset: u64) -> io::Result<Option<usize>> {
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
        if let Some(last) = buffer[..read].iter().rposition(|byte| *byte == b'\n') {
            return Ok(Some(last + 1));
        }
        if read < wanted {
            return Ok(None);
        }
        if wanted >= LINE_BYTES_MAX {
            return Ok(Some(read));
        }
        wanted = LINE_BYTES_MAX;
    }
}

fn taken<'b>(place: &mut Place, buffer: &'b [u8], length: usize) -> Found<'b> {
    let lines = &buffer[..length];
    if place.offset == 0 {
        let head = &lines[..length.min(HEAD_BYTES)];
        place.head_bytes = head.len() as u32;
        place.head_crc = crc32fast::hash(head);
    }
    place.offset += length as u64;
    match lines.last() {
        Some(b'\n') => Found::Lines(lines),
        _ => Found::Overlong,
    }
}

/// Docker's folder of all containers, in which each one's folder holds its log.
pub(super) fn folder_of_containers(log: &Path) -> Option<&Path> {
    log.parent()?.parent()
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    struct Written {
        folder: tempfile::TempDir,
        log: DockerLog,
    }

    impl Written {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let log = DockerLog::new(&folder.path().join("x-json.log"), Place::default());
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
                match self.log.read(&mut buffer).unwrap() {
                    Found::Lines(lines) => read.push_str(std::str::from_utf8(lines).unwrap()),
                    Found::NextFile { lost } => read.push_str(if lost { "LOST " } else { "" }),
                    Found::Overlong => read.push_str("OVERLONG "),
                    Found::Nothing => return read,
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
        log.write(&"y".repeat(LINE_BYTES_MAX));
        log.write("tail\nnext\n");
        assert_eq!(log.read_all(), "OVERLONG tail\nnext\n");
    }

    #[test]
    fn a_log_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = DockerLog::new(&folder.path().join("none"), Place::default());
        assert_eq!(log.read(&mut Vec::new()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
