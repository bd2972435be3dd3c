//! A task from its order to its clean-up, with a container engine that does as it is told.

use super::*;

fn with_ports(ports: &[(u16, Option<u16>)]) -> ContainerDefinition {
    let mapping = |&(container_port, host_port)| PortMapping {
        container_port: Some(container_port),
        host_port,
        ..PortMapping::default()
    };
    ContainerDefinition { port_mappings: ports.iter().map(mapping).collect(), ..container("app") }
}

#[tokio::test(start_paused = true)]
async fn a_task_costs_one_create_and_one_start_and_nothing_else() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.fake.forget_calls();
    rig.coordinator.run(task(1), spec(vec![with_ports(&[(80, Some(8080))])]));
    let report = rig.until_running(task(1)).await;
    let verbs: Vec<_> = rig.fake.calls().iter().map(|call| call.verb).collect();
    assert_eq!(verbs, [Verb::Create, Verb::Image, Verb::Start]);
    let [app] = &report.containers[..] else { panic!("{report:?}") };
    assert_eq!(app.status, ContainerStatus::Running);
    assert_eq!(app.network_bindings[0].host_port, 8080);
    assert!(app.started_at.is_some() && app.runtime_id.is_some());

    // The image is known now.
    rig.coordinator.run(task(2), one());
    rig.until_running(task(2)).await;
    assert_eq!(rig.fake.count(Verb::Image), 1);
}

#[tokio::test(start_paused = true)]
async fn running_is_reported_with_the_ports_that_the_engine_chose() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), spec(vec![with_ports(&[(80, None), (443, Some(0))])]));
    let report = rig.until_running(task(1)).await;
    let ports: Vec<_> = report.containers[0]
        .network_bindings
        .iter()
        .map(|binding| (binding.container_port, binding.host_port))
        .collect();
    assert_eq!(ports, [(80, 49153), (443, 49154)]);
    assert_eq!(rig.fake.count(Verb::Inspect), 1);
}

#[tokio::test(start_paused = true)]
async fn an_essential_exit_stops_the_task_and_another_exit_does_not() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let helper = ContainerDefinition { essential: Some(false), ..container("helper") };
    rig.coordinator.run(task(1), spec(vec![container("app"), helper]));
    rig.until_running(task(1)).await;

    rig.fake.exit("helper", 0);
    let report = rig.until(task(1), |r| r.containers[1].exit_code == Some(0)).await;
    assert_eq!(report.phase, ReportedPhase::Running);

    rig.fake.exit("app", 3);
    let (cause, report) = rig.until_stopped(task(1)).await;
    assert_eq!(cause.code, StopCode::EssentialContainerExited);
    assert_eq!(cause.reason, "Essential container in task exited");
    assert_eq!(report.containers[0].exit_code, Some(3));
    assert!(report.stopping_at.is_some() && report.execution_stopped_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_essential_exit_stops_the_other_containers() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), spec(vec![container("app"), container("other")]));
    rig.until_running(task(1)).await;
    rig.fake.exit("app", 1);
    let (_, report) = rig.until_stopped(task(1)).await;
    let codes: Vec<_> = report.containers.iter().map(|c| c.exit_code).collect();
    assert_eq!(codes, [Some(1), Some(143)]);
}

#[tokio::test(start_paused = true)]
async fn a_container_killed_for_its_memory_says_so() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    rig.until_running(task(1)).await;
    rig.fake.run_out_of_memory("app");
    let (_, report) = rig.until_stopped(task(1)).await;
    assert_eq!(report.containers[0].exit_code, Some(137));
    assert_eq!(
        report.containers[0].reason.as_deref(),
        Some("OutOfMemoryError: Container killed due to memory usage")
    );
}

