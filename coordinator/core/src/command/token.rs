//! What can be asked of join tokens.

use longshore_common::{id::HostId, mutual_tls::KeyHash};

use crate::model::join_token::JoinToken;

#[derive(Clone, Debug)]
pub enum TokenCommand {
    CreateJoinToken(JoinToken),
    RevokeJoinToken {
        id: String,
    },
    /// An agent has shown the secret of this token: count the use and give it a host id, unless it is one
    /// that asks again.
    UseJoinToken {
        secret_hash: [u8; 32],
        requested_host: Option<HostId>,
        /// The key to be certified for the host.
        key: Option<KeyHash>,
    },
}
