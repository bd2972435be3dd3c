//! What must hold of the source tree and no lint can see: each file says what it owns and is named
//! after its one concept, the pure core stays pure (design.md rule 1), no service changes owners.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "tidy/arrows.rs"]
mod arrows;
#[path = "tidy/one_build.rs"]
mod one_build;

use std::path::{Path, PathBuf};

use expect_test::expect;

/// Module names that say nothing of a concept.
const NAMELESS: [&str; 6] =
    ["mod.rs", "utils.rs", "util.rs", "helpers.rs", "common.rs", "types.rs"];
/// Where decisions are made: time, chance and the outside world arrive as values there.
const PURE: [&str; 8] = [
    "coordinator/core/src",
    "agent/src/engine/plan",
    "agent/src/engine/plan.rs",
    "agent/src/task/conclusions.rs",
    "agent/src/task/desired.rs",
    "agent/src/task/observed",
    "agent/src/task/observed.rs",
    "agent/src/task/order.rs",
];
const IMPURE: [&str; 12] = [
    "tokio",
    "bollard",
    "hyper",
    "rusqlite",
    "std::fs",
    "fs_err",
    "std::net",
    "std::env",
    "SystemTime",
    "Instant",
    "getrandom",
    "async fn",
];
/// The shipped units forbid services to change owners: all go through `give_to_owner_of`, which makes the
/// call for operators alone. The mount helper's unit allows it, and `restore` has its lock from root.
const CHANGE_OWNERS: [&str; 3] = [
    "common/src/data_directory.rs",
    "agent/src/mounts/directory.rs",
    "coordinator/src/journal/lock.rs",
];
const SHOWN: usize = 10;
/// Maximum length of a test's name, in characters (CONTRIBUTING.md): longer ones are sentences.
const TEST_NAME_CHARS_MAX: usize = 69;
/// Maximum of lines of a file, of those of nine files in ten, and of the median one.
const LINES_MAX: [usize; 3] = [700, 400, 150];

struct Source {
    /// From the repository's root.
    path: String,
    text: String,
}

/// Every complaint, one a line.
fn complaints(sources: &[Source]) -> String {
    let mut found = Vec::new();
    for Source { path, text } in sources {
        let name = path.rsplit('/').next().unwrap();
        if NAMELESS.contains(&name) {
            found.push(format!("{path}: name it after its one concept"));
        }
        if name != "tests.rs" && !text.starts_with("//!") {
            found.push(format!("{path}: begins without `//!` that says what it owns"));
        }
        found.extend(test_names(text).filter(|name| name.len() > TEST_NAME_CHARS_MAX).map(
            |name| {
                let most = TEST_NAME_CHARS_MAX;
                format!(
                    "{path}: the test {name} has {} characters, at most {most} are allowed",
                    name.len()
                )
            },
        ));
        let is_under = |place: &&str| path == *place || path.starts_with(&format!("{place}/"));
        let is_test = path.split('/').any(|part| part == "tests" || part == "tests.rs");
        if !is_test && !CHANGE_OWNERS.iter().any(is_under) {
            let code = text.split("#[cfg(test)]").next().unwrap();
            for (number, line) in code.lines().enumerate().filter(|(_, line)| changes_owner(line)) {
                let line = line.trim();
                found.push(format!("{path}:{}: `{line}` is forbidden to services", number + 1));
            }
        }
        if PURE.iter().any(is_under) {
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap();
                for word in IMPURE.iter().filter(|word| code.contains(*word)) {
                    found.push(format!("{path}:{}: `{word}` in the pure core", number + 1));
                }
            }
        }
    }
    found.join("\n")
}

/// The names of the functions that follow an attribute of a test.
fn test_names(text: &str) -> impl Iterator<Item = &str> {
    let mut awaits_name = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        awaits_name |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let declared = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
        let name = declared.split('(').next()?;
        std::mem::take(&mut awaits_name).then_some(name)
    })
}

fn changes_owner(line: &str) -> bool {
    let code = line.split("//").next().unwrap();
    ["chown(", "chownat("].iter().any(|call| code.contains(call))
}

