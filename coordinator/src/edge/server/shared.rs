//! What all connections of the API share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{limits::Limits, reply::RequestIds};
use crate::{door::bodies::Bodies, edge::Edge};

/// Where large requests are worked on: hashing and parsing a body of 1 MiB must hold up neither small
/// requests nor the polls of agents.
#[derive(Clone, Debug)]
pub struct Workshop(pub tokio::runtime::Handle);

/// What all connections share.
pub(super) struct Shared {
    pub(super) edge: Arc<Edge>,
    pub(super) requests: RequestIds,
    pub(super) workshop: Workshop,
    pub(super) limits: Limits,
    pub(super) strangers_bodies: Arc<Bodies>,
    pub(super) middling_bodies: Arc<Bodies>,
    pub(super) known_bodies: Arc<Bodies>,
    pub(super) shutdown: CancellationToken,
}
