//! Every member of RegisterTaskDefinition and RunTask in ECS's model: honoured, with what proves it
//! on a real engine, or refused by name. None is dropped silently, and a new one fails the test.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::MetadataExt,
    time::Duration,
};

use longshore_harness::{
    ecs::EcsClient,
    fleet::{Fleet, FleetSettings},
    image::SAMPLE_IMAGE,
};
use longshore_tests::figures::count;
use serde_json::{Value, json};

use self::{
    honoured::{HONOURED, Proof},
    refused::{REFUSED, Where},
};
use crate::definition::{SLEEPER, wait};

#[path = "conformance/definitions.rs"]
mod definitions;
#[path = "conformance/honoured.rs"]
mod honoured;
#[path = "conformance/refused.rs"]
mod refused;

const PATIENCE: Duration = Duration::from_secs(60);

/// All the test sources that a proof may name a test of.
const TESTS: [&str; 12] = [
    include_str!("../../../agent/src/engine/plan/container_config/tests.rs"),
    include_str!("../../../agent/src/engine/plan/efs/tests.rs"),
    include_str!("../../../agent/src/engine/plan/firelens/tests.rs"),
    include_str!("capacity.rs"),
    include_str!("conformance.rs"),
    include_str!("needs.rs"),
    include_str!("order.rs"),
    include_str!("tasks.rs"),
    include_str!("../fleet.rs"),
    include_str!("../../../coordinator/src/api/ecs/tests/constraints.rs"),
    include_str!("../../../coordinator/src/api/ecs/tests/flows.rs"),
    include_str!("../../../coordinator/src/api/ecs/tests/gpus.rs"),
];

/// The botocore that the table was last compared with; an older one knows fewer members.
const COMPARED_WITH: [i64; 3] = [1, 44, 8];

/// Prints every member of both inputs, `[]` for a list's, `{}` for a map's.
const MEMBERS: &str = r#"
model = ecs.meta.service_model
def members(shape, path, above):
    if shape.type_name == 'list':
        yield from members(shape.member, path + '[]', above)
    elif shape.type_name == 'structure' and shape.name not in above:
        for name, member in shape.members.items():
            here = path + ('.' if path else '') + name
            yield here
            yield from members(member, here, above | {shape.name})
import botocore
inputs = {'version': [int(part) for part in botocore.__version__.split('.')]}
for operation in ['RegisterTaskDefinition', 'RunTask']:
    shape = model.operation_model(operation).input_shape
    inputs[operation] = list(members(shape, '', frozenset()))
print(json.dumps(inputs))
"#;

fn definitions() -> [Value; 8] {
    use definitions::{alone, bridge, gpu, host, isolated, limited, privileged};
    let [limited, overridden] = ["limited", "overridden"].map(limited);
    [bridge(), host(), alone(), isolated(), limited, overridden, privileged(), gpu()]
}

async fn one_host() -> Fleet {
    Fleet::start(FleetSettings { hosts: 1, ..Default::default() }).await.unwrap()
}

