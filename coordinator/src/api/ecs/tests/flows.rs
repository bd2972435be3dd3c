//! What users do, through the signed edge: one sentence a test.

use expect_test::{Expect, expect};
use longshore_common::{
    clock::Timestamp,
    protocol::{
        ContainerReport, ContainerStatus, EngineHealth, NetworkBinding, Report, ReportBody,
        ReportPosition, ReportedPhase, StorageHealth, TaskReport,
    },
    resources::Transport,
    task::{StopCause, StopCode},
};
use longshore_core::{
    Command,
    command::{AgentAnswered, HostCommand},
};
use serde_json::{Value, json};

use super::World;

/// Operates the world as an agent and a few users would.
impl World {
    /// A container instance whose agent is heard; its ARN.
    pub(super) async fn host(&self, cpu: u32, memory: u32, zone: &str) -> String {
        let resources = json!([
            {"name": "CPU", "type": "INTEGER", "integerValue": cpu},
            {"name": "MEMORY", "type": "INTEGER", "integerValue": memory}]);
        let attributes = json!([
            {"name": "ecs.availability-zone", "value": zone},
            {"name": "ecs.cpu-architecture", "value": "x86_64"}]);
        let input = json!({"totalResources": resources, "attributes": attributes});
        let registered = self.done("RegisterContainerInstance", input).await;
        let arn = text(&registered["containerInstance"]["containerInstanceArn"]);
        self.hear(&arn, Vec::new()).await;
        arn
    }

    pub(super) async fn define(&self, family: &str, more: Value) -> String {
        let mut container = json!({"name": "app", "image": "nginx", "memory": 64, "cpu": 10});
        for (key, value) in more.as_object().unwrap() {
            container[key] = value.clone();
        }
        let input = json!({"family": family, "containerDefinitions": [container]});
        let registered = self.done("RegisterTaskDefinition", input).await;
        text(&registered["taskDefinition"]["taskDefinitionArn"])
    }

    /// The ARNs of the tasks that a RunTask started.
    pub(super) async fn run(&self, input: Value) -> Vec<String> {
        let started = self.done("RunTask", input).await;
        assert_eq!(started["failures"], json!([]));
        texts(&started["tasks"], "taskArn")
    }

    /// The agent of a host answers a poll.
    pub(super) async fn hear(&self, host: &str, reports: Vec<TaskReport>) {
        let report = |(index, report)| Report {
            seq: index as u64 + 1,
            body: ReportBody::Task(Box::new(report)),
        };
        let reports: Vec<Report> = reports.into_iter().enumerate().map(report).collect();
        let answered = AgentAnswered {
            host: id(host).parse().unwrap(),
            ended_candidates: Vec::new(),
            images: None,
            seen: None,
            position: ReportPosition { session: self.seq() + 1, seq: reports.len() as u64 },
            reports,
            engine: EngineHealth::Unknown,
            storage: StorageHealth::Unknown,
            leaving: false,
            looked: true,
        };
        let command = Command::Host(HostCommand::AgentAnswered(Box::new(answered)));
        self.driver.submit(command, |_, _| ()).await.unwrap();
    }

    pub(super) async fn task(&self, arn: &str) -> Value {
        let described = self.done("DescribeTasks", json!({"tasks": [arn]})).await;
        described["tasks"][0].clone()
    }

    pub(super) async fn listed(&self, input: Value) -> Vec<String> {
        let mut listed = self.done("ListTasks", input).await;
        assert_eq!(listed.get("nextToken"), None);
        serde_json::from_value(listed["taskArns"].take()).unwrap()
    }

    /// Every page of a list, glued together.
    pub(super) async fn pages(
        &self,
        operation: &str,
        mut input: Value,
        member: &str,
    ) -> Vec<Value> {
        let mut all = Vec::new();
        for _ in 0..50 {
            let page = self.done(operation, input.clone()).await;
            all.extend(page[member].as_array().unwrap().clone());
            match page.get("nextToken") {
                Some(token) => input["nextToken"] = token.clone(),
                None => return all,
            }
        }
        panic!("the list has no end");
    }

