//! The HTTP edge: AWS's protocols in, commands out.
//!
//! A request passes server (limits) → router (which protocol) → sigv4 (who) → input (typed) →
//! one handler of one resource → driver. Never holds a rule of the state machine: a handler parses,
//! submits or reads, and renders. Wire types never leave this folder.

pub(crate) mod error;
pub(crate) mod input;
pub(crate) mod operation;
pub(crate) mod tags;
pub(crate) mod task_definitions;

use std::sync::Arc;

use longshore_common::arn::Identity;

/// What a handler works with: who we are and who calls. Made anew for each request (a few
/// reference counts), so that a handler takes `&Api` and its input and nothing else.
#[derive(Clone)]
pub(crate) struct Api {
    /// Region and account: what ARNs are made of.
    pub(crate) identity: Arc<Identity>,
    pub(crate) caller: Arc<Caller>,
}

/// Who signed the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The ARN of the principal: `registeredBy`, `principalArn`, GetCallerIdentity.
    pub(crate) arn: String,
    /// STS's `UserId`: the account for the root user.
    pub(crate) user_id: String,
    pub(crate) account: String,
}
