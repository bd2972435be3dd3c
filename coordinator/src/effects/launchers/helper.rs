//! Launchers' programs outside of the coordinator's sandbox: `longshore-coordinator launcher`, a unit
//! of its own, runs what the coordinator asks for on a Unix socket.
//!
//! The socket lies in the coordinator's data directory, which nobody else may enter, and belongs to
//! that directory's owner. A request names a launcher of the settings and one of the three verbs:
//! whoever holds the coordinator cannot have anything else run. Never: a shell, a path from a
//! request, a variable that does not begin with `LONGSHORE_`.

use std::{
    collections::BTreeMap,
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use sd_notify::NotifyState;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};

use longshore_common::{data_directory, service_manager::ServiceManager, termination::Termination};
use longshore_core::model::auto_scaling::InstanceId;

use super::exec::{self, CALLS_AT_ONCE_MAX};
use crate::settings::{Launcher, LauncherKind, Settings};

/// Name of the socket in the data directory.
pub(super) const SOCKET_FILE: &str = "launcher.sock";
/// Maximum size of a request in bytes (ours).
const REQUEST_BYTES_MAX: u64 = 256 * 1024;
/// Maximum size of an answer in bytes (ours).
const ANSWER_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Timeout of reading a request (ours).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that an answer may take beyond a program's own time limit (ours).
const ANSWER_GRACE: Duration = Duration::from_secs(10);
/// Maximum size of a token in bytes (ours).
const TOKEN_BYTES_MAX: usize = 256;
/// Maximum number of requests served at once (ours): twice what a coordinator asks, one of which
/// may have just been restarted.
const REQUESTS_AT_ONCE_MAX: usize = CALLS_AT_ONCE_MAX * 2;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    launcher: String,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done(String),
    Failed(String),
}

/// Has the helper run a launcher's program; as [`exec::run`].
pub(super) async fn ask(
    socket: &Path,
    name: &str,
    arguments: &[&str],
    environment: &[(&str, String)],
    timeout: Duration,
) -> Result<String, String> {
    let request = Request {
        launcher: name.to_owned(),
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        environment: environment.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
    };
    let unreached = |error: io::Error| {
        format!(
            "the helper that runs launchers cannot be reached at {}: {error}. Start it: systemctl \
             enable --now longshore-launcher",
            socket.display()
        )
    };
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await.map_err(unreached)?;
        let request = serde_json::to_vec(&request).expect("a request is texts");
        stream.write_all(&request).await.map_err(unreached)?;
        stream.shutdown().await.map_err(unreached)?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await.map_err(unreached)?;
        match serde_json::from_slice(&answer) {
            Ok(Answer::Done(output)) => Ok(output),
            Ok(Answer::Failed(why)) => Err(why),
            Err(_) => Err("the helper that runs launchers ended before it answered".to_owned()),
        }
    };
    let answered = tokio::time::timeout(timeout + ANSWER_GRACE, exchange).await;
    answered.unwrap_or_else(|_| Err("the helper that runs launchers does not answer".to_owned()))
}

/// Runs programs for the coordinator until SIGTERM or SIGINT. Those that run then are waited for, and
/// their answers given, unless a second signal comes.
pub async fn serve(settings: Settings, mut termination: Termination) -> Result<()> {
    let path = settings.data_dir.join(SOCKET_FILE);
    let (listener, owner) = bind(&settings.data_dir, &path).with_context(|| {
        format!("{} cannot be listened on; start the coordinator first", path.display())
    })?;
    let names: Vec<&str> = settings.launchers.keys().map(String::as_str).collect();
    tracing::info!(path = %path.display(), launchers = names.join(" "), "launchers can be asked");
    ServiceManager::of_this_program().tell(&[NotifyState::Ready]);
    let room = Arc::new(Semaphore::new(REQUESTS_AT_ONCE_MAX));
    tokio::select! {
        told_by = termination.told() => tracing::info!("told to stop ({told_by})"),
        failed = serve_on(listener, owner, settings.launchers, room.clone()) => return failed,
    }
    ServiceManager::of_this_program().tell(&[NotifyState::Stopping]);
    tokio::select! {
        _all_answered = room.acquire_many(REQUESTS_AT_ONCE_MAX as u32) => {}
        told_by = termination.told() => {
            tracing::warn!("told to stop again ({told_by}): launchers that run are left alone");
            // Dropping them would kill them.
            std::process::exit(0);
        }
    }
    Ok(())
}

/// Binds the socket, and returns it with the directory's owner, who may ask.
fn bind(directory: &Path, path: &PathBuf) -> io::Result<(UnixListener, u32)> {
    let owner = std::fs::metadata(directory)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    data_directory::give_to_owner_of(&owner, path)?;
    Ok((listener, owner.uid()))
}

async fn serve_on(
    listener: UnixListener,
    owner: u32,
    launchers: BTreeMap<String, Launcher>,
    room: Arc<Semaphore>,
) -> Result<()> {
    let launchers = Arc::new(launchers);
    loop {
        let (stream, _) = listener.accept().await.context("the socket is gone")?;
        let uid = stream.peer_cred()?.uid();
        if uid != owner && uid != 0 {
            tracing::warn!(uid, "a stranger asked for a launcher and was refused");
            continue;
        }
        let permit = room.clone().acquire_owned().await?;
        let launchers = launchers.clone();
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = answer(stream, &launchers).await {
                tracing::warn!(%error, "a request for a launcher could not be answered");
            }
        });
    }
}

