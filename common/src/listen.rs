//! Listening sockets that whoever may come can reach, by either version of IP.
//!
//! Never: an accepted connection. Who asked for the socket accepts.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel completes before they are accepted: what the standard library asks for
/// is a fraction of it, and a burst would be refused.
const BACKLOG: i32 = 1024;

/// Listens at `address`. At `[::]` it is reached by IPv4 too, whatever the system's default for that
/// is; on a machine without IPv6 by IPv4 only.
pub fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    match bound(address) {
        Err(error) if lacks_ipv6(address, &error) => {
            bound(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
        }
        bound => bound,
    }
}

/// A peer as it is named in the log and counted: what reached a socket for both versions over IPv4 has an
/// IPv4 address.
pub fn peer(accepted: SocketAddr) -> SocketAddr {
    SocketAddr::new(accepted.ip().to_canonical(), accepted.port())
}

fn bound(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for connections of the one before to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What a kernel without IPv6, or with IPv6 turned off, says.
fn lacks_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        && (matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::Unsupported)
            || error.raw_os_error() == Some(NO_SUCH_FAMILY))
}

/// `EAFNOSUPPORT` of Linux.
const NO_SUCH_FAMILY: i32 = 97;

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn is_reached(listener: &std::net::TcpListener, from: IpAddr) -> bool {
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((from, port)).is_ok()
    }

    #[test]
    fn an_unspecified_ipv6_address_is_reached_by_both_versions() {
        let both = listen("[::]:0".parse().unwrap()).unwrap();
        assert!(is_reached(&both, Ipv4Addr::LOCALHOST.into()));
        if std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            assert!(is_reached(&both, Ipv6Addr::LOCALHOST.into()));
        }
        let one = listen("0.0.0.0:0".parse().unwrap()).unwrap();
        assert!(is_reached(&one, Ipv4Addr::LOCALHOST.into()));
        assert!(!is_reached(&one, Ipv6Addr::LOCALHOST.into()));
    }

    #[test]
    fn peer_over_ipv4_has_an_ipv4_address() {
        let both = listen("[::]:0".parse().unwrap()).unwrap();
        both.set_nonblocking(false).unwrap();
        let port = both.local_addr().unwrap().port();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (_server, accepted) = both.accept().unwrap();
        assert_eq!(peer(accepted), client.local_addr().unwrap());
        assert!(peer(accepted).ip().is_loopback());
    }

    #[test]
    fn a_port_that_is_taken_is_an_error() {
        let first = listen("[::]:0".parse().unwrap()).unwrap();
        let taken = listen(first.local_addr().unwrap()).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn only_a_missing_ipv6_makes_ipv4_of_it() {
        let every = "[::]:1".parse().unwrap();
        assert!(lacks_ipv6(every, &io::Error::from_raw_os_error(NO_SUCH_FAMILY)));
        assert!(lacks_ipv6(every, &ErrorKind::AddrNotAvailable.into()));
        assert!(!lacks_ipv6(every, &ErrorKind::AddrInUse.into()));
        let named = "[2001:db8::1]:1".parse().unwrap();
        assert!(!lacks_ipv6(named, &ErrorKind::AddrNotAvailable.into()));
    }
}
