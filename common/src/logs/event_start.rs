//! Where an event of several lines begins: `awslogs-multiline-pattern` and
//! `awslogs-datetime-format`, as Docker's driver reads them.
//!
//! The format only marks beginnings; an event's time stays that of its first line.

use regex::bytes::Regex;

use super::go_regex;

/// Maximum of bytes of memory of a compiled pattern.
const REGEX_BYTES_MAX: usize = 1024 * 1024;
/// Maximum of characters of a pattern: people write no longer ones.
const PATTERN_CHARS_MAX: usize = 2048;

/// Docker's table of strftime's directives. What stands between them is a regular expression.
const DIRECTIVES: [(char, &str); 19] = [
    ('a', "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"),
    ('A', "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"),
    ('w', "[0-6]"),
    ('d', "(?:0[1-9]|[1,2][0-9]|3[0,1])"),
    ('b', "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"),
    (
        'B',
        "(?:January|February|March|April|May|June|July|August|September|October|November|December)",
    ),
    ('m', "(?:0[1-9]|1[0-2])"),
    ('Y', r"\d{4}"),
    ('y', r"\d{2}"),
    ('H', "(?:[0,1][0-9]|2[0-3])"),
    ('I', "(?:0[0-9]|1[0-2])"),
    ('p', "[A,P]M"),
    ('M', "[0-5][0-9]"),
    ('S', "[0-5][0-9]"),
    ('f', r"\d{6}"),
    ('z', r"[+-]\d{4}"),
    ('Z', "[A-Z]{1,4}T"),
    ('j', "(?:0[0-9][1-9]|[1,2][0-9][0-9]|3[0-5][0-9]|36[0-6])"),
    ('L', r"\.\d{3}"),
];

/// Tells a line that begins an event from one that goes on with it.
#[derive(Clone, Debug)]
pub struct EventStart {
    expression: String,
    regex: Regex,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidStart(String);

impl EventStart {
    pub fn of_pattern(pattern: &str) -> Result<Self, InvalidStart> {
        if pattern.chars().count() > PATTERN_CHARS_MAX {
            return Err(InvalidStart(format!("it has more than {PATTERN_CHARS_MAX} characters")));
        }
        let regex = go_regex::compile(pattern, REGEX_BYTES_MAX)
            .map_err(|error| InvalidStart(error.to_string()))?;
        Ok(EventStart { expression: pattern.to_owned(), regex })
    }

    pub fn of_datetime(format: &str) -> Result<Self, InvalidStart> {
        let mut pattern = String::with_capacity(format.len() * 4);
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                pattern.push(c);
                continue;
            }
            let directive = chars.next();
            match DIRECTIVES.iter().find(|(letter, _)| Some(*letter) == directive) {
                Some((_, expression)) => pattern.push_str(expression),
                None => {
                    let written: String = directive.into_iter().collect();
                    return Err(InvalidStart(format!("`%{written}` is not known to it")));
                }
            }
        }
        Self::of_pattern(&pattern)
    }

    pub fn begins(&self, line: &str) -> bool {
        self.regex.is_match(line.as_bytes())
    }

    /// The expression: [`EventStart::of_pattern`] makes the same of it.
    pub fn as_str(&self) -> &str {
        &self.expression
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_dockers_documentation_begin_events() {
        let table = [
            (r"\[%b %d, %Y %H:%M:%S\]", "[May 01, 2017 19:00:01] A message", true),
            (r"\[%b %d, %Y %H:%M:%S\]", "  [May 41, 2017 19:00:01] A message", false),
            ("%Y-%m-%dT%H:%M:%S%L", "2026-01-02T03:04:05.678 x", true),
            ("%Y-%m-%dT%H:%M:%S%L", "at java.lang.Thread.run(Thread.java)", false),
            ("%A %p %j", "Monday PM 364", true),
        ];
        for (format, line, begins) in table {
            let start = EventStart::of_datetime(format).unwrap();
            assert_eq!(start.begins(line), begins, "{format} on {line}");
        }
    }

    #[test]
    fn bad_formats_and_patterns_are_refused() {
        let refused = |result: Result<EventStart, InvalidStart>| result.unwrap_err().to_string();
        assert_eq!(refused(EventStart::of_datetime("%Y %Q")), "`%Q` is not known to it");
        assert_eq!(refused(EventStart::of_datetime("%")), "`%` is not known to it");
        assert_eq!(refused(EventStart::of_pattern("(")), "unclosed group, at character 1: `(`");
        assert!(EventStart::of_pattern(&"a{1000}".repeat(200)).is_err());
    }
}
