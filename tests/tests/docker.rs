//! Tests on real hosts: network namespaces, each with a Docker Engine and an agent of its own,
//! driven by the AWS CLI and boto3 as a user would.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "docker/harness.rs"]
mod harness;
#[path = "docker/definition.rs"]
mod definition;
#[path = "docker/cleanup.rs"]
mod cleanup;
#[path = "docker/tasks.rs"]
mod tasks;
#[path = "docker/capacity.rs"]
mod capacity;
#[path = "docker/conformance.rs"]
mod conformance;
#[path = "docker/limits.rs"]
mod limits;
#[path = "docker/mounts.rs"]
mod mounts;
#[path = "docker/needs.rs"]
mod needs;
#[path = "docker/order.rs"]
mod order;
#[path = "docker/namespaces.rs"]
mod namespaces;
#[path = "docker/services.rs"]
mod services;
#[path = "docker/scaling.rs"]
mod scaling;
#[path = "docker/ec2.rs"]
mod ec2;
#[path = "docker/logs.rs"]
mod logs;
#[path = "docker/log_files.rs"]
mod log_files;
#[path = "docker/task_endpoints.rs"]
mod task_endpoints;
#[path = "docker/strangers.rs"]
mod strangers;
#[path = "docker/faults.rs"]
mod faults;
#[path = "docker/engine_failures.rs"]
mod engine_failures;
#[path = "docker/old_journal.rs"]
mod old_journal;
#[path = "docker/service_manager.rs"]
mod service_manager;
#[path = "docker/engine_health.rs"]
mod engine_health;
#[path = "docker/engine_answers.rs"]
mod engine_answers;
#[path = "docker/outages.rs"]
mod outages;
#[path = "docker/outside.rs"]
mod outside;
#[path = "docker/identities.rs"]
mod identities;
#[path = "docker/packages.rs"]
mod packages;
