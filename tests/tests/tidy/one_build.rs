//! `make run` and the tests compile every crate with the same features, and so once.

use std::{collections::BTreeSet, path::Path, process::Command};

/// What `make run` builds (`PROGRAMS` in the Makefile).
const PROGRAMS: [&str; 3] = ["longshore-agent", "longshore-coordinator", "longshore-up"];

/// Crates with the features that they are compiled with, a line each.
fn compiled(selection: &[&str], edges: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let said = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--prefix=none", "--no-dedupe", "--format={p}|{f}"])
        .arg(format!("--edges={edges}"))
        .args(selection)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn run_and_tests_share_one_build() {
    let programs: Vec<&str> = PROGRAMS.iter().flat_map(|name| ["--package", name]).collect();
    let of_run = compiled(&programs, "normal,build");
    let of_tests = compiled(&["--workspace"], "normal,build,dev");
    assert!(of_run.len() > PROGRAMS.len(), "{of_run:?}");
    let twice: Vec<&String> = of_run.difference(&of_tests).collect();
    assert!(
        twice.is_empty(),
        "tests ask more of these crates: ask for the same in up/Cargo.toml: {twice:#?}"
    );
}
