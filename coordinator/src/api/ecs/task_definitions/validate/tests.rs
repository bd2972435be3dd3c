mod ports;

use serde_json::{Value, json};

use crate::{
    api::ecs::task_definitions::{input::RegisterTaskDefinitionInput, validate},
    edge::{error::ErrorCode, input},
};

/// "ok", or the sentence that a whole request is refused with.
fn refusal(request: &Value) -> String {
    let body = serde_json::to_vec(request).unwrap();
    match input::parse::<RegisterTaskDefinitionInput>(&body, ErrorCode::Client) {
        Err(error) => error.message,
        Ok(input) => {
            let (family, spec, _) = input.into_parts();
            match validate::check(&family, &spec) {
                Ok(()) => "ok".to_owned(),
                Err(invalid) => invalid.to_string(),
            }
        }
    }
}

/// A request of one container that is right, with `task` merged into it and `container` into the
/// container.
fn request(task: &Value, container: &Value) -> Value {
    let mut request = json!({"family": "web"});
    let mut first = json!({"name": "app", "image": "nginx", "memory": 128});
    merge(&mut first, container);
    request["containerDefinitions"] = json!([first]);
    merge(&mut request, task);
    request
}

fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().unwrap() {
        into[key] = value.clone();
    }
}

fn check_container(container: Value, begins: &str) {
    check(json!({}), container, begins);
}

fn check_task(task: Value, begins: &str) {
    check(task, json!({}), begins);
}

fn check(task: Value, container: Value, begins: &str) {
    let said = refusal(&request(&task, &container));
    assert!(said.starts_with(begins), "{task} {container}\n  said: {said}\n  not:  {begins}");
}

fn container(name: &str, more: Value) -> Value {
    let mut container = json!({"name": name, "image": "nginx", "memory": 128});
    merge(&mut container, &more);
    container
}

#[test]
fn a_family_has_a_name_of_letters_digits_underscores_and_hyphens() {
    check_task(json!({"family": "Web_1-a"}), "ok");
    check_task(json!({"family": "a".repeat(255)}), "ok");
    check_task(json!({"family": ""}), "Family should not be null or empty.");
    check_task(json!({"family": "a".repeat(256)}), "Family should not be longer than 255");
    for bad in ["a b", "a:1", "a/b", "ä"] {
        check_task(json!({"family": bad}), "Family contains invalid characters");
    }
}

#[test]
fn container_without_a_name_is_refused_as_ecs_does() {
    for named in [json!({}), json!({"name": ""})] {
        let mut first = json!({"image": "nginx", "memory": 128});
        merge(&mut first, &named);
        check_task(
            json!({"containerDefinitions": [first]}),
            "Container.name should not be null or empty.",
        );
    }
}

#[test]
fn network_mode_default_is_refused_with_what_to_write() {
    check_task(
        json!({"networkMode": "default"}),
        "`networkMode`: `default` is a network mode of Windows; leave it out or write bridge.",
    );
    check_task(json!({"networkMode": "lan"}), "`networkMode` must be one of bridge, host");
}

#[test]
fn fargate_refuses_the_hosts_processes_in_the_words_of_ecs() {
    check_task(
        json!({"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256",
            "memory": "512", "pidMode": "host"}),
        "Tasks using the Fargate launch type do not support pidMode 'host'. The supported value \
         for pidMode is 'task'.",
    );
}

#[test]
fn a_definition_has_one_to_ten_containers_with_names_of_their_own() {
    let many = |count: usize| -> Value {
        (0..count).map(|i| container(&format!("c{i}"), json!({}))).collect()
    };
    check_task(json!({"containerDefinitions": []}), "Container list cannot be empty.");
    check_task(json!({"containerDefinitions": many(10)}), "ok");
    check_task(json!({"containerDefinitions": many(11)}), "Too many containers: 11 given");
    let twice = json!([container("a", json!({})), container("a", json!({}))]);
    check_task(json!({"containerDefinitions": twice}), "Container name 'a' is used twice.");
    check_container(json!({"name": ""}), "Container.name should not be null or empty.");
    check_container(json!({"name": "a b"}), "Container.name contains invalid characters");
}

