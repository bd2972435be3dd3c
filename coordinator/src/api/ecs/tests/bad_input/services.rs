//! Bad input of services, their deployments and task sets, and of task protection.

use serde_json::{Value, json};

use super::{CLIENT, PARAMETER, Rule, UNSUPPORTED};

/// Rules in the furnished world: a REPLICA service `svc` of one task, a DAEMON service `daemon`, a
/// service `ext` with the EXTERNAL controller.
pub(super) fn rules() -> Vec<Rule> {
    [create(), update(), services(), deployments(), task_sets(), protection()].concat()
}

const CLUSTER: &str = "ClusterNotFoundException";
const SERVICE: &str = "ServiceNotFoundException";

fn arn(resource: &str) -> String {
    format!("arn:aws:ecs:us-east-1:000000000000:{resource}")
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("n{i}")).collect()
}

fn with(mut input: Value, member: &str, value: Value) -> Value {
    input[member] = value;
    input
}

/// What both CreateService and UpdateService refuse: members instead of operations.
fn both() -> Vec<Rule> {
    let registry = json!([{"registryArn": "arn:aws:servicediscovery:::service/a"}]);
    let lattice = json!([{"roleArn": "a", "targetGroupArn": "b", "portName": "c"}]);
    let metrics = json!([{"metricNames": ["CPUUtilization"], "resolutionSeconds": 20}]);
    let subnets = json!({"awsvpcConfiguration": {"subnets": ["a"]}});
    let mut rules = vec![
        ("taskDefinition", json!("none"), CLIENT, "TaskDefinition not found"),
        ("taskDefinition", json!("a b"), CLIENT, "a b"),
        ("taskDefinition", json!("web:9"), CLIENT, "TaskDefinition not found"),
        ("desiredCount", json!(-1), PARAMETER, "desiredCount"),
        ("desiredCount", json!(100_001), PARAMETER, "desiredCount"),
        ("loadBalancers", json!([{"targetGroupArn": "tg"}]), UNSUPPORTED, "loadBalancers"),
        ("serviceRegistries", registry, UNSUPPORTED, "serviceRegistries"),
        ("serviceConnectConfiguration", json!({"enabled": true}), UNSUPPORTED, "Service Connect"),
        ("vpcLatticeConfigurations", lattice, UNSUPPORTED, "vpcLatticeConfigurations"),
        ("gatewayConnectors", json!([{"portName": "a"}]), UNSUPPORTED, "gatewayConnectors"),
        ("monitoring", json!({"metricConfigurations": metrics}), UNSUPPORTED, "monitoring"),
        ("volumeConfigurations", json!([{"name": "a"}]), UNSUPPORTED, "volumeConfigurations"),
        ("networkConfiguration", subnets, PARAMETER, "networkConfiguration"),
        (
            "capacityProviderStrategy",
            json!([{"capacityProvider": "a"}]),
            PARAMETER,
            "capacityProviderStrategy",
        ),
        ("platformVersion", json!("1.4.0"), PARAMETER, "platform version"),
        ("enableExecuteCommand", json!(true), UNSUPPORTED, "enableExecuteCommand"),
        ("deploymentController", json!({"type": "CODE_DEPLOY"}), PARAMETER, "EXTERNAL"),
        ("healthCheckGracePeriodSeconds", json!(-1), PARAMETER, "healthCheckGracePeriodSeconds"),
        (
            "placementConstraints",
            json!([{"type": "memberOf", "expression": "a"}]),
            PARAMETER,
            "column 1: `a` is no subject",
        ),
        ("placementStrategy", json!([{"type": "binpack", "field": "disk"}]), PARAMETER, "binpack"),
    ];
    let configurations = deployment_configurations().into_iter();
    rules.extend(configurations.map(|(configuration, code, names)| {
        ("deploymentConfiguration", configuration, code, names)
    }));
    rules
}

