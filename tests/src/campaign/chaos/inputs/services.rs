//! Services of every kind, their deployments, revisions and task sets.

use serde_json::{Value, json};

use super::{
    definitions,
    generator::{Draw, Generator, ecs, given},
    logs, scaling, tasks,
};

pub(super) fn generators() -> Vec<Generator> {
    vec![
        ecs("CreateService", 9, create),
        ecs("UpdateService", 12, update),
        ecs("DeleteService", 6, |draw| {
            let (cluster, service) = draw.service();
            json!({"cluster": cluster, "service": service, "force": draw.one_in(2)})
        }),
        ecs("DescribeServices", 8, |draw| {
            let (cluster, service) = draw.service();
            json!({"cluster": cluster, "services": [service], "include": ["TAGS"]})
        }),
        ecs("ListServices", 2, |draw| {
            let input = json!({"cluster": draw.cluster()});
            draw.paged("ListServices", input)
        }),
        ecs("ListServicesByNamespace", 1, |draw| {
            draw.paged("ListServicesByNamespace", json!({"namespace": "web"}))
        }),
        ecs("ListServiceDeployments", 2, |draw| {
            let (cluster, service) = draw.service();
            let input = json!({"cluster": cluster, "service": service});
            draw.paged("ListServiceDeployments", input)
        }),
        ecs(
            "DescribeServiceDeployments",
            4,
            |draw| json!({"serviceDeploymentArns": draw.arns("service-deployment", 3)}),
        ),
        ecs("StopServiceDeployment", 3, |draw| {
            let kind = draw.pick(&["ABORT", "ROLLBACK"]);
            json!({"serviceDeploymentArn": draw.arn("service-deployment"), "stopType": kind})
        }),
        ecs("ContinueServiceDeployment", 4, go_on),
        ecs(
            "DescribeServiceRevisions",
            2,
            |draw| json!({"serviceRevisionArns": draw.arns("service-revision", 3)}),
        ),
        ecs("CreateTaskSet", 4, |draw| {
            let (cluster, service) = external(draw);
            let token = draw.one_in(4).then(|| format!("set-{}", draw.below(9)));
            given(json!({
                "cluster": cluster, "service": service, "clientToken": token,
                "taskDefinition": definitions::definition(draw), "scale": scale(draw),
                "externalId": draw.one_in(3).then_some("blue"), "tags": draw.tags()}))
        }),
        ecs("UpdateTaskSet", 3, |draw| {
            let (mut input, _) = task_set(draw);
            input["scale"] = scale(draw);
            input
        }),
        ecs("DeleteTaskSet", 3, |draw| {
            let (mut input, _) = task_set(draw);
            input["force"] = json!(draw.one_in(2));
            input
        }),
        ecs("DescribeTaskSets", 2, |draw| {
            let (cluster, service) = external(draw);
            json!({"cluster": cluster, "service": service, "include": ["TAGS"]})
        }),
        ecs("UpdateServicePrimaryTaskSet", 2, |draw| {
            let (mut input, set) = task_set(draw);
            if let Some(input) = input.as_object_mut() {
                input.remove("taskSet");
            }
            input["primaryTaskSet"] = json!(set);
            input
        }),
    ]
}

const NAMES: [&str; 6] = ["site", "api", "jobs", "guard", "stage", "sets"];

fn create(draw: &mut Draw<'_>) -> Value {
    let kind = draw.pick(&NAMES);
    let name = format!("{kind}{}", ["", "-2", "-3"][draw.below(3)]);
    let (cluster, definition) = (draw.cluster(), definitions::definition(draw));
    let token = draw.one_in(6).then(|| format!("svc-{}", draw.below(12)));
    let mut input = json!({
        "cluster": cluster, "serviceName": name, "taskDefinition": definition,
        "clientToken": token, "tags": draw.tags(), "propagateTags": draw.one_in(4).then_some("SERVICE"),
        "placementConstraints": tasks::constraints(draw)});
    match kind {
        "guard" => input["schedulingStrategy"] = json!("DAEMON"),
        "sets" => {
            input["deploymentController"] = json!({"type": "EXTERNAL"});
            input["desiredCount"] = json!(draw.below(4));
            input["taskDefinition"] = Value::Null;
        }
        _ => {
            input["desiredCount"] = json!(draw.below(5));
            input["deploymentConfiguration"] = deployment(draw, kind == "stage");
            input["placementStrategy"] = json!(tasks::strategies(draw));
            if draw.one_in(4) {
                input["capacityProviderStrategy"] = scaling::strategy(draw);
            }
            if draw.one_in(6) {
                input["healthCheckGracePeriodSeconds"] = json!(30);
            }
        }
    }
    let mut settings = tasks::attachments(draw);
    if draw.one_in(4) {
        let value = draw.pick(&["0", "5"]);
        settings.push(json!({"key": "longshore:healthy-after", "value": value}));
    }
    if !settings.is_empty() {
        input["tags"] = json!(settings);
    }
    given(input)
}

