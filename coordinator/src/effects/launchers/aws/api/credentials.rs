//! Who the coordinator is to AWS: keys of the environment, a web identity, a container's or an EC2
//! instance's role, as AWS's own programs look for them, renewed before they expire.
//!
//! `object_store` knows these places; nothing is stored in any object. Never: a secret in a log or in
//! an error.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use longshore_common::{secret::Secret, telemetry::chain};
use object_store::{
    ClientOptions, RetryConfig,
    aws::{AmazonS3Builder, AwsCredential, AwsCredentialProvider},
};

use crate::credentials::Credentials;

/// The builder wants a bucket's name; no bucket is ever asked for.
const NO_BUCKET: &str = "none";
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// Timeout of all that is asked for new keys (ours).
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Maximum number of retries when asking for new keys (ours).
const RETRIES_MAX: usize = 2;

pub(super) struct CredentialChain(AwsCredentialProvider);

/// What one call is signed with.
pub(super) struct CallCredentials {
    pub(super) key: Credentials,
    session_token: Option<Secret<String>>,
}

impl CredentialChain {
    pub(super) fn usual(region: &str) -> Result<CredentialChain, String> {
        let retry = RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: ANSWERS_WITHIN,
            ..RetryConfig::default()
        };
        let store = AmazonS3Builder::from_env()
            .with_region(region)
            .with_bucket_name(NO_BUCKET)
            .with_client_options(ClientOptions::new().with_timeout(ANSWERS_WITHIN))
            .with_retry(retry)
            .build()
            .map_err(|error| chain(&error))?;
        Ok(CredentialChain(store.credentials().clone()))
    }

    #[cfg(test)]
    pub(super) fn fixed(credential: AwsCredential) -> CredentialChain {
        CredentialChain(std::sync::Arc::new(object_store::StaticCredentialProvider::new(
            credential,
        )))
    }

    /// The credentials that are valid now.
    pub(super) async fn current(&self) -> Result<CallCredentials, String> {
        let held = self.0.get_credential().await.map_err(|error| root_cause(&error))?;
        let AwsCredential { key_id, secret_key, token } = &*held;
        Ok(CallCredentials {
            key: Credentials {
                access_key_id: key_id.clone(),
                secret_access_key: Secret::new(secret_key.clone()),
            },
            session_token: token.clone().map(Secret::new),
        })
    }
}

/// What `object_store` says around it is of its own matters, and another at each try.
fn root_cause(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.last().unwrap_or(error).to_string()
}

impl CallCredentials {
    /// Temporary keys are good with their token only, which is signed too.
    pub(super) fn add_token(&self, headers: &mut HeaderMap) -> Result<(), String> {
        let Some(token) = &self.session_token else { return Ok(()) };
        // Exposed: AWS is to see it.
        let mut token = HeaderValue::from_str(token.expose())
            .map_err(|_| "the session token has characters that no header may have".to_owned())?;
        token.set_sensitive(true);
        headers.insert(SECURITY_TOKEN, token);
        Ok(())
    }
}
