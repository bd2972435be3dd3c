//! Makes events of Docker's records: joins parts of long lines, and lines that belong together.
//!
//! What is still open (half a line, an event that may go on) is part of the cursor, so that a restart
//! goes on in the middle of it. Never: an event without text, or one longer than CloudWatch Logs takes.

use std::time::Duration;

use longshore_common::{
    clock::Timestamp,
    logs::{event_start::EventStart, query::LOG_MESSAGE_BYTES_MAX, store::NewEvent},
};
use serde::{Deserialize, Serialize};

use super::record::{Output, Record};

/// Pause after which an event of several lines ends.
pub(super) const EVENT_QUIET: Duration = Duration::from_secs(1);

/// What is open of one container's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Assembly {
    /// A line without its end, of each output.
    stdout: Option<Line>,
    stderr: Option<Line>,
    /// An event to which lines may be added.
    event: Option<Text>,
}

/// Docker cuts long lines by bytes, also within a character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    /// When its first part was written.
    at: Timestamp,
    /// Under the name that it had when it was text.
    #[serde(rename = "text", with = "bytes_or_text")]
    bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Text {
    /// When its first part was written.
    at: Timestamp,
    text: String,
}

impl Assembly {
    /// Takes the next record; what it completes is added to `events`.
    pub(super) fn take(
        &mut self,
        record: Record,
        start: Option<&EventStart>,
        events: &mut Vec<NewEvent>,
    ) {
        let mut line = match self.open(record.output).take() {
            None => Line { at: record.at, bytes: record.bytes },
            Some(mut line) => {
                line.bytes.extend_from_slice(&record.bytes);
                line
            }
        };
        // What is full of an endless line need not wait for its end.
        while line.bytes.len() > LOG_MESSAGE_BYTES_MAX {
            let rest = line.bytes.split_off(boundary(&line.bytes));
            let bytes = std::mem::replace(&mut line.bytes, rest);
            self.line(Line { at: line.at, bytes }, start, events);
        }
        match record.ends_line {
            true => self.line(line, start, events),
            false => *self.open(record.output) = Some(line),
        }
    }

    /// No line came for a while: an event of several lines ends.
    pub(super) fn quiet(&mut self, events: &mut Vec<NewEvent>) {
        if let Some(event) = self.event.take() {
            emit(event, events);
        }
    }

    /// The container has ended, and with it all that is open.
    pub(super) fn end(&mut self, start: Option<&EventStart>, events: &mut Vec<NewEvent>) {
        for output in [Output::Stdout, Output::Stderr] {
            if let Some(line) = self.open(output).take() {
                self.line(line, start, events);
            }
        }
        self.quiet(events);
    }

    pub(super) fn has_open_event(&self) -> bool {
        self.event.is_some()
    }

    fn open(&mut self, output: Output) -> &mut Option<Line> {
        match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        }
    }

    /// CloudWatch Logs takes text: what is none is replaced, and may be longer then.
    fn line(&mut self, line: Line, start: Option<&EventStart>, events: &mut Vec<NewEvent>) {
        let mut text = match String::from_utf8(line.bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        while text.len() > LOG_MESSAGE_BYTES_MAX {
            let rest = text.split_off(text.floor_char_boundary(LOG_MESSAGE_BYTES_MAX));
            self.text(
                Text { at: line.at, text: std::mem::replace(&mut text, rest) },
                start,
                events,
            );
        }
        self.text(Text { at: line.at, text }, start, events);
    }

    fn text(&mut self, line: Text, start: Option<&EventStart>, events: &mut Vec<NewEvent>) {
        let Some(start) = start else { return emit(line, events) };
        let begins = start.begins(&line.text);
        let fits = |event: &Text| event.text.len() + 1 + line.text.len() <= LOG_MESSAGE_BYTES_MAX;
        match &mut self.event {
            Some(event) if !begins && fits(event) => {
                event.text.push('\n');
                event.text.push_str(&line.text);
            }
            _ => {
                self.quiet(events);
                self.event = Some(line);
            }
        }
    }
}