fn tree() -> Vec<Source> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<Source>) {
        let mut entries: Vec<PathBuf> =
            fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(root, &path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs_err::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root).unwrap().display().to_string();
                found.push(Source { path, text });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for folder in ["common", "agent", "coordinator", "tests", "up"] {
        walk(root, &root.join(folder), &mut found);
    }
    assert!(found.len() > 10, "the tree is not where it is looked for");
    found
}

#[test]
fn the_tree_is_tidy() {
    let sources = tree();
    let mut lengths: Vec<_> =
        sources.iter().map(|source| (source.text.lines().count(), &source.path)).collect();
    lengths.sort();
    for (lines, path) in lengths.iter().rev().take(SHOWN) {
        eprintln!("{lines:>6} {path}");
    }
    assert_eq!(complaints(&sources), "");
    let at = |tenths: usize| lengths[(lengths.len() - 1) * tenths / 10].0;
    let lines = [at(10), at(9), at(5)];
    let within = lines.iter().zip(LINES_MAX).all(|(lines, most)| *lines <= most);
    assert!(
        within,
        "the longest file, nine in ten and the median have {lines:?} lines: split some"
    );
}

/// Bytes of README.md: what a newcomer reads at one go.
const README_BYTES_MAX: usize = 8_192;
/// Folders that paths in the documents begin with.
const DOCUMENTED: [&str; 8] =
    ["agent/", "common/", "coordinator/", "docs/", "packaging/", "systemd/", "tests/", "up/"];

/// Paths in backticks that lead to no file or folder of the repository.
fn dead_paths(name: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    // What stands in backticks is every second piece.
    let quoted = text.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|word| DOCUMENTED.iter().any(|folder| word.starts_with(folder)));
    let paths = paths.filter(|path| !path.contains([' ', '*', '\n']));
    paths.filter(|path| !exists(path)).map(|path| format!("{name}: {path}")).collect()
}

