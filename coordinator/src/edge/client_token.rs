//! `clientToken`: the same token with other parameters is another call (promises.md 2.8).

use longshore_core::command::ClientToken;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::error::ApiError;

/// A token with a hash of `parameters`, which is the input without it.
pub(crate) fn parse(
    token: Option<String>,
    chars_max: usize,
    parameters: &impl Serialize,
) -> Result<Option<ClientToken>, ApiError> {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
    let printable = |b: u8| (33..=126).contains(&b);
    if token.len() > chars_max || !token.bytes().all(printable) {
        return Err(ApiError::invalid_parameter(format!(
            "clientToken must be at most {chars_max} printable characters without spaces."
        )));
    }
    let json = serde_json::to_vec(parameters)
        .map_err(|error| ApiError::server(format!("the input could not be written: {error}")))?;
    let digest = Sha256::digest(json);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    Ok(Some(ClientToken { token, parameters_hash: u64::from_be_bytes(first) }))
}