#[tokio::test]
async fn definition_reaches_the_engine_whole_or_is_refused_by_name() {
    let agent_arguments = vec!["--gpus=GPU-a,GPU-b".to_owned()];
    let settings = FleetSettings { hosts: 1, agent_arguments, ..Default::default() };
    let fleet = Fleet::start(settings).await.unwrap();
    every_member_of_the_model_is_in_the_table(&fleet).await;
    let client = fleet.ecs().unwrap();
    let engine = fleet.hosts[0].engine().unwrap();
    let shared = json!({ "Name": "shared" });
    engine.post("/volumes/create", shared).await.unwrap();
    for definition in definitions() {
        client.call("RegisterTaskDefinition", definition).await.unwrap();
    }
    definitions_are_described_as_they_were_registered(&client).await;
    let mut tasks = Vec::new();
    for mut run in [
        json!({ "taskDefinition": "bridge", "overrides": definitions::overrides() }),
        json!({ "taskDefinition": "host" }),
        json!({ "taskDefinition": "alone" }),
        json!({ "taskDefinition": "isolated" }),
        json!({ "taskDefinition": "limited" }),
        json!({
            "taskDefinition": "overridden", "overrides": { "cpu": "512", "memory": "64" },
        }),
    ] {
        run["count"] = json!(1);
        let ran = client.call("RunTask", run).await.unwrap();
        assert_eq!(ran["failures"], json!([]), "{ran:#}");
        tasks.push(ran["tasks"][0]["taskArn"].as_str().unwrap().to_owned());
    }
    wait(&fleet.aws(), "tasks-running", &tasks).await;
    begun(&client, json!({ "taskDefinition": "privileged" })).await;
    begun(&client, json!({ "taskDefinition": "gpu" })).await;

    let inspected = inspected(&fleet).await;
    let mut wrong = Vec::new();
    for (member, proof) in HONOURED {
        let Proof::Docker(container, pointer, expected) = proof else { continue };
        let shown = inspected[*container].pointer(pointer).cloned().unwrap_or(Value::Null);
        let expected: Value = serde_json::from_str(expected).unwrap();
        if !holds(&shown, &expected) {
            wrong.push(format!("{member}: {container}{pointer} is {shown}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    volumes_are_what_was_asked_for(&fleet, &inspected).await;
    every_refused_member_is_named(&client).await;
}

/// Runs a task until its container is there, whether or not the kernel lets it start.
async fn begun(client: &EcsClient, run: Value) {
    let ran = client.call("RunTask", run).await.unwrap();
    let describe = json!({ "tasks": [ran["tasks"][0]["taskArn"]] });
    let begun = |described: &Value| {
        let task = &described["tasks"][0];
        let status = task["lastStatus"].as_str()?;
        let refused = task["stoppedReason"].as_str().unwrap_or_default();
        let here = ["RUNNING", "STOPPED"].contains(&status);
        let by_kernel = ["operation not permitted", "could not select device driver"];
        let known = by_kernel.iter().any(|why| refused.contains(why));
        assert!(refused.is_empty() || known, "{refused}");
        here.then_some(())
    };
    client.eventually("DescribeTasks", describe, PATIENCE, begun).await.unwrap();
}

/// A list of the engine's holds what is expected of it, and an object its members; the rest is
/// equal.
fn holds(shown: &Value, expected: &Value) -> bool {
    match (shown, expected) {
        (Value::Array(shown), Value::Array(expected)) if !expected.is_empty() => {
            expected.iter().all(|one| shown.iter().any(|other| holds(other, one)))
        }
        (Value::Object(shown), Value::Object(expected)) => expected
            .iter()
            .all(|(name, one)| shown.get(name).is_some_and(|other| holds(other, one))),
        (shown, expected) => shown == expected,
    }
}

async fn every_member_of_the_model_is_in_the_table(fleet: &Fleet) {
    let model = fleet.aws().boto3(MEMBERS).await.unwrap();
    let mut members = BTreeSet::new();
    for operation in ["RegisterTaskDefinition", "RunTask"] {
        let prefix = if operation == "RunTask" { "RunTask." } else { "" };
        for member in model[operation].as_array().unwrap() {
            members.insert(format!("{prefix}{}", member.as_str().unwrap()));
        }
    }
    let honoured: BTreeSet<&str> = HONOURED.iter().map(|(member, _)| *member).collect();
    let path = |member: &'static str| member.split(" = ").next().unwrap_or(member);
    let refused: BTreeSet<&str> = REFUSED.iter().map(|(member, ..)| path(member)).collect();
    let within_refused = |member: &str| {
        let below =
            |top: &&str| member.strip_prefix(*top).is_some_and(|rest| rest.starts_with(['.', '[']));
        refused.iter().any(|top| *top == member || below(top))
    };
    let missing: Vec<&String> = members
        .iter()
        .filter(|member| !honoured.contains(member.as_str()) && !within_refused(member))
        .collect();
    assert!(missing.is_empty(), "neither honoured nor refused: {missing:#?}");
    let unknown: Vec<&&str> =
        honoured.iter().chain(&refused).filter(|member| !members.contains(**member)).collect();
    let version = |n: usize| model["version"][n].as_i64().unwrap();
    let older = [version(0), version(1), version(2)] < COMPARED_WITH;
    assert!(older || unknown.is_empty(), "not in the model: {unknown:#?}");
    for (member, proof) in HONOURED {
        if let Proof::Test(name) = proof {
            let test = format!("fn {name}(");
            assert!(TESTS.iter().any(|file| file.contains(&test)), "{member}: no test {name}");
        }
    }
    let honoured = members.iter().filter(|member| honoured.contains(member.as_str())).count();
    count("members_in_the_model", members.len()).unwrap();
    count("members_honoured", honoured).unwrap();
    count("members_refused_whole", members.len() - honoured).unwrap();
}

async fn definitions_are_described_as_they_were_registered(client: &EcsClient) {
    for given in definitions() {
        let described = json!({ "taskDefinition": given["family"] });
        let described = client.call("DescribeTaskDefinition", described).await.unwrap();
        let shown = &described["taskDefinition"];
        assert!(holds(shown, &given), "{given:#}\n{shown:#}");
    }
}

/// Every container, as the engine inspects it, by its name in the definition.
async fn inspected(fleet: &Fleet) -> BTreeMap<String, Value> {
    let engine = fleet.hosts[0].engine().unwrap();
    let mut inspected = BTreeMap::new();
    for listed in engine.containers(true).await.unwrap() {
        let name = listed.labels["com.amazonaws.ecs.container-name"].clone();
        let shown = engine.get_json(&format!("/containers/{}/json", listed.id)).await.unwrap();
        inspected.insert(name, shown);
    }
    inspected
}

/// What a container's inspection does not show of its volumes.
async fn volumes_are_what_was_asked_for(fleet: &Fleet, inspected: &BTreeMap<String, Value>) {
    let engine = fleet.hosts[0].engine().unwrap();
    let mounts = inspected["main"]["Mounts"].as_array().unwrap();
    let mount = |path: &str| mounts.iter().find(|m| m["Destination"] == json!(path)).unwrap();
    let name = |path: &str| mount(path)["Name"].as_str().unwrap().to_owned();
    let volume =
        async |path: &str| engine.get_json(&format!("/volumes/{}", name(path))).await.unwrap();
    assert!(name("/scratch").starts_with("ecs-bridge-1-scratch-"), "{mounts:#?}");
    assert_eq!(name("/shared"), "shared");
    assert_eq!(mount("/scratch")["RW"], json!(true));
    assert_eq!(mount("/shared")["RW"], json!(false));
    let made = volume("/made").await;
    assert_eq!(made["Name"], json!("made"));
    assert_eq!(made["Driver"], json!("local"));
    assert_eq!(made["Options"], json!({ "type": "tmpfs", "device": "tmpfs", "o": "size=1m" }));
    assert_eq!(made["Labels"], json!({ "team": "web" }));
    let own = volume("/own").await;
    assert_eq!(own["Labels"]["team"], json!("web"));
    // Docker is given a path of the mount helper's, which is the folder that was asked for.
    let file = |path: &str| fs_err::metadata(path).map(|file| (file.dev(), file.ino())).unwrap();
    assert_eq!(file(mount("/hosted")["Source"].as_str().unwrap()), file("/srv"));
}

async fn every_refused_member_is_named(client: &EcsClient) {
    let mut wrong = Vec::new();
    for (member, place, given) in REFUSED {
        let given: Value = serde_json::from_str(given).unwrap();
        // Secrets ask for a role.
        let role = "arn:aws:iam::000000000000:role/execution";
        let mut definition = json!({
            "family": "refused", "executionRoleArn": role, "containerDefinitions": [{
            "name": "app", "image": SAMPLE_IMAGE, "memory": 16, "command": SLEEPER,
        }] });
        let mut run = json!({ "taskDefinition": "refused" });
        let into = match place {
            Where::Task => &mut definition,
            Where::Container => &mut definition["containerDefinitions"][0],
            Where::Run => &mut run,
        };
        for (name, value) in given.as_object().unwrap() {
            into[name] = value.clone();
        }
        let ran = match client.call("RegisterTaskDefinition", definition).await {
            Ok(_) => client.call("RunTask", run).await,
            Err(error) => Err(error),
        };
        let (path, words) = member.split_once(" = ").unwrap_or((member, member));
        let last = path.rsplit('.').next().unwrap_or(path);
        match ran {
            Ok(_) => wrong.push(format!("{member}: it runs")),
            Err(error) if [last, words].iter().any(|w| error.to_string().contains(w)) => {}
            Err(error) => wrong.push(format!("{member}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_definition_for_another_architecture_finds_no_host() {
    let fleet = one_host().await;
    let client = fleet.ecs().unwrap();
    let other = if cfg!(target_arch = "x86_64") { "ARM64" } else { "X86_64" };
    let definition = json!({
        "family": "other",
        "runtimePlatform": { "cpuArchitecture": other, "operatingSystemFamily": "LINUX" },
        "requiresCompatibilities": ["EC2"],
        "containerDefinitions": [{ "name": "app", "image": SAMPLE_IMAGE, "memory": 16 }],
    });
    client.call("RegisterTaskDefinition", definition).await.unwrap();
    let ran = client.call("RunTask", json!({ "taskDefinition": "other" })).await.unwrap();
    assert_eq!(ran["failures"][0]["reason"], json!("ATTRIBUTE"), "{ran:#}");
}

#[tokio::test]
async fn a_shared_volume_that_is_not_there_fails_the_task_and_says_what_to_do() {
    let fleet = one_host().await;
    let client = fleet.ecs().unwrap();
    let definition = json!({ "family": "shared", "containerDefinitions": [{
        "name": "app", "image": SAMPLE_IMAGE, "memory": 16, "command": SLEEPER,
        "mountPoints": [{ "sourceVolume": "nowhere", "containerPath": "/data" }],
    }], "volumes": [{ "name": "nowhere", "dockerVolumeConfiguration": { "scope": "shared" } }] });
    client.call("RegisterTaskDefinition", definition).await.unwrap();
    let ran = client.call("RunTask", json!({ "taskDefinition": "shared" })).await.unwrap();
    let tasks = [ran["tasks"][0]["taskArn"].as_str().unwrap().to_owned()];
    wait(&fleet.aws(), "tasks-stopped", &tasks).await;
    let described = client.call("DescribeTasks", json!({ "tasks": tasks })).await.unwrap();
    let reason = described["tasks"][0]["stoppedReason"].as_str().unwrap();
    assert!(reason.starts_with("CannotCreateContainerError: "), "{reason}");
    assert!(reason.contains("docker volume create nowhere"), "{reason}");
}
