//! Where the two shipped programs are: beside the one that is running, as cargo builds them.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

pub const COORDINATOR: &str = "longshore-coordinator";
pub const AGENT: &str = "longshore-agent";

/// Another folder to take the two programs from, an installed release for example.
pub const FOLDER_VARIABLE: &str = "LONGSHORE_PROGRAMS";

pub fn binary(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os(FOLDER_VARIABLE) {
        Some(folder) => PathBuf::from(folder),
        None => {
            let own = std::env::current_exe()?;
            let folder = own.parent().context("this program is in no folder")?;
            // Tests are in `deps`, one below.
            let is_deps = folder.file_name().is_some_and(|name| name == "deps");
            (if is_deps { folder.parent().unwrap_or(folder) } else { folder }).to_owned()
        }
    };
    let binary = folder.join(name);
    if !binary.exists() {
        bail!("{} is not there: `cargo build --workspace --bins` makes it", binary.display());
    }
    Ok(binary)
}
