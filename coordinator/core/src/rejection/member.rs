//! Why agents are refused that join, register or ask for a certificate.

use longshore_common::id::HostId;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberRejection {
    #[error("The container instance {0} has been joined by an agent before.")]
    HostHasJoined(HostId),
    #[error(
        "The host {0} is not known to the coordinator. If the coordinator's journal is an old one, recover it first; else remove identity.json from the host's data directory and join it again with a new token."
    )]
    HostUnknown(HostId),
    #[error(
        "The host {0} was deregistered. Remove identity.json from its data directory and join it again with a new token."
    )]
    HostDeregistered(HostId),
    #[error(
        "The certificate of host {0} has ended, and its key is not the last one that this coordinator certified for it. Make a token with `longshore-coordinator join-token create`, give it as --join-token and restart the agent: the host comes back as itself."
    )]
    HostKeyUnknown(HostId),
    #[error(
        "The identity of host {0} belongs to another machine: this one holds a copy of its data directory. Nothing that runs there was touched. To make this machine a host of its own, stop its agent, remove identity.json from the agent's data directory, and start the agent with a join token. Do the same if this is the same machine with other hardware or another /etc/machine-id, and deregister the old container instance."
    )]
    HostOfOtherMachine(HostId),
    #[error(
        "Another agent with the identity of host {host} is alive at {address}, and stays the host. If this agent runs on a copy of that machine or of its data directory, make it a host of its own: stop it, remove identity.json from its data directory, and start it with a join token."
    )]
    HostLivesElsewhere { host: HostId, address: String },
}
