//! The options of the `awslogs` log driver (ecs-behaviour 1.22), parsed.
//!
//! Never: an option that is read and dropped. One that is not known is refused by name.

use std::collections::BTreeMap;

use super::{
    event_start::EventStart,
    mode::{LogDriverMode, MAX_BUFFER_SIZE, MAX_BUFFER_SIZE_DEFAULT, MODE, effective},
};
use crate::boolean;

pub const AWSLOGS: &str = "awslogs";

/// Maximum of characters of a name (CloudWatch Logs' model: LogGroupName and LogStreamName).
pub const LOG_NAME_CHARS_MAX: usize = 512;

const GROUP: &str = "awslogs-group";
const REGION: &str = "awslogs-region";
const STREAM_PREFIX: &str = "awslogs-stream-prefix";
const CREATE_GROUP: &str = "awslogs-create-group";
const DATETIME_FORMAT: &str = "awslogs-datetime-format";
const MULTILINE_PATTERN: &str = "awslogs-multiline-pattern";
const KNOWN: [&str; 8] = [
    GROUP,
    REGION,
    STREAM_PREFIX,
    CREATE_GROUP,
    DATETIME_FORMAT,
    MULTILINE_PATTERN,
    MODE,
    MAX_BUFFER_SIZE,
];

/// What a container's `awslogs` options come to. Region and `awslogs-create-group` are checked and
/// change nothing: a fleet has one place for logs, and a group is there once something is written.
#[derive(Clone, Debug)]
pub struct AwslogsOptions {
    pub group: String,
    pub stream_prefix: Option<String>,
    /// Absent: each line is an event.
    pub event_start: Option<EventStart>,
    /// Absent: the account's.
    pub mode: Option<LogDriverMode>,
    /// The buffer of the mode non-blocking, as Docker reads sizes.
    pub max_buffer_size: Option<String>,
}

/// A sentence without its end, to follow "Log driver awslogs".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidOptions(String);

impl AwslogsOptions {
    pub fn parse(options: &BTreeMap<String, String>) -> Result<Self, InvalidOptions> {
        let invalid = |text: String| Err(InvalidOptions(text));
        if let Some(unknown) = options.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return invalid(format!("has no option `{unknown}` here; it has {}", KNOWN.join(", ")));
        }
        let get = |name: &str| options.get(name).map(String::as_str).filter(|v| !v.is_empty());
        let Some(group) = get(GROUP) else {
            return invalid(format!("requires option {GROUP}"));
        };
        if let Err(why) = check_group_name(group) {
            return invalid(format!("has the {GROUP} `{group}`: {why}"));
        }
        let prefix = get(STREAM_PREFIX);
        if let Some(prefix) = prefix
            && let Err(why) = check_stream_name(prefix)
        {
            return invalid(format!("has the {STREAM_PREFIX} `{prefix}`: {why}"));
        }
        if let Some(create) = get(CREATE_GROUP)
            && boolean::parse(create).is_none()
        {
            return invalid(format!("has the {CREATE_GROUP} `{create}`: it is {}", boolean::FORMS));
        }
        let event_start = match (get(DATETIME_FORMAT), get(MULTILINE_PATTERN)) {
            (Some(_), Some(_)) => {
                return invalid(format!(
                    "takes {DATETIME_FORMAT} or {MULTILINE_PATTERN}, not both"
                ));
            }
            (Some(format), None) => Some((DATETIME_FORMAT, EventStart::of_datetime(format))),
            (None, Some(pattern)) => Some((MULTILINE_PATTERN, EventStart::of_pattern(pattern))),
            (None, None) => None,
        };
        let event_start = match event_start {
            None => None,
            Some((_, Ok(start))) => Some(start),
            Some((name, Err(why))) => return invalid(format!("has a bad {name}: {why}")),
        };
        let size = get(MAX_BUFFER_SIZE);
        if let Some(size) = size
            && !is_size(size)
        {
            return invalid(format!(
                "has the {MAX_BUFFER_SIZE} `{size}`: it is a number of bytes, or one with k, m or g"
            ));
        }
        let mode = match get(MODE) {
            None => None,
            Some(mode) => match LogDriverMode::parse(mode) {
                None => {
                    return invalid(format!(
                        "has the {MODE} `{mode}`: it is blocking or non-blocking"
                    ));
                }
                Some(LogDriverMode::Blocking) if size.is_some() => {
                    return invalid(format!(
                        "takes {MAX_BUFFER_SIZE} only with {MODE} non-blocking"
                    ));
                }
                given => given,
            },
        };
        Ok(AwslogsOptions {
            group: group.to_owned(),
            stream_prefix: prefix.map(str::to_owned),
            event_start,
            mode,
            max_buffer_size: size.map(str::to_owned),
        })
    }

    /// The size of the buffer between a container and its log, as Docker reads sizes; absent when
    /// the container waits for its log.
    pub fn buffer(&self, mode_of_account: Option<LogDriverMode>) -> Option<&str> {
        match effective(self.mode, mode_of_account) {
            LogDriverMode::Blocking => None,
            LogDriverMode::NonBlocking => {
                Some(self.max_buffer_size.as_deref().unwrap_or(MAX_BUFFER_SIZE_DEFAULT))
            }
        }
    }
}

