//! Where the metadata file is, and what is in it before and after the start.

use expect_test::expect;
use longshore_common::{protocol::NetworkBinding, resources::Transport};

use super::*;
use crate::{
    engine::plan::{
        container_config::{self, container_config},
        sample::{intent, rules},
    },
    task::{desired::DesiredTask, rules::MetadataFiles},
};

fn writing() -> Rules {
    let host = MetadataFiles {
        container_instance_arn: "arn:aws:ecs:us-east-1:000000000000:container-instance/web/1"
            .to_owned(),
        availability_zone: Some("us-east-1b".to_owned()),
        host_address: Some("10.0.0.7".to_owned()),
    };
    Rules { metadata_files: Some(host), ..rules() }
}

#[test]
fn without_the_setting_nothing_is_written_mounted_or_named() {
    let intent = intent(&["app"]);
    let config = container_config(&intent, 0, &rules()).unwrap();
    assert_eq!(config.binds, []);
    assert!(config.environment.iter().all(|(name, _)| name != VARIABLE));
    assert_eq!(container_config::needs(&intent, 0, &rules()).unwrap(), Needs::default());
    assert_eq!(DesiredTask::of(intent, &rules()).files, None);
}

#[test]
fn each_container_is_told_where_its_own_file_is_mounted_read_only() {
    let intent = intent(&["app", "side"]);
    let place = |index| {
        let config = container_config(&intent, index, &writing()).unwrap();
        let bind = config.binds[0].clone();
        assert!(bind.read_only);
        let named = config.environment.iter().find(|(name, _)| name == VARIABLE).unwrap();
        assert_eq!(named.1, format!("{}/{FILE}", bind.target));
        let needs = container_config::needs(&intent, index, &writing()).unwrap();
        assert_eq!(needs.directories[0].path.display().to_string(), bind.source);
        assert_eq!(needs.files[0].path, path(&intent, index, &writing()));
        bind
    };
    let (app, side) = (place(0), place(1));
    assert_ne!((&app.source, &app.target), (&side.source, &side.target));
    let files = DesiredTask::of(intent.clone(), &writing()).files.unwrap();
    assert!(path(&intent, 0, &writing()).starts_with(files), "it goes with the task");
}

#[test]
fn the_file_is_ready_once_the_container_runs() {
    let intent = intent(&["app"]);
    let before = text(&intent, 0, &writing(), None).unwrap().unwrap();
    assert!(!before.contains("READY"), "{before}");
    let details = ContainerDetails {
        id: "0c6a".to_owned(),
        image_id: Some("sha256:1".to_owned()),
        bindings: vec![NetworkBinding {
            bind_ip: "0.0.0.0".to_owned(),
            container_port: 80,
            host_port: 8080,
            protocol: Transport::Tcp,
        }],
        addresses: vec!["172.17.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
        ..ContainerDetails::default()
    };
    let ready = text(&intent, 0, &writing(), Some(&details)).unwrap().unwrap();
    expect![[r#"
        {
          "Cluster": "default",
          "ContainerInstanceARN": "arn:aws:ecs:us-east-1:000000000000:container-instance/web/1",
          "TaskARN": "arn:aws:ecs:us-east-1:000000000000:task/default/7a5c",
          "TaskDefinitionFamily": "web",
          "TaskDefinitionRevision": "3",
          "ContainerName": "app",
          "DockerContainerName": "/ecs-web-3-app-21337730333a4173021a",
          "ImageName": "web:1",
          "AvailabilityZone": "us-east-1b",
          "HostPrivateIPv4Address": "10.0.0.7",
          "ContainerID": "0c6a",
          "ImageID": "sha256:1",
          "PortMappings": [
            {
              "ContainerPort": 80,
              "HostPort": 8080,
              "BindIp": "0.0.0.0",
              "Protocol": "tcp"
            }
          ],
          "Networks": [
            {
              "NetworkMode": "bridge",
              "IPv4Addresses": [
                "172.17.0.2"
              ]
            }
          ],
          "MetadataFileStatus": "READY"
        }"#]]
    .assert_eq(&ready);
}
