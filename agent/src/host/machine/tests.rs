use expect_test::expect;

use super::*;
use crate::settings::{self, Environment};

pub(crate) fn settings(flags: &[&str]) -> Settings {
    let mut arguments = vec!["longshore-agent", "--config=/dev/null", "--coordinator=127.0.0.1"];
    arguments.extend(flags);
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    settings::load(&arguments, &Environment::new()).unwrap()
}

pub(crate) fn machine() -> Machine {
    Machine {
        cores: 4,
        memory: MemoryMib(7960),
        architecture: "x86_64".to_owned(),
        boot_id: "b00t".to_owned(),
        marks: MachineMarks::default(),
        model: None,
        system: None,
    }
}

#[test]
fn the_machine_that_runs_this_has_cores_memory_and_a_boot() {
    let machine = Machine::read().unwrap();
    assert!(machine.cores >= 1);
    assert!(machine.memory > MemoryMib(64));
    assert_eq!(machine.boot_id.len(), 36);
    assert_eq!(machine, Machine::read().unwrap());
}

#[test]
fn a_host_offers_all_its_cores_and_its_memory_less_the_reserved() {
    let capacity = capacity(&settings(&["--reserved-memory=256"]), &machine(), Vec::new()).unwrap();
    assert_eq!((capacity.cpu, capacity.memory), (CpuUnits(4096), MemoryMib(7704)));
}

#[test]
fn an_operator_may_offer_a_share_of_the_machine() {
    let flags = ["--cpu=512", "--memory=1024", "--reserved-memory=256"];
    let capacity = capacity(&settings(&flags), &machine(), Vec::new()).unwrap();
    assert_eq!((capacity.cpu, capacity.memory), (CpuUnits(512), MemoryMib(1024)));
}

#[test]
fn reserving_more_memory_than_there_is_is_refused() {
    let refused =
        capacity(&settings(&["--reserved-memory=7960"]), &machine(), Vec::new()).unwrap_err();
    expect!["7960 MiB of memory are reserved and this machine has 7960: reserve less by --reserved-memory, or say by --memory what tasks may use"]
        .assert_eq(&refused.to_string());
}

#[test]
fn ecss_ports_the_operators_and_the_agents_own_are_reserved() {
    let flags = [
        "--reserved-ports=53/udp,8080,22",
        "--poll-listen=0.0.0.0:52680",
        "--introspection-listen=127.0.0.1:0",
    ];
    let capacity = capacity(&settings(&flags), &machine(), Vec::new()).unwrap();
    let ports: Vec<String> = capacity
        .reserved_ports
        .iter()
        .map(|HostPort { transport, port }| format!("{port}/{transport}"))
        .collect();
    expect!["22/tcp 2375/tcp 2376/tcp 8080/tcp 51678/tcp 51679/tcp 51680/tcp 52680/tcp 53/udp"]
        .assert_eq(&ports.join(" "));
}

#[test]
fn outside_of_ec2_the_model_and_the_system_stand_for_type_and_image() {
    let release = "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\nVERSION_ID=\"12\"\n";
    assert_eq!(system_of(release).as_deref(), Some("debian-12"));
    assert_eq!(system_of("ID=arch\n").as_deref(), Some("arch"));
    assert_eq!(system_of("VERSION_ID=3\n"), None);
    assert_eq!(
        attribute_value(" ProLiant DL380 (Gen10)\n").as_deref(),
        Some("ProLiant DL380 -Gen10-")
    );
    assert_eq!(attribute_value(" \n"), None);
}
