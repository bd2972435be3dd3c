//! What a task's containers may ask of their host: metadata and statistics of themselves, at the
//! addresses that ECS gives (ecs-behaviour 1.20).
//!
//! Every container is told an address with an id that cannot be guessed, and is answered only if it
//! asks itself: [`source`] looks where a request comes from. Answers come from the [`directory`],
//! which the engine keeps current; no request goes through the engine's loop.
//!
//! Never: a credential, an answer about another task, or one for a source that is not on this host.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use longshore_common::{
    clock::Clock,
    protocol::{TaskAsk, TaskReply},
    telemetry::chain,
};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    plain_http::{self, Answers, ConnectionLimits, Ends, json, other_method},
    runtime::{ContainerRuntime, OwnerLabel},
};

pub mod limit;
pub(crate) mod directory;
mod route;
mod source;
mod kernel;
mod addresses;
mod stats;
mod protection;
pub(crate) mod metadata;
#[cfg(test)]
mod tests;

pub(crate) use kernel::Kernel;
pub(crate) use protection::AnswersTasks;

use addresses::Addresses;
use directory::{DirectoryEntry, EndpointDirectory, InspectedContainer};
use metadata::{Surroundings, Tags};
use protection::ProtectionClient;
use route::{EndpointVersion, Question, Route, Subject};
use source::{Connection, NotFrom, Sources, Witness};
use stats::Stats;

/// All containers on the host's network come from one address, and are one party.
const CONNECTION_LIMITS: ConnectionLimits = ConnectionLimits { total: 512, per_party: 256 };

/// Everything that a request needs.
pub(crate) struct Endpoints<R, C, W> {
    directory: Arc<EndpointDirectory>,
    sources: Sources<R, W>,
    addresses: Addresses<R>,
    desk: ProtectionClient<C>,
    around: Surroundings,
    clock: Arc<dyn Clock>,
}

impl<R: ContainerRuntime, C: AnswersTasks, W: Witness> Endpoints<R, C, W> {
    pub(crate) fn new(
        directory: Arc<EndpointDirectory>,
        runtime: R,
        coordinator: C,
        witness: W,
        owner: OwnerLabel,
        around: Surroundings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let runtime = Arc::new(runtime);
        Endpoints {
            sources: Sources::new(runtime.clone(), witness, directory.clone(), clock.clone()),
            addresses: Addresses::new(runtime, directory.clone(), owner, clock.clone()),
            desk: ProtectionClient::new(coordinator),
            directory,
            around,
            clock,
        }
    }

    /// Serves until `shutdown`.
    pub(crate) async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let endpoints = Arc::new(self);
        let connected = |ends: Ends| EndpointConnection {
            endpoints: endpoints.clone(),
            connection: Connection::new(ends),
            peer: ends.peer.ip().to_canonical(),
        };
        plain_http::serve(listener, "the task endpoints", CONNECTION_LIMITS, connected, shutdown)
            .await;
    }
}

/// One connection.
struct EndpointConnection<R, C, W> {
    endpoints: Arc<Endpoints<R, C, W>>,
    connection: Connection,
    peer: std::net::IpAddr,
}

impl<R: ContainerRuntime, C: AnswersTasks, W: Witness> Answers for EndpointConnection<R, C, W> {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match self.answered(request).await {
            Ok(answer) => answer,
            Err(refused) => refused.response(),
        }
    }
}

/// Why a request is not answered.
#[derive(Debug)]
enum Refused {
    NoSuchPath,
    OtherMethod(&'static str),
    /// The id in the path is none, or nobody's.
    NoSuchId(EndpointVersion),
    /// The address is nobody's (version 2).
    NoSuchSource,
    NotFrom(NotFrom),
    TooMany,
    /// The container's counters cannot be read: it may not run any more.
    NoStats(String),
    /// Credentials of a role, which no task has.
    NoCredentials {
        id: bool,
    },
}

impl Refused {
    fn response(self) -> Response<Full<Bytes>> {
        let (code, sentence) = match self {
            Refused::NoSuchPath => (StatusCode::NOT_FOUND, "there is no such path here".to_owned()),
            Refused::OtherMethod(allowed) => return other_method(allowed),
            Refused::NoSuchId(version) => {
                // As ECS's agent: version 4 knows that something is not there.
                let code = match version {
                    EndpointVersion::V2 | EndpointVersion::V3 => StatusCode::BAD_REQUEST,
                    EndpointVersion::V4 => StatusCode::NOT_FOUND,
                };
                (code, "no container on this host has the id in this path".to_owned())
            }
            Refused::NoSuchSource => (
                StatusCode::BAD_REQUEST,
                "no container of a task on this host has the address that this comes from"
                    .to_owned(),
            ),
            Refused::NotFrom(reason) => (StatusCode::FORBIDDEN, reason.to_string()),
            Refused::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "this task asks more often than its limit; ask again in a second".to_owned(),
            ),
            Refused::NoStats(reason) => {
                (StatusCode::INTERNAL_SERVER_ERROR, format!("there are no statistics: {reason}"))
            }
            Refused::NoCredentials { id } => return no_credentials(id),
        };
        json(code, &sentence)
    }
}

