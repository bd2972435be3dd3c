//! Go's regular expressions, in which the options of Docker's log drivers are written, compiled to
//! the ones of the `regex` crate.
//!
//! The two differ in what they take for an ordinary character (`{`, and `[`, `&&` or `--` within
//! brackets) and in what `\d`, `\s`, `\w` and `\b` mean (ASCII in Go). Never: a pattern that compiles
//! to something else than Go would match, or an error of more than one line.

use regex::bytes::{Regex, RegexBuilder};

/// Maximum of characters of a pattern that an error shows from the place that is wrong.
const SHOWN_CHARS: usize = 20;

/// What Go's `\d`, `\s` and `\w` stand for, within brackets.
const PERL_CLASSES: [(char, &str); 3] =
    [('d', "0-9"), ('s', r"\t\n\x0C\r\x20"), ('w', "0-9A-Za-z_")];
/// Go's escapes of single characters.
const ESCAPED_CHARS: [(char, char); 6] =
    [('a', '\x07'), ('f', '\x0C'), ('n', '\n'), ('r', '\r'), ('t', '\t'), ('v', '\x0B')];
const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];
/// Flags of a group in Go.
const FLAGS: &str = "imsU-";

/// One line: what is wrong and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRegex(String);

/// Compiles a pattern to at most `bytes_max` bytes.
pub fn compile(pattern: &str, bytes_max: usize) -> Result<Regex, InvalidRegex> {
    let mut translation = Translation { pattern, at: 0, out: String::new(), origins: Vec::new() };
    translation.run()?;
    let mut parser = regex_syntax::ParserBuilder::new().utf8(false).build();
    if let Err(error) = parser.parse(&translation.out) {
        return Err(translation.explained(&error));
    }
    RegexBuilder::new(&translation.out)
        .size_limit(bytes_max)
        .dfa_size_limit(bytes_max)
        .build()
        .map_err(|_| InvalidRegex(format!("it needs more than {bytes_max} bytes of memory")))
}

struct Translation<'p> {
    pattern: &'p str,
    /// Where the pattern is read next.
    at: usize,
    out: String,
    /// Where in `out` a part of the pattern begins, and where that part begins in the pattern.
    origins: Vec<(usize, usize)>,
}

