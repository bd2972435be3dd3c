//! Auto Scaling's operations through the edge, signed, and the capacity providers above them.

mod pages;

use std::{collections::BTreeMap, time::Duration};

use http::{Method, Request, header, request::Parts};
use longshore_common::{arn::Identity, clock::SteppedClock, secret::Secret};
use longshore_core::{
    command::{EpochCommand, MachinesListed},
    model::{
        auto_scaling::LauncherVerb,
        capacity_provider::{CapacityPolicy, HostMark, LauncherPolicy},
    },
};
use serde_json::{Value, json};

use super::*;
use crate::{
    api::autoscaling::SIGNING_NAME,
    credentials::Credentials,
    edge::{
        Edge,
        health::{Health, Metrics},
        protocol::{Wire, X_AMZ_TARGET},
        test_backend::{self, NOW},
    },
    signature::sign_for_path,
};

struct World {
    edge: Edge,
    driver: crate::driver::Handle,
}

fn credentials() -> Credentials {
    Credentials {
        access_key_id: "LSIAAAAAAAAAAAAAAAAA".into(),
        secret_access_key: Secret::new("secret".into()),
    }
}

impl World {
    async fn new() -> Self {
        let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
        let launcher = LauncherPolicy {
            boot_deadline: Duration::from_secs(600),
            size: None,
            names_machines: false,
        };
        let ec2 = LauncherPolicy { names_machines: true, ..launcher.clone() };
        let mark = HostMark { attribute: "pool".to_owned(), value: None };
        let policy = CapacityPolicy {
            launchers: BTreeMap::from([("ec2".to_owned(), ec2), ("rack".to_owned(), launcher)]),
            fargate: BTreeMap::from([("FARGATE".parse().unwrap(), mark)]),
        };
        let backend = test_backend::with_capacity(identity, policy);
        let driver = backend.driver.clone();
        let health = Health::starting("the test is being set up");
        health.set_ready();
        let clock = SteppedClock::at(NOW);
        let edge = Edge::new(backend, &credentials(), clock, health, Metrics::detached());
        driver
            .submit(Command::Epoch(EpochCommand::StartEpoch { incarnation: 1 }), |_, _| ())
            .await
            .unwrap();
        driver.submit(Command::Epoch(EpochCommand::BeginScheduling), |_, _| ()).await.unwrap();
        World { edge, driver }
    }

    async fn send(&self, parts: &Parts, body: &[u8]) -> Result<String, ApiError> {
        let admitted = self.edge.admit(parts)?;
        let answer = self.edge.route(admitted, body, "id").await.answer;
        answer.map(|body| String::from_utf8(body.whole()).unwrap())
    }

