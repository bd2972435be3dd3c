//! Records of the files in which Docker keeps what a container writes.
//!
//! `local` is what containers are made with: protocol buffers, with the bytes that were written.
//! `json-file`, which older agents asked for, is `{"log":"text\n","stream":"stdout","time":"…"}`: it
//! cuts a long line every 16 KiB of bytes and replaces what of a character is left on either side.

use std::path::Path;

use longshore_common::clock::Timestamp;
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::runtime::local_log::LOG_FILE;

/// How a record of `json-file` begins; a line that a crash of Docker cut off goes on with the next
/// one's beginning.
const BEGINNING: &str = r#"{"log":"#;
/// Bytes of the size that `local` writes before a record and after it.
const SIZE_BYTES: usize = 4;
/// Maximum of bytes of a record of Docker's: 16 KiB of a line, each byte written as six in
/// `json-file`.
pub(super) const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// What a container wrote at once: a line, or a part of one that is longer than Docker's buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) output: Output,
    pub(super) at: Timestamp,
    /// Without its newline.
    pub(super) bytes: Vec<u8>,
    /// True where the line ends here; else it continues in the next record of this output.
    pub(super) ends_line: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Output {
    #[default]
    Stdout,
    Stderr,
}

impl Output {
    fn named(stream: &str) -> Self {
        match stream {
            "stderr" => Output::Stderr,
            _ => Output::Stdout,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    JsonFile,
    Local,
}

/// What the beginning of some bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Number of bytes that are whole records.
    Records(usize),
    /// More bytes may make it a record.
    Part,
    /// Number of bytes that are no record, and never will be.
    Damage(usize),
}

impl Format {
    pub(super) fn of(path: &Path) -> Self {
        match path.file_name().is_some_and(|name| name == LOG_FILE) {
            true => Format::Local,
            false => Format::JsonFile,
        }
    }

    pub(super) fn beginning(self, bytes: &[u8]) -> Beginning {
        match self {
            Format::JsonFile => match bytes.iter().rposition(|byte| *byte == b'\n') {
                Some(last) => Beginning::Records(last + 1),
                None => Beginning::Part,
            },
            Format::Local => local_beginning(bytes),
        }
    }

    /// Length of the cut-off record at the beginning of `bytes`; `None` when no whole record follows it.
    /// Always `None` for `json-file`, where a cut line runs on into the next record.
    pub(super) fn torn(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Format::JsonFile => None,
            Format::Local => Some(damage(bytes)).filter(|length| *length < bytes.len()),
        }
    }

    /// Calls `take` with each of these whole records, and its size; absent when it is none.
    pub(super) fn each(self, records: &[u8], mut take: impl FnMut(Option<Record>, usize)) {
        match self {
            Format::JsonFile => {
                for line in records.split_inclusive(|byte| *byte == b'\n') {
                    take(parse(line), line.len());
                }
            }
            Format::Local => {
                let mut rest = records;
                while let Framed::Whole(size) = framed(rest) {
                    let (frame, others) = rest.split_at(size);
                    take(parse_local(inside(frame)), size);
                    rest = others;
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    log: String,
    #[serde(default)]
    stream: String,
    time: String,
}

/// Reads one line of `json-file`; absent when it is no record.
fn parse(line: &[u8]) -> Option<Record> {
    let written = match serde_json::from_slice::<Written>(line) {
        Ok(written) => written,
        Err(_) => {
            let text = std::str::from_utf8(line).ok()?;
            let last = text.rfind(BEGINNING).filter(|at| *at > 0)?;
            serde_json::from_str(&text[last..]).ok()?
        }
    };
    let at = written.time.parse::<jiff::Timestamp>().ok()?.as_millisecond();
    let mut bytes = written.log.into_bytes();
    let ends_line = bytes.ends_with(b"\n");
    if ends_line {
        bytes.pop();
    }
    let at = Timestamp(u64::try_from(at).unwrap_or_default());
    Some(Record { output: Output::named(&written.stream), at, bytes, ends_line })
}

/// Docker's `LogEntry`, which its log plugins get too.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LogEntry {
    #[prost(string, tag = "1")]
    pub(super) source: String,
    #[prost(int64, tag = "2")]
    pub(super) time_nano: i64,
    /// Without its newline.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) line: Vec<u8>,
    #[prost(bool, tag = "4")]
    pub(super) partial: bool,
    #[prost(message, optional, tag = "5")]
    pub(super) part: Option<Part>,
}

/// Which part of a line it is.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Part {
    #[prost(bool, tag = "1")]
    pub(super) last: bool,
}

fn parse_local(entry: &[u8]) -> Option<Record> {
    let LogEntry { source, time_nano, line, partial, part } = LogEntry::decode(entry).ok()?;
    Some(Record {
        output: Output::named(&source),
        at: Timestamp(u64::try_from(time_nano / 1_000_000).unwrap_or_default()),
        bytes: line,
        ends_line: !partial || part.is_some_and(|part| part.last),
    })
}

enum Framed {
    /// A whole record; the number counts its bytes with its sizes.
    Whole(usize),
    Part,
    Damage,
}

fn size_at(bytes: &[u8], at: usize) -> Option<usize> {
    let size = bytes.get(at..at + SIZE_BYTES)?.try_into().ok()?;
    Some(u32::from_be_bytes(size) as usize)
}

fn framed(bytes: &[u8]) -> Framed {
    let Some(size) = size_at(bytes, 0) else { return Framed::Part };
    let whole = size + 2 * SIZE_BYTES;
    // A record has its time at least: zeros are what a power cut leaves.
    if size == 0 || whole > RECORD_BYTES_MAX {
        return Framed::Damage;
    }
    match size_at(bytes, SIZE_BYTES + size) {
        Some(again) if again == size => Framed::Whole(whole),
        Some(_) => Framed::Damage,
        None => Framed::Part,
    }
}

fn inside(frame: &[u8]) -> &[u8] {
    &frame[SIZE_BYTES..frame.len() - SIZE_BYTES]
}

fn local_beginning(bytes: &[u8]) -> Beginning {
    let mut length = 0;
    loop {
        match framed(&bytes[length..]) {
            Framed::Whole(size) => length += size,
            Framed::Part | Framed::Damage if length > 0 => return Beginning::Records(length),
            Framed::Part => return Beginning::Part,
            Framed::Damage => return Beginning::Damage(damage(bytes)),
        }
    }
}

/// How many bytes come before the next record: a crash of Docker left a part of one, and the next
/// Docker wrote on behind it.
fn damage(bytes: &[u8]) -> usize {
    let begins = |at: &usize| match framed(&bytes[*at..]) {
        Framed::Whole(size) => parse_local(inside(&bytes[*at..*at + size])).is_some(),
        Framed::Part | Framed::Damage => false,
    };
    (1..bytes.len()).find(begins).unwrap_or(bytes.len())
}

/// As `local` writes a record.
#[cfg(test)]
pub(super) fn frame_of(entry: &LogEntry) -> Vec<u8> {
    let entry = entry.encode_to_vec();
    let size = (entry.len() as u32).to_be_bytes();
    [&size[..], &entry, &size].concat()
}

#[cfg(test)]
mod tests;
