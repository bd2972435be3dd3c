//! Java's regular expressions, which ECS's `=~` takes, as far as an engine without backtracking can
//! honour them. What means the same in both is passed on, what is written otherwise is rewritten,
//! and what is left is refused by name: never matched in another sense.

use std::{fmt, fmt::Write, iter::Peekable, str::CharIndices};

use regex::{Regex, RegexBuilder};

use super::limits::{DEPTH_MAX, PATTERN_BYTES_MAX};

/// Matches whole texts.
#[derive(Clone)]
pub struct Pattern {
    text: Box<str>,
    regex: Regex,
}

/// Why it cannot be honoured, and at which byte of the pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    pub(super) at: usize,
    pub(super) problem: String,
}

impl Pattern {
    pub(super) fn parse(java: &str) -> Result<Self, Unusable> {
        let regex = Translation::of(java)?;
        let built = RegexBuilder::new(&regex)
            .size_limit(PATTERN_BYTES_MAX)
            .nest_limit(2 * DEPTH_MAX)
            .build();
        match built {
            Ok(regex) => Ok(Pattern { text: java.into(), regex }),
            Err(error) => Err(Unusable { at: 0, problem: reason(&error) }),
        }
    }

    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => {
            "this regular expression is too large; have it repeat less".to_owned()
        }
        // Its first lines draw the rewritten pattern.
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            let said = last.strip_prefix("error: ").unwrap_or(last);
            format!("this is no regular expression: {said}")
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// Java's text on its way to be ours.
struct Translation<'a> {
    java: Peekable<CharIndices<'a>>,
    text: &'a str,
    out: String,
    /// Groups that are open, each at its byte.
    open: Vec<usize>,
}

/// What `\d` and its like are in Java: ASCII, unlike here.
const CLASSES: [(char, &str); 3] = [('d', "0-9"), ('w', "0-9A-Za-z_"), ('s', r" \t\n\x0B\x0C\r")];

/// `\p{…}` of POSIX in Java.
const POSIX: [(&str, &str); 13] = [
    ("Lower", "a-z"),
    ("Upper", "A-Z"),
    ("ASCII", r"\x00-\x7F"),
    ("Alpha", "A-Za-z"),
    ("Digit", "0-9"),
    ("Alnum", "0-9A-Za-z"),
    ("Punct", r"!-/:-@\[-`{-~"),
    ("Graph", "!-~"),
    ("Print", " -~"),
    ("Blank", r" \t"),
    ("Cntrl", r"\x00-\x1F\x7F"),
    ("XDigit", "0-9A-Fa-f"),
    ("Space", r" \t\n\x0B\x0C\r"),
];

