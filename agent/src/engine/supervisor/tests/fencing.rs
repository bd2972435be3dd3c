//! Who may order, what is taken of an order, how a parked poll is answered.

use super::*;

fn refusal(answer: &PollAnswer) -> Option<&Refusal> {
    match &answer.outcome {
        PollOutcome::Refused(refusal) => Some(refusal),
        PollOutcome::Accepted { .. } => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_ledger_takes_no_order_before_a_manifest() {
    let mut rig = Rig::new();
    rig.coordinator.run(task(1), one());
    let answer = rig.exchange().await;
    assert_eq!(answer.seen, None);
    assert_eq!(rig.coordinator.manifests_wanted, 1);
    assert_eq!(rig.fake.count(Verb::Create), 0);

    let answer = rig.poll(rig.coordinator.manifest(500)).await;
    assert_eq!(answer.seen.map(|seen| seen.order), Some(1));
    rig.coordinator.take(&answer);
    rig.until_running(task(1)).await;
    assert_eq!(rig.coordinator.manifests_wanted, 1);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_never_ordered_anything_needs_no_manifest() {
    let mut rig = Rig::new();
    let answer = rig.exchange().await;
    assert_eq!(answer.seen.map(|seen| (seen.epoch.counter, seen.order)), Some((1, 0)));
    assert_eq!(rig.coordinator.manifests_wanted, 0);
}

#[tokio::test(start_paused = true)]
async fn another_fleet_host_or_protocol_is_refused() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    let right = rig.coordinator.request(0);

    let other = PollRequest { fleet: FleetId::new(1), ..right.clone() };
    assert_eq!(refusal(&rig.poll(other).await), Some(&Refusal::OtherFleet(FLEET)));
    let other = PollRequest { host: HostId::new(1), ..right.clone() };
    assert_eq!(refusal(&rig.poll(other).await), Some(&Refusal::OtherHost));
    let newer = PollRequest { protocol: PROTOCOL_VERSION + 1, ..right };
    let unknown = Refusal::UnknownProtocol { supported: PROTOCOL_VERSION };
    assert_eq!(refusal(&rig.poll(newer).await), Some(&unknown));
    assert_eq!(rig.fake.count(Verb::Create), 0);
}

#[tokio::test(start_paused = true)]
async fn an_older_start_and_a_twin_of_this_one_are_refused() {
    let mut rig = Rig::new();
    rig.coordinator.epoch = Epoch { counter: 5, incarnation: 7 };
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    let right = rig.coordinator.request(0);
    for epoch in [Epoch { counter: 4, incarnation: 7 }, Epoch { counter: 5, incarnation: 8 }] {
        let answer = rig.poll(PollRequest { epoch, ..right.clone() }).await;
        assert_eq!(refusal(&answer), Some(&Refusal::StaleEpoch));
        assert_eq!(answer.seen.map(|seen| seen.epoch.counter), Some(5));
    }
    assert_eq!(rig.fake.count(Verb::Create), 0);
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_whose_journal_went_back_is_refused_and_stops_nothing() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let backup = rig.coordinator.clone();
    rig.coordinator.run(task(1), one());
    rig.until_running(task(1)).await;

    let restored = backup.restarted();
    for request in [restored.request(0), restored.manifest(0)] {
        assert_eq!(refusal(&rig.poll(request).await), Some(&Refusal::StaleEpoch));
    }
    assert_eq!(rig.fake.count(Verb::Stop), 0);
    // The one that knows more goes on.
    rig.coordinator = rig.coordinator.restarted();
    rig.idle(2).await;
    assert_eq!(rig.coordinator.manifests_wanted, 0);
}

/// What a new start sends first, before any order.
fn hello(coordinator: &Coordinator) -> PollRequest {
    PollRequest { orders: Vec::new(), definitions: Vec::new(), ..coordinator.request(0) }
}

/// A journal in whose lost part the coordinator was started once more: each start on it is told so,
/// until one is above that.
#[tokio::test(start_paused = true)]
async fn every_hello_is_told_what_was_seen_before_any_hello() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let backup = rig.coordinator.clone();
    rig.coordinator = rig.coordinator.restarted();
    rig.idle(2).await;
    let lost = rig.coordinator.epoch;
    let twin = Coordinator { epoch: Epoch { incarnation: 77, ..lost }, ..backup };
    assert_eq!(refusal(&rig.poll(hello(&twin)).await), Some(&Refusal::StaleEpoch));
    let mut restored = twin;
    for restart in 0..3 {
        restored = restored.restarted();
        let answer = rig.poll(hello(&restored)).await;
        assert!(refusal(&answer).is_none(), "{restart}: {answer:?}");
        assert_eq!(answer.seen.map(|seen| seen.epoch), Some(lost), "{restart}");
    }
    // Whoever goes on from it orders.
    rig.coordinator = restored;
    let answer = rig.exchange().await;
    assert_eq!(answer.seen.map(|seen| seen.epoch), Some(rig.coordinator.epoch));
    let earlier = Coordinator { epoch: lost, ..rig.coordinator.clone() };
    for request in [hello(&earlier), earlier.request(500)] {
        assert_eq!(refusal(&rig.poll(request).await), Some(&Refusal::StaleEpoch));
    }
}

/// As of a machine's snapshot: the coordinator was told how the task is, and has lost that.
#[tokio::test(start_paused = true)]
async fn start_that_acknowledges_less_is_told_everything_again() {
    let mut rig = Rig::with_tasks(1).await;
    rig.idle(2).await;
    assert!(rig.coordinator.acknowledged.is_some());
    let acknowledged = rig.coordinator.acknowledged.unwrap();
    let held = ReportPosition { seq: acknowledged.seq - 1, ..acknowledged };
    let other = ReportPosition { session: 99, ..acknowledged };
    for less in [None, Some(held), Some(other)] {
        rig.coordinator = rig.coordinator.restarted();
        rig.coordinator.tasks.clear();
        rig.coordinator.acknowledged = less;
        rig.exchange().await;
        let told = rig.coordinator.tasks.get(&task(1)).map(|report| &report.phase);
        assert_eq!(told, Some(&ReportedPhase::Running), "{less:?}");
        rig.idle(2).await;
    }
    // One that holds as much is told nothing.
    let held = rig.coordinator.acknowledged;
    rig.coordinator = rig.coordinator.restarted();
    rig.coordinator.tasks.clear();
    rig.coordinator.acknowledged = held;
    rig.idle(3).await;
    assert!(rig.coordinator.tasks.is_empty());
    assert_eq!(rig.coordinator.manifests_wanted, 0);
}

/// While this host was not heard, an agent on a copy of its machine spoke for it.
#[tokio::test(start_paused = true)]
async fn agent_tells_everything_again_after_a_copy_was_heard() {
    let mut rig = Rig::with_tasks(1).await;
    rig.idle(2).await;
    for copy in [98, 99] {
        rig.coordinator.tasks.clear();
        rig.coordinator.acknowledged = Some(ReportPosition { session: copy, seq: 1_000 });
        rig.exchange().await;
        let told = rig.coordinator.tasks.get(&task(1)).map(|report| &report.phase);
        assert_eq!(told, Some(&ReportedPhase::Running), "{copy}");
        // Not again once it is acknowledged.
        rig.idle(2).await;
        rig.coordinator.tasks.clear();
        rig.idle(3).await;
        assert!(rig.coordinator.tasks.is_empty(), "{copy}");
    }
}

/// The same agent, with the same session, had said more before its machine was set back.
#[tokio::test(start_paused = true)]
async fn machine_that_is_set_back_with_its_memory_is_heard() {
    let mut rig = Rig::with_tasks(1).await;
    rig.idle(2).await;
    let acknowledged = rig.coordinator.acknowledged.as_mut().unwrap();
    acknowledged.seq += 1_000;
    rig.coordinator.tasks.clear();
    rig.coordinator.run(task(2), one());
    for number in [1, 2] {
        rig.until_running(task(number)).await;
    }
}

/// Something new waits to be told: its acknowledgement is beyond what the lost part acknowledged.
#[tokio::test(start_paused = true)]
async fn hello_that_acknowledges_less_is_told_everything_again() {
    let mut rig = Rig::with_tasks(2).await;
    rig.idle(2).await;
    let mut restored = rig.coordinator.restarted();
    restored.acknowledged = None;
    let answer = rig.poll(hello(&restored)).await;
    let PollOutcome::Accepted { reports, .. } = answer.outcome else { panic!("{answer:?}") };
    let told = reports.iter().filter(|report| matches!(report.body, ReportBody::Task(_)));
    assert_eq!(told.count(), 2);
}

/// What the coordinator takes for running may be over: with a manifest it will be told.
#[tokio::test(start_paused = true)]
async fn hello_with_orders_to_come_is_not_told_that_this_agent_has_looked() {
    let mut rig = Rig::with_tasks(1).await;
    rig.idle(2).await;
    let mut restarted = rig.coordinator.restarted();
    assert_eq!(rig.poll(hello(&restarted)).await.looked, Some(true));
    restarted.run(task(2), one());
    assert_eq!(rig.poll(hello(&restarted)).await.looked, Some(false));
    rig.coordinator = restarted;
    rig.until_running(task(2)).await;
    rig.idle(2).await;
    assert_eq!(rig.exchange().await.looked, Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_orders_is_refused() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    rig.coordinator.run(task(2), one());
    let mut request = rig.coordinator.request(0);
    request.orders.remove(0);
    let answer = rig.poll(request).await;
    assert_eq!(refusal(&answer), Some(&Refusal::OrderGap { expected: 1 }));
    let mut request = rig.coordinator.request(0);
    request.definitions.pop();
    let answer = rig.poll(request).await;
    assert_eq!(refusal(&answer), Some(&Refusal::OrderGap { expected: 2 }));
    assert_eq!(rig.fake.count(Verb::Create), 0);
}

#[tokio::test(start_paused = true)]
async fn orders_that_are_sent_again_are_done_once() {
    let mut rig = Rig::with_tasks(1).await;
    // The coordinator of these tests resends everything in each poll.
    rig.idle(5).await;
    assert_eq!((rig.fake.count(Verb::Create), rig.fake.count(Verb::Start)), (1, 1));

    rig.coordinator.stop(task(1));
    rig.until_stopped(task(1)).await;
    rig.idle(5).await;
    assert_eq!((rig.fake.count(Verb::Create), rig.fake.count(Verb::Stop)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_newer_poll_releases_the_parked_one_which_names_the_new_orders() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let handle = rig.handle();
    let request = rig.coordinator.request(50_000);
    let parked = tokio::spawn(async move { handle.poll(request).await.unwrap() });
    tokio::task::yield_now().await;

    rig.coordinator.run(task(1), one());
    let handle = rig.handle();
    let request = rig.coordinator.request(50_000);
    let newer = tokio::spawn(async move { handle.poll(request).await.unwrap() });
    let answer = parked.await.unwrap();
    assert_eq!(answer.seen.map(|seen| seen.order), Some(1));
    let PollOutcome::Accepted { reports, .. } = newer.await.unwrap().outcome else { panic!() };
    assert!(!reports.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_poll_is_held_as_long_as_it_asks_for() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let before = tokio::time::Instant::now();
    rig.poll(rig.coordinator.request(700)).await;
    assert_eq!(before.elapsed().as_millis(), 700);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_leaves_orders_for_the_next_one_is_answered_at_once() {
    let mut rig = Rig::new();
    rig.exchange().await;
    // While the container engine is away there are no reports that an answer could leave for.
    rig.fake.go_down();
    rig.idle(1).await;
    for number in 1..=5 {
        rig.coordinator.run(task(number), one());
    }
    let before = tokio::time::Instant::now();
    let part = |rig: &Rig, first: usize, count: usize| {
        let whole = rig.coordinator.request(50_000);
        PollRequest { orders: whole.orders[first..first + count].to_vec(), ..whole }
    };
    // What is left is asked for, also by a poll that brought nothing new.
    for (first, count, seen) in [(0, 2, 2), (0, 2, 2), (2, 2, 4)] {
        let answer = rig.poll(part(&rig, first, count)).await;
        assert_eq!(answer.seen.map(|seen| seen.order), Some(seen));
        rig.coordinator.take(&answer);
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
    // With the last one there, a poll is kept again.
    let answer = rig.poll(part(&rig, 4, 1)).await;
    assert_eq!(answer.seen.map(|seen| seen.order), Some(5));
    assert_eq!(before.elapsed(), Duration::from_secs(50));

    rig.fake.come_up();
    for number in 1..=5 {
        rig.until_running(task(number)).await;
    }
    assert_eq!(rig.coordinator.manifests_wanted, 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_is_repeated() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    let PollOutcome::Accepted { reports: lost, .. } =
        rig.poll(rig.coordinator.request(500)).await.outcome
    else {
        panic!()
    };
    // Nothing is new, so the next answer comes when its time is over.
    let before = tokio::time::Instant::now();
    let PollOutcome::Accepted { reports, .. } =
        rig.poll(rig.coordinator.request(500)).await.outcome
    else {
        panic!()
    };
    assert_eq!(reports, lost);
    assert_eq!(before.elapsed().as_millis(), 500);
}

#[tokio::test(start_paused = true)]
async fn an_overtaken_poll_changes_nothing() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let overtaken = rig.coordinator.request(500);
    rig.coordinator.run(task(1), one());
    rig.until_running(task(1)).await;
    let answer = rig.poll(overtaken).await;
    let nothing =
        PollOutcome::Accepted { reports: Vec::new(), needs_manifest: false, images: None };
    assert_eq!(answer.outcome, nothing);
}

#[tokio::test(start_paused = true)]
async fn digest_that_differs_asks_for_a_manifest_and_stops_nothing() {
    let mut rig = Rig::new();
    rig.exchange().await;
    rig.coordinator.run(task(1), one());
    rig.coordinator.run(task(2), one());
    rig.until_running(task(1)).await;
    rig.until_running(task(2)).await;

    rig.coordinator.desired.remove(&task(1));
    rig.exchange().await;
    assert_eq!(rig.coordinator.manifests_wanted, 1);
    let answer = rig.poll(rig.coordinator.manifest(500)).await;
    rig.coordinator.take(&answer);
    assert_eq!(rig.coordinator.candidates, [task(1)]);
    rig.idle(5).await;
    assert_eq!(rig.coordinator.manifests_wanted, 1);
    assert_eq!(rig.fake.count(Verb::Stop), 0);

    // Only an order stops it.
    rig.coordinator.order(task(1), 1, OrderKind::Stop(user_stop()));
    let (cause, _) = rig.until_stopped(task(1)).await;
    assert_eq!(cause, user_stop());
    assert_eq!(rig.fake.count(Verb::Stop), 1);
    assert_eq!(rig.coordinator.manifests_wanted, 1);
}

#[tokio::test(start_paused = true)]
async fn a_newer_generation_starts_after_the_older_one_has_stopped() {
    let mut rig = Rig::with_tasks(1).await;
    rig.coordinator.run_generation(task(1), 2, one());
    rig.until(task(1), |r| r.generation == 2 && r.phase == ReportedPhase::Running).await;
    let states: Vec<_> = rig.fake.containers().iter().map(|c| c.state).collect();
    assert_eq!(states, [RunState::Exited, RunState::Running]);
    assert_eq!(rig.coordinator.manifests_wanted, 0);
}