fn emit(event: Text, events: &mut Vec<NewEvent>) {
    // As Docker's driver: CloudWatch Logs takes no empty messages.
    if !event.text.is_empty() {
        events.push(NewEvent { at: event.at, message: event.text });
    }
}

/// The last place within the limit that does not cut a character of UTF-8, if it is that.
fn boundary(bytes: &[u8]) -> usize {
    const CHARACTER_BYTES_MAX: usize = 4;
    let goes_on = |at: &usize| bytes[*at] & 0b1100_0000 == 0b1000_0000;
    let least = LOG_MESSAGE_BYTES_MAX + 1 - CHARACTER_BYTES_MAX;
    let whole = (least..=LOG_MESSAGE_BYTES_MAX).rev().find(|at| !goes_on(at));
    whole.unwrap_or(LOG_MESSAGE_BYTES_MAX)
}

/// Text, which agents that know nothing else wrote and read; bytes where they are none.
mod bytes_or_text {
    use std::fmt;

    use serde::{Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => to.serialize_str(text),
            Err(_) => to.serialize_bytes(bytes),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;

        impl de::Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes or text")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
                Ok(text.as_bytes().to_vec())
            }
        }

        from.deserialize_any(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes records `out:text`, `err:text`, a `\` at the end for a line that goes on; `~` is a quiet
    /// moment, `$` the container's end. Saved and read again before each, as over restarts.
    fn assembled(start: Option<&str>, input: &[&str]) -> Vec<String> {
        let start = start.map(|pattern| EventStart::of_pattern(pattern).unwrap());
        let (mut assembly, mut events) = (Assembly::default(), Vec::new());
        for (time, word) in input.iter().enumerate() {
            let saved = rmp_serde::to_vec(&assembly).unwrap();
            assembly = rmp_serde::from_slice(&saved).unwrap();
            match *word {
                "~" => assembly.quiet(&mut events),
                "$" => assembly.end(start.as_ref(), &mut events),
                word => {
                    let (output, text) = word.split_once(':').unwrap();
                    let output = if output == "err" { Output::Stderr } else { Output::Stdout };
                    let (text, ends_line) = match text.strip_suffix('\\') {
                        Some(text) => (text, false),
                        None => (text, true),
                    };
                    let at = Timestamp(time as u64);
                    let record = Record { output, at, bytes: text.into(), ends_line };
                    assembly.take(record, start.as_ref(), &mut events);
                }
            }
        }
        events.iter().map(|event| format!("{} {:?}", event.at.0, event.message)).collect()
    }

    #[test]
    fn each_line_is_an_event_and_empty_ones_are_none() {
        assert_eq!(
            assembled(None, &["out:a", "err:b", "out:", "out:c"]),
            [r#"0 "a""#, r#"1 "b""#, r#"3 "c""#]
        );
    }

    #[test]
    fn parts_of_a_line_are_joined_though_the_other_output_comes_between() {
        let input = ["out:aa\\", "err:xx\\", "out:bb\\", "err:yy", "out:cc", "out:\\", "out:z"];
        assert_eq!(assembled(None, &input), [r#"1 "xxyy""#, r#"0 "aabbcc""#, r#"5 "z""#]);
    }

    #[test]
    fn what_a_container_left_open_is_an_event_when_it_has_ended() {
        assert_eq!(assembled(None, &["out:half\\", "$"]), [r#"0 "half""#]);
        assert_eq!(assembled(None, &["out:half\\", "~"]), [""; 0]);
        assert_eq!(assembled(Some("^A"), &["out:A", "out:b\\", "$"]), [r#"0 "A\nb""#]);
    }

    #[test]
    fn lines_go_on_with_an_event_until_one_begins_another() {
        let input = ["out:lead", "out:A 1", "err: at x", "out:", "out:A 2", "~", "out:tail", "$"];
        assert_eq!(
            assembled(Some("^A "), &input),
            [r#"0 "lead""#, r#"1 "A 1\n at x\n""#, r#"4 "A 2""#, r#"6 "tail""#]
        );
    }

    #[test]
    fn lines_longer_than_an_event_may_be_are_cut_between_characters() {
        let long = "é".repeat(LOG_MESSAGE_BYTES_MAX);
        let mut events = Vec::new();
        let mut assembly = Assembly::default();
        let record = |text: &str, ends_line| Record {
            output: Output::Stdout,
            at: Timestamp(7),
            bytes: text.into(),
            ends_line,
        };
        assembly.take(record(&long, false), None, &mut events);
        assembly.take(record("end", true), None, &mut events);
        assert!(events.iter().all(|event| event.message.len() <= LOG_MESSAGE_BYTES_MAX));
        let joined: String = events.iter().map(|event| event.message.as_str()).collect();
        assert_eq!(joined, long + "end");
        assert_eq!(assembly, Assembly::default());
    }

    /// Cut anywhere, also into three parts, with a restart between them.
    #[test]
    fn a_character_that_was_cut_into_two_parts_is_whole() {
        let line = "é€𝄞 end".as_bytes();
        for first in 0..=line.len() {
            for second in first..=line.len() {
                let (mut assembly, mut events) = (Assembly::default(), Vec::new());
                let parts = [&line[..first], &line[first..second], &line[second..]];
                for (number, part) in parts.into_iter().enumerate() {
                    let saved = rmp_serde::to_vec_named(&assembly).unwrap();
                    assembly = rmp_serde::from_slice(&saved).unwrap();
                    let record = Record {
                        output: Output::Stdout,
                        at: Timestamp(0),
                        bytes: part.to_vec(),
                        ends_line: number == 2,
                    };
                    assembly.take(record, None, &mut events);
                }
                assert_eq!(events[0].message, "é€𝄞 end", "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_no_event_is_too_long() {
        let (mut assembly, mut events) = (Assembly::default(), Vec::new());
        let bytes = vec![0xff; LOG_MESSAGE_BYTES_MAX];
        let record = Record { output: Output::Stdout, at: Timestamp(0), bytes, ends_line: true };
        assembly.take(record, None, &mut events);
        assert!(events.iter().all(|event| event.message.len() <= LOG_MESSAGE_BYTES_MAX));
        let characters = events.iter().flat_map(|event| event.message.chars());
        assert_eq!(characters.filter(|c| *c == '\u{fffd}').count(), LOG_MESSAGE_BYTES_MAX);
    }

    /// As an agent that knew text only kept it.
    #[test]
    fn half_a_line_that_an_older_agent_kept_is_gone_on_with() {
        #[derive(Serialize)]
        struct Old {
            stdout: Option<Text>,
            stderr: Option<Text>,
            event: Option<Text>,
        }
        let half = Text { at: Timestamp(3), text: "hé".to_owned() };
        let old = Old { stdout: Some(half), stderr: None, event: None };
        let saved = rmp_serde::to_vec_named(&old).unwrap();
        let mut assembly: Assembly = rmp_serde::from_slice(&saved).unwrap();
        let mut events = Vec::new();
        assembly.end(None, &mut events);
        assert_eq!(events, [NewEvent { at: Timestamp(3), message: "hé".to_owned() }]);
    }

    #[test]
    fn an_event_of_several_lines_is_no_longer_than_it_may_be() {
        let line = "x".repeat(LOG_MESSAGE_BYTES_MAX / 2);
        let (mut assembly, mut events) = (Assembly::default(), Vec::new());
        let start = EventStart::of_pattern("^A").unwrap();
        for _ in 0..3 {
            let record = Record {
                output: Output::Stdout,
                at: Timestamp(0),
                bytes: line.clone().into(),
                ends_line: true,
            };
            assembly.take(record, Some(&start), &mut events);
        }
        assembly.quiet(&mut events);
        let lengths: Vec<usize> = events.iter().map(|event| event.message.len()).collect();
        assert_eq!(lengths, [line.len(), line.len(), line.len()]);
    }
}
