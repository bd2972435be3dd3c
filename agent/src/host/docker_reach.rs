//! Whether this host's Docker Engine answers, and which one it is. Docker may come late, go away and
//! come back as another version: the agent says so and lives on.
//!
//! Never: a conclusion about a container. That is the engine's, by its own calls.

use std::{path::Path, sync::Arc, time::Duration};

use longshore_common::telemetry::chain;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::runtime::{ContainerRuntime, RuntimeVersion};

/// Interval at which a Docker that answers is asked for its version and log drivers: one that hangs
/// goes unnoticed for this long. One that ends is noticed at once, by its event stream.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// Interval at which a Docker that does not answer is tried.
const TRY_EVERY: Duration = Duration::from_secs(2);
/// Interval at which the log repeats that Docker is away.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What is known of Docker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DockerReach {
    /// Whether an answer or a failure has come at all.
    pub(crate) asked: bool,
    /// Whether the last question was answered.
    pub(crate) answers: bool,
    /// Docker's last answer, also while Docker is away: a restart of Docker changes nothing in what this
    /// host can do.
    pub(crate) last: Option<RuntimeVersion>,
}

/// Who is told what comes of the questions.
pub(crate) trait NotesDocker: Send + Sync {
    fn set_docker_answers(&self, answers: bool);
    /// What was told last.
    fn docker_data_problem(&self) -> Option<String>;
    /// Why what Docker keeps on disk is not seen; absent when all is well.
    fn set_docker_data_problem(&self, problem: Option<String>);
}

/// Container logs are read, and the disk is watched, where Docker keeps its data: this must be seen.
async fn note_data_root(root: Option<&Path>, status: &impl NotesDocker) {
    let hidden = match root {
        Some(root) if is_hidden(root).await => Some(hidden_data_root(root)),
        Some(_) | None => None,
    };
    if let Some(problem) = &hidden
        && status.docker_data_problem().as_ref() != Some(problem)
    {
        tracing::error!("{problem}");
    }
    status.set_docker_data_problem(hidden);
}

/// Whether this process does not see a folder that Docker says it has.
pub(crate) async fn is_hidden(folder: &Path) -> bool {
    match tokio::fs::metadata(folder).await {
        Ok(_) => false,
        Err(error) => matches!(
            error.kind(),
            std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied
        ),
    }
}

/// The problem, and what to do.
pub(crate) fn hidden_data_root(root: &Path) -> String {
    let shown = root.display();
    let homes = ["/home", "/root", "/run/user"];
    let remedy = if homes.iter().any(|home| root.starts_with(home)) {
        "run `systemctl edit longshore-agent`, add the lines `[Service]` and `ProtectHome=read-only`, \
         and restart it"
    } else {
        "let the agent see that folder, or move Docker's data (data-root in daemon.json)"
    };
    format!(
        "Docker keeps its data in {shown}, which the agent cannot see: no awslogs task starts and the \
         disk is not watched; {remedy}"
    )
}

/// Asks until `shutdown`.
pub(crate) async fn keep_asking(
    runtime: impl ContainerRuntime,
    socket: &Path,
    status: Arc<impl NotesDocker>,
    reach: watch::Sender<DockerReach>,
    shutdown: CancellationToken,
) {
    let socket = socket.display();
    // Since when it is away, and when that was said last.
    let mut away: Option<tokio::time::Instant> = None;
    loop {
        let answer = tokio::select! {
            () = shutdown.cancelled() => return,
            answer = runtime.version() => answer,
        };
        let pause = match answer {
            Ok(found) => {
                status.set_docker_answers(true);
                let changed = reach.send_if_modified(|reach| {
                    let found =
                        DockerReach { asked: true, answers: true, last: Some(found.clone()) };
                    let changed = *reach != found;
                    *reach = found;
                    changed
                });
                note_data_root(found.data_root.as_deref(), &*status).await;
                if changed || away.is_some() {
                    tracing::info!(
                        docker.version = found.version,
                        docker.api = found.api_version,
                        "the Docker Engine answers"
                    );
                }
                away = None;
                ASK_EVERY
            }
            Err(error) => {
                status.set_docker_answers(false);
                reach.send_if_modified(|reach| {
                    let news = !reach.asked || reach.answers;
                    (reach.asked, reach.answers) = (true, false);
                    news
                });
                let now = tokio::time::Instant::now();
                if away.is_none_or(|said| now.duration_since(said) >= SAY_EVERY) {
                    tracing::warn!(
                        error = chain(&error),
                        %socket,
                        "the Docker Engine does not answer; waiting for it. Containers that run go \
                         on, no new ones start"
                    );
                    away = Some(now);
                }
                TRY_EVERY
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The unit hides folders of users: Docker's data may be in one.
    #[tokio::test]
    async fn hidden_data_root_is_told_with_the_line_to_add() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_hidden(folder.path()).await);
        let gone = folder.path().join("docker");
        assert!(is_hidden(&gone).await);
        let told = hidden_data_root(Path::new("/home/docker"));
        assert!(told.contains("ProtectHome=read-only"), "{told}");
        let elsewhere = hidden_data_root(&gone);
        assert!(!elsewhere.contains("ProtectHome"), "{elsewhere}");
    }
}
