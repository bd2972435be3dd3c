//! Makes join tokens: the word that the operator copies, and what the journal keeps of it.

use longshore_common::{
    clock::Timestamp,
    join_token::{CaHash, JoinSecret, JoinToken, SECRET_BYTES},
};
use longshore_core::model::name::ClusterName;
use sha2::{Digest, Sha256};

use crate::random::Random;

/// Number of bytes of a token's public id (ours).
const ID_BYTES: usize = 5;

/// A token that was just made. The word is shown once, to whoever asked for it, and kept nowhere.
pub struct MadeToken {
    pub word: JoinToken,
    pub kept: longshore_core::model::join_token::JoinToken,
}

/// Draws a token for the fleet whose CA has that hash.
pub fn make(
    random: &Random,
    ca: CaHash,
    cluster: Option<ClusterName>,
    expires_at: Timestamp,
    uses_left: Option<u32>,
) -> Result<MadeToken, getrandom::Error> {
    let secret = JoinSecret::new(random.bytes::<SECRET_BYTES>()?);
    // Drawn, not derived from the secret: the id stands in logs.
    let id = random.bytes::<ID_BYTES>()?;
    let kept = longshore_core::model::join_token::JoinToken {
        id: hex::encode(id),
        secret_hash: secret_hash(&secret),
        cluster,
        expires_at,
        uses_left,
    };
    Ok(MadeToken { word: JoinToken { ca, secret }, kept })
}

/// What the journal knows of a secret. A plain hash is enough: the secret is 128 random bits.
pub(super) fn secret_hash(secret: &JoinSecret) -> [u8; 32] {
    Sha256::digest(secret.expose()).into()
}
