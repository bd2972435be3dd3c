//! From what Docker wrote to events: parts of long lines are joined, lines that belong together too.
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

/// An event of several lines ends when none came for so long.
pub(super) const EVENT_QUIET: Duration = Duration::from_secs(1);

/// What is open of one container's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Assembly {
    /// A line without its end, of each output.
    stdout: Option<Text>,
    stderr: Option<Text>,
    /// An event to which lines may be added.
    event: Option<Text>,
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
        let open = self.open(record.output);
        let mut line = match open.take() {
            None => Text { at: record.at, text: record.text },
            Some(mut line) => {
                line.text.push_str(&record.text);
                line
            }
        };
        // What is full of an endless line need not wait for its end.
        while line.text.len() > LOG_MESSAGE_BYTES_MAX {
            let rest = line.text.split_off(boundary(&line.text));
            let full = std::mem::replace(&mut line.text, rest);
            self.line(Text { at: line.at, text: full }, start, events);
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

    fn open(&mut self, output: Output) -> &mut Option<Text> {
        match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        }
    }

    fn line(&mut self, line: Text, start: Option<&EventStart>, events: &mut Vec<NewEvent>) {
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

/// The last place within the limit that does not cut a character.
fn boundary(text: &str) -> usize {
    text.floor_char_boundary(LOG_MESSAGE_BYTES_MAX)
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
                    let record = Record { output, at, text: text.to_owned(), ends_line };
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
            text: text.to_owned(),
            ends_line,
        };
        assembly.take(record(&long, false), None, &mut events);
        assembly.take(record("end", true), None, &mut events);
        assert!(events.iter().all(|event| event.message.len() <= LOG_MESSAGE_BYTES_MAX));
        let joined: String = events.iter().map(|event| event.message.as_str()).collect();
        assert_eq!(joined, long + "end");
        assert_eq!(assembly, Assembly::default());
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
                text: line.clone(),
                ends_line: true,
            };
            assembly.take(record, Some(&start), &mut events);
        }
        assembly.quiet(&mut events);
        let lengths: Vec<usize> = events.iter().map(|event| event.message.len()).collect();
        assert_eq!(lengths, [line.len(), line.len(), line.len()]);
    }
}
