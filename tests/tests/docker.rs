//! Tests on real hosts: network namespaces, each with a Docker Engine of its own.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "docker/harness.rs"]
mod harness;
