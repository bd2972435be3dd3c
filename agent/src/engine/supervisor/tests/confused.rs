//! P8: a coordinator that was restored from a backup and believes itself the newest. Polls that are
//! worse than that are the campaign's, in the tests' own crate.

use super::*;

const TASKS: u128 = 12;

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
