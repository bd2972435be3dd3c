//! Introspection: what this agent is and runs, over plain HTTP, as ECS's agent shows it on port 51678,
//! and the two paths that monitoring wants.
//!
//! Read only, without secrets, on loopback unless the operator says otherwise. Never: a body that is
//! read, an answer that waits for Docker or the coordinator.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use longshore_common::protocol::StorageHealth;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    engine::supervisor::{ContainerView, TaskView},
    plain_http::{self, Answers, ConnectionLimits, json, other_method, text},
    status::{AWAY_AFTER, Status},
};

mod metrics;
#[cfg(test)]
mod tests;

const CONNECTION_LIMITS: ConnectionLimits = ConnectionLimits { total: 64, per_party: 32 };
/// Timeout of the engine, which answers from memory: beyond it the engine hangs.
const ENGINE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// Minimum of characters of a Docker id that ECS's agent takes, if it names one task only.
const SHORT_DOCKER_ID_CHARS: usize = 12;

const PATHS: [&str; 5] = ["/v1/metadata", "/v1/tasks", "/license", "/healthz", "/metrics"];
const LICENSE: &str = include_str!("../../../LICENSE");

/// Serves until `shutdown`.
pub(crate) async fn serve(listener: TcpListener, status: Arc<Status>, shutdown: CancellationToken) {
    let connected = |_| Introspection(status.clone());
    plain_http::serve(listener, "introspection", CONNECTION_LIMITS, connected, shutdown).await;
}

struct Introspection(Arc<Status>);

impl Answers for Introspection {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        answer(&request, &self.0).await
    }
}

async fn answer(request: &Request<Incoming>, status: &Status) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !PATHS.contains(&path) {
        let code = if path == "/" { StatusCode::OK } else { StatusCode::NOT_FOUND };
        return json(code, &Listing { available_commands: PATHS });
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return other_method("GET, HEAD");
    }
    match path {
        "/v1/metadata" => json(StatusCode::OK, &AgentMetadata::of(status)),
        "/v1/tasks" => tasks(request.uri().query().unwrap_or_default(), status).await,
        "/license" => text(StatusCode::OK, LICENSE),
        "/healthz" => healthz(status).await,
        _ => metrics(status).await,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    available_commands: [&'static str; PATHS.len()],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AgentMetadata {
    cluster: String,
    /// Null until the host has registered.
    container_instance_arn: Option<String>,
    version: String,
}

impl AgentMetadata {
    fn of(status: &Status) -> Self {
        AgentMetadata {
            cluster: status.cluster.clone(),
            container_instance_arn: status.container_instance_arn(),
            version: format!("Longshore Agent - v{} ({})", status.version, status.hash),
        }
    }
}

/// All tasks, or the one that the query names.
async fn tasks(query: &str, status: &Status) -> Response<Full<Bytes>> {
    let wanted = match TaskQuery::parse(query) {
        Ok(wanted) => wanted,
        Err(message) => return failure(StatusCode::BAD_REQUEST, message),
    };
    let Some(tasks) = status.tasks(ENGINE_ANSWERS_WITHIN).await else {
        return failure(
            StatusCode::SERVICE_UNAVAILABLE,
            "the engine does not run yet, or not any more",
        );
    };
    let one = |mut found: Vec<&TaskView>| match (found.pop(), found.is_empty()) {
        (Some(task), true) => json(StatusCode::OK, &IntrospectedTask::from(task)),
        (Some(_), false) => failure(StatusCode::BAD_REQUEST, "several tasks have such a dockerid"),
        (None, _) => failure(StatusCode::NOT_FOUND, "no such task on this host"),
    };
    match wanted {
        TaskQuery::All => json(
            StatusCode::OK,
            &IntrospectedTasks { tasks: tasks.iter().map(Into::into).collect() },
        ),
        TaskQuery::Arn(arn) => one(tasks.iter().filter(|task| task.arn == arn).collect()),
        TaskQuery::DockerId(id) => {
            one(tasks.iter().filter(|task| has_container(task, &id)).collect())
        }
    }
}

fn has_container(task: &TaskView, id: &str) -> bool {
    let matches =
        |known: &str| known == id || id.len() >= SHORT_DOCKER_ID_CHARS && known.starts_with(id);
    task.containers.iter().filter_map(|c| c.docker_id.as_deref()).any(matches)
}

enum TaskQuery {
    All,
    Arn(String),
    DockerId(String),
}

impl TaskQuery {
    fn parse(query: &str) -> Result<Self, &'static str> {
        let mut wanted = TaskQuery::All;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let this = match name.as_ref() {
                "taskarn" => TaskQuery::Arn(value.into_owned()),
                "dockerid" => TaskQuery::DockerId(value.into_owned()),
                _ => return Err("the query may have taskarn or dockerid, nothing else"),
            };
            if !matches!(wanted, TaskQuery::All) {
                return Err("the query may have one of taskarn and dockerid, once");
            }
            wanted = this;
        }
        Ok(wanted)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct IntrospectedTasks<'a> {
    tasks: Vec<IntrospectedTask<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct IntrospectedTask<'a> {
    arn: &'a str,
    desired_status: &'a str,
    known_status: &'a str,
    family: &'a str,
    /// The revision, as text.
    version: String,
    containers: Vec<IntrospectedContainer<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct IntrospectedContainer<'a> {
    /// Empty until Docker has made it.
    docker_id: &'a str,
    docker_name: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<IntrospectedPort<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct IntrospectedPort<'a> {
    container_port: u16,
    protocol: String,
    host_ip: &'a str,
    host_port: u16,
}

