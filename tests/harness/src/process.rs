//! Long-running programs: started in a host's network, their log read line by line as it is
//! written, ended by their own pid, and never outliving the run that started them.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader},
    net::UnixDatagram,
    process::{Child, Command},
    sync::Notify,
    task::JoinSet,
    time::timeout,
};

use crate::namespaces::Host;

/// Maximum of lines of one program's log that are kept for waiting on; all of them go to its file.
const LINES_MAX: usize = 500_000;
/// Maximum of bytes of one message to a service manager.
const NOTIFICATION_BYTES_MAX: usize = 4096;
/// Timeout of a program saying READY.
const READY_PATIENCE: Duration = Duration::from_secs(60);
/// Timeout of the end of a killed program.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How to start a program.
pub struct Launch<'a> {
    /// Names the log file and the program in messages.
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Where its network is; the machine's own when absent.
    pub host: Option<&'a Host>,
    /// Where `<name>.log` is appended to.
    pub folder: &'a Path,
    /// Wait for READY=1 on a notification socket, as systemd does.
    pub notifies: bool,
    /// Gets each line of the log as it comes.
    pub echo: Option<Echo>,
}

/// Something that is told a program's name and a line of its log.
pub type Echo = Arc<dyn Fn(&str, &str) + Send + Sync>;

pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    log: Arc<Log>,
    log_file: PathBuf,
    notifications: Option<Notifications>,
}

/// What a program has told its service manager, read as it comes: a program need not put up with
/// one that does not read.
struct Notifications {
    log: Arc<Log>,
    /// How much of it [`Process::notified`] has passed.
    heard: usize,
    /// Ends with this.
    _reader: JoinSet<()>,
}

/// What a program has written so far.
#[derive(Default)]
pub struct Log {
    lines: Mutex<Lines>,
    grown: Notify,
}

#[derive(Default)]
struct Lines {
    lines: Vec<Arc<str>>,
    ended: bool,
}

impl Process {
    /// Starts the program, and waits until it is ready when it notifies.
    pub async fn start(launch: Launch<'_>) -> Result<Process> {
        let mut process = Process::spawn(launch).await?;
        process.ready().await?;
        Ok(process)
    }

    /// Starts the program and waits for nothing.
    pub async fn spawn(launch: Launch<'_>) -> Result<Process> {
        fs_err::create_dir_all(launch.folder)?;
        let log_file = launch.folder.join(format!("{}.log", launch.name));
        let mut command = match launch.host {
            Some(host) => {
                // Not `ip netns exec`: it mounts /sys anew, which hides the control groups.
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", host.namespace().display())).arg("setpriv");
                command
            }
            None => Command::new("setpriv"),
        };
        command.args(["--pdeathsig", "KILL"]).arg(&launch.program).args(&launch.arguments);
        command.envs(launch.environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: Ctrl-C on the terminal must reach the harness only.
        command.process_group(0).kill_on_drop(true);
        let notifications = match launch.notifies {
            true => {
                let path = launch.folder.join(format!("{}.notify", launch.name));
                let _ = fs_err::remove_file(&path);
                command.env("NOTIFY_SOCKET", &path);
                Some(Notifications::read(UnixDatagram::bind(&path)?))
            }
            false => None,
        };
        let mut child = command
            .spawn()
            .with_context(|| format!("{} could not be started", launch.program.display()))?;
        let pid = child.id().context("the child has no pid")?;
        let pid = Pid::from_raw(pid as i32).context("the child's pid is 0")?;
        let log = Arc::new(Log::default());
        let out = child.stdout.take().context("no standard output")?;
        let err = child.stderr.take().context("no standard error")?;
        let follow = Follow { name: launch.name.clone(), log: log.clone(), echo: launch.echo };
        tokio::spawn(follow.run(out, err, log_file.clone()));
        Ok(Process { name: launch.name, child, pid, log, log_file, notifications })
    }

    /// Waits until the program says that it is ready, when it notifies.
    pub async fn ready(&mut self) -> Result<()> {
        if self.notifications.is_some() {
            self.notified("READY=1", READY_PATIENCE).await?;
        }
        Ok(())
    }

    /// Waits for one line of a notification, for example `STOPPING=1`.
    pub async fn notified(&mut self, wanted: &str, patience: Duration) -> Result<()> {
        let told = self.notifications.as_mut().context("started without a notify socket")?;
        let pick = |line: &str| (line == wanted).then_some(());
        tokio::select! {
            heard = told.log.wait_for(told.heard, patience, pick) => match heard {
                Ok(((), heard)) => {
                    told.heard = heard;
                    Ok(())
                }
                Err(_) => bail!("{} did not say {wanted} in {patience:?}; its log:\n{}",
                    self.name, self.log.tail()),
            },
            status = self.child.wait() => bail!("{} ended with {} before it said {wanted}; \
                its log:\n{}", self.name, status?, self.log.tail()),
        }
    }

    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    pub fn log_file(&self) -> &Path {
        &self.log_file
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal).with_context(|| format!("signal to {}", self.name))
    }

