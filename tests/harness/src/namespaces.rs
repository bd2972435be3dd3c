//! Hosts: network namespaces on one bridge, each with an address of its own.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::{
    command::{sh, succeeds},
    slot::Slot,
};

/// Maximum of hosts on one bridge: their addresses are .11 to .250.
const HOSTS_MAX: usize = 240;
/// One-way cuts, as rules in a host's own namespace.
const INCOMING: &str = "INPUT -i eth0 -j DROP";
const OUTGOING: &str = "OUTPUT -o eth0 -j DROP";

pub struct Network {
    gateway: String,
    hosts: Vec<Host>,
}

/// One host's network. What it owns goes with its [`Slot`].
#[derive(Clone, Debug)]
pub struct Host {
    name: String,
    address: String,
    namespace: PathBuf,
}

impl Network {
    /// Makes a bridge, whose address is the machine's own, and `count` hosts on it.
    pub fn create(slot: &Slot, count: usize) -> Result<Network> {
        ensure!(count <= HOSTS_MAX, "{count} hosts are more than {HOSTS_MAX}");
        let bridge = slot.name();
        let gateway = format!("{}.1", slot.subnet());
        sh(&format!("ip link add {bridge} type bridge"))?;
        sh(&format!("ip addr add {gateway}/24 dev {bridge}"))?;
        sh(&format!("ip link set {bridge} up"))?;
        // Without iptables nothing can be in the way of bridged frames either.
        if succeeds("iptables -w -S FORWARD") {
            sh(&format!("iptables -w -I {}", slot.forward_rule()))?;
        }
        let hosts = (1..=count).map(|number| Host::create(slot, &gateway, number));
        Ok(Network { hosts: hosts.collect::<Result<_>>()?, gateway })
    }

    /// The address at which hosts reach the machine's own network, and the coordinator on it.
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }
}

impl Host {
    fn create(slot: &Slot, gateway: &str, number: usize) -> Result<Host> {
        let name = format!("{}h{number}", slot.name());
        let address = format!("{}.{}", slot.subnet(), 10 + number);
        sh(&format!("ip netns add {name}"))?;
        sh(&format!("ip link add {name} type veth peer name eth0 netns {name}"))?;
        sh(&format!("ip link set {name} master {} up", slot.name()))?;
        sh(&format!("ip -n {name} addr add {address}/24 dev eth0"))?;
        sh(&format!("ip -n {name} link set eth0 up"))?;
        sh(&format!("ip -n {name} link set lo up"))?;
        sh(&format!("ip -n {name} route add default via {gateway}"))?;
        let namespace = Path::new("/run/netns").join(&name);
        Ok(Host { name, address, namespace })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn namespace(&self) -> &Path {
        &self.namespace
    }

    /// Pulls the host's cable: nothing passes in either direction, and nobody is told.
    pub fn cut(&self) -> Result<()> {
        sh(&format!("ip link set {} down", self.name)).map(drop)
    }

    /// Nothing reaches the host any more; what it sends still leaves.
    pub fn cut_incoming(&self) -> Result<()> {
        self.iptables("-A", INCOMING).map(drop)
    }

    /// Nothing leaves the host any more; what is sent to it still arrives.
    pub fn cut_outgoing(&self) -> Result<()> {
        self.iptables("-A", OUTGOING).map(drop)
    }

    /// Ends every cut.
    pub fn heal(&self) -> Result<()> {
        for rule in [INCOMING, OUTGOING] {
            while self.iptables("-D", rule).is_ok() {}
        }
        sh(&format!("ip link set {} up", self.name)).map(drop)
    }

    fn iptables(&self, action: &str, rule: &str) -> Result<String> {
        let namespace = self.namespace.display();
        sh(&format!("nsenter --net={namespace} iptables -w {action} {rule}"))
    }
}
