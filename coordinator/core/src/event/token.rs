//! What became true of client tokens and join tokens.

use serde::{Deserialize, Serialize};

use crate::model::{join_token::JoinToken, name::ClusterName};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TokenEvent {
    ClientTokensExpired { tokens: Vec<(ClusterName, String)> },
    JoinTokenCreated(JoinToken),
    JoinTokenUsed { id: String },
    JoinTokenRevoked { id: String },
    JoinTokensExpired { ids: Vec<String> },
}
