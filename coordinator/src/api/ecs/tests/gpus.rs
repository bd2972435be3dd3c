//! GPUs as users see them: offered by hosts, asked for by containers, pinned to tasks.

use longshore_common::protocol::ReportedPhase;
use serde_json::{Value, json};

use super::{
    World,
    flows::{exited, report, text},
};

impl World {
    /// A container instance with these GPUs; its ARN.
    async fn host_with_gpus(&self, gpus: &[&str]) -> String {
        let resources = json!([
            {"name": "CPU", "type": "INTEGER", "integerValue": 1024},
            {"name": "MEMORY", "type": "INTEGER", "integerValue": 1024}]);
        let devices: Vec<Value> = gpus.iter().map(|id| json!({"id": id, "type": "GPU"})).collect();
        let input = json!({"totalResources": resources, "platformDevices": devices});
        let registered = self.done("RegisterContainerInstance", input).await;
        let arn = text(&registered["containerInstance"]["containerInstanceArn"]);
        self.hear(&arn, Vec::new()).await;
        arn
    }

    async fn gpus_of_host(&self, host: &str) -> [Value; 2] {
        let described =
            self.done("DescribeContainerInstances", json!({"containerInstances": [host]})).await;
        ["registeredResources", "remainingResources"].map(|list| {
            let resources = described["containerInstances"][0][list].as_array().unwrap();
            let gpu = resources.iter().find(|resource| resource["name"] == "GPU");
            gpu.map_or(Value::Null, |gpu| {
                assert_eq!(gpu["type"], "STRINGSET");
                gpu["stringSetValue"].clone()
            })
        })
    }
}

fn asks(value: &str) -> Value {
    json!([{"type": "GPU", "value": value}])
}

#[tokio::test]
async fn gpus_are_offered_pinned_shown_overridden_and_given_back() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    let host = world.host_with_gpus(&["GPU-a", "GPU-b", "GPU-c"]).await;
    world.define("gpu", json!({"resourceRequirements": asks("2")})).await;
    let task = world.run(json!({"taskDefinition": "gpu"})).await.remove(0);
    let shown = world.task(&task).await;
    assert_eq!(shown["containers"][0]["gpuIds"], json!(["GPU-a", "GPU-b"]));
    let all = json!(["GPU-a", "GPU-b", "GPU-c"]);
    assert_eq!(world.gpus_of_host(&host).await, [all.clone(), json!(["GPU-c"])]);

    let refused = world.done("RunTask", json!({"taskDefinition": "gpu"})).await;
    let failure = &refused["failures"][0];
    assert_eq!((&failure["reason"], &failure["arn"]), (&json!("RESOURCE:GPU"), &json!(host)));
    let detail = text(&failure["detail"]);
    assert!(detail.contains("1 of the 2 GPUs"), "{detail}");
    let started = world
        .done("StartTask", json!({"taskDefinition": "gpu", "containerInstances": [host]}))
        .await;
    assert_eq!(started["failures"][0]["reason"], json!("RESOURCE:GPU"));

    let over = json!({"containerOverrides": [{"name": "app", "resourceRequirements": asks("1")}]});
    let one = world.run(json!({"taskDefinition": "gpu", "overrides": over})).await.remove(0);
    assert_eq!(world.task(&one).await["containers"][0]["gpuIds"], json!(["GPU-c"]));
    assert_eq!(world.gpus_of_host(&host).await, [all.clone(), json!([])]);

    world.hear(&host, vec![report(&task, ReportedPhase::Stopped(exited()))]).await;
    assert_eq!(world.gpus_of_host(&host).await, [all, json!(["GPU-a", "GPU-b"])]);
    world.run(json!({"taskDefinition": "gpu"})).await;
}

#[tokio::test]
async fn a_cluster_without_gpus_shows_none_and_says_that_they_are_missing() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    let host = world.host(1024, 1024, "zone-a").await;
    assert_eq!(world.gpus_of_host(&host).await, [Value::Null, Value::Null]);
    world.define("gpu", json!({"resourceRequirements": asks("1")})).await;
    let refused = world.done("RunTask", json!({"taskDefinition": "gpu"})).await;
    assert_eq!(refused["failures"][0]["reason"], json!("RESOURCE:GPU"));
}

#[tokio::test]
async fn what_is_no_number_of_gpus_is_refused_by_name() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    world.host_with_gpus(&["GPU-a"]).await;
    world.define("all", json!({"resourceRequirements": asks("ALL")})).await;
    let refused = world.refused("RunTask", json!({"taskDefinition": "all"})).await;
    assert!(
        refused.contains("containerDefinitions[app].resourceRequirements GPU ALL"),
        "{refused}"
    );
    world.define("gpu", json!({"resourceRequirements": asks("1")})).await;
    for value in ["0", "-1", "1.5", "many", ""] {
        let over =
            json!({"containerOverrides": [{"name": "app", "resourceRequirements": asks(value)}]});
        let run = json!({"taskDefinition": "gpu", "overrides": over});
        let refused = world.refused("RunTask", run).await;
        assert!(refused.starts_with("InvalidParameterException"), "{value}: {refused}");
    }
    for devices in [
        json!([{"id": "", "type": "GPU"}]),
        json!([{"id": "GPU-a", "type": "GPU"}, {"id": "GPU-a", "type": "GPU"}]),
        json!([{"id": "n", "type": "NEURON_DEVICE"}]),
    ] {
        let refused =
            world.refused("RegisterContainerInstance", json!({"platformDevices": devices}));
        let refused = refused.await;
        assert!(refused.contains("platformDevices"), "{refused}");
    }
}
