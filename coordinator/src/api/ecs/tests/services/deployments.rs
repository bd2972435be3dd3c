//! Deployments of services: shown, listed, stopped, paused.

use longshore_core::command::AlarmCommand;

use super::*;

#[tokio::test]
async fn services_deployment_is_found_by_the_digits_of_its_id() {
    let (world, host) = World::scheduled().await;
    world.create_service(json!({})).await;
    let pending = world.service().await;
    assert_eq!(pending["pendingCount"], 2);
    assert_eq!(pending["deployments"][0]["rolloutState"], "IN_PROGRESS");
    world.settle(&host).await;

    let service = world.service().await;
    assert_eq!((&service["runningCount"], &service["pendingCount"]), (&json!(2), &json!(0)));
    let deployments = service["deployments"].as_array().unwrap();
    assert_eq!(deployments.len(), 1);
    let primary = &deployments[0];
    assert_eq!(
        (&primary["status"], &primary["rolloutState"]),
        (&json!("PRIMARY"), &json!("COMPLETED"))
    );
    assert_eq!((&primary["desiredCount"], &primary["runningCount"]), (&json!(2), &json!(2)));
    let digits = text(&primary["id"]).strip_prefix("ecs-svc/").unwrap().to_owned();
    assert_eq!(
        primary["rolloutStateReason"],
        format!("ECS deployment ecs-svc/{digits} completed.")
    );
    assert!(messages(&service)[0].ends_with("has reached a steady state."));

    let listed = world.deployments().await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["status"], "SUCCESSFUL");
    assert_eq!(listed[0]["serviceDeploymentArn"], service["currentServiceDeployment"]);
    let target = text(&listed[0]["targetServiceRevisionArn"]);
    assert_eq!(id(&target), digits);
    assert_eq!(
        service["currentServiceRevisions"],
        json!([{"arn": target, "pendingTaskCount": 0, "requestedTaskCount": 2,
            "runningTaskCount": 2}])
    );

    let tasks = world.listed(json!({"serviceName": "svc"})).await;
    assert_eq!(tasks.len(), 2);
    let task = world.task(&tasks[0]).await;
    assert_eq!(task["group"], "service:svc");
    assert_eq!(task["startedBy"], json!(format!("ecs-svc/{digits}")));
    let described =
        world.done("DescribeClusters", json!({"include": ["STATISTICS"]})).await["clusters"][0]
            .clone();
    assert_eq!(described["activeServicesCount"], 1);
    let statistics = described["statistics"].as_array().unwrap();
    assert!(statistics.contains(&json!({"name": "activeEC2ServiceCount", "value": "1"})));
}

