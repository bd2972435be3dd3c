//! The root key, read from the file that the coordinator writes at its first start.

use std::path::Path;

use anyhow::{Context, Result};

#[derive(Clone)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
}

impl Credentials {
    /// Reads an AWS shared credentials file: the `[default]` profile.
    pub fn read(file: &Path) -> Result<Credentials> {
        let text = fs_err::read_to_string(file)?;
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            let found = lines.find(|(name, _)| name.trim() == key);
            found
                .map(|(_, value)| value.trim().to_owned())
                .with_context(|| format!("no {key} in {}", file.display()))
        };
        Ok(Credentials {
            access_key_id: value("aws_access_key_id")?,
            secret_access_key: value("aws_secret_access_key")?,
        })
    }
}
