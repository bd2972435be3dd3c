//! What ECS has and Longshore cannot act on is refused with the reason; what holds anyway is kept.

use serde_json::{Value, json};

use super::{
    World,
    flows::{text, texts},
};

const PARAMETER: &str = "InvalidParameterException";

#[tokio::test]
async fn account_settings_take_what_holds_and_refuse_what_would_do_nothing() {
    let world = World::furnished().await;
    // By setting: what is taken, and what is refused with a word of the reason.
    let settings: [(&str, &[&str], &[&str], &str); 10] = [
        ("awsvpcTrunking", &["disabled"], &["enabled"], "network interfaces"),
        ("containerInsights", &["disabled"], &["enabled", "enhanced"], "CloudWatch"),
        ("containerInstanceLongArnFormat", &["enabled"], &["disabled"], "Long Arn"),
        ("defaultLogDriverMode", &["blocking", "non-blocking"], &["fast"], "Valid values"),
        ("fargateEventWindows", &["disabled"], &["enabled"], "retires no tasks"),
        ("fargateFIPSMode", &["disabled"], &["enabled"], "FIPS"),
        ("fargateTaskRetirementWaitPeriod", &["7"], &["0", "14"], "retires no tasks"),
        ("serviceLongArnFormat", &["enabled"], &["disabled"], "Long Arn"),
        ("tagResourceAuthorization", &["off"], &["on"], "policies"),
        ("taskLongArnFormat", &["enabled"], &["disabled"], "Long Arn"),
    ];
    for (name, taken, refused, reason) in settings {
        for operation in ["PutAccountSetting", "PutAccountSettingDefault"] {
            for value in taken {
                let put = world.done(operation, json!({"name": name, "value": value})).await;
                assert_eq!(put["setting"]["value"], *value, "{name}");
            }
            let seq = world.seq();
            for value in refused {
                let refusal = world.call(operation, json!({"name": name, "value": value})).await;
                let refusal = refusal.unwrap_err();
                assert_eq!(refusal.code, PARAMETER);
                assert!(refusal.message.contains(reason), "{name}: {}", refusal.message);
            }
            assert_eq!(world.seq(), seq);
        }
    }
    let all = world.done("ListAccountSettings", json!({"effectiveSettings": true})).await;
    let names: Vec<&str> = all["settings"].as_array().unwrap().iter().map(name_of).collect();
    assert_eq!(names.len(), 10, "{names:?}");
}

fn name_of(setting: &Value) -> &str {
    setting["name"].as_str().unwrap()
}

#[tokio::test]
async fn log_driver_mode_is_a_setting_of_the_whole_account() {
    let world = World::furnished().await;
    let user = "arn:aws:iam::000000000000:user/a";
    let input = json!({"name": "defaultLogDriverMode", "value": "blocking", "principalArn": user});
    let refusal = world.call("PutAccountSetting", input).await.unwrap_err();
    assert_eq!(refusal.code, PARAMETER);
    assert!(refusal.message.contains("arn:aws:iam::000000000000:root"), "{}", refusal.message);
}

#[tokio::test]
async fn container_insights_of_a_cluster_can_only_be_disabled() {
    let world = World::furnished().await;
    let settings = |value: &str| json!([{"name": "containerInsights", "value": value}]);
    for value in ["enabled", "enhanced"] {
        for (operation, member) in [
            ("CreateCluster", "clusterName"),
            ("UpdateCluster", "cluster"),
            ("UpdateClusterSettings", "cluster"),
        ] {
            let mut input = json!({"settings": settings(value)});
            input[member] = json!("default");
            let refusal = world.call(operation, input).await.unwrap_err();
            assert_eq!(refusal.code, PARAMETER, "{operation}");
            assert!(refusal.message.contains("Say disabled"), "{}", refusal.message);
        }
    }
    let input = json!({"clusterName": "c", "settings": settings("disabled")});
    let cluster = world.done("CreateCluster", input).await;
    assert_eq!(cluster["cluster"]["settings"], settings("disabled"));
    let plain = world.done("CreateCluster", json!({"clusterName": "d"})).await;
    assert_eq!(plain["cluster"]["settings"], settings("disabled"));
    // As Terraform's provider 3 asks.
    let asked = json!({"clusters": ["d"], "include": ["TAGS"]});
    let described = world.done("DescribeClusters", asked).await;
    assert_eq!(described["clusters"][0]["settings"], settings("disabled"));
}

