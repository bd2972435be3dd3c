//! Tests, benchmarks and campaigns stand beside whatever else a machine runs: none of them listens on a
//! port that it did not find free. `make run` does (`up/`): it asks for its ports by name and says who has them.

use std::path::Path;

#[test]
fn harness_listens_on_no_fixed_port_of_this_machine() {
    let mut found = Vec::new();
    for folder in ["src", "tests", "harness/src"] {
        look(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
    }
    assert!(found.is_empty(), "fixed ports: {found:#?}");
}

fn look(folder: &Path, found: &mut Vec<String>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            look(&path, found);
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs_err::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            if listens_on_fixed_port(line) {
                found.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
}

/// An argument or a call that listens, or a constant that is nothing but an address. Port 1 is one on which
/// nobody listens.
fn listens_on_fixed_port(line: &str) -> bool {
    let is_code = !line.trim_start().starts_with("//");
    let listens = ["listen=", "bind(", "const "].iter().any(|word| line.contains(word));
    is_code
        && listens
        && line.match_indices("127.0.0.1:").any(|(at, found)| {
            let rest = &line[at + found.len()..];
            let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
            let ends = rest[port.len()..].starts_with('"');
            ends && !line.contains("http://") && port.parse::<u16>().is_ok_and(|port| port > 1)
        })
}

#[test]
fn fixed_ports_are_found_and_free_ones_are_not() {
    for (line, expected) in [
        (concat!("const API: &str = \"127.0.0.1", ":18420\";"), true),
        (concat!("    \"--listen=127.0.0.1", ":18430\".to_owned(),"), true),
        (concat!("let it = TcpListener::bind(\"127.0.0.1", ":80\");"), true),
        (concat!("let it = TcpListener::bind(\"127.0.0.1", ":0\");"), false),
        (concat!("const IMAGE: &str = \"127.0.0.1", ":9/sample\";"), false),
    ] {
        assert_eq!(listens_on_fixed_port(line), expected, "{line}");
    }
}