    /// An operation of Auto Scaling: the answer's XML, or the refusal's.
    async fn scaling(&self, operation: &str, pairs: &[(&str, &str)]) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", operation).append_pair("Version", "2011-01-01");
        let body = form.extend_pairs(pairs).finish().into_bytes();
        let parts = signed(
            &[(header::CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded; charset=utf-8")],
            &body,
            SIGNING_NAME,
        );
        match self.send(&parts, &body).await {
            Ok(answer) => answer,
            Err(refusal) => {
                let (status, body) = Wire::Query.refusal(&refusal, "id");
                format!("{} {}", status.as_u16(), String::from_utf8(body).unwrap())
            }
        }
    }

    /// An operation of ECS: its answer, or the refusal as a text.
    async fn ecs(&self, operation: &str, input: Value) -> Value {
        let body = serde_json::to_vec(&input).unwrap();
        let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
        let parts = signed(
            &[
                (header::CONTENT_TYPE.as_str(), "application/x-amz-json-1.1"),
                (X_AMZ_TARGET.as_str(), target.as_str()),
            ],
            &body,
            "ecs",
        );
        match self.send(&parts, &body).await {
            Ok(answer) => serde_json::from_str(&answer).unwrap(),
            Err(refusal) => Value::String(refusal.to_string()),
        }
    }

    async fn make_group(&self, name: &str, more: &[(&str, &str)]) -> String {
        let mut pairs = vec![
            ("AutoScalingGroupName", name),
            ("MinSize", "0"),
            ("MaxSize", "5"),
            ("LaunchTemplate.LaunchTemplateName", "rack"),
        ];
        pairs.extend(more);
        self.scaling("CreateAutoScalingGroup", &pairs).await
    }
}

fn signed(headers: &[(&str, &str)], body: &[u8], service: &str) -> Parts {
    let mut request =
        Request::builder().method(Method::POST).uri("/").header(header::HOST, "127.0.0.1:8420");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(()).unwrap();
    let headers = request.headers_mut();
    sign_for_path("/", headers, body, &credentials(), "us-east-1", service, NOW).unwrap();
    request.into_parts().0
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[tokio::test]
async fn a_group_is_made_shown_changed_and_deleted_as_terraform_does_it() {
    let world = World::new().await;
    let made = world
        .make_group(
            "web",
            &[
                ("DesiredCapacity", "2"),
                ("LaunchTemplate.Version", "$Latest"),
                ("VPCZoneIdentifier", "subnet-1,subnet-2"),
                ("HealthCheckGracePeriod", "30"),
                ("NewInstancesProtectedFromScaleIn", "true"),
                ("CapacityRebalance", "false"),
                ("Tags.member.1.Key", "team"),
                ("Tags.member.1.Value", "a & b"),
                ("Tags.member.1.PropagateAtLaunch", "true"),
                ("Tags.member.1.ResourceId", "web"),
                ("Tags.member.1.ResourceType", "auto-scaling-group"),
            ],
        )
        .await;
    has(&made, &["<CreateAutoScalingGroupResponse xmlns=\"http://autoscaling.amazonaws.com"]);
    let named = [("AutoScalingGroupNames.member.1", "web")];
    let shown = world.scaling("DescribeAutoScalingGroups", &named).await;
    has(
        &shown,
        &[
            "<AutoScalingGroupName>web</AutoScalingGroupName>",
            "<AutoScalingGroupARN>arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:",
            ":autoScalingGroupName/web</AutoScalingGroupARN>",
            "<LaunchTemplate><LaunchTemplateName>rack</LaunchTemplateName><Version>$Latest</Version>",
            "<DesiredCapacity>2</DesiredCapacity><DefaultCooldown>300</DefaultCooldown>",
            "<HealthCheckType>EC2</HealthCheckType><HealthCheckGracePeriod>30<",
            "<VPCZoneIdentifier>subnet-1,subnet-2</VPCZoneIdentifier>",
            "<Value>a &amp; b</Value><PropagateAtLaunch>true</PropagateAtLaunch>",
            "<LifecycleState>Pending</LifecycleState><HealthStatus>Healthy</HealthStatus>",
            "<ProtectedFromScaleIn>true</ProtectedFromScaleIn>",
        ],
    );
    assert_eq!(shown.matches("<InstanceId>").count(), 2);
    let named = ("AutoScalingGroupName", "web");
    let answer =
        world.scaling("UpdateAutoScalingGroup", &[named, ("MaxSize", "1"), ("MinSize", "1")]).await;
    has(&answer, &["UpdateAutoScalingGroupResponse"]);
    let shown = world.scaling("DescribeAutoScalingGroups", &[]).await;
    has(&shown, &["<MinSize>1</MinSize><MaxSize>1</MaxSize><DesiredCapacity>1<"]);
    let answer = world.scaling("DeleteAutoScalingGroup", &[named]).await;
    has(&answer, &["400 ", "<Code>ResourceInUse</Code>"]);
    let answer = world.scaling("DeleteAutoScalingGroup", &[named, ("ForceDelete", "true")]).await;
    has(&answer, &["DeleteAutoScalingGroupResponse"]);
    let shown = world.scaling("DescribeAutoScalingGroups", &[]).await;
    has(&shown, &["<Status>Delete in progress</Status>", "Terminating</LifecycleState>"]);
    let ids = world.driver.peek(|state| state.instances_after(None).collect::<Vec<_>>());
    for instance in ids {
        let verb = LauncherVerb::Terminate;
        let answered = Command::AutoScaling(AutoScalingCommand::LauncherAnswered {
            instance,
            verb,
            result: Ok(()),
        });
        world.driver.submit(answered, |_, _| ()).await.unwrap();
    }
    let shown = world.scaling("DescribeAutoScalingGroups", &[]).await;
    has(&shown, &["<AutoScalingGroups/>"]);
}

#[tokio::test]
async fn what_a_group_cannot_be_is_refused_by_name() {
    let world = World::new().await;
    for (more, code, says) in [
        (vec![("MixedInstancesPolicy.LaunchTemplate.X", "1")], "ValidationError", "one launcher"),
        (vec![("TargetGroupARNs.member.1", "arn")], "ValidationError", "TargetGroupARNs"),
        (vec![("HealthCheckType", "ELB")], "ValidationError", "EC2 only"),
        (
            vec![("TerminationPolicies.member.1", "OldestInstance")],
            "ValidationError",
            "Default only",
        ),
        (vec![("MaxInstanceLifetime", "86400")], "ValidationError", "MaxInstanceLifetime"),
        (vec![("LaunchTemplate.Version", "3")], "ValidationError", "no versions"),
        (vec![("LaunchConfigurationName", "rack")], "ValidationError", "cannot both"),
        (vec![("DesiredCapacity", "6")], "ValidationError", "above MaxSize, 5"),
        (vec![("Tags.member.1.Key", "aws:x")], "ValidationError", "reserved"),
    ] {
        let said = world.make_group("web", &more).await;
        has(&said, &["400 ", &format!("<Code>{code}</Code>"), says]);
    }
    let unknown = [
        ("AutoScalingGroupName", "web"),
        ("MinSize", "0"),
        ("MaxSize", "1"),
        ("LaunchConfigurationName", "moon"),
    ];
    let said = world.scaling("CreateAutoScalingGroup", &unknown).await;
    has(&said, &["LaunchConfigurationName is `moon`", "They have: ec2, rack."]);
    has(&world.make_group("a:b", &[]).await, &["no colons"]);
    has(&world.make_group("web", &[]).await, &["CreateAutoScalingGroupResponse"]);
    has(&world.make_group("web", &[]).await, &["<Code>AlreadyExists</Code>"]);
    let said = world.scaling("PutScalingPolicy", &[]).await;
    has(&said, &["<Code>InvalidAction</Code>", "DescribeAutoScalingGroups"]);
    let said = world
        .scaling("SetDesiredCapacity", &[("AutoScalingGroupName", "no"), ("DesiredCapacity", "1")]);
    has(&said.await, &["<Code>ValidationError</Code>", "not found"]);
}

#[tokio::test]
async fn an_instance_that_a_machine_of_ec2_fills_is_known_by_the_machines_id() {
    let world = World::new().await;
    let made = [
        ("AutoScalingGroupName", "web"),
        ("MinSize", "0"),
        ("MaxSize", "5"),
        ("DesiredCapacity", "1"),
        ("LaunchConfigurationName", "ec2"),
    ];
    has(&world.scaling("CreateAutoScalingGroup", &made).await, &["CreateAutoScalingGroupResponse"]);
    let machine = "i-0598c7d356eba48d7";
    let listed = MachinesListed {
        launcher: "ec2".to_owned(),
        alive: 1,
        unbound: vec![machine.parse().unwrap()],
        lasting: Vec::new(),
        missing: Vec::new(),
        stalled: None,
    };
    let listed = Command::AutoScaling(AutoScalingCommand::MachinesListed(Box::new(listed)));
    world.driver.submit(listed, |_, _| ()).await.unwrap();
    let shown = format!("<InstanceId>{machine}</InstanceId>");
    let one = [("InstanceIds.member.1", machine)];
    has(&world.scaling("DescribeAutoScalingGroups", &[]).await, &[&shown]);
    has(&world.scaling("DescribeAutoScalingInstances", &one).await, &[&shown]);
    let terminate = [("InstanceId", machine), ("ShouldDecrementDesiredCapacity", "true")];
    let said = world.scaling("TerminateInstanceInAutoScalingGroup", &terminate).await;
    has(&said, &[&format!("Terminating EC2 instance: {machine}")]);
}

/// The text of the first element of this name.
fn element(xml: &str, name: &str) -> String {
    let from = xml.split(&format!("<{name}>")).nth(1);
    let text = from.and_then(|rest| rest.split('<').next());
    text.unwrap_or_else(|| panic!("no {name} in {xml}")).to_owned()
}

/// Each operation on a group that is being deleted, with the error that it answers.
#[tokio::test]
async fn group_being_deleted_is_refused_with_a_declared_error() {
    let world = World::new().await;
    world.make_group("web", &[("DesiredCapacity", "1")]).await;
    let id = world.driver.peek(|state| state.instances_after(None).next().unwrap()).to_string();
    // Its launcher has yet to say that the machine is gone.
    let force = [("AutoScalingGroupName", "web"), ("ForceDelete", "true")];
    has(&world.scaling("DeleteAutoScalingGroup", &force).await, &["DeleteAutoScalingGroupRes"]);
    let tag = |group: &'static str| {
        vec![
            ("Tags.member.1.Key", "k"),
            ("Tags.member.1.Value", "v"),
            ("Tags.member.1.PropagateAtLaunch", "false"),
            ("Tags.member.1.ResourceId", group),
            ("Tags.member.1.ResourceType", "auto-scaling-group"),
        ]
    };
    let group = ("AutoScalingGroupName", "web");
    has(&world.make_group("web", &[]).await, &["400", "<Code>AlreadyExists</Code>"]);
    let (busy, used) = ("<Code>ScalingActivityInProgress</Code>", "<Code>ResourceInUse</Code>");
    let instance = ("InstanceIds.member.1", id.as_str());
    for (operation, pairs, code) in [
        ("UpdateAutoScalingGroup", vec![group, ("MaxSize", "3")], busy),
        ("SetDesiredCapacity", vec![group, ("DesiredCapacity", "2")], busy),
        (
            "SetInstanceProtection",
            vec![group, instance, ("ProtectedFromScaleIn", "true")],
            "<Code>ValidationError</Code>",
        ),
        ("CreateOrUpdateTags", tag("web"), used),
        ("DeleteTags", tag("web"), used),
    ] {
        let said = world.scaling(operation, &pairs).await;
        has(&said, &["400", code, "web"]);
    }
    let fifty_one: Vec<(String, String)> = (1..=51)
        .flat_map(|n| {
            tag("full").into_iter().map(move |(name, value)| {
                let value = if name.ends_with("Key") { format!("k{n}") } else { value.to_owned() };
                (name.replace('1', &n.to_string()), value)
            })
        })
        .collect();
    let pairs: Vec<(&str, &str)> = fifty_one.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    world.make_group("full", &[]).await;
    let said = world.scaling("CreateOrUpdateTags", &pairs).await;
    has(&said, &["400", "<Code>LimitExceeded</Code>"]);
}

#[tokio::test]
async fn instances_are_shown_protected_and_terminated() {
    let world = World::new().await;
    world.make_group("web", &[("DesiredCapacity", "2")]).await;
    let ids = world.driver.peek(|state| state.instances_after(None).collect::<Vec<_>>());
    let first = ids[0].to_string();
    let page = world.scaling("DescribeAutoScalingInstances", &[("MaxRecords", "1")]).await;
    has(&page, &[&first, "<AutoScalingGroupName>web<", "<NextToken>"]);
    let token = element(&page, "NextToken");
    let next = [("MaxRecords", "1"), ("NextToken", token.as_str())];
    let page = world.scaling("DescribeAutoScalingInstances", &next).await;
    has(&page, &[&ids[1].to_string()]);
    assert!(!page.contains("<NextToken>"), "{page}");
    let protect = [
        ("AutoScalingGroupName", "web"),
        ("InstanceIds.member.1", first.as_str()),
        ("ProtectedFromScaleIn", "true"),
    ];
    let said = world.scaling("SetInstanceProtection", &protect).await;
    has(&said, &["<Code>ValidationError</Code>", "is not in InService"]);
    let verb = LauncherVerb::Launch;
    let result = Err("no power".to_owned());
    let failed = Command::AutoScaling(AutoScalingCommand::LauncherAnswered {
        instance: ids[0],
        verb,
        result,
    });
    world.driver.submit(failed, |_, _| ()).await.unwrap();
    let activities =
        world.scaling("DescribeScalingActivities", &[("AutoScalingGroupName", "web")]).await;
    has(&activities, &["<StatusCode>Failed</StatusCode><StatusMessage>no power</StatusMessage>"]);
    let terminate = [("InstanceId", first.as_str()), ("ShouldDecrementDesiredCapacity", "true")];
    let said = world.scaling("TerminateInstanceInAutoScalingGroup", &terminate).await;
    has(&said, &["<Activity><ActivityId>", "Terminating EC2 instance"]);
    let shown = world.scaling("DescribeAutoScalingGroups", &[]).await;
    has(&shown, &["<DesiredCapacity>1</DesiredCapacity>"]);
}

#[tokio::test]
async fn groups_carry_tags_that_are_found_again() {
    let world = World::new().await;
    world.make_group("a", &[]).await;
    world.make_group("b", &[]).await;
    let tag = |group: &'static str, key: &'static str| {
        vec![
            ("Tags.member.1.ResourceId", group),
            ("Tags.member.1.ResourceType", "auto-scaling-group"),
            ("Tags.member.1.Key", key),
            ("Tags.member.1.Value", "v"),
            ("Tags.member.1.PropagateAtLaunch", "false"),
        ]
    };
    for (group, key) in [("a", "x"), ("b", "x"), ("b", "y")] {
        let said = world.scaling("CreateOrUpdateTags", &tag(group, key)).await;
        has(&said, &["CreateOrUpdateTagsResponse"]);
    }
    let of_b = [
        ("Filters.member.1.Name", "auto-scaling-group"),
        ("Filters.member.1.Values.member.1", "b"),
    ];
    let shown = world.scaling("DescribeTags", &of_b).await;
    assert_eq!(shown.matches("<ResourceId>b</ResourceId>").count(), 2, "{shown}");
    let with_y = [("Filters.member.1.Name", "tag:y"), ("Filters.member.1.Values.member.1", "v")];
    let shown = world.scaling("DescribeAutoScalingGroups", &with_y).await;
    has(&shown, &["<AutoScalingGroupName>b<"]);
    assert!(!shown.contains("<AutoScalingGroupName>a<"), "{shown}");
    has(&world.scaling("DeleteTags", &tag("b", "y")).await, &["DeleteTagsResponse"]);
    let shown = world.scaling("DescribeTags", &of_b).await;
    assert_eq!(shown.matches("<member>").count(), 1, "{shown}");
    let bad = [("Filters.member.1.Name", "color")];
    has(&world.scaling("DescribeTags", &bad).await, &["`color` is not known"]);
}

fn refusal(answer: &Value) -> &str {
    answer.as_str().unwrap_or_else(|| panic!("{answer} is no refusal"))
}

fn provider(name: &str, group: &str, more: Value) -> Value {
    let mut of_group = json!({"autoScalingGroupArn": group});
    of_group.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"name": name, "autoScalingGroupProvider": of_group})
}

