//! What a Docker Engine leaves on the machine's network when it ends: its bridge, its rules, and
//! FORWARD closed. Undone when there was none of it before.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use longshore_harness::command::sh;

const BRIDGE: &str = "docker0";
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
const FORWARD_POLICY: &str = ":FORWARD ";

/// The machine's network before an engine was started.
pub(crate) struct Traces {
    /// For example `:FORWARD ACCEPT [0:0]`; absent: the table was not in use.
    forward_policy: Option<String>,
    forwarding: Option<String>,
    had_bridge: bool,
    had_rules: bool,
}

impl Traces {
    pub(crate) fn before() -> Traces {
        let rules = sh("iptables-save").unwrap_or_default();
        Traces {
            forward_policy: policy_of(&rules),
            forwarding: fs_err::read_to_string(FORWARDING).ok(),
            had_bridge: bridge_exists(),
            had_rules: rules.lines().any(is_dockers),
        }
    }

    pub(crate) fn undo(&self) -> Result<()> {
        if self.had_rules || self.had_bridge {
            return Ok(());
        }
        let rules = without_docker(&sh("iptables-save")?, self.forward_policy.as_deref());
        let mut restore = Command::new("iptables-restore").stdin(Stdio::piped()).spawn()?;
        let mut input = restore.stdin.take().context("no standard input")?;
        input.write_all(rules.as_bytes())?;
        drop(input);
        ensure!(restore.wait()?.success(), "iptables-restore failed");
        if bridge_exists() {
            sh(&format!("ip link del {BRIDGE}"))?;
        }
        if let Some(forwarding) = &self.forwarding {
            fs_err::write(FORWARDING, forwarding)?;
        }
        Ok(())
    }
}

fn bridge_exists() -> bool {
    Path::new("/sys/class/net").join(BRIDGE).exists()
}

fn is_dockers(line: &str) -> bool {
    line.contains("DOCKER") || line.contains(BRIDGE)
}

fn policy_of(rules: &str) -> Option<String> {
    rules.lines().find(|line| line.starts_with(FORWARD_POLICY)).map(str::to_owned)
}

/// The rules as they are now, less Docker's, and with the policy of FORWARD that was before.
fn without_docker(rules: &str, policy: Option<&str>) -> String {
    let policy = policy.unwrap_or(":FORWARD ACCEPT [0:0]");
    let (mut kept, mut in_filter) = (String::new(), false);
    for line in rules.lines().filter(|line| !is_dockers(line)) {
        if let Some(table) = line.strip_prefix('*') {
            in_filter = table == "filter";
        }
        let is_policy = in_filter && line.starts_with(FORWARD_POLICY);
        kept.push_str(if is_policy { policy } else { line });
        kept.push('\n');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dockers_rules_go_and_forward_is_open_again() {
        let rules = "*filter\n:INPUT ACCEPT [3:9]\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n\
                     -A INPUT -p tcp -j ACCEPT\n-A FORWARD -j DOCKER-USER\n\
                     -A FORWARD -i ls0 -o ls0 -j ACCEPT\n-A DOCKER-USER -j RETURN\nCOMMIT\n\
                     *nat\n-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\nCOMMIT\n";
        let kept = without_docker(rules, Some(":FORWARD ACCEPT [1:2]"));
        let wanted = "*filter\n:INPUT ACCEPT [3:9]\n:FORWARD ACCEPT [1:2]\n\
                      -A INPUT -p tcp -j ACCEPT\n-A FORWARD -i ls0 -o ls0 -j ACCEPT\nCOMMIT\n\
                      *nat\nCOMMIT\n";
        assert_eq!(kept, wanted);
    }
}