    pub(super) async fn refused(&self, operation: &str, input: Value) -> String {
        let refusal = self.call(operation, input).await.unwrap_err();
        format!("{}: {}", refusal.code, refusal.message)
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

pub(super) fn texts(list: &Value, member: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| text(&item[member])).collect()
}

/// The last part of an ARN.
pub(super) fn id(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap()
}

pub(super) fn report(task: &str, phase: ReportedPhase) -> TaskReport {
    let stopped = matches!(phase, ReportedPhase::Stopped(_));
    TaskReport {
        task: id(task).parse().unwrap(),
        generation: 1,
        phase,
        containers: vec![ContainerReport {
            name: "app".to_owned(),
            status: if stopped { ContainerStatus::Stopped } else { ContainerStatus::Running },
            runtime_id: Some("d0c4e4".to_owned()),
            image_digest: Some("sha256:ab".to_owned()),
            exit_code: stopped.then_some(3),
            last_lines: stopped.then(|| "no such table: users".to_owned()).into_iter().collect(),
            network_bindings: vec![NetworkBinding {
                bind_ip: "0.0.0.0".to_owned(),
                container_port: 80,
                host_port: 32768,
                protocol: Transport::Tcp,
            }],
            ..ContainerReport::default()
        }],
        pull_started_at: Some(Timestamp(1_767_323_046_000)),
        pull_stopped_at: Some(Timestamp(1_767_323_047_500)),
        stopping_at: stopped.then_some(Timestamp(1_767_323_050_000)),
        execution_stopped_at: stopped.then_some(Timestamp(1_767_323_051_000)),
        pulls: Vec::new(),
    }
}

pub(super) fn exited() -> StopCause {
    StopCause {
        code: StopCode::EssentialContainerExited,
        reason: "Essential container in task exited".to_owned(),
    }
}

pub(super) fn check(shown: &Value, expected: Expect) {
    expected.assert_eq(&serde_json::to_string_pretty(shown).unwrap());
}

#[tokio::test]
async fn a_cluster_is_created_once_and_again_after_its_deletion() {
    let world = World::new();
    let created = world.done("CreateCluster", json!({"clusterName": "web"})).await;
    let again =
        world.done("CreateCluster", json!({"clusterName": "web", "tags": [{"key": "a"}]})).await;
    assert_eq!(created, again);
    let deleted = world.done("DeleteCluster", json!({"cluster": "web"})).await;
    assert_eq!(deleted["cluster"]["status"], "INACTIVE");
    let described = world.done("DescribeClusters", json!({"clusters": ["web"]})).await;
    assert_eq!(described["clusters"][0]["status"], "INACTIVE");
    assert_eq!(world.done("ListClusters", json!({})).await["clusterArns"], json!([]));
    let created = world.done("CreateCluster", json!({"clusterName": "web"})).await;
    assert_eq!(created["cluster"]["status"], "ACTIVE");
}

#[tokio::test]
async fn lists_have_pages_that_neither_skip_nor_repeat() {
    let world = World::new();
    for index in 0..7 {
        world.done("CreateCluster", json!({"clusterName": format!("c{index}")})).await;
    }
    let all = world.pages("ListClusters", json!({"maxResults": 3}), "clusterArns").await;
    let expected: Vec<Value> = (0..7)
        .map(|index| json!(format!("arn:aws:ecs:us-east-1:000000000000:cluster/c{index}")))
        .collect();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn revisions_count_up_and_are_never_used_twice() {
    let world = World::new();
    for revision in 1..=3 {
        let arn = world.define("web", json!({})).await;
        assert!(arn.ends_with(&format!("task-definition/web:{revision}")), "{arn}");
    }
    let deregister = json!({"taskDefinition": "web:3"});
    let deregistered = world.done("DeregisterTaskDefinition", deregister).await;
    assert_eq!(deregistered["taskDefinition"]["status"], "INACTIVE");
    let latest = world.done("DescribeTaskDefinition", json!({"taskDefinition": "web"})).await;
    assert_eq!(latest["taskDefinition"]["revision"], 2);
    let deleted =
        world.done("DeleteTaskDefinitions", json!({"taskDefinitions": ["web:3", "web:1"]})).await;
    assert_eq!(deleted["taskDefinitions"][0]["status"], "DELETE_IN_PROGRESS");
    assert_eq!(texts(&deleted["failures"], "arn").len(), 1);
    assert!(world.define("web", json!({})).await.ends_with("web:4"));
}

#[tokio::test]
async fn task_definitions_are_listed_by_family_and_number() {
    let world = World::new();
    for family in ["b", "a", "b-c"] {
        for _ in 0..11 {
            world.define(family, json!({})).await;
        }
    }
    for revision in 1..=11 {
        let input = json!({"taskDefinition": format!("b-c:{revision}")});
        world.done("DeregisterTaskDefinition", input).await;
    }
    let names = |arns: Vec<Value>| -> Vec<String> {
        arns.iter().map(|arn| id(arn.as_str().unwrap()).to_owned()).collect()
    };
    let expected: Vec<String> = ["a", "b"]
        .iter()
        .flat_map(|family| (1..=11).map(move |revision| format!("{family}:{revision}")))
        .collect();
    let list = |input: Value| world.pages("ListTaskDefinitions", input, "taskDefinitionArns");
    assert_eq!(names(list(json!({"maxResults": 4})).await), expected);
    let mut reversed = expected.clone();
    reversed.reverse();
    assert_eq!(names(list(json!({"maxResults": 4, "sort": "DESC"})).await), reversed);
    let of_family = names(list(json!({"familyPrefix": "b", "maxResults": 4})).await);
    assert_eq!(of_family, expected[11..]);
    let inactive = names(list(json!({"status": "INACTIVE", "sort": "DESC"})).await);
    assert_eq!((inactive.len(), inactive[0].as_str()), (11, "b-c:11"));

    let families = |input: Value| world.pages("ListTaskDefinitionFamilies", input, "families");
    assert_eq!(families(json!({"maxResults": 1})).await, ["a", "b", "b-c"]);
    assert_eq!(families(json!({"status": "ACTIVE"})).await, ["a", "b"]);
    assert_eq!(families(json!({"status": "INACTIVE"})).await, ["b-c"]);
    assert_eq!(families(json!({"familyPrefix": "b"})).await, ["b", "b-c"]);
}

#[tokio::test]
async fn a_task_is_shown_in_ecs_shape_from_its_start_to_its_end() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    let host = world.host(1024, 512, "zone-a").await;
    world.define("web", json!({"portMappings": [{"containerPort": 80}]})).await;
    let input = json!({"taskDefinition": "web", "startedBy": "me", "tags": [{"key": "a"}],
        "overrides": {"containerOverrides": [{"name": "app", "cpu": 20,
            "environment": [{"name": "A", "value": "1"}]}]}});
    let started = world.done("RunTask", input).await;
    let task = text(&started["tasks"][0]["taskArn"]);
    check(
        &started,
        expect![[r#"
        {
          "failures": [],
          "tasks": [
            {
              "attachments": [],
              "attributes": [
                {
                  "name": "ecs.cpu-architecture",
                  "value": "x86_64"
                }
              ],
              "availabilityZone": "zone-a",
              "clusterArn": "arn:aws:ecs:us-east-1:000000000000:cluster/default",
              "connectivity": "CONNECTED",
              "connectivityAt": 1767323045.0,
              "containerInstanceArn": "arn:aws:ecs:us-east-1:000000000000:container-instance/default/dbd238973a2b148a0000000000000000",
              "containers": [
                {
                  "containerArn": "arn:aws:ecs:us-east-1:000000000000:container/default/b6bf613dbebb45dc0000000000000000/36f0cc54-1d7b-ac56-e220-a8397b1dcdaf",
                  "cpu": "20",
                  "healthStatus": "UNKNOWN",
                  "image": "nginx",
                  "lastStatus": "PENDING",
                  "memory": "64",
                  "name": "app",
                  "networkBindings": [],
                  "networkInterfaces": [],
                  "taskArn": "arn:aws:ecs:us-east-1:000000000000:task/default/b6bf613dbebb45dc0000000000000000"
                }
              ],
              "cpu": "20",
              "createdAt": 1767323045.0,
              "desiredStatus": "RUNNING",
              "enableExecuteCommand": false,
              "group": "family:web",
              "healthStatus": "UNKNOWN",
              "inferenceAccelerators": [],
              "lastStatus": "PENDING",
              "launchType": "EC2",
              "memory": "64",
              "overrides": {
                "containerOverrides": [
                  {
                    "cpu": 20,
                    "environment": [
                      {
                        "name": "A",
                        "value": "1"
                      }
                    ],
                    "name": "app"
                  }
                ],
                "inferenceAcceleratorOverrides": []
              },
              "startedBy": "me",
              "tags": [
                {
                  "key": "a",
                  "value": ""
                }
              ],
              "taskArn": "arn:aws:ecs:us-east-1:000000000000:task/default/b6bf613dbebb45dc0000000000000000",
              "taskDefinitionArn": "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1",
              "version": 1
            }
          ]
        }"#]],
    );
    world.hear(&host, vec![report(&task, ReportedPhase::Running)]).await;
    assert_eq!(world.task(&task).await["lastStatus"], "RUNNING");
    world.hear(&host, vec![report(&task, ReportedPhase::Stopped(exited()))]).await;
    check(
        &world.task(&task).await,
        expect![[r#"
            {
              "attachments": [
                {
                  "details": [
                    {
                      "name": "app.lastLines",
                      "value": "no such table: users"
                    }
                  ],
                  "id": "LongshoreDiagnosis-b6bf613dbebb45dc0000000000000000",
                  "status": "ATTACHED",
                  "type": "LongshoreDiagnosis"
                }
              ],
              "attributes": [
                {
                  "name": "ecs.cpu-architecture",
                  "value": "x86_64"
                }
              ],
              "availabilityZone": "zone-a",
              "clusterArn": "arn:aws:ecs:us-east-1:000000000000:cluster/default",
              "connectivity": "CONNECTED",
              "connectivityAt": 1767323045.0,
              "containerInstanceArn": "arn:aws:ecs:us-east-1:000000000000:container-instance/default/dbd238973a2b148a0000000000000000",
              "containers": [
                {
                  "containerArn": "arn:aws:ecs:us-east-1:000000000000:container/default/b6bf613dbebb45dc0000000000000000/36f0cc54-1d7b-ac56-e220-a8397b1dcdaf",
                  "cpu": "20",
                  "exitCode": 3,
                  "healthStatus": "UNKNOWN",
                  "image": "nginx",
                  "imageDigest": "sha256:ab",
                  "lastStatus": "STOPPED",
                  "memory": "64",
                  "name": "app",
                  "networkBindings": [
                    {
                      "bindIP": "0.0.0.0",
                      "containerPort": 80,
                      "hostPort": 32768,
                      "protocol": "tcp"
                    }
                  ],
                  "networkInterfaces": [],
                  "runtimeId": "d0c4e4",
                  "taskArn": "arn:aws:ecs:us-east-1:000000000000:task/default/b6bf613dbebb45dc0000000000000000"
                }
              ],
              "cpu": "20",
              "createdAt": 1767323045.0,
              "desiredStatus": "STOPPED",
              "enableExecuteCommand": false,
              "executionStoppedAt": 1767323051.0,
              "group": "family:web",
              "healthStatus": "UNKNOWN",
              "inferenceAccelerators": [],
              "lastStatus": "STOPPED",
              "launchType": "EC2",
              "memory": "64",
              "overrides": {
                "containerOverrides": [
                  {
                    "cpu": 20,
                    "environment": [
                      {
                        "name": "A",
                        "value": "1"
                      }
                    ],
                    "name": "app"
                  }
                ],
                "inferenceAcceleratorOverrides": []
              },
              "pullStartedAt": 1767323046.0,
              "pullStoppedAt": 1767323047.5,
              "startedAt": 1767323045.0,
              "startedBy": "me",
              "stopCode": "EssentialContainerExited",
              "stoppedAt": 1767323045.0,
              "stoppedReason": "Essential container in task exited",
              "stoppingAt": 1767323050.0,
              "tags": [],
              "taskArn": "arn:aws:ecs:us-east-1:000000000000:task/default/b6bf613dbebb45dc0000000000000000",
              "taskDefinitionArn": "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1",
              "version": 3
            }"#]],
    );
}

#[tokio::test]
async fn registered_minus_remaining_is_what_runs_until_a_host_is_full() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    let host = world.host(1024, 150, "zone-a").await;
    world.define("web", json!({"portMappings": [{"containerPort": 80, "hostPort": 8080}]})).await;
    let started = world.done("RunTask", json!({"taskDefinition": "web", "count": 2})).await;
    assert_eq!(started["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(started["failures"][0]["reason"], "RESOURCE:PORTS");
    let described =
        world.done("DescribeContainerInstances", json!({"containerInstances": [host]})).await;
    let instance = &described["containerInstances"][0];
    let amounts = |resources: &Value| -> Vec<Value> {
        resources.as_array().unwrap()[..2].iter().map(|r| r["integerValue"].clone()).collect()
    };
    assert_eq!(amounts(&instance["registeredResources"]), [json!(1024), json!(150)]);
    assert_eq!(amounts(&instance["remainingResources"]), [json!(1014), json!(86)]);
    let ports = instance["remainingResources"][2]["stringSetValue"].as_array().unwrap();
    assert!(ports.contains(&json!("8080")));
    assert_eq!(instance["pendingTasksCount"], 1);

    world.define("large", json!({"memory": 100})).await;
    let refused = world.done("RunTask", json!({"taskDefinition": "large"})).await;
    let failure = &refused["failures"][0];
    assert_eq!((&failure["reason"], &failure["arn"]), (&json!("RESOURCE:MEMORY"), &json!(host)));
    let detail = text(&failure["detail"]);
    assert!(detail.contains("86 of the 100 MiB"), "{detail}");
}

#[tokio::test]
async fn a_cluster_without_instances_refuses_to_run() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    world.define("web", json!({})).await;
    assert_eq!(
        world.refused("RunTask", json!({"taskDefinition": "web"})).await,
        "InvalidParameterException: No Container Instances were found in your cluster."
    );
}

#[tokio::test]
async fn a_client_token_stands_for_one_call() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    world.host(1024, 512, "zone-a").await;
    world.define("web", json!({})).await;
    let call = |count: u32| json!({"taskDefinition": "web", "count": count, "clientToken": "once"});
    let first = world.run(call(2)).await;
    let mut named = call(2);
    named["cluster"] = json!("default");
    assert_eq!(world.run(named).await, first);
    assert_eq!(world.listed(json!({})).await.len(), 2);
    let refused = world.refused("RunTask", call(1)).await;
    assert!(refused.starts_with("ConflictException: "), "{refused}");
}

#[tokio::test]
async fn tags_come_from_the_call_the_definition_and_ecs() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    world.host(1024, 512, "zone-a").await;
    let container = json!({"name": "app", "image": "nginx", "memory": 64});
    let definition = json!({"family": "web", "containerDefinitions": [container],
        "tags": [{"key": "team", "value": "a"}, {"key": "tier", "value": "1"}]});
    world.done("RegisterTaskDefinition", definition).await;
    let input = json!({"taskDefinition": "web", "propagateTags": "TASK_DEFINITION",
        "enableECSManagedTags": true, "tags": [{"key": "team", "value": "b"}]});
    let task = world.run(input).await.remove(0);
    let described =
        world.done("DescribeTasks", json!({"tasks": [task], "include": ["TAGS"]})).await;
    let tags = json!([
        {"key": "aws:ecs:clusterName", "value": "default"},
        {"key": "team", "value": "b"},
        {"key": "tier", "value": "1"}]);
    assert_eq!(described["tasks"][0]["tags"], tags);
    assert_eq!(world.task(&task).await["tags"], json!([]));
}

#[tokio::test]
async fn start_task_runs_where_it_is_told_and_says_why_not_elsewhere() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    let fits = world.host(1024, 512, "zone-a").await;
    let small = world.host(1024, 60, "zone-a").await;
    let drained = world.host(1024, 512, "zone-a").await;
    let input = json!({"containerInstances": [drained], "status": "DRAINING"});
    world.done("UpdateContainerInstancesState", input).await;
    world.define("web", json!({})).await;
    let missing = "0".repeat(32);
    let elsewhere =
        format!("arn:aws:ecs:eu-west-1:000000000000:container-instance/default/{missing}");
    let instances = json!([fits, small, drained, missing, elsewhere]);
    let started = world
        .done("StartTask", json!({"taskDefinition": "web", "containerInstances": instances}))
        .await;
    assert_eq!(texts(&started["tasks"], "containerInstanceArn"), [fits]);
    let reasons = texts(&started["failures"], "reason");
    assert_eq!(reasons, ["RESOURCE:MEMORY", "INACTIVE", "MISSING", "MISSING"]);
    let arns = texts(&started["failures"], "arn");
    assert_eq!(arns[..2], [small, drained]);
}

#[tokio::test]
async fn stopped_task_can_be_described_listed_and_stopped_again() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    let host = world.host(1024, 1024, "zone-a").await;
    world.define("web", json!({})).await;
    let tasks = world.run(json!({"taskDefinition": "web", "count": 5})).await;
    for task in &tasks[..4] {
        let stopped = world.done("StopTask", json!({"task": task, "reason": "enough"})).await;
        assert_eq!(stopped["task"]["desiredStatus"], "STOPPED");
        assert_eq!(stopped["task"]["stopCode"], "UserInitiated");
    }
    let cause = StopCause { code: StopCode::UserInitiated, reason: "enough".to_owned() };
    let ended = |task: &String| report(task, ReportedPhase::Stopped(cause.clone()));
    world.hear(&host, tasks[..3].iter().map(ended).collect()).await;

    let again = world.done("StopTask", json!({"task": tasks[0]})).await;
    assert_eq!(again["task"]["lastStatus"], "STOPPED");
    assert_eq!(again["task"]["stoppedReason"], "enough");
    assert_eq!(again["task"]["containers"][0]["exitCode"], 3);
    let described = world.done("DescribeTasks", json!({"tasks": tasks})).await;
    assert_eq!(described["failures"], json!([]));
    let statuses = texts(&described["tasks"], "lastStatus");
    assert_eq!(statuses, ["STOPPED", "STOPPED", "STOPPED", "PENDING", "PENDING"]);

    assert_eq!(world.listed(json!({})).await, tasks[4..]);
    let input = json!({"desiredStatus": "STOPPED", "maxResults": 1});
    let mut stopped = world.pages("ListTasks", input, "taskArns").await;
    let newest_first = [&tasks[3], &tasks[2], &tasks[1], &tasks[0]];
    assert_eq!(stopped, newest_first.map(|arn| json!(arn)));
    stopped = world.pages("ListTasks", json!({"desiredStatus": "STOPPED"}), "taskArns").await;
    assert_eq!(stopped, newest_first.map(|arn| json!(arn)));
    let started_by = json!({"desiredStatus": "STOPPED", "startedBy": "nobody"});
    assert_eq!(world.listed(started_by).await, [""; 0]);
}

#[tokio::test]
async fn tasks_are_listed_by_any_one_of_their_properties() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    let host = world.host(1024, 1024, "zone-a").await;
    world.define("web", json!({})).await;
    world.define("job", json!({})).await;
    let web = world.run(json!({"taskDefinition": "web", "startedBy": "me"})).await;
    let job = world.run(json!({"taskDefinition": "job"})).await;
    let mut both = [web.clone(), job.clone()].concat();
    both.sort();
    assert_eq!(world.listed(json!({})).await, both);
    assert_eq!(world.listed(json!({"family": "web"})).await, web);
    assert_eq!(world.listed(json!({"startedBy": "me"})).await, web);
    assert_eq!(world.listed(json!({"containerInstance": host, "family": "job"})).await, job);
    assert_eq!(world.listed(json!({"launchType": "EC2"})).await, both);
    assert_eq!(world.listed(json!({"launchType": "FARGATE"})).await, [""; 0]);
    assert_eq!(world.listed(json!({"desiredStatus": "PENDING"})).await, [""; 0]);
    assert_eq!(world.listed(json!({"containerInstance": "0".repeat(32)})).await, [""; 0]);
    let paged = world.pages("ListTasks", json!({"maxResults": 1}), "taskArns").await;
    assert_eq!(paged, both.iter().map(|arn| json!(arn)).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_inactive_definition_runs_no_new_tasks() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    world.host(1024, 512, "zone-a").await;
    world.define("web", json!({})).await;
    world.done("DeregisterTaskDefinition", json!({"taskDefinition": "web:1"})).await;
    assert_eq!(
        world.refused("RunTask", json!({"taskDefinition": "web:1"})).await,
        "ClientException: TaskDefinition is inactive"
    );
}

#[tokio::test]
async fn what_hosts_cannot_honour_is_registered_and_refused_to_run() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    world.host(1024, 512, "zone-a").await;
    world.define("web", json!({"resourceRequirements": [{"type": "GPU", "value": "ALL"}]})).await;
    let refused = world.refused("RunTask", json!({"taskDefinition": "web"})).await;
    assert!(refused.starts_with("ClientException: "), "{refused}");
    assert!(refused.contains("containerDefinitions[app].resourceRequirements"), "{refused}");
}

#[tokio::test]
async fn distinct_instances_and_strategies_are_obeyed() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    for _ in 0..2 {
        world.host(1024, 1024, "zone-a").await;
    }
    world.define("web", json!({})).await;
    let distinct = json!({"taskDefinition": "web", "count": 3,
        "placementConstraints": [{"type": "distinctInstance"}]});
    let started = world.done("RunTask", distinct).await;
    assert_eq!(started["tasks"].as_array().unwrap().len(), 2);
    assert_eq!(started["failures"].as_array().unwrap().len(), 1);
    let packed = json!({"taskDefinition": "web", "count": 4, "group": "packed",
        "placementStrategy": [{"type": "binpack", "field": "memory"}]});
    let started = world.done("RunTask", packed).await;
    let mut instances = texts(&started["tasks"], "containerInstanceArn");
    instances.dedup();
    assert_eq!(instances.len(), 1);
}