impl<'a> From<&'a TaskView> for IntrospectedTask<'a> {
    fn from(task: &'a TaskView) -> Self {
        IntrospectedTask {
            arn: &task.arn,
            desired_status: task.desired_status,
            known_status: task.known_status,
            family: &task.family,
            version: task.revision.to_string(),
            containers: task.containers.iter().map(Into::into).collect(),
        }
    }
}

impl<'a> From<&'a ContainerView> for IntrospectedContainer<'a> {
    fn from(container: &'a ContainerView) -> Self {
        let ports = container.ports.iter().map(|binding| IntrospectedPort {
            container_port: binding.container_port,
            protocol: binding.protocol.to_string(),
            host_ip: &binding.bind_ip,
            host_port: binding.host_port,
        });
        IntrospectedContainer {
            docker_id: container.docker_id.as_deref().unwrap_or_default(),
            docker_name: &container.docker_name,
            name: &container.name,
            ports: ports.collect(),
        }
    }
}

#[derive(Serialize)]
struct HealthAnswer {
    status: &'static str,
    /// Why the coordinator does not take this host; left out when it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    docker: &'static str,
    /// Space on the file systems that tasks fill: `enough`, `short` or `lacking`.
    room: &'static str,
    /// `ok`, or why no new task is taken and what to do.
    storage: String,
    /// `ok`, or why container logs are not read and the disk is not watched.
    docker_data: String,
    /// `ok`, or why tasks are not served as they should be.
    network: String,
    registered: bool,
    /// `polls`, `away`, or `waiting` before its first poll. Tasks run on without it, so that the
    /// answer is 200 all the same.
    coordinator: &'static str,
    /// Null before the first poll.
    last_poll_age_seconds: Option<f64>,
}

fn storage_problem(status: &Status) -> Option<String> {
    match status.storage() {
        StorageHealth::Unknown | StorageHealth::Ready => None,
        StorageHealth::Full => {
            let advice = status.disk().advice().unwrap_or_default();
            Some(format!("there is no room for new tasks: {advice}"))
        }
        StorageHealth::Unwritable => Some(
            "the ledger cannot be written, the log says why: make room on the file system of data_dir, or \
             make that writable"
                .to_owned(),
        ),
    }
}

/// Whether the agent works. One without Docker or a coordinator does: it waits for them.
async fn healthz(status: &Status) -> Response<Full<Bytes>> {
    let (network, docker_data) = (status.network_problem(), status.docker_data_problem());
    let (refused, storage) = (status.refused(), storage_problem(status));
    let (code, state) = if refused.is_some() {
        (StatusCode::SERVICE_UNAVAILABLE, "the coordinator refuses this host")
    } else if !status.has_engine() {
        (StatusCode::OK, "joining")
    } else if status.tasks(ENGINE_ANSWERS_WITHIN).await.is_none() {
        (StatusCode::SERVICE_UNAVAILABLE, "the engine does not answer")
    } else if network.is_some() {
        (StatusCode::SERVICE_UNAVAILABLE, "tasks are not served as they should be")
    } else if docker_data.is_some() {
        (StatusCode::SERVICE_UNAVAILABLE, "what Docker keeps on disk is not seen")
    } else if storage.is_some() {
        (StatusCode::SERVICE_UNAVAILABLE, "no new task is taken")
    } else {
        (StatusCode::OK, "ok")
    };
    let health = HealthAnswer {
        status: state,
        refused,
        docker: if status.docker_answers() { "reachable" } else { "unreachable" },
        room: status.disk().room.name(),
        storage: storage.unwrap_or_else(|| "ok".to_owned()),
        docker_data: docker_data.unwrap_or_else(|| "ok".to_owned()),
        network: network.unwrap_or_else(|| "ok".to_owned()),
        registered: status.container_instance_arn().is_some(),
        coordinator: match (status.last_poll_age(), status.silence()) {
            (_, Some(silence)) if silence >= AWAY_AFTER => "away",
            (Some(_), _) => "polls",
            (None, _) => "waiting",
        },
        last_poll_age_seconds: status.last_poll_age().map(|age| age.as_secs_f64()),
    };
    json(code, &health)
}

async fn metrics(status: &Status) -> Response<Full<Bytes>> {
    let tasks = status.tasks(ENGINE_ANSWERS_WITHIN).await;
    let mut response = text(StatusCode::OK, metrics::text(status, tasks.as_deref()));
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FailureAnswer {
    error: &'static str,
}

fn failure(code: StatusCode, error: &'static str) -> Response<Full<Bytes>> {
    json(code, &FailureAnswer { error })
}