#[test]
fn a_definition_is_at_most_64_kib() {
    let value = "x".repeat(64 * 1024);
    check_container(json!({"environment": [{"name": "A", "value": value}]}), "Actual length: '");
}

#[test]
fn at_least_one_container_is_essential() {
    check_container(
        json!({"essential": false}),
        "At least one container of the task definition must be essential.",
    );
    let two = json!([container("a", json!({"essential": false})), container("b", json!({}))]);
    check_task(json!({"containerDefinitions": two}), "ok");
}

#[test]
fn an_image_is_a_reference_that_docker_reads() {
    let digest = format!("nginx@sha256:{}", "a".repeat(64));
    for good in ["nginx", "registry:5000/a/b:1.2", "a#b", digest.as_str()] {
        check_container(json!({"image": good}), "ok");
    }
    check_container(json!({"image": null}), "Container.image should not be null or empty.");
    check_container(json!({"image": ""}), "Container.image should not be null or empty.");
    check_container(json!({"image": "a".repeat(256)}), "Container.image should not be longer");
    check_container(json!({"image": "a b"}), "Container.image contains invalid characters");
    check_container(
        json!({"image": "a@sha256:12"}),
        "Container.image `a@sha256:12` has an invalid",
    );
}

#[test]
fn a_task_has_a_size_in_units_or_in_vcpus_and_gigabytes() {
    for good in ["128", "1 vCPU", "196608"] {
        check_task(json!({"cpu": good}), "ok");
    }
    for bad in ["127", "196609", "half", "1 GB", "-1"] {
        check_task(json!({"cpu": bad}), "Invalid 'cpu' setting for task");
    }
    for good in ["128", "1GB", "0.5 GB"] {
        check_task(json!({"memory": good}), "ok");
    }
    for bad in ["5", "much", "1 vCPU"] {
        check_task(json!({"memory": bad}), "Invalid 'memory' setting for task");
    }
}

#[test]
fn containers_fit_in_their_task() {
    check(json!({"cpu": "256"}), json!({"cpu": 256}), "ok");
    check(json!({"cpu": "256"}), json!({"cpu": 257}), "The total of the containers' 'cpu' is 257");
    check(
        json!({"memory": "100"}),
        json!({"memory": 101}),
        "Invalid setting for container 'app'. Its 'memory' is more than the task's 100 MiB.",
    );
    check(
        json!({"memory": "100"}),
        json!({"memory": null, "memoryReservation": 101}),
        "The total of the containers' 'memoryReservation' is 101 MiB",
    );
}

#[test]
fn a_container_has_memory_of_its_own_or_of_its_task() {
    check_container(json!({"memory": null, "memoryReservation": 64}), "ok");
    check(json!({"memory": "512"}), json!({"memory": null}), "ok");
    check_container(
        json!({"memory": null}),
        "Invalid setting for container 'app'. At least one of 'memory' or 'memoryReservation' must \
         be specified.",
    );
    check_container(json!({"memory": 6}), "ok");
    check_container(json!({"memory": 5}), "Invalid setting for container 'app'. 'memory' must be");
    check_container(
        json!({"memory": 64, "memoryReservation": 65}),
        "Invalid setting for container 'app'. 'memory' (64) must be greater",
    );
    check_container(json!({"memory": -1}), "`containerDefinitions[0].memory` must be");
    check_container(json!({"memory": "128"}), "`containerDefinitions[0].memory` must be");
}

