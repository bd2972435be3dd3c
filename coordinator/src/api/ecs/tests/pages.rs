//! Page tokens: each is good for the operation, the cluster and the filters that it was given for.

use serde_json::{Value, json};

use super::{Refusal, World, signed_as};

/// One list with more than one item.
struct List {
    service: &'static str,
    /// What stands before the operation's name.
    target: &'static str,
    operation: &'static str,
    input: Value,
    /// The members that say how large a page is, and where it begins.
    size: &'static str,
    token: &'static str,
    /// What an answer calls the next token.
    next: &'static str,
    /// What is refused for a token of another list.
    refusal: &'static str,
    /// The same operation with other filters.
    others: Vec<Value>,
}

fn ecs(operation: &'static str, input: Value, others: Vec<Value>) -> List {
    List {
        service: "ecs",
        target: "AmazonEC2ContainerServiceV20141113",
        operation,
        input,
        size: "maxResults",
        token: "nextToken",
        next: "nextToken",
        refusal: "InvalidParameterException",
        others,
    }
}

fn logs(operation: &'static str, input: Value, others: Vec<Value>) -> List {
    let (service, target, size) = ("logs", "Logs_20140328", "limit");
    List { service, target, size, ..ecs(operation, input, others) }
}

impl List {
    async fn call(&self, world: &World, mut input: Value, token: &str) -> Result<Value, Refusal> {
        input[self.size] = json!(1);
        if !token.is_empty() {
            input[self.token] = json!(token);
        }
        let body = serde_json::to_vec(&input).unwrap();
        let target = format!("{}.{}", self.target, self.operation);
        world.send(&signed_as(self.service, &target, &body), &body).await
    }

    async fn first_token(&self, world: &World) -> String {
        let first = self.call(world, self.input.clone(), "").await.unwrap();
        let token = first[self.next].as_str();
        token.unwrap_or_else(|| panic!("{} has one page: {first}", self.operation)).to_owned()
    }
}