#[tokio::test]
async fn exec_configuration_promises_no_encryption() {
    let world = World::furnished().await;
    let input = |exec: Value| json!({"clusterName": "e", "configuration": {"executeCommandConfiguration": exec}});
    let log = |more: Value| json!({"logging": "OVERRIDE", "logConfiguration": more});
    for exec in [
        json!({"kmsKeyId": "k", "logging": "DEFAULT"}),
        log(json!({"cloudWatchLogGroupName": "g", "cloudWatchEncryptionEnabled": true})),
        log(json!({"s3BucketName": "b", "s3EncryptionEnabled": true})),
    ] {
        let refusal = world.call("CreateCluster", input(exec)).await.unwrap_err();
        assert_eq!(refusal.code, PARAMETER);
        assert!(refusal.message.contains("encrypts neither"), "{}", refusal.message);
    }
    let exec = log(json!({"cloudWatchLogGroupName": "g"}));
    let created = world.done("CreateCluster", input(exec.clone())).await;
    assert_eq!(created["cluster"]["configuration"]["executeCommandConfiguration"], exec);
    // No session could disobey it: whoever asks for ECS Exec is refused.
    let run = json!({"cluster": "e", "taskDefinition": "web", "enableExecuteCommand": true});
    let refusal = world.call("RunTask", run).await.unwrap_err();
    assert_eq!(refusal.code, "UnsupportedFeatureException");
}

/// The role is who pulls images, reads secrets and writes logs. Hosts pull with their own logins and
/// keep logs themselves; what would need the role is refused by its own name.
#[tokio::test]
async fn execution_role_is_kept_where_nothing_needs_it_and_secrets_are_refused() {
    let world = World::furnished().await;
    let role = "arn:aws:iam::000000000000:role/ecsTaskExecutionRole";
    let plain = json!({"name": "app", "image": "nginx", "memory": 64});
    let mut secret = plain.clone();
    secret["secrets"] = json!([{"name": "A", "valueFrom": "/a"}]);
    for (family, container) in [("plain", &plain), ("secret", &secret)] {
        let input = json!({"family": family, "executionRoleArn": role,
            "containerDefinitions": [container]});
        let made = world.done("RegisterTaskDefinition", input).await;
        assert_eq!(made["taskDefinition"]["executionRoleArn"], role);
    }
    let run = |family: &str| {
        json!({"taskDefinition": family,
        "tags": [{"key": "longshore:wait", "value": "60"}],
        "overrides": {"executionRoleArn": role}})
    };
    let ran = world.done("RunTask", run("plain")).await;
    assert_eq!(ran["tasks"][0]["overrides"]["executionRoleArn"], role);
    let refusal = world.call("RunTask", run("secret")).await.unwrap_err();
    assert!(refusal.message.contains("containerDefinitions[app].secrets"), "{}", refusal.message);
}

#[tokio::test]
async fn network_configuration_is_refused_for_the_reason_that_holds() {
    let world = World::furnished().await;
    let container = json!({"name": "app", "image": "nginx", "memory": 64});
    let awsvpc = json!({"family": "vpc", "networkMode": "awsvpc",
        "containerDefinitions": [container]});
    world.done("RegisterTaskDefinition", awsvpc).await;
    let network = json!({"awsvpcConfiguration": {"subnets": ["subnet-1"]}});
    for (definition, code, reason) in [
        ("vpc", "ClientException", "networkMode awsvpc"),
        ("web", PARAMETER, "Network Configuration is not valid for the given networkMode"),
        ("none", "ClientException", "TaskDefinition not found."),
    ] {
        let calls = [
            ("RunTask", json!({"taskDefinition": definition})),
            (
                "StartTask",
                json!({"taskDefinition": definition,
                "containerInstances": ["0".repeat(32)]}),
            ),
            (
                "CreateService",
                json!({"taskDefinition": definition, "serviceName": "n",
                "desiredCount": 1}),
            ),
            ("UpdateService", json!({"taskDefinition": definition, "service": "svc"})),
            (
                "CreateTaskSet",
                json!({"taskDefinition": definition, "service": "ext",
                "cluster": "default"}),
            ),
        ];
        for (operation, mut input) in calls {
            input["networkConfiguration"] = network.clone();
            let refusal = world.call(operation, input).await.unwrap_err();
            assert_eq!(refusal.code, code, "{operation} {definition}: {}", refusal.message);
            assert!(refusal.message.contains(reason), "{operation}: {}", refusal.message);
        }
    }
    let update = json!({"service": "svc", "networkConfiguration": network});
    let refusal = world.call("UpdateService", update).await.unwrap_err();
    assert!(refusal.message.starts_with("Network Configuration is not valid"));
}

