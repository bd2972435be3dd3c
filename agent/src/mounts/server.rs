//! The helper's side of its socket: who may ask, how much at once, one answer for each connection.
//!
//! A thread for each connection, since every call here may wait for a file system of the network.
//! Never: a request of anybody but root and the helper's own user.

use std::{
    io::{Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use longshore_common::service_manager::ServiceManager;
use rustix::{
    io::Errno,
    net::{RecvFlags, recv, sockopt::socket_peercred},
    process::geteuid,
};
use sd_notify::NotifyState;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    Helper, HelperError,
    protocol::{
        HelperReply, HelperRequest, LENGTH_BYTES, MountSource, body_length, framed, parsed,
    },
    table::MountTable,
};

/// Maximum of connections served at once; a file system that hangs holds one for each request.
const CONNECTIONS_MAX: usize = 64;
/// Timeout of each read and write of a connection: the agent sends its request at once.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Timeout of requests under way when the helper is told to end: less than its unit's
/// TimeoutStopSec=.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// Pause after a connection that could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Only the socket's owner connects.
const SOCKET_MODE: u32 = 0o600;

/// Serves until `shutdown`, and finishes what was asked for until then. What is mounted stays.
pub(super) async fn serve(
    helper: Helper,
    socket: &Path,
    shutdown: CancellationToken,
) -> Result<(), HelperError> {
    let listener = listen(socket)?;
    let manager = ServiceManager::of_this_program();
    manager.tell(&[NotifyState::Ready, NotifyState::Status("Makes mounts for tasks")]);
    let (helper, room) = (Arc::new(helper), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        let accepted = accepted
            .and_then(|(stream, _)| stream.into_std())
            .and_then(|stream| stream.set_nonblocking(false).map(|()| stream));
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) if is_passing(&error) => {
                tracing::warn!(%error, "a connection to the helper was not taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
            Err(error) => return Err(HelperError::Accept(error)),
        };
        let Ok(turn) = room.clone().try_acquire_owned() else {
            let why = format!(
                "the helper is busy with {CONNECTIONS_MAX} requests: a file system \
                               of the network may hang"
            );
            answer(&stream, &HelperReply::Failed { why });
            continue;
        };
        let helper = helper.clone();
        let served = std::thread::Builder::new().spawn(move || {
            serve_connection(&helper, &stream);
            drop(turn);
        });
        if let Err(error) = served {
            // The connection is closed, and the agent tells its task so.
            tracing::warn!(%error, "no thread for a request to the helper");
        }
    }
    let all = room.acquire_many(CONNECTIONS_MAX as u32);
    if tokio::time::timeout(FINISH_WITHIN, all).await.is_err() {
        tracing::warn!("requests that wait for a file system are left; the agent makes them again");
    }
    Ok(())
}

/// What the next try may be spared.
fn is_passing(error: &std::io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    let passing = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::CONNABORTED];
    errno.is_some_and(|errno| passing.contains(&errno) || errno == Errno::INTR)
}

