//! What a host says of itself, from what is known of it.

use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;
use crate::host::machine::{
    capacity,
    tests::{machine, settings},
};

fn registered(
    flags: &[&str],
    ec2: Option<&ec2::Ec2Instance>,
    docker: Option<&RuntimeVersion>,
) -> RegisterRequest {
    let (settings, machine) = (settings(flags), machine());
    let capacity = capacity(&settings, &machine, Vec::new()).unwrap();
    let listens = settings.poll_listen;
    registration(&settings, &machine, &capacity, ec2, docker, "10.0.0.7", listens)
}

fn check_attributes(flags: &[&str], ec2: Option<&ec2::Ec2Instance>, expected: Expect) {
    let mut shown = String::new();
    for Attribute { name, value } in registered(flags, ec2, None).attributes {
        if !name.contains("capability") {
            writeln!(shown, "{name} = {}", value.as_deref().unwrap_or("-")).unwrap();
        }
    }
    expected.assert_eq(&shown);
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
    let instance = ec2::Ec2Instance {
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