#[tokio::test]
async fn external_service_needs_no_desired_count() {
    let world = World::furnished().await;
    let external = json!({"type": "EXTERNAL"});
    let input = json!({"serviceName": "e", "deploymentController": external});
    let created = world.done("CreateService", input).await;
    assert_eq!(created["service"]["desiredCount"], 0);
    let input = json!({"serviceName": "r", "taskDefinition": "web"});
    let refusal = world.call("CreateService", input).await.unwrap_err();
    assert!(refusal.message.contains("desiredCount is required"), "{}", refusal.message);
}

#[tokio::test]
async fn deleted_attribute_gives_the_registered_one_of_its_name_back() {
    let world = World::furnished().await;
    let resources = json!([
        {"name": "CPU", "type": "INTEGER", "integerValue": 2048},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": 4096}]);
    let input = json!({"totalResources": resources,
        "attributes": [{"name": "rack", "value": "1"}]});
    let registered = world.done("RegisterContainerInstance", input).await;
    let arn = registered["containerInstance"]["containerInstanceArn"].clone();
    let rack = async || {
        let input = json!({"targetType": "container-instance", "attributeName": "rack"});
        let listed = world.done("ListAttributes", input).await;
        let values = listed["attributes"].as_array().unwrap().iter();
        values.map(|rack| rack["value"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(rack().await, ["1"]);
    let attribute = |value: Value| {
        json!({"attributes":
        [{"name": "rack", "value": value, "targetId": arn}]})
    };
    world.done("PutAttributes", attribute(json!("2"))).await;
    assert_eq!(rack().await, ["2"]);
    world.done("DeleteAttributes", attribute(Value::Null)).await;
    assert_eq!(rack().await, ["1"]);
    // What was registered is not PutAttributes' to take away.
    assert!(world.call("DeleteAttributes", attribute(Value::Null)).await.is_err());
}

#[tokio::test]
async fn settings_hold_for_their_principal_before_the_accounts_and_ecs_default() {
    let world = World::new();
    let user = "arn:aws:iam::000000000000:user/me";
    let value = async |name: &str, principal: &str| {
        let input = json!({"name": name, "principalArn": principal, "effectiveSettings": true});
        let listed = world.done("ListAccountSettings", input).await;
        text(&listed["settings"][0]["value"])
    };
    assert_eq!(value("defaultLogDriverMode", user).await, "non-blocking");
    let blocking = json!({"name": "defaultLogDriverMode", "value": "blocking"});
    world.done("PutAccountSettingDefault", blocking).await;
    assert_eq!(value("defaultLogDriverMode", user).await, "blocking");
    let own = json!({"name": "containerInsights", "value": "disabled", "principalArn": user});
    world.done("PutAccountSetting", own).await;
    let of_user = json!({"principalArn": user});
    let set = world.done("ListAccountSettings", of_user.clone()).await;
    assert_eq!(texts(&set["settings"], "name"), ["containerInsights"]);
    let delete = json!({"name": "containerInsights", "principalArn": user});
    let deleted = world.done("DeleteAccountSetting", delete).await;
    assert_eq!(deleted["setting"]["value"], "disabled");
    assert_eq!(world.done("ListAccountSettings", of_user).await["settings"], json!([]));
    let all = json!({"effectiveSettings": true, "maxResults": 4});
    assert_eq!(world.pages("ListAccountSettings", all, "settings").await.len(), 11);
    let set = world.done("ListAccountSettings", json!({})).await;
    assert_eq!(texts(&set["settings"], "name"), ["defaultLogDriverMode"]);
}
