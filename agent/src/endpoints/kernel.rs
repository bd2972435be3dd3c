//! The other end of a connection, as this host's kernel knows it.

use std::{
    io::{self, BufRead, BufReader},
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use super::source::{ContainerNetwork, Witness};
use crate::{
    kernel::{control_group::ControlGroup, host_socket},
    plain_http::Ends,
};

pub(crate) struct Kernel {
    /// What tasks send to. The other ends know it only, whatever it is redirected to.
    pub(crate) public: SocketAddr,
}

impl Witness for Kernel {
    fn holds_other_end(
        &self,
        ends: Ends,
        network: ContainerNetwork,
        pid: Option<u32>,
        docker_id: &str,
    ) -> io::Result<bool> {
        let pid = pid.ok_or_else(|| io::Error::other("the container shows no process"))?;
        // Also that the process still is this container's.
        let group = ControlGroup::of(pid, docker_id)?;
        for local in [self.public, ends.local] {
            let ends = Ends { local, ..ends };
            let holds = match network {
                ContainerNetwork::Own => has_connection(pid, ends)?,
                ContainerNetwork::Host => match host_socket::find(ends.peer, ends.local)? {
                    Some(socket) => group.holds(&socket)?,
                    None => false,
                },
            };
            if holds {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether the network of this process has a socket whose ends are the other way round. What a
/// neighbour sends in the name of this one's address has none there.
fn has_connection(pid: u32, Ends { peer, local }: Ends) -> io::Result<bool> {
    let wanted = |ip: fn(IpAddr) -> IpAddr| {
        let end = |end: SocketAddr| format!("{}:{:04X}", written(ip(end.ip())), end.port());
        format!("{} {}", end(peer), end(local))
    };
    // A program may speak IPv4 by a socket of IPv6.
    Ok(has_line(pid, "tcp", &wanted(|ip| ip.to_canonical()))?
        || has_line(pid, "tcp6", &wanted(mapped))?)
}

fn has_line(pid: u32, table: &str, wanted: &str) -> io::Result<bool> {
    let table = match fs_err::File::open(format!("/proc/{pid}/net/{table}")) {
        Ok(table) => table,
        // Without IPv6 there is no such table.
        Err(error) if error.kind() == io::ErrorKind::NotFound && table == "tcp6" => {
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    for line in BufReader::new(table).lines() {
        // `  0: 020011AC:9C40 02AAFEA9:0050 01 …`
        let line = line?;
        let ends = line.split_once(": ").map(|(_, ends)| ends);
        if ends.is_some_and(|ends| ends.starts_with(wanted)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn mapped(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
        IpAddr::V6(ip) => IpAddr::V6(ip),
    }
}

/// As the kernel writes addresses: words of 32 bits in the machine's own order.
fn written(ip: IpAddr) -> String {
    let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
    match ip {
        IpAddr::V4(ip) => word(ip.octets()),
        IpAddr::V6(ip) => {
            let words = Ipv6Addr::octets(&ip);
            words.chunks(4).map(|four| word([four[0], four[1], four[2], four[3]])).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_found_in_the_network_of_the_process_that_made_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let _client = TcpStream::connect(local).unwrap();
        let (_server, peer) = listener.accept().unwrap();
        let own = std::process::id();
        assert!(has_connection(own, Ends { peer, local }).unwrap());
        let other = SocketAddr::new(peer.ip(), peer.port() ^ 1);
        assert!(!has_connection(own, Ends { peer: other, local }).unwrap());
    }

    #[test]
    fn an_ipv4_connection_of_an_ipv6_socket_is_found_too() {
        let Ok(listener) = TcpListener::bind("[::]:0") else { return };
        let port = listener.local_addr().unwrap().port();
        let _client = TcpStream::connect(("::ffff:127.0.0.1", port)).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let local = server.local_addr().unwrap();
        assert!(has_connection(std::process::id(), Ends { peer, local }).unwrap());
    }

    #[test]
    fn a_process_that_is_not_the_containers_is_an_error() {
        let ends = Ends { peer: ([127, 0, 0, 1], 1).into(), local: ([127, 0, 0, 1], 2).into() };
        let pid = Some(std::process::id());
        for network in [ContainerNetwork::Own, ContainerNetwork::Host] {
            let kernel = Kernel { public: ends.local };
            assert!(kernel.holds_other_end(ends, network, pid, "0123456789abcdef").is_err());
        }
    }
}
