use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;
use crate::settings::{self, Environment};

fn settings(flags: &[&str]) -> Settings {
    let mut arguments = vec!["longshore-agent", "--config=/dev/null", "--coordinator=127.0.0.1"];
    arguments.extend(flags);
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    settings::load(&arguments, &Environment::new()).unwrap()
}

fn machine() -> Machine {
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

fn registered(
    flags: &[&str],
    ec2: Option<&ec2::Instance>,
    docker: Option<&RuntimeVersion>,
) -> RegisterRequest {
    let (settings, machine) = (settings(flags), machine());
    let capacity = capacity(&settings, &machine, Vec::new()).unwrap();
    let listens = settings.poll_listen;
    registration(&settings, &machine, &capacity, ec2, docker, "10.0.0.7", listens)
}

fn check_attributes(flags: &[&str], ec2: Option<&ec2::Instance>, expected: Expect) {
    let mut shown = String::new();
    for Attribute { name, value } in registered(flags, ec2, None).attributes {
        if !name.contains("capability") {
            writeln!(shown, "{name} = {}", value.as_deref().unwrap_or("-")).unwrap();
        }
    }
    expected.assert_eq(&shown);
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
fn what_is_not_known_of_the_host_is_left_out() {
    check_attributes(
        &["--attributes=rack=12,ssd"],
        None,
        expect![[r#"
            ecs.cpu-architecture = x86_64
            ecs.os-family = LINUX
            ecs.os-type = linux
            rack = 12
            ssd = -
        "#]],
    );
}

#[test]
fn the_operators_word_wins_over_ec2s() {
    let instance = ec2::Instance {
        id: Some("i-0abc".to_owned()),
        instance_type: Some("m5.large".to_owned()),
        availability_zone: Some("eu-central-1a".to_owned()),
        image: Some("ami-1".to_owned()),
    };
    check_attributes(
        &["--instance-type=metal"],
        Some(&instance),
        expect![[r#"
            ecs.ami-id = ami-1
            ecs.availability-zone = eu-central-1a
            ecs.cpu-architecture = x86_64
            ecs.instance-type = metal
            ecs.os-family = LINUX
            ecs.os-type = linux
        "#]],
    );
    assert_eq!(registered(&[], Some(&instance), None).instance_id.as_deref(), Some("i-0abc"));
    let named = registered(&["--instance-id=rack12"], Some(&instance), None);
    assert_eq!(named.instance_id.as_deref(), Some("rack12"));
}

#[test]
fn a_registration_says_where_to_poll_and_which_docker_answers() {
    let docker = RuntimeVersion {
        version: "20.10.24".to_owned(),
        api_version: "1.41".to_owned(),
        ..RuntimeVersion::default()
    };
    let request = registered(&["--tags=team=web"], None, Some(&docker));
    assert_eq!(request.poll_address, "10.0.0.7:51680");
    assert_eq!(request.versions.docker.as_deref(), Some("20.10.24"));
    assert_eq!(request.tags, [("team".to_owned(), "web".to_owned())]);
    assert_eq!(request.boot_id, "b00t");
    assert_eq!(registered(&[], None, None).versions.docker, None);
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
