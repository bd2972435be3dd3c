//! What is wrong with a request is refused with ECS's error and a sentence, and changes nothing:
//! for every operation and every member, derived from the shapes; then what only ECS's rules know.

mod services;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    World, credentials,
    shape::{Place, Shape, inputs},
    signed,
};

/// Errors for a value that is wrong in itself.
const INVALID: &[&str] = &["InvalidParameterException", "ClientException"];
/// Errors for a value that is wrong in itself, within what this release refuses as a whole.
const INVALID_OR_UNSUPPORTED: &[&str] =
    &["InvalidParameterException", "ClientException", "UnsupportedFeatureException"];
/// What is refused as a whole, whatever is in it.
const UNSUPPORTED_MEMBERS: [&str; 8] = [
    "managedInstancesProvider",
    "volumeConfigurations",
    "loadBalancers",
    "serviceRegistries",
    "serviceConnectConfiguration",
    "vpcLatticeConfigurations",
    "gatewayConnectors",
    "monitoring",
];
/// Errors for a value of the wrong type; a number out of its range may be either.
const WRONG_TYPE: &[&str] = &["SerializationException"];
const OUT_OF_RANGE: &[&str] =
    &["SerializationException", "InvalidParameterException", "ClientException"];
const OUT_OF_RANGE_OR_UNSUPPORTED: &[&str] = &[
    "SerializationException",
    "InvalidParameterException",
    "ClientException",
    "UnsupportedFeatureException",
];

/// Counts cases by kind, and fails with all that went wrong.
struct Cases<'a> {
    world: &'a World,
    seq: u64,
    counts: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
}

impl Cases<'_> {
    async fn refused(
        &mut self,
        kind: &'static str,
        operation: &str,
        input: Value,
        codes: &[&str],
        names: &[String],
    ) {
        let body = serde_json::to_vec(&input).unwrap();
        let parts = signed(operation, &body, &credentials("secret"));
        let said = self.world.send(&parts, &body).await;
        let shown: String = input.to_string().chars().take(300).collect();
        self.judge(kind, &format!("{operation} {shown}"), said, codes, names);
    }

    fn judge(
        &mut self,
        kind: &'static str,
        case: &str,
        said: Result<Value, super::Refusal>,
        codes: &[&str],
        names: &[String],
    ) {
        *self.counts.entry(kind).or_default() += 1;
        let mut wrong = |why: String| self.wrong.push(format!("{kind}: {case}\n    {why}"));
        match said {
            Ok(_) => wrong("was accepted".to_owned()),
            Err(refusal) => {
                if !codes.contains(&refusal.code.as_str()) {
                    wrong(format!("{refusal:?}, not one of {codes:?}"));
                } else if !(400..500).contains(&refusal.status) {
                    wrong(format!("status {}", refusal.status));
                } else if refusal.message.split(' ').count() < 3 {
                    wrong(format!("not a sentence: {}", refusal.message));
                } else if !names.is_empty()
                    && !names.iter().any(|name| refusal.message.contains(name))
                {
                    wrong(format!("names none of {names:?}: {}", refusal.message));
                }
            }
        }
        if self.world.seq() != self.seq {
            wrong("changed the state".to_owned());
            self.seq = self.world.seq();
        }
    }
}

