//! Values in lines of text: nothing in them ends a line, moves a terminal's cursor, or turns the
//! direction of writing around.

use std::{
    error::Error,
    fmt::{self, Write},
};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FormatFields, format::Writer},
};

/// The field that is a line's message.
const MESSAGE: &str = "message";

/// `text` as one may show it in a line: control characters, line and paragraph separators, characters
/// without a form of their own (joiners, marks of direction, tags) and what Unicode has not assigned
/// stand there by their numbers, line breaks and tabs as `\n`, `\r` and `\t`.
pub fn escaped(text: &str) -> Escaped<'_> {
    Escaped(text)
}

pub struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        EscapingWriter(f).write_str(self.0)
    }
}

/// Passes on what is written to it, escaped.
struct EscapingWriter<W>(W);

impl<W: Write> Write for EscapingWriter<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut shown_to = 0;
        for (at, c) in text.char_indices().filter(|(_, c)| !is_shown(*c)) {
            self.0.write_str(&text[shown_to..at])?;
            write!(self.0, "{}", c.escape_default())?;
            shown_to = at + c.len_utf8();
        }
        self.0.write_str(&text[shown_to..])
    }
}

/// True for a character that a line may hold as it is.
fn is_shown(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // The standard library knows what is printable and tells it by how it escapes. A mark that is
    // combined with the character before it is printable there only.
    let mut pair = [0; 5];
    pair[0] = b'a';
    c.encode_utf8(&mut pair[1..]);
    let pair = std::str::from_utf8(&pair[..1 + c.len_utf8()]).unwrap_or_default();
    pair.escape_debug().nth(1) == Some(c)
}

/// Writes fields as the library does, and their values escaped.
#[derive(Clone, Copy, Debug, Default)]
pub struct EscapedFields;

impl<'writer> FormatFields<'writer> for EscapedFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut line = FieldWriter { writer, is_empty: true, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

struct FieldWriter<'writer> {
    writer: Writer<'writer>,
    is_empty: bool,
    result: fmt::Result,
}

impl FieldWriter<'_> {
    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.result.is_ok() {
            self.result = self.try_write(field, value);
        }
    }

    fn try_write(&mut self, field: &Field, value: fmt::Arguments<'_>) -> fmt::Result {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.writer.write_char(' ')?;
        }
        if field.name() != MESSAGE {
            let name = field.name();
            write!(self.writer, "{}=", name.strip_prefix("r#").unwrap_or(name))?;
        }
        EscapingWriter(&mut self.writer).write_fmt(value)
    }
}

impl Visit for FieldWriter<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            self.write(field, format_args!("{value}"));
        } else {
            self.write(field, format_args!("{value:?}"));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.write(field, format_args!("{}", super::chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Lines;
        fn make_writer(&'a self) -> Lines {
            self.clone()
        }
    }

    /// What the log holds after `say`, with colours or without.
    fn logged(ansi: bool, say: impl FnOnce()) -> String {
        let lines = Lines::default();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(lines.clone())
            .with_target(false)
            .without_time()
            .fmt_fields(EscapedFields)
            .with_ansi(ansi);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, say);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Said(String, #[source] fmt::Error);

    /// Every character that could do more in a line than be read.
    fn foreign() -> impl Iterator<Item = char> {
        let controls = (0..0x20).chain(0x7f..0xa0);
        let formats = (0x200b..=0x200f)
            .chain(0x2028..=0x202e)
            .chain(0x2060..=0x206f)
            .chain(0xfff9..=0xfffb)
            .chain(0xe0000..=0xe007f)
            .chain([0xad, 0x61c, 0x180e, 0xfeff]);
        controls.chain(formats).filter_map(char::from_u32)
    }

    #[test]
    fn no_character_of_a_value_forges_or_disguises_a_line() {
        let mut cells = 0;
        for c in foreign() {
            let text = format!("a{c}b");
            let error = Said(text.clone(), fmt::Error);
            for ansi in [false, true] {
                let log = logged(ansi, || {
                    let span = tracing::info_span!("span", of = %text);
                    let _inside = span.enter();
                    tracing::info!(reason = text, debug = ?text, display = %text, "said {text}");
                    tracing::warn!(error = &error as &dyn Error, "failed: {error}");
                    tracing::error!("{text}");
                });
                assert_eq!(log.matches('\n').count(), 3, "{c:?}: {log:?}");
                let colourless = log.replace("\u{1b}[", "");
                let left: Vec<char> =
                    colourless.chars().filter(|found| *found == c && c != '\n').collect();
                assert!(left.is_empty(), "{c:?}: {log:?}");
                assert!(ansi || !log.contains('\u{1b}'), "{c:?}: {log:?}");
                cells += 1;
            }
        }
        assert_eq!(cells, 2 * foreign().count());
        assert!(cells > 400, "{cells}");
    }

    #[test]
    fn what_people_read_stays_as_it_is() {
        let text = r#"web "a" C:\x 'b' – naïve e\u{301} नमस्ते 日本語 😀 =;[]"#
            .replace("e\\u{301}", "e\u{301}");
        assert_eq!(escaped(&text).to_string(), text);
        assert_eq!(
            escaped("a\r\nb\tc\u{202e}d\u{1b}[31m").to_string(),
            r"a\r\nb\tc\u{202e}d\u{1b}[31m"
        );
        let log = logged(false, || tracing::info!(host = "h", task = %7, "it runs"));
        assert_eq!(log, " INFO it runs host=\"h\" task=7\n");
    }
}
