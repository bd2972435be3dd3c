use std::time::Duration;

use expect_test::{Expect, expect};
use longshore_common::{clock::Monotonic, id::TaskId, protocol::ContainerId};

use super::*;
use crate::{
    endpoints::directory::EndpointDirectory,
    engine::plan::sample,
    runtime::{ContainerDetails, MountPoint},
    settings::{PullPolicy, RequestRate},
    task::{
        desired::DesiredTask,
        endpoint_names::Names,
        observed::{ContainerStage, ObservedTask, record::ContainerRecord},
        shown::ShowsTasks,
    },
};

/// One container that runs, seen by an inspect.
fn running(
    members: serde_json::Value,
) -> (std::sync::Arc<DirectoryEntry>, Vec<Option<Arc<InspectedContainer>>>) {
    let mut container = serde_json::json!({ "name": "app", "image": "web:1" });
    for (name, value) in members.as_object().unwrap() {
        container[name] = value.clone();
    }
    let mut intent = (*sample::intent_of(vec![serde_json::from_value(container).unwrap()])).clone();
    intent.order.group = "service:shop".to_owned();
    intent.order.container_ids = vec![ContainerId(TaskId::new(0xc0))];
    let desired = DesiredTask::of(intent.into(), &sample::rules());
    let mut observed = ObservedTask::new(&desired, PullPolicy::PreferCached);
    observed.pull_started_at = Some(Timestamp(1_000));
    observed.pull_stopped_at = Some(Timestamp(2_500));
    let one = &mut observed.containers[0];
    one.state = ContainerRecord {
        state: ContainerStage::Running,
        id: Some("abc".to_owned()),
        ever_ran: true,
        started_at: Some(Timestamp(3_000)),
        ..ContainerRecord::default()
    }
    .into_state();
    let listen = ([169, 254, 170, 2], 80).into();
    let names = Names::new([7; 32], listen);
    let directory = EndpointDirectory::new(names.clone(), RequestRate { steady: 40, burst: 60 });
    directory.publish(ShownTask::of(&desired, &observed));
    let (entry, _) = directory.by_id(names.id(sample::KEY, "app")).unwrap();
    let details = ContainerDetails {
        id: "abc".to_owned(),
        pid: Some(7),
        created_at: Some(Timestamp(2_700)),
        image_id: Some("sha256:1".to_owned()),
        addresses: vec![[172, 17, 0, 2].into()],
        mounts: vec![MountPoint {
            volume: String::new(),
            source: "/srv".to_owned(),
            target: "/data".to_owned(),
        }],
        ..ContainerDetails::default()
    };
    let seen = directory.inspected(&entry, 0, details, Monotonic(Duration::ZERO));
    (entry, vec![Some(seen)])
}

fn around() -> Surroundings {
    Surroundings {
        availability_zone: Some("rack-7".to_owned()),
        region: "us-east-1".to_owned(),
        account: "000000000000".to_owned(),
    }
}

fn check(members: serde_json::Value, version: EndpointVersion, expected: &Expect) {
    let (entry, seen) = running(members);
    let around = around();
    let task = task(&entry, &seen, version, &around);
    expected.assert_eq(&serde_json::to_string_pretty(&task).unwrap());
}

