//! A ledger that was put back from an older copy launches nothing that has long ended, and a
//! restart with the ledger as it was goes on once the coordinator agrees.

use super::*;

/// Longer than every retry of a launch.
const A_MINUTE: Duration = Duration::from_secs(60);

/// These tasks were ordered, and the agent was killed before it had made a container of them.
async fn killed_before_the_launch_of(tasks: &[u128]) -> Rig {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.fake.set_latency(Verb::Create, A_MINUTE);
    for number in tasks {
        rig.coordinator.run(task(*number), one());
    }
    take_orders(&mut rig).await;
    rig.kill_agent().await;
    rig.fake.set_latency(Verb::Create, Duration::ZERO);
    assert_eq!(rig.fake.containers(), []);
    rig.fake.forget_calls();
    rig
}

/// One exchange that waits for nothing: the orders are in the ledger.
async fn take_orders(rig: &mut Rig) {
    let answer = rig.poll(rig.coordinator.request(0)).await;
    assert_eq!(answer.seen.map(|seen| seen.order), Some(rig.coordinator.last_order));
    rig.coordinator.take(&answer);
}

fn copy_of_the_ledger(rig: &Rig) -> Vec<u8> {
    assert!(rig.agent.is_none(), "a closed ledger is one file");
    std::fs::read(&rig.config.ledger).unwrap()
}

async fn put_back(rig: &mut Rig, copy: &[u8]) {
    rig.kill_agent().await;
    std::fs::write(&rig.config.ledger, copy).unwrap();
    rig.fake.forget_calls();
    rig.start_agent();
}

fn launches(rig: &Rig) -> usize {
    [Verb::Pull, Verb::Create, Verb::Start].iter().map(|verb| rig.fake.count(*verb)).sum()
}

fn states(rig: &Rig) -> Vec<RunState> {
    rig.fake.containers().iter().map(|container| container.state).collect()
}

/// Task 1 ran and ended and was cleaned up, and then the ledger from before its launch came back.
async fn with_a_ledger_from_before_the_end() -> Rig {
    let mut rig = killed_before_the_launch_of(&[1]).await;
    let copy = copy_of_the_ledger(&rig);
    rig.start_agent();
    rig.until_running(task(1)).await;
    rig.coordinator.stop(task(1));
    rig.until_stopped(task(1)).await;
    rig.idle(2).await;
    rig.pass(CLEANUP_WAIT).await;
    rig.idle(2).await;
    assert_eq!(rig.fake.containers(), []);
    // The agent has acknowledged all of them.
    rig.coordinator.orders.clear();
    put_back(&mut rig, &copy).await;
    rig
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ended_is_not_launched_again_from_an_older_ledger() {
    let mut rig = with_a_ledger_from_before_the_end().await;
    rig.pass(A_MINUTE).await;
    assert_eq!(launches(&rig), 0);

    // The poll shows more orders than the ledger knows; the manifest names nothing.
    let answer = rig.poll(rig.coordinator.request(0)).await;
    assert_eq!(answer.seen.map(|seen| seen.order), Some(1));
    let answer = rig.poll(rig.coordinator.manifest(500)).await;
    assert_eq!(answer.seen.map(|seen| seen.order), Some(2));
    rig.coordinator.take(&answer);
    rig.idle(5).await;
    assert_eq!(rig.coordinator.candidates, [task(1)]);
    assert_eq!(launches(&rig), 0);

    // Its end is ordered as that of every stop candidate, and costs no container.
    rig.coordinator.order(task(1), 1, OrderKind::Stop(user_stop()));
    let (cause, _) = rig.until_stopped(task(1)).await;
    assert_eq!(cause, user_stop());
    assert_eq!(launches(&rig), 0);
}

#[tokio::test(start_paused = true)]
async fn container_never_started_is_not_started_by_an_older_ledger() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.fake.set_latency(Verb::Start, A_MINUTE);
    rig.coordinator.run(task(1), one());
    take_orders(&mut rig).await;
    while states(&rig).is_empty() {
        rig.pass(Duration::from_millis(1)).await;
    }
    rig.kill_agent().await;
    rig.fake.set_latency(Verb::Start, Duration::ZERO);
    let copy = copy_of_the_ledger(&rig);
    rig.start_agent();
    rig.coordinator.stop(task(1));
    rig.until_stopped(task(1)).await;
    rig.idle(2).await;
    // It stays for its clean-up.
    assert_eq!(states(&rig), [RunState::Created]);

    put_back(&mut rig, &copy).await;
    rig.pass(A_MINUTE).await;
    assert_eq!(launches(&rig), 0);
}

