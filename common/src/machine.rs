//! What tells one machine, and one run of an agent on it, from another: a host's key can be copied
//! with its data directory, these cannot be.
//!
//! Never: an id of the machine in clear. Marks are hashes that mean nothing outside of a fleet.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Hexadecimal digits of a mark: 128 bits.
const MARK_DIGITS: usize = 32;

/// The marks of a machine, as far as they can be known. A copied data directory comes to a machine
/// with another installation; a copied disk or image to one with other hardware.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineMarks {
    /// Mark of the installed system: made of `/etc/machine-id`.
    #[serde(default)]
    pub installation: Option<String>,
    /// Mark of the hardware, or of the virtual machine: made of the firmware's UUID.
    #[serde(default)]
    pub hardware: Option<String>,
}

/// One run of one agent on one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRun {
    /// Random, new at each start of the agent; the session of its answers to polls.
    pub session: u64,
    #[serde(default)]
    pub machine: MachineMarks,
}

impl MachineMarks {
    /// Makes marks of what the machine calls its installation and its hardware.
    pub fn new(installation: Option<&str>, hardware: Option<&str>) -> Self {
        MachineMarks {
            installation: installation.and_then(|id| mark("installation", id)),
            hardware: hardware.and_then(|id| mark("hardware", id)),
        }
    }

    /// True when a mark that both have differs: the machines are not the same one.
    pub fn differ_from(&self, known: &MachineMarks) -> bool {
        let differ = |one: &Option<String>, other: &Option<String>| match (one, other) {
            (Some(one), Some(other)) => one != other,
            _ => false,
        };
        differ(&self.installation, &known.installation) || differ(&self.hardware, &known.hardware)
    }

    /// These marks, and of `known` those that are missing here.
    pub fn or(self, known: &MachineMarks) -> Self {
        MachineMarks {
            installation: self.installation.or_else(|| known.installation.clone()),
            hardware: self.hardware.or_else(|| known.hardware.clone()),
        }
    }
}

/// Absent for an id that says nothing.
fn mark(kind: &str, id: &str) -> Option<String> {
    let id = id.trim().to_ascii_lowercase();
    if id.is_empty() || id == "uninitialized" {
        return None;
    }
    let mut hasher = Sha256::new();
    for part in ["longshore machine mark", kind, &id] {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    let mut digits = hex::encode(hasher.finalize());
    digits.truncate(MARK_DIGITS);
    Some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_differ_when_a_mark_that_both_have_differs() {
        let marks = MachineMarks::new;
        let known = marks(Some("a"), Some("U-1"));
        for (said, other) in [
            (marks(Some("a\n"), Some("u-1")), false),
            (marks(Some("a"), None), false),
            (marks(None, Some("U-1")), false),
            (marks(None, None), false),
            (marks(Some(""), Some("")), false),
            (marks(Some("b"), Some("U-1")), true),
            (marks(Some("a"), Some("U-2")), true),
            (marks(None, Some("U-2")), true),
            (marks(Some("b"), None), true),
        ] {
            assert_eq!(said.differ_from(&known), other, "{said:?}");
            assert_eq!(known.differ_from(&said), other, "{said:?}");
        }
        assert_eq!(marks(None, Some("U-1")).or(&known), known);
    }

    #[test]
    fn a_mark_does_not_show_the_id_it_is_made_of() {
        let marks = MachineMarks::new(Some("5c0ffee"), Some("5c0ffee"));
        assert_ne!(marks.installation, marks.hardware);
        let shown = format!("{marks:?}");
        assert!(!shown.contains("5c0ffee"), "{shown}");
    }
}
