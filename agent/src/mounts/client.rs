//! The agent's side of the mount helper: asks it over a socket, or within this process.

use std::{
    io,
    os::unix::net::UnixStream as BlockingStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use longshore_common::id::HostId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::{
    Helper,
    protocol::{
        BindRequest, HelperReply, HelperRequest, LENGTH_BYTES, TaskMounts, body_length, framed,
        parsed,
    },
    server::serve_connection,
};

/// Maximum of attempts to connect to a helper that is being restarted.
const CONNECTS_MAX: u32 = 20;
/// Pause between two such attempts.
const CONNECT_PAUSE: Duration = Duration::from_millis(250);
/// Timeout of one request.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Who makes mounts for this agent. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct MountHelper(HelperSeat);

#[derive(Clone, Debug, Default)]
enum HelperSeat {
    /// Nobody: no task of this agent mounts anything of the host.
    #[default]
    Absent,
    Socket(PathBuf),
    Own(Arc<Helper>),
}

impl MountHelper {
    pub(crate) fn at(socket: PathBuf) -> Self {
        MountHelper(HelperSeat::Socket(socket))
    }

    pub(super) fn own(helper: Helper) -> Self {
        MountHelper(HelperSeat::Own(Arc::new(helper)))
    }

    pub(crate) async fn bind(&self, request: &BindRequest) -> Result<PathBuf, String> {
        match self.ask(&HelperRequest::Bind(request.clone())).await? {
            HelperReply::Bound { path } => Ok(path),
            reply => Err(unexpected(&reply)),
        }
    }

    pub(crate) async fn release(&self, task: TaskMounts) -> Result<(), String> {
        match self.ask(&HelperRequest::Release(task)).await? {
            HelperReply::Done => Ok(()),
            reply => Err(unexpected(&reply)),
        }
    }

    pub(crate) async fn list(&self, host: HostId) -> Result<Vec<TaskMounts>, String> {
        let mut all: Vec<TaskMounts> = Vec::new();
        loop {
            let after = all.last().copied();
            match self.ask(&HelperRequest::List { host, after }).await? {
                HelperReply::Tasks(tasks) if tasks.is_empty() => return Ok(all),
                HelperReply::Tasks(tasks) => all.extend(tasks),
                reply => return Err(unexpected(&reply)),
            }
        }
    }

    /// Whether there is anybody to ask.
    pub(crate) fn is_there(&self) -> bool {
        match &self.0 {
            HelperSeat::Absent => false,
            HelperSeat::Socket(_) | HelperSeat::Own(_) => true,
        }
    }

    async fn ask(&self, request: &HelperRequest) -> Result<HelperReply, String> {
        let late = || format!("the helper did not answer in {} s", ANSWER_MAX.as_secs());
        let answered = tokio::time::timeout(ANSWER_MAX, self.ask_and_wait(request)).await;
        answered.unwrap_or_else(|_| Err(late()))
    }

    async fn ask_and_wait(&self, request: &HelperRequest) -> Result<HelperReply, String> {
        let mut stream = match &self.0 {
            HelperSeat::Absent => {
                return Err("this agent has no helper that makes mounts".to_owned());
            }
            HelperSeat::Socket(socket) => connect(socket).await?,
            HelperSeat::Own(helper) => paired(helper.clone()).map_err(|error| error.to_string())?,
        };
        let told = |error: io::Error| {
            format!(
                "the helper that makes mounts did not answer: {error}; see `journalctl -u \
                     longshore-agent-volumes`"
            )
        };
        stream.write_all(&framed(request)?).await.map_err(told)?;
        let mut head = [0; LENGTH_BYTES];
        stream.read_exact(&mut head).await.map_err(told)?;
        let mut body = vec![0; body_length(head)?];
        stream.read_exact(&mut body).await.map_err(told)?;
        match parsed(&body)? {
            HelperReply::Failed { why } => Err(why),
            reply => Ok(reply),
        }
    }
}

fn unexpected(reply: &HelperReply) -> String {
    format!("the helper that makes mounts answered something else: {reply:?}")
}

async fn connect(socket: &Path) -> Result<UnixStream, String> {
    let mut tries = 0;
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(_) if tries < CONNECTS_MAX => tries += 1,
            Err(error) => {
                return Err(format!(
                    "the helper that makes mounts is not at {}: {error}; start it by `systemctl \
                     enable --now longshore-agent-volumes`",
                    socket.display()
                ));
            }
        }
        tokio::time::sleep(CONNECT_PAUSE).await;
    }
}

fn paired(helper: Arc<Helper>) -> io::Result<UnixStream> {
    let (ours, theirs) = BlockingStream::pair()?;
    ours.set_nonblocking(true)?;
    std::thread::Builder::new().spawn(move || serve_connection(&helper, &theirs))?;
    UnixStream::from_std(ours)
}