#[tokio::test]
async fn a_capacity_provider_is_made_associated_and_deleted() {
    let world = World::new().await;
    world.make_group("web", &[("NewInstancesProtectedFromScaleIn", "true")]).await;
    let input = provider(
        "cp",
        "web",
        json!({
            "managedScaling": {"status": "ENABLED", "targetCapacity": 80},
            "managedTerminationProtection": "ENABLED",
        }),
    );
    let made = world.ecs("CreateCapacityProvider", input.clone()).await;
    let made = &made["capacityProvider"];
    assert_eq!(made["status"], "ACTIVE");
    assert_eq!(made["updateStatus"], "CREATE_COMPLETE");
    let arn = "arn:aws:ecs:us-east-1:000000000000:capacity-provider/cp";
    assert_eq!(made["capacityProviderArn"], arn);
    let of_group = &made["autoScalingGroupProvider"];
    assert_eq!(
        of_group["managedScaling"],
        json!({
            "status": "ENABLED", "targetCapacity": 80, "minimumScalingStepSize": 1,
            "maximumScalingStepSize": 10000, "instanceWarmupPeriod": 300,
        })
    );
    assert_eq!(of_group["managedDraining"], "ENABLED");
    let group_arn = of_group["autoScalingGroupArn"].as_str().unwrap().to_owned();
    assert!(group_arn.ends_with(":autoScalingGroupName/web"), "{group_arn}");
    let again = world.ecs("CreateCapacityProvider", input).await;
    assert_eq!(again["capacityProvider"], *made, "the same made again is the answer");
    has(&world.scaling("DescribeTags", &[]).await, &["<Key>AmazonECSManaged</Key>"]);

    let strategy = json!([{"capacityProvider": "cp", "weight": 1, "base": 2}]);
    let input = json!({
        "clusterName": "one", "capacityProviders": ["cp"],
        "defaultCapacityProviderStrategy": strategy,
    });
    let made = world.ecs("CreateCluster", input).await;
    assert_eq!(made["cluster"]["capacityProviders"], json!(["cp"]));
    assert_eq!(made["cluster"]["defaultCapacityProviderStrategy"], strategy);
    let include = json!({"clusters": ["one"], "include": ["ATTACHMENTS"]});
    let shown = world.ecs("DescribeClusters", include).await;
    assert_eq!(shown["clusters"][0]["attachmentsStatus"], "UPDATE_COMPLETE");
    let kinds: Vec<&str> = shown["clusters"][0]["attachments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attachment| attachment["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["as_policy", "managed_draining"]);

    let tagged = json!({"resourceArn": arn, "tags": [{"key": "team", "value": "a"}]});
    assert_eq!(world.ecs("TagResource", tagged).await, json!({}));
    let asked = json!({"capacityProviders": ["cp", "no"], "include": ["TAGS"]});
    let shown = world.ecs("DescribeCapacityProviders", asked).await;
    assert_eq!(shown["capacityProviders"][0]["tags"], json!([{"key": "team", "value": "a"}]));
    assert_eq!(shown["failures"][0]["reason"], "MISSING");
    let page = world.ecs("DescribeCapacityProviders", json!({"maxResults": 1})).await;
    assert_eq!(page["capacityProviders"][0]["name"], "FARGATE");
    assert!(page["nextToken"].is_string());

    world.ecs("CreateCluster", json!({"clusterName": "two"})).await;
    let put = |cluster: &str, providers: Value| {
        json!({
            "cluster": cluster, "capacityProviders": providers,
            "defaultCapacityProviderStrategy": [],
        })
    };
    let said = world.ecs("PutClusterCapacityProviders", put("two", json!(["cp"]))).await;
    assert!(refusal(&said).contains("serves the cluster one and cannot serve a second"), "{said}");
    let said = world.ecs("DeleteCapacityProvider", json!({"capacityProvider": "cp"})).await;
    assert!(refusal(&said).contains("is associated with the cluster one"), "{said}");
    let put_none = world.ecs("PutClusterCapacityProviders", put("one", json!([]))).await;
    assert_eq!(put_none["cluster"]["capacityProviders"], json!([]));
    let gone = world.ecs("DeleteCapacityProvider", json!({"capacityProvider": arn})).await;
    assert_eq!(gone["capacityProvider"]["status"], "INACTIVE");
    assert_eq!(gone["capacityProvider"]["updateStatus"], "DELETE_COMPLETE");
    let asked = json!({"capacityProviders": ["cp"]});
    let shown = world.ecs("DescribeCapacityProviders", asked).await;
    assert_eq!(shown["capacityProviders"][0]["status"], "INACTIVE");
}