    /// As a power cut would end it.
    pub async fn kill(mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        timeout(KILL_PATIENCE, self.child.wait()).await.map_err(|_| {
            anyhow!("{} is still there {KILL_PATIENCE:?} after SIGKILL", self.name)
        })??;
        Ok(())
    }

    /// As an operator would end it; its exit status.
    pub async fn terminate(mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        match timeout(patience, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!(
                "{} is still there {patience:?} after SIGTERM; its log:\n{}",
                self.name,
                self.log.tail()
            ),
        }
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }
}

impl Notifications {
    fn read(socket: UnixDatagram) -> Notifications {
        let log = Arc::new(Log::default());
        let mut reader = JoinSet::new();
        reader.spawn({
            let log = log.clone();
            async move {
                let mut message = vec![0; NOTIFICATION_BYTES_MAX];
                while let Ok(length) = socket.recv(&mut message).await {
                    String::from_utf8_lossy(&message[..length]).lines().for_each(|l| log.push(l));
                }
                log.end();
            }
        });
        Notifications { log, heard: 0, _reader: reader }
    }
}

impl Log {
    /// Waits for a line at or after `from` of which `pick` makes something; the position after
    /// that line comes with it.
    pub async fn wait_for<T>(
        &self,
        mut from: usize,
        patience: Duration,
        mut pick: impl FnMut(&str) -> Option<T>,
    ) -> Result<(T, usize)> {
        let found = async {
            loop {
                let grown = self.grown.notified();
                let (new, ended) = self.since(from);
                for line in new {
                    from += 1;
                    if let Some(found) = pick(&line) {
                        return Some((found, from));
                    }
                }
                if ended {
                    return None;
                }
                grown.await;
            }
        };
        match timeout(patience, found).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => bail!("the log ended without the awaited line:\n{}", self.tail()),
            Err(_) => bail!("the awaited line did not come in {patience:?}:\n{}", self.tail()),
        }
    }

    /// The position after the last line, to wait from.
    pub fn position(&self) -> usize {
        self.locked(|log| log.lines.len())
    }

    pub fn lines(&self) -> Vec<Arc<str>> {
        self.since(0).0
    }

    fn since(&self, from: usize) -> (Vec<Arc<str>>, bool) {
        self.locked(|log| (log.lines.get(from..).unwrap_or_default().to_vec(), log.ended))
    }

    /// The end of the log, for messages.
    pub fn tail(&self) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn locked<T>(&self, use_it: impl FnOnce(&mut Lines) -> T) -> T {
        // A panic under this lock leaves lines that are whole.
        use_it(&mut self.lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    fn push(&self, line: &str) {
        self.locked(|log| {
            if log.lines.len() < LINES_MAX {
                log.lines.push(line.into());
            }
        });
        self.grown.notify_waiters();
    }

    fn end(&self) {
        self.locked(|log| log.ended = true);
        self.grown.notify_waiters();
    }
}

/// Reads both outputs of a program until it closes them.
struct Follow {
    name: String,
    log: Arc<Log>,
    echo: Option<Echo>,
}

impl Follow {
    async fn run(
        self,
        out: impl AsyncRead + Unpin,
        err: impl AsyncRead + Unpin,
        file: PathBuf,
    ) -> Result<()> {
        let mut file = tokio::fs::OpenOptions::new().create(true).append(true).open(&file).await?;
        let mut out = BufReader::new(out).lines();
        let mut err = BufReader::new(err).lines();
        let (mut out_open, mut err_open) = (true, true);
        while out_open || err_open {
            let line = tokio::select! {
                line = out.next_line(), if out_open => line.unwrap_or_default().or_else(|| { out_open = false; None }),
                line = err.next_line(), if err_open => line.unwrap_or_default().or_else(|| { err_open = false; None }),
            };
            if let Some(line) = line {
                self.log.push(&line);
                if let Some(echo) = &self.echo {
                    echo(&self.name, &line);
                }
                // The file is for people; a full disk must not stop the program that is tested.
                let _ = file.write_all(format!("{line}\n").as_bytes()).await;
            }
        }
        let _ = file.flush().await;
        self.log.end();
        Ok(())
    }
}
