//! Access keys: who may sign.
//!
//! A secret leaves this module only as a signing key. Never logged.

use std::{collections::BTreeMap, sync::Arc};

use longshore_common::{arn::Identity, secret::Secret};

use crate::{credentials::Credentials, edge::context::Caller};

/// An access key as the verifier knows it.
pub(crate) struct AccessKey {
    pub(crate) secret: Secret<String>,
    /// What `X-Amz-Security-Token` must hold: temporary keys only. The root key has none.
    pub(crate) session_token: Option<Secret<String>>,
    pub(crate) caller: Arc<Caller>,
}

/// Every access key that may sign.
#[derive(Default)]
pub(crate) struct Keyring(BTreeMap<String, AccessKey>);

impl Keyring {
    /// The root key alone.
    pub(crate) fn root(credentials: &Credentials, identity: &Identity) -> Self {
        let mut keyring = Keyring::default();
        let caller = Caller {
            arn: identity.root(),
            user_id: identity.account.clone(),
            account: identity.account.clone(),
        };
        keyring.add(
            credentials.access_key_id.clone(),
            AccessKey {
                secret: credentials.secret_access_key.clone(),
                session_token: None,
                caller: Arc::new(caller),
            },
        );
        keyring
    }

    pub(crate) fn add(&mut self, access_key_id: String, key: AccessKey) {
        self.0.insert(access_key_id, key);
    }

    pub(crate) fn get(&self, access_key_id: &str) -> Option<&AccessKey> {
        self.0.get(access_key_id)
    }
}