#[tokio::test]
async fn every_rule_of_capacity_providers_is_refused_with_its_reason() {
    let world = World::new().await;
    world.make_group("web", &[]).await;
    let enabled = json!({"managedScaling": {"status": "ENABLED"}});
    for (input, says) in [
        (provider("awsome", "web", json!({})), "begins with `aws`"),
        (provider("ECS-x", "web", json!({})), "begins with `ecs`"),
        (provider("fargate2", "web", json!({})), "begins with `fargate`"),
        (provider(&"a".repeat(256), "web", json!({})), "Up to 255"),
        (provider("a b", "web", json!({})), "Up to 255"),
        (provider("cp", "none", json!({})), "There are: web."),
        (
            provider(
                "cp",
                "arn:aws:autoscaling:eu-west-1:000000000000:autoScalingGroup:u:autoScalingGroupName/web",
                json!({}),
            ),
            "another region",
        ),
        (provider("cp", "arn:aws:ec2:x", json!({})), "is not valid"),
        (json!({"name": "cp"}), "autoScalingGroupProvider is required"),
        (
            json!({"name": "cp", "managedInstancesProvider": {"infrastructureRoleArn": "x"}}),
            "Managed Instances",
        ),
        (
            provider("cp", "web", json!({"managedScaling": {"targetCapacity": 101}})),
            "between 1 and 100",
        ),
        (
            provider("cp", "web", json!({"managedScaling": {"minimumScalingStepSize": 10001}})),
            "between 1 and 10000",
        ),
        (
            provider(
                "cp",
                "web",
                json!({"managedScaling": {"minimumScalingStepSize": 5, "maximumScalingStepSize": 4}}),
            ),
            "cannot be above",
        ),
        (
            provider("cp", "web", json!({"managedTerminationProtection": "ENABLED"})),
            "enable managed scaling too",
        ),
        (
            provider(
                "cp",
                "web",
                json!({"managedScaling": {"status": "ENABLED"}, "managedTerminationProtection": "ENABLED"}),
            ),
            "must have instance protection from scale in",
        ),
    ] {
        let said = world.ecs("CreateCapacityProvider", input).await;
        assert!(refusal(&said).contains(says), "{said}");
    }
    world.ecs("CreateCapacityProvider", provider("cp", "web", enabled.clone())).await;
    let said = world.ecs("CreateCapacityProvider", provider("cp", "web", json!({}))).await;
    assert!(refusal(&said).contains("exists with other settings"), "{said}");
    let said = world.ecs("CreateCapacityProvider", provider("cp2", "web", json!({}))).await;
    assert!(refusal(&said).contains("is that of the capacity provider cp already"), "{said}");
    let update = json!({
        "name": "cp", "autoScalingGroupProvider": {"managedScaling": {"targetCapacity": 90}},
    });
    let updated = world.ecs("UpdateCapacityProvider", update).await;
    let scaling = &updated["capacityProvider"]["autoScalingGroupProvider"]["managedScaling"];
    assert_eq!((&scaling["status"], &scaling["targetCapacity"]), (&json!("ENABLED"), &json!(90)));

    world.ecs("CreateCluster", json!({"clusterName": "one"})).await;
    let put = |providers: Value, strategy: Value| {
        json!({
            "cluster": "one", "capacityProviders": providers,
            "defaultCapacityProviderStrategy": strategy,
        })
    };
    let many: Vec<String> = (0..21).map(|n| format!("p{n}")).collect();
    for (input, says) in [
        (put(json!(many), json!([])), "at most 20"),
        (put(json!(["no"]), json!([])), "there is none named no"),
        (put(json!(["cp", "cp"]), json!([])), "given twice"),
        (put(json!(["FARGATE_SPOT"]), json!([])), "[capacity_providers.FARGATE_SPOT]"),
        (put(json!([]), json!([{"capacityProvider": "cp"}])), "not associated with the cluster"),
        (
            put(
                json!(["cp", "FARGATE"]),
                json!([{"capacityProvider": "cp", "weight": 1}, {"capacityProvider": "FARGATE", "weight": 1}]),
            ),
            "not both",
        ),
        (
            put(json!(["cp"]), json!([{"capacityProvider": "cp", "weight": 1001}])),
            "between 0 and 1000",
        ),
    ] {
        let said = world.ecs("PutClusterCapacityProviders", input).await;
        assert!(refusal(&said).contains(says), "{said}");
    }
    let fargate = put(json!(["FARGATE"]), json!([{"capacityProvider": "FARGATE"}]));
    let answer = world.ecs("PutClusterCapacityProviders", fargate).await;
    assert_eq!(answer["cluster"]["capacityProviders"], json!(["FARGATE"]));
    let said = world.ecs("DeleteCapacityProvider", json!({"capacityProvider": "FARGATE"})).await;
    assert!(refusal(&said).contains("reserved"), "{said}");
}

