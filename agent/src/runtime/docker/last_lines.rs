//! Docker's answer to a question for a container's log, as lines that fit into a report.

use longshore_common::limits::{LAST_LINES_BYTES_MAX, LAST_LINES_MAX};

/// Before each piece of a log without a terminal: the stream, three zeros, and the length.
const HEADER_BYTES: usize = 8;
/// Standard input, output and error.
const STREAMS: u8 = 3;

/// The newest lines of the answer, oldest first, within both limits.
pub(super) fn last_lines(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(&without_headers(answer)).into_owned();
    let mut room = LAST_LINES_BYTES_MAX;
    let mut lines = Vec::new();
    for line in text.lines().rev().take(LAST_LINES_MAX) {
        let line: String = line.chars().filter(|c| *c == '\t' || !c.is_control()).collect();
        if line.len() >= room {
            let cut = line.floor_char_boundary(room);
            if lines.is_empty() {
                lines.push(line[..cut].to_owned());
            }
            break;
        }
        room -= line.len() + 1;
        lines.push(line);
    }
    lines.reverse();
    lines
}

/// With a terminal there are none: what does not look like a header is text.
fn without_headers(answer: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(answer.len());
    let mut rest = answer;
    while let Some((header, after)) = rest.split_at_checked(HEADER_BYTES) {
        let [stream, 0, 0, 0, a, b, c, d] = *header else { break };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(piece) = after.get(..length).filter(|_| stream < STREAMS) else { break };
        text.extend_from_slice(piece);
        rest = &after[length..];
    }
    text.extend_from_slice(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(pieces: &[(u8, &str)]) -> Vec<u8> {
        let mut answer = Vec::new();
        for (stream, text) in pieces {
            answer.extend([*stream, 0, 0, 0]);
            answer.extend((text.len() as u32).to_be_bytes());
            answer.extend(text.as_bytes());
        }
        answer
    }

    #[test]
    fn lines_of_both_streams_come_in_their_order() {
        let answer = framed(&[(1, "starting\n"), (2, "no such table: users\n"), (1, "bye\n")]);
        assert_eq!(last_lines(&answer), ["starting", "no such table: users", "bye"]);
    }

    #[test]
    fn a_terminals_log_has_no_headers_and_loses_its_control_characters() {
        assert_eq!(last_lines(b"\x1b[31mred\x1b[0m\r\ntab\there\r\n"), ["[31mred[0m", "tab\there"]);
        assert_eq!(last_lines(b""), Vec::<String>::new());
        assert_eq!(last_lines(b"short"), ["short"]);
    }

    #[test]
    fn the_newest_lines_are_kept_and_an_endless_one_is_cut() {
        let many: Vec<String> = (0..50).map(|n| format!("line {n}\n")).collect();
        let kept = last_lines(&framed(&[(1, &many.concat())]));
        assert_eq!((kept.len(), kept[0].as_str()), (LAST_LINES_MAX, "line 40"));
        let wide = "é".repeat(2000);
        let kept = last_lines(&framed(&[(1, &format!("before\n{wide}\n"))]));
        assert_eq!(kept, ["é".repeat(LAST_LINES_BYTES_MAX / 2)]);
        let kept = last_lines(&framed(&[(1, &format!("{wide}\nafter\n"))]));
        assert_eq!(kept, ["after"]);
    }
}