/// A coordinator that lost the end of its journal names what has long ended, and knows only that it
/// was given before.
#[tokio::test(start_paused = true)]
async fn manifest_runs_no_task_anew_that_has_ended_here() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    rig.until_running(task(1)).await;
    rig.coordinator.run(task(2), one());
    rig.until_running(task(2)).await;
    let backup = rig.coordinator.clone();
    rig.coordinator.stop(task(1));
    rig.until_stopped(task(1)).await;
    rig.idle(2).await;
    rig.pass(CLEANUP_WAIT).await;
    rig.idle(2).await;
    assert_eq!(states(&rig), [RunState::Running], "nothing is left of the first one");
    rig.fake.forget_calls();

    let last_order = rig.coordinator.last_order;
    rig.coordinator = Coordinator { last_order, ..backup };
    rig.coordinator.epoch = Epoch { counter: 9, incarnation: 9 };
    rig.coordinator.acknowledged = None;
    // Ordered after the recovery: it runs.
    rig.coordinator.run(task(3), one());
    let mut manifest = rig.coordinator.manifest(500);
    manifest.manifest.as_mut().unwrap().given_before = vec![task(1), task(2)];
    let answer = rig.poll(manifest).await;
    rig.coordinator.take(&answer);
    rig.coordinator.orders.clear();
    let (cause, _) = rig.until_stopped(task(1)).await;
    assert_eq!(cause.code, StopCode::TerminationNotice);
    assert!(cause.reason.contains("has ended on its container instance"), "{}", cause.reason);
    rig.until_running(task(3)).await;
    assert_eq!(states(&rig), [RunState::Running; 2]);
    assert_eq!(rig.fake.count(Verb::Create), 1, "only the third one is launched");
}

/// The manifest was made for a ledger that was set back while it was on its way.
#[tokio::test(start_paused = true)]
async fn manifest_ends_nothing_that_a_ledger_set_back_has_not_seen() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    let mut manifest = rig.coordinator.manifest(500);
    let given = manifest.manifest.as_mut().unwrap();
    (given.given_before, given.seen_order) = (vec![task(1)], 1);
    let answer = rig.poll(manifest).await;
    rig.coordinator.take(&answer);
    rig.coordinator.orders.clear();
    rig.until_running(task(1)).await;
    rig.idle(5).await;
    assert_eq!(states(&rig), [RunState::Running]);
}