#[tokio::test]
async fn tasks_show_their_provider_and_their_cluster_shows_its_metric() {
    let world = World::new().await;
    world.ecs("CreateCluster", json!({})).await;
    world.make_group("g", &[]).await;
    let scaling = json!({"managedScaling": {"status": "ENABLED"}});
    let made = world.ecs("CreateCapacityProvider", provider("p", "g", scaling)).await;
    assert!(made.is_object(), "{made}");
    let strategy = json!([{"capacityProvider": "p", "weight": 1}]);
    let put = json!({"cluster": "default", "capacityProviders": ["p"],
        "defaultCapacityProviderStrategy": []});
    world.ecs("PutClusterCapacityProviders", put).await;
    let container = json!({"name": "app", "image": "nginx", "memory": 64});
    let definition = json!({"family": "web", "containerDefinitions": [container]});
    world.ecs("RegisterTaskDefinition", definition).await;

    let run = json!({"taskDefinition": "web", "capacityProviderStrategy": strategy});
    let ran = world.ecs("RunTask", run).await;
    let task = &ran["tasks"][0];
    assert_eq!(
        (&task["lastStatus"], &task["capacityProviderName"], &task["launchType"]),
        (&json!("PROVISIONING"), &json!("p"), &Value::Null),
        "{ran:#}"
    );
    let create = json!({"serviceName": "svc", "taskDefinition": "web", "desiredCount": 1,
        "capacityProviderStrategy": strategy});
    let service = world.ecs("CreateService", create).await["service"].clone();
    let shown = json!([{"capacityProvider": "p", "weight": 1, "base": 0}]);
    assert_eq!(
        (&service["capacityProviderStrategy"], &service["launchType"]),
        (&shown, &Value::Null),
        "{service:#}"
    );
    let both = json!({"taskDefinition": "web", "launchType": "EC2",
        "capacityProviderStrategy": strategy});
    let refused = world.ecs("RunTask", both).await;
    assert!(refusal(&refused).contains("both a launch type and a capacity provider strategy"));

    let describe = json!({"include": ["STATISTICS"]});
    let described = world.ecs("DescribeClusters", describe).await;
    let statistics = described["clusters"][0]["statistics"].as_array().unwrap();
    let name = json!("longshore:capacityProviderReservation.p");
    let said = statistics.iter().find(|statistic| statistic["name"] == name).unwrap();
    assert_eq!(said["value"], json!("M 1 / N 0 = 200 %"));
}
