//! What users do with services, through the signed edge: one sentence a test.

mod deployments;

use expect_test::expect;
use longshore_common::protocol::ReportedPhase;
use longshore_core::{
    Command,
    command::{EpochCommand, HostCommand},
    model::alarm::{
        AlarmDefinition, AlarmName, AlarmValue, PutMetricAlarm, SetAlarmState, Watched,
    },
};
use serde_json::{Value, json};

use super::{
    World,
    flows::{check, id, report, text, texts},
};

impl World {
    /// A cluster with a host, a task definition `web`, and a scheduler that has begun.
    pub(super) async fn scheduled() -> (Self, String) {
        let world = World::new();
        world.done("CreateCluster", json!({})).await;
        let host = world.host(1024, 1024, "zone-a").await;
        world.define("web", json!({})).await;
        world
            .driver
            .submit(Command::Epoch(EpochCommand::BeginScheduling), |_, _| ())
            .await
            .unwrap();
        (world, host)
    }

    /// A service whose tasks are healthy as soon as they run.
    pub(super) async fn create_service(&self, more: Value) -> Value {
        let mut input = json!({"serviceName": "svc", "taskDefinition": "web", "desiredCount": 2,
            "tags": [{"key": "longshore:healthy-after", "value": "0"}]});
        for (key, value) in more.as_object().unwrap() {
            input[key] = value.clone();
        }
        self.done("CreateService", input).await["service"].take()
    }

    pub(super) async fn service(&self) -> Value {
        let described = self.done("DescribeServices", json!({"services": ["svc"]})).await;
        assert_eq!(described["failures"], json!([]));
        described["services"][0].clone()
    }

    /// The agent of `host` reports that every task there that is to run does, and that every other
    /// one has stopped, until the service does not change any more.
    async fn settle(&self, host: &str) {
        for _ in 0..10 {
            let running = self.listed(json!({})).await;
            let stopping = self.listed_stopping().await;
            let mut reports: Vec<_> =
                running.iter().map(|task| report(task, ReportedPhase::Running)).collect();
            let stopped = ReportedPhase::Stopped(super::flows::exited());
            reports.extend(stopping.iter().map(|task| report(task, stopped.clone())));
            let before = self.service().await;
            self.hear(host, reports).await;
            if self.service().await == before && stopping.is_empty() {
                return;
            }
        }
        panic!("the service does not come to rest");
    }

    async fn listed_stopping(&self) -> Vec<String> {
        let listed = self.done("ListTasks", json!({"desiredStatus": "STOPPED"})).await;
        let arns = texts_of(&listed["taskArns"]);
        let mut stopping = Vec::new();
        for arn in arns {
            if self.task(&arn).await["lastStatus"] != "STOPPED" {
                stopping.push(arn);
            }
        }
        stopping
    }

    async fn deployments(&self) -> Vec<Value> {
        let listed = self.done("ListServiceDeployments", json!({"service": "svc"})).await;
        listed["serviceDeployments"].as_array().unwrap().clone()
    }
}

fn texts_of(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(text).collect()
}

fn messages(service: &Value) -> Vec<String> {
    texts(&service["events"], "message")
}