fn deployment_configurations() -> Vec<(Value, &'static str, &'static str)> {
    let breaker = |kind: &str, value: i64| {
        json!({"deploymentCircuitBreaker": {"enable": true, "rollback": false,
            "thresholdConfiguration": {"type": kind, "value": value}}})
    };
    let hook = |more: Value| {
        let mut hook = json!({"targetType": "PAUSE", "lifecycleStages": ["PRE_SCALE_UP"]});
        for (key, value) in more.as_object().unwrap() {
            hook[key] = value.clone();
        }
        json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0,
            "lifecycleHooks": [hook]})
    };
    let lambda = |target: &str| hook(json!({"targetType": "AWS_LAMBDA", "hookTargetArn": target}));
    let early = |value: Value| json!({"earlySuccessCriteria": value});
    let alarms =
        |names: Value| json!({"alarms": {"alarmNames": names, "enable": true, "rollback": true}});
    vec![
        (json!({"strategy": "LINEAR"}), UNSUPPORTED, "LINEAR"),
        (json!({"strategy": "CANARY"}), UNSUPPORTED, "CANARY"),
        (json!({"linearConfiguration": {"stepPercent": 10.0}}), UNSUPPORTED, "linearConfiguration"),
        (
            json!({"canaryConfiguration": {"canaryPercent": 10.0}}),
            UNSUPPORTED,
            "canaryConfiguration",
        ),
        (json!({"maximumPercent": -1}), PARAMETER, "maximumPercent"),
        (json!({"maximumPercent": 50}), PARAMETER, "maximumPercent"),
        (json!({"minimumHealthyPercent": -1}), PARAMETER, "minimumHealthyPercent"),
        (
            json!({"minimumHealthyPercent": 100, "maximumPercent": 100}),
            PARAMETER,
            "block deployments",
        ),
        (json!({"bakeTimeInMinutes": 1441}), PARAMETER, "bakeTimeInMinutes"),
        (json!({"strategy": "BLUE_GREEN"}), PARAMETER, "bakeTimeInMinutes"),
        (breaker("COUNT", 0), PARAMETER, "thresholdConfiguration"),
        (alarms(json!(["none"])), PARAMETER, "PutMetricAlarm"),
        (alarms(json!([])), PARAMETER, "alarmNames"),
        (alarms(json!(["a".repeat(256)])), PARAMETER, "alarmNames[0]"),
        (alarms(json!(["none", "none"])), PARAMETER, "twice"),
        (alarms(json!(vec!["none"; 101])), PARAMETER, "101"),
        (early(json!({"enable": true})), PARAMETER, "healthyPercent"),
        (early(json!({"enable": false, "healthyPercent": 101})), PARAMETER, "healthyPercent"),
        (
            early(json!({"enable": true, "healthyPercent": 50,
                "sourceServiceRevisionCleanup": "BLOCKING"})),
            PARAMETER,
            "minimumHealthyPercent",
        ),
        (
            json!({"lifecycleHooks": [{"targetType": "PAUSE",
                "lifecycleStages": ["PRE_SCALE_UP"]}]}),
            PARAMETER,
            "BLUE_GREEN",
        ),
        (hook(json!({"lifecycleStages": []})), PARAMETER, "lifecycleStages"),
        (hook(json!({"lifecycleStages": ["PRE_SCALE_UP", "PRE_SCALE_UP"]})), PARAMETER, "twice"),
        (hook(json!({"lifecycleStages": ["TEST_TRAFFIC_SHIFT"]})), PARAMETER, "PAUSE"),
        (
            hook(json!({"lifecycleStages": ["POST_PRODUCTION_TRAFFIC_SHIFT"]})),
            UNSUPPORTED,
            "lifecycleStages",
        ),
        (hook(json!({"hookTargetArn": "a"})), PARAMETER, "PAUSE"),
        (
            hook(json!({"timeoutConfiguration": {"timeoutInMinutes": 20_161}})),
            PARAMETER,
            "timeoutInMinutes",
        ),
        (
            hook(json!({"targetType": "AWS_LAMBDA", "hookTargetArn": "http://a",
                "hookDetails": "a".repeat(8192)})),
            PARAMETER,
            "hookDetails",
        ),
        (lambda(""), PARAMETER, "hookTargetArn"),
        (lambda("ftp://a/b"), PARAMETER, "HTTP URL"),
        (lambda("http://"), PARAMETER, "HTTP URL"),
        (
            lambda("arn:aws:lambda:us-east-1:000000000000:function:a"),
            PARAMETER,
            "an HTTP URL can be given as hookTargetArn",
        ),
    ]
}

