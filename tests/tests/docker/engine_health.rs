//! A host whose Docker Engine is dead or hangs, while its agent lives.

use longshore_harness::fleet::{Fleet, FleetSettings};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::definition::{lives, register, run, tasks_of, wait};

const NOTICED_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

/// Waits until the API shows such a health of one host.
async fn health_is(fleet: &Fleet, host: usize, wanted: &str) -> Value {
    let arn = fleet.host_arn(host).await.unwrap();
    let describe = json!({"containerInstances": [arn], "include": ["CONTAINER_INSTANCE_HEALTH"]});
    let client = fleet.ecs().unwrap();
    let shown =
        client.eventually("DescribeContainerInstances", describe, NOTICED_WITHIN, |answer| {
            let host = &answer["containerInstances"][0];
            (host["healthStatus"]["overallStatus"] == json!(wanted)).then(|| host.clone())
        });
    shown.await.unwrap()
}

#[tokio::test]
async fn nothing_is_placed_on_a_host_whose_docker_is_dead_or_hangs() {
    let mut fleet =
        Fleet::start(FleetSettings { hosts: 2, live_restore: true, ..Default::default() })
            .await
            .unwrap();
    let aws = fleet.aws();
    register(&aws, "sleeper", json!({})).await;
    let spread = ["--count", "4", "--placement-strategy", "type=spread,field=instanceId"];
    let tasks = tasks_of(&run(&aws, "sleeper", &spread).await);
    wait(&aws, "tasks-running", &tasks).await;
    let before = lives(&fleet).await;
    health_is(&fleet, 0, "OK").await;

    for dead in [true, false] {
        let engine = fleet.hosts[0].engine.as_mut().unwrap();
        if dead {
            engine.crash().await.unwrap();
        } else {
            engine.signal(Signal::STOP).unwrap();
        }
        let shown = health_is(&fleet, 0, "IMPAIRED").await;
        assert_eq!(shown["status"], json!("ACTIVE"), "{shown:#}");
        assert_eq!(shown["agentConnected"], json!(true));
        assert_eq!(shown["healthStatus"]["details"][0]["type"], json!("CONTAINER_RUNTIME"));
        assert_eq!(shown["runningTasksCount"], json!(2), "unknown is not dead");
        let more = tasks_of(&run(&aws, "sleeper", &spread).await);
        wait(&aws, "tasks-running", &more).await;
        let healthy = fleet.host_arn(1).await.unwrap();
        let describe = json!({ "tasks": more });
        let described = fleet.ecs().unwrap().call("DescribeTasks", describe).await.unwrap();
        for task in described["tasks"].as_array().unwrap() {
            assert_eq!(task["containerInstanceArn"], json!(healthy), "{task:#}");
        }

        let engine = fleet.hosts[0].engine.as_mut().unwrap();
        if dead {
            engine.start_again().await.unwrap();
        } else {
            engine.signal(Signal::CONT).unwrap();
        }
        health_is(&fleet, 0, "OK").await;
    }
    let after = lives(&fleet).await;
    let kept = before.iter().filter(|(id, life)| after.get(*id) == Some(life)).count();
    assert_eq!(kept, 4, "{before:#?} became {after:#?}");
    let again = tasks_of(&run(&aws, "sleeper", &spread).await);
    wait(&aws, "tasks-running", &again).await;
}
