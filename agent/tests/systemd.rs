//! The units that `make install` installs: systemd takes them without a complaint, and what they
//! leave open is little (promise P26).

#![allow(
    clippy::unwrap_used,
    reason = "a test: clippy does not see that in functions beside #[test]"
)]
#![allow(clippy::print_stdout, reason = "the exposure figures are meant to be read")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The highest exposure that a unit may have, as `systemd-analyze security` counts it.
const EXPOSURE_MAX: [(&str, f64); 5] = [
    ("longshore-coordinator.service", 1.5),
    ("longshore-agent.service", 2.0),
    ("longshore-agent-network.service", 4.0),
    ("longshore-agent-volumes.service", 5.0),
    ("longshore-launcher.service", 3.0),
];

fn systemd_analyze(arguments: &[&str], unit: &Path) -> Output {
    Command::new("systemd-analyze").args(arguments).arg(unit).output().unwrap_or_else(|error| {
        panic!("systemd-analyze cannot be run ({error}): install the package `systemd`")
    })
}

fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(name)
}

/// The unit with a program that exists here, so that only the unit itself can be complained of.
fn installed(name: &str, directory: &Path) -> PathBuf {
    let text = std::fs::read_to_string(unit(name)).unwrap();
    let program = env!("CARGO_BIN_EXE_longshore-agent");
    let text: Vec<String> = text
        .lines()
        .map(|line| match line.split_once("/usr/local/bin/longshore-") {
            Some((directive, rest)) if directive.starts_with("Exec") => {
                let arguments = rest.split_once(' ').map_or("", |(_, arguments)| arguments);
                format!("{directive}{program} {arguments}")
            }
            _ => line.to_owned(),
        })
        .collect();
    let path = directory.join(name);
    std::fs::write(&path, text.join("\n")).unwrap();
    path
}

#[test]
fn systemd_takes_every_unit_without_a_complaint() {
    let directory = tempfile::tempdir().unwrap();
    let names = EXPOSURE_MAX.map(|(name, _)| name);
    for name in names {
        let unit = installed(name, directory.path());
        let output = systemd_analyze(&["verify", "--man=no"], &unit);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{name}: {said}");
    }
}

#[test]
fn the_exposure_of_each_unit_is_within_what_is_promised() {
    for (name, max) in EXPOSURE_MAX {
        let output = systemd_analyze(&["security", "--offline=true", "--no-pager"], &unit(name));
        let table = String::from_utf8_lossy(&output.stdout);
        let exposure: f64 = table
            .lines()
            .find_map(|line| line.split_once(&format!("exposure level for {name}: ")))
            .and_then(|(_, rest)| rest.split(' ').next())
            .and_then(|figure| figure.parse().ok())
            .unwrap_or_else(|| panic!("no exposure in what systemd-analyze says: {table}"));
        println!(
            "{}_exposure {exposure} level",
            name.replace("longshore-", "").replace(".service", "")
        );
        assert!(exposure <= max, "{name}: {exposure} is above {max}:\n{table}");
    }
}

#[test]
fn the_agent_starts_after_docker_and_lives_without_it() {
    let unit = std::fs::read_to_string(unit("longshore-agent.service")).unwrap();
    let names_docker = |directive: &str| {
        unit.lines().any(|line| line.starts_with(directive) && line.contains("docker"))
    };
    assert!(names_docker("After="));
    for binding in ["Requires=", "BindsTo=", "PartOf=", "Requisite=", "Wants="] {
        assert!(!names_docker(binding), "{binding} would end the agent with Docker, or start it");
    }
}

#[test]
fn unit_prepares_the_host_before_the_agent_even_when_that_fails() {
    let unit = std::fs::read_to_string(unit("longshore-agent.service")).unwrap();
    assert!(unit.contains("\nExecStartPre=-+/usr/local/bin/longshore-agent prepare-host\n"));
}

#[test]
fn the_mount_helper_shares_the_hosts_mounts() {
    let unit = std::fs::read_to_string(unit("longshore-agent-volumes.service")).unwrap();
    // Each of these gives a unit a mount namespace, in which Docker sees nothing that is mounted.
    let namespaced = [
        "PrivateTmp=",
        "PrivateDevices=",
        "PrivateMounts=",
        "PrivateNetwork=",
        "PrivateUsers=",
        "PrivateIPC=",
        "ProtectSystem=",
        "ProtectHome=",
        "ProtectKernelTunables=",
        "ProtectKernelModules=",
        "ProtectKernelLogs=",
        "ProtectControlGroups=",
        "ProtectProc=",
        "ProcSubset=",
        "RootDirectory=",
        "ReadOnlyPaths=",
        "ReadWritePaths=",
        "InaccessiblePaths=",
        "TemporaryFileSystem=",
        "BindPaths=",
        "StateDirectory=",
        "RuntimeDirectory=",
        "DynamicUser=",
    ];
    for directive in namespaced {
        assert!(!unit.lines().any(|line| line.starts_with(directive)), "{directive}");
    }
    let agent = std::fs::read_to_string(self::unit("longshore-agent.service")).unwrap();
    assert!(agent.lines().any(|l| l.starts_with("Wants=") && l.contains("agent-volumes.service")));
}

#[test]
fn an_ecs_config_that_is_there_already_is_read_before_our_own() {
    let unit = std::fs::read_to_string(unit("longshore-agent.service")).unwrap();
    let files: Vec<&str> =
        unit.lines().filter_map(|line| line.strip_prefix("EnvironmentFile=")).collect();
    assert_eq!(files, ["-/etc/ecs/ecs.config", "-/etc/longshore/agent.env"]);
}
