//! Images: which are removed when no task needs them, and which never are.

use super::*;
use crate::settings::ImageCleanup;

const HOUR: Duration = Duration::from_secs(3600);

fn of_image(image: &str) -> TaskSpec {
    spec(vec![ContainerDefinition { image: Some(image.into()), ..container("app") }])
}

/// Images a, b and c can be pulled.
fn rig() -> Rig {
    rig_with(|_| {})
}

fn rig_with(change: impl FnOnce(&mut ImageCleanup)) -> Rig {
    let rig = Rig::with(|config| {
        config.pull = PullPolicy::PullFirst;
        change(&mut config.images);
    });
    for image in ["a", "b", "c"] {
        rig.fake.publish_image(image, Behaviour::default());
    }
    rig
}

fn has(rig: &Rig, image: &str) -> bool {
    rig.fake.image_ids().iter().any(|id| *id == format!("sha256:id-of-{image}"))
}

impl Rig {
    /// Runs a task of this image, and stops it; its containers stay for an hour.
    async fn use_image(&mut self, number: u128, image: &str) {
        self.coordinator.run(task(number), of_image(image));
        self.until_running(task(number)).await;
        self.coordinator.stop(task(number));
        self.until_stopped(task(number)).await;
        self.idle(2).await;
    }

    /// Lets time pass in small parts, so that what is due happens in between.
    async fn live(&mut self, time: Duration) {
        let part = Duration::from_secs(300);
        for _ in 0..time.as_secs() / part.as_secs() {
            self.pass(part).await;
            self.idle(1).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_goes_an_hour_after_its_last_task_and_one_in_use_stays() {
    let mut rig = rig();
    rig.exchange().await;
    rig.use_image(1, "a").await;
    rig.coordinator.run(task(2), of_image("b"));
    rig.until_running(task(2)).await;
    // The task's containers go after an hour, and the image an hour later.
    rig.live(HOUR + HOUR / 2).await;
    assert!(has(&rig, "a"), "{:?}", rig.fake.image_ids());
    rig.live(2 * HOUR).await;
    assert!(!has(&rig, "a") && has(&rig, "b"), "{:?}", rig.fake.image_ids());
    // Neither what was there before, and no registry has.
    assert!(has(&rig, IMAGE));
    // It can be had again.
    rig.use_image(3, "a").await;
    assert!(has(&rig, "a"));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_lost_its_name_to_another_goes_too() {
    let mut rig = rig();
    rig.exchange().await;
    rig.use_image(1, "a").await;
    rig.fake.publish_anew("a", 2);
    rig.coordinator.run(task(2), of_image("a"));
    rig.until_running(task(2)).await;
    rig.live(4 * HOUR).await;
    assert!(!has(&rig, "a") && has(&rig, "a-2"), "{:?}", rig.fake.image_ids());
}

#[tokio::test(start_paused = true)]
async fn what_was_used_is_remembered_by_the_next_start() {
    let mut rig = rig();
    rig.exchange().await;
    rig.use_image(1, "a").await;
    rig.restart_agent().await;
    rig.idle(2).await;
    rig.live(4 * HOUR).await;
    assert!(!has(&rig, "a"), "{:?}", rig.fake.image_ids());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_removed_where_the_operator_wants_it_to_stay() {
    let mut disabled = rig_with(|images| images.enabled = false);
    let mut excluded = rig_with(|images| images.exclude = vec!["a:latest".to_owned()]);
    for rig in [&mut disabled, &mut excluded] {
        rig.exchange().await;
        rig.use_image(1, "a").await;
        rig.live(4 * HOUR).await;
        assert!(has(rig, "a"));
    }
    assert_eq!(disabled.fake.count(Verb::RemoveImage), 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_ordered_while_its_image_is_removed_pulls_it_again() {
    for policy in [PullPolicy::PullFirst, PullPolicy::PreferCached] {
        let mut rig = rig();
        rig.config.pull = policy;
        rig.restart_agent().await;
        rig.exchange().await;
        rig.use_image(1, "a").await;
        rig.fake.set_latency(Verb::RemoveImage, Duration::from_secs(30));
        while rig.fake.count(Verb::RemoveImage) == 0 {
            rig.pass(Duration::from_secs(10)).await;
        }
        let before = rig.fake.count(Verb::Pull);
        rig.coordinator.run(task(2), of_image("a"));
        rig.until_running(task(2)).await;
        assert!(has(&rig, "a"));
        assert_eq!(rig.fake.count(Verb::Pull), before + 1, "{policy:?}: {:?}", rig.fake.calls());
        let calls = rig.fake.calls();
        let create = calls.iter().rposition(|call| call.verb == Verb::Create).unwrap();
        let removal = calls.iter().position(|call| call.verb == Verb::RemoveImage).unwrap();
        assert!(create > removal);
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_only_ordered_keeps_its_image() {
    let mut rig = rig();
    rig.config.pull = PullPolicy::PreferCached;
    rig.restart_agent().await;
    rig.exchange().await;
    rig.use_image(1, "a").await;
    rig.live(HOUR).await;
    // It is ordered, and its create takes as long as the engine likes.
    rig.fake.set_latency(Verb::Create, 5 * HOUR);
    rig.coordinator.run(task(2), of_image("a"));
    rig.idle(2).await;
    rig.live(4 * HOUR).await;
    assert!(has(&rig, "a"), "{:?}", rig.fake.calls());
    assert!(rig.fake.count(Verb::Images) > 2);
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_fails_is_tried_again_in_the_next_cycle() {
    let mut rig = rig();
    rig.exchange().await;
    rig.use_image(1, "a").await;
    let dependent =
        "conflict: unable to delete a (cannot be forced) - it has dependent child images";
    let error = RuntimeError::Conflict { message: dependent.into() };
    rig.fake.fail_next(Verb::RemoveImage, Fault::Fails(error));
    rig.fake.fail_next(Verb::RemoveImage, Fault::Hangs(Duration::from_secs(300)));
    rig.live(6 * HOUR).await;
    assert_eq!(rig.fake.count(Verb::RemoveImage), 3);
    assert!(!has(&rig, "a"));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_somebody_removes_before_the_create_is_pulled_again() {
    let mut rig = rig();
    rig.exchange().await;
    rig.fake.set_latency(Verb::Create, Duration::from_secs(60));
    rig.coordinator.run(task(1), of_image("a"));
    while rig.fake.count(Verb::Create) == 0 {
        rig.exchange().await;
    }
    rig.fake.remove_image_outside("a");
    rig.until_running(task(1)).await;
    assert_eq!(rig.fake.count(Verb::Pull), 2);
}

fn told(rig: &Rig) -> Vec<&str> {
    let images = rig.coordinator.images.as_ref().expect("the coordinator was told of images");
    images.references.iter().map(String::as_str).collect()
}

#[tokio::test(start_paused = true)]
async fn agent_tells_its_images_once_and_when_they_change() {
    let mut rig = rig();
    rig.idle(3).await;
    let first = told(&rig).len();
    assert!(told(&rig).contains(&"web:1"), "{:?}", told(&rig));
    assert_eq!(rig.coordinator.images_told, 1);
    rig.use_image(1, "a").await;
    rig.idle(3).await;
    assert!(told(&rig).contains(&"a:latest"), "{:?}", told(&rig));
    let before = rig.coordinator.images_told;
    rig.idle(5).await;
    assert_eq!(rig.coordinator.images_told, before, "it was told what it knows");
    // The image goes some time after its last task.
    rig.live(4 * HOUR).await;
    assert!(!has(&rig, "a"));
    assert_eq!(told(&rig).len(), first, "{:?}", told(&rig));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_somebody_else_pulled_is_told_of_too() {
    let mut rig = rig();
    rig.idle(3).await;
    assert!(!told(&rig).contains(&"warm:latest"));
    rig.fake.add_image("warm", Behaviour::default());
    rig.pass(Duration::from_secs(60)).await;
    rig.idle(2).await;
    assert!(told(&rig).contains(&"warm:latest"), "{:?}", told(&rig));
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_knows_nothing_is_told_again() {
    let mut rig = rig();
    rig.idle(3).await;
    rig.coordinator.images = None;
    rig.idle(1).await;
    assert!(told(&rig).contains(&"web:1"));
    rig.restart_agent().await;
    rig.idle(3).await;
    assert_eq!(rig.coordinator.images_told, 3);
}

#[tokio::test(start_paused = true)]
async fn image_is_pulled_once_until_it_is_removed_where_that_is_asked_for() {
    let mut rig = rig();
    rig.config.pull = PullPolicy::Once;
    // Somebody else brought it: nobody knows whether it is what the registry has now.
    rig.fake.add_image("a", Behaviour::default());
    rig.restart_agent().await;
    rig.exchange().await;
    let mut pulls = Vec::new();
    for number in 1..=2 {
        rig.use_image(number, "a").await;
        pulls.push(rig.fake.count(Verb::Pull));
    }
    rig.restart_agent().await;
    rig.use_image(3, "a").await;
    pulls.push(rig.fake.count(Verb::Pull));
    rig.live(4 * HOUR).await;
    assert!(!has(&rig, "a"));
    rig.use_image(4, "a").await;
    pulls.push(rig.fake.count(Verb::Pull));
    assert_eq!(pulls, [1, 1, 1, 2]);
}
