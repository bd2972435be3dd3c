//! P8: a confused coordinator stops nothing. Empty journals, backups of any age, other fleets'
//! coordinators, twins, and requests whose parts were mixed up, put to an agent whose tasks run.

use super::*;

/// In every run of the tests; all 200,000 of promise P8 by `LONGSHORE_BAD_POLLS`.
const POLLS_FAST: u64 = 5_000;
const TASKS: u128 = 12;
/// Polls between which the right coordinator shows that it is still obeyed.
const RIGHT_EVERY: u64 = 500;

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// A request of somebody who must not be obeyed.
fn bad_poll(chance: &mut Chance, right: &Coordinator, backups: &[Coordinator]) -> PollRequest {
    let mut somebody = match chance.below(4) {
        0 => Coordinator::new(1 + chance.below(2) as u64),
        1 => right.clone(),
        _ => backups[chance.below(backups.len())].clone(),
    };
    // What it would have the tasks of this host do.
    for number in 1..=TASKS {
        match chance.below(6) {
            0 => {
                somebody.desired.entry(task(number)).or_insert((1, Desired::Run));
                somebody.stop(task(number));
            }
            1 => somebody.run_generation(task(number), 1 + chance.below(3) as u32, one()),
            _ => {}
        }
    }
    let stale = somebody.epoch.counter < right.epoch.counter;
    somebody.epoch = match chance.below(4) {
        0 if stale => somebody.epoch,
        1 => Epoch { counter: right.epoch.counter - 1, ..right.epoch },
        // A twin: the same start by its counter, but not the same one.
        _ => Epoch { incarnation: right.epoch.incarnation + 1 + chance.0 % 7, ..right.epoch },
    };
    let mut request = if chance.one_in(2) { somebody.request(0) } else { somebody.manifest(0) };
    match chance.below(6) {
        0 => request.orders.reverse(),
        1 => request.orders.truncate(chance.below(3)),
        2 => request.definitions.truncate(chance.below(2)),
        3 => request.orders.iter_mut().for_each(|order| order.seq += 1 + chance.0 % 1000),
        4 => request.last_order = chance.0 % 10_000,
        _ => {}
    }
    // Right in everything but whose it is.
    if chance.one_in(4) {
        request.epoch = Epoch { counter: right.epoch.counter + 1, ..right.epoch };
        match chance.below(3) {
            0 => request.fleet = FleetId::new(1 + u128::from(chance.0)),
            1 => request.host = HostId::new(1 + u128::from(chance.0)),
            _ => request.protocol = PROTOCOL_VERSION + 1 + (chance.0 % 9) as u32,
        }
    }
    request
}

#[tokio::test(start_paused = true)]
async fn whoever_is_not_the_fleets_coordinator_stops_and_starts_nothing() {
    // Read when this is compiled, as the scheduler's trouble is.
    let asked = option_env!("LONGSHORE_BAD_POLLS").and_then(|polls| polls.parse::<u64>().ok());
    let polls = asked.unwrap_or(POLLS_FAST);
    let mut chance = Chance(20_261_124);
    let mut rig = Rig::new();
    rig.coordinator.epoch.counter = 5;
    rig.exchange().await;
    let mut backups = Vec::new();
    for number in 1..=TASKS {
        let mut backup = rig.coordinator.restarted();
        backup.epoch.counter = 3;
        backups.push(backup);
        rig.coordinator.run(task(number), one());
        rig.until_running(task(number)).await;
    }
    rig.fake.forget_calls();
    let mut refused = BTreeMap::new();
    for number in 1..=polls {
        let request = bad_poll(&mut chance, &rig.coordinator, &backups);
        let answer = rig.poll(request.clone()).await;
        match &answer.outcome {
            PollOutcome::Refused(refusal) => {
                let name = format!("{refusal:?}");
                let end = name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len());
                *refused.entry(name[..end].to_owned()).or_insert(0_u64) += 1;
            }
            PollOutcome::Accepted { .. } => panic!("accepted: {request:#?}"),
        }
        if number % RIGHT_EVERY == 0 {
            rig.exchange().await;
        }
    }
    assert_eq!(refused.values().sum::<u64>(), polls, "{refused:?}");
    let changing = [Verb::Create, Verb::Start, Verb::Stop, Verb::Kill, Verb::Remove];
    let changes = changing.map(|verb| rig.fake.count(verb));
    assert_eq!(changes, [0; 5], "containers were touched");
    assert_eq!(rig.coordinator.manifests_wanted, 0);
    assert_eq!(rig.fake.containers().iter().filter(|c| c.starts == 1).count(), TASKS as usize);
}

#[tokio::test(start_paused = true)]
async fn a_newer_start_on_an_older_journal_has_no_order_and_no_absence_obeyed() {
    let mut rig = Rig::new();
    rig.exchange().await;
    let mut backups = vec![rig.coordinator.clone()];
    for number in 1..=TASKS {
        rig.coordinator.run(task(number), one());
        rig.until_running(task(number)).await;
        backups.push(rig.coordinator.clone());
    }
    let stops = |rig: &Rig| rig.fake.count(Verb::Stop) + rig.fake.count(Verb::Kill);
    // Restored, and restarted so often that its epoch is the highest.
    for (age, backup) in backups.iter().rev().enumerate() {
        let mut restored = backup.clone();
        restored.epoch = Epoch { counter: 100 + age as u64, incarnation: age as u64 };
        for request in [restored.request(0), restored.manifest(0)] {
            let answer = rig.poll(request).await;
            // It is told what was seen, by which it knows that its journal went back.
            assert_eq!(answer.seen.map(|seen| seen.order), Some(TASKS as u64));
        }
    }
    rig.pass(Duration::from_secs(3600)).await;
    assert_eq!(stops(&rig), 0);
    assert_eq!(rig.fake.containers().len(), TASKS as usize);
}
