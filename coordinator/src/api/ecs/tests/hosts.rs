//! What the API says of hosts: whether their engine answers, who they are, and what an agent that
//! takes a registered instance over leaves of it.

use longshore_common::{
    id::HostId,
    protocol::{
        Attribute, EngineHealth, PROTOCOL_VERSION, RegisterRequest, ReportPosition, StorageHealth,
        Versions,
    },
    resources::{Capacity, CpuUnits, MemoryMib},
};
use longshore_core::{
    Command,
    command::{AgentAnswered, HostCommand, TokenCommand},
};
use serde_json::{Value, json};

use super::{World, flows::texts};
use crate::api::ecs::attributes::LOOKED_AT_MAX;

const DOCUMENT: &str = r#"{"instanceId": "i-0123456789abcdef0", "availabilityZone": "zone-d",
    "instanceType": "m7g.large", "imageId": "ami-0123456789abcdef0"}"#;

fn id(arn: &str) -> HostId {
    arn.rsplit('/').next().unwrap().parse().unwrap()
}

impl World {
    /// The agent of a host says whether its container engine answers.
    async fn engine(&self, host: &str, engine: EngineHealth) {
        self.says(host, engine, StorageHealth::Unknown).await;
    }

    /// And whether its disks let it take tasks.
    async fn says(&self, host: &str, engine: EngineHealth, storage: StorageHealth) {
        let answered = AgentAnswered {
            host: id(host),
            ended_candidates: Vec::new(),
            images: None,
            seen: None,
            position: ReportPosition { session: 1, seq: 0 },
            reports: Vec::new(),
            engine,
            storage,
            leaving: false,
            looked: true,
        };
        self.driver
            .submit(Command::Host(HostCommand::AgentAnswered(Box::new(answered))), |_, _| ())
            .await
            .unwrap();
    }

    async fn instance(&self, host: &str) -> Value {
        let input = json!({"containerInstances": [host], "include": ["CONTAINER_INSTANCE_HEALTH"]});
        self.done("DescribeContainerInstances", input).await["containerInstances"][0].clone()
    }

    /// A host's agent says what its host is.
    async fn agent(&self, host: &str, instance: Option<&str>, attributes: &[(&str, &str)]) {
        self.agent_of("", host, instance, attributes).await;
    }

    async fn agent_of(
        &self,
        version: &str,
        host: &str,
        instance: Option<&str>,
        attributes: &[(&str, &str)],
    ) {
        let attribute = |(name, value): &(&str, &str)| Attribute {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
        };
        let request = RegisterRequest {
            protocol: PROTOCOL_VERSION,
            cluster: "default".to_owned(),
            capacity: Capacity {
                cpu: CpuUnits(1024),
                memory: MemoryMib(1024),
                ..Capacity::default()
            },
            attributes: attributes.iter().map(attribute).collect(),
            tags: Vec::new(),
            versions: Versions { agent: version.to_owned(), ..Versions::default() },
            poll_address: "192.0.2.1:51680".to_owned(),
            advertise: "192.0.2.1".to_owned(),
            instance_id: instance.map(str::to_owned),
            boot_id: "boot".to_owned(),
            run: None,
        };
        let join = Command::Token(TokenCommand::CreateJoinToken(
            longshore_core::model::join_token::JoinToken {
                id: "token".to_owned(),
                secret_hash: [3; 32],
                cluster: None,
                expires_at: longshore_common::clock::Timestamp(u64::MAX),
                uses_left: None,
            },
        ));
        let _ = self.driver.submit(join, |_, _| ()).await;
        let join = Command::Token(TokenCommand::UseJoinToken {
            secret_hash: [3; 32],
            requested_host: Some(id(host)),
            key: None,
        });
        let _ = self.driver.submit(join, |_, _| ()).await;
        let register =
            Command::Host(HostCommand::RegisterHost { host: id(host), request: Box::new(request) });
        self.driver.submit(register, |_, _| ()).await.unwrap();
    }
}

