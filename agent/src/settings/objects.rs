//! Where objects that definitions name are read from.

use std::path::PathBuf;

use super::proxies::Proxies;

/// Where objects are read from (setting `s3`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objects {
    Directory(PathBuf),
    /// An endpoint's URL. Keys and region come from the usual `AWS_*` variables of the agent;
    /// without keys it is asked as anybody.
    Endpoint(String, Proxies),
}