#[test]
fn version_4_has_the_members_that_ecs_documents() {
    check(
        serde_json::json!({
            "cpu": 10, "memory": 128,
            "portMappings": [{ "containerPort": 80, "hostPort": 8080 }],
            "dockerLabels": { "team": "web" },
            "healthCheck": { "command": ["CMD", "true"] },
            "restartPolicy": { "enabled": true },
            "logConfiguration": { "logDriver": "awslogs", "options": {
                "awslogs-group": "/ecs/web", "awslogs-region": "us-east-1",
                "awslogs-stream-prefix": "web",
            } },
        }),
        EndpointVersion::V4,
        &expect![[r#"
            {
              "Cluster": "default",
              "TaskARN": "arn:aws:ecs:us-east-1:000000000000:task/default/7a5c",
              "Family": "web",
              "Revision": "3",
              "ServiceName": "shop",
              "DesiredStatus": "RUNNING",
              "KnownStatus": "RUNNING",
              "PullStartedAt": "1970-01-01T00:00:01Z",
              "PullStoppedAt": "1970-01-01T00:00:02.5Z",
              "AvailabilityZone": "rack-7",
              "LaunchType": "EC2",
              "Containers": [
                {
                  "DockerId": "abc",
                  "Name": "app",
                  "DockerName": "ecs-web-3-app-21337730333a4173021a",
                  "Image": "web:1",
                  "ImageID": "sha256:1",
                  "Labels": {
                    "com.amazonaws.ecs.cluster": "default",
                    "com.amazonaws.ecs.container-name": "app",
                    "com.amazonaws.ecs.task-arn": "arn:aws:ecs:us-east-1:000000000000:task/default/7a5c",
                    "com.amazonaws.ecs.task-definition-family": "web",
                    "com.amazonaws.ecs.task-definition-version": "3",
                    "team": "web"
                  },
                  "DesiredStatus": "RUNNING",
                  "KnownStatus": "RUNNING",
                  "Limits": {
                    "CPU": 10,
                    "Memory": 128
                  },
                  "CreatedAt": "1970-01-01T00:00:02.7Z",
                  "StartedAt": "1970-01-01T00:00:03Z",
                  "Type": "NORMAL",
                  "Health": {
                    "status": "UNKNOWN"
                  },
                  "RestartCount": 0,
                  "Volumes": [
                    {
                      "Source": "/srv",
                      "Destination": "/data"
                    }
                  ],
                  "LogDriver": "awslogs",
                  "LogOptions": {
                    "awslogs-group": "/ecs/web",
                    "awslogs-region": "us-east-1",
                    "awslogs-stream": "web/app/00000000000000000000000000007a5c"
                  },
                  "ContainerARN": "arn:aws:ecs:us-east-1:000000000000:container/default/00000000000000000000000000007a5c/00000000-0000-0000-0000-0000000000c0",
                  "Networks": [
                    {
                      "NetworkMode": "bridge",
                      "IPv4Addresses": [
                        "172.17.0.2"
                      ]
                    }
                  ]
                }
              ]
            }"#]],
    );
}

#[test]
fn version_3_has_those_of_its_time() {
    check(
        serde_json::json!({ "memory": 128 }),
        EndpointVersion::V3,
        &expect![[r#"
        {
          "Cluster": "default",
          "TaskARN": "arn:aws:ecs:us-east-1:000000000000:task/default/7a5c",
          "Family": "web",
          "Revision": "3",
          "DesiredStatus": "RUNNING",
          "KnownStatus": "RUNNING",
          "PullStartedAt": "1970-01-01T00:00:01Z",
          "PullStoppedAt": "1970-01-01T00:00:02.5Z",
          "AvailabilityZone": "rack-7",
          "Containers": [
            {
              "DockerId": "abc",
              "Name": "app",
              "DockerName": "ecs-web-3-app-21337730333a4173021a",
              "Image": "web:1",
              "ImageID": "sha256:1",
              "Labels": {
                "com.amazonaws.ecs.cluster": "default",
                "com.amazonaws.ecs.container-name": "app",
                "com.amazonaws.ecs.task-arn": "arn:aws:ecs:us-east-1:000000000000:task/default/7a5c",
                "com.amazonaws.ecs.task-definition-family": "web",
                "com.amazonaws.ecs.task-definition-version": "3"
              },
              "DesiredStatus": "RUNNING",
              "KnownStatus": "RUNNING",
              "Limits": {
                "CPU": 0,
                "Memory": 128
              },
              "CreatedAt": "1970-01-01T00:00:02.7Z",
              "StartedAt": "1970-01-01T00:00:03Z",
              "Type": "NORMAL",
              "Volumes": [
                {
                  "Source": "/srv",
                  "Destination": "/data"
                }
              ],
              "Networks": [
                {
                  "NetworkMode": "bridge",
                  "IPv4Addresses": [
                    "172.17.0.2"
                  ]
                }
              ]
            }
          ]
        }"#]],
    );
}

#[test]
fn tags_are_shown_by_their_keys() {
    let (entry, seen) = running(serde_json::json!({}));
    let around = around();
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let tags = Tags { task: vec![tag("team", "web")], container_instance: Vec::new() };
    let shown = task(&entry, &seen, EndpointVersion::V4, &around).with_tags(tags);
    let shown = serde_json::to_value(&shown).unwrap();
    assert_eq!(shown["TaskTags"], serde_json::json!({ "team": "web" }));
    assert!(shown.get("ContainerInstanceTags").is_none() && shown.get("Errors").is_none());
}

#[test]
fn a_container_that_has_ended_shows_how_and_no_address() {
    let (entry, _) = running(serde_json::json!({}));
    let mut task = entry.task.clone();
    let ended = &mut task.containers[0];
    (ended.known, ended.exit_code) = (KnownStatus::Stopped, Some(3));
    ended.finished_at = Some(Timestamp(9_000));
    let shown = container(&task, 0, None, EndpointVersion::V4, &around());
    let shown = serde_json::to_value(&shown).unwrap();
    assert_eq!((&shown["KnownStatus"], &shown["ExitCode"]), (&"STOPPED".into(), &3.into()));
    assert_eq!(shown["FinishedAt"], "1970-01-01T00:00:09Z");
    assert_eq!(shown["Networks"][0]["IPv4Addresses"], serde_json::json!([]));
}

#[test]
fn a_source_is_what_the_definition_says_and_no_place_of_the_helper() {
    let spec = serde_json::from_value(serde_json::json!({ "containerDefinitions": [], "volumes": [
        { "name": "a", "host": { "sourcePath": "/srv/a" } },
        { "name": "b", "efsVolumeConfiguration": { "fileSystemId": "fs-1", "rootDirectory": "/x" } },
        { "name": "c", "efsVolumeConfiguration": { "fileSystemId": "fs-1" } },
        { "name": "d", "dockerVolumeConfiguration": { "driverOpts": { "o": "bind", "device": "/d" } } },
        { "name": "e" },
    ] }))
    .unwrap();
    let (key, host) = (sample::KEY, sample::rules().host);
    let folder = format!("/run/longshore/volumes/mounts/{host}/{}_{}", key.task, key.generation);
    let said: Vec<Option<String>> = (0..6)
        .map(|volume| volumes::source_of_place(&spec, key, &format!("{folder}/{volume}")))
        .collect();
    let said: Vec<Option<&str>> = said.iter().map(Option::as_deref).collect();
    assert_eq!(said, [Some("/srv/a"), Some("fs-1:/x"), Some("fs-1:/"), Some("/d"), None, None]);
    for other in ["/srv/a/0", "0", "", "/run/longshore/volumes/mounts/0"] {
        assert_eq!(volumes::source_of_place(&spec, key, other), None, "{other}");
    }
}
