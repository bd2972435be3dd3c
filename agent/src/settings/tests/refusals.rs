//! Values that are refused, and what the operator is told.

use super::*;

#[test]
fn the_coordinator_must_be_set() {
    check_refused(
        &[],
        "",
        "",
        expect![[r#"
        longshore-agent: no coordinator is set: give its host and joining port, for example by the line coordinator = "10.0.0.1:8421" in FILE, by --coordinator 10.0.0.1:8421 or by LONGSHORE_COORDINATOR=10.0.0.1:8421
    "#]],
    );
}

#[test]
fn every_bad_value_says_where_it_stands_and_what_to_write() {
    check_refused(
        &[
            "--coordinator=https://c",
            "--join-token=v1-secret",
            "--container-instance=i-1",
            "--ec2-metadata-endpoint=ftp://a",
            "--advertise=0.0.0.0",
            "--cpu=two",
            "--memory=0",
        ],
        "LONGSHORE_POLL_LISTEN=51680\n\
         LONGSHORE_DOCKER=tcp://10.0.0.1:2375\n\
         LONGSHORE_RESERVED_MEMORY=-1\n\
         LONGSHORE_RESERVED_PORTS=80,90/sctp\n\
         LONGSHORE_CONTAINER_STOP_TIMEOUT=30\n\
         ECS_CLUSTER=arn:aws:ecs:eu-1:1:cluster/a\n\
         ECS_INSTANCE_ATTRIBUTES=rack=12\n\
         ECS_AVAILABLE_LOGGING_DRIVERS=json-file",
        "attributes = { 'ecs.os-type' = 'linux' }\n\
         tags = { 'aws:x' = '1' }\n\
         availability_zone = ' a'\n\
         ec2_metadata = 'maybe'\n\
         disable_privileged = 'yes'\n\
         forbid = ['root']\n\
         bind_roots = ['srv']\n\
         image_pull = 'never'\n\
         log_format = 'xml'\n\
         data_dir = ''\n\
         task_cleanup_wait = '0s'\n\
         image_cleanup_interval = '5m'\n\
         disk_clean_at = '85%'\n\
         stopped_tasks_kept = 0\n\
         images_deleted_per_cycle = 0\n\
         logging_drivers = ['a b']\n\
         cluster_name = 'x'\n\
         log = 1.5",
        expect![[r#"
            longshore-agent: `cluster_name` in FILE is not a setting; the known ones are coordinator, join_token, join_token_file, container_instance, cluster, data_dir, advertise, poll_listen, introspection_listen, task_endpoints_listen, task_endpoints_rate, allow_instance_metadata, docker, cpu, memory, reserved_memory, gpus, gpu_runtime, container_metadata, reserved_ports, dynamic_host_ports, task_cpu_mem_limit, task_cpu_period, task_pids_limit, attributes, tags, instance_type, availability_zone, instance_id, ec2_metadata, drain_on_spot_interruption, ec2_metadata_endpoint, logging_drivers, disable_privileged, forbid, bind_roots, allow_volumes, engine_sockets, volumes_socket, s3, http_proxy, https_proxy, no_proxy, efs, repository_credentials, docker_config, engine_auth_type, engine_auth_data, image_pull, pull_dependent_upfront, disable_image_cleanup, image_cleanup_interval, image_minimum_cleanup_age, images_deleted_per_cycle, image_cleanup_exclude, manifest_pull_timeout, image_pull_timeout, image_pull_silence, container_create_timeout, container_start_timeout, container_stop_timeout, task_cleanup_wait, stopped_tasks_kept, disk_clean_at, disk_refuse_at, disk_floor, log_store_age, log_store_size, log, log_format
            longshore-agent: `log` in FILE has a value of a kind that no setting has: give a string, a whole number, true or false, a list of strings or numbers, or a table of strings
            longshore-agent: ECS_AVAILABLE_LOGGING_DRIVERS is not a JSON list: write it as ["json-file","journald"] or [80,443] (expected value at line 1 column 1)
            longshore-agent: ECS_INSTANCE_ATTRIBUTES is not a JSON object of strings: write it as {"rack":"12"} (expected value at line 1 column 1)
            longshore-agent: --coordinator: `https://c` is not a host and port: write it as 10.0.0.1:8421, coordinator.example:8421 or [2001:db8::1]:8421
            longshore-agent: --join-token: is not a join token: copy the whole of what `longshore-coordinator join-token create` printed, v1-…-…
            longshore-agent: --container-instance: `i-1` is not a container instance: give its ARN or its id of 32 digits, as RegisterContainerInstance answered it
            longshore-agent: ECS_CLUSTER: `arn:aws:ecs:eu-1:1:cluster/a` is not a cluster's name: give up to 255 letters, digits, hyphens and underscores, not an ARN
            longshore-agent: `data_dir` in FILE: is empty: give a value, or leave it out
            longshore-agent: --advertise: `0.0.0.0` is not an address of this host: give one that others can reach, without a port, for example 10.0.0.7
            longshore-agent: LONGSHORE_POLL_LISTEN: `51680` is not an address and port: write it as 0.0.0.0:51680 or [::]:51680
            longshore-agent: LONGSHORE_DOCKER: `tcp://10.0.0.1:2375` is not a unix socket: the agent talks to the Docker Engine of its own host, write it as unix:///var/run/docker.sock
            longshore-agent: --cpu: `two` is not a number of CPU units: give a whole one, 1024 for each core
            longshore-agent: --memory: `0` is not an amount of memory: give a whole number of MiB, above zero
            longshore-agent: LONGSHORE_RESERVED_MEMORY: `-1` is not an amount of memory: give a whole number of MiB
            longshore-agent: LONGSHORE_RESERVED_PORTS: `90/sctp` is not a port: write 8080 or 9000/udp, from 1 to 65535
            longshore-agent: `attributes` in FILE: `ecs.os-type` is set by the agent itself: use a name that does not begin with `ecs.` or `com.amazonaws.`; type and zone have settings of their own
            longshore-agent: `tags` in FILE: `aws:x` cannot be a tag: give a key of 1 to 128 characters that does not begin with `aws:`, and a value of at most 256
            longshore-agent: `availability_zone` in FILE: ` a` is not an attribute's value: give up to 128 letters, digits, spaces inside, or any of - _ . / \ @ :
            longshore-agent: `ec2_metadata` in FILE: `maybe` is not known: give auto, on or off
            longshore-agent: --ec2-metadata-endpoint: `ftp://a` is not an HTTP address: write http://169.254.169.254
            longshore-agent: `logging_drivers` in FILE: `a b` is not a log driver's name: give Docker's, for example json-file,journald
            longshore-agent: `disable_privileged` in FILE: `yes` is neither: give true or false
            longshore-agent: `forbid` in FILE: `root` is not known: forbid privileged, host-network, host-processes, host-ipc, devices, capabilities, docker-socket, unconfined or log-addresses
            longshore-agent: `bind_roots` in FILE: `srv` is not an absolute path: write /srv/volumes, for example
            longshore-agent: `image_pull` in FILE: `never` is not known: give default, always, once or prefer-cached
            longshore-agent: `image_cleanup_interval` in FILE: is shorter than 10 minutes: give 10m or more; where room is short, images are cleaned up at once
            longshore-agent: `images_deleted_per_cycle` in FILE: `0` is not a number of images: give a whole one, above zero
            longshore-agent: LONGSHORE_CONTAINER_STOP_TIMEOUT: `30` is not a duration of a second or more: write 30s, 1m30s or 3h
            longshore-agent: `task_cleanup_wait` in FILE: `0s` is not a duration of a second or more: write 30s, 1m30s or 3h
            longshore-agent: `stopped_tasks_kept` in FILE: `0` is not a number of tasks: give a whole one, 1 to 100000
            longshore-agent: `disk_clean_at` in FILE: `85%` is not a percentage: give a whole number, 1 to 100
            longshore-agent: `log_format` in FILE: `xml` is not a log format: say `text` or `json`
        "#]],
    );
}

#[test]
fn a_file_that_is_not_toml_is_shown_where_it_breaks() {
    check_refused(
        &[],
        "",
        "cluster = ",
        expect![[r#"
            longshore-agent: FILE is not TOML: TOML parse error at line 1, column 11
              |
            1 | cluster = 
              |           ^
            string values must be quoted, expected literal string; correct it there
        "#]],
    );
}

#[test]
fn a_named_file_must_be_there() {
    let arguments = ["longshore-agent", "--config", "/nowhere/agent.toml"].map(str::to_owned);
    let Err(SettingsEnd::Bad(problems)) = load(&arguments, &Environment::new()) else { panic!() };
    expect![[r#"
        longshore-agent: the settings file cannot be read: failed to open file `/nowhere/agent.toml`: No such file or directory (os error 2); correct --config or the file
    "#]].assert_eq(&problems.to_string());
}

#[test]
fn an_unknown_flag_is_refused_by_name() {
    check_refused(
        &["--clutser=a"],
        "",
        "",
        expect![[r#"
            longshore-agent: unexpected argument '--clutser' found

              tip: a similar argument exists: '--cluster'

            Usage: longshore-agent --config <FILE> --cluster <NAME>

            For more information, try '--help'.
        "#]],
    );
}

/// Amazon's agent reads its booleans by Go's ParseBool.
#[test]
fn booleans_are_read_in_every_form_of_parse_bool() {
    for (text, value) in [
        ("1", true),
        ("t", true),
        ("T", true),
        ("TRUE", true),
        ("true", true),
        ("True", true),
        ("0", false),
        ("f", false),
        ("F", false),
        ("FALSE", false),
        ("false", false),
        ("False", false),
    ] {
        let disabled = good(&[], &format!("ECS_DISABLE_PRIVILEGED={text}"), "");
        assert_eq!(disabled.privileged, !value, "{text}");
        let gpus = good(&[], &format!("ECS_ENABLE_GPU_SUPPORT={text}"), "").gpus;
        assert_eq!(gpus == Gpus::Auto, value, "{text}");
        let ignored = good(&[], &format!("ECS_ENABLE_TASK_ENI={text}"), "").warnings;
        assert_eq!(ignored.is_empty(), !value, "{text}");
    }
}