fn attribute(instance: &Value, name: &str) -> Option<String> {
    let attributes = instance["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["name"] == name);
    found.map(|attribute| attribute["value"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn nothing_is_placed_where_the_engine_is_silent() {
    let (world, host) = World::scheduled().await;
    let health = world.instance(&host).await["healthStatus"].clone();
    assert_eq!(health, json!({"overallStatus": "INSUFFICIENT_DATA", "details": []}));
    world.engine(&host, EngineHealth::Answers).await;
    world.create_service(json!({"desiredCount": 1})).await;
    let before = world.listed(json!({"serviceName": "svc"})).await;
    assert_eq!(before.len(), 1);

    world.engine(&host, EngineHealth::Silent).await;
    let instance = world.instance(&host).await;
    assert_eq!(
        (&instance["status"], &instance["agentConnected"]),
        (&json!("ACTIVE"), &json!(true))
    );
    let health = &instance["healthStatus"];
    assert_eq!(health["overallStatus"], "IMPAIRED");
    assert_eq!(health["details"][0]["type"], "CONTAINER_RUNTIME");
    assert_eq!(health["details"][0]["status"], "IMPAIRED");
    let failures =
        world.done("RunTask", json!({"taskDefinition": "web"})).await["failures"].clone();
    assert_eq!(failures[0]["reason"], "AGENT", "{failures}");
    let detail = failures[0]["detail"].as_str().unwrap();
    assert!(detail.contains("a container engine that does not answer"), "{detail}");
    world.done("UpdateService", json!({"service": "svc", "desiredCount": 2})).await;
    assert_eq!(world.listed(json!({"serviceName": "svc"})).await, before, "none more, none less");
    let events = world.service().await["events"].to_string();
    assert!(events.contains("has a container engine that does not answer"), "{events}");

    // What its agent does not know changes nothing; what it knows does.
    world.engine(&host, EngineHealth::Unknown).await;
    assert_eq!(world.instance(&host).await["healthStatus"]["overallStatus"], "IMPAIRED");
    world.engine(&host, EngineHealth::Answers).await;
    assert_eq!(world.instance(&host).await["healthStatus"]["overallStatus"], "OK");
    assert_eq!(world.listed(json!({"serviceName": "svc"})).await.len(), 2);
}

#[tokio::test]
async fn refusal_says_once_what_a_host_lacks_and_how_draining_ends() {
    let (world, host) = World::scheduled().await;
    let definition = json!({"family": "arm", "runtimePlatform": {"cpuArchitecture": "ARM64"},
        "containerDefinitions": [{"name": "a", "image": "i", "memory": 16}]});
    world.done("RegisterTaskDefinition", definition).await;
    let detail = async |family: &str| {
        let ran = world.done("RunTask", json!({"taskDefinition": family})).await;
        ran["failures"][0]["detail"].as_str().unwrap().to_owned()
    };
    let lacks = detail("arm").await;
    assert_eq!(lacks.matches("ecs.cpu-architecture").count(), 1, "{lacks}");
    let drain = json!({"containerInstances": [host], "status": "DRAINING"});
    world.done("UpdateContainerInstancesState", drain).await;
    let drains = detail("web").await;
    assert!(drains.contains("update-container-instances-state --status ACTIVE"), "{drains}");
}

#[tokio::test]
async fn nothing_is_placed_where_the_disks_have_no_room() {
    let answers = EngineHealth::Answers;
    for (lacks, why) in [
        (StorageHealth::Full, "The disks have no room for new tasks."),
        (StorageHealth::Unwritable, "The agent's ledger cannot be written"),
    ] {
        let (world, host) = World::scheduled().await;
        world.says(&host, answers, StorageHealth::Ready).await;
        world.create_service(json!({"desiredCount": 1})).await;
        let before = world.listed(json!({"serviceName": "svc"})).await;
        assert_eq!(before.len(), 1);

        world.says(&host, answers, lacks).await;
        let instance = world.instance(&host).await;
        let health = &instance["healthStatus"];
        assert_eq!(health["overallStatus"], "IMPAIRED");
        assert_eq!(health["details"][0]["status"], "OK");
        assert_eq!(health["details"][1]["status"], "IMPAIRED");
        let reason = health["details"][1]["statusReason"].as_str().unwrap();
        assert!(reason.starts_with(why), "{reason}");
        let failures =
            world.done("RunTask", json!({"taskDefinition": "web"})).await["failures"].clone();
        assert_eq!(failures[0]["reason"], "AGENT", "{failures}");
        let detail = failures[0]["detail"].as_str().unwrap();
        assert!(detail.contains("has no room for new tasks on its disks"), "{detail}");
        world.done("UpdateService", json!({"service": "svc", "desiredCount": 2})).await;
        let listed = world.listed(json!({"serviceName": "svc"})).await;
        assert_eq!(listed, before, "none more, none less");
        let events = world.service().await["events"].to_string();
        assert!(events.contains("has no room for new tasks on its disks"), "{events}");
        let input = json!({"taskDefinition": "web", "containerInstances": [host]});
        let failures = world.done("StartTask", input).await["failures"].clone();
        assert_eq!(failures[0]["reason"], "AGENT", "{failures}");

        // What its agent does not know changes nothing; what it knows does.
        world.says(&host, answers, StorageHealth::Unknown).await;
        assert_eq!(world.instance(&host).await["healthStatus"]["overallStatus"], "IMPAIRED");
        world.says(&host, answers, StorageHealth::Ready).await;
        assert_eq!(world.instance(&host).await["healthStatus"]["overallStatus"], "OK");
        assert_eq!(world.listed(json!({"serviceName": "svc"})).await.len(), 2);
    }
}

/// Agents of earlier releases say nothing of their disks, and would never take back what was said.
#[tokio::test]
async fn another_agent_program_begins_with_disks_that_nobody_knows() {
    let (world, host) = World::scheduled().await;
    world.agent_of("2.0.0", &host, None, &[]).await;
    world.says(&host, EngineHealth::Answers, StorageHealth::Full).await;
    world.agent_of("2.0.0", &host, None, &[]).await;
    let run = json!({"taskDefinition": "web"});
    assert_eq!(world.done("RunTask", run.clone()).await["failures"][0]["reason"], "AGENT");
    world.agent_of("1.0.0", &host, None, &[]).await;
    world.says(&host, EngineHealth::Answers, StorageHealth::Unknown).await;
    assert_eq!(world.instance(&host).await["healthStatus"]["overallStatus"], "OK");
    assert_eq!(world.done("RunTask", run).await["failures"], json!([]));
}

#[tokio::test]
async fn a_host_that_is_not_heard_has_no_health_to_tell() {
    let (world, host) = World::scheduled().await;
    world.engine(&host, EngineHealth::Silent).await;
    let silent = Command::Host(HostCommand::AgentSilent {
        host: id(&host),
        why: "gone".to_owned(),
        refused: false,
    });
    world.driver.submit(silent, |_, _| ()).await.unwrap();
    let health = world.instance(&host).await["healthStatus"].clone();
    assert_eq!(health["overallStatus"], "INSUFFICIENT_DATA");
}

#[tokio::test]
async fn every_host_has_an_instance_id_that_stays() {
    let (world, host) = World::scheduled().await;
    let made = world.instance(&host).await["ec2InstanceId"].as_str().unwrap().to_owned();
    let digits = made.strip_prefix("mi-").unwrap();
    assert!(digits.len() == 17 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{made}");
    let other = world.host(512, 512, "zone-b").await;
    assert_ne!(world.instance(&other).await["ec2InstanceId"], made.as_str());
    world.agent(&host, None, &[]).await;
    assert_eq!(world.instance(&host).await["ec2InstanceId"], made.as_str());
    let found = json!({"filter": format!("ec2InstanceId == '{made}'")});
    let found = world.done("ListContainerInstances", found).await;
    assert_eq!(found["containerInstanceArns"], json!([host]));
    world.agent(&host, Some("rack12"), &[]).await;
    assert_eq!(world.instance(&host).await["ec2InstanceId"], "rack12");
    world.agent(&host, None, &[]).await;
    assert_eq!(world.instance(&host).await["ec2InstanceId"], "rack12");
}

#[tokio::test]
async fn list_of_a_rare_attribute_goes_on_over_short_pages() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    let resources = json!([
        {"name": "CPU", "type": "INTEGER", "integerValue": 1024},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": 1024}]);
    let mut hosts = Vec::new();
    for _ in 0..=LOOKED_AT_MAX {
        let input = json!({"totalResources": resources});
        let registered = world.done("RegisterContainerInstance", input);
        let arn = registered.await["containerInstance"]["containerInstanceArn"].take();
        hosts.push(arn.as_str().unwrap().to_owned());
    }
    hosts.sort();
    for host in [&hosts[0], &hosts[LOOKED_AT_MAX]] {
        let attribute = json!({"name": "rare", "value": "1", "targetId": host});
        world.done("PutAttributes", json!({"attributes": [attribute]})).await;
    }
    let (mut found, mut token, mut pages) = (Vec::new(), json!(null), 0);
    while pages == 0 || !token.is_null() {
        let input = json!({"targetType": "container-instance", "attributeName": "rare",
            "nextToken": token});
        let page = world.done("ListAttributes", input).await;
        found.extend(texts(&page["attributes"], "targetId"));
        token = page["nextToken"].clone();
        pages += 1;
    }
    assert_eq!((found, pages), (vec![hosts[0].clone(), hosts[LOOKED_AT_MAX].clone()], 2));
}

/// Whatever a registration says or leaves empty, clients that read the member find it.
#[tokio::test]
async fn instance_without_a_name_of_its_own_has_a_managed_one() {
    let (world, _) = World::scheduled().await;
    let resources = json!([
        {"name": "CPU", "type": "INTEGER", "integerValue": 1024},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": 1024}]);
    for document in ["", "{}", r#"{"instanceId": "", "imageId": "", "availabilityZone": ""}"#] {
        let input = json!({"totalResources": resources, "instanceIdentityDocument": document});
        let registered = world.done("RegisterContainerInstance", input).await;
        let instance = &registered["containerInstance"];
        let host = instance["containerInstanceArn"].as_str().unwrap();
        assert!(instance["ec2InstanceId"].as_str().unwrap().starts_with("mi-"), "{instance}");
        for name in ["ecs.ami-id", "ecs.availability-zone", "ecs.instance-type"] {
            assert_eq!(attribute(instance, name), None, "{instance}");
        }
        world.agent(host, Some(""), &[]).await;
        let id = world.instance(host).await["ec2InstanceId"].clone();
        assert_eq!(id, instance["ec2InstanceId"]);
    }
}

#[tokio::test]
async fn an_agent_leaves_of_a_registered_instance_what_it_does_not_say() {
    let (world, _) = World::scheduled().await;
    let resources = json!([
        {"name": "CPU", "type": "INTEGER", "integerValue": 1024},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": 1024}]);
    let input = json!({"totalResources": resources, "instanceIdentityDocument": DOCUMENT,
        "attributes": [{"name": "rack", "value": "r1"}, {"name": "ssd"}]});
    let registered = world.done("RegisterContainerInstance", input).await;
    let host = registered["containerInstance"]["containerInstanceArn"].as_str().unwrap().to_owned();
    let expect = async |rack: &str, zone: &str| {
        let instance = world.instance(&host).await;
        assert_eq!(instance["ec2InstanceId"], "i-0123456789abcdef0");
        for (name, value) in [
            ("ecs.instance-type", "m7g.large"),
            ("ecs.ami-id", "ami-0123456789abcdef0"),
            ("ecs.availability-zone", zone),
            ("rack", rack),
            ("ssd", ""),
        ] {
            assert_eq!(attribute(&instance, name).as_deref(), Some(value), "{name}: {instance}");
        }
    };
    expect("r1", "zone-d").await;
    // The agent comes, says the same again, says more, and says less again.
    for _ in 0..2 {
        world.agent(&host, None, &[("ecs.os-type", "linux")]).await;
        expect("r1", "zone-d").await;
    }
    world.agent(&host, None, &[("rack", "r2"), ("ecs.availability-zone", "zone-e")]).await;
    expect("r2", "zone-e").await;
    world.agent(&host, None, &[]).await;
    expect("r1", "zone-d").await;
}

#[tokio::test]
async fn a_draining_instance_takes_no_tasks_and_can_be_taken_back() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    let host = world.host(1024, 512, "zone-a").await;
    world.define("web", json!({})).await;
    let set = |status: &str| json!({"containerInstances": [host], "status": status});
    let drained = world.done("UpdateContainerInstancesState", set("DRAINING")).await;
    assert_eq!(drained["containerInstances"][0]["status"], "DRAINING");
    let started = world.done("RunTask", json!({"taskDefinition": "web"})).await;
    assert_eq!(started["tasks"], json!([]));
    let list = |status: &str| world.done("ListContainerInstances", json!({"status": status}));
    assert_eq!(list("DRAINING").await["containerInstanceArns"], json!([host]));
    assert_eq!(list("ACTIVE").await["containerInstanceArns"], json!([]));
    world.done("UpdateContainerInstancesState", set("ACTIVE")).await;
    world.run(json!({"taskDefinition": "web"})).await;
}

#[tokio::test]
async fn an_instance_with_tasks_is_deregistered_only_by_force() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    let host = world.host(1024, 512, "zone-a").await;
    world.define("web", json!({})).await;
    let task = world.run(json!({"taskDefinition": "web"})).await.remove(0);
    let refused =
        world.refused("DeregisterContainerInstance", json!({"containerInstance": host})).await;
    assert!(refused.contains("Found running tasks on the instance"), "{refused}");
    let forced = json!({"containerInstance": host, "force": true});
    let gone = world.done("DeregisterContainerInstance", forced).await;
    assert_eq!(gone["containerInstance"]["status"], "INACTIVE");
    assert_eq!(world.task(&task).await["lastStatus"], "STOPPED");
    let listed = world.done("ListContainerInstances", json!({})).await;
    assert_eq!(listed["containerInstanceArns"], json!([]));
    let described =
        world.done("DescribeContainerInstances", json!({"containerInstances": [host]})).await;
    assert_eq!(described["containerInstances"][0]["status"], "INACTIVE");
}

#[tokio::test]
async fn attributes_are_put_listed_and_deleted() {
    let world = World::new();
    world.done("CreateCluster", json!({})).await;
    let host = world.host(1024, 512, "zone-a").await;
    let other = world.host(1024, 512, "zone-b").await;
    let attribute = |name: &str, value: &str, target: &str| json!({"name": name, "value": value, "targetId": target});
    let ten: Vec<Value> = (0..10).map(|i| attribute(&format!("a{i}"), "1", &host)).collect();
    world.done("PutAttributes", json!({"attributes": ten})).await;
    let eleventh = json!({"attributes": [attribute("b", "1", &host)]});
    let refused = world.refused("PutAttributes", eleventh).await;
    assert!(refused.starts_with("AttributeLimitExceededException"), "{refused}");
    let again = json!({"attributes": [attribute("a0", "2", &host), attribute("a0", "1", &other)]});
    world.done("PutAttributes", again).await;
    let list = |more: Value| {
        let mut input = json!({"targetType": "container-instance", "maxResults": 3});
        for (key, value) in more.as_object().unwrap() {
            input[key] = value.clone();
        }
        world.pages("ListAttributes", input, "attributes")
    };
    assert_eq!(list(json!({})).await.len(), 10 + 1 + 4);
    assert_eq!(list(json!({"attributeName": "a0"})).await.len(), 2);
    let found = list(json!({"attributeName": "a0", "attributeValue": "2"})).await;
    assert_eq!(found[0]["targetId"], json!(host));
    let delete = json!({"attributes": [{"name": "a0", "targetId": host}]});
    world.done("DeleteAttributes", delete.clone()).await;
    assert_eq!(list(json!({"attributeName": "a0"})).await.len(), 1);
    let refused = world.refused("DeleteAttributes", delete).await;
    assert!(refused.starts_with("InvalidParameterException"), "{refused}");
}

#[tokio::test]
async fn an_agent_of_ecs_would_be_told_of_this_coordinator() {
    let world = World::new();
    let told = world.done("DiscoverPollEndpoint", json!({})).await;
    assert_eq!(told["endpoint"], "http://coordinator.test:8420/");
}
