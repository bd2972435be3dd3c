//! What both binaries compile against: identities, units, the task definition, the poll protocol.
//!
//! Never: a decision, an I/O call (but for the system clock, the log set-up, files of secrets, the
//! data directory, the store of container logs, the word to the service manager and the signals that
//! end a program), or a type that only one of the two binaries uses.

pub mod id;
pub mod arn;
pub mod clock;
pub mod resources;
pub mod boolean;
pub mod task_definition;
pub mod task_policy;
pub mod task;
pub mod gpus;
pub mod image_reference;
pub mod limits;
pub mod index;
pub mod secret;
pub mod data_directory;
pub mod secret_file;
pub mod node;
pub mod coordinator_address;
pub mod machine;
pub mod join_token;
pub mod mutual_tls;
pub mod party;
pub mod listen;
pub mod telemetry;
pub mod service_manager;
pub mod termination;
pub mod logs;
pub mod topic;
pub mod protocol;
