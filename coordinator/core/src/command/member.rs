//! What agents that joined can ask.

use longshore_common::{id::HostId, machine::AgentRun, mutual_tls::KeyHash};

#[derive(Clone, Debug)]
pub enum MemberCommand {
    /// A host asks for a certificate for a new key.
    CertifyHost(Box<CertifyHost>),
}

#[derive(Clone, Debug)]
pub struct CertifyHost {
    pub host: HostId,
    /// The key to be certified.
    pub key: KeyHash,
    /// The key by which the host has proved itself; absent in the moment of its joining.
    pub by: Option<ShownKey>,
    /// Hash of the secret of the token that came along.
    pub secret_hash: Option<[u8; 32]>,
    /// Absent from agents that do not say it.
    pub run: Option<AgentRun>,
}

/// A key of this fleet that somebody has proved to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownKey {
    pub key: KeyHash,
    /// True once its certificate has ended.
    pub ended: bool,
}
