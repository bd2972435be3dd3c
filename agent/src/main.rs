//! The `longshore-agent` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let arguments: Vec<String> = std::env::args_os().map(text).collect();
    let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
    longshore_agent::program(&arguments, &environment)
}