fn deployment(draw: &mut Draw<'_>, blue_green: bool) -> Value {
    let breaker = draw.one_in(2).then(|| {
        json!({"enable": true, "rollback": draw.one_in(2),
            "thresholdConfiguration": {"type": "COUNT", "value": 2}})
    });
    let alarms = draw.one_in(4).then(|| {
        json!({"alarmNames": [logs::alarm_name(draw)], "enable": true, "rollback": draw.one_in(2)})
    });
    let (minimum, maximum) = [(100, 200), (50, 100), (0, 200), (100, 150), (0, 100)][draw.below(5)];
    let mut config = json!({
        "minimumHealthyPercent": minimum, "maximumPercent": maximum,
        "deploymentCircuitBreaker": breaker, "alarms": alarms});
    if blue_green || draw.one_in(8) {
        config["strategy"] = json!("BLUE_GREEN");
        config["bakeTimeInMinutes"] = json!(draw.below(2));
        config["lifecycleHooks"] = hooks(draw);
    }
    given(config)
}

fn hooks(draw: &mut Draw<'_>) -> Value {
    let mut stages = vec!["RECONCILE_SERVICE", "PRE_SCALE_UP", "POST_SCALE_UP"];
    if draw.one_in(20) {
        stages.push("PRE_PRODUCTION_TRAFFIC_SHIFT");
    }
    let count = draw.below(3);
    let hook = |draw: &mut Draw<'_>| {
        let stage = draw.pick(&stages);
        let action = draw.pick(&["ROLLBACK", "CONTINUE"]);
        let minutes = [1, 5, 1500][draw.below(3)];
        let timeout = json!({"timeoutInMinutes": minutes, "action": action});
        match draw.one_in(2) {
            true => json!({"targetType": "PAUSE", "lifecycleStages": [stage],
                "timeoutConfiguration": timeout}),
            false => {
                json!({"targetType": "AWS_LAMBDA", "hookTargetArn": "https://hooks.test/smoke",
                "lifecycleStages": [stage], "timeoutConfiguration": timeout})
            }
        }
    };
    (0..count).map(|_| hook(draw)).collect()
}

fn update(draw: &mut Draw<'_>) -> Value {
    let (cluster, service) = draw.service();
    let is = |name: &str| service.contains(name);
    let mut input = json!({"cluster": cluster, "service": service});
    if is("sets") {
        input["desiredCount"] = json!(draw.below(4));
        return input;
    }
    if !is("guard") && draw.one_in(2) {
        input["desiredCount"] = json!(draw.below(5));
    }
    if draw.one_in(2) {
        input["taskDefinition"] = json!(definitions::definition(draw));
    }
    input["forceNewDeployment"] = json!(draw.one_in(4));
    if draw.one_in(5) && !is("guard") {
        input["deploymentConfiguration"] = deployment(draw, is("stage"));
    }
    if draw.one_in(8) && !is("guard") {
        input["capacityProviderStrategy"] = scaling::strategy(draw);
        input["forceNewDeployment"] = json!(true);
    }
    if draw.one_in(10) {
        input["placementConstraints"] = json!(tasks::constraints(draw).unwrap_or(json!([])));
    }
    given(input)
}

fn go_on(draw: &mut Draw<'_>) -> Value {
    let hook = draw.chance.pick(&draw.known.hooks).cloned();
    let (deployment, hook) =
        hook.unwrap_or_else(|| (draw.arn("service-deployment"), "no-hook".to_owned()));
    let action = draw.pick(&["CONTINUE", "CONTINUE", "ROLLBACK"]);
    json!({"serviceDeploymentArn": deployment, "hookId": hook, "action": action})
}

/// A service whose task sets are its owner's, most often.
fn external(draw: &mut Draw<'_>) -> (String, String) {
    match draw.one_in(8) {
        true => draw.service(),
        false => {
            let known = (0..8).map(|_| draw.service()).find(|(_, name)| name.contains("sets"));
            known.unwrap_or_else(|| (draw.cluster(), "sets".to_owned()))
        }
    }
}

fn scale(draw: &mut Draw<'_>) -> Value {
    let value = [0.0, 25.0, 50.0, 100.0][draw.below(4)];
    json!({"unit": "PERCENT", "value": value})
}

/// A task set with where it is: `task-set/CLUSTER/SERVICE/SET`.
fn task_set(draw: &mut Draw<'_>) -> (Value, String) {
    let arn = draw.arn("task-set");
    let parts: Vec<&str> = arn.split('/').collect();
    let (cluster, service) = match parts[..] {
        [_, cluster, service, ..] => (cluster.to_owned(), service.to_owned()),
        _ => external(draw),
    };
    (json!({"cluster": cluster, "service": service, "taskSet": arn}), arn)
}
