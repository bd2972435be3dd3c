//! What a handler works with, made anew for each request.

use std::sync::Arc;

use longshore_common::{arn::Identity, clock::Clock, join_token::CaHash};

use crate::{driver::Handle, edge::page::PageScope, fleet::logs::Logs, random::Random};

/// What a handler works with: who we are and who calls. Made anew for each request (a few
/// reference counts), so that a handler takes `&Api` and its input and nothing else.
#[derive(Clone)]
pub(crate) struct Api {
    /// Region and account: what ARNs are made of.
    pub(crate) identity: Arc<Identity>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) driver: Handle,
    /// Where this API is reached from outside: an URL.
    pub(crate) endpoint: Arc<str>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What a join token pins.
    pub(crate) ca: CaHash,
    /// Logs on the hosts, and those that clients put here.
    pub(crate) logs: Logs,
    /// What secrets, ids and ties of a dry run are drawn from.
    pub(crate) random: Random,
    /// What a page token of this request belongs to.
    pub(crate) page_scope: PageScope,
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
