//! Host ports in a row for a `containerPortRange` (ecs-behaviour 1.3, portMappings).
//!
//! They are sought from the top of the ephemeral range, where Docker, which goes up from its bottom,
//! comes last. Between the search and the container's start others may take one; the start then
//! fails and says so.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use longshore_common::resources::Transport;
use tokio::time::Instant;

use super::needs::PortRange;
use crate::{runtime::ContainerConfig, settings::PortBounds};

const EPHEMERAL_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Where the host does not tell its own (ecs-behaviour 1.3).
const EPHEMERAL_DEFAULT: (u16, u16) = (49_153, 65_535);
/// Time for which ports that were given to a container are not given again: it has started by then.
const GIVEN_FOR: Duration = Duration::from_secs(4 * 60);

#[derive(Debug, Default)]
pub(super) struct FreePorts {
    given: Mutex<VecDeque<GivenPorts>>,
}

#[derive(Debug)]
struct GivenPorts {
    first: u16,
    last: u16,
    until: Instant,
}

impl FreePorts {
    pub(super) async fn publish(
        &self,
        range: PortRange,
        config: &mut ContainerConfig,
    ) -> Result<(), String> {
        let bounds = config.dynamic_ports.map(|PortBounds { first, last }| (first, last));
        let bounds = bounds.unwrap_or_else(ephemeral_range);
        let first = self.find(range, bounds, |port| is_free(port, range.transport))?;
        for port in &mut config.ports {
            let within = (range.first..=range.last).contains(&port.container_port);
            if port.transport == range.transport && within {
                port.host_port = Some(first + (port.container_port - range.first));
            }
        }
        Ok(())
    }

    /// The first of as many free host ports as the range has.
    fn find(
        &self,
        range: PortRange,
        (lowest, highest): (u16, u16),
        is_free: impl Fn(u16) -> bool,
    ) -> Result<u16, String> {
        let wanted = u32::from(range.last - range.first) + 1;
        let now = Instant::now();
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        while given.front().is_some_and(|first| first.until <= now) {
            given.pop_front();
        }
        let taken = |port: u16| given.iter().any(|g| (g.first..=g.last).contains(&port));
        let mut row = 0;
        for port in (lowest..=highest).rev() {
            row = if taken(port) || !is_free(port) { 0 } else { row + 1 };
            if row == wanted {
                let last = port + (range.last - range.first);
                given.push_back(GivenPorts { first: port, last, until: now + GIVEN_FOR });
                return Ok(port);
            }
        }
        Err(format!(
            "the host has no {wanted} free {} ports in a row between {lowest} and {highest} for \
             containerPortRange {}-{}",
            range.transport, range.first, range.last
        ))
    }
}

fn ephemeral_range() -> (u16, u16) {
    let read = || {
        let text = fs_err::read_to_string(EPHEMERAL_RANGE).ok()?;
        let mut numbers = text.split_whitespace().map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    read().unwrap_or(EPHEMERAL_DEFAULT)
}

fn is_free(port: u16, transport: Transport) -> bool {
    let address = (Ipv4Addr::UNSPECIFIED, port);
    match transport {
        Transport::Tcp => TcpListener::bind(address).is_ok(),
        Transport::Udp => UdpSocket::bind(address).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: PortRange = PortRange { first: 8000, last: 8003, transport: Transport::Tcp };

    #[tokio::test(start_paused = true)]
    async fn the_highest_free_row_is_given_and_not_given_again_at_once() {
        let ports = FreePorts::default();
        let find = || ports.find(RANGE, (60_000, 60_010), |port| port != 60_008);
        assert_eq!(find(), Ok(60_004));
        assert_eq!(find(), Ok(60_000));
        assert_eq!(
            find().unwrap_err(),
            "the host has no 4 free tcp ports in a row between 60000 and 60010 for \
             containerPortRange 8000-8003"
        );
        tokio::time::advance(GIVEN_FOR).await;
        assert_eq!(find(), Ok(60_004));
    }

    #[tokio::test]
    async fn a_port_that_somebody_listens_on_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(port, Transport::Tcp));
        drop(listener);
        assert!(is_free(port, Transport::Tcp));
    }
}