fn documents(folder: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            found.extend(documents(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found
}

#[test]
fn documents_name_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let of_root = fs_err::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let of_root =
        of_root.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut named = 0;
    let mut dead = Vec::new();
    for path in of_root.chain(documents(&root.join("docs"))) {
        let text = fs_err::read_to_string(&path).unwrap();
        named += text.matches("`coordinator/").count();
        dead.extend(dead_paths(&path.display().to_string(), &text, |path| {
            root.join(path).exists()
        }));
    }
    assert!(named > 20, "the documents are not where they are looked for");
    assert_eq!(dead, Vec::<String>::new());
    let readme = fs_err::metadata(root.join("README.md")).unwrap().len();
    assert!(readme <= README_BYTES_MAX as u64, "README.md has {readme} bytes");
}

#[test]
fn path_that_leads_nowhere_is_found() {
    let text = "`agent/src/plan.rs` and `agent/src/gone.rs`, `make test`, `systemd/*.toml`";
    let dead = dead_paths("README.md", text, |path| path == "agent/src/plan.rs");
    assert_eq!(dead, ["README.md: agent/src/gone.rs"]);
}

/// Circles that are left; each one that goes lowers this.
const CIRCLES_LEFT: usize = 0;

#[test]
fn modules_take_from_each_other_in_one_direction() {
    let sources = tree();
    let read = sources.iter().map(|source| (source.path.as_str(), source.text.as_str()));
    let circles = arrows::Arrows::read(read).circles();
    for (number, circle) in circles.iter().enumerate() {
        eprintln!("circle {}:\n  {}", number + 1, circle.join("\n  "));
    }
    assert_eq!(circles.len(), CIRCLES_LEFT, "circles of modules");
}

/// Files whose `mod` lines stand in the order of their layers, the lowest first.
const LAYERED: [&str; 18] = [
    "common/src/lib.rs",
    "agent/src/lib.rs",
    "agent/src/task.rs",
    "agent/src/engine.rs",
    "agent/src/fleet.rs",
    "coordinator/core/src/model.rs",
    "coordinator/core/src/command.rs",
    "coordinator/core/src/event.rs",
    "coordinator/core/src/rejection.rs",
    "coordinator/core/src/lib.rs",
    "coordinator/src/lib.rs",
    "coordinator/src/journal.rs",
    "coordinator/src/journal/sqlite.rs",
    "coordinator/src/driver.rs",
    "coordinator/src/fleet.rs",
    "coordinator/src/edge.rs",
    "coordinator/src/api.rs",
    "coordinator/src/api/ecs.rs",
];

#[test]
fn modules_take_nothing_from_a_layer_above_them() {
    let sources = tree();
    let read = sources.iter().map(|source| (source.path.as_str(), source.text.as_str()));
    let upward = arrows::Arrows::read(read).upward(&LAYERED);
    assert!(upward.is_empty(), "arrows against the order of layers:\n  {}", upward.join("\n  "));
}

#[test]
fn arrow_to_a_layer_above_is_found() {
    let sources = [
        ("agent/src/lib.rs", "mod low; mod high; #[cfg(test)] mod tests;"),
        ("agent/src/low.rs", "pub mod part;"),
        ("agent/src/low/part.rs", "pub fn a() { crate::high::b() }"),
        ("agent/src/high.rs", "use crate::low::part::a; pub fn b() { a() }"),
    ];
    let upward = arrows::Arrows::read(sources.into_iter()).upward(&["agent/src/lib.rs"]);
    assert_eq!(upward, ["agent/src/low/part.rs -> agent/src/high.rs: b"]);
}

#[test]
fn circle_is_found_through_a_reexport() {
    let sources = [
        ("agent/src/lib.rs", "mod above; mod below;"),
        ("agent/src/above.rs", "mod part; pub use part::Part; fn a() { crate::below::b(); }"),
        ("agent/src/above/part.rs", "pub struct Part;"),
        ("agent/src/below.rs", "use super::above::Part; pub fn b(_: Part) {}"),
    ];
    assert_eq!(arrows::Arrows::read(sources.into_iter()).circles(), Vec::<Vec<String>>::new());
    let mut circular = sources;
    circular[2].1 = "pub struct Part; impl Part { fn a() { crate::below::b() } }";
    let circle = arrows::Arrows::read(circular.into_iter()).circles();
    assert_eq!(
        circle,
        [[
            "agent/src/above/part.rs -> agent/src/below.rs: b",
            "agent/src/below.rs -> agent/src/above/part.rs: Part",
        ]]
    );
}

#[test]
fn what_is_untidy_is_complained_of() {
    let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
    let long = "a".repeat(TEST_NAME_CHARS_MAX + 1);
    let sources = [
        source("agent/src/utils.rs", "//! Things."),
        source("agent/src/host.rs", "use std::fs;"),
        source("agent/src/engine/plan.rs", "//! Plans.\nuse tokio::time; // Instant\n// bollard"),
        source("coordinator/core/src/placement/filter.rs", "//! Fits.\nasync fn fits() {}"),
        source("coordinator/src/api/ecs/placement.rs", "//! Shows.\nuse tokio::time;"),
        source("coordinator/src/pki.rs", "//! Keys.\nchown(&path, owner);\n// chown(it)"),
        source("common/src/data_directory.rs", "//! Folders.\nlchown(file, owner);"),
        source(
            "common/src/clock.rs",
            &format!("//! Time.\nfn {long}() {{}}\n#[tokio::test]\nasync fn {long}() {{}}"),
        ),
    ];
    expect![[r#"
        agent/src/utils.rs: name it after its one concept
        agent/src/host.rs: begins without `//!` that says what it owns
        agent/src/engine/plan.rs:2: `tokio` in the pure core
        coordinator/core/src/placement/filter.rs:2: `async fn` in the pure core
        coordinator/src/pki.rs:2: `chown(&path, owner);` is forbidden to services
        common/src/clock.rs: the test aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa has 70 characters, at most 69 are allowed"#]]
    .assert_eq(&complaints(&sources));
}
