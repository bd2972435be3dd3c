//! EC2's instance metadata, by its second version (a session token first).
//!
//! Never: a delay of more than a second, or of anything on machines that are not EC2's: there,
//! nothing is asked unless the operator says so.

use std::{path::Path, time::Duration};

use longshore_common::telemetry::chain;
use serde::Deserialize;

use crate::settings::{Ec2Metadata, Settings};

/// Timeout of the token and the document together.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Maximum of bytes of the document, which has about 500.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const TOKEN_SECONDS: &str = "60";
const TOKEN_LIFETIME: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";

/// What EC2 says of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Ec2Instance {
    #[serde(rename = "instanceId")]
    pub(crate) id: Option<String>,
    pub(crate) instance_type: Option<String>,
    pub(crate) availability_zone: Option<String>,
    #[serde(rename = "imageId")]
    pub(crate) image: Option<String>,
}

/// Asks, if the settings say so, and says in the log what came of it.
pub(crate) async fn find(settings: &Settings) -> Option<Ec2Instance> {
    if !is_asked(settings) {
        return None;
    }
    match tokio::time::timeout(ANSWER_WITHIN, read(&settings.ec2_metadata_endpoint)).await {
        Ok(Ok(instance)) => {
            tracing::info!(
                instance.id = instance.id,
                instance.r#type = instance.instance_type,
                zone = instance.availability_zone,
                "EC2's instance metadata describes this host"
            );
            Some(instance)
        }
        Ok(Err(error)) => {
            unanswered(&chain(&error));
            None
        }
        Err(_) => {
            unanswered("no answer within a second");
            None
        }
    }
}

/// Whether this machine's metadata service is asked at all.
pub(crate) fn is_asked(settings: &Settings) -> bool {
    match settings.ec2_metadata {
        Ec2Metadata::On => true,
        Ec2Metadata::Off => false,
        Ec2Metadata::Auto => is_ec2(Path::new("/sys")),
    }
}

fn unanswered(reason: &str) {
    tracing::warn!(
        reason,
        "EC2's instance metadata cannot be read; going on without it: set --instance-type and \
         --availability-zone, or --ec2-metadata off"
    );
}

/// What the firmware says: Nitro by its vendor, Xen by the hypervisor's id.
fn is_ec2(sys: &Path) -> bool {
    let begins = |file: &str, with: &str| {
        fs_err::read_to_string(sys.join(file))
            .is_ok_and(|text| text.trim().to_ascii_lowercase().starts_with(with))
    };
    begins("class/dmi/id/sys_vendor", "amazon ec2") || begins("hypervisor/uuid", "ec2")
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("the request failed")]
    Request(#[from] reqwest::Error),
    #[error("the answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error("the answer is not an instance identity document")]
    Unreadable(#[from] serde_json::Error),
}

async fn read(endpoint: &str) -> Result<Ec2Instance, NoAnswer> {
    let document = get(endpoint, "latest/dynamic/instance-identity/document").await?;
    Ok(serde_json::from_slice(&document.unwrap_or_default())?)
}

/// What the service has at a path; nothing where it says that there is nothing.
pub(crate) async fn get(endpoint: &str, path: &str) -> Result<Option<Vec<u8>>, NoAnswer> {
    // A proxy would answer for another machine.
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
    let endpoint = endpoint.trim_end_matches('/');
    let token = client
        .put(format!("{endpoint}/latest/api/token"))
        .header(TOKEN_LIFETIME, TOKEN_SECONDS)
        .send()
        .await?
        .error_for_status()?;
    let token = body(token).await?;
    let answer = client.get(format!("{endpoint}/{path}")).header(TOKEN, token).send().await?;
    match answer.status() {
        reqwest::StatusCode::NOT_FOUND => Ok(None),
        _ => Ok(Some(body(answer.error_for_status()?).await?)),
    }
}

async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, NoAnswer> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(NoAnswer::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests;
