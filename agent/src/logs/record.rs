//! Lines of Docker's `json-file` logs: `{"log":"text\n","stream":"stdout","time":"…"}`.

use longshore_common::clock::Timestamp;
use serde::{Deserialize, Serialize};

/// How a record begins; a line that a crash of Docker cut off goes on with the next one's beginning.
const BEGINNING: &str = r#"{"log":"#;

/// What a container wrote at once: a line, or a part of one that is longer than Docker's buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) output: Output,
    pub(super) at: Timestamp,
    /// Without its newline.
    pub(super) text: String,
    /// The line ends here; else it goes on in the next record of this output.
    pub(super) ends_line: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Output {
    #[default]
    Stdout,
    Stderr,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    log: String,
    #[serde(default)]
    stream: String,
    time: String,
}

/// Reads one line of the file; absent when it is no record.
pub(super) fn parse(line: &[u8]) -> Option<Record> {
    let written = match serde_json::from_slice::<Written>(line) {
        Ok(written) => written,
        Err(_) => {
            let text = std::str::from_utf8(line).ok()?;
            let last = text.rfind(BEGINNING).filter(|at| *at > 0)?;
            serde_json::from_str(&text[last..]).ok()?
        }
    };
    let at = written.time.parse::<jiff::Timestamp>().ok()?.as_millisecond();
    let mut text = written.log;
    let ends_line = text.ends_with('\n');
    if ends_line {
        text.pop();
    }
    Some(Record {
        output: match written.stream.as_str() {
            "stderr" => Output::Stderr,
            _ => Output::Stdout,
        },
        at: Timestamp(u64::try_from(at).unwrap_or_default()),
        text,
        ends_line,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<(Output, u64, String, bool)> {
        parse(line.as_bytes()).map(|r| (r.output, r.at.0, r.text, r.ends_line))
    }

    const TIME: &str = "2026-01-02T03:04:05.678901234Z";
    const MS: u64 = 1_767_323_045_678;

    #[test]
    fn lines_parts_and_outputs_are_told_apart() {
        let line = |log: &str, stream: &str| {
            serde_json::json!({ "log": log, "stream": stream, "time": TIME }).to_string()
        };
        let stdout = |text: &str, ends| Some((Output::Stdout, MS, text.to_owned(), ends));
        assert_eq!(parsed(&line("a \"b\"\u{1b}\n", "stdout")), stdout("a \"b\"\u{1b}", true));
        assert_eq!(parsed(&line("part", "stdout")), stdout("part", false));
        assert_eq!(parsed(&line("\n", "stdout")), stdout("", true));
        assert_eq!(
            parsed(&line("x\n", "stderr")),
            Some((Output::Stderr, MS, "x".to_owned(), true))
        );
    }

    #[test]
    fn attributes_beside_a_record_do_not_matter() {
        let line =
            format!(r#"{{"log":"x\n","attrs":{{"a":"b"}},"stream":"stdout","time":"{TIME}"}}"#);
        assert_eq!(parsed(&line).unwrap().2, "x");
    }

    #[test]
    fn after_a_record_that_was_cut_off_the_next_one_is_read() {
        let line =
            format!(r#"{{"log":"half of i{{"log":"whole\n","stream":"stdout","time":"{TIME}"}}"#);
        assert_eq!(parsed(&line).unwrap().2, "whole");
        assert_eq!(parsed(r#"{"log":"half of i"#), None);
        assert_eq!(parsed("\0\0\0"), None);
    }
}
