//! HTTP to the world outside. Never: another crypto provider than the process's one, or a redirect
//! that is followed.

use std::{sync::Arc, time::Duration};

use longshore_common::telemetry::chain;

/// Trusts what the machine trusts; a call takes no longer than `deadline`, connecting included.
pub(super) fn client(deadline: Duration) -> Result<reqwest::Client, String> {
    let mut roots = rustls::RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(deadline)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| chain(&error))
}
