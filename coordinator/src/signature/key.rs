//! A signing key: derived from a secret for one day, region and service.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Scope;

/// A derived key, ready to sign: the HMAC has taken it in already.
#[derive(Clone)]
pub(crate) struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    pub(crate) fn derive(secret: &str, scope: Scope<'_>) -> Self {
        let day = keyed(format!("AWS4{secret}").as_bytes(), scope.date);
        let region = keyed(&day, scope.region);
        let service = keyed(&region, scope.service);
        SigningKey(hmac(&keyed(&service, "aws4_request")))
    }

    /// The signature of a string to sign, in hexadecimal.
    pub(crate) fn sign(&self, string_to_sign: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(string_to_sign.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn keyed(key: &[u8], message: &str) -> [u8; 32] {
    let mut mac = hmac(key);
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().into()
}