/// A part of a pattern that a backslash begins.
enum Escape {
    /// Stands for itself or one other character.
    Char(char),
    /// Inside of brackets; whether it is all but these.
    Class(&'static str, bool),
    /// Begins, ends or borders.
    Place(&'static str),
}

impl<'a> Translation<'a> {
    fn of(text: &'a str) -> Result<String, Unusable> {
        let java = text.char_indices().peekable();
        let mut translation = Translation { java, text, out: r"\A(?:".to_owned(), open: vec![] };
        while let Some((at, c)) = translation.java.next() {
            translation.part(at, c)?;
        }
        if let Some(at) = translation.open.pop() {
            return refuse(at, "this group has no ) to end it");
        }
        translation.out.push_str(r")\z");
        Ok(translation.out)
    }

    fn part(&mut self, at: usize, c: char) -> Result<(), Unusable> {
        match c {
            '\\' if self.takes("Q") => self.quoted(),
            '\\' => match self.escape(at)? {
                Escape::Char(c) => self.literal(c),
                Escape::Class(inside, negated) => self.class(inside, negated),
                Escape::Place(place) => self.out.push_str(place),
            },
            '(' => self.group(at)?,
            ')' => {
                if self.open.pop().is_none() {
                    return refuse(at, "no group is open that this ) could end");
                }
                self.out.push(')');
            }
            '[' => self.brackets(at)?,
            '*' | '+' | '?' => {
                self.out.push(c);
                self.lazy(at)?;
            }
            '{' => {
                self.repetition(at)?;
                self.lazy(at)?;
            }
            '.' | '^' | '$' | '|' => self.out.push(c),
            c => self.literal(c),
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }

    fn class(&mut self, inside: &str, negated: bool) {
        let hat = if negated { "^" } else { "" };
        let _ = write!(self.out, "[{hat}{inside}]");
    }

    /// Whether this comes next; then it is taken.
    fn takes(&mut self, expected: &str) -> bool {
        let rest = self.java.peek().map_or("", |(at, _)| &self.text[*at..]);
        let found = rest.starts_with(expected);
        if found {
            expected.chars().for_each(|_| {
                self.java.next();
            });
        }
        found
    }

    /// What is between `\Q` and `\E` stands for itself.
    fn quoted(&mut self) {
        while !self.takes(r"\E") {
            let Some((_, c)) = self.java.next() else { return };
            self.literal(c);
        }
    }

    /// Reads what follows a repetition: `?` takes little, and changes nothing of a whole match. `+`
    /// would.
    fn lazy(&mut self, at: usize) -> Result<(), Unusable> {
        if self.takes("+") {
            return refuse(at, "possessive repetition is not supported; leave its last + out");
        }
        if self.takes("?") {
            self.out.push('?');
        }
        match self.java.peek() {
            Some(&(at, '*' | '+' | '?')) => refuse(at, "there is nothing here to repeat"),
            _ => Ok(()),
        }
    }

    fn repetition(&mut self, at: usize) -> Result<(), Unusable> {
        self.out.push('{');
        loop {
            match self.java.next() {
                Some((_, c @ ('0'..='9' | ','))) => self.out.push(c),
                Some((_, '}')) => break,
                _ => return refuse(at, r"{ begins a repetition, {2,5} for example; \{ is a brace"),
            }
        }
        self.out.push('}');
        Ok(())
    }

    fn group(&mut self, at: usize) -> Result<(), Unusable> {
        self.open.push(at);
        if self.open.len() > DEPTH_MAX as usize {
            return refuse(at, format!("more than {DEPTH_MAX} groups are within one another"));
        }
        if !self.takes("?") {
            self.out.push('(');
            return Ok(());
        }
        for around in ["=", "!", "<=", "<!"] {
            if self.takes(around) {
                return refuse(at, format!("look-around, (?{around}…), is not supported"));
            }
        }
        if self.takes(">") {
            return refuse(at, "independent groups, (?>…), are not supported; use (?:…)");
        }
        if self.takes("<") {
            // Nothing asks for a group by its name.
            let name = |c: &char| c.is_ascii_alphanumeric();
            while self.java.next_if(|(_, c)| name(c)).is_some() {}
            if !self.takes(">") {
                return refuse(at, "a group's name has letters and digits, and ends with >");
            }
            self.out.push('(');
            return Ok(());
        }
        let mut flags = String::new();
        while let Some((_, flag)) = self.java.next_if(|(_, c)| matches!(c, 'i' | 's' | 'm' | '-')) {
            flags.push(flag);
        }
        let _ = write!(self.out, "(?{flags}");
        match self.java.next() {
            Some((_, ':')) => self.out.push(':'),
            Some((_, ')')) if !flags.is_empty() => {
                self.open.pop();
                self.out.push(')');
            }
            _ => return refuse(at, "of the flags only i, s and m are supported"),
        }
        Ok(())
    }

    /// Reads what follows a backslash.
    fn escape(&mut self, at: usize) -> Result<Escape, Unusable> {
        let Some((_, c)) = self.java.next() else {
            return refuse(at, r"a backslash stands before another character; \\ is itself");
        };
        if let Some((_, inside)) =
            CLASSES.iter().find(|(class, _)| *class == c.to_ascii_lowercase())
        {
            return Ok(Escape::Class(inside, c.is_ascii_uppercase()));
        }
        Ok(match c {
            'p' | 'P' => Escape::Class(self.posix(at)?, c == 'P'),
            't' => Escape::Char('\t'),
            'n' => Escape::Char('\n'),
            'r' => Escape::Char('\r'),
            'f' => Escape::Char('\x0C'),
            'a' => Escape::Char('\x07'),
            'e' => Escape::Char('\x1B'),
            'x' => Escape::Char(self.code(at, 2)?),
            'u' => Escape::Char(self.code(at, 4)?),
            'A' => Escape::Place(r"\A"),
            'z' => Escape::Place(r"\z"),
            'b' => Escape::Place(r"(?-u:\b)"),
            'B' => Escape::Place(r"\B"),
            '1'..='9' | 'k' => return refuse(at, "references back to a group are not supported"),
            c if c.is_ascii_alphanumeric() => {
                return refuse(at, format!("\\{c} is not supported"));
            }
            c => Escape::Char(c),
        })
    }

    fn posix(&mut self, at: usize) -> Result<&'static str, Unusable> {
        for (name, inside) in POSIX {
            if self.takes(&format!("{{{name}}}")) {
                return Ok(inside);
            }
        }
        let names = POSIX.map(|(name, _)| name).join(", ");
        refuse(at, format!("of the classes \\p{{…}} only these are supported: {names}"))
    }

    fn code(&mut self, at: usize, digits: usize) -> Result<char, Unusable> {
        let mut code = 0;
        for _ in 0..digits {
            let digit = self.java.next().and_then(|(_, c)| c.to_digit(16));
            let Some(digit) = digit else {
                return refuse(at, format!("exactly {digits} hexadecimal digits belong here"));
            };
            code = code * 16 + digit;
        }
        let none = Unusable { at, problem: "there is no such character".to_owned() };
        char::from_u32(code).ok_or(none)
    }

    /// A class in brackets, item by item, so that no character has a meaning that Java gives it not.
    fn brackets(&mut self, at: usize) -> Result<(), Unusable> {
        self.out.push('[');
        if self.takes("^") {
            self.out.push('^');
        }
        let mut empty = true;
        loop {
            let Some((item, c)) = self.java.next() else {
                return refuse(at, "this class has no ] to end it");
            };
            let first = match c {
                ']' if empty => {
                    return refuse(item, r"the class is empty; \] is the bracket itself");
                }
                ']' => break,
                '[' => return refuse(item, r"classes in classes are not supported; \[ is itself"),
                '&' if self.takes("&") => {
                    return refuse(
                        item,
                        r"intersections of classes are not supported; \& is itself",
                    );
                }
                '\\' => match self.escape(item)? {
                    Escape::Char(c) => c,
                    Escape::Class(inside, negated) => {
                        self.class(inside, negated);
                        empty = false;
                        continue;
                    }
                    Escape::Place(_) => {
                        return refuse(item, "a class is of characters, not places");
                    }
                },
                c => c,
            };
            empty = false;
            self.literal(first);
            let ranges = {
                let mut ahead = self.java.clone();
                ahead.next().is_some_and(|(_, c)| c == '-')
                    && ahead.next().is_some_and(|(_, c)| !matches!(c, ']' | '['))
            };
            if ranges {
                self.java.next();
                let last = match self.java.next() {
                    Some((item, '\\')) => match self.escape(item)? {
                        Escape::Char(c) => c,
                        Escape::Class(..) | Escape::Place(_) => {
                            return refuse(item, "a range ends with a character");
                        }
                    },
                    Some((_, c)) => c,
                    None => return refuse(at, "this class has no ] to end it"),
                };
                if last < first {
                    return refuse(item, "the range ends before it begins");
                }
                self.out.push('-');
                self.literal(last);
            }
        }
        self.out.push(']');
        Ok(())
    }
}

fn refuse<T>(at: usize, problem: impl Into<String>) -> Result<T, Unusable> {
    Err(Unusable { at, problem: problem.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(java: &str, matching: &[&str], others: &[&str]) {
        let pattern = Pattern::parse(java).unwrap_or_else(|error| panic!("{java}: {error:?}"));
        for text in matching {
            assert!(pattern.matches(text), "{java} matches {text:?}");
        }
        for text in others {
            assert!(!pattern.matches(text), "{java} does not match {text:?}");
        }
    }

    #[test]
    fn patterns_match_whole_texts_as_javas_do() {
        check("t2.*", &["t2.small", "t2"], &["at2.small"]);
        check("g[23]", &["g2", "g3"], &["g2.x", "g4"]);
        check("a|b+", &["a", "bb"], &["ab", "ba"]);
        check("(?i)us-east-1[a-c]?", &["US-EAST-1b", "us-east-1"], &["us-east-1d"]);
        check(r"(m|c)\d\.(?:x?large){1,2}", &["m5.large", "c4.xlargelarge"], &["m٣.large"]);
        check(r"[\w.-]+", &["a.b-c_D9"], &["a b", "ä"]);
        check(r"\QA.*\E.", &["A.*x"], &["Abcx"]);
        check(r"\Q(", &["("], &[]);
        check(r"\p{Upper}\P{Digit}\S", &["Aax"], &["A1x", "aax", "Aa "]);
        check(r"[a\-z&~-]+", &["a-z&~"], &["b"]);
        check(r"[^\s\]]*", &["", "x["], &["a b", "]"]);
        check(r"\x41\u0042\e", &["AB\x1B"], &[]);
        check(r"(?<zone>a)b??", &["a", "ab"], &["abb"]);
        check(r"a\-\<\é", &["a-<é"], &[]);
        check("", &[""], &["a"]);
        check("#é/@", &["#é/@"], &[]);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_where_it_stands() {
        let refused = |java: &str| match Pattern::parse(java) {
            Ok(_) => panic!("{java} is taken"),
            Err(Unusable { at, problem }) => format!("{java} at {at}: {problem}"),
        };
        let patterns = [
            "a(?=b)",
            "a(?!b)",
            "(?<=a)b",
            "(?<!a)b",
            "a(?>b)",
            r"(a)\1",
            r"(?<n>a)\k<n>",
            "ab*+",
            "a{2}+",
            "a**",
            "[a-z&&[^b]]",
            "[a[b]]",
            "[]",
            "[a",
            "[z-a]",
            r"[a\b]",
            "(a",
            "a)(b",
            "(?x)a",
            "(?",
            "*",
            "a{",
            "a{,}",
            r"\",
            r"\R",
            r"\p{L}",
            r"\xZZ",
            r"\ud800",
            "(a{99}){99}",
            "a{3,1}",
        ];
        let said: Vec<String> = patterns.iter().map(|java| refused(java)).collect();
        expect_test::expect![[r#"
            a(?=b) at 1: look-around, (?=…), is not supported
            a(?!b) at 1: look-around, (?!…), is not supported
            (?<=a)b at 0: look-around, (?<=…), is not supported
            (?<!a)b at 0: look-around, (?<!…), is not supported
            a(?>b) at 1: independent groups, (?>…), are not supported; use (?:…)
            (a)\1 at 3: references back to a group are not supported
            (?<n>a)\k<n> at 7: references back to a group are not supported
            ab*+ at 2: possessive repetition is not supported; leave its last + out
            a{2}+ at 1: possessive repetition is not supported; leave its last + out
            a** at 2: there is nothing here to repeat
            [a-z&&[^b]] at 4: intersections of classes are not supported; \& is itself
            [a[b]] at 2: classes in classes are not supported; \[ is itself
            [] at 1: the class is empty; \] is the bracket itself
            [a at 0: this class has no ] to end it
            [z-a] at 1: the range ends before it begins
            [a\b] at 2: a class is of characters, not places
            (a at 0: this group has no ) to end it
            a)(b at 1: no group is open that this ) could end
            (?x)a at 0: of the flags only i, s and m are supported
            (? at 0: of the flags only i, s and m are supported
            * at 0: this is no regular expression: repetition operator missing expression
            a{ at 1: { begins a repetition, {2,5} for example; \{ is a brace
            a{,} at 0: this is no regular expression: repetition quantifier expects a valid decimal
            \ at 0: a backslash stands before another character; \\ is itself
            \R at 0: \R is not supported
            \p{L} at 0: of the classes \p{…} only these are supported: Lower, Upper, ASCII, Alpha, Digit, Alnum, Punct, Graph, Print, Blank, Cntrl, XDigit, Space
            \xZZ at 0: exactly 2 hexadecimal digits belong here
            \ud800 at 0: there is no such character
            (a{99}){99} at 0: this regular expression is too large; have it repeat less
            a{3,1} at 0: this is no regular expression: invalid repetition count range, the start must be <= the end"#]].assert_eq(&said.join("\n"));
    }
}