async fn answer(mut stream: UnixStream, launchers: &BTreeMap<String, Launcher>) -> io::Result<()> {
    let mut body = Vec::new();
    let mut limited = (&mut stream).take(REQUEST_BYTES_MAX);
    tokio::time::timeout(REQUEST_TIMEOUT, limited.read_to_end(&mut body)).await??;
    let answer = match perform(&body, launchers).await {
        Ok(output) => Answer::Done(output),
        Err(why) => Answer::Failed(why),
    };
    stream.write_all(&serde_json::to_vec(&answer)?).await?;
    stream.shutdown().await
}

async fn perform(body: &[u8], launchers: &BTreeMap<String, Launcher>) -> Result<String, String> {
    let request: Request = serde_json::from_slice(body)
        .map_err(|error| format!("the helper was asked what it does not understand: {error}"))?;
    let launcher = launchers.get(&request.launcher).ok_or_else(|| {
        let name = &request.launcher;
        format!("the helper's settings have no table [launch.{name}]; restart longshore-launcher")
    })?;
    let arguments: Vec<&str> = request.arguments.iter().map(String::as_str).collect();
    let environment: Vec<(&str, String)> =
        request.environment.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    check(&arguments, &environment)?;
    let verb = arguments.first().copied().unwrap_or_default();
    let id = arguments.get(1).copied().unwrap_or_default();
    tracing::info!(launcher = %request.launcher, verb, instance = id, "running a launcher");
    let LauncherKind::Program { path, .. } = &launcher.kind else {
        let name = &request.launcher;
        return Err(format!("[launch.{name}] runs no program; restart longshore-launcher"));
    };
    let ran = exec::run(path, &arguments, &environment, launcher.timeout).await;
    if let Err(why) = &ran {
        tracing::warn!(launcher = %request.launcher, verb, instance = id, "a launcher failed: {why}");
    }
    ran
}

fn check(arguments: &[&str], environment: &[(&str, String)]) -> Result<(), String> {
    let is_id = |id: &str| id.parse::<InstanceId>().is_ok();
    let is_token = |token: &str| {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(is_plain)
    };
    let known = match arguments {
        ["launch", id, token] => is_id(id) && is_token(token),
        ["terminate", id] => is_id(id),
        ["list"] => true,
        _ => false,
    };
    let ours = environment.iter().all(|(name, value)| {
        name.starts_with("LONGSHORE_") && !name.contains('=') && !value.contains('\0')
    });
    match known && ours {
        true => Ok(()),
        false => Err("the helper was asked for what no launcher does".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_three_verbs_are_run() {
        let id = "i-0123abcd00000001f";
        let nothing: &[(&str, String)] = &[];
        for arguments in [&["list"][..], &["terminate", id], &["launch", id, "v1-abc-def"]] {
            assert_eq!(check(arguments, nothing), Ok(()), "{arguments:?}");
        }
        for arguments in [
            &[][..],
            &["list", "-x"],
            &["terminate", "i-1"],
            &["launch", id],
            &["launch", id, "--help me"],
            &["launch", "../x", "v1-a"],
            &["sh", "-c"],
        ] {
            assert!(check(arguments, nothing).is_err(), "{arguments:?}");
        }
        let preloads = [("LD_PRELOAD", "/tmp/x".to_owned())];
        assert!(check(&["list"], &preloads).is_err());
        assert_eq!(check(&["list"], &[("LONGSHORE_GROUP", "g".to_owned())]), Ok(()));
    }

    #[tokio::test]
    async fn helper_runs_only_launchers_of_its_settings_and_tells_their_end() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("launcher");
        let text = "#!/bin/sh\ntest \"$1\" = terminate && { echo no >&2; exit 4; }\necho \"$1 $LONGSHORE_GROUP\"\n";
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let timeout = Duration::from_secs(10);
        let kind = LauncherKind::Program { path: program, helper: true };
        let launcher = Launcher { kind, timeout, boot_deadline: timeout, size: None };
        let launchers = BTreeMap::from([("rack".to_owned(), launcher)]);
        let socket = directory.path().join(SOCKET_FILE);
        let absent = ask(&socket, "rack", &["list"], &[], timeout).await.unwrap_err();
        assert!(absent.contains("systemctl enable --now longshore-launcher"), "{absent}");
        let (listener, owner) = bind(directory.path(), &socket).unwrap();
        let mode = std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let room = Arc::new(Semaphore::new(REQUESTS_AT_ONCE_MAX));
        let serving = tokio::spawn(serve_on(listener, owner, launchers, room));
        let group = [("LONGSHORE_GROUP", "g".to_owned())];
        assert_eq!(ask(&socket, "rack", &["list"], &group, timeout).await.unwrap(), "list g\n");
        let id = "i-0123abcd00000001f";
        let failed = ask(&socket, "rack", &["terminate", id], &[], timeout).await.unwrap_err();
        assert_eq!(failed, "the program ended with status 4: no");
        let unknown = ask(&socket, "moon", &["list"], &[], timeout).await.unwrap_err();
        assert!(unknown.contains("[launch.moon]"), "{unknown}");
        let refused = ask(&socket, "rack", &["sh"], &[], timeout).await.unwrap_err();
        assert!(refused.contains("what no launcher does"), "{refused}");
        serving.abort();
    }
}