#[test]
fn restart_policies_are_bounded() {
    let policy = |more: Value| {
        let mut policy = json!({"enabled": true});
        merge(&mut policy, &more);
        json!({"restartPolicy": policy})
    };
    check_container(policy(json!({})), "ok");
    check_container(
        json!({"restartPolicy": {}}),
        "`containerDefinitions[0].restartPolicy.enabled`",
    );
    for (period, said) in [(59, "The restartPolicy"), (60, "ok"), (1800, "ok"), (1801, "The rest")]
    {
        check_container(policy(json!({"restartAttemptPeriod": period})), said);
    }
    let codes: Vec<i32> = (0..51).collect();
    check_container(policy(json!({"ignoredExitCodes": codes[1..]})), "ok");
    check_container(
        policy(json!({"ignoredExitCodes": codes})),
        "Container 'app' has 51 ignoredExitCodes",
    );
}

#[test]
fn health_checks_are_bounded_and_say_what_to_run() {
    let health = |member: &str, value: Value| {
        let mut health = json!({"command": ["CMD-SHELL", "true"]});
        health[member] = value;
        json!({"healthCheck": health})
    };
    for (member, least, most) in
        [("interval", 5, 300), ("timeout", 2, 60), ("retries", 1, 10), ("startPeriod", 0, 300)]
    {
        check_container(health(member, json!(least)), "ok");
        check_container(health(member, json!(most)), "ok");
        check_container(health(member, json!(most + 1)), &format!("The healthCheck.{member} of"));
        if least > 0 {
            let said = format!("The healthCheck.{member} of container 'app' is {}", least - 1);
            check_container(health(member, json!(least - 1)), &said);
        }
    }
    for bad in [json!([]), json!(["CMD"]), json!(["curl", "x"]), json!(["NONE"])] {
        check_container(health("command", bad), "The health check command of container 'app'");
    }
}

#[test]
fn dependencies_name_other_containers_without_a_cycle() {
    let depends = |on: &str, condition: &str| json!({"dependsOn": [{"containerName": on, "condition": condition}]});
    let pair = |first: Value, second: Value| json!({"containerDefinitions": [container("a", first), container("b", second)]});
    let side = json!({"essential": false});
    check_task(pair(depends("b", "START"), json!({})), "ok");
    check_task(pair(depends("b", "SUCCESS"), side.clone()), "ok");
    check_task(pair(depends("b", "COMPLETE"), side), "ok");
    for condition in ["SUCCESS", "COMPLETE"] {
        check_task(
            pair(depends("b", condition), json!({})),
            "Container 'a' cannot depend on the completion of container 'b', which is essential",
        );
    }
    check_task(
        pair(depends("b", "HEALTHY"), json!({})),
        "Container 'a' depends on the health of container 'b', which has no healthCheck.",
    );
    check_task(pair(depends("a", "START"), json!({})), "Container 'a' names itself in dependsOn.");
    check_task(pair(depends("c", "START"), json!({})), "Container 'a' names `c` in dependsOn");
    check_task(
        pair(depends("b", "START"), depends("a", "START")),
        "Container 'a' depends on itself through dependsOn, links or volumesFrom.",
    );
    check_task(
        pair(depends("b", "START"), json!({"links": ["a"]})),
        "Container 'a' depends on itself through dependsOn, links or volumesFrom.",
    );
    check_task(pair(json!({"volumesFrom": [{"sourceContainer": "b"}]}), json!({})), "ok");
    check_task(pair(json!({"volumesFrom": [{}]}), json!({})), "Container 'a' names `` in volumes");
}

#[test]
fn links_are_for_bridge_mode() {
    let linked = |task: Value| {
        let mut request = json!({"containerDefinitions": [
            container("a", json!({"links": ["b:db"]})), container("b", json!({}))]});
        merge(&mut request, &task);
        request
    };
    check_task(linked(json!({})), "ok");
    for mode in ["host", "awsvpc", "none"] {
        let said = format!("Links are not supported when networkMode={mode}.");
        check_task(linked(json!({"networkMode": mode})), &said);
    }
}