fn create() -> Vec<Rule> {
    let least = json!({"serviceName": "new", "taskDefinition": "web", "desiredCount": 1});
    let create = |member: &str, value: Value| with(least.clone(), member, value);
    let daemon = |member: &str, value: Value| {
        let least = json!({"serviceName": "new", "taskDefinition": "web",
            "schedulingStrategy": "DAEMON"});
        with(least, member, value)
    };
    let external = |member: &str, value: Value| {
        let least = json!({"serviceName": "new", "desiredCount": 1,
            "deploymentController": {"type": "EXTERNAL"}});
        with(least, member, value)
    };
    let binpack = json!([{"type": "binpack", "field": "cpu"}]);
    let breaker = json!({"deploymentCircuitBreaker": {"enable": true, "rollback": true}});
    let alarms = json!({"alarms": {"alarmNames": ["none"], "enable": true, "rollback": true}});
    let blue_green = json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1});
    let mut rules = vec![
        ("CreateService", create("cluster", json!("none")), CLUSTER, "not found"),
        ("CreateService", create("serviceName", json!("a b")), PARAMETER, "a b"),
        ("CreateService", create("serviceName", json!("")), PARAMETER, "serviceName"),
        ("CreateService", create("serviceName", json!("a".repeat(256))), PARAMETER, "255"),
        ("CreateService", create("serviceName", json!("svc")), PARAMETER, "not idempotent"),
        ("CreateService", create("desiredCount", Value::Null), PARAMETER, "desiredCount"),
        ("CreateService", create("taskDefinition", Value::Null), PARAMETER, "TaskDefinition"),
        (
            "CreateService",
            create("launchType", json!("FARGATE")),
            PARAMETER,
            "capacity_providers.FARGATE",
        ),
        ("CreateService", create("role", json!("ecsServiceRole")), PARAMETER, "role"),
        ("CreateService", create("clientToken", json!("a".repeat(37))), PARAMETER, "clientToken"),
        ("CreateService", create("clientToken", json!("a b")), PARAMETER, "clientToken"),
        ("CreateService", create("tags", json!([{"key": "aws:a"}])), PARAMETER, "aws:"),
        (
            "CreateService",
            create("tags", json!([{"key": "longshore:lost"}])),
            PARAMETER,
            "longshore:lost-after",
        ),
        (
            "CreateService",
            create("tags", json!([{"key": "longshore:lost-after", "value": "soon"}])),
            PARAMETER,
            "soon",
        ),
        ("CreateService", daemon("desiredCount", json!(1)), PARAMETER, "daemon"),
        ("CreateService", daemon("placementStrategy", binpack.clone()), PARAMETER, "DAEMON"),
        (
            "CreateService",
            daemon("deploymentConfiguration", json!({"maximumPercent": 200})),
            PARAMETER,
            "maximumPercent",
        ),
        (
            "CreateService",
            daemon("deploymentController", json!({"type": "EXTERNAL"})),
            PARAMETER,
            "DAEMON",
        ),
        ("CreateService", daemon("deploymentConfiguration", blue_green), PARAMETER, "BLUE_GREEN"),
        (
            "CreateService",
            daemon("availabilityZoneRebalancing", json!("ENABLED")),
            PARAMETER,
            "availabilityZoneRebalancing",
        ),
        ("CreateService", external("taskDefinition", json!("web")), PARAMETER, "CreateTaskSet"),
        ("CreateService", external("deploymentConfiguration", breaker), PARAMETER, "Breaker"),
        ("CreateService", external("deploymentConfiguration", alarms), PARAMETER, "alarms"),
        (
            "CreateService",
            with(
                create("placementStrategy", binpack),
                "availabilityZoneRebalancing",
                json!("ENABLED"),
            ),
            PARAMETER,
            "availabilityZoneRebalancing",
        ),
    ];
    rules.extend(
        both().into_iter().map(|(member, value, code, names)| {
            ("CreateService", create(member, value), code, names)
        }),
    );
    rules
}

fn update() -> Vec<Rule> {
    let update = |member: &str, value: Value| with(json!({"service": "svc"}), member, value);
    let of = |service: &str, member: &str, value: Value| {
        with(json!({"service": service}), member, value)
    };
    let binpack = json!([{"type": "binpack", "field": "cpu"}]);
    let mut rules = vec![
        ("UpdateService", json!({"service": "none", "desiredCount": 1}), SERVICE, "not found"),
        ("UpdateService", update("cluster", json!("none")), CLUSTER, "not found"),
        ("UpdateService", update("cluster", json!("a b")), PARAMETER, "a b"),
        ("UpdateService", update("service", json!("a b")), PARAMETER, "a b"),
        (
            "UpdateService",
            update("service", json!(arn("service/other/svc"))),
            PARAMETER,
            "Identifier is for cluster other",
        ),
        (
            "UpdateService",
            update("deploymentController", json!({"type": "EXTERNAL"})),
            PARAMETER,
            "deploymentController",
        ),
        ("UpdateService", update("placementStrategy", binpack), PARAMETER, "Rebalancing"),
        ("UpdateService", of("daemon", "desiredCount", json!(2)), PARAMETER, "daemon"),
        ("UpdateService", of("ext", "taskDefinition", json!("web")), PARAMETER, "CreateTaskSet"),
        ("UpdateService", of("ext", "forceNewDeployment", json!(true)), PARAMETER, "CreateTaskSet"),
    ];
    rules.extend(
        both().into_iter().map(|(member, value, code, names)| {
            ("UpdateService", update(member, value), code, names)
        }),
    );
    rules
}

