//! EC2 Auto Scaling's API as far as a launcher needs it: six operations of the query protocol, signed.
//!
//! Knows nothing of instances or of what they are for. Never: a retry of its own (whoever calls looks
//! again and decides again), or a secret in an error.

mod answer;
mod credentials;
mod wire;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use longshore_common::{clock::Clock, telemetry::chain};
use longshore_core::model::auto_scaling::InstanceId;

#[cfg(test)]
pub(super) use self::answer::Machine;
pub(super) use self::answer::{AwsError, Listed, MachineState};
use self::credentials::CredentialChain;
use crate::{effects::https, settings::AwsGroup, signature::sign_for_path};

const SERVICE: &str = "autoscaling";
const VERSION: &str = "2011-01-01";
const FORM: HeaderValue =
    HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
/// Maximum size of an answer that is read, in bytes (ours): a group of 5,000 instances has about 4
/// MB.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Maximum number of instances in one SetInstanceProtection (Auto Scaling's limit).
pub(super) const PROTECTED_AT_ONCE_MAX: usize = 50;

/// What a round asks of AWS, all of one group. Tests script the failures.
pub(super) trait AutoScaling: Send + Sync {
    fn describe(&self) -> impl Future<Output = Result<Listed, AwsError>> + Send;
    /// Why its newest activity failed, when it did.
    fn last_failure(&self) -> impl Future<Output = Result<Option<String>, AwsError>> + Send;
    /// New instances are protected from scale-in from now on.
    fn protect_new(&self) -> impl Future<Output = Result<(), AwsError>> + Send;
    /// Protects these machines, at most [`PROTECTED_AT_ONCE_MAX`] that are in service.
    fn protect(&self, machines: &[InstanceId])
    -> impl Future<Output = Result<(), AwsError>> + Send;
    fn set_desired(&self, desired: u32) -> impl Future<Output = Result<(), AwsError>> + Send;
    fn terminate(
        &self,
        machine: InstanceId,
        decrement: bool,
    ) -> impl Future<Output = Result<(), AwsError>> + Send;
}

/// Calls AWS.
pub(super) struct Client {
    group: AwsGroup,
    endpoint: reqwest::Url,
    http: reqwest::Client,
    credentials: CredentialChain,
    clock: Arc<dyn Clock>,
}

impl Client {
    /// The error is a sentence.
    pub(super) fn new(
        group: &AwsGroup,
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Client, String> {
        let region = &group.region;
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let usual = || format!("https://{SERVICE}.{region}.{domain}/");
        let endpoint = group.endpoint.clone().unwrap_or_else(usual);
        let endpoint = reqwest::Url::parse(&endpoint)
            .map_err(|error| format!("the endpoint `{endpoint}` is no URL: {error}"))?;
        let http = https::client(timeout)?;
        let credentials = CredentialChain::usual(region)?;
        Ok(Client { group: group.clone(), endpoint, http, credentials, clock })
    }

    async fn call(
        &self,
        operation: &'static str,
        parameters: &[(&str, &str)],
    ) -> Result<Bytes, AwsError> {
        let body = form(operation, parameters);
        let unanswered =
            |why: String| AwsError::Unanswered { endpoint: self.endpoint.to_string(), why };

        let credentials = self.credentials.current().await.map_err(AwsError::NoCredentials)?;
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(&authority(&self.endpoint));
        headers.insert(header::HOST, host.map_err(|error| unanswered(error.to_string()))?);
        headers.insert(header::CONTENT_TYPE, FORM);
        credentials.add_token(&mut headers).map_err(AwsError::NoCredentials)?;
        sign_for_path(
            self.endpoint.path(),
            &mut headers,
            body.as_bytes(),
            &credentials.key,
            &self.group.region,
            SERVICE,
            self.clock.wall(),
        )
        .map_err(|error| AwsError::NoCredentials(error.to_string()))?;
        // The client sets it, to the same.
        headers.remove(header::HOST);

        let request = self.http.post(self.endpoint.clone()).headers(headers).body(body);
        let mut response = request.send().await.map_err(|error| unanswered(chain(&error)))?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unanswered(chain(&error)))? {
            if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                let why = format!("its answer is larger than {ANSWER_BYTES_MAX} bytes");
                return Err(AwsError::NotUnderstood { operation, why });
            }
            answer.extend_from_slice(&chunk);
        }
        match status.is_success() {
            true => Ok(answer.into()),
            false => Err(wire::refusal(operation, status.as_u16(), &answer)),
        }
    }
}

fn form(operation: &str, parameters: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", operation).append_pair("Version", VERSION);
    form.extend_pairs(parameters).finish()
}

/// Host and port, without a port that is the scheme's own.
fn authority(url: &reqwest::Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

impl AutoScaling for Client {
    async fn describe(&self) -> Result<Listed, AwsError> {
        let operation = "DescribeAutoScalingGroups";
        let name = self.group.name.as_str();
        let answer = self.call(operation, &[("AutoScalingGroupNames.member.1", name)]).await?;
        let listed = wire::listed(operation, name, &answer)?;
        let region = self.group.region.clone();
        listed.ok_or_else(|| AwsError::NoGroup { name: name.to_owned(), region })
    }

    async fn last_failure(&self) -> Result<Option<String>, AwsError> {
        let operation = "DescribeScalingActivities";
        let parameters = [("AutoScalingGroupName", self.group.name.as_str()), ("MaxRecords", "1")];
        let answer = self.call(operation, &parameters).await?;
        wire::last_failure(operation, &answer)
    }

    async fn protect_new(&self) -> Result<(), AwsError> {
        let parameters = [
            ("AutoScalingGroupName", self.group.name.as_str()),
            ("NewInstancesProtectedFromScaleIn", "true"),
        ];
        self.call("UpdateAutoScalingGroup", &parameters).await.map(drop)
    }

    async fn protect(&self, machines: &[InstanceId]) -> Result<(), AwsError> {
        let named = |(n, id): (usize, &InstanceId)| {
            (format!("InstanceIds.member.{}", n + 1), id.to_string())
        };
        let ids: Vec<(String, String)> = machines.iter().enumerate().map(named).collect();
        let mut parameters = vec![
            ("AutoScalingGroupName", self.group.name.as_str()),
            ("ProtectedFromScaleIn", "true"),
        ];
        parameters.extend(ids.iter().map(|(name, id)| (name.as_str(), id.as_str())));
        self.call("SetInstanceProtection", &parameters).await.map(drop)
    }

    async fn set_desired(&self, desired: u32) -> Result<(), AwsError> {
        let desired = desired.to_string();
        let parameters = [
            ("AutoScalingGroupName", self.group.name.as_str()),
            ("DesiredCapacity", desired.as_str()),
            ("HonorCooldown", "false"),
        ];
        self.call("SetDesiredCapacity", &parameters).await.map(drop)
    }

    async fn terminate(&self, machine: InstanceId, decrement: bool) -> Result<(), AwsError> {
        let (id, decrement) = (machine.to_string(), decrement.to_string());
        let parameters =
            [("InstanceId", id.as_str()), ("ShouldDecrementDesiredCapacity", decrement.as_str())];
        self.call("TerminateInstanceInAutoScalingGroup", &parameters).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