/// As an engine on cgroup v2 does when the group went with its only process. By position: another
/// container that is not essential, and whether the kernel's word comes before the engine's.
#[tokio::test(start_paused = true)]
async fn a_memory_kill_that_only_the_kernel_tells_of_is_the_reason() {
    for (name, before) in [("app", true), ("helper", true), ("helper", false)] {
        let mut rig = Rig::new();
        rig.exchange().await;
        let helper = ContainerDefinition { essential: Some(false), ..container("helper") };
        rig.coordinator.run(task(1), spec(vec![container("app"), helper]));
        rig.until_running(task(1)).await;
        let index = usize::from(name == "helper");
        let process = rig.fake.process(name);
        if before {
            process.killed_for_memory();
            rig.idle(1).await;
            rig.fake.exit(name, 137);
        } else {
            rig.fake.exit(name, 137);
            rig.until(task(1), |report| report.containers[index].exit_code.is_some()).await;
            process.killed_for_memory();
        }
        let report = rig.until(task(1), |report| report.containers[index].reason.is_some()).await;
        assert_eq!(report.containers[index].exit_code, Some(137), "{name}");
        assert_eq!(
            report.containers[index].reason.as_deref(),
            Some("OutOfMemoryError: Container killed due to memory usage"),
            "{name}, before the engine's word: {before}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_gives_the_container_its_time_and_then_kills_it() {
    let mut rig = Rig::new();
    let slow = Behaviour { stops_after: Duration::from_secs(60), ..Behaviour::default() };
    rig.fake.add_image(IMAGE, slow);
    rig.exchange().await;
    let app = ContainerDefinition { stop_timeout: Some(5), ..container("app") };
    rig.coordinator.run(task(1), spec(vec![app]));
    rig.until_running(task(1)).await;
    let before = tokio::time::Instant::now();
    rig.coordinator.stop(task(1));
    let (cause, report) = rig.until_stopped(task(1)).await;
    assert_eq!(cause, user_stop());
    assert_eq!(report.containers[0].exit_code, Some(137));
    assert_eq!(before.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn health_counts_only_when_the_task_definition_asks_for_it() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let check = HealthCheck {
        command: vec!["CMD".into(), "true".into()],
        interval: None,
        timeout: None,
        retries: None,
        start_period: None,
    };
    let app = ContainerDefinition { health_check: Some(check), ..container("app") };
    rig.coordinator.run(task(1), spec(vec![app, container("unchecked")]));
    let report = rig.until_running(task(1)).await;
    let health =
        |report: &TaskReport| report.containers.iter().map(|c| c.health).collect::<Vec<_>>();
    assert_eq!(health(&report), [Some(HealthStatus::Unknown), None]);
    rig.fake.set_health("app", HealthStatus::Healthy);
    rig.fake.set_health("unchecked", HealthStatus::Unhealthy);
    let report =
        rig.until(task(1), |r| r.containers[0].health == Some(HealthStatus::Healthy)).await;
    assert_eq!(health(&report), [Some(HealthStatus::Healthy), None]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_pulled_once_for_all_that_need_it() {
    let mut rig = Rig::new();
    rig.fake.publish_image("registry/app:2", Behaviour::default());
    rig.fake.set_latency(Verb::Pull, Duration::from_secs(20));
    rig.exchange().await;
    let app = ContainerDefinition { image: Some("registry/app:2".into()), ..container("app") };
    for number in 1..=5 {
        rig.coordinator.run(task(number), spec(vec![app.clone()]));
    }
    let pulling = rig.until(task(1), |_| true).await;
    assert_eq!(pulling.phase, ReportedPhase::Activating);
    assert!(pulling.pull_started_at.is_some());
    for number in 1..=5 {
        let report = rig.until_running(task(number)).await;
        assert!(report.pull_stopped_at.is_some());
        let digest = report.containers[0].image_digest.as_deref();
        assert_eq!(digest, Some("sha256:registry/app:2"));
    }
    assert_eq!(rig.fake.count(Verb::Pull), 1);
}

#[tokio::test(start_paused = true)]
async fn image_is_pulled_by_its_ordered_digest_only_when_absent() {
    let mut rig = Rig::new();
    rig.fake.publish_image("registry/app@sha256:1", Behaviour::default());
    rig.fake.publish_image("registry/app:2", Behaviour::default());
    rig.exchange().await;
    let app = ContainerDefinition { image: Some("registry/app:2".into()), ..container("app") };
    for number in 1..=2 {
        rig.coordinator.run(task(number), spec(vec![app.clone()]));
        rig.coordinator.by_digest(&["sha256:1"]);
        rig.until_running(task(number)).await;
    }
    assert_eq!(rig.fake.count(Verb::Pull), 1);
    // Its tag is another image: nobody asked for it.
    assert!(!rig.fake.has_image("registry/app:2"));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_had_by_its_digest_is_not_run_by_its_tag() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), spec(vec![container("app")]));
    rig.coordinator.by_digest(&["sha256:gone"]);
    let (cause, report) = rig.until_stopped(task(1)).await;
    assert_eq!(cause.code, StopCode::TaskFailedToStart);
    let reason = report.containers[0].reason.as_deref().unwrap_or_default();
    assert!(reason.contains("@sha256:gone"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_pull() {
    let mut rig = Rig::new();
    rig.fake.publish_image("big", Behaviour::default());
    rig.fake.set_latency(Verb::Pull, Duration::from_secs(3600));
    rig.exchange().await;
    let app = ContainerDefinition { image: Some("big".into()), ..container("app") };
    rig.coordinator.run(task(1), spec(vec![app]));
    rig.until(task(1), |r| r.pull_started_at.is_some()).await;
    let before = tokio::time::Instant::now();
    rig.coordinator.stop(task(1));
    let (_, report) = rig.until_stopped(task(1)).await;
    assert!(before.elapsed() < Duration::from_secs(1));
    assert_eq!(report.containers[0].status, ContainerStatus::Stopped);
}

#[tokio::test(start_paused = true)]
async fn pulling_first_uses_what_the_host_has_when_the_registry_has_nothing() {
    let mut rig = Rig::with(|config| config.pull = PullPolicy::PullFirst);
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    rig.until_running(task(1)).await;
    assert_eq!(rig.fake.count(Verb::Pull), 1);
}

#[tokio::test(start_paused = true)]
async fn pulling_always_fails_when_the_registry_has_nothing() {
    let mut rig = Rig::with(|config| config.pull = PullPolicy::Always);
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    let (cause, _) = rig.until_stopped(task(1)).await;
    assert_eq!(cause.code, StopCode::TaskFailedToStart);
    assert!(cause.reason.starts_with("CannotPullContainerError: manifest for web:1"));
}

#[tokio::test(start_paused = true)]
async fn no_more_containers_start_at_once_than_is_set() {
    let mut rig = Rig::with(|config| config.launches_at_once = 3);
    for verb in [Verb::Create, Verb::Start] {
        rig.fake.set_latency(verb, Duration::from_secs(1));
    }
    rig.exchange().await;
    for number in 1..=9 {
        rig.coordinator.run(task(number), one());
    }
    let before = tokio::time::Instant::now();
    for number in 1..=9 {
        rig.until_running(task(number)).await;
    }
    // Three lanes, each with three times create and start.
    assert_eq!(before.elapsed().as_secs(), 6);
}

#[tokio::test(start_paused = true)]
async fn containers_stay_until_end_is_acknowledged_and_cleanup_is_due() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    rig.until_running(task(1)).await;
    rig.fake.exit("app", 0);
    // Nobody has heard of it.
    rig.pass(Duration::from_secs(1)).await;
    rig.pass(CLEANUP_WAIT * 2).await;
    assert_eq!(rig.fake.count(Verb::Remove), 0);
    assert_eq!(rig.handle().tasks().await.unwrap()[0].known_status, "STOPPED");

    rig.until_stopped(task(1)).await;
    rig.idle(2).await;
    assert_eq!(rig.fake.count(Verb::Remove), 1);
    assert_eq!(rig.handle().tasks().await.unwrap(), []);
    assert_eq!(rig.coordinator.manifests_wanted, 0);
}

#[tokio::test(start_paused = true)]
async fn the_view_shows_what_introspection_needs() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), spec(vec![with_ports(&[(80, Some(8080))])]));
    rig.until_running(task(1)).await;
    let [view] = &rig.handle().tasks().await.unwrap()[..] else { panic!() };
    assert_eq!((&*view.family, view.revision), ("web", 3));
    assert_eq!((view.desired_status, view.known_status), ("RUNNING", "RUNNING"));
    assert!(view.containers[0].docker_name.starts_with("ecs-web-3-app-"));
    assert_eq!(view.containers[0].ports[0].host_port, 8080);
}

#[tokio::test(start_paused = true)]
async fn what_the_agent_cannot_carry_out_fails_the_task_with_a_reason() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let credential_specs = vec!["credentialspec:arn:aws:s3:::b/a.json".into()];
    let app = ContainerDefinition { credential_specs, ..container("app") };
    rig.coordinator.run(task(1), spec(vec![app]));
    let (cause, report) = rig.until_stopped(task(1)).await;
    assert_eq!(cause.code, StopCode::TaskFailedToStart);
    assert!(cause.reason.contains("credentialSpecs of container app"), "{}", cause.reason);
    assert_eq!(report.containers[0].status, ContainerStatus::Stopped);
    assert_eq!(rig.fake.count(Verb::Create), 0);
}

#[tokio::test(start_paused = true)]
async fn a_volume_of_the_task_goes_after_its_last_container() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let mount = |volume: &str, path: &str| MountPoint {
        source_volume: Some(volume.into()),
        container_path: Some(path.into()),
        read_only: None,
    };
    let app = ContainerDefinition {
        mount_points: vec![mount("scratch", "/scratch"), mount("shared", "/shared")],
        ..container("app")
    };
    let shared = DockerVolumeConfiguration {
        scope: Some(VolumeScope::Shared),
        autoprovision: Some(true),
        ..DockerVolumeConfiguration::default()
    };
    let volumes = vec![
        Volume { name: "scratch".into(), ..Volume::default() },
        Volume {
            name: "shared".into(),
            docker_volume_configuration: Some(shared),
            ..Volume::default()
        },
    ];
    rig.coordinator.run(task(1), TaskSpec { volumes, ..spec(vec![app]) });
    rig.until_running(task(1)).await;
    let config = rig.fake.containers()[0].config.clone();
    let [scratch, shared] = &config.volumes[..] else { panic!("{:?}", config.volumes) };
    assert!(scratch.name.starts_with("ecs-web-3-scratch-"), "{}", scratch.name);
    assert_eq!((shared.name.as_str(), shared.must_exist), ("shared", false));

    rig.coordinator.stop(task(1));
    rig.until_stopped(task(1)).await;
    rig.idle(2).await;
    rig.fake.fail_next(Verb::RemoveVolume, Fault::ReplyLost);
    rig.pass(CLEANUP_WAIT + Duration::from_secs(120)).await;
    let calls = rig.fake.calls();
    let removed: Vec<_> = calls.iter().filter(|c| c.verb == Verb::RemoveVolume).collect();
    assert!(removed.iter().all(|call| call.target == scratch.name), "{removed:?}");
    assert_eq!(removed.len(), 2, "what came to nothing known is tried again");
    assert_eq!(rig.fake.containers(), []);
    assert_eq!(rig.handle().tasks().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn what_the_operator_of_the_host_forbids_fails_the_task_with_a_reason() {
    let mut rig = Rig::with(|config| config.policy.forbidden = [Forbidden::Privileged].into());
    rig.exchange().await;
    let app = ContainerDefinition { privileged: Some(true), ..container("app") };
    rig.coordinator.run(task(1), spec(vec![app]));
    let (cause, _) = rig.until_stopped(task(1)).await;
    assert_eq!(cause.code, StopCode::TaskFailedToStart);
    assert!(cause.reason.contains("lets no task have privileged of container app"), "{cause:?}");
    assert_eq!(rig.fake.count(Verb::Create), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_task_says_what_its_containers_wrote_last() {
    let mut rig = Rig::new();
    let last_lines = vec!["connecting".to_owned(), "no such table: users".to_owned()];
    let broken = Behaviour {
        runs_for: Some(Duration::from_secs(1)),
        exit_code: 3,
        last_lines,
        ..Behaviour::default()
    };
    rig.fake.add_image(IMAGE, broken.clone());
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    let (_, report) = rig.until_stopped(task(1)).await;
    assert_eq!(report.containers[0].last_lines, broken.last_lines);

    // They are worth no delay: without them, the end is told as well.
    let unavailable = RuntimeError::Rejected { message: "no log".to_owned() };
    rig.fake.fail_next(Verb::LastLines, Fault::Fails(unavailable));
    rig.coordinator.run(task(2), one());
    let (_, report) = rig.until_stopped(task(2)).await;
    assert_eq!(report.containers[0].last_lines, Vec::<String>::new());
    assert_eq!(report.containers[0].exit_code, Some(3));
}
