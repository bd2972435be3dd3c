//! Signing keys that are kept for the day that they are for.

use std::{collections::BTreeMap, sync::RwLock};

use crate::{
    edge::keyring::AccessKey,
    signature::{Scope, SigningKey},
};

/// Maximum number of access keys whose signing keys are kept at once (ours); strangers' never get
/// here.
const ACCESS_KEYS_MAX: usize = 4096;
/// Maximum number of signing keys of one access key (ours): a few services, and two days of each
/// around midnight.
const KEYS_OF_ONE_MAX: usize = 16;

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
