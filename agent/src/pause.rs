//! The image of the pause container: made here, from nothing, without a registry or a network.
//!
//! Owns its name and its archive, as `docker load` takes it. Never: a call to the container engine
//! (that is `runtime`), or when a task needs such a container (that is `plan::pause`).

use std::{io, sync::LazyLock};

use bytes::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};

mod program;

/// Digits of the program's hash in the tag: another program is another image.
const TAG_HEX_DIGITS: usize = 12;
/// Where the program is inside the image.
const PROGRAM_PATH: &str = "pause";
const EXECUTABLE: u32 = 0o755;
const READABLE: u32 = 0o644;

/// `longshore/pause:<of the program>`.
pub(crate) static REFERENCE: LazyLock<String> = LazyLock::new(|| {
    let hash = hex::encode(Sha256::digest(program::elf()));
    format!("longshore/pause:{}", &hash[..TAG_HEX_DIGITS])
});

/// One layer with one file, in the form of `docker save`. The same bytes each time.
pub(crate) fn archive() -> io::Result<Bytes> {
    let layer = tar(&[(PROGRAM_PATH, EXECUTABLE, &program::elf())])?;
    let configuration = json!({
        "architecture": program::ARCHITECTURE,
        "os": "linux",
        "config": { "Entrypoint": [format!("/{PROGRAM_PATH}")] },
        "rootfs": { "type": "layers", "diff_ids": [sha256(&layer)] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "longshore-agent" }],
        "created": "1970-01-01T00:00:00Z",
    });
    let configuration = configuration.to_string();
    let manifest = json!([{
        "Config": "config.json",
        "RepoTags": [&*REFERENCE],
        "Layers": ["layer.tar"],
    }]);
    let all = tar(&[
        ("layer.tar", READABLE, &layer),
        ("config.json", READABLE, configuration.as_bytes()),
        ("manifest.json", READABLE, manifest.to_string().as_bytes()),
    ])?;
    Ok(all.into())
}

fn tar(files: &[(&str, u32, &[u8])]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, mode, contents) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        header.set_mode(*mode);
        header.set_mtime(0);
        archive.append_data(&mut header, path, *contents)?;
    }
    archive.into_inner()
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read};

    use serde_json::Value;

    use super::*;

    fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let file = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).unwrap();
            (entry.path().unwrap().display().to_string(), contents)
        };
        archive.entries().unwrap().map(file).collect()
    }

    #[test]
    fn archive_holds_one_program_and_is_reproducible() {
        let bytes = archive().unwrap();
        assert_eq!(bytes, archive().unwrap());
        let files = files(&bytes);
        let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"], json!([&*REFERENCE]));
        let configuration: Value = serde_json::from_slice(&files["config.json"]).unwrap();
        assert_eq!(configuration["config"]["Entrypoint"], json!(["/pause"]));
        let layer = &files["layer.tar"];
        assert_eq!(configuration["rootfs"]["diff_ids"], json!([sha256(layer)]));
        assert_eq!(self::files(layer)[PROGRAM_PATH], program::elf());
    }
}