#[test]
fn environment_and_secrets_have_names_and_sources() {
    check_container(json!({"environment": [{"name": "A"}]}), "ok");
    check_container(
        json!({"environment": [{"name": "", "value": "1"}]}),
        "Container 'app' has the environment variable name ``",
    );
    check_container(
        json!({"environment": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}),
        "ok",
    );
    let files = |value: &str, count: usize| {
        let file = json!({"value": value, "type": "s3"});
        json!({"environmentFiles": vec![file; count]})
    };
    check_container(files("arn:aws:s3:::bucket/a.env", 10), "ok");
    check_container(files("arn:aws:s3:::bucket/a.env", 11), "Container 'app' has 11 environmentF");
    for bad in ["s3://bucket/a.env", "arn:aws:s3:::bucket/a.txt", "arn:aws:s3:::a.env"] {
        check_container(files(bad, 1), "Container 'app' has the environment file");
    }
    let secret = json!({"secrets": [{"name": "A", "valueFrom": "/a"}]});
    check(json!({"executionRoleArn": "arn:aws:iam::0:role/r"}), secret.clone(), "ok");
    check_container(secret, "When you are specifying container secrets, you must also specify");
    check_container(json!({"secrets": [{"name": "A"}]}), "`containerDefinitions[0].secrets[0].val");
}

#[test]
fn mounts_name_volumes_of_the_task() {
    let mount = |volume: &str, path: &str| json!({"sourceVolume": volume, "containerPath": path});
    let volumes = json!({"volumes": [{"name": "data"}]});
    check(volumes.clone(), json!({"mountPoints": [mount("data", "/data")]}), "ok");
    check_container(
        json!({"mountPoints": [mount("data", "/data")]}),
        "Unknown volume 'data' in container 'app'.",
    );
    check(
        volumes.clone(),
        json!({"mountPoints": [mount("data", "")]}),
        "Container 'app' mounts the volume 'data' without a containerPath.",
    );
    check(
        volumes,
        json!({"mountPoints": [mount("data", "/d"), mount("data", "/d")]}),
        "Container 'app' mounts two volumes at `/d`.",
    );
}

#[test]
fn volumes_have_names_and_are_of_one_kind() {
    let volume = |more: Value| {
        let mut volume = json!({"name": "data"});
        merge(&mut volume, &more);
        json!({"volumes": [volume]})
    };
    check_task(volume(json!({})), "ok");
    check_task(volume(json!({"name": ""})), "Volume.name should not be null or empty.");
    check_task(json!({"volumes": [{}]}), "`volumes[0].name` is required.");
    check_task(
        json!({"volumes": [{"name": "a"}, {"name": "a"}]}),
        "Volume name 'a' is used twice.",
    );
    check_task(volume(json!({"host": {}, "dockerVolumeConfiguration": {}})), "ok");
    check_task(
        volume(json!({"host": {"sourcePath": "/a"}, "dockerVolumeConfiguration": {}})),
        "Volume 'data' can be of one kind only, and host.sourcePath and dockerVolumeConfiguration",
    );
    let docker = |more: Value| volume(json!({"dockerVolumeConfiguration": more}));
    check_task(docker(json!({"scope": "shared", "autoprovision": true})), "ok");
    check_task(docker(json!({"autoprovision": true})), "ok");
    check_task(docker(json!({"scope": "task", "autoprovision": false})), "ok");
    let efs = |more: Value| {
        let mut efs = json!({"fileSystemId": "fs-1"});
        merge(&mut efs, &more);
        volume(json!({"efsVolumeConfiguration": efs}))
    };
    check_task(efs(json!({})), "ok");
    check_task(
        efs(json!({"transitEncryptionPort": 1})),
        "Volume 'data' gives a transitEncryptionP",
    );
    let point = json!({"accessPointId": "fsap-1"});
    check_task(
        efs(json!({"authorizationConfig": point})),
        "Volume 'data' needs transitEncryption ENABLED",
    );
    check_task(
        efs(json!({"authorizationConfig": point, "transitEncryption": "ENABLED",
            "rootDirectory": "/a"})),
        "Volume 'data' has an access point, so its rootDirectory must be / or left out.",
    );
    check_task(
        json!({"volumes": [
            {"name": "a", "configuredAtLaunch": true}, {"name": "b", "configuredAtLaunch": true}]}),
        "Only one volume of a task definition can be configuredAtLaunch.",
    );
}