/// Two of everything that can be listed, in the cluster `default`; the cluster `other` is empty.
async fn furnished() -> World {
    let world = World::furnished().await;
    world.done("CreateCluster", json!({"clusterName": "other"})).await;
    let container = json!({"name": "app", "image": "nginx", "memory": 64});
    for family in ["web", "api"] {
        let definition = json!({"family": family, "containerDefinitions": [container]});
        world.done("RegisterTaskDefinition", definition).await;
    }
    let resources = json!([
        {"name": "CPU", "type": "INTEGER", "integerValue": 2048},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": 4096}]);
    let registered = world.done("RegisterContainerInstance", json!({"totalResources": resources}));
    let instance = registered.await["containerInstance"]["containerInstanceArn"].clone();
    let attribute = |name: &str| json!({"name": name, "value": "1", "targetId": instance});
    let attributes = json!({"attributes": [attribute("rack"), attribute("disk")]});
    world.done("PutAttributes", attributes).await;
    let wait = json!([{"key": "longshore:wait", "value": "600"}]);
    let run = json!({"taskDefinition": "web", "count": 3, "tags": wait});
    world.done("RunTask", run).await;
    world.done("UpdateService", json!({"service": "svc", "forceNewDeployment": true})).await;
    for (group, stream) in [("a", "s"), ("a", "t"), ("b", "s")] {
        let group_input = json!({"logGroupName": group});
        let _ = world.of_service("logs", "Logs_20140328.CreateLogGroup", group_input).await;
        let place = json!({"logGroupName": group, "logStreamName": stream});
        world.of_service("logs", "Logs_20140328.CreateLogStream", place.clone()).await.unwrap();
        let at = super::NOW.0;
        let events = json!([{"timestamp": at, "message": "x"}, {"timestamp": at, "message": "y"}]);
        let mut put = place;
        put["logEvents"] = events;
        world.of_service("logs", "Logs_20140328.PutLogEvents", put).await.unwrap();
    }
    for name in ["one", "two"] {
        let alarm = json!({"AlarmName": name, "EvaluationPeriods": 1, "Threshold": 1.0,
            "ComparisonOperator": "GreaterThanThreshold", "MetricName": "m", "Namespace": "n",
            "Period": 60, "Statistic": "Sum"});
        let target = "GraniteServiceVersion20100801.PutMetricAlarm";
        world.of_service("monitoring", target, alarm).await.unwrap();
    }
    world
}

fn lists() -> Vec<List> {
    let other = json!({"cluster": "other"});
    let instances = |more: Value| {
        let mut input = json!({"targetType": "container-instance"});
        input.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        input
    };
    let place = |group: &str, stream: &str| json!({"logGroupName": group, "logStreamName": stream});
    vec![
        ecs("ListClusters", json!({}), vec![]),
        ecs(
            "ListTaskDefinitions",
            json!({}),
            vec![
                json!({"familyPrefix": "web"}),
                json!({"sort": "DESC"}),
                json!({"status": "INACTIVE"}),
            ],
        ),
        ecs(
            "ListTaskDefinitionFamilies",
            json!({}),
            vec![json!({"familyPrefix": "w"}), json!({"status": "INACTIVE"})],
        ),
        ecs(
            "ListServices",
            json!({}),
            vec![
                other.clone(),
                json!({"schedulingStrategy": "REPLICA"}),
                json!({"launchType": "FARGATE"}),
            ],
        ),
        ecs(
            "ListContainerInstances",
            json!({}),
            vec![
                other.clone(),
                json!({"status": "DRAINING"}),
                json!({"filter": "task:group == a"}),
            ],
        ),
        ecs(
            "ListAttributes",
            instances(json!({})),
            vec![instances(other.clone()), instances(json!({"attributeName": "rack"}))],
        ),
        ecs(
            "ListTasks",
            json!({}),
            vec![
                other.clone(),
                json!({"family": "web"}),
                json!({"desiredStatus": "STOPPED"}),
                json!({"startedBy": "a"}),
                json!({"launchType": "EC2"}),
            ],
        ),
        ecs(
            "ListServiceDeployments",
            json!({"service": "svc"}),
            vec![
                json!({"service": "daemon"}),
                json!({"service": "svc", "cluster": "other"}),
                json!({"service": "svc", "status": ["PENDING"]}),
                json!({"service": "svc", "createdAt": {"after": 1}}),
            ],
        ),
        ecs(
            "ListAccountSettings",
            json!({"effectiveSettings": true}),
            vec![json!({}), json!({"effectiveSettings": true, "name": "awsvpcTrunking"})],
        ),
        ecs("DescribeCapacityProviders", json!({}), vec![other, json!({"include": ["TAGS"]})]),
        logs("DescribeLogGroups", json!({}), vec![json!({"logGroupNamePrefix": "a"})]),
        logs(
            "DescribeLogStreams",
            json!({"logGroupName": "a"}),
            vec![
                json!({"logGroupName": "b"}),
                json!({"logGroupName": "a", "descending": true}),
                json!({"logGroupName": "a", "orderBy": "LastEventTime"}),
            ],
        ),
        logs(
            "FilterLogEvents",
            json!({"logGroupName": "a"}),
            vec![
                json!({"logGroupName": "b"}),
                json!({"logGroupName": "a", "filterPattern": "x"}),
                json!({"logGroupName": "a", "logStreamNames": ["s"]}),
            ],
        ),
        List {
            next: "nextBackwardToken",
            ..logs("GetLogEvents", place("a", "s"), vec![place("a", "t"), place("b", "s")])
        },
        List {
            service: "monitoring",
            target: "GraniteServiceVersion20100801",
            size: "MaxRecords",
            token: "NextToken",
            next: "NextToken",
            refusal: "InvalidNextToken",
            ..ecs(
                "DescribeAlarms",
                json!({}),
                vec![json!({"AlarmNamePrefix": "o"}), json!({"StateValue": "OK"})],
            )
        },
    ]
}

#[tokio::test]
async fn page_token_is_refused_by_every_other_operation_cluster_and_filter() {
    let world = furnished().await;
    let lists = lists();
    let mut tokens = Vec::new();
    for list in &lists {
        let token = list.first_token(&world).await;
        let again = list.call(&world, list.input.clone(), &token).await;
        assert!(again.is_ok(), "{}: its own token: {again:?}", list.operation);
        tokens.push(token);
    }
    // An older release's: base64 of the operation and the last item.
    tokens.push("TGlzdENsdXN0ZXJzIGRlZmF1bHQ".to_owned());
    let (seq, mut cases, mut wrong) = (world.seq(), 0, Vec::new());
    for (at, list) in lists.iter().enumerate() {
        let foreign = tokens.iter().enumerate().filter(|(of, _)| *of != at);
        let foreign = foreign.map(|(_, token)| (&list.input, token));
        let other_filters = list.others.iter().map(|other| (other, &tokens[at]));
        for (input, token) in foreign.chain(other_filters) {
            cases += 1;
            let said = list.call(&world, input.clone(), token).await;
            if said.as_ref().err().is_none_or(|refusal| refusal.code != list.refusal) {
                wrong.push(format!("{} {input}: {said:?}", list.operation));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cases}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(world.seq(), seq);
}

#[tokio::test]
async fn page_token_is_good_for_any_name_of_its_cluster() {
    let world = furnished().await;
    let list = &lists()[3];
    let token = list.first_token(&world).await;
    let arn = "arn:aws:ecs:us-east-1:000000000000:cluster/default";
    for cluster in ["default", arn] {
        let page = list.call(&world, json!({"cluster": cluster}), &token).await;
        assert_eq!(page.unwrap()["serviceArns"].as_array().unwrap().len(), 1, "{cluster}");
    }
}
