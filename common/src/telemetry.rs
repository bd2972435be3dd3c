//! The log: one line a state change, with fixed field names, for people and for machines.
//!
//! What others wrote (images, tasks' owners, Docker, clients) comes into lines as values of fields and
//! within messages. In a line of text it is escaped here, where all lines are made, so that no call
//! can forget to. JSON escapes what would end a line by itself.

mod escape;

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

pub use self::escape::{EscapedFields, escaped};

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(format!("`{other}` is not a log format: say `text` or `json`")),
        }
    }
}

/// Starts the log on standard error. `filter` is a `tracing` directive, `info` for example.
/// Under systemd the journal stamps the time, so lines carry none of their own there.
pub fn init(filter: &str, format: LogFormat, under_systemd: bool) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        format!("the log filter `{filter}` is not understood: {error}; say `info` or `debug`")
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let started = match (format, under_systemd) {
        (LogFormat::Json, _) => {
            registry.with(lines.json().flatten_event(true).with_span_list(false)).try_init()
        }
        (LogFormat::Text, true) => {
            let lines = lines.fmt_fields(EscapedFields).without_time().with_ansi(false);
            registry.with(lines).try_init()
        }
        (LogFormat::Text, false) => {
            let colours = std::io::stderr().is_terminal();
            registry.with(lines.fmt_fields(EscapedFields).with_ansi(colours)).try_init()
        }
    };
    started.map_err(|error| error.to_string())
}

/// An error with everything that caused it: `a: b: c`. Log lines show causes only by this, for JSON
/// ones would keep them to themselves.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the ledger cannot be opened")]
    struct Outer(#[source] std::fmt::Error);

    #[test]
    fn a_chain_names_the_error_and_its_causes() {
        let causes = std::fmt::Error.to_string();
        assert_eq!(
            chain(&Outer(std::fmt::Error)),
            format!("the ledger cannot be opened: {causes}")
        );
    }
}
