//! Container logs without CloudWatch: what the `awslogs` driver is asked for, how its events are kept
//! and found again, and the words in which a coordinator asks a host for them.
//!
//! Both programs keep such logs: an agent those of its containers, the coordinator what PutLogEvents
//! gave it. Never: a container engine, a wire format of AWS, or a guess about a line that was not read.

pub mod options;
pub mod aging;
pub mod mode;
pub mod go_regex;
pub mod event_start;
pub mod pattern;
pub mod query;
pub mod store;
