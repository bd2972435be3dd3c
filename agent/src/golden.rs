//! Files and messages that released programs have written, kept under `tests/golden`: each later agent opens them.
//!
//! A folder there holds what the programs of one commit wrote. Beside each file lies what it holds,
//! as JSON. A later agent may know more of a record than the file has, so what it reads is to contain
//! all that the JSON says. Never: a change of a folder that is there.
//!
//! A format that changes adds a folder: `cargo nextest run -p longshore-agent --run-ignored only
//! golden` writes `tests/golden/next`, which is then renamed after the commit that wrote it.

mod polls;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Where the generators write.
const NEXT: &str = "next";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden")
}

/// Every file of this name, with what it holds.
pub(crate) fn files(name: &str) -> Vec<(PathBuf, Value)> {
    let mut found = Vec::new();
    for folder in fs_err::read_dir(golden()).unwrap() {
        let file = folder.unwrap().path().join(name);
        if file.exists() {
            let held = fs_err::read_to_string(file.with_extension("json")).unwrap();
            found.push((file, serde_json::from_str(&held).unwrap()));
        }
    }
    assert!(!found.is_empty(), "there is no golden file {name}");
    found
}

/// A copy that may be changed: opening a file writes to it.
pub(crate) fn copy(file: &Path) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    fs_err::copy(file, &copy).unwrap();
    (folder, copy)
}

/// Where a generator writes a file of this name; none is there.
pub(crate) fn next(name: &str) -> PathBuf {
    let folder = golden().join(NEXT);
    fs_err::create_dir_all(&folder).unwrap();
    let file = folder.join(name);
    let _ = fs_err::remove_file(&file);
    file
}

pub(crate) fn describe(file: &Path, held: &Value) {
    let held = serde_json::to_string_pretty(held).unwrap() + "\n";
    fs_err::write(file.with_extension("json"), held).unwrap();
}

/// Every member of `expected`, at any depth, is in `found` and the same.
pub(crate) fn assert_contains(found: &Value, expected: &Value, at: &str) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            for (name, expected) in expected {
                let found = found.get(name).unwrap_or(&Value::Null);
                assert_contains(found, expected, &format!("{at}.{name}"));
            }
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "elements of {at}");
            for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert_contains(found, expected, &format!("{at}[{index}]"));
            }
        }
        (found, expected) => assert_eq!(found, expected, "{at}"),
    }
}
