//! Runs a launcher's program: no shell, a time limit, and the end of what it said.

use std::{path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

/// Maximum number of programs that run at the same time (ours); other calls wait for their turn.
pub(super) const CALLS_AT_ONCE_MAX: usize = 16;
/// Maximum number of bytes of one stream that are kept (ours): those at its end.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// Maximum number of a stream's last lines that a message and the log repeat (ours).
const LAST_LINES: usize = 5;
/// Maximum number of a stream's last bytes that a message and the log repeat (ours).
const LAST_BYTES_MAX: usize = 800;
/// Timeout of the output after the program ended (ours): something that the program started may
/// hold the output open, and is left alone.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);

/// Runs `program` and answers with its standard output. The error is a sentence with the end of
/// what it said. After `timeout` the program and all that it started in its process group is killed.
pub(super) async fn run(
    program: &Path,
    arguments: &[&str],
    environment: &[(&str, String)],
    timeout: Duration,
) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The coordinator's own settings are not the launched host's.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LONGSHORE_") {
            command.env_remove(name);
        }
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.process_group(0).kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|error| format!("the program {} cannot be started: {error}", program.display()))?;
    let mut group = ProcessGroup::of(&child);
    let output = tokio::spawn(tail(child.stdout.take()));
    let errors = tokio::spawn(tail(child.stderr.take()));
    let ended = tokio::time::timeout(timeout, child.wait()).await;
    let status = match ended {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => return Err(format!("the program's end could not be seen: {error}")),
        Err(_) => {
            group.kill();
            let _ = child.wait().await;
            let said = last_lines(&finished(errors).await);
            let seconds = timeout.as_secs_f64();
            return Err(format!("the program was killed after {seconds} s{said}"));
        }
    };
    group.leave();
    let (output, errors) = (finished(output).await, finished(errors).await);
    if status.success() {
        return Ok(output);
    }
    let said = last_lines(if errors.trim().is_empty() { &output } else { &errors });
    Err(match status.code() {
        Some(code) => format!("the program ended with status {code}{said}"),
        None => format!("the program was killed by a signal{said}"),
    })
}

/// A process group that is killed when nobody waits for its leader any more.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        ProcessGroup(id.and_then(Pid::from_raw))
    }

    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// What the program left running is meant to run on: a host perhaps.
    fn leave(&mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn finished(mut reader: tokio::task::JoinHandle<String>) -> String {
    match tokio::time::timeout(OUTPUT_GRACE, &mut reader).await {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => String::new(),
        Err(_) => {
            reader.abort();
            String::new()
        }
    }
}

async fn tail(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let (mut kept, mut buffer) = (Vec::new(), vec![0; 8192]);
    while let Ok(read) = stream.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        kept.extend_from_slice(&buffer[..read]);
        if kept.len() > 2 * OUTPUT_BYTES_MAX {
            kept.drain(..kept.len() - OUTPUT_BYTES_MAX);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// `: ` and the last lines, or nothing.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> =
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LAST_LINES)..].join(" | ");
    let mut from = last.len().saturating_sub(LAST_BYTES_MAX);
    while !last.is_char_boundary(from) {
        from += 1;
    }
    let last: String = last[from..].chars().filter(|c| !c.is_control()).collect();
    if last.is_empty() { last } else { format!(": {last}") }
}
