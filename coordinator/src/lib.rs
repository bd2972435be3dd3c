#[allow(dead_code, reason = "until the server, which comes last, uses all of it")]
pub(crate) mod api;
pub mod fleet;