#[tokio::test(start_paused = true)]
async fn manifest_stops_nothing_that_runs_where_the_ledger_is_lost() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    rig.until_running(task(1)).await;
    rig.kill_agent().await;
    std::fs::remove_file(&rig.config.ledger).unwrap();
    rig.start_agent();
    let mut manifest = rig.coordinator.manifest(500);
    manifest.manifest.as_mut().unwrap().given_before = vec![task(1)];
    let answer = rig.poll(manifest).await;
    rig.coordinator.take(&answer);
    rig.until_running(task(1)).await;
    assert_eq!(states(&rig), [RunState::Running]);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_launches_what_was_ordered_once_a_poll_agrees() {
    let mut rig = killed_before_the_launch_of(&[1]).await;
    rig.start_agent();
    rig.pass(A_MINUTE).await;
    assert_eq!(launches(&rig), 0);

    rig.until_running(task(1)).await;
    assert_eq!(launches(&rig), 2);
    assert_eq!(rig.coordinator.manifests_wanted, 0);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_agrees_before_docker_answers_is_not_forgotten() {
    let mut rig = killed_before_the_launch_of(&[1]).await;
    rig.fake.go_down();
    rig.start_agent();
    rig.idle(3).await;
    rig.fake.come_up();
    rig.pass(A_MINUTE).await;
    assert_eq!(states(&rig), [RunState::Running]);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_disagrees_or_is_refused_launches_nothing() {
    let mut rig = killed_before_the_launch_of(&[1]).await;
    rig.start_agent();
    let right = rig.coordinator.request(0);
    let older = Epoch { counter: 0, incarnation: 7 };
    let others = [
        PollRequest { epoch: older, ..right.clone() },
        PollRequest { host: HostId::new(1), ..right.clone() },
        PollRequest { last_order: 0, digest: DesiredDigest::default(), ..right.clone() },
        PollRequest { last_order: 2, orders: Vec::new(), ..right.clone() },
        PollRequest { digest: DesiredDigest::default(), ..right },
    ];
    for other in others {
        rig.poll(other).await;
        rig.pass(A_MINUTE).await;
        assert_eq!(launches(&rig), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_launches_what_it_names_and_nothing_else() {
    let mut rig = killed_before_the_launch_of(&[1, 2]).await;
    rig.start_agent();
    rig.coordinator.desired.remove(&task(1));
    rig.exchange().await;
    assert_eq!(rig.coordinator.manifests_wanted, 1);
    let answer = rig.poll(rig.coordinator.manifest(500)).await;
    rig.coordinator.take(&answer);
    rig.until_running(task(2)).await;
    rig.idle(5).await;
    assert_eq!(rig.coordinator.candidates, [task(1)]);
    assert_eq!(states(&rig), [RunState::Running]);
}

#[tokio::test(start_paused = true)]
async fn an_order_of_this_session_waits_for_no_agreement() {
    let mut rig = killed_before_the_launch_of(&[1]).await;
    rig.start_agent();
    rig.coordinator.run(task(2), one());
    rig.coordinator.run(task(3), one());
    // The last order is left for the next poll: the digest cannot be compared yet.
    let mut request = rig.coordinator.request(0);
    request.orders.pop();
    let answer = rig.poll(request).await;
    assert_eq!(answer.seen.map(|seen| seen.order), Some(2));
    rig.coordinator.take(&answer);
    rig.pass(A_MINUTE).await;
    assert_eq!(rig.fake.count(Verb::Create), 1);

    for number in [1, 2, 3] {
        rig.until_running(task(number)).await;
    }
    assert_eq!(rig.fake.count(Verb::Create), 3);
}

#[tokio::test(start_paused = true)]
async fn what_runs_goes_on_while_the_coordinator_is_away() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let helper = ContainerDefinition { essential: Some(false), ..container("helper") };
    rig.coordinator.run(task(1), spec(vec![container("app"), helper]));
    rig.coordinator.run(task(2), spec(vec![container("web"), container("log")]));
    rig.until_running(task(1)).await;
    rig.until_running(task(2)).await;
    rig.restart_agent().await;
    rig.fake.forget_calls();
    rig.pass(A_MINUTE).await;
    assert_eq!(states(&rig), [RunState::Running; 4]);
    assert_eq!(launches(&rig), 0);

    // What ends by itself is concluded and carried out without anybody.
    rig.fake.exit("helper", 0);
    rig.fake.exit("web", 1);
    rig.pass(A_MINUTE).await;
    let running = states(&rig).iter().filter(|state| **state == RunState::Running).count();
    assert_eq!((running, rig.fake.count(Verb::Stop)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_had_begun_is_finished_while_the_coordinator_is_away() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.fake.publish_image("slow", Behaviour::default());
    rig.fake.set_latency(Verb::Pull, A_MINUTE);
    let second = ContainerDefinition { image: Some("slow".into()), ..container("second") };
    rig.coordinator.run(task(1), spec(vec![container("first"), second]));
    take_orders(&mut rig).await;
    rig.pass(Duration::from_secs(1)).await;
    assert_eq!(states(&rig), [RunState::Running]);

    rig.restart_agent().await;
    rig.pass(2 * A_MINUTE).await;
    assert_eq!(states(&rig), [RunState::Running; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_was_ordered_is_carried_out_while_the_coordinator_is_away() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    rig.until_running(task(1)).await;
    rig.fake.set_latency(Verb::Stop, A_MINUTE);
    rig.coordinator.stop(task(1));
    take_orders(&mut rig).await;
    rig.restart_agent().await;
    rig.pass(2 * A_MINUTE).await;
    assert_eq!(states(&rig), [RunState::Exited]);
}

#[tokio::test(start_paused = true)]
async fn a_container_of_an_image_with_our_labels_is_left_alone() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    rig.until_running(task(1)).await;
    let ours = rig.fake.containers()[0].clone();
    rig.kill_agent().await;
    // Somebody runs an image into which a task's labels were baked, under a name of his own.
    let config = ContainerConfig {
        image: ours.config.image,
        labels: ours.config.labels.clone(),
        ..Default::default()
    };
    rig.fake.create_outside("quirky_name", config.clone());
    let mut other = config;
    other.labels.insert("longshore.task".to_owned(), TaskId::new(77).to_string());
    rig.fake.create_outside("odd_name", other);
    rig.fake.forget_calls();
    rig.start_agent();
    rig.exchange().await;
    rig.idle(3).await;
    assert_eq!(rig.coordinator.candidates, [], "a stranger was taken for a task");
    rig.coordinator.stop(task(1));
    rig.until_stopped(task(1)).await;
    rig.pass(CLEANUP_WAIT).await;
    rig.idle(2).await;
    let left: Vec<String> = rig.fake.containers().iter().map(|c| c.name.clone()).collect();
    assert_eq!(left, ["quirky_name", "odd_name"]);
}
