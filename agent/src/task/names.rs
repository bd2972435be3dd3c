//! How what belongs to a task is called at the container engine and on this host.
//!
//! Names are deterministic, so that a second attempt at one create finds the first one's container.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::{intent::Intent, key::TaskKey, rules::Rules};

/// Number of digits of a name's hexadecimal tail, as ECS's agent gives.
const NAME_HEX_DIGITS: usize = 20;

/// No definition may name a container so: ECS's own name for it.
pub(crate) const PAUSE: &str = "~internal~ecs~pause";

/// As it stands in the engine's name, which takes no tilde.
pub(crate) const PAUSE_IN_ENGINE: &str = "internalecspause";

/// `ecs-<family>-<revision>-<container>-<hex>`.
pub(crate) fn docker_name(family: &str, revision: u32, container: &str, key: TaskKey) -> String {
    let hash = Sha256::digest(format!("{}/{}/{container}", key.task, key.generation));
    let hex = hex::encode(hash);
    format!("ecs-{family}-{revision}-{container}-{}", &hex[..NAME_HEX_DIGITS])
}

/// As [`docker_name`], for a volume that goes with its task.
pub(crate) fn volume_name(family: &str, revision: u32, volume: &str, key: TaskKey) -> String {
    let hash = Sha256::digest(format!("{}/{}/volume/{volume}", key.task, key.generation));
    let hex = hex::encode(hash);
    format!("ecs-{family}-{revision}-{volume}-{}", &hex[..NAME_HEX_DIGITS])
}

/// As [`docker_name`], for the control group of a task: longer, since it stands on its own.
pub(crate) fn group_name(key: TaskKey) -> String {
    format!("longshore_{}_{}", key.task, key.generation)
}

/// Where files of this task are.
pub(crate) fn task_directory(key: TaskKey, rules: &Rules) -> PathBuf {
    rules.task_files.join(format!("{}_{}", key.task, key.generation))
}

/// The engine's name of a container of the definition.
pub(crate) fn engine_name(intent: &Intent, container: &str) -> String {
    let definition = &intent.definition;
    docker_name(&definition.family, definition.revision, container, intent.key)
}
