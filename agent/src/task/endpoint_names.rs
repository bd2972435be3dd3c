//! The ids in the endpoints' paths, and the addresses that containers are given.
//!
//! An id is a keyed hash of what its container is, so that nothing of it has to be kept: a restarted
//! agent answers to the ids that running containers hold. The key never leaves the data directory.

use std::{fmt, net::SocketAddr, path::Path, sync::Arc};

use hmac::{Hmac, KeyInit, Mac};
use longshore_common::{
    secret::Secret,
    secret_file::{self, SecretFileError},
};
use sha2::Sha256;

use crate::task::key::TaskKey;

const KEY_BYTES: usize = 32;
/// Bytes of an id. At 128 bits, guessing one of a million ids takes 2^108 requests.
const ID_BYTES: usize = 16;
/// The port that a URL need not name.
const HTTP_PORT: u16 = 80;

/// What stands in a path for one container.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct EndpointId([u8; ID_BYTES]);

impl EndpointId {
    /// Nothing when it cannot be one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; ID_BYTES];
        hex::decode_to_slice(text, &mut bytes).ok().map(|()| EndpointId(bytes))
    }

    fn expose(self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[endpoint id]")
    }
}

/// Makes ids, and the variables that hold them.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    key: Secret<Arc<[u8; KEY_BYTES]>>,
    /// `http://169.254.170.2`.
    base: Arc<str>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error(transparent)]
    File(#[from] SecretFileError),
    #[error("no random number for the key of the task endpoints could be had")]
    NoEntropy(#[source] getrandom::Error),
}

impl Names {
    /// With the key that `file` holds, made at the first start.
    pub(crate) fn load(file: &Path, listen: SocketAddr) -> Result<Self, KeyError> {
        let kept = secret_file::read(file)?.and_then(|kept| <[u8; KEY_BYTES]>::try_from(kept).ok());
        let key = match kept {
            Some(key) => key,
            None => {
                let mut key = [0; KEY_BYTES];
                getrandom::fill(&mut key).map_err(KeyError::NoEntropy)?;
                secret_file::replace(file, &key)?;
                key
            }
        };
        Ok(Self::new(key, listen))
    }

    pub(crate) fn new(key: [u8; KEY_BYTES], listen: SocketAddr) -> Self {
        let base = match listen.port() {
            HTTP_PORT if listen.is_ipv4() => format!("http://{}", listen.ip()),
            _ => format!("http://{listen}"),
        };
        Names { key: Secret::new(Arc::new(key)), base: base.into() }
    }

    /// The id of a task's container, by the definition's name of it.
    pub(crate) fn id(&self, task: TaskKey, container: &str) -> EndpointId {
        // Exposed to be a key, which is what it is.
        let mac = Hmac::<Sha256>::new_from_slice(&self.key.expose()[..]);
        let mut mac = mac.expect("HMAC takes keys of any length");
        mac.update(format!("{}/{}/{container}", task.task, task.generation).as_bytes());
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&mac.finalize().into_bytes()[..ID_BYTES]);
        EndpointId(id)
    }

    /// What a container finds its endpoints by (ecs-behaviour 1.7, env injected).
    pub(crate) fn variables(&self, task: TaskKey, container: &str) -> [(&'static str, String); 3] {
        let (base, id) = (&self.base, self.id(task, container).expose());
        [
            ("ECS_CONTAINER_METADATA_URI", format!("{base}/v3/{id}")),
            ("ECS_CONTAINER_METADATA_URI_V4", format!("{base}/v4/{id}")),
            ("ECS_AGENT_URI", format!("{base}/api/{id}")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use longshore_common::id::TaskId;

    use super::*;

    const LISTEN: ([u8; 4], u16) = ([169, 254, 170, 2], 80);

    fn key(task: u128, generation: u32) -> TaskKey {
        TaskKey { task: TaskId::new(task), generation }
    }

    #[test]
    fn containers_are_told_three_addresses_as_ecs_names_them() {
        let names = Names::new([7; KEY_BYTES], LISTEN.into());
        let variables = names.variables(key(1, 1), "app");
        let id = names.id(key(1, 1), "app").expose();
        assert_eq!(id.len(), 32);
        let expected = [
            ("ECS_CONTAINER_METADATA_URI", format!("http://169.254.170.2/v3/{id}")),
            ("ECS_CONTAINER_METADATA_URI_V4", format!("http://169.254.170.2/v4/{id}")),
            ("ECS_AGENT_URI", format!("http://169.254.170.2/api/{id}")),
        ];
        assert_eq!(variables, expected);
    }

    #[test]
    fn ids_differ_by_task_generation_container_and_host() {
        let names = Names::new([7; KEY_BYTES], LISTEN.into());
        let id = names.id(key(1, 1), "app");
        assert_eq!(EndpointId::parse(&id.expose()), Some(id));
        for other in [
            names.id(key(2, 1), "app"),
            names.id(key(1, 2), "app"),
            names.id(key(1, 1), "db"),
            Names::new([8; KEY_BYTES], LISTEN.into()).id(key(1, 1), "app"),
        ] {
            assert!(other != id);
        }
    }

    #[test]
    fn a_restarted_agent_answers_to_the_ids_that_containers_hold() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        let first = Names::load(&file, LISTEN.into()).unwrap().id(key(1, 1), "app");
        let second = Names::load(&file, LISTEN.into()).unwrap().id(key(1, 1), "app");
        assert!(first == second);
    }

    #[test]
    fn another_port_is_named() {
        let names = Names::new([7; KEY_BYTES], ([127, 0, 0, 1], 51679).into());
        let [(_, url), ..] = names.variables(key(1, 1), "app");
        assert!(url.starts_with("http://127.0.0.1:51679/v3/"), "{url}");
    }

    #[test]
    fn what_is_no_id_is_none() {
        for text in ["", "00", "zz", &"0".repeat(31), &"0".repeat(33), "../../etc/passwd"] {
            assert_eq!(EndpointId::parse(text), None, "{text}");
        }
    }
}
