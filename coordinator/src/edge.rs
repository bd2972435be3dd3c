//! What the services of AWS share: AWS's protocols in, typed calls out, and nothing of any one operation.
//!
//! A request passes server (limits) → router (which protocol) → sigv4 (who) → input (typed) → a handler
//! of `api`, which is handed a [`context::Api`]. Never: what any operation does.

pub(crate) mod error;
pub(crate) mod input;
pub(crate) mod protocol;
pub(crate) mod event_stream;
pub mod health;
pub(crate) mod page;
pub(crate) mod context;
pub(crate) mod keyring;
pub(crate) mod sigv4;
pub(crate) mod client_token;
pub(crate) mod operation;
pub(crate) mod service;
pub(crate) mod router;
pub(crate) mod webhook;
pub(crate) mod dispatch;
pub(crate) mod foreign;
pub mod server;
pub mod in_process;
#[cfg(test)]
pub(crate) mod test_backend;

pub(crate) use self::dispatch::Offer;
pub use self::dispatch::{Backend, Edge};
