//! The calls that the agent makes of Docker, and what may become of one.

use std::time::Duration;

use http::Method;

/// Every kind of call that the agent makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    Version,
    Info,
    ImageInspect,
    Pull,
    Create,
    Start,
    Stop,
    Kill,
    Remove,
    Inspect,
    List,
    Events,
    VolumeInspect,
    VolumeRemove,
}

pub const CALL_KINDS: [CallKind; 14] = [
    CallKind::Version,
    CallKind::Info,
    CallKind::ImageInspect,
    CallKind::Pull,
    CallKind::Create,
    CallKind::Start,
    CallKind::Stop,
    CallKind::Kill,
    CallKind::Remove,
    CallKind::Inspect,
    CallKind::List,
    CallKind::Events,
    CallKind::VolumeInspect,
    CallKind::VolumeRemove,
];

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Not done, and this is the answer.
    Status(u16),
    /// Not done, and no answer.
    Hang,
    /// Not done, and the connection ends.
    Reset,
    /// Done, and the connection ends in the middle of the answer.
    HalfBody,
    /// Done, and the answer is no JSON.
    Junk,
    /// Done, and the connection ends before the answer.
    ReplyLost,
    /// Done after so long.
    Slow(Duration),
}

impl Fault {
    /// Promise P6's ten, where slow is as slow as this.
    pub fn all(slow: Duration) -> [Fault; 10] {
        [
            Fault::Status(404),
            Fault::Status(409),
            Fault::Status(304),
            Fault::Status(500),
            Fault::Hang,
            Fault::Reset,
            Fault::HalfBody,
            Fault::Junk,
            Fault::ReplyLost,
            Fault::Slow(slow),
        ]
    }
}

impl CallKind {
    pub(super) fn of(method: &Method, path: &str) -> Option<CallKind> {
        let path = path.split('?').next().unwrap_or_default().trim_start_matches('/');
        let path = match path.split_once('/') {
            Some((version, rest)) if is_version(version) => rest,
            _ => path,
        };
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let last = rest.rsplit('/').next().unwrap_or_default();
        match (method.as_str(), first, last) {
            ("GET", "version", _) => Some(CallKind::Version),
            ("GET", "info", _) => Some(CallKind::Info),
            ("GET", "events", _) => Some(CallKind::Events),
            ("GET", "images", "json") if rest != "json" => Some(CallKind::ImageInspect),
            ("POST", "images", "create") => Some(CallKind::Pull),
            ("GET", "containers", "json") if rest == "json" => Some(CallKind::List),
            ("GET", "containers", "json") => Some(CallKind::Inspect),
            ("POST", "containers", "create") => Some(CallKind::Create),
            ("POST", "containers", "start") => Some(CallKind::Start),
            ("POST", "containers", "stop") => Some(CallKind::Stop),
            ("POST", "containers", "kill") => Some(CallKind::Kill),
            ("DELETE", "containers", _) => Some(CallKind::Remove),
            ("GET", "volumes", _) => Some(CallKind::VolumeInspect),
            ("DELETE", "volumes", _) => Some(CallKind::VolumeRemove),
            _ => None,
        }
    }
}

fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_known_by_method_and_path() {
        let kind = |method, path| CallKind::of(&method, path);
        let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
        assert_eq!(kind(get.clone(), "/v1.41/version"), Some(CallKind::Version));
        assert_eq!(kind(get.clone(), "/version"), Some(CallKind::Version));
        assert_eq!(
            kind(get.clone(), "/v1.41/images/longshore/sample:latest/json"),
            Some(CallKind::ImageInspect)
        );
        assert_eq!(kind(get.clone(), "/v1.41/containers/json?all=true"), Some(CallKind::List));
        assert_eq!(kind(get.clone(), "/v1.41/containers/a/json"), Some(CallKind::Inspect));
        assert_eq!(kind(get.clone(), "/v1.41/events?since=1"), Some(CallKind::Events));
        assert_eq!(kind(get, "/v1.41/containers/a/logs"), None);
        assert_eq!(kind(post.clone(), "/v1.41/containers/create?name=a"), Some(CallKind::Create));
        assert_eq!(kind(post, "/v1.41/containers/a/stop?t=1"), Some(CallKind::Stop));
        assert_eq!(kind(delete.clone(), "/v1.41/containers/a?v=true"), Some(CallKind::Remove));
        assert_eq!(kind(delete, "/v1.41/volumes/a"), Some(CallKind::VolumeRemove));
    }
}
