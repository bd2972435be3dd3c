//! The bridge that containers are on when their network is `bridge`.

use std::net::Ipv4Addr;

use serde::Deserialize;

use super::{
    Docker,
    read::{DockerAnswer, parse},
};
use crate::runtime::RuntimeError;

/// What Docker calls the device unless it was told otherwise.
pub(crate) const DEFAULT_BRIDGE: &str = "docker0";
/// Docker's name of the network, whatever the device is called (`bridge` in daemon.json).
const NETWORK: &str = "/networks/bridge";

/// A network device of this host and its IPv4 addresses, as Docker gives them away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bridge {
    pub(crate) device: String,
    /// Absent where Docker does not say: then only the device is known.
    pub(crate) addresses: Option<BridgeAddresses>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BridgeAddresses {
    /// The host's own address on the bridge.
    pub(crate) gateway: Ipv4Addr,
    pub(crate) network: Ipv4Addr,
    pub(crate) prefix: u8,
}

impl Docker {
    /// Absent where Docker runs without one (`"bridge": "none"`).
    pub(crate) async fn bridge(&self) -> Result<Option<Bridge>, RuntimeError> {
        match self.read(NETWORK, self.timeouts.inspect).await {
            Ok(answer) => read_bridge(&answer),
            Err(RuntimeError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn read_bridge(answer: &DockerAnswer) -> Result<Option<Bridge>, RuntimeError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Network {
        options: Option<Options>,
        #[serde(rename = "IPAM")]
        ipam: Option<Ipam>,
    }
    #[derive(Deserialize)]
    struct Options {
        #[serde(rename = "com.docker.network.bridge.name")]
        name: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Ipam {
        config: Option<Vec<Pool>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Pool {
        subnet: Option<String>,
        gateway: Option<String>,
    }
    let network: Network = parse(answer)?;
    let Some(device) = network.options.and_then(|options| options.name) else { return Ok(None) };
    let addresses = |pool: Pool| {
        let (network, prefix) = pool.subnet.as_deref()?.split_once('/')?;
        Some(BridgeAddresses {
            gateway: pool.gateway?.parse().ok()?,
            network: network.parse().ok()?,
            prefix: prefix.parse().ok()?,
        })
    };
    let pools = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    Ok(Some(Bridge { device, addresses: pools.into_iter().find_map(addresses) }))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn read(text: &'static str) -> Option<Bridge> {
        read_bridge(&DockerAnswer(Bytes::from_static(text.as_bytes()))).unwrap()
    }

    #[test]
    fn bridge_is_read_from_its_network() {
        let bridge = read(
            r#"{"Options":{"com.docker.network.bridge.name":"br7"},
                "IPAM":{"Config":[{"Subnet":"fd00::/64"},{"Subnet":"10.7.0.0/16","Gateway":"10.7.0.1"}]}}"#,
        );
        let addresses = BridgeAddresses {
            gateway: [10, 7, 0, 1].into(),
            network: [10, 7, 0, 0].into(),
            prefix: 16,
        };
        let wanted = Bridge { device: "br7".to_owned(), addresses: Some(addresses) };
        assert_eq!(bridge, Some(wanted));
        let bare = read(r#"{"Options":{"com.docker.network.bridge.name":"docker0"}}"#);
        assert_eq!(bare, Some(Bridge { device: "docker0".to_owned(), addresses: None }));
        assert_eq!(read(r#"{"Options":null,"IPAM":{"Config":null}}"#), None);
    }
}
