//! The other end of a connection that began on this host, as the kernel knows it (sock_diag(7)).
//!
//! One question for one socket: the kernel finds it by its addresses. Never: a listing of all.

use std::{io, net::SocketAddr};

use netlink_packet_core::{
    NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, Nla as _, parse_u64,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags, nlas::Nla},
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddress, protocols::NETLINK_SOCK_DIAG};

/// linux/inet_diag.h: INET_DIAG_CGROUP_ID.
const CONTROL_GROUP: u16 = 21;
/// Maximum of bytes of an answer about one socket.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// A socket of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostSocket {
    pub(crate) inode: u32,
    /// The cgroup v2 of the process that opened it; absent on kernels older than 5.9.
    pub(crate) control_group: Option<u64>,
}

/// The socket that speaks from `from` to `to`, in this network namespace. Nothing if there is none:
/// then the speaker is not on this host, or has gone.
pub(crate) fn find(from: SocketAddr, to: SocketAddr) -> io::Result<Option<HostSocket>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddress::new(0, 0))?;
    // The kernel answers before the request has returned.
    socket.set_non_blocking(true)?;

    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut message =
        NetlinkMessage::new(header, SockDiagMessage::InetRequest(request(from, to)).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut answer = Vec::with_capacity(ANSWER_BYTES_MAX);
    socket.recv(&mut answer, 0)?;
    let answer =
        NetlinkMessage::<SockDiagMessage>::deserialize(&answer).map_err(io::Error::other)?;
    match answer.payload {
        NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(found)) => {
            // One that is closing has no owner any more.
            let inode = found.header.inode;
            let control_group = found.nlas.iter().find_map(control_group);
            Ok((inode != 0).then_some(HostSocket { inode, control_group }))
        }
        NetlinkPayload::Error(error) => {
            let error = error.to_io();
            if error.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(error) }
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn request(from: SocketAddr, to: SocketAddr) -> InetRequest {
    let mut socket_id = match from {
        SocketAddr::V4(_) => SocketId::new_v4(),
        SocketAddr::V6(_) => SocketId::new_v6(),
    };
    (socket_id.source_address, socket_id.source_port) = (from.ip(), from.port());
    (socket_id.destination_address, socket_id.destination_port) = (to.ip(), to.port());
    // No cookie: any socket with these addresses.
    socket_id.cookie = [0xff; 8];
    InetRequest {
        family: if from.is_ipv4() { AF_INET } else { AF_INET6 },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id,
    }
}

fn control_group(attribute: &Nla) -> Option<u64> {
    let Nla::Other(other) = attribute else { return None };
    if other.kind() != CONTROL_GROUP {
        return None;
    }
    let mut value = vec![0; other.value_len()];
    other.emit_value(&mut value);
    parse_u64(&value).ok()
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::{fd::AsRawFd, unix::fs::MetadataExt},
    };

    use super::*;

    #[test]
    fn the_other_end_of_a_connection_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_server, peer) = listener.accept().unwrap();
        let found = find(peer, listener.local_addr().unwrap()).unwrap().unwrap();
        let own = std::fs::metadata(format!("/proc/self/fd/{}", client.as_raw_fd())).unwrap();
        assert_eq!(u64::from(found.inode), own.ino());
        assert!(found.control_group.is_some());
    }

    #[test]
    fn a_peer_that_is_not_on_this_host_is_not_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        for stranger in ["127.0.0.1:1", "192.0.2.1:40000"] {
            assert_eq!(find(stranger.parse().unwrap(), local).unwrap(), None, "{stranger}");
        }
    }
}