#[tokio::test]
async fn a_deployment_is_described_with_its_revisions() {
    let (world, host) = World::scheduled().await;
    world.create_service(json!({})).await;
    world.settle(&host).await;
    world.define("web", json!({})).await;
    world.done("UpdateService", json!({"service": "svc", "taskDefinition": "web:2"})).await;
    let service = world.service().await;
    let statuses = texts(&service["deployments"], "status");
    assert_eq!(statuses, ["PRIMARY", "ACTIVE"]);
    let arns = json!([service["currentServiceDeployment"]]);
    let describe = json!({"serviceDeploymentArns": arns});
    let described = world.done("DescribeServiceDeployments", describe.clone()).await;
    assert_eq!(described["failures"], json!([]));
    let deployment = &described["serviceDeployments"][0];
    assert_eq!(deployment["status"], "IN_PROGRESS");
    assert_eq!(deployment["targetServiceRevision"]["pendingTaskCount"], 2);
    assert_eq!(deployment["sourceServiceRevisions"][0]["runningTaskCount"], 2);
    assert_eq!(
        deployment["deploymentCircuitBreaker"],
        json!({"status": "DISABLED", "failureCount": 0, "threshold": 3})
    );
    let target = deployment["targetServiceRevision"]["arn"].clone();
    let source = deployment["sourceServiceRevisions"][0]["arn"].clone();
    let revisions = json!({"serviceRevisionArns": [target, source]});
    let shown = world.done("DescribeServiceRevisions", revisions.clone()).await;
    let definitions = texts(&shown["serviceRevisions"], "taskDefinition");
    assert_eq!([id(&definitions[0]), id(&definitions[1])], ["web:2", "web:1"]);
    let images =
        |shown: &Value, of: usize| shown["serviceRevisions"][of]["containerImages"].clone();
    let known = json!([{"containerName": "app", "image": "nginx", "imageDigest": "sha256:ab"}]);
    // No task of the new one has said yet what the image is.
    assert_eq!(images(&shown, 0), json!([{"containerName": "app", "image": "nginx"}]));
    assert_eq!(images(&shown, 1), known);

    world.settle(&host).await;
    let shown = world.done("DescribeServiceRevisions", revisions).await;
    assert_eq!(images(&shown, 0), known);
    let described = world.done("DescribeServiceDeployments", describe).await;
    let deployment = &described["serviceDeployments"][0];
    assert_eq!(deployment["status"], "SUCCESSFUL");
    assert_eq!(deployment["targetServiceRevision"]["runningTaskCount"], 2);
    assert_eq!(deployment["sourceServiceRevisions"][0]["runningTaskCount"], 0);
    assert_eq!(world.service().await["deployments"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn deployments_and_revisions_that_are_not_there_are_failures() {
    let (world, _) = World::scheduled().await;
    let created = world.create_service(json!({})).await;
    let deployment = text(&created["currentServiceDeployment"]);
    let revision = text(&created["currentServiceRevisions"][0]["arn"]);
    for (operation, member, found, list) in [
        ("DescribeServiceDeployments", "serviceDeploymentArns", &deployment, "serviceDeployments"),
        ("DescribeServiceRevisions", "serviceRevisionArns", &revision, "serviceRevisions"),
    ] {
        let others = [
            found.replace("/svc/", "/other/"),
            found.replace("us-east-1", "eu-west-1"),
            format!("{}{}", &found[..found.len() - 2], "00"),
        ];
        let asked = json!({member: [found, others[0], others[1], others[2]]});
        let described = world.done(operation, asked).await;
        assert_eq!(described[list].as_array().unwrap().len(), 1, "{operation}");
        let reasons = texts(&described["failures"], "reason");
        assert_eq!(reasons, ["MISSING"; 3], "{operation}");
    }
}

#[tokio::test]
async fn deployments_are_listed_by_status_and_time_in_pages() {
    let (world, host) = World::scheduled().await;
    world.create_service(json!({"desiredCount": 1})).await;
    world.settle(&host).await;
    let force = json!({"service": "svc", "forceNewDeployment": true});
    for _ in 0..3 {
        world.done("UpdateService", force.clone()).await;
    }
    let list = |more: Value| {
        let mut input = json!({"service": "svc", "maxResults": 1});
        for (key, value) in more.as_object().unwrap() {
            input[key] = value.clone();
        }
        world.pages("ListServiceDeployments", input, "serviceDeployments")
    };
    let statuses: Vec<String> =
        list(json!({})).await.iter().map(|brief| text(&brief["status"])).collect();
    assert_eq!(statuses, ["IN_PROGRESS", "STOPPED", "STOPPED", "SUCCESSFUL"]);
    assert_eq!(list(json!({"status": ["STOPPED"]})).await.len(), 2);
    assert_eq!(list(json!({"status": ["SUCCESSFUL", "IN_PROGRESS"]})).await.len(), 2);
    assert_eq!(list(json!({"status": ["ROLLBACK_FAILED"]})).await.len(), 0);
    let now = crate::edge::test_backend::NOW.as_epoch_seconds();
    assert_eq!(list(json!({"createdAt": {"after": now - 0.001}})).await.len(), 4);
    assert_eq!(list(json!({"createdAt": {"after": now}})).await.len(), 0);
    assert_eq!(list(json!({"createdAt": {"before": now}})).await.len(), 0);
    assert_eq!(list(json!({"createdAt": {"before": now + 0.5, "after": 0}})).await.len(), 4);
}

#[tokio::test]
async fn a_deployment_under_way_is_stopped_and_one_that_is_over_is_not() {
    let (world, host) = World::scheduled().await;
    world.create_service(json!({})).await;
    world.settle(&host).await;
    let first = text(&world.service().await["currentServiceDeployment"]);
    let stop = |arn: &str| json!({"serviceDeploymentArn": arn});
    let refused = world.refused("StopServiceDeployment", stop(&first)).await;
    assert!(refused.starts_with("ConflictException: "), "{refused}");

    world.define("web", json!({})).await;
    world.done("UpdateService", json!({"service": "svc", "taskDefinition": "web:2"})).await;
    let second = text(&world.service().await["currentServiceDeployment"]);
    let refused = world.refused("StopServiceDeployment", stop(&first)).await;
    assert!(refused.starts_with("ConflictException: "), "{refused}");
    let stopped = world.done("StopServiceDeployment", stop(&second)).await;
    assert_eq!(stopped, json!({"serviceDeploymentArn": second}));
    world.settle(&host).await;
    let service = world.service().await;
    assert_eq!(id(&text(&service["taskDefinition"])), "web:1");
    assert_eq!(service["runningCount"], 2);
    let described = world
        .done("DescribeServiceDeployments", json!({"serviceDeploymentArns": [second]}))
        .await["serviceDeployments"][0]
        .clone();
    assert_eq!(described["status"], "ROLLBACK_SUCCESSFUL");
    let back = text(&described["rollback"]["serviceRevisionArn"]);
    assert!(text(&service["deployments"][0]["id"]).ends_with(id(&back)));
}

#[tokio::test]
async fn an_aborted_deployment_leaves_what_runs() {
    let (world, host) = World::scheduled().await;
    world.create_service(json!({})).await;
    world.settle(&host).await;
    world.define("web", json!({})).await;
    world.done("UpdateService", json!({"service": "svc", "taskDefinition": "web:2"})).await;
    let arn = text(&world.service().await["currentServiceDeployment"]);
    world
        .done("StopServiceDeployment", json!({"serviceDeploymentArn": arn, "stopType": "ABORT"}))
        .await;
    assert_eq!(world.deployments().await[0]["status"], "STOPPED");
    assert_eq!(id(&text(&world.service().await["taskDefinition"])), "web:2");
}

#[tokio::test]
async fn an_alarm_that_a_service_names_fails_its_deployment() {
    let (world, host) = World::scheduled().await;
    let name: AlarmName = "errors".parse().unwrap();
    let query = "errors > 1".to_owned();
    let watched = Watched::PromQl { query, pending_s: None, recovery_s: None, interval_s: 60 };
    let definition = AlarmDefinition { description: None, actions_enabled: false, watched };
    let tags = Default::default();
    let put = PutMetricAlarm { name: name.clone(), definition, tags };
    world
        .driver
        .submit(Command::Alarm(AlarmCommand::PutMetricAlarm(Box::new(put))), |_, _| ())
        .await
        .unwrap();
    let alarms = json!({"alarmNames": ["errors"], "enable": true, "rollback": true});
    let configuration = json!({"alarms": alarms, "bakeTimeInMinutes": 0});
    let created = world.create_service(json!({"deploymentConfiguration": configuration})).await;
    assert_eq!(created["deploymentConfiguration"]["alarms"], alarms);
    world.settle(&host).await;
    world.define("web", json!({})).await;
    world.done("UpdateService", json!({"service": "svc", "taskDefinition": "web:2"})).await;
    let arn = world.service().await["currentServiceDeployment"].clone();
    let describe = async || {
        let input = json!({"serviceDeploymentArns": [arn]});
        world.done("DescribeServiceDeployments", input).await["serviceDeployments"][0].clone()
    };
    assert_eq!(
        describe().await["alarms"],
        json!({"alarmNames": ["errors"], "status": "MONITORING", "triggeredAlarmNames": []})
    );
    let (value, reason) = (AlarmValue::Alarm, "too many".to_owned());
    let fires = SetAlarmState { name, value, reason, reason_data: None };
    world
        .driver
        .submit(Command::Alarm(AlarmCommand::SetAlarmState(fires)), |_, _| ())
        .await
        .unwrap();
    world.settle(&host).await;
    let deployment = describe().await;
    assert_eq!(deployment["status"], "ROLLBACK_SUCCESSFUL");
    assert_eq!(deployment["alarms"]["status"], "TRIGGERED");
    assert_eq!(deployment["alarms"]["triggeredAlarmNames"], json!(["errors"]));
    assert_eq!(id(&text(&world.service().await["taskDefinition"])), "web:1");
}

#[tokio::test]
async fn a_paused_deployment_goes_on_when_it_is_told_to() {
    let (world, host) = World::scheduled().await;
    let hook = json!({"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"]});
    world
        .create_service(json!({"deploymentConfiguration": {"strategy": "BLUE_GREEN",
            "bakeTimeInMinutes": 0, "lifecycleHooks": [hook]}}))
        .await;
    world.settle(&host).await;
    let arn = text(&world.service().await["currentServiceDeployment"]);
    let describe = json!({"serviceDeploymentArns": [arn]});
    let described = world.done("DescribeServiceDeployments", describe.clone()).await;
    let deployment = &described["serviceDeployments"][0];
    assert_eq!(deployment["lifecycleStage"], "POST_SCALE_UP");
    let detail = &deployment["lifecycleHookDetails"][0];
    assert_eq!(
        (&detail["status"], &detail["targetType"], &detail["timeoutAction"]),
        (&json!("AWAITING_ACTION"), &json!("PAUSE"), &json!("ROLLBACK"))
    );
    let go_on = json!({"serviceDeploymentArn": arn, "hookId": detail["hookId"]});
    let answer = world.done("ContinueServiceDeployment", go_on.clone()).await;
    assert_eq!(answer, json!({"serviceDeploymentArn": arn}));
    world.settle(&host).await;
    let described = world.done("DescribeServiceDeployments", describe).await;
    assert_eq!(described["serviceDeployments"][0]["status"], "SUCCESSFUL");
    let refused = world.refused("ContinueServiceDeployment", go_on).await;
    assert!(refused.starts_with("InvalidParameterException: "), "{refused}");
}
