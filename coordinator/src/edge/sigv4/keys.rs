//! Signing keys, derived from a secret for one day, region and service, and kept for that day.

use std::{collections::BTreeMap, sync::RwLock};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Scope;
use crate::edge::credentials::AccessKey;

/// Access keys whose signing keys are kept at once; strangers' never get here.
const ACCESS_KEYS_MAX: usize = 4096;
/// Signing keys of one access key: a few services, and two days of each around midnight.
const KEYS_OF_ONE_MAX: usize = 16;

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

/// The signing keys in use, so that a request costs one HMAC and not five.
#[derive(Default)]
pub(crate) struct SigningKeys(RwLock<BTreeMap<String, Vec<Kept>>>);

struct Kept {
    date: String,
    region: String,
    service: String,
    key: SigningKey,
}

impl Kept {
    fn is_for(&self, scope: Scope<'_>) -> bool {
        self.date == scope.date && self.region == scope.region && self.service == scope.service
    }
}

impl SigningKeys {
    /// Calls `use_key` with the key of `access_key_id` for `scope`, derived at the first use.
    /// The scope must have been checked:
    /// days that are not near today would push out the ones in use. An access key's secret never
    /// changes, so a kept key cannot be out of date.
    pub(super) fn with<T>(
        &self,
        access_key_id: &str,
        access_key: &AccessKey,
        scope: Scope<'_>,
        use_key: impl FnOnce(&SigningKey) -> T,
    ) -> T {
        {
            let keys = self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner());
            let kept = keys.get(access_key_id);
            if let Some(kept) = kept.and_then(|kept| kept.iter().find(|kept| kept.is_for(scope))) {
                return use_key(&kept.key);
            }
        }
        // Exposed: the secret is what the key is derived from.
        let key = SigningKey::derive(access_key.secret.expose(), scope);
        let answer = use_key(&key);
        self.keep(access_key_id, scope, key);
        answer
    }

    #[cfg(test)]
    pub(super) fn dates_of(&self, access_key_id: &str) -> Vec<String> {
        let keys = self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        keys[access_key_id].iter().map(|kept| kept.date.clone()).collect()
    }

    fn keep(&self, access_key_id: &str, scope: Scope<'_>, key: SigningKey) {
        let mut keys = self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if keys.len() >= ACCESS_KEYS_MAX && !keys.contains_key(access_key_id) {
            keys.clear();
        }
        let of_this = keys.entry(access_key_id.to_owned()).or_default();
        if of_this.len() >= KEYS_OF_ONE_MAX {
            of_this.remove(0);
        }
        of_this.push(Kept {
            date: scope.date.to_owned(),
            region: scope.region.to_owned(),
            service: scope.service.to_owned(),
            key,
        });
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