#[test]
fn what_awsvpc_cannot_is_refused() {
    let awsvpc = json!({"networkMode": "awsvpc"});
    for (container, what) in [
        (json!({"hostname": "a"}), "Hostname"),
        (json!({"extraHosts": [{"hostname": "a", "ipAddress": "10.0.0.1"}]}), "Extra hosts"),
        (json!({"dnsServers": ["10.0.0.1"]}), "DNS servers"),
        (json!({"dnsSearchDomains": ["a"]}), "DNS search domains"),
    ] {
        let said = format!("{what} is not supported on container when networkMode=awsvpc.");
        check(awsvpc.clone(), container.clone(), &said);
        check_container(container, "ok");
    }
}

#[test]
fn kernel_parameters_are_those_of_a_container() {
    let linux = |more: Value| json!({"linuxParameters": more});
    check_container(linux(json!({"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}})), "ok");
    check_container(
        linux(json!({"capabilities": {"add": ["FLY"]}})),
        "Container 'app' names the capability `FLY`",
    );
    check_container(linux(json!({"swappiness": 100})), "ok");
    check_container(linux(json!({"swappiness": 101})), "Container 'app' has a swappiness");
    check_container(linux(json!({"sharedMemorySize": 0})), "Container 'app' has the sharedMemory");
    let tmpfs = |option: &str| {
        linux(json!({"tmpfs": [{"containerPath": "/t", "size": 1, "mountOptions": [option]}]}))
    };
    check_container(tmpfs("mode=1777"), "ok");
    check_container(tmpfs("fast"), "Container 'app' has the tmpfs mount option `fast`");
    let sysctl = |name: &str| json!({"systemControls": [{"namespace": name, "value": "1"}]});
    check_container(sysctl("net.core.somaxconn"), "ok");
    check_container(sysctl("kernel.shmmax"), "ok");
    check_container(sysctl("vm.swappiness"), "Container 'app' has the system control `vm.swap");
    check(
        json!({"networkMode": "host"}),
        sysctl("net.core.somaxconn"),
        "Container 'app' has the system control `net.core.somaxconn`; network system controls",
    );
    check(
        json!({"ipcMode": "host"}),
        sysctl("kernel.shmmax"),
        "Container 'app' has the system control `kernel.shmmax`; IPC system controls",
    );
}

#[test]
fn logs_go_to_known_drivers_with_the_options_they_need() {
    let log = |driver: &str, options: Value| json!({"logConfiguration": {"logDriver": driver, "options": options}});
    for driver in ["json-file", "syslog", "journald", "gelf", "fluentd"] {
        check_container(log(driver, json!({})), "ok");
    }
    check_container(log("local", json!({})), "Container 'app' has the logDriver `local`");
    check_container(
        log("awslogs", json!({"awslogs-group": "g"})),
        "Log driver awslogs requires options: awslogs-region",
    );
    // Every form of a boolean that Docker and ECS's agent read, patterns that only Go takes, and
    // a buffer whose mode is the account's.
    for (option, values) in [
        ("awslogs-create-group", ["True", "TRUE", "1", "t", "F"].as_slice()),
        ("awslogs-multiline-pattern", &["^{", "^[[{]", r"^\d{4}-\d{2}"]),
        ("max-buffer-size", &["25m"]),
    ] {
        for value in values {
            let mut options = json!({"awslogs-group": "g", "awslogs-region": "us-east-1"});
            options[option] = json!(value);
            check_container(log("awslogs", options), "ok");
        }
    }
    let pattern = json!({"awslogs-group": "g", "awslogs-region": "us-east-1",
        "awslogs-multiline-pattern": "a("});
    check_container(
        log("awslogs", pattern),
        "Log driver awslogs has a bad awslogs-multiline-pattern: unclosed group, at character 2: `(`",
    );
    for value in ["true", "False", "0", "T"] {
        let options = json!({"enable-ecs-log-metadata": value});
        let router = json!({"type": "fluentbit", "options": options});
        check_container(json!({"firelensConfiguration": router}), "ok");
    }
    check_container(
        log("awsfirelens", json!({})),
        "Container 'app' has the log driver awsfirelens, and no container",
    );
    let router = container("router", json!({"firelensConfiguration": {"type": "fluentbit"}}));
    let routed = container("a", log("awsfirelens", json!({})));
    check_task(json!({"containerDefinitions": [router, routed]}), "ok");
    check_task(
        json!({"containerDefinitions": [router, container("b",
            json!({"firelensConfiguration": {"type": "fluentd"}}))]}),
        "Only one container of a task definition can have a firelensConfiguration.",
    );
}

#[test]
fn ulimits_and_security_options_are_known_ones() {
    let ulimit = |name: &str, soft: i64, hard: i64| json!({"ulimits": [{"name": name, "softLimit": soft, "hardLimit": hard}]});
    check_container(ulimit("nofile", 1024, 2048), "ok");
    check_container(ulimit("core", -1, -1), "ok");
    check_container(ulimit("core", 0, -1), "ok");
    check_container(ulimit("nofile", 2, 1), "The ulimit `nofile` of container 'app'");
    check_container(ulimit("nofile", -1, 1), "The ulimit `nofile` of container 'app'");
    check_container(ulimit("files", 1, 1), "Container 'app' has a ulimit with the name `files`");
    for good in ["no-new-privileges", "apparmor:docker-default", "label:type:svirt_t"] {
        check_container(json!({"dockerSecurityOptions": [good]}), "ok");
    }
    for bad in ["seccomp:unconfined", "apparmor:", ""] {
        check_container(json!({"dockerSecurityOptions": [bad]}), "Container 'app' has the docker");
    }
    let spec = "credentialspec:arn:aws:ssm:::parameter/a";
    check_container(json!({"credentialSpecs": [spec]}), "ok");
    check_container(json!({"credentialSpecs": [spec, spec]}), "Container 'app' has 2 credentialS");
    check_container(json!({"credentialSpecs": ["a"]}), "Container 'app' has the credentialSpecs e");
}

#[test]
fn resource_requirements_have_the_values_of_their_type() {
    let needs =
        |kind: &str, value: &str| json!({"resourceRequirements": [{"type": kind, "value": value}]});
    check_container(needs("GPU", "1"), "ok");
    check_container(needs("GPU", "ALL"), "ok");
    check_container(needs("GPU", "0"), "Container 'app' asks for `0` GPUs");
    check_container(needs("NeuronDevice", "1"), "Container 'app' asks for `1` Neuron devices");
    check_container(needs("InferenceAccelerator", "a"), "Container 'app' asks for the inference");
    check(
        json!({"inferenceAccelerators": [{"deviceName": "a", "deviceType": "eia2.medium"}]}),
        needs("InferenceAccelerator", "a"),
        "ok",
    );
    check_container(needs("FPGA", "1"), "`containerDefinitions[0].resourceRequirements[0].type`");
}

#[test]
fn a_tasks_placement_constraints_are_expressions() {
    let constraint = |kind: Value, expression: &str| json!({"placementConstraints": [{"type": kind, "expression": expression}]});
    check_task(constraint(json!("memberOf"), "attribute:a == b"), "ok");
    check_task(constraint(json!("memberOf"), ""), "placementConstraints.expression should not be");
    check_task(
        constraint(json!("memberOf"), &"a".repeat(2001)),
        "Invalid expression in placementConstraints: column 2001: ",
    );
    check_task(
        constraint(json!("memberOf"), "attribute:a"),
        "Invalid expression in placementConstraints: column 12: an operator",
    );
    check_task(
        constraint(json!("distinctInstance"), "a"),
        "`placementConstraints[0].type` must be",
    );
    check_task(
        constraint(Value::Null, "a"),
        "placementConstraints.type should not be null or empty",
    );
    let many = vec![json!({"type": "memberOf", "expression": "a == b"}); 11];
    check_task(json!({"placementConstraints": many}), "Too many placement constraints: 11 given");
}

#[test]
fn a_definition_fits_the_launch_types_it_requires() {
    let requires = |launch: &str, more: Value| {
        let mut task = json!({"requiresCompatibilities": [launch]});
        merge(&mut task, &more);
        task
    };
    check_task(requires("EC2", json!({})), "ok");
    check_task(requires("EXTERNAL", json!({})), "ok");
    check_task(requires("FARGATE", json!({})), "Fargate only supports network mode 'awsvpc'.");
    check_task(
        requires("FARGATE", json!({"networkMode": "awsvpc"})),
        "Fargate requires that 'cpu' be defined at the task level.",
    );
    check_task(
        requires("FARGATE", json!({"networkMode": "awsvpc", "cpu": "256"})),
        "Fargate requires that 'memory' be defined at the task level.",
    );
    check_task(
        requires("FARGATE", json!({"networkMode": "awsvpc", "cpu": "256", "memory": "4096"})),
        "No Fargate configuration exists for given values: 256 CPU, 4096 memory.",
    );
    check_task(
        requires("FARGATE", json!({"networkMode": "awsvpc", "cpu": ".25 vCPU", "memory": "1 GB"})),
        "ok",
    );
    check_task(
        requires("EXTERNAL", json!({"networkMode": "awsvpc"})),
        "EXTERNAL does not support network mode 'awsvpc'.",
    );
    check_task(requires("MOON", json!({})), "`requiresCompatibilities[0]` must be one of");
    check(
        requires("FARGATE", json!({"networkMode": "awsvpc", "cpu": "256", "memory": "512"})),
        json!({"stopTimeout": 121}),
        "The stopTimeout of container 'app' is 121; it must be between 2 and 120.",
    );
    check_container(json!({"stopTimeout": 121}), "ok");
}

#[test]
fn task_level_members_are_checked() {
    check_task(json!({"networkMode": "overlay"}), "`networkMode` must be one of");
    check_task(json!({"enableFaultInjection": true}), "enableFaultInjection is only supported");
    check_task(json!({"enableFaultInjection": true, "networkMode": "host"}), "ok");
    check_task(
        json!({"trustedExecutionConfiguration": {"isolationMode": "SHARED"}}),
        "trustedExecutionConfiguration is only supported",
    );
    check_task(
        json!({"proxyConfiguration": {"containerName": "app"}}),
        "proxyConfiguration is only supported when networkMode=awsvpc.",
    );
    check_task(
        json!({"proxyConfiguration": {"containerName": "no"}, "networkMode": "awsvpc"}),
        "proxyConfiguration.containerName `no` is not a container",
    );
    check_task(
        json!({"runtimePlatform": {"operatingSystemFamily": "PLAN9"}}),
        "runtimePlatform.operatingSystemFamily `PLAN9` is not known.",
    );
    check_task(json!({"ephemeralStorage": {"sizeInGiB": 20}}), "ephemeralStorage.sizeInGiB is 20");
    check_task(
        json!({"inferenceAccelerators": [{"deviceName": "a", "deviceType": ""}]}),
        "inferenceAccelerators.deviceName and deviceType should not be null or empty.",
    );
}
