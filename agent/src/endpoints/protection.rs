//! Task protection and tags: what a task asks of the coordinator through its host
//! (ecs-behaviour 1.13).
//!
//! The coordinator decides, and answers a host for its own tasks only. Never: an answer that it did
//! not give.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use longshore_common::{
    clock::Timestamp,
    id::TaskId,
    limits::{TASK_PROTECTION_MINUTES, TASK_PROTECTION_MINUTES_DEFAULT},
    protocol::{PROTOCOL_VERSION, TaskAsk, TaskReply, TaskRequest},
    telemetry::chain,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::{
    fleet::join::{CallError, Membership},
    plain_http::json,
};

/// Maximum of bytes of a request, which says two things.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// Timeout of the body of a request.
const BODY_WITHIN: Duration = Duration::from_secs(5);
/// Maximum of calls to the coordinator at once for all tasks here; the others wait.
const CALLS_MAX: usize = 4;

/// The coordinator, or a test.
pub(crate) trait AnswersTasks: Send + Sync + 'static {
    fn ask(
        &self,
        request: TaskRequest,
    ) -> impl Future<Output = Result<TaskReply, CallError>> + Send;
}

impl AnswersTasks for Membership {
    async fn ask(&self, request: TaskRequest) -> Result<TaskReply, CallError> {
        self.task(&request).await
    }
}

/// Asks the coordinator for tasks.
pub(crate) struct ProtectionClient<C> {
    coordinator: C,
    calls: Semaphore,
}

impl<C: AnswersTasks> ProtectionClient<C> {
    pub(crate) fn new(coordinator: C) -> Self {
        ProtectionClient { coordinator, calls: Semaphore::new(CALLS_MAX) }
    }

    pub(crate) async fn ask(&self, task: TaskId, ask: TaskAsk) -> Result<TaskReply, CallError> {
        // Never closed.
        let _permit = self.calls.acquire().await;
        self.coordinator.ask(TaskRequest { protocol: PROTOCOL_VERSION, task, ask, run: None }).await
    }

    /// `GET ${ECS_AGENT_URI}/task-protection/v1/state`
    pub(crate) async fn shown(&self, task: TaskId, arn: &str) -> Response<Full<Bytes>> {
        answer(arn, self.ask(task, TaskAsk::Protection).await)
    }

    /// `PUT ${ECS_AGENT_URI}/task-protection/v1/state`
    pub(crate) async fn changed(
        &self,
        task: TaskId,
        arn: &str,
        body: Incoming,
    ) -> Response<Full<Bytes>> {
        match wanted(body).await {
            Ok(minutes) => answer(arn, self.ask(task, TaskAsk::Protect { minutes }).await),
            Err(sentence) => invalid(arn, sentence),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ProtectionRequest {
    protection_enabled: bool,
    #[serde(default)]
    expires_in_minutes: Option<i64>,
}

/// For how many minutes, or no longer.
async fn wanted(body: Incoming) -> Result<Option<u32>, String> {
    let body = Limited::new(body, BODY_BYTES_MAX).collect();
    let body = match tokio::time::timeout(BODY_WITHIN, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) | Err(_) => {
            return Err(format!("the body did not arrive whole within {BODY_BYTES_MAX} bytes"));
        }
    };
    parsed(&body)
}

fn parsed(body: &[u8]) -> Result<Option<u32>, String> {
    let wanted: ProtectionRequest = serde_json::from_slice(body).map_err(|error| {
        format!("give {{\"ProtectionEnabled\":true,\"ExpiresInMinutes\":60}}: {error}")
    })?;
    let minutes = match wanted.expires_in_minutes {
        None => TASK_PROTECTION_MINUTES_DEFAULT,
        Some(minutes) => u32::try_from(minutes)
            .ok()
            .filter(|minutes| TASK_PROTECTION_MINUTES.contains(minutes))
            .ok_or_else(|| {
                let (least, most) = TASK_PROTECTION_MINUTES.into_inner();
                format!("ExpiresInMinutes is {minutes}; it must be between {least} and {most}")
            })?,
    };
    Ok(wanted.protection_enabled.then_some(minutes))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum ProtectionAnswer<'a> {
    Protection(Protection<'a>),
    Failure(ProtectionFailure<'a>),
    Error(ProtectionProblem<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Protection<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_date: Option<String>,
    protection_enabled: bool,
    task_arn: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProtectionFailure<'a> {
    arn: &'a str,
    detail: Option<&'a str>,
    reason: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProtectionProblem<'a> {
    arn: &'a str,
    code: &'a str,
    message: String,
}

fn answer(arn: &str, asked: Result<TaskReply, CallError>) -> Response<Full<Bytes>> {
    match asked {
        Ok(TaskReply::Protection { until }) => {
            let protection = Protection {
                expiration_date: until.map(whole_seconds),
                protection_enabled: until.is_some(),
                task_arn: arn,
            };
            json(StatusCode::OK, &ProtectionAnswer::Protection(protection))
        }
        Ok(TaskReply::NotProtected { reason }) => {
            let failure = ProtectionFailure { arn, detail: None, reason: &reason };
            json(StatusCode::OK, &ProtectionAnswer::Failure(failure))
        }
        Ok(TaskReply::Tags { .. }) => {
            unavailable(arn, "the coordinator's answer is to another question".to_owned())
        }
        Err(error @ CallError::Refused { status, .. }) if status.is_client_error() => {
            invalid(arn, error.to_string())
        }
        Err(error) => unavailable(arn, chain(&error)),
    }
}

fn invalid(arn: &str, message: String) -> Response<Full<Bytes>> {
    let problem = ProtectionProblem { arn, code: "InvalidParameterException", message };
    json(StatusCode::BAD_REQUEST, &ProtectionAnswer::Error(problem))
}

fn unavailable(arn: &str, message: String) -> Response<Full<Bytes>> {
    let problem = ProtectionProblem { arn, code: "ServerException", message };
    json(StatusCode::INTERNAL_SERVER_ERROR, &ProtectionAnswer::Error(problem))
}

/// As ECS's example shows it.
fn whole_seconds(at: Timestamp) -> String {
    Timestamp(at.0 / 1000 * 1000).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_as_ecs_documents_it() {
        for (body, expected) in [
            (r#"{"ProtectionEnabled":true}"#, Ok(Some(120))),
            (r#"{"ProtectionEnabled":true,"ExpiresInMinutes":60}"#, Ok(Some(60))),
            (r#"{"ProtectionEnabled":true,"ExpiresInMinutes":2880}"#, Ok(Some(2880))),
            (r#"{"ProtectionEnabled":false}"#, Ok(None)),
            (r#"{"ProtectionEnabled":true,"ExpiresInMinutes":0}"#, Err("between 1 and 2880")),
            (r#"{"ProtectionEnabled":true,"ExpiresInMinutes":2881}"#, Err("between 1 and 2880")),
            (r#"{"ExpiresInMinutes":60}"#, Err("missing field `ProtectionEnabled`")),
            (r#"{"ProtectionEnabled":true,"Task":"other"}"#, Err("unknown field `Task`")),
            ("", Err("EOF")),
        ] {
            match (parsed(body.as_bytes()), expected) {
                (Ok(minutes), Ok(expected)) => assert_eq!(minutes, expected, "{body}"),
                (Err(said), Err(expected)) => assert!(said.contains(expected), "{body}: {said}"),
                (got, _) => panic!("{body}: {got:?}"),
            }
        }
    }
}
