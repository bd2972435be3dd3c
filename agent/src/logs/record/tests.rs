//! What Docker writes, in both of its forms, whole and cut off.

use super::*;

fn parsed(line: &str) -> Option<(Output, u64, String, bool)> {
    parse(line.as_bytes())
        .map(|r| (r.output, r.at.0, String::from_utf8(r.bytes).unwrap(), r.ends_line))
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
    assert_eq!(parsed(&line("x\n", "stderr")), Some((Output::Stderr, MS, "x".to_owned(), true)));
}

#[test]
fn attributes_beside_a_record_do_not_matter() {
    let line = format!(r#"{{"log":"x\n","attrs":{{"a":"b"}},"stream":"stdout","time":"{TIME}"}}"#);
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

fn entry(source: &str, line: &[u8], part: Option<bool>) -> Vec<u8> {
    frame_of(&LogEntry {
        source: source.to_owned(),
        time_nano: MS as i64 * 1_000_000 + 901_234,
        line: line.to_vec(),
        partial: part.is_some(),
        part: part.map(|last| Part { last }),
    })
}

/// Every record and every damage of these bytes, as a file shows them.
fn read(mut bytes: &[u8]) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        match Format::Local.beginning(bytes) {
            Beginning::Records(length) => {
                Format::Local.each(&bytes[..length], |record, _| {
                    let Record { output, at, bytes, ends_line } = record.unwrap();
                    let text = String::from_utf8_lossy(&bytes);
                    assert_eq!(at, Timestamp(MS));
                    told.push(format!("{output:?} {text}{}", if ends_line { "" } else { "…" }));
                });
                bytes = &bytes[length..];
            }
            Beginning::Damage(length) => {
                told.push(format!("damage {length}"));
                bytes = &bytes[length..];
            }
            Beginning::Part => {
                told.push(format!("part {}", bytes.len()));
                return told;
            }
        }
    }
}

/// As Docker 20.10 wrote `echo err >&2; echo a line`.
#[test]
fn what_a_real_engine_wrote_is_read() {
    let bytes = concat!(
        "000000170a0673746465727210f6e8b2acf7cb93f6181a0365727200000017",
        "0000001a0a067374646f757410cec3b9acf7cb93f6181a0661206c696e650000001a",
    );
    let bytes = hex::decode(bytes).unwrap();
    assert_eq!(Format::Local.beginning(&bytes), Beginning::Records(bytes.len()));
    let mut lines = Vec::new();
    Format::Local.each(&bytes, |record, size| {
        let Record { output, bytes, ends_line, .. } = record.unwrap();
        lines.push((output, String::from_utf8(bytes).unwrap(), ends_line, size));
    });
    let line = |output, text: &str, size| (output, text.to_owned(), true, size);
    assert_eq!(lines, [line(Output::Stderr, "err", 31), line(Output::Stdout, "a line", 34)]);
}

#[test]
fn records_of_local_are_read_with_their_bytes() {
    let bytes = [
        entry("stdout", b"a", None),
        entry("stderr", b"", None),
        entry("stdout", b"\xc3", Some(false)),
        entry("stdout", b"\xa9", Some(true)),
    ]
    .concat();
    assert_eq!(
        read(&bytes),
        ["Stdout a", "Stderr ", "Stdout \u{fffd}…", "Stdout \u{fffd}", "part 0"]
    );
}

/// Cut at any byte, a record is waited for; what comes behind it is read when it comes.
#[test]
fn a_record_of_local_that_was_cut_off_costs_no_other() {
    let (first, second) = (entry("stdout", b"first", None), entry("stdout", b"second", None));
    for cut in 1..first.len() {
        let torn = &first[..cut];
        assert_eq!(
            read(&[&second, torn].concat()),
            ["Stdout second".into(), format!("part {cut}")]
        );
        let behind = read(&[torn, &second, &second].concat());
        let kept = behind.iter().filter(|told| *told == "Stdout second").count();
        assert!(kept >= 1 && !behind.contains(&"Stdout first".to_owned()), "{cut}: {behind:?}");
        assert!(behind[0].starts_with("damage "), "{cut}: {behind:?}");
    }
    let zeros = [0; 64];
    assert_eq!(read(&[&zeros[..], &second].concat()), ["damage 64", "Stdout second", "part 0"]);
}