/// CloudWatch Logs' rule for names of groups.
pub fn check_group_name(name: &str) -> Result<(), String> {
    check_length(name)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-/#".contains(c);
    match name.chars().all(fits) {
        true => Ok(()),
        false => Err("a log group's name holds a-z, A-Z, 0-9 and . _ - / # only".to_owned()),
    }
}

/// CloudWatch Logs' rule for names of streams.
pub fn check_stream_name(name: &str) -> Result<(), String> {
    check_length(name)?;
    match name.contains([':', '*']) {
        true => Err("a log stream's name holds no : and no *".to_owned()),
        false => Ok(()),
    }
}

fn check_length(name: &str) -> Result<(), String> {
    match name.chars().count() {
        1..=LOG_NAME_CHARS_MAX => Ok(()),
        chars => Err(format!("a name has 1 to {LOG_NAME_CHARS_MAX} characters, this one {chars}")),
    }
}

/// As Docker reads it: `64k`, `10m`, `1g`, `4096`.
fn is_size(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let digits = lower.strip_suffix('b').unwrap_or(&lower);
    let digits = digits.strip_suffix(['k', 'm', 'g']).unwrap_or(digits);
    digits.len() <= 12 && digits.parse::<u64>().is_ok_and(|size| size > 0)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(options: &[(&str, &str)], expected: Expect) {
        let options = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let parsed = match AwslogsOptions::parse(&options) {
            Ok(options) => format!(
                "{} prefix {:?} start {:?} buffer {:?} or {:?}",
                options.group,
                options.stream_prefix,
                options.event_start.as_ref().map(|start| start.as_str().to_owned()),
                options.buffer(Some(LogDriverMode::Blocking)),
                options.buffer(Some(LogDriverMode::NonBlocking)),
            ),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&parsed);
    }

    #[test]
    fn what_ecs_documents_is_read() {
        check(
            &[("awslogs-group", "/ecs/web"), ("awslogs-region", "eu-west-1")],
            expect![[r#"/ecs/web prefix None start None buffer None or Some("10m")"#]],
        );
        check(
            &[
                ("awslogs-group", "g"),
                ("awslogs-stream-prefix", "p"),
                ("awslogs-create-group", "true"),
                ("awslogs-multiline-pattern", "^START"),
                ("mode", "non-blocking"),
                ("max-buffer-size", "25m"),
            ],
            expect![[
                r#"g prefix Some("p") start Some("^START") buffer Some("25m") or Some("25m")"#
            ]],
        );
        check(
            &[("awslogs-group", "g"), ("mode", "non-blocking")],
            expect![[r#"g prefix None start None buffer Some("10m") or Some("10m")"#]],
        );
        check(
            &[("awslogs-group", "g"), ("max-buffer-size", "1m")],
            expect![[r#"g prefix None start None buffer None or Some("1m")"#]],
        );
        check(
            &[("awslogs-group", "g"), ("mode", "blocking")],
            expect!["g prefix None start None buffer None or None"],
        );
    }

    #[test]
    fn create_group_is_read_in_every_form_of_a_boolean() {
        for text in
            ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"]
        {
            let options = [("awslogs-group", "g"), ("awslogs-create-group", text)];
            let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            assert!(AwslogsOptions::parse(&options).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_reason() {
        let table = [
            (vec![], expect!["requires option awslogs-group"]),
            (
                vec![("awslogs-group", "a b")],
                expect![[
                    "has the awslogs-group `a b`: a log group's name holds a-z, A-Z, 0-9 and . _ - / # only"
                ]],
            ),
            (
                vec![("awslogs-group", "g"), ("awslogs-stream-prefix", "a:b")],
                expect![
                    "has the awslogs-stream-prefix `a:b`: a log stream's name holds no : and no *"
                ],
            ),
            (
                vec![("awslogs-group", "g"), ("awslogs-stream", "s")],
                expect![
                    "has no option `awslogs-stream` here; it has awslogs-group, awslogs-region, awslogs-stream-prefix, awslogs-create-group, awslogs-datetime-format, awslogs-multiline-pattern, mode, max-buffer-size"
                ],
            ),
            (
                vec![("awslogs-group", "g"), ("awslogs-create-group", "yes")],
                expect!["has the awslogs-create-group `yes`: it is true or false"],
            ),
            (
                vec![
                    ("awslogs-group", "g"),
                    ("awslogs-datetime-format", "%Y"),
                    ("awslogs-multiline-pattern", "a"),
                ],
                expect!["takes awslogs-datetime-format or awslogs-multiline-pattern, not both"],
            ),
            (
                vec![("awslogs-group", "g"), ("mode", "fast")],
                expect!["has the mode `fast`: it is blocking or non-blocking"],
            ),
            (
                vec![("awslogs-group", "g"), ("mode", "blocking"), ("max-buffer-size", "1m")],
                expect!["takes max-buffer-size only with mode non-blocking"],
            ),
            (
                vec![("awslogs-group", "g"), ("mode", "non-blocking"), ("max-buffer-size", "1q")],
                expect![
                    "has the max-buffer-size `1q`: it is a number of bytes, or one with k, m or g"
                ],
            ),
        ];
        for (options, expected) in table {
            check(&options, expected);
        }
    }
}