#[tokio::test]
async fn a_new_service_is_shown_in_ecs_shape_with_every_default() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    world.define("web", json!({})).await;
    let input = json!({"serviceName": "svc", "taskDefinition": "web", "desiredCount": 2});
    let created = world.done("CreateService", input).await;
    check(
        &created,
        expect![[r#"
        {
          "service": {
            "availabilityZoneRebalancing": "ENABLED",
            "clusterArn": "arn:aws:ecs:us-east-1:000000000000:cluster/default",
            "createdAt": 1767323045.0,
            "createdBy": "arn:aws:iam::000000000000:root",
            "currentServiceDeployment": "arn:aws:ecs:us-east-1:000000000000:service-deployment/default/svc/6e28b15ec0544b0ee220a8397b1dcdaf",
            "currentServiceRevisions": [
              {
                "arn": "arn:aws:ecs:us-east-1:000000000000:service-revision/default/svc/3185194620014831856",
                "pendingTaskCount": 0,
                "requestedTaskCount": 2,
                "runningTaskCount": 0
              }
            ],
            "deploymentConfiguration": {
              "bakeTimeInMinutes": 0,
              "deploymentCircuitBreaker": {
                "enable": false,
                "rollback": false
              },
              "maximumPercent": 200,
              "minimumHealthyPercent": 100,
              "strategy": "ROLLING"
            },
            "deploymentController": {
              "type": "ECS"
            },
            "deployments": [
              {
                "createdAt": 1767323045.0,
                "desiredCount": 2,
                "failedTasks": 0,
                "id": "ecs-svc/3185194620014831856",
                "launchType": "EC2",
                "pendingCount": 0,
                "rolloutState": "IN_PROGRESS",
                "rolloutStateReason": "ECS deployment ecs-svc/3185194620014831856 in progress.",
                "runningCount": 0,
                "status": "PRIMARY",
                "taskDefinition": "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1",
                "updatedAt": 1767323045.0
              }
            ],
            "desiredCount": 2,
            "enableECSManagedTags": false,
            "enableExecuteCommand": false,
            "events": [],
            "launchType": "EC2",
            "loadBalancers": [],
            "pendingCount": 0,
            "placementConstraints": [],
            "placementStrategy": [],
            "propagateTags": "NONE",
            "resourceManagementType": "CUSTOMER",
            "runningCount": 0,
            "schedulingStrategy": "REPLICA",
            "serviceArn": "arn:aws:ecs:us-east-1:000000000000:service/default/svc",
            "serviceName": "svc",
            "serviceRegistries": [],
            "status": "ACTIVE",
            "tags": [],
            "taskDefinition": "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1",
            "taskSets": []
          }
        }"#]],
    );
}

#[tokio::test]
async fn a_daemon_service_has_the_defaults_of_daemons_and_counts_hosts() {
    let (world, host) = World::scheduled().await;
    let input = json!({"serviceName": "svc", "taskDefinition": "web",
        "schedulingStrategy": "DAEMON"});
    let created = world.done("CreateService", input).await["service"].clone();
    let configuration = &created["deploymentConfiguration"];
    assert_eq!(configuration["minimumHealthyPercent"], 0);
    assert_eq!(configuration["maximumPercent"], 100);
    assert_eq!(created["availabilityZoneRebalancing"], "DISABLED");
    world.host(1024, 1024, "zone-b").await;
    let service = world.service().await;
    assert_eq!((&service["desiredCount"], &service["pendingCount"]), (&json!(2), &json!(2)));
    let drain = json!({"containerInstances": [host], "status": "DRAINING"});
    world.done("UpdateContainerInstancesState", drain).await;
    assert_eq!(world.service().await["desiredCount"], 1);
}

#[tokio::test]
async fn what_says_nothing_is_no_reason_to_refuse_a_service() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    world.define("web", json!({})).await;
    let input = json!({"serviceName": "svc", "taskDefinition": "web", "desiredCount": 0,
        "launchType": "EC2", "loadBalancers": [], "serviceRegistries": [], "role": "",
        "capacityProviderStrategy": [], "platformVersion": "", "volumeConfigurations": [],
        "networkConfiguration": {}, "enableExecuteCommand": false, "clientToken": "",
        "serviceConnectConfiguration": {"enabled": false}, "vpcLatticeConfigurations": [],
        "gatewayConnectors": [], "monitoring": {}, "schedulingStrategy": null,
        "deploymentConfiguration": {"linearConfiguration": {}, "canaryConfiguration": {},
            "alarms": {"alarmNames": [], "enable": false, "rollback": false},
            "lifecycleHooks": [], "earlySuccessCriteria": {"enable": false}}});
    assert_eq!(world.done("CreateService", input).await["service"]["status"], "ACTIVE");
    let update = json!({"service": "svc", "loadBalancers": [], "forceNewDeployment": false,
        "serviceConnectConfiguration": {"enabled": false}, "enableExecuteCommand": false,
        "deploymentController": {"type": "ECS"}, "networkConfiguration": {}});
    let updated = world.done("UpdateService", update).await["service"].clone();
    assert_eq!(updated["deployments"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_given_is_read_back() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    world.define("web", json!({})).await;
    let hooks = json!([
        {"targetType": "PAUSE", "lifecycleStages": ["PRE_SCALE_UP"],
            "timeoutConfiguration": {"timeoutInMinutes": 5, "action": "CONTINUE"}},
        {"targetType": "AWS_LAMBDA", "hookTargetArn": "http://10.0.0.1:80/a?b=c", "roleArn": "r",
            "lifecycleStages": ["POST_SCALE_UP"], "hookDetails": {"a": [1, "b"]},
            "timeoutConfiguration": {"timeoutInMinutes": 1440, "action": "ROLLBACK"}}]);
    let configuration = json!({
        "strategy": "BLUE_GREEN", "bakeTimeInMinutes": 3, "maximumPercent": 150,
        "minimumHealthyPercent": 50, "lifecycleHooks": hooks,
        "alarms": {"alarmNames": ["a"], "enable": false, "rollback": true},
        "deploymentCircuitBreaker": {"enable": true, "rollback": true, "resetOnHealthyTask": false,
            "thresholdConfiguration": {"type": "COUNT", "value": 7}}});
    let strategy = json!([
        {"type": "spread", "field": "attribute:ecs.availability-zone"},
        {"type": "spread", "field": "instanceId"}, {"type": "binpack", "field": "memory"},
        {"type": "random"}]);
    let constraints = json!([{"type": "distinctInstance"}]);
    let input = json!({"serviceName": "svc", "taskDefinition": "web", "desiredCount": 3,
        "deploymentConfiguration": configuration, "placementStrategy": strategy,
        "placementConstraints": constraints, "healthCheckGracePeriodSeconds": 9,
        "propagateTags": "SERVICE", "enableECSManagedTags": true,
        "availabilityZoneRebalancing": "DISABLED",
        "tags": [{"key": "longshore:lost-after", "value": "5"}, {"key": "team", "value": "a"}]});
    world.done("CreateService", input.clone()).await;
    let input_of = json!({"services": ["svc"], "include": ["TAGS"]});
    let described = world.done("DescribeServices", input_of).await;
    let service = &described["services"][0];
    for member in input.as_object().unwrap().keys().filter(|m| *m != "taskDefinition") {
        assert_eq!(service[member], input[member], "{member}");
    }
    assert_eq!(id(&text(&service["taskDefinition"])), "web:1");
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_empty_lists_take_away() {
    let (world, _) = World::scheduled().await;
    world
        .create_service(json!({"placementStrategy": [{"type": "binpack", "field": "cpu"}],
            "placementConstraints": [{"type": "distinctInstance"}], "desiredCount": 0,
            "deploymentConfiguration": {"deploymentCircuitBreaker":
                {"enable": true, "rollback": true}}}))
        .await;
    let before = world.service().await;
    assert_eq!(before["availabilityZoneRebalancing"], "DISABLED");
    let update = json!({"service": "svc", "placementStrategy": [], "placementConstraints": [],
        "availabilityZoneRebalancing": "ENABLED", "propagateTags": "TASK_DEFINITION",
        "deploymentConfiguration": {"maximumPercent": 150, "deploymentCircuitBreaker":
            {"enable": false, "rollback": false}}});
    let after = world.done("UpdateService", update).await["service"].clone();
    assert_eq!(
        (&after["placementStrategy"], &after["placementConstraints"]),
        (&json!([]), &json!([]))
    );
    assert_eq!(after["availabilityZoneRebalancing"], "ENABLED");
    assert_eq!(after["propagateTags"], "TASK_DEFINITION");
    let configuration = &after["deploymentConfiguration"];
    assert_eq!(
        (&configuration["maximumPercent"], &configuration["minimumHealthyPercent"]),
        (&json!(150), &json!(100))
    );
    assert_eq!(
        configuration["deploymentCircuitBreaker"],
        json!({"enable": false, "rollback": false})
    );
    assert_eq!(after["deployments"][0]["id"], before["deployments"][0]["id"]);
}

#[tokio::test]
async fn a_service_is_deleted_when_it_is_scaled_to_zero_or_by_force() {
    let (world, host) = World::scheduled().await;
    let created = world.create_service(json!({})).await;
    world.settle(&host).await;
    let refused = world.refused("DeleteService", json!({"service": "svc"})).await;
    assert!(refused.contains("The service cannot be stopped while it is scaled above 0."));
    world.done("UpdateService", json!({"service": "svc", "desiredCount": 0})).await;
    let refused = world.refused("DeleteService", json!({"service": "svc"})).await;
    assert_eq!(
        refused,
        "InvalidParameterException: The service cannot be stopped while deployments are active."
    );
    world.settle(&host).await;
    let deleted = world.done("DeleteService", json!({"service": created["serviceArn"]})).await;
    assert_eq!(deleted["service"]["status"], "DRAINING");
    let service = world.service().await;
    assert_eq!((&service["status"], &service["deployments"]), (&json!("INACTIVE"), &json!([])));
    assert_eq!(world.done("ListServices", json!({})).await["serviceArns"], json!([]));
    let update = json!({"service": "svc", "desiredCount": 1});
    assert_eq!(
        world.refused("UpdateService", update).await,
        "ServiceNotActiveException: Service was not ACTIVE."
    );
    // The name is free again, and means the new service.
    world.create_service(json!({})).await;
    assert_eq!(world.service().await["status"], "ACTIVE");
    let force = json!({"service": "svc", "force": true});
    let deleted = world.done("DeleteService", force).await;
    assert_eq!(deleted["service"]["status"], "DRAINING");
    assert_eq!(deleted["service"]["desiredCount"], 0);
    let described =
        world.done("DescribeClusters", json!({"include": ["STATISTICS"]})).await["clusters"][0]
            .clone();
    assert_eq!(described["activeServicesCount"], 0);
    let statistics = described["statistics"].as_array().unwrap();
    assert!(statistics.contains(&json!({"name": "drainingEC2ServiceCount", "value": "1"})));
    let again = json!({"serviceName": "svc", "taskDefinition": "web", "desiredCount": 1});
    assert_eq!(
        world.refused("CreateService", again).await,
        "InvalidParameterException: Unable to Start a service that is still Draining."
    );
    world.settle(&host).await;
    assert_eq!(world.service().await["status"], "INACTIVE");
}

#[tokio::test]
async fn a_client_token_makes_one_service() {
    let (world, _) = World::scheduled().await;
    let first = world.create_service(json!({"clientToken": "once"})).await;
    let again = world.create_service(json!({"clientToken": "once", "cluster": "default"})).await;
    assert_eq!(first["createdAt"], again["createdAt"]);
    assert_eq!(first["serviceArn"], again["serviceArn"]);
    let other = json!({"serviceName": "svc", "taskDefinition": "web", "desiredCount": 3,
        "clientToken": "once"});
    let refusal = world.call("CreateService", other).await.unwrap_err();
    // CreateService declares no ConflictException.
    assert_eq!(refusal.code, "InvalidParameterException");
    let unnamed = json!({"serviceName": "svc", "taskDefinition": "web", "desiredCount": 2});
    assert_eq!(
        world.refused("CreateService", unnamed).await,
        "InvalidParameterException: Creation of service was not idempotent."
    );
}

#[tokio::test]
async fn services_are_described_and_those_that_are_not_there_are_failures() {
    let (world, _) = World::scheduled().await;
    let created = world.create_service(json!({})).await;
    let arn = text(&created["serviceArn"]);
    let elsewhere = arn.replace("us-east-1", "eu-west-1");
    let input = json!({"services": ["svc", arn, "none", elsewhere]});
    let described = world.done("DescribeServices", input).await;
    assert_eq!(texts(&described["services"], "serviceArn"), std::slice::from_ref(&arn));
    assert_eq!(described["services"][0]["tags"], json!([]));
    let missing = arn.replace("default/svc", "none");
    assert_eq!(
        described["failures"],
        json!([{"arn": elsewhere, "reason": "MISSING"}, {"arn": missing, "reason": "MISSING"}])
    );
}

#[tokio::test]
async fn services_are_listed_by_name_in_pages_of_ten_and_by_strategy() {
    let (world, _) = World::scheduled().await;
    for index in 0..12 {
        let name = format!("s{index:02}");
        world.create_service(json!({"serviceName": name, "desiredCount": 0})).await;
    }
    let daemon = json!({"serviceName": "daemon", "taskDefinition": "web",
        "schedulingStrategy": "DAEMON"});
    world.done("CreateService", daemon).await;
    let first = world.done("ListServices", json!({})).await;
    assert_eq!(first["serviceArns"].as_array().unwrap().len(), 10);
    let all = world.pages("ListServices", json!({}), "serviceArns").await;
    let names: Vec<String> = all.iter().map(|arn| id(arn.as_str().unwrap()).to_owned()).collect();
    assert_eq!((names.len(), names[0].as_str(), names[12].as_str()), (13, "daemon", "s11"));
    let list = |input: Value| world.pages("ListServices", input, "serviceArns");
    assert_eq!(list(json!({"schedulingStrategy": "DAEMON"})).await.len(), 1);
    assert_eq!(list(json!({"schedulingStrategy": "REPLICA", "maxResults": 5})).await.len(), 12);
    assert_eq!(list(json!({"launchType": "EC2"})).await.len(), 13);
    assert_eq!(list(json!({"launchType": "FARGATE"})).await.len(), 0);
    assert_eq!(list(json!({"resourceManagementType": "CUSTOMER"})).await.len(), 13);
    assert_eq!(list(json!({"resourceManagementType": "ECS"})).await.len(), 0);
}

#[tokio::test]
async fn settings_are_tags_of_a_service_and_of_its_cluster() {
    let world = World::new();
    let tags = json!([{"key": "longshore:replace", "value": "false"}]);
    world.done("CreateCluster", json!({"tags": tags})).await;
    world.define("web", json!({})).await;
    let created = world.create_service(json!({"tags": [{"key": "team", "value": "a"}]})).await;
    let arn = text(&created["serviceArn"]);
    let policy = || {
        world.driver.peek(|state| {
            let cluster = state.cluster("default").unwrap();
            let service = state.service_at(*cluster.services.values().next().unwrap());
            let policy = state.policy(service);
            (policy.replace, policy.rebalance_hosts)
        })
    };
    assert_eq!(policy(), (false, false));
    let tags = json!([{"key": "longshore:replace", "value": "true"},
        {"key": "longshore:rebalance", "value": "hosts"}]);
    world.done("TagResource", json!({"resourceArn": arn, "tags": tags})).await;
    assert_eq!(policy(), (true, true));
    let bad = json!([{"key": "longshore:replace", "value": "maybe"}]);
    let refused = world.refused("TagResource", json!({"resourceArn": arn, "tags": bad})).await;
    assert!(refused.starts_with("InvalidParameterException: "), "{refused}");
    let keys = json!(["longshore:replace", "team"]);
    world.done("UntagResource", json!({"resourceArn": arn, "tagKeys": keys})).await;
    assert_eq!(policy(), (false, true));
    let listed = world.done("ListTagsForResource", json!({"resourceArn": arn})).await;
    assert_eq!(listed["tags"], json!([{"key": "longshore:rebalance", "value": "hosts"}]));
}

#[tokio::test]
async fn the_tasks_of_a_service_are_listed_live_and_stopped() {
    let (world, host) = World::scheduled().await;
    world.create_service(json!({})).await;
    world.run(json!({"taskDefinition": "web"})).await;
    let arn = text(&world.service().await["serviceArn"]);
    assert_eq!(world.listed(json!({})).await.len(), 3);
    let of_service = world.listed(json!({"serviceName": arn})).await;
    assert_eq!(of_service.len(), 2);
    let of_host = json!({"serviceName": "svc", "containerInstance": host, "family": "web"});
    assert_eq!(world.listed(of_host).await, of_service);
    let other = json!({"serviceName": "svc", "containerInstance": "0".repeat(32)});
    assert_eq!(world.listed(other).await, [""; 0]);
    let paged = json!({"serviceName": "svc", "maxResults": 1});
    assert_eq!(world.pages("ListTasks", paged, "taskArns").await.len(), 2);
    world.done("StopTask", json!({"task": of_service[0]})).await;
    world.settle(&host).await;
    let stopped = json!({"serviceName": "svc", "desiredStatus": "STOPPED"});
    assert_eq!(world.listed(stopped).await, of_service[..1]);
    assert_eq!(world.listed(json!({"serviceName": "svc"})).await.len(), 2);
    assert!(
        world
            .refused("ListTasks", json!({"serviceName": "none"}))
            .await
            .starts_with("ServiceNotFoundException: ")
    );
}

#[tokio::test]
async fn a_task_is_disconnected_when_its_host_is() {
    let (world, host) = World::scheduled().await;
    world.create_service(json!({"desiredCount": 1})).await;
    let task = world.listed(json!({"serviceName": "svc"})).await.remove(0);
    assert_eq!(world.task(&task).await["connectivity"], "CONNECTED");
    let host = id(&host).parse().unwrap();
    let silent = Command::Host(HostCommand::AgentSilent {
        host,
        why: "no answer".to_owned(),
        refused: false,
    });
    world.driver.submit(silent, |_, _| ()).await.unwrap();
    assert_eq!(world.task(&task).await["connectivity"], "DISCONNECTED");
}

#[tokio::test]
async fn events_are_the_newest_hundred_and_keep_their_ids() {
    let (world, host) = World::scheduled().await;
    world.create_service(json!({"desiredCount": 1})).await;
    world.settle(&host).await;
    let first = world.service().await["events"].clone();
    world.done("UpdateService", json!({"service": "svc", "desiredCount": 2})).await;
    world.settle(&host).await;
    let events = world.service().await["events"].clone();
    let (first, events) = (first.as_array().unwrap(), events.as_array().unwrap());
    assert!(events.len() > first.len() && events.len() <= 100);
    assert_eq!(events[events.len() - first.len()..], first[..]);
}

/// Tasks that the service's messages say were started.
fn started(service: &Value) -> usize {
    let said = messages(service);
    let starts = said.iter().filter(|said| said.contains("has started"));
    starts.map(|said| said.matches("(task ").count()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_and_events_of_a_service_are_of_one_sequence() {
    let (world, _) = World::scheduled().await;
    world.create_service(json!({"desiredCount": 0})).await;
    for desired in 1..=15 {
        let update = json!({"service": "svc", "desiredCount": desired});
        let looks = async {
            for _ in 0..20 {
                let service = world.service().await;
                assert_eq!(service["pendingCount"], json!(started(&service)), "{service}");
            }
        };
        let (updated, ()) = tokio::join!(world.done("UpdateService", update), looks);
        let updated = &updated["service"];
        assert_eq!(updated["pendingCount"], json!(started(updated)), "{updated}");
    }
}

#[tokio::test]
async fn task_sets_scale_by_share_and_one_is_the_primary() {
    let (world, host) = World::scheduled().await;
    let input = json!({"serviceName": "svc", "desiredCount": 3,
        "deploymentController": {"type": "EXTERNAL"},
        "tags": [{"key": "longshore:healthy-after", "value": "0"}]});
    let created = world.done("CreateService", input).await["service"].clone();
    assert_eq!(created["deploymentController"], json!({"type": "EXTERNAL"}));
    assert_eq!((&created["deployments"], &created["taskSets"]), (&json!([]), &json!([])));
    let of = |more: Value| {
        let mut input = json!({"cluster": "default", "service": "svc"});
        for (key, value) in more.as_object().unwrap() {
            input[key] = value.clone();
        }
        input
    };
    let create = of(json!({"taskDefinition": "web", "scale": {"value": 50.0, "unit": "PERCENT"},
        "externalId": "blue", "clientToken": "once", "tags": [{"key": "a", "value": "b"}]}));
    let blue = world.done("CreateTaskSet", create.clone()).await["taskSet"].clone();
    assert_eq!(world.done("CreateTaskSet", create).await["taskSet"]["id"], blue["id"]);
    assert_eq!(blue["computedDesiredCount"], 2);
    assert_eq!(blue["scale"], json!({"value": 50.0, "unit": "PERCENT"}));
    assert_eq!((&blue["status"], &blue["externalId"]), (&json!("ACTIVE"), &json!("blue")));
    assert_eq!(blue["tags"], json!([{"key": "a", "value": "b"}]));
    let green = of(json!({"taskDefinition": "web"}));
    let green = world.done("CreateTaskSet", green).await["taskSet"].clone();
    assert_eq!(green["scale"]["value"], 100.0);
    let primary = of(json!({"primaryTaskSet": blue["taskSetArn"]}));
    let primary = world.done("UpdateServicePrimaryTaskSet", primary).await;
    assert_eq!(primary["taskSet"]["status"], "PRIMARY");
    world.settle(&host).await;
    let service = world.service().await;
    assert_eq!(service["runningCount"], 5);
    assert_eq!(texts(&service["taskSets"], "stabilityStatus"), ["STEADY_STATE", "STEADY_STATE"]);
    assert_eq!(id(&text(&service["taskDefinition"])), "web:1");

    let scale = of(json!({"taskSet": green["id"], "scale": {"value": 0.0}}));
    let scaled = world.done("UpdateTaskSet", scale).await;
    assert_eq!(scaled["taskSet"]["computedDesiredCount"], 0);
    let refused = world.refused("DeleteTaskSet", of(json!({"taskSet": blue["id"]}))).await;
    assert!(refused.contains("scaled above 0"), "{refused}");
    let deleted = world.done("DeleteTaskSet", of(json!({"taskSet": green["id"]}))).await;
    assert_eq!(deleted["taskSet"]["status"], "DRAINING");
    world.settle(&host).await;
    let ids = json!([blue["id"], green["id"]]);
    let described =
        world.done("DescribeTaskSets", of(json!({"taskSets": ids, "include": ["TAGS"]}))).await;
    assert_eq!(texts(&described["taskSets"], "id"), [text(&blue["id"])]);
    assert_eq!(described["taskSets"][0]["tags"], json!([{"key": "a", "value": "b"}]));
    assert_eq!(described["failures"], json!([{"arn": green["taskSetArn"], "reason": "MISSING"}]));
    let arn = &blue["taskSetArn"];
    let tags = json!([{"key": "c", "value": "d"}]);
    world.done("TagResource", json!({"resourceArn": arn, "tags": tags})).await;
    let listed = world.done("ListTagsForResource", json!({"resourceArn": arn})).await;
    assert_eq!(listed["tags"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn tasks_of_services_can_be_protected_and_others_cannot() {
    let (world, _) = World::scheduled().await;
    world.create_service(json!({"desiredCount": 1})).await;
    let own = world.listed(json!({"serviceName": "svc"})).await.remove(0);
    let other = world.run(json!({"taskDefinition": "web"})).await.remove(0);
    let missing = own.replace(id(&own), &"0".repeat(32));
    let update = |enabled: bool| {
        json!({"cluster": "default", "tasks": [own, other, missing],
            "protectionEnabled": enabled})
    };
    let failures = json!([{"arn": other, "reason": "TASK_NOT_VALID"},
        {"arn": missing, "reason": "MISSING"}]);
    let until = super::NOW.as_epoch_seconds() + 120.0 * 60.0;
    let on = json!([{"expirationDate": until, "protectionEnabled": true, "taskArn": own}]);
    let answer = world.done("UpdateTaskProtection", update(true)).await;
    assert_eq!(answer, json!({"protectedTasks": on, "failures": failures}));
    let get = json!({"cluster": "default", "tasks": [own, other, missing]});
    let answer = world.done("GetTaskProtection", get).await;
    assert_eq!(answer, json!({"protectedTasks": on, "failures": failures}));
    let answer = world.done("UpdateTaskProtection", update(false)).await;
    let off = json!([{"protectionEnabled": false, "taskArn": own}]);
    assert_eq!(answer["protectedTasks"], off);
}