#[tokio::test]
async fn bad_input_is_refused_with_a_sentence_and_changes_nothing() {
    let world = World::furnished().await;
    let mut cases =
        Cases { world: &world, seq: world.seq(), counts: BTreeMap::new(), wrong: Vec::new() };
    for (operation, shape) in inputs() {
        let mut derived = Vec::new();
        shape.visit(&mut |path, place| derive(path, &place, &mut derived));
        for Derived { kind, input, codes, names } in derived {
            cases.refused(kind, &operation, input, codes, &names).await;
        }
        requests(&mut cases, &operation, &shape).await;
    }
    for (operation, input, code, names) in rules().into_iter().chain(services::rules()) {
        cases.refused("rule", operation, input, &[code], &[names.to_owned()]).await;
    }
    let all: usize = cases.counts.values().sum();
    report(&format!("bad_input_cases {all} cases {:?}", cases.counts));
    let wrong = &cases.wrong;
    assert!(wrong.is_empty(), "{} of {all}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Every member that ECS has is known here, and of the type that ECS gives it.
#[tokio::test]
async fn every_member_of_ecs_inputs_has_a_place() {
    let world = World::furnished().await;
    for (operation, shape) in inputs() {
        let Err(refusal) = world.call(&operation, shape.whole()).await else { continue };
        assert_ne!(refusal.code, "SerializationException", "{operation}: {}", refusal.message);
        assert!(
            !refusal.message.contains("is not a known member"),
            "{operation}: {}",
            refusal.message
        );
    }
}

struct Derived {
    kind: &'static str,
    input: Value,
    codes: &'static [&'static str],
    /// Names of which the sentence must have one.
    names: Vec<String>,
}

/// What can be wrong at one place, going by its shape.
fn derive(path: &str, place: &Place<'_>, cases: &mut Vec<Derived>) {
    let segments = path.split('.').map(|segment| segment.trim_end_matches("[0]").to_owned());
    // A value that is wrong may be refused with what it is a part of.
    let above: Vec<String> = segments.collect();
    let is_unsupported = UNSUPPORTED_MEMBERS.contains(&above[0].as_str());
    let mut case = |kind, value: Value, codes| {
        let names = match (kind, place.member) {
            ("unknown member", _) => vec!["invented".to_owned()],
            ("out of range" | "too short" | "too long" | "too many", _) | (_, None) => {
                above.clone()
            }
            ("missing member" | "not in the enumeration", _) if is_unsupported => above.clone(),
            (_, Some(member)) => vec![member.name.clone()],
        };
        let codes = match codes {
            INVALID if is_unsupported => INVALID_OR_UNSUPPORTED,
            OUT_OF_RANGE if is_unsupported => OUT_OF_RANGE_OR_UNSUPPORTED,
            _ => codes,
        };
        cases.push(Derived { kind, input: (place.wrap)(value), codes, names });
    };
    let Some(member) = place.member else {
        let mut object = place.shape.least();
        object["invented"] = json!("a");
        case("unknown member", object, INVALID);
        return;
    };
    if member.required {
        case("missing member", Value::Null, INVALID);
    }
    for wrong in place.shape.wrong() {
        let codes = match (place.shape, &wrong) {
            (Shape::Integer { .. }, Value::Number(_)) => OUT_OF_RANGE,
            _ => WRONG_TYPE,
        };
        case("wrong type", wrong, codes);
    }
    match place.shape {
        Shape::Enum(_) => case("not in the enumeration", json!("INVENTED"), INVALID),
        Shape::Integer { min, max } => {
            case("out of range", json!(i64::MIN), OUT_OF_RANGE);
            if let Some(max) = max {
                case("out of range", json!(max + 1), INVALID);
            }
            if let Some(min) = min {
                case("out of range", json!(min - 1), OUT_OF_RANGE);
            }
        }
        Shape::String { min, max } => {
            if min.is_some_and(|min| min > 0) {
                case("too short", json!(""), INVALID);
            }
            if let Some(max) = max {
                case("too long", json!("a".repeat(max + 1)), INVALID);
            }
        }
        Shape::List { max: Some(max), item } => {
            case("too many", json!(vec![item.whole(); max + 1]), INVALID);
        }
        Shape::Object(_)
        | Shape::List { .. }
        | Shape::Map(_)
        | Shape::Boolean
        | Shape::Double
        | Shape::Any => {}
    }
}

/// What can be wrong with a request whatever its operation.
async fn requests(cases: &mut Cases<'_>, operation: &str, shape: &Shape) {
    let not_an_object: [&[u8]; 8] =
        [b"", b"[]", b"null", b"\"a\"", b"7", b"{", b"{} {}", b"{\"a\": \xff}"];
    let deep = "[".repeat(100_000);
    let twice = br#"{"invented": "a", "invented": "b"}"#;
    let bodies = not_an_object.into_iter().chain([deep.as_bytes(), twice]);
    for body in bodies {
        let parts = signed(operation, body, &credentials("secret"));
        let said = cases.world.send(&parts, body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        cases.judge("broken JSON", &format!("{operation} {shown}"), said, WRONG_TYPE, &[]);
    }
    let large = format!("{{\"invented\": \"{}\"}}", "a".repeat(2 * 1024 * 1024));
    let parts = signed(operation, large.as_bytes(), &credentials("secret"));
    let said = cases.world.send(&parts, large.as_bytes()).await;
    cases.judge("2 MiB", operation, said, &["RequestEntityTooLargeException"], &[]);

    let body = serde_json::to_vec(&shape.least()).unwrap();
    let forged = signed(operation, &body, &credentials("guessed"));
    let said = cases.world.send(&forged, &body).await;
    cases.judge("bad signature", operation, said, &["InvalidSignatureException"], &[]);
    let other = signed(operation, b"{}x", &credentials("secret"));
    let said = cases.world.send(&other, &body).await;
    cases.judge("bad signature", operation, said, &["InvalidSignatureException"], &[]);
    let mut unsigned = signed(operation, &body, &credentials("secret"));
    unsigned.headers.remove(http::header::AUTHORIZATION);
    let said = cases.world.send(&unsigned, &body).await;
    cases.judge("bad signature", operation, said, &["MissingAuthenticationTokenException"], &[]);
}

const PARAMETER: &str = "InvalidParameterException";
const CLIENT: &str = "ClientException";
const UNSUPPORTED: &str = "UnsupportedFeatureException";

/// Operation, input, error, what the sentence names.
type Rule = (&'static str, Value, &'static str, &'static str);

/// What only ECS's rules know, and what this release cannot do.
fn rules() -> Vec<Rule> {
    let task = "0".repeat(32);
    let arns = |count: usize| -> Vec<String> { (0..count).map(|i| format!("{i:032x}")).collect() };
    let names = |count: usize| -> Vec<String> { (0..count).map(|i| format!("n{i}")).collect() };
    let long = "a".repeat(256);
    let run = |member: &str, value: Value| {
        let mut input = json!({"taskDefinition": "web"});
        input[member] = value;
        input
    };
    let start = |member: &str, value: Value| {
        let mut input = json!({"taskDefinition": "web", "containerInstances": [task]});
        input[member] = value;
        input
    };
    let attribute = |name: &str, value: Value| {
        json!({"attributes": [{"name": name, "value": value, "targetId": task,
            "targetType": "container-instance"}]})
    };
    let resources = |more: Value| {
        let mut resources = vec![
            json!({"name": "CPU", "type": "INTEGER", "integerValue": 1}),
            json!({"name": "MEMORY", "type": "INTEGER", "integerValue": 1}),
        ];
        resources.push(more);
        json!({"totalResources": resources})
    };
    let cluster = "arn:aws:ecs:us-east-1:000000000000:cluster/default";
    let definition = "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1";
    let not_found = "ClusterNotFoundException";
    let mut rules = vec![
        // Clusters.
        ("CreateCluster", json!({"clusterName": "a b"}), PARAMETER, "a b"),
        ("CreateCluster", json!({"clusterName": long}), PARAMETER, "255"),
        (
            "CreateCluster",
            json!({"capacityProviders": ["FARGATE"]}),
            PARAMETER,
            "capacity_providers.FARGATE",
        ),
        (
            "CreateCluster",
            json!({"defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE"}]}),
            PARAMETER,
            "PutClusterCapacityProviders",
        ),
        (
            "CreateCluster",
            json!({"serviceConnectDefaults": {"namespace": "a"}}),
            PARAMETER,
            "serviceConnectDefaults",
        ),
        (
            "CreateCluster",
            json!({"configuration": {"managedStorageConfiguration": {"kmsKeyId": "k"}}}),
            PARAMETER,
            "managedStorageConfiguration",
        ),
        (
            "CreateCluster",
            json!({"settings": [{"name": "containerInsights", "value": "loud"}]}),
            PARAMETER,
            "loud",
        ),
        ("CreateCluster", json!({"tags": [{"key": "aws:a"}]}), PARAMETER, "aws:"),
        ("CreateCluster", json!({"tags": [{"key": "longshore:a"}]}), PARAMETER, "longshore:a"),
        ("UpdateCluster", json!({"cluster": "none", "settings": []}), not_found, "not found"),
        (
            "UpdateClusterSettings",
            json!({"cluster": "default", "settings": []}),
            PARAMETER,
            "settings",
        ),
        ("DeleteCluster", json!({"cluster": "none"}), not_found, "not found"),
        (
            "DeleteCluster",
            json!({"cluster": "default"}),
            "ClusterContainsServicesException",
            "Services are active",
        ),
        ("DescribeClusters", json!({"clusters": names(101)}), PARAMETER, "101"),
        ("ListClusters", json!({"maxResults": 0}), PARAMETER, "maxResults"),
        ("ListClusters", json!({"maxResults": 101}), PARAMETER, "maxResults"),
        ("ListClusters", json!({"nextToken": "?"}), PARAMETER, "token"),
        // Task definitions; what can be wrong in one is in validate/tests.rs.
        (
            "RegisterTaskDefinition",
            json!({"family": "a b", "containerDefinitions": []}),
            CLIENT,
            "Family",
        ),
        (
            "RegisterTaskDefinition",
            json!({"family": "a", "containerDefinitions": []}),
            CLIENT,
            "empty",
        ),
        ("DeregisterTaskDefinition", json!({"taskDefinition": "web"}), CLIENT, "revision"),
        ("DeregisterTaskDefinition", json!({"taskDefinition": "web:2"}), CLIENT, "task definition"),
        ("DeregisterTaskDefinition", json!({"taskDefinition": "web:x"}), CLIENT, "revision"),
        ("DeleteTaskDefinitions", json!({"taskDefinitions": []}), PARAMETER, "10"),
        ("DeleteTaskDefinitions", json!({"taskDefinitions": names(11)}), PARAMETER, "11"),
        ("DescribeTaskDefinition", json!({"taskDefinition": "none"}), CLIENT, "Unable to describe"),
        ("DescribeTaskDefinition", json!({"taskDefinition": ""}), CLIENT, "family"),
        ("ListTaskDefinitions", json!({"maxResults": 101}), PARAMETER, "maxResults"),
        ("ListTaskDefinitions", json!({"familyPrefix": long}), PARAMETER, "familyPrefix"),
        ("ListTaskDefinitionFamilies", json!({"maxResults": 101}), PARAMETER, "maxResults"),
        ("ListTaskDefinitionFamilies", json!({"familyPrefix": long}), PARAMETER, "familyPrefix"),
        // RunTask.
        ("RunTask", json!({"taskDefinition": "none"}), CLIENT, "TaskDefinition not found"),
        ("RunTask", run("cluster", json!("none")), not_found, "not found"),
        ("RunTask", run("cluster", json!("a b")), PARAMETER, "a b"),
        ("RunTask", run("count", json!(0)), PARAMETER, "count"),
        ("RunTask", run("count", json!(11)), PARAMETER, "count"),
        ("RunTask", run("launchType", json!("FARGATE")), PARAMETER, "capacity_providers.FARGATE"),
        ("RunTask", run("launchType", json!("EXTERNAL")), UNSUPPORTED, "EXTERNAL"),
        ("RunTask", run("launchType", json!("MANAGED_INSTANCES")), UNSUPPORTED, "MANAGED"),
        ("RunTask", run("platformVersion", json!("LATEST")), PARAMETER, "platform version"),
        ("RunTask", run("propagateTags", json!("SERVICE")), PARAMETER, "SERVICE"),
        ("RunTask", run("group", json!("service:a")), PARAMETER, "group"),
        ("RunTask", run("group", json!(long)), PARAMETER, "group"),
        ("RunTask", run("startedBy", json!("a".repeat(129))), PARAMETER, "startedBy"),
        ("RunTask", run("startedBy", json!("a b")), PARAMETER, "startedBy"),
        ("RunTask", run("clientToken", json!("a".repeat(65))), PARAMETER, "clientToken"),
        ("RunTask", run("clientToken", json!("a b")), PARAMETER, "clientToken"),
        ("RunTask", run("referenceId", json!("a")), PARAMETER, "referenceId"),
        ("RunTask", run("enableExecuteCommand", json!(true)), UNSUPPORTED, "enableExecuteCommand"),
        (
            "RunTask",
            run("capacityProviderStrategy", json!([{"capacityProvider": "a"}])),
            PARAMETER,
            "capacityProviderStrategy",
        ),
        (
            "RunTask",
            run("networkConfiguration", json!({"awsvpcConfiguration": {"subnets": ["a"]}})),
            PARAMETER,
            "networkConfiguration",
        ),
        (
            "RunTask",
            run("volumeConfigurations", json!([{"name": "a"}])),
            UNSUPPORTED,
            "volumeConfigurations",
        ),
        (
            "RunTask",
            run("placementConstraints", json!([{"type": "memberOf", "expression": "a"}])),
            PARAMETER,
            "column 1: `a` is no subject",
        ),
        (
            "RunTask",
            run("placementConstraints", json!([{"type": "distinctInstance", "expression": "a"}])),
            PARAMETER,
            "distinctInstance",
        ),
        (
            "RunTask",
            run("placementConstraints", json!([{"type": "memberOf"}])),
            PARAMETER,
            "memberOf needs an expression",
        ),
        ("RunTask", run("placementConstraints", json!([{}])), PARAMETER, "placementConstraints"),
        (
            "RunTask",
            run("placementConstraints", json!(vec![json!({"type": "distinctInstance"}); 11])),
            PARAMETER,
            "11",
        ),
        (
            "RunTask",
            run("placementStrategy", json!(vec![json!({"type": "random"}); 6])),
            PARAMETER,
            "6",
        ),
        ("RunTask", run("placementStrategy", json!([{}])), PARAMETER, "placementStrategy"),
        (
            "RunTask",
            run("placementStrategy", json!([{"type": "random", "field": "cpu"}])),
            PARAMETER,
            "random",
        ),
        (
            "RunTask",
            run("placementStrategy", json!([{"type": "binpack", "field": "disk"}])),
            PARAMETER,
            "binpack",
        ),
        (
            "RunTask",
            run("placementStrategy", json!([{"type": "spread", "field": "attribute:"}])),
            PARAMETER,
            "spread",
        ),
        (
            "RunTask",
            run("overrides", json!({"containerOverrides": [{"name": "none"}]})),
            PARAMETER,
            "none",
        ),
        ("RunTask", run("overrides", json!({"containerOverrides": [{}]})), PARAMETER, "name"),
        (
            "RunTask",
            run("overrides", json!({"containerOverrides": [{"name": "app"}, {"name": "app"}]})),
            PARAMETER,
            "twice",
        ),
        (
            "RunTask",
            run("overrides", json!({"containerOverrides": [{"name": "app", "memory": 5}]})),
            PARAMETER,
            "memory",
        ),
        (
            "RunTask",
            run(
                "overrides",
                json!({"containerOverrides": [{"name": "app",
                "command": ["a".repeat(8192)]}]}),
            ),
            PARAMETER,
            "8192",
        ),
        ("RunTask", run("overrides", json!({"cpu": "much"})), PARAMETER, "much"),
        ("RunTask", run("overrides", json!({"memory": "1"})), PARAMETER, "memory"),
        ("RunTask", run("overrides", json!({"taskRoleArn": "r"})), CLIENT, "taskRoleArn"),
        ("RunTask", run("tags", json!([{"key": "longshore:a"}])), PARAMETER, "longshore:a"),
        // StartTask.
        ("StartTask", start("containerInstances", json!([])), PARAMETER, "containerInstances"),
        ("StartTask", start("containerInstances", json!(arns(11))), PARAMETER, "11"),
        ("StartTask", start("containerInstances", json!(["short"])), PARAMETER, "short"),
        ("StartTask", start("startedBy", json!("a".repeat(37))), PARAMETER, "startedBy"),
        ("StartTask", start("cluster", json!("none")), not_found, "not found"),
        ("StartTask", start("taskDefinition", json!("none")), CLIENT, "TaskDefinition not found"),
        ("StartTask", start("enableExecuteCommand", json!(true)), UNSUPPORTED, "enableExecute"),
        ("StartTask", start("group", json!("service:a")), PARAMETER, "group"),
        ("StartTask", start("propagateTags", json!("SERVICE")), PARAMETER, "SERVICE"),
        // Tasks.
        ("StopTask", json!({"task": task}), PARAMETER, "not found"),
        ("StopTask", json!({"task": "short"}), PARAMETER, "short"),
        ("StopTask", json!({"task": task, "cluster": "none"}), not_found, "not found"),
        ("StopTask", json!({"task": task, "reason": "a".repeat(1025)}), PARAMETER, "reason"),
        (
            "StopTask",
            json!({"task": format!("arn:aws:ecs:us-east-1:000000000000:task/other/{task}")}),
            PARAMETER,
            "other",
        ),
        ("DescribeTasks", json!({"tasks": []}), PARAMETER, "tasks"),
        ("DescribeTasks", json!({"tasks": arns(101)}), PARAMETER, "101"),
        ("DescribeTasks", json!({"tasks": [task], "cluster": "none"}), not_found, "not found"),
        ("ListTasks", json!({"cluster": "none"}), not_found, "not found"),
        ("ListTasks", json!({"maxResults": 101}), PARAMETER, "maxResults"),
        ("ListTasks", json!({"startedBy": "a", "family": "web"}), PARAMETER, "startedBy"),
        ("ListTasks", json!({"family": "web:1"}), PARAMETER, "family"),
        ("ListTasks", json!({"containerInstance": "short"}), PARAMETER, "short"),
        ("ListTasks", json!({"serviceName": "a"}), "ServiceNotFoundException", "not found"),
        ("ListTasks", json!({"serviceName": "a b"}), PARAMETER, "a b"),
        ("ListTasks", json!({"serviceName": "a", "startedBy": "b"}), PARAMETER, "startedBy"),
        ("ListTasks", json!({"daemonName": "a"}), PARAMETER, "daemon"),
        // Container instances.
        ("RegisterContainerInstance", json!({}), PARAMETER, "CPU"),
        ("RegisterContainerInstance", resources(json!({"name": "CPU"})), PARAMETER, "twice"),
        ("RegisterContainerInstance", resources(json!({"name": "GPU"})), PARAMETER, "GPU"),
        (
            "RegisterContainerInstance",
            resources(json!({"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["0"]})),
            PARAMETER,
            "PORTS",
        ),
        ("RegisterContainerInstance", json!({"cluster": "none"}), PARAMETER, "CPU"),
        (
            "RegisterContainerInstance",
            json!({"platformDevices": [{"id": "a", "type": "NEURON_DEVICE"}]}),
            PARAMETER,
            "platformDevices",
        ),
        (
            "RegisterContainerInstance",
            json!({"instanceIdentityDocument": "no JSON"}),
            PARAMETER,
            "instanceIdentityDocument",
        ),
        ("DeregisterContainerInstance", json!({"containerInstance": task}), PARAMETER, "not found"),
        ("DeregisterContainerInstance", json!({"containerInstance": "short"}), PARAMETER, "short"),
        ("DescribeContainerInstances", json!({"containerInstances": []}), PARAMETER, "100"),
        ("DescribeContainerInstances", json!({"containerInstances": arns(101)}), PARAMETER, "101"),
        (
            "ListContainerInstances",
            json!({"filter": "agentConnected=true"}),
            PARAMETER,
            "column 15",
        ),
        ("ListContainerInstances", json!({"maxResults": -1}), PARAMETER, "maxResults"),
        (
            "UpdateContainerInstancesState",
            json!({"containerInstances": arns(11), "status": "DRAINING"}),
            PARAMETER,
            "11",
        ),
        (
            "UpdateContainerInstancesState",
            json!({"containerInstances": [task], "status": "REGISTERING"}),
            PARAMETER,
            "ACTIVE or DRAINING",
        ),
        // Attributes.
        ("PutAttributes", json!({"attributes": []}), PARAMETER, "attributes"),
        ("PutAttributes", json!({"attributes": vec![json!({"name": "a"}); 11]}), PARAMETER, "11"),
        ("PutAttributes", json!({"attributes": [{"name": "a"}]}), PARAMETER, "targetId"),
        (
            "PutAttributes",
            json!({"attributes": [{"name": "a", "targetId": task}]}),
            PARAMETER,
            "targetType",
        ),
        (
            "PutAttributes",
            json!({"attributes": [{"name": "longshore.auto-scaling-group", "value": "g",
                "targetType": "container-instance", "targetId": "0".repeat(32)}]}),
            PARAMETER,
            "instance id",
        ),
        ("PutAttributes", attribute("a", json!("b")), "TargetNotFoundException", "not found"),
        ("DeleteAttributes", attribute("a", Value::Null), "TargetNotFoundException", "not found"),
        (
            "ListAttributes",
            json!({"targetType": "container-instance", "attributeValue": "a"}),
            PARAMETER,
            "attributeName",
        ),
        (
            "ListAttributes",
            json!({"targetType": "container-instance", "maxResults": 101}),
            PARAMETER,
            "maxResults",
        ),
        // Tags.
        ("TagResource", json!({"resourceArn": "a", "tags": []}), PARAMETER, "ARN"),
        (
            "TagResource",
            json!({"resourceArn": format!("{cluster}s"), "tags": [{"key": "a"}]}),
            "ResourceNotFoundException",
            "not found",
        ),
        ("TagResource", json!({"resourceArn": cluster, "tags": [{"key": ""}]}), PARAMETER, "key"),
        (
            "TagResource",
            json!({"resourceArn": cluster, "tags": [{"key": "longshore:a"}]}),
            PARAMETER,
            "longshore:lost-after",
        ),
        (
            "TagResource",
            json!({"resourceArn": definition, "tags": [{"key": "longshore:replace"}]}),
            PARAMETER,
            "settings of services and clusters",
        ),
        (
            "TagResource",
            json!({"resourceArn": cluster, "tags": [{"key": "a"}, {"key": "a"}]}),
            PARAMETER,
            "Duplicate",
        ),
        ("UntagResource", json!({"resourceArn": cluster, "tagKeys": ["aws:a"]}), PARAMETER, "aws:"),
        ("UntagResource", json!({"resourceArn": cluster, "tagKeys": names(51)}), PARAMETER, "51"),
        (
            "ListTagsForResource",
            json!({"resourceArn": "arn:aws:ecs:us-east-1:000000000000:service/b"}),
            PARAMETER,
            "Long arn format must be used for tagging operations",
        ),
        (
            "ListTagsForResource",
            json!({"resourceArn": "arn:aws:ecs:us-east-1:000000000000:daemon/a/b"}),
            PARAMETER,
            "daemon",
        ),
        // Account settings.
        (
            "PutAccountSetting",
            json!({"name": "containerInsights", "value": "a"}),
            PARAMETER,
            "enhanced",
        ),
        (
            "PutAccountSetting",
            json!({"name": "taskLongArnFormat", "value": "disabled"}),
            PARAMETER,
            "long",
        ),
        (
            "PutAccountSetting",
            json!({"name": "guardDutyActivate", "value": "on"}),
            PARAMETER,
            "GuardDuty",
        ),
        (
            "PutAccountSetting",
            json!({"name": "awsvpcTrunking", "value": "enabled", "principalArn": "me"}),
            PARAMETER,
            "me",
        ),
        (
            "PutAccountSettingDefault",
            json!({"name": "awsvpcTrunking", "value": "a"}),
            PARAMETER,
            "enabled",
        ),
        ("DeleteAccountSetting", json!({"name": "dualStackIPv6"}), PARAMETER, "name"),
        ("ListAccountSettings", json!({"maxResults": 11}), PARAMETER, "maxResults"),
        ("ListAccountSettings", json!({"value": "enabled"}), PARAMETER, "name"),
        ("DiscoverPollEndpoint", json!({"cluster": "a b"}), PARAMETER, "a b"),
    ];
    for (name, value) in [
        ("", json!("b")),
        (&*"a".repeat(129), json!("b")),
        ("a b", json!("b")),
        ("a", json!("")),
        ("a", json!("b".repeat(129))),
        ("a", json!(" b")),
        ("a", json!("b;")),
    ] {
        rules.push(("PutAttributes", attribute(name, value), PARAMETER, "attribute"));
    }
    rules
}

#[expect(clippy::print_stdout, reason = "the count is what the test is asked for")]
fn report(line: &str) {
    println!("{line}");
}