/// ECS's two errors for what names no credentials (ecs-behaviour 1.20).
fn no_credentials(id: bool) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    struct Failure {
        code: &'static str,
        message: &'static str,
        #[serde(rename = "HTTPErrorCode")]
        http_error_code: u16,
    }
    let (code, message) = match id {
        true => ("InvalidIdInRequest", "no task on this host has a role with this id"),
        false => ("NoIdInRequest", "the path names no id of credentials"),
    };
    let status = StatusCode::BAD_REQUEST;
    json(status, &Failure { code, message, http_error_code: status.as_u16() })
}

/// ECS's answer for a task definition without `enableFaultInjection`, which none here has.
fn no_faults(arn: &str) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Failure {
        error: String,
    }
    let error = format!("enableFaultInjection is not enabled for task: {arn}");
    json(StatusCode::BAD_REQUEST, &Failure { error })
}

impl<R: ContainerRuntime, C: AnswersTasks, W: Witness> EndpointConnection<R, C, W> {
    async fn answered(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Refused> {
        let path = request.uri().path().to_owned();
        match Route::of(request.method(), &path) {
            Route::Metadata { version, subject, question } => {
                let (entry, index) = self.whom(version, subject, question).await?;
                self.metadata(&entry, index, version, question).await
            }
            Route::Credentials { id } => Err(Refused::NoCredentials { id: id.is_some() }),
            Route::OtherMethod(allowed) => Err(Refused::OtherMethod(allowed)),
            Route::NotAnId(version) => Err(Refused::NoSuchId(version)),
            Route::GetProtection(id) => {
                let (entry, _) =
                    self.whom(EndpointVersion::V4, Subject::Id(id), Question::Container).await?;
                Ok(self.endpoints.desk.shown(entry.task.key.task, &entry.task.arn).await)
            }
            Route::PutProtection(id) => {
                let (entry, _) =
                    self.whom(EndpointVersion::V4, Subject::Id(id), Question::Container).await?;
                let (task, arn, body) = (entry.task.key.task, &entry.task.arn, request.into_body());
                Ok(self.endpoints.desk.changed(task, arn, body).await)
            }
            Route::Fault(id) => {
                let (entry, _) =
                    self.whom(EndpointVersion::V4, Subject::Id(id), Question::Container).await?;
                Ok(no_faults(&entry.task.arn))
            }
            Route::Unknown => Err(Refused::NoSuchPath),
        }
    }

    /// Whom a question is about, once it is sure that it may be asked.
    async fn whom(
        &self,
        version: EndpointVersion,
        subject: Subject<'_>,
        question: Question,
    ) -> Result<(Arc<DirectoryEntry>, usize), Refused> {
        let sources = &self.endpoints.sources;
        let (entry, index) = match subject {
            Subject::Id(id) => {
                let found = self.endpoints.directory.by_id(id);
                found.ok_or(Refused::NoSuchId(version))?
            }
            Subject::Source | Subject::Sibling(_) => {
                let found = self.endpoints.addresses.find(self.peer).await;
                found.ok_or(Refused::NoSuchSource)?
            }
        };
        let may_ask = match question {
            Question::Task | Question::TaskWithTags | Question::TaskStats => 0..entry.slots.len(),
            Question::Container | Question::ContainerStats => index..index + 1,
        };
        let connection = &self.connection;
        let plausible = sources.plausible(connection, &entry, may_ask).await;
        if plausible.is_empty() {
            return Err(Refused::NotFrom(NotFrom::Another));
        }
        // Before the kernel is asked, which costs more than an answer: a neighbour with another
        // address cannot use up a task's share, and a task cannot have the kernel asked for ever.
        if !entry.limiter.admits(self.endpoints.clock.monotonic()) {
            return Err(Refused::TooMany);
        }
        sources.prove(connection, &entry, plausible).await.map_err(Refused::NotFrom)?;
        let index = match subject {
            Subject::Sibling(docker_id) => {
                let mut containers = entry.task.containers.iter();
                let sibling = containers.position(|c| c.docker_id.as_deref() == Some(docker_id));
                sibling.ok_or(Refused::NoSuchId(version))?
            }
            Subject::Id(_) | Subject::Source => index,
        };
        Ok((entry, index))
    }

    async fn metadata(
        &self,
        entry: &DirectoryEntry,
        index: usize,
        version: EndpointVersion,
        question: Question,
    ) -> Result<Response<Full<Bytes>>, Refused> {
        let around = &self.endpoints.around;
        match question {
            Question::Container => {
                let seen = self.endpoints.sources.look(entry, index, false).await;
                let seen = seen.as_deref();
                let shown = metadata::container(&entry.task, index, seen, version, around);
                Ok(json(StatusCode::OK, &shown))
            }
            Question::Task => {
                let seen = self.all_seen(entry).await;
                Ok(json(StatusCode::OK, &metadata::task(entry, &seen, version, around)))
            }
            Question::TaskWithTags => {
                let seen = self.all_seen(entry).await;
                let shown = metadata::task(entry, &seen, version, around);
                let asked = self.endpoints.desk.ask(entry.task.key.task, TaskAsk::Tags).await;
                let shown = match asked {
                    Ok(TaskReply::Tags { task, container_instance }) => {
                        shown.with_tags(Tags { task, container_instance })
                    }
                    Ok(TaskReply::Protection { .. } | TaskReply::NotProtected { .. }) => {
                        shown.without_tags("the coordinator's answer is to another question")
                    }
                    Err(error) => shown.without_tags(&chain(&error)),
                };
                Ok(json(StatusCode::OK, &shown))
            }
            Question::ContainerStats => {
                Ok(json(StatusCode::OK, &self.stats(entry, index, version).await?))
            }
            Question::TaskStats => {
                let mut all = BTreeMap::new();
                for (index, container) in entry.task.containers.iter().enumerate() {
                    if let Some(id) = container.docker_id.as_deref() {
                        // Nothing for one that does not run, as ECS's agent answers.
                        all.insert(id, self.stats(entry, index, version).await.ok());
                    }
                }
                Ok(json(StatusCode::OK, &all))
            }
        }
    }

    async fn stats(
        &self,
        entry: &DirectoryEntry,
        index: usize,
        version: EndpointVersion,
    ) -> Result<Stats, Refused> {
        let container = &entry.task.containers[index];
        let failed = |reason: &str| Refused::NoStats(reason.to_owned());
        let seen = self.endpoints.sources.look(entry, index, false).await;
        let pid = seen.as_ref().and_then(|seen| seen.pid).ok_or(failed("it shows no process"))?;
        let docker_id = container.docker_id.clone().ok_or(failed("it was not made yet"))?;
        let own_network = seen.is_some_and(|seen| !seen.addresses.is_empty());
        let read = {
            let docker_id = docker_id.clone();
            let read = move || stats::read(pid, &docker_id, own_network);
            tokio::task::spawn_blocking(read).await.map_err(|error| failed(&error.to_string()))?
        };
        let reading = read.map_err(|error| failed(&error.to_string()))?;
        let of = stats::ReadingSubject {
            docker_id: &docker_id,
            docker_name: &container.docker_name,
            rates: version == EndpointVersion::V4,
        };
        let (wall, monotonic) = (self.endpoints.clock.wall(), self.endpoints.clock.monotonic());
        Ok(entry.slots[index].readings().show(reading, &of, wall, monotonic))
    }

    async fn all_seen(&self, entry: &DirectoryEntry) -> Vec<Option<Arc<InspectedContainer>>> {
        let mut all = Vec::with_capacity(entry.slots.len());
        for index in 0..entry.slots.len() {
            all.push(self.endpoints.sources.look(entry, index, false).await);
        }
        all
    }
}