impl<'p> Translation<'p> {
    fn run(&mut self) -> Result<(), InvalidRegex> {
        while let Some(c) = self.peek() {
            self.origins.push((self.out.len(), self.at));
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '{' => match self.count_length() {
                    Some(length) => self.copy(length),
                    None => self.literal_next(),
                },
                '}' | ']' => self.literal_next(),
                c => self.copy(c.len_utf8()),
            }
        }
        Ok(())
    }

    fn rest(&self) -> &'p str {
        &self.pattern[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, text: &str) -> bool {
        let taken = self.rest().starts_with(text);
        if taken {
            self.at += text.len();
        }
        taken
    }

    /// What both read alike.
    fn copy(&mut self, bytes: usize) {
        let text = &self.rest()[..bytes];
        self.out.push_str(text);
        self.at += bytes;
    }

    fn literal_next(&mut self) {
        if let Some(c) = self.next() {
            self.literal(c);
        }
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&format!(r"\x{{{:X}}}", u32::from(c)));
    }

    /// The length of `{n}`, `{n,}` or `{n,m}`; anything else that begins so is no count to Go.
    fn count_length(&self) -> Option<usize> {
        let (inner, _) = self.rest()[1..].split_once('}')?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits && (text.len() == 1 || !text.starts_with('0'))
        };
        let is_count = match inner.split_once(',') {
            None => number(inner),
            Some((least, most)) => number(least) && (most.is_empty() || number(most)),
        };
        is_count.then_some(inner.len() + 2)
    }

    fn group(&mut self) -> Result<(), InvalidRegex> {
        let start = self.at;
        if !self.rest().starts_with("(?") {
            self.copy(1);
            return Ok(());
        }
        let head = &self.rest()[2..];
        let named = head.strip_prefix("P<").or_else(|| head.strip_prefix('<'));
        if named.is_none() {
            let end = head.find([')', ':']).unwrap_or(head.len());
            if !head[..end].chars().all(|flag| FLAGS.contains(flag)) {
                return Err(self.wrong("a group that Go does not know", start));
            }
        }
        self.copy(2);
        Ok(())
    }

    fn escape(&mut self) -> Result<(), InvalidRegex> {
        let start = self.at;
        if self.take(r"\Q") {
            while !self.rest().is_empty() && !self.take(r"\E") {
                self.literal_next();
            }
            return Ok(());
        }
        match self.rest()[1..].chars().next() {
            Some('A' | 'z') => self.copy(2),
            Some(boundary @ ('b' | 'B')) => {
                self.at += 2;
                self.out.push_str(&format!(r"(?-u:\{boundary})"));
            }
            _ => {
                if let Some(members) = self.shared_class()? {
                    self.out.push_str(&format!("[{members}]"));
                } else {
                    let c = self.escaped_char(start)?;
                    self.literal(c);
                }
            }
        }
        Ok(())
    }

    /// `\d` and its like and `\p{…}`, as a member of brackets.
    fn shared_class(&mut self) -> Result<Option<String>, InvalidRegex> {
        let start = self.at;
        let Some(letter) = self.rest().strip_prefix('\\').and_then(|rest| rest.chars().next())
        else {
            return Ok(None);
        };
        let lower = letter.to_ascii_lowercase();
        if let Some((_, members)) = PERL_CLASSES.iter().find(|(name, _)| *name == lower) {
            self.at += 2;
            let caret = if letter == lower { "" } else { "^" };
            return Ok(Some(format!("[{caret}{members}]")));
        }
        if lower != 'p' {
            return Ok(None);
        }
        self.at += 2;
        let name = match self.next() {
            Some('{') => match self.rest().split_once('}') {
                Some((name, _)) => {
                    self.at += name.len() + 1;
                    name.to_owned()
                }
                None => return Err(self.wrong("a Unicode class that is not closed", start)),
            },
            Some(c) => c.to_string(),
            None => return Err(self.wrong("a Unicode class without a name", start)),
        };
        let (name, turned) = match name.strip_prefix('^') {
            Some(name) => (name.to_owned(), true),
            None => (name, false),
        };
        let letter = if (letter == 'P') != turned { 'P' } else { 'p' };
        Ok(Some(format!(r"\{letter}{{{name}}}")))
    }

    /// A backslash and what stands for one character after it.
    fn escaped_char(&mut self, start: usize) -> Result<char, InvalidRegex> {
        self.at += 1;
        let Some(c) = self.next() else {
            return Err(self.wrong("a backslash with nothing after it", start));
        };
        if let Some((_, escaped)) = ESCAPED_CHARS.iter().find(|(letter, _)| *letter == c) {
            return Ok(*escaped);
        }
        let code = match c {
            'x' => self.hexadecimal(),
            '0'..='7' => self.octal(c),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => return Ok(c),
            _ => None,
        };
        let character = code.and_then(char::from_u32);
        character.ok_or_else(|| self.wrong("an escape that Go does not know", start))
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let digits = match self.rest().strip_prefix('{') {
            Some(rest) => {
                let (digits, _) = rest.split_once('}')?;
                self.at += digits.len() + 2;
                digits
            }
            None => {
                let digits = self.rest().get(..2)?;
                self.at += 2;
                digits
            }
        };
        let all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|_| all)
    }

    /// Up to three digits; one alone that is not 0 would be a back reference, which Go has not.
    fn octal(&mut self, first: char) -> Option<u32> {
        let mut digits = String::from(first);
        while let Some(c @ '0'..='7') = self.peek().filter(|_| digits.len() < 3) {
            digits.push(c);
            self.at += 1;
        }
        let alone = digits.len() == 1 && first != '0';
        u32::from_str_radix(&digits, 8).ok().filter(|_| !alone)
    }

    fn class(&mut self) -> Result<(), InvalidRegex> {
        let start = self.at;
        self.at += 1;
        self.out.push('[');
        if self.take("^") {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            if self.rest().is_empty() {
                return Err(self.wrong("a bracket that is not closed", start));
            }
            if !first && self.take("]") {
                self.out.push(']');
                return Ok(());
            }
            first = false;
            self.origins.push((self.out.len(), self.at));
            if let Some(name) = self.posix_class()? {
                self.out.push_str(name);
            } else if let Some(members) = self.shared_class()? {
                self.out.push_str(&members);
            } else {
                self.range()?;
            }
        }
    }

    /// `[:name:]`.
    fn posix_class(&mut self) -> Result<Option<&'p str>, InvalidRegex> {
        let Some(inner) = self.rest().strip_prefix("[:") else { return Ok(None) };
        let Some((name, _)) = inner.split_once(":]") else { return Ok(None) };
        if !POSIX_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(self.wrong("a class of characters that Go does not know", self.at));
        }
        let whole = &self.rest()[..name.len() + 4];
        self.at += whole.len();
        Ok(Some(whole))
    }

    fn range(&mut self) -> Result<(), InvalidRegex> {
        let start = self.at;
        let low = self.class_char()?;
        self.literal(low);
        let goes_on = self.rest().starts_with('-')
            && !self.rest()[1..].is_empty()
            && !self.rest()[1..].starts_with(']');
        if !goes_on {
            return Ok(());
        }
        self.at += 1;
        let high = self.class_char()?;
        if high < low {
            return Err(self.wrong("a range whose end comes before its begin", start));
        }
        self.out.push('-');
        self.literal(high);
        Ok(())
    }

    fn class_char(&mut self) -> Result<char, InvalidRegex> {
        let start = self.at;
        match self.peek() {
            Some('\\') => self.escaped_char(start),
            Some(c) => {
                self.at += c.len_utf8();
                Ok(c)
            }
            None => Err(self.wrong("a bracket that is not closed", start)),
        }
    }

    fn wrong(&self, what: &str, at: usize) -> InvalidRegex {
        let place = self.pattern[..at].chars().count() + 1;
        let rest = &self.pattern[at..];
        let mut shown: String = rest.chars().take(SHOWN_CHARS).collect();
        if shown.len() < rest.len() {
            shown.push('…');
        }
        InvalidRegex(format!("{what}, at character {place}: `{}`", shown.escape_debug()))
    }

    /// An error in `out`, at its place in the pattern.
    fn explained(&self, error: &regex_syntax::Error) -> InvalidRegex {
        let (what, offset) = match error {
            regex_syntax::Error::Parse(error) => {
                (error.kind().to_string(), error.span().start.offset)
            }
            regex_syntax::Error::Translate(error) => {
                (error.kind().to_string(), error.span().start.offset)
            }
            _ => ("it cannot be read".to_owned(), 0),
        };
        let origin = self.origins.iter().rev().find(|(out, _)| *out <= offset);
        self.wrong(&what, origin.map_or(0, |(_, at)| *at))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    const BYTES_MAX: usize = 1024 * 1024;

    /// A pattern, what it matches and what it does not: Go 1.22's own answers.
    const READ_AS_GO_READS_THEM: &[(&str, &[&str], &[&str])] = &[
        ("^{", &["{\"a\":1}"], &["a{", ""]),
        ("^[[{]", &["[1]", "{}"], &["a[", "1"]),
        ("^[{[]", &["[1]", "{}"], &["1"]),
        ("{", &["a{b"], &["a"]),
        ("a{", &["a{"], &["a"]),
        ("a{,2}", &["a{,2}"], &["aa", "a"]),
        ("^a{02}$", &["a{02}"], &["aa"]),
        ("^a{2}$", &["aa"], &["a{2}", "aaa"]),
        ("^a{2,}$", &["aaa"], &["a"]),
        ("^a{1,2}$", &["a", "aa"], &["aaa"]),
        ("}", &["}"], &["{"]),
        ("a]", &["a]"], &["a"]),
        ("[]a]", &["]", "a"], &["["]),
        ("^[^]a]", &["b", "["], &["]", "a"]),
        ("^[a&&b]$", &["a", "&", "b"], &["c"]),
        ("^[a~~b]$", &["~"], &["c"]),
        ("^[+--]$", &["+", ",", "-"], &[".", "*"]),
        ("^[a-]$", &["a", "-"], &["b"]),
        ("^[-a]$", &["a", "-"], &["b"]),
        ("^[[:alpha:]]$", &["a"], &["1", ":"]),
        ("^[:alpha:]$", &["a", ":"], &["b"]),
        ("^[[:^digit:]]$", &["a"], &["1"]),
        (r"^[\d-]$", &["1", "-"], &["a"]),
        (r"^[^\D]$", &["1"], &["a"]),
        (r"^\d$", &["1"], &["\u{661}", "a"]),
        (r"^\w$", &["a", "_"], &["é"]),
        (r"^\s$", &[" ", "\t"], &["\u{a0}", "\x0B"]),
        (r"é\b", &["éa"], &["é"]),
        (r"^\pL$", &["é"], &["1"]),
        (r"^\p{^L}$", &["1"], &["é"]),
        (r"^\p{Greek}$", &["α"], &["a"]),
        (r"^\x41\x{42}\103$", &["ABC"], &["abc"]),
        (r"^\Q[a]{\E$", &["[a]{"], &["a"]),
        (r"^\<\>\_$", &["<>_"], &["a"]),
        (r"^\[%", &["[%"], &["%"]),
        ("(?i)^error", &["ERROR x"], &["x error"]),
        ("(?P<year>20)", &["2026"], &["1999"]),
        ("^(?:a|b)+?$", &["ab"], &["c"]),
        (r"^(\[|\{)", &["[", "{"], &["("]),
    ];

    #[test]
    fn regex_matches_what_go_matches() {
        let mut wrong = Vec::new();
        for (pattern, matched, others) in READ_AS_GO_READS_THEM {
            match compile(pattern, BYTES_MAX) {
                Err(error) => wrong.push(format!("{pattern}: {error}")),
                Ok(regex) => {
                    let matches = |text: &&&str| regex.is_match(text.as_bytes());
                    wrong.extend(
                        matched
                            .iter()
                            .filter(|text| !matches(text))
                            .map(|t| format!("{pattern} !~ {t}")),
                    );
                    wrong.extend(others.iter().filter(matches).map(|t| format!("{pattern} ~ {t}")));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn regex_that_go_refuses_is_refused_with_its_place() {
        let refused = [
            "(",
            "a)",
            "*a",
            "{2}",
            "a**b[",
            "[a",
            "[b-a]",
            r"[a-\d]",
            "[[:word]:]:",
            "[[:no:]]",
            r"a\",
            r"\y",
            r"\1",
            r"\pZZ{",
            r"\p{Klingon}",
            r"\xZ",
            "(?x)a",
            "(?=a)",
            r"\C",
            "(?P<a",
        ];
        let said: Vec<String> = refused
            .iter()
            .map(|pattern| match compile(pattern, BYTES_MAX) {
                Ok(_) => format!("{pattern} is accepted"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(!text.contains('\n'), "{text}");
                    format!("{pattern}  {text}")
                }
            })
            .collect();
        expect![[r#"
            (  unclosed group, at character 1: `(`
            a)  unopened group, at character 2: `)`
            *a  repetition operator missing expression, at character 1: `*a`
            {2}  repetition operator missing expression, at character 1: `{2}`
            a**b[  a bracket that is not closed, at character 5: `[`
            [a  a bracket that is not closed, at character 1: `[a`
            [b-a]  a range whose end comes before its begin, at character 2: `b-a]`
            [a-\d]  an escape that Go does not know, at character 4: `\\d]`
            [[:word]:]:  a class of characters that Go does not know, at character 2: `[:word]:]:`
            [[:no:]]  a class of characters that Go does not know, at character 2: `[:no:]]`
            a\  a backslash with nothing after it, at character 2: `\\`
            \y  an escape that Go does not know, at character 1: `\\y`
            \1  an escape that Go does not know, at character 1: `\\1`
            \pZZ{ is accepted
            \p{Klingon}  Unicode property not found, at character 1: `\\p{Klingon}`
            \xZ  an escape that Go does not know, at character 1: `\\xZ`
            (?x)a  a group that Go does not know, at character 1: `(?x)a`
            (?=a)  a group that Go does not know, at character 1: `(?=a)`
            \C  an escape that Go does not know, at character 1: `\\C`
            (?P<a  unclosed capture group name, at character 5: `a`"#]]
        .assert_eq(&said.join("\n"));
        assert!(compile(&"a{1000}".repeat(200), BYTES_MAX).is_err());
    }
}
