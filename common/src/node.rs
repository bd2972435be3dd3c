//! What a certificate of a fleet may name: its coordinator, or one host's agent. Nothing else.
//!
//! A node's certificate carries exactly two subject alternative names: a DNS name, which the other
//! side dials, and a URI, which says fleet, role and host.

use std::{fmt, str::FromStr};

use crate::id::{FleetId, HostId};

/// One end of a connection inside a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Coordinator,
    Agent(HostId),
}

/// Who a certificate says its holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    pub fleet: FleetId,
    pub role: Role,
}

impl Node {
    pub fn coordinator(fleet: FleetId) -> Self {
        Node { fleet, role: Role::Coordinator }
    }

    pub fn agent(fleet: FleetId, host: HostId) -> Self {
        Node { fleet, role: Role::Agent(host) }
    }

    /// `<host-id>.<fleet-id>.longshore` or `coordinator.<fleet-id>.longshore`.
    pub fn dns_name(&self) -> String {
        match self.role {
            Role::Coordinator => format!("coordinator.{}.longshore", self.fleet),
            Role::Agent(host) => format!("{host}.{}.longshore", self.fleet),
        }
    }

    /// `longshore://<fleet-id>/agent/<host-id>` or `longshore://<fleet-id>/coordinator`.
    pub fn uri(&self) -> String {
        match self.role {
            Role::Coordinator => format!("longshore://{}/coordinator", self.fleet),
            Role::Agent(host) => format!("longshore://{}/agent/{host}", self.fleet),
        }
    }

    /// The node of that DNS name, in its one spelling.
    pub fn from_dns_name(name: &str) -> Result<Self, NotANode> {
        let (label, rest) = name.split_once('.').ok_or(NotANode)?;
        let fleet = rest.strip_suffix(".longshore").ok_or(NotANode)?;
        let role = match label {
            "coordinator" => Role::Coordinator,
            host => Role::Agent(host.parse().map_err(|_| NotANode)?),
        };
        Ok(Node { fleet: fleet.parse().map_err(|_| NotANode)?, role })
    }
}

impl FromStr for Node {
    type Err = NotANode;

    /// Reads the URI form, in its one spelling.
    fn from_str(uri: &str) -> Result<Self, NotANode> {
        let rest = uri.strip_prefix("longshore://").ok_or(NotANode)?;
        let (fleet, role) = rest.split_once('/').ok_or(NotANode)?;
        let role = match role.strip_prefix("agent/") {
            Some(host) => Role::Agent(host.parse().map_err(|_| NotANode)?),
            None if role == "coordinator" => Role::Coordinator,
            None => return Err(NotANode),
        };
        Ok(Node { fleet: fleet.parse().map_err(|_| NotANode)?, role })
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a coordinator or an agent")]
pub struct NotANode;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_reads_back_from_both_of_its_names() {
        for node in [
            Node::coordinator(FleetId::new(7)),
            Node::agent(FleetId::new(7), HostId::new(0xff << 120)),
        ] {
            assert_eq!(node.uri().parse(), Ok(node));
            assert_eq!(Node::from_dns_name(&node.dns_name()), Ok(node));
        }
    }

    #[test]
    fn no_other_spelling_names_a_node() {
        let id = "0".repeat(32);
        for bad in [
            String::new(),
            format!("longshore://{id}"),
            format!("longshore://{id}/"),
            format!("longshore://{id}/agent"),
            format!("longshore://{id}/agent/"),
            format!("longshore://{id}/agent/*"),
            format!("longshore://{id}/agent/{id}/"),
            format!("longshore://{id}/agent/{id}?x"),
            format!("longshore://{id}/coordinator/"),
            format!("longshore://{id}/Coordinator"),
            format!("LONGSHORE://{id}/coordinator"),
            format!("longshore://{id}:1/coordinator"),
            format!("longshore://*/agent/{id}"),
        ] {
            assert_eq!(bad.parse::<Node>(), Err(NotANode), "{bad}");
        }
        for bad in [
            format!("*.{id}.longshore"),
            format!("{id}.*.longshore"),
            format!("coordinator.{id}.longshore."),
            format!("coordinator.{id}"),
            format!("x.coordinator.{id}.longshore"),
            format!("{}.{id}.longshore", "A".repeat(32)),
        ] {
            assert_eq!(Node::from_dns_name(&bad), Err(NotANode), "{bad}");
        }
    }
}
