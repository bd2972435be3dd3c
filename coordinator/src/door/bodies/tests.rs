use futures_util::{FutureExt, future::join_all};
use tokio::time::{advance, sleep};

use super::*;

const KIB: usize = 1024;
const ROOM: BodyRoom = BodyRoom {
    bytes_max: 8 * KIB,
    wait_max: Duration::from_secs(30),
    pace: Some(BodyPace { grace: Duration::from_secs(1), bytes_per_second: 1024 }),
};

fn party(n: u8) -> IpAddr {
    [10, 0, 0, n].into()
}

async fn enter(bodies: &Arc<Bodies>, n: u8, kib: usize) -> InMemory {
    bodies.enter(party(n), kib * KIB).await.unwrap()
}

/// A body that comes as it should, until it is told to give way.
async fn comes_in_pace(body: InMemory) -> NoRoom {
    let coming = async {
        loop {
            body.came(600);
            sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        why = body.told_to_give_way() => why,
        () = coming => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn body_waits_until_the_memory_of_others_is_free() {
    let bodies = Bodies::new(ROOM);
    let first = enter(&bodies, 1, 5).await;
    let second = enter(&bodies, 1, 3).await;
    let mut third = Box::pin(enter(&bodies, 1, 4));
    assert!(third.as_mut().now_or_never().is_none());
    drop(second);
    assert!(third.as_mut().now_or_never().is_none());
    drop(first);
    assert!(third.now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn body_larger_than_all_room_has_all_of_it() {
    let bodies = Bodies::new(ROOM);
    let large = enter(&bodies, 1, 9).await;
    assert!(enter(&bodies, 1, 2).now_or_never().is_none());
    drop(large);
    assert!(enter(&bodies, 1, 2).now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn whole_bodies_give_way_to_nobody() {
    let bodies = Bodies::new(ROOM);
    let all = enter(&bodies, 1, 8).await;
    all.is_whole().unwrap();
    let refused = join_all([2, 3].map(|n| bodies.enter(party(n), 2 * KIB))).await;
    assert!(refused.iter().all(|refused| refused.as_ref().err() == Some(&NoRoom::NoneGaveWay)));
    assert!(all.told_to_give_way().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn slow_body_gives_way_even_to_its_own_party() {
    let bodies = Bodies::new(ROOM);
    let slow = enter(&bodies, 1, 6).await;
    let quick = enter(&bodies, 1, 2).await;
    quick.came(2 * KIB);
    advance(Duration::from_millis(2500)).await;
    assert!(slow.told_to_give_way().now_or_never().is_none(), "nobody waits");
    let mut waiting = Box::pin(enter(&bodies, 1, 4));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(slow.told_to_give_way().now_or_never(), Some(NoRoom::Slow));
    assert_eq!(slow.is_whole(), Err(NoRoom::Slow));
    assert!(quick.told_to_give_way().now_or_never().is_none());
    drop(slow);
    assert!(waiting.now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn body_that_becomes_slow_gives_way_to_one_that_waits_already() {
    let bodies = Bodies::new(ROOM);
    let slow = enter(&bodies, 1, 8).await;
    slow.came(3 * KIB);
    let gives_way = async {
        let why = slow.told_to_give_way().await;
        drop(slow);
        why
    };
    let (why, _waited) = tokio::join!(gives_way, enter(&bodies, 2, 8));
    assert_eq!(why, NoRoom::Slow);
}

#[tokio::test(start_paused = true)]
async fn body_in_pace_keeps_its_room_from_a_party_with_as_much() {
    let bodies = Bodies::new(ROOM);
    let (ours, theirs) = (enter(&bodies, 1, 4).await, enter(&bodies, 2, 4).await);
    let refused = tokio::select! {
        why = comes_in_pace(ours) => unreachable!("{why}"),
        why = comes_in_pace(theirs) => unreachable!("{why}"),
        refused = bodies.enter(party(3), 4 * KIB) => refused.err(),
    };
    assert_eq!(refused, Some(NoRoom::NoneGaveWay));
}

#[tokio::test(start_paused = true)]
async fn party_with_most_gives_way_with_the_body_of_which_least_is_here() {
    let bodies = Bodies::new(ROOM);
    let modest = enter(&bodies, 2, 2).await;
    let greedy = join_all((0..3).map(|_| enter(&bodies, 1, 2))).await;
    for (body, bytes) in greedy.iter().zip([300, 100, 200]) {
        body.came(bytes);
    }
    let mut newcomer = Box::pin(enter(&bodies, 3, 2));
    assert!(newcomer.as_mut().now_or_never().is_none());
    let told = greedy.iter().map(|body| body.told_to_give_way().now_or_never());
    assert_eq!(told.collect::<Vec<_>>(), [None, Some(NoRoom::MoreThanOthers), None]);
    assert!(modest.told_to_give_way().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn nobody_gives_way_in_vain() {
    let bodies = Bodies::new(ROOM);
    let worked_on = enter(&bodies, 2, 5).await;
    worked_on.is_whole().unwrap();
    let slow = enter(&bodies, 1, 3).await;
    advance(Duration::from_secs(60)).await;
    assert!(enter(&bodies, 3, 4).now_or_never().is_none());
    assert!(slow.told_to_give_way().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn party_with_least_is_first_in_the_line() {
    let bodies = Bodies::new(ROOM);
    let all = enter(&bodies, 1, 8).await;
    all.is_whole().unwrap();
    let mut crowd: Vec<_> = (0..20).map(|_| Box::pin(enter(&bodies, 1, 4))).collect();
    for waiting in &mut crowd {
        assert!(waiting.as_mut().now_or_never().is_none());
    }
    let mut other = Box::pin(enter(&bodies, 2, 4));
    assert!(other.as_mut().now_or_never().is_none());
    drop(all);
    // The crowd's first waited longer; nobody else of it comes before the other party.
    let _first = crowd.remove(0).now_or_never().unwrap();
    let _other = other.now_or_never().unwrap();
    assert!(crowd.iter_mut().all(|waiting| waiting.as_mut().now_or_never().is_none()));
}

#[tokio::test(start_paused = true)]
async fn body_whose_caller_became_known_leaves_the_room_of_strangers() {
    let (strangers, known) = (Bodies::new(ROOM), Bodies::new(ROOM));
    let moved = enter(&strangers, 1, 8).await.move_to(&known, 8 * KIB);
    assert!(moved.is_among(&known));
    assert!(enter(&strangers, 2, 8).now_or_never().is_some());
    assert!(enter(&known, 3, 2).now_or_never().is_none());
    drop(moved);
    assert!(enter(&known, 3, 8).now_or_never().is_some());
    let left = known.lock();
    assert!(left.bodies.is_empty() && left.waiting.is_empty());
}