fn services() -> Vec<Rule> {
    vec![
        ("DeleteService", json!({"service": "none"}), SERVICE, "not found"),
        ("DeleteService", json!({"service": "svc", "cluster": "none"}), CLUSTER, "not found"),
        ("DeleteService", json!({"service": "svc"}), PARAMETER, "scaled above 0"),
        ("DescribeServices", json!({"services": []}), PARAMETER, "services"),
        ("DescribeServices", json!({"services": names(11)}), PARAMETER, "11"),
        ("DescribeServices", json!({"services": ["a b"]}), PARAMETER, "a b"),
        ("DescribeServices", json!({"services": ["a"], "cluster": "none"}), CLUSTER, "not found"),
        ("ListServices", json!({"cluster": "none"}), CLUSTER, "not found"),
        ("ListServices", json!({"maxResults": 101}), PARAMETER, "maxResults"),
        ("ListServices", json!({"nextToken": "?"}), PARAMETER, "token"),
        ("ListServicesByNamespace", json!({"namespace": ""}), PARAMETER, "namespace"),
        (
            "ListServicesByNamespace",
            json!({"namespace": "prod"}),
            "NamespaceNotFoundException",
            "prod",
        ),
    ]
}

fn deployments() -> Vec<Rule> {
    let missing = "ServiceDeploymentNotFoundException";
    let id = "0".repeat(32);
    let deployment = arn(&format!("service-deployment/default/svc/{id}"));
    let elsewhere = deployment.replace("us-east-1", "eu-west-1");
    let arns = |count: usize, kind: &str, id: &str| -> Vec<String> {
        (0..count).map(|i| arn(&format!("{kind}/default/n{i}/{id}"))).collect()
    };
    let many = arns(21, "service-deployment", &id);
    let revisions = arns(21, "service-revision", "1234567890123456789");
    let list = |member: &str, value: Value| with(json!({"service": "svc"}), member, value);
    vec![
        ("ListServiceDeployments", json!({"service": "none"}), SERVICE, "not found"),
        ("ListServiceDeployments", list("cluster", json!("none")), CLUSTER, "not found"),
        ("ListServiceDeployments", list("maxResults", json!(101)), PARAMETER, "maxResults"),
        ("ListServiceDeployments", list("nextToken", json!("?")), PARAMETER, "token"),
        (
            "ListServiceDeployments",
            list("createdAt", json!({"after": -1})),
            PARAMETER,
            "createdAt.after",
        ),
        (
            "ListServiceDeployments",
            list("createdAt", json!({"before": 1e300})),
            PARAMETER,
            "createdAt.before",
        ),
        (
            "DescribeServiceDeployments",
            json!({"serviceDeploymentArns": []}),
            PARAMETER,
            "serviceDeploymentArns",
        ),
        ("DescribeServiceDeployments", json!({"serviceDeploymentArns": many}), PARAMETER, "21"),
        ("DescribeServiceDeployments", json!({"serviceDeploymentArns": ["a"]}), PARAMETER, "ARN"),
        ("StopServiceDeployment", json!({"serviceDeploymentArn": "a"}), PARAMETER, "ARN"),
        (
            "StopServiceDeployment",
            json!({"serviceDeploymentArn": deployment}),
            missing,
            "not found",
        ),
        ("StopServiceDeployment", json!({"serviceDeploymentArn": elsewhere}), missing, "not found"),
        (
            "ContinueServiceDeployment",
            json!({"serviceDeploymentArn": deployment, "hookId": "a"}),
            PARAMETER,
            "hookId",
        ),
        (
            "ContinueServiceDeployment",
            json!({"serviceDeploymentArn": deployment, "hookId": id}),
            missing,
            "not found",
        ),
        (
            "DescribeServiceRevisions",
            json!({"serviceRevisionArns": []}),
            PARAMETER,
            "serviceRevisionArns",
        ),
        ("DescribeServiceRevisions", json!({"serviceRevisionArns": revisions}), PARAMETER, "21"),
        ("DescribeServiceRevisions", json!({"serviceRevisionArns": ["a"]}), PARAMETER, "ARN"),
    ]
}

