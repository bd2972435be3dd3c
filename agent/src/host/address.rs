//! At which address others reach this host, when the operator did not say, and which are its own.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::{UdpSocket, lookup_host};

use crate::settings::Settings;

/// Port of the other end of a socket by which nothing is sent.
const ANY_PORT: u16 = 9;

/// Whether an address is this host's, as the kernel's routes tell: to an own address it speaks from that
/// very address. Nothing is sent. A bind would not tell: with `ip_nonlocal_bind`, as hosts with a
/// floating address have it, any address can be bound.
pub(crate) fn is_own(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = std::net::UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, ANY_PORT))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == address)
}

/// The operator's word, else where the poll endpoint listens, else the address that the kernel would
/// send from to the first of the `coordinators` that there is a route to. Nothing is sent to find it out.
pub(crate) async fn advertised(settings: &Settings, coordinators: &[String]) -> io::Result<String> {
    if let Some(given) = &settings.advertise {
        return Ok(given.clone());
    }
    let listens = settings.poll_listen.ip();
    if !listens.is_unspecified() {
        return Ok(listens.to_string());
    }
    let mut failure = None;
    for coordinator in coordinators {
        match toward(coordinator).await {
            Ok(address) => return Ok(address.to_string()),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| io::Error::other("no coordinator is named")))
}

/// The source address of the route to `target`, a host with a port.
async fn toward(target: &str) -> io::Result<IpAddr> {
    let mut failure = None;
    for address in lookup_host(target).await? {
        match route(address).await {
            Ok(source) => return Ok(source),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| io::Error::other(format!("`{target}` has no address"))))
}

/// Connecting a datagram socket picks the route and sends nothing.
async fn route(to: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    Ok(socket.local_addr()?.ip())
}

/// `host:port`, with the brackets that an IPv6 address needs.
pub(crate) fn with_port(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_address_toward_this_machine_is_its_loopback() {
        assert_eq!(toward("127.0.0.1:8421").await.unwrap(), Ipv4Addr::LOCALHOST);
    }

    #[tokio::test]
    async fn a_coordinator_that_has_no_address_is_an_error_not_a_guess() {
        assert!(toward("no-such-host.invalid:8421").await.is_err());
    }

    #[test]
    fn an_ipv6_address_gets_brackets_before_its_port() {
        assert_eq!(with_port("10.0.0.7", 51680), "10.0.0.7:51680");
        assert_eq!(with_port("2001:db8::7", 51680), "[2001:db8::7]:51680");
        assert_eq!(with_port("host.example", 51680), "host.example:51680");
    }
}
