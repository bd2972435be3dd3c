//! A connection to the task endpoints from where a container's would come: a network namespace of
//! its own, by a pair of virtual devices whose one end is on Docker's bridge.
//!
//! A probe within the host passes neither the bridge nor the firewall's rules for what comes in, and
//! so says that all is well where no task is answered. Leaves nothing behind: the namespace ends with
//! its process, and the devices with it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Stdio,
    time::Duration,
};

use futures_util::TryStreamExt;
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Command,
};

use super::wiring::netlink;
use crate::runtime::docker::BridgeAddresses;

/// The hidden subcommand that runs inside of the namespace.
pub(crate) const SUBCOMMAND: &str = "network-probe";
const DEVICE_ON_BRIDGE: &str = "longshore-probe";
const DEVICE_INSIDE: &str = "eth0";
/// Timeout of a whole probe.
const WITHIN: Duration = Duration::from_secs(10);
/// Timeout of the connection of a probe.
const CONNECTS_WITHIN: Duration = Duration::from_secs(3);
/// Smaller networks have no address to spare.
const PREFIX_MAX: u8 = 28;

/// `Ok(None)` when there was no place to probe from; `Err` says what does not work.
pub(super) async fn probe(
    bridge: &str,
    addresses: BridgeAddresses,
    target: SocketAddr,
) -> Result<Option<()>, String> {
    let Some(own) = spare_address(addresses) else { return Ok(None) };
    match tokio::time::timeout(WITHIN, probe_from(bridge, addresses, own, target)).await {
        Ok(Ok(answer)) if answer == "ok" => Ok(Some(())),
        Ok(Ok(answer)) => Err(answer),
        Ok(Err(error)) => {
            tracing::debug!(%error, bridge, "no probe could be made");
            Ok(None)
        }
        Err(_) => {
            tracing::debug!(bridge, "a probe took longer than {WITHIN:?}");
            Ok(None)
        }
    }
}

/// The last address that a container could have: Docker gives away the first ones first.
fn spare_address(addresses: BridgeAddresses) -> Option<Ipv4Addr> {
    let BridgeAddresses { gateway, network, prefix } = addresses;
    if !(1..=PREFIX_MAX).contains(&prefix) {
        return None;
    }
    let broadcast = u32::from(network) | (u32::MAX >> prefix);
    [broadcast - 1, broadcast - 2].map(Ipv4Addr::from).into_iter().find(|last| *last != gateway)
}

async fn probe_from(
    bridge: &str,
    addresses: BridgeAddresses,
    own: Ipv4Addr,
    target: SocketAddr,
) -> io::Result<String> {
    let mut inside = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe()?)
        .arg(SUBCOMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let pid = inside.id().ok_or_else(|| io::Error::other("the probe has ended"))?;
    let mut input = inside.stdin.take().ok_or_else(|| io::Error::other("no standard input"))?;
    let output = inside.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
    let mut lines = BufReader::new(output).lines();
    // It says when it is in its namespace: devices given to it before would stay in this one.
    lines.next_line().await?;
    let (handle, _serving) = netlink().map_err(io::Error::other)?;
    let made = give_device(&handle, bridge, pid).await;
    let answer = match made {
        Ok(()) => {
            let BridgeAddresses { gateway, prefix, .. } = addresses;
            let task = format!("{own} {prefix} {gateway} {target}\n");
            input.write_all(task.as_bytes()).await?;
            lines.next_line().await?.ok_or_else(|| io::Error::other("the probe said nothing"))
        }
        Err(error) => Err(error),
    };
    drop(input);
    let _ = inside.wait().await;
    answer
}

/// Makes the pair, with one end on the bridge and the other one with the process.
async fn give_device(handle: &Handle, bridge: &str, pid: u32) -> io::Result<()> {
    let bridge = index_of(handle, bridge).await?;
    // What an earlier probe may have left that was killed.
    if let Ok(old) = index_of(handle, DEVICE_ON_BRIDGE).await {
        handle.link().del(old).execute().await.map_err(io::Error::other)?;
    }
    let inside = "longshore-inner";
    let pair = LinkVeth::new(DEVICE_ON_BRIDGE, inside).build();
    handle.link().add(pair).execute().await.map_err(io::Error::other)?;
    let given = LinkUnspec::new_with_index(index_of(handle, inside).await?)
        .name(DEVICE_INSIDE)
        .setns_by_pid(pid)
        .build();
    handle.link().set(given).execute().await.map_err(io::Error::other)?;
    let ours = LinkUnspec::new_with_index(index_of(handle, DEVICE_ON_BRIDGE).await?)
        .controller(bridge)
        .up()
        .build();
    handle.link().set(ours).execute().await.map_err(io::Error::other)
}

async fn index_of(handle: &Handle, device: &str) -> io::Result<u32> {
    let mut links = Box::pin(handle.link().get().match_name(device.to_owned()).execute());
    let found = links.try_next().await.map_err(io::Error::other)?;
    Ok(found.ok_or(io::ErrorKind::NotFound)?.header.index)
}

/// Inside of the namespace: waits for its device, connects, and says `ok` or why not.
pub(crate) async fn run_inside() -> io::Result<()> {
    let mut out = tokio::io::stdout();
    out.write_all(b"inside\n").await?;
    out.flush().await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let task = lines.next_line().await?.unwrap_or_default();
    let words: Vec<&str> = task.split(' ').collect();
    let [own, prefix, gateway, target] = words[..] else {
        return Err(io::Error::other("this subcommand is the agent's own"));
    };
    let (own, gateway) = (own.parse(), gateway.parse());
    let (Ok(own), Ok(prefix), Ok(gateway), Ok(target)) =
        (own, prefix.parse(), gateway, target.parse())
    else {
        return Err(io::Error::other("this subcommand is the agent's own"));
    };
    let said = match connect(own, prefix, gateway, target).await {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("a connection to {target} from the bridge does not arrive: {error}"),
    };
    out.write_all(format!("{said}\n").as_bytes()).await?;
    out.flush().await
}

async fn connect(
    own: Ipv4Addr,
    prefix: u8,
    gateway: Ipv4Addr,
    target: SocketAddr,
) -> io::Result<()> {
    let (handle, _serving) = netlink().map_err(io::Error::other)?;
    let device = index_of(&handle, DEVICE_INSIDE).await?;
    let up = LinkUnspec::new_with_index(device).up().build();
    handle.link().set(up).execute().await.map_err(io::Error::other)?;
    let add = handle.address().add(device, IpAddr::V4(own), prefix).execute();
    add.await.map_err(io::Error::other)?;
    let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build();
    handle.route().add(route).execute().await.map_err(io::Error::other)?;
    match tokio::time::timeout(CONNECTS_WITHIN, TcpStream::connect(target)).await {
        Ok(connected) => connected.map(drop),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_address_is_the_last_that_is_free() {
        let addresses = |gateway: [u8; 4], prefix| BridgeAddresses {
            gateway: gateway.into(),
            network: [172, 17, 0, 0].into(),
            prefix,
        };
        let spare = |gateway, prefix| spare_address(addresses(gateway, prefix));
        assert_eq!(spare([172, 17, 0, 1], 16), Some([172, 17, 255, 254].into()));
        assert_eq!(spare([172, 17, 255, 254], 16), Some([172, 17, 255, 253].into()));
        assert_eq!(spare([172, 17, 0, 1], 28), Some([172, 17, 0, 14].into()));
        assert_eq!(spare([172, 17, 0, 1], 30), None);
        assert_eq!(spare([172, 17, 0, 1], 0), None);
    }
}