fn task_sets() -> Vec<Rule> {
    let missing = "TaskSetNotFoundException";
    let id = "ecs-svc/1234567890123456789";
    let ext = json!({"cluster": "default", "service": "ext"});
    let create = |member: &str, value: Value| {
        with(with(ext.clone(), "taskDefinition", json!("web")), member, value)
    };
    let of = |member: &str, value: Value| with(ext.clone(), member, value);
    let scaled = |value: Value| with(of("taskSet", json!(id)), "scale", value);
    let svc = json!({"cluster": "default", "service": "svc", "taskDefinition": "web"});
    let elsewhere = format!("arn:aws:ecs:eu-west-1:000000000000:task-set/default/ext/{id}");
    vec![
        ("CreateTaskSet", create("cluster", json!("none")), CLUSTER, "not found"),
        ("CreateTaskSet", create("service", json!("none")), SERVICE, "not found"),
        ("CreateTaskSet", svc, PARAMETER, "EXTERNAL"),
        ("CreateTaskSet", create("taskDefinition", json!("none")), CLIENT, "not found"),
        ("CreateTaskSet", create("scale", json!({"value": 100.1})), PARAMETER, "scale"),
        ("CreateTaskSet", create("scale", json!({"value": -0.1})), PARAMETER, "scale"),
        ("CreateTaskSet", create("scale", json!({"value": 33.33})), PARAMETER, "0.1"),
        ("CreateTaskSet", create("externalId", json!("a".repeat(256))), PARAMETER, "externalId"),
        ("CreateTaskSet", create("launchType", json!("FARGATE")), UNSUPPORTED, "FARGATE"),
        ("CreateTaskSet", create("platformVersion", json!("1.4.0")), PARAMETER, "platform version"),
        ("CreateTaskSet", create("clientToken", json!("a".repeat(37))), PARAMETER, "clientToken"),
        (
            "CreateTaskSet",
            create("tags", json!([{"key": "longshore:replace"}])),
            PARAMETER,
            "means",
        ),
        (
            "CreateTaskSet",
            create("loadBalancers", json!([{"targetGroupArn": "a"}])),
            UNSUPPORTED,
            "loadBalancers",
        ),
        (
            "CreateTaskSet",
            create("capacityProviderStrategy", json!([{"capacityProvider": "a"}])),
            PARAMETER,
            "capacityProviderStrategy",
        ),
        (
            "CreateTaskSet",
            create("networkConfiguration", json!({"awsvpcConfiguration": {"subnets": ["a"]}})),
            PARAMETER,
            "networkConfiguration",
        ),
        ("UpdateTaskSet", scaled(json!({"value": 50.0})), missing, "not found"),
        ("UpdateTaskSet", scaled(json!({"value": 101.0})), PARAMETER, "scale"),
        ("DeleteTaskSet", of("taskSet", json!(id)), missing, "not found"),
        ("DeleteTaskSet", of("taskSet", json!("a")), PARAMETER, "task set"),
        ("DeleteTaskSet", of("taskSet", json!(elsewhere)), missing, "not found"),
        ("UpdateServicePrimaryTaskSet", of("primaryTaskSet", json!(id)), missing, "not found"),
        ("DescribeTaskSets", of("taskSets", json!(names(11))), PARAMETER, "11"),
        ("DescribeTaskSets", of("taskSets", json!(["a"])), PARAMETER, "task set"),
        ("DescribeTaskSets", of("service", json!("none")), SERVICE, "not found"),
        ("DescribeTaskSets", of("service", json!("svc")), PARAMETER, "EXTERNAL"),
        ("DescribeTaskSets", of("cluster", json!("none")), CLUSTER, "not found"),
    ]
}

fn protection() -> Vec<Rule> {
    let ids = |count: usize| -> Vec<String> { (0..count).map(|i| format!("{i:032x}")).collect() };
    let update = |tasks: Value, minutes: i64| {
        json!({"cluster": "default", "tasks": tasks, "protectionEnabled": true,
            "expiresInMinutes": minutes})
    };
    let get = |cluster: &str, tasks: Value| json!({"cluster": cluster, "tasks": tasks});
    vec![
        ("GetTaskProtection", get("default", json!([])), PARAMETER, "tasks"),
        ("GetTaskProtection", get("default", json!(ids(101))), PARAMETER, "101"),
        ("GetTaskProtection", get("default", json!(["a"])), PARAMETER, "a"),
        ("GetTaskProtection", get("none", json!(ids(1))), CLUSTER, "not found"),
        ("UpdateTaskProtection", update(json!([]), 1), PARAMETER, "tasks"),
        ("UpdateTaskProtection", update(json!(ids(11)), 1), PARAMETER, "11"),
        ("UpdateTaskProtection", update(json!(ids(1)), 0), PARAMETER, "expiresInMinutes"),
        ("UpdateTaskProtection", update(json!(ids(1)), 2881), PARAMETER, "expiresInMinutes"),
    ]
}
