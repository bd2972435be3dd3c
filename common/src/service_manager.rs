//! What a service manager (systemd) is told, on the socket that it names to a program it starts.
//!
//! Never: a thread that waits for it. One that does not read, because it hangs or because whoever
//! set the variable never meant to, must not hold up a program on which others wait. The socket
//! takes few messages (`net.unix.max_dgram_qlen`, 10 unless somebody raised it).

use std::{io, os::unix::net::UnixDatagram, path::PathBuf};

use sd_notify::NotifyState;

/// Whoever started this program, if it wants to hear.
#[derive(Clone, Debug)]
pub struct ServiceManager {
    socket: Option<PathBuf>,
}

impl ServiceManager {
    pub fn of_this_program() -> Self {
        ServiceManager { socket: std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from) }
    }

    /// Whether there is one; without, telling does nothing.
    pub fn listens(&self) -> bool {
        self.socket.is_some()
    }

    /// Now, or not at all while it has not read what it was told before.
    pub fn tell(&self, states: &[NotifyState<'_>]) {
        let told = self.connected().and_then(|socket| match socket {
            Some(socket) => socket.send(message(states).as_bytes()).map(drop),
            None => Ok(()),
        });
        told.unwrap_or_else(note);
    }

    /// What it must hear, however long it takes until there is room.
    pub async fn tell_surely(&self, states: &[NotifyState<'_>]) {
        let told = async {
            let Some(socket) = self.connected()? else { return Ok(()) };
            let socket = tokio::net::UnixDatagram::from_std(socket)?;
            socket.send(message(states).as_bytes()).await.map(drop)
        };
        told.await.unwrap_or_else(note);
    }

    /// A new socket for each message: it may have been restarted since the last one.
    fn connected(&self) -> io::Result<Option<UnixDatagram>> {
        let Some(path) = &self.socket else { return Ok(None) };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(path)?;
        Ok(Some(socket))
    }
}

/// One assignment a line, as sd_notify(3) has it.
fn message(states: &[NotifyState<'_>]) -> String {
    states.iter().map(|state| format!("{state}\n")).collect()
}

fn note(error: io::Error) {
    tracing::debug!(%error, "the service manager cannot be told");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than any machine's `net.unix.max_dgram_qlen`.
    const TOO_MANY: usize = 10_000;

    fn manager() -> (ServiceManager, UnixDatagram, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let reader = UnixDatagram::bind(&path).unwrap();
        (ServiceManager { socket: Some(path) }, reader, directory)
    }

    fn hear(reader: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = reader.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn it_hears_one_assignment_a_line() {
        let (manager, reader, _directory) = manager();
        manager.tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
        assert_eq!(hear(&reader), "READY=1\nSTATUS=serving\n");
    }

    #[tokio::test]
    async fn nobody_waits_for_one_that_does_not_read_and_it_hears_the_rest_later() {
        let (manager, reader, _directory) = manager();
        for _ in 0..TOO_MANY {
            manager.tell(&[NotifyState::Watchdog]);
        }
        let surely = tokio::spawn({
            let manager = manager.clone();
            async move { manager.tell_surely(&[NotifyState::Ready]).await }
        });
        tokio::task::yield_now().await;
        assert!(!surely.is_finished(), "there is no room for it yet");
        let mut heard = 0;
        reader.set_nonblocking(true).unwrap();
        let reader = tokio::net::UnixDatagram::from_std(reader).unwrap();
        let mut buffer = [0; 256];
        loop {
            let length = reader.recv(&mut buffer).await.unwrap();
            match &buffer[..length] {
                b"WATCHDOG=1\n" => heard += 1,
                b"READY=1\n" => break,
                other => panic!("heard {}", String::from_utf8_lossy(other)),
            }
        }
        assert!((1..TOO_MANY).contains(&heard));
        surely.await.unwrap();
    }

    #[tokio::test]
    async fn without_one_and_with_one_that_is_gone_telling_does_nothing() {
        let (gone, _, directory) = manager();
        drop(directory);
        for manager in [ServiceManager { socket: None }, gone] {
            manager.tell(&[NotifyState::Ready]);
            manager.tell_surely(&[NotifyState::Ready]).await;
        }
    }
}
