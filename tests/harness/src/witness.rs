//! Tasks that write down when they run, into a file on the machine: what all hosts share and no
//! partition cuts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::image::SAMPLE_IMAGE;

/// One name for each run, the task's own where its environment gives one, and the machine's one clock that never jumps: seconds since boot.
const SCRIPT: &str = "read id < /proc/sys/kernel/random/uuid; id=${NAME:-$id}; \
    say() { read up rest < /proc/uptime; echo \"$1 $id $up\" >> /witness/log; }; \
    trap 'say end; exit 0' TERM; say begin; sleep 100000 & wait";

pub struct Witness {
    folder: PathBuf,
}

/// From a container's first line to its last, in seconds since boot.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub id: String,
    pub begin: f64,
    /// Absent while it runs.
    pub end: Option<f64>,
}

impl Witness {
    pub fn in_folder(folder: &Path) -> Result<Witness> {
        fs_err::create_dir_all(folder)?;
        fs_err::write(folder.join("log"), "")?;
        Ok(Witness { folder: folder.to_owned() })
    }

    /// RegisterTaskDefinition's input for a task that is witnessed.
    pub fn definition(&self, family: &str) -> Value {
        json!({
            "family": family,
            "networkMode": "host",
            "volumes": [{ "name": "witness", "host": { "sourcePath": self.folder } }],
            "containerDefinitions": [{
                "name": "main",
                "image": SAMPLE_IMAGE,
                "memory": 16,
                "command": ["/bin/sh", "-c", SCRIPT],
                "mountPoints": [{ "sourceVolume": "witness", "containerPath": "/witness" }],
            }],
        })
    }

    /// Every run so far, in the order in which they began.
    pub fn runs(&self) -> Result<Vec<Run>> {
        parse(&fs_err::read_to_string(self.folder.join("log"))?)
    }
}

fn parse(log: &str) -> Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, id, at] = words[..] else { bail!("not a line of a witness: {line}") };
        let at: f64 = at.parse()?;
        match what {
            "begin" => runs.push(Run { id: id.to_owned(), begin: at, end: None }),
            "end" => {
                let run = runs.iter_mut().find(|run| run.id == id);
                run.context("a run ended that never began")?.end = Some(at);
            }
            other => bail!("a witness knows no {other}"),
        }
    }
    Ok(runs)
}

/// Pairs of runs that were there at the same time. A run without an end is still there.
pub fn overlaps(runs: &[Run]) -> usize {
    let both = |a: &Run, b: &Run| {
        let before = |a: &Run, b: &Run| a.end.is_some_and(|end| end <= b.begin);
        !before(a, b) && !before(b, a)
    };
    let pairs = runs.iter().enumerate().flat_map(|(n, a)| runs[..n].iter().map(move |b| (a, b)));
    pairs.filter(|(a, b)| both(a, b)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_overlap_unless_one_ended_before_the_other_began() {
        let runs = parse("begin a 1.0\nend a 2.0\nbegin b 2.0\nbegin c 3.5\nend b 4.0\n").unwrap();
        assert_eq!(runs.len(), 3);
        assert_eq!(overlaps(&runs), 1, "b and c");
        assert_eq!(overlaps(&runs[..2]), 0);
        let killed = parse("begin a 1.0\nbegin b 2.0\nend b 3.0\n").unwrap();
        assert_eq!(overlaps(&killed), 1, "nobody saw the end of a");
        assert!(parse("begin a\n").is_err());
    }
}
