//! The endpoints' socket: systemd's, when it has opened one for us, else our own.
//!
//! A port below 1024 takes a capability that the service does not have; systemd's socket unit opens
//! it instead, and keeps it while the agent restarts.

use std::{io, net::SocketAddr};

use listenfd::ListenFd;
use tokio::net::TcpListener;

pub(crate) async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match passed(address)? {
        Some(listener) => {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        }
        None => TcpListener::bind(address).await,
    }
}

/// The socket for this address among those that the service manager passed.
fn passed(address: SocketAddr) -> io::Result<Option<std::net::TcpListener>> {
    let mut sockets = ListenFd::from_env();
    for index in 0..sockets.len() {
        let Some(listener) = sockets.take_tcp_listener(index)? else { continue };
        if listener.local_addr()? == address {
            return Ok(Some(listener));
        }
        tracing::warn!(
            passed = %listener.local_addr()?, wanted = %address,
            "systemd passed a socket for another address: give ListenStream= of \
             longshore-agent.socket and --task-endpoints-listen the same one"
        );
    }
    Ok(None)
}
