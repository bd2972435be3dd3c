//! Which question a request asks. Pure.

use http::Method;

use crate::task::endpoint_names::EndpointId;

/// A version of the metadata endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndpointVersion {
    V2,
    V3,
    V4,
}

/// Whom a question is about, as its path names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    /// By the id in the path.
    Id(EndpointId),
    /// Nothing in the path: whoever asks from that address.
    Source,
    /// Version 2 names another container of one's own task by Docker's id.
    Sibling(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Container,
    Task,
    TaskWithTags,
    ContainerStats,
    TaskStats,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Metadata {
        version: EndpointVersion,
        subject: Subject<'a>,
        question: Question,
    },
    GetProtection(EndpointId),
    PutProtection(EndpointId),
    Fault(EndpointId),
    /// Task roles are not built: there is nothing behind any id.
    Credentials {
        id: Option<&'a str>,
    },
    /// There is such a path, for these methods.
    OtherMethod(&'static str),
    /// An id was expected and something else found.
    NotAnId(EndpointVersion),
    Unknown,
}

impl<'a> Route<'a> {
    pub(crate) fn of(method: &Method, path: &'a str) -> Self {
        // `${ECS_CONTAINER_METADATA_URI_V4}/` asks for the same as without the slash.
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut parts = path.splitn(3, '/');
        let (first, second, rest) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
        let (first, second) = (first.unwrap_or_default(), second.unwrap_or_default());
        let route = match first {
            "v2" => v2(second, rest),
            "v3" => by_id(EndpointVersion::V3, second, rest),
            "v4" => by_id(EndpointVersion::V4, second, rest),
            "api" => match EndpointId::parse(second) {
                Some(id) => return agent_api(method, id, rest),
                None => Route::Unknown,
            },
            _ => Route::Unknown,
        };
        match route {
            Route::Unknown | Route::NotAnId(_) => route,
            _ if matches!(*method, Method::GET | Method::HEAD) => route,
            _ => Route::OtherMethod("GET, HEAD"),
        }
    }
}

fn by_id<'a>(version: EndpointVersion, id: &str, rest: &str) -> Route<'a> {
    let question = match rest {
        "" => Question::Container,
        "task" => Question::Task,
        "taskWithTags" => Question::TaskWithTags,
        "stats" => Question::ContainerStats,
        "task/stats" => Question::TaskStats,
        _ => return Route::Unknown,
    };
    match EndpointId::parse(id) {
        Some(id) => Route::Metadata { version, subject: Subject::Id(id), question },
        None => Route::NotAnId(version),
    }
}

fn v2<'a>(what: &str, rest: &'a str) -> Route<'a> {
    let version = EndpointVersion::V2;
    let subject = match rest {
        "" => Subject::Source,
        id if !id.contains('/') => Subject::Sibling(id),
        _ => return Route::Unknown,
    };
    let question = match (what, subject) {
        ("credentials", _) => {
            return Route::Credentials { id: Some(rest).filter(|id| !id.is_empty()) };
        }
        ("metadata", Subject::Source) => Question::Task,
        ("metadataWithTags", Subject::Source) => Question::TaskWithTags,
        ("metadata", _) => Question::Container,
        ("stats", Subject::Source) => Question::TaskStats,
        ("stats", _) => Question::ContainerStats,
        _ => return Route::Unknown,
    };
    Route::Metadata { version, subject, question }
}

fn agent_api<'a>(method: &Method, id: EndpointId, rest: &str) -> Route<'a> {
    if rest == "task-protection/v1/state" {
        return match *method {
            Method::GET => Route::GetProtection(id),
            Method::PUT => Route::PutProtection(id),
            _ => Route::OtherMethod("GET, PUT"),
        };
    }
    let fault = rest.strip_prefix("fault/v1/").and_then(|fault| fault.split_once('/'));
    match fault {
        Some((
            "network-blackhole-port" | "network-latency" | "network-packet-loss",
            "start" | "stop" | "status",
        )) => match *method {
            Method::POST => Route::Fault(id),
            _ => Route::OtherMethod("POST"),
        },
        _ => Route::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "000102030405060708090a0b0c0d0e0f";

    fn check(method: Method, path: &str, expected: &str) {
        let path = path.replace("ID", ID);
        let text = match Route::of(&method, &path) {
            Route::Metadata { version, subject, question } => {
                let subject = match subject {
                    Subject::Id(_) => "id".to_owned(),
                    Subject::Source => "source".to_owned(),
                    Subject::Sibling(id) => id.to_owned(),
                };
                format!("{version:?} {subject} {question:?}")
            }
            Route::Credentials { id } => format!("credentials {id:?}"),
            Route::NotAnId(version) => format!("{version:?} not an id"),
            Route::OtherMethod(allowed) => format!("only {allowed}"),
            Route::GetProtection(_) => "get protection".to_owned(),
            Route::PutProtection(_) => "put protection".to_owned(),
            Route::Fault(_) => "fault".to_owned(),
            Route::Unknown => "unknown".to_owned(),
        };
        assert_eq!(text, expected, "{method} {path}");
    }

    #[test]
    fn each_path_that_ecs_documents_is_known() {
        for (path, expected) in [
            ("/v4/ID", "V4 id Container"),
            ("/v4/ID/", "V4 id Container"),
            ("/v4/ID/task", "V4 id Task"),
            ("/v4/ID/taskWithTags", "V4 id TaskWithTags"),
            ("/v4/ID/stats", "V4 id ContainerStats"),
            ("/v4/ID/task/stats", "V4 id TaskStats"),
            ("/v3/ID", "V3 id Container"),
            ("/v3/ID/task", "V3 id Task"),
            ("/v3/ID/task/stats", "V3 id TaskStats"),
            ("/v2/metadata", "V2 source Task"),
            ("/v2/metadata/", "V2 source Task"),
            ("/v2/metadata/abc", "V2 abc Container"),
            ("/v2/metadataWithTags", "V2 source TaskWithTags"),
            ("/v2/stats", "V2 source TaskStats"),
            ("/v2/stats/abc", "V2 abc ContainerStats"),
            ("/v2/credentials", "credentials None"),
            ("/v2/credentials/abc", "credentials Some(\"abc\")"),
            ("/api/ID/task-protection/v1/state", "get protection"),
        ] {
            check(Method::GET, path, expected);
        }
        check(Method::PUT, "/api/ID/task-protection/v1/state", "put protection");
        check(Method::POST, "/api/ID/fault/v1/network-latency/start", "fault");
    }

    #[test]
    fn what_is_no_path_or_no_method_of_it_is_told() {
        for (method, path, expected) in [
            (Method::GET, "/", "unknown"),
            (Method::GET, "/v4", "V4 not an id"),
            (Method::GET, "/v4/nobody", "V4 not an id"),
            (Method::GET, "/v4/ID/associations", "unknown"),
            (Method::GET, "/v4/../v4/ID", "unknown"),
            (Method::GET, "/v2/metadata/a/b", "unknown"),
            (Method::GET, "/api/nobody/task-protection/v1/state", "unknown"),
            (Method::GET, "/api/ID/fault/v1/network-latency/start", "only POST"),
            (Method::POST, "/api/ID/fault/v1/disk-full/start", "unknown"),
            (Method::POST, "/v4/ID", "only GET, HEAD"),
            (Method::DELETE, "/api/ID/task-protection/v1/state", "only GET, PUT"),
        ] {
            check(method, path, expected);
        }
    }
}