fn listen(socket: &Path) -> Result<tokio::net::UnixListener, HelperError> {
    let failed = |error| HelperError::Listen(socket.to_owned(), error);
    // A socket that nobody listens on is left over of an earlier run.
    if UnixStream::connect(socket).is_err() {
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    let listener = UnixListener::bind(socket).map_err(failed)?;
    let mode = std::fs::Permissions::from_mode(SOCKET_MODE);
    std::fs::set_permissions(socket, mode).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    tokio::net::UnixListener::from_std(listener).map_err(failed)
}

/// One request and its reply; also over one half of a pair, in the agent's own process.
pub(super) fn serve_connection(helper: &Helper, stream: &UnixStream) {
    // What came is read in any case: the refusal would be lost with a connection that is reset.
    let asked = request(stream);
    let reply = match allowed(stream).and(asked) {
        Ok(request) => helper.carry_out(&request, || !is_closed(stream)),
        Err(why) => {
            tracing::warn!(why, "a request to the helper was not served");
            HelperReply::Failed { why }
        }
    };
    answer(stream, &reply);
}

fn allowed(stream: &UnixStream) -> Result<(), String> {
    let peer = socket_peercred(stream).map_err(|error| format!("SO_PEERCRED: {error}"))?;
    if !peer.uid.is_root() && peer.uid != geteuid() {
        return Err(format!("user {} may not ask this helper", peer.uid.as_raw()));
    }
    // Root of a container is root here, but has process ids of its own.
    match levels(&peer.pid.to_string())? == levels("self")? {
        true => Ok(()),
        false => {
            Err(format!("process {peer} of a container may not ask this helper", peer = peer.pid))
        }
    }
}

/// How deep a process is in namespaces of process ids, as seen from here.
fn levels(process: &str) -> Result<usize, String> {
    let status = format!("/proc/{process}/status");
    let text = fs_err::read_to_string(status).map_err(|error| error.to_string())?;
    let ids = text.lines().find_map(|line| line.strip_prefix("NSpid:"));
    ids.map(|ids| ids.split_whitespace().count()).ok_or_else(|| "no NSpid in /proc".to_owned())
}

/// Whether the agent has given up.
fn is_closed(stream: &UnixStream) -> bool {
    let seen = recv(stream, &mut [0u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    match seen {
        Ok((_, read)) => read == 0,
        Err(error) => error != Errno::AGAIN && error != Errno::INTR,
    }
}

fn request(mut stream: &UnixStream) -> Result<HelperRequest, String> {
    let told = |error: std::io::Error| format!("no request came: {error}");
    stream.set_read_timeout(Some(SILENCE_MAX)).map_err(told)?;
    stream.set_write_timeout(Some(SILENCE_MAX)).map_err(told)?;
    let mut head = [0; LENGTH_BYTES];
    stream.read_exact(&mut head).map_err(told)?;
    let mut body = vec![0; body_length(head)?];
    stream.read_exact(&mut body).map_err(told)?;
    parsed(&body)
}

fn answer(mut stream: &UnixStream, reply: &HelperReply) {
    let written = framed(reply)
        .and_then(|framed| stream.write_all(&framed).map_err(|error| error.to_string()));
    if let Err(why) = written {
        // The agent asks again: every request may be made twice.
        tracing::debug!(why, "an answer did not reach the agent");
    }
}

impl Helper {
    pub(super) fn carry_out(
        &self,
        request: &HelperRequest,
        is_awaited: impl Fn() -> bool,
    ) -> HelperReply {
        let done = match request {
            HelperRequest::Directory { file_system, access_point } => {
                self.turns.take(file_system.clone()).and_then(|_turn| {
                    self.make_access_point(file_system, access_point).map(|()| HelperReply::Done)
                })
            }
            HelperRequest::Bind(bind) => {
                let turn = asked_of(&bind.source).and_then(|name| self.turns.take(name));
                let bound = turn.and_then(|_turn| self.bind_while(bind, is_awaited));
                bound.map(|path| HelperReply::Bound { path })
            }
            HelperRequest::Release(task) => self.release(task).map(|()| HelperReply::Done),
            HelperRequest::List { host, after } => self.list(*host, *after).map(HelperReply::Tasks),
        };
        done.unwrap_or_else(|why| HelperReply::Failed { why })
    }
}

/// What may let a request wait for ever: a file system, by its id or by where it is mounted.
fn asked_of(source: &MountSource) -> Result<String, String> {
    match source {
        MountSource::FileSystem { id, .. } => Ok(id.clone()),
        MountSource::AccessPoint { file_system, .. } => Ok(file_system.clone()),
        MountSource::Host { path } => {
            let table = MountTable::read()?;
            Ok(table.deepest_above(path).map_or_else(String::new, |at| at.display().to_string()))
        }
    }
}
