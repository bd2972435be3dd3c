//! The agent's and the coordinator's side of a fleet together, over loopback sockets: who may join,
//! who may order, and what a poll finds.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]
#![allow(clippy::print_stdout, reason = "campaigns are told by their counts")]

#[path = "fleet/setting.rs"]
mod setting;
#[path = "fleet/forge.rs"]
mod forge;
#[path = "fleet/stranger.rs"]
mod stranger;
#[path = "fleet/certificates.rs"]
mod certificates;
#[path = "fleet/tokens.rs"]
mod tokens;
#[path = "fleet/membership.rs"]
mod membership;
#[path = "fleet/polls.rs"]
mod polls;
#[path = "fleet/absence.rs"]
mod absence;
#[path = "fleet/copies.rs"]
mod copies;
#[path = "fleet/moved.rs"]
mod moved;
