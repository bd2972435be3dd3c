use std::{collections::BTreeMap, io::ErrorKind, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::{
    head::NoHead,
    stream::{Paced, WritePace},
    *,
};

const ROOM: Room = Room { bytes_max: 100, reserve_bytes: 20, party_bytes_max: 60, fair_bytes: 0 };

fn address(n: u8) -> IpAddr {
    [10, 0, 0, n].into()
}

fn door() -> Arc<Door> {
    Door::new(Rooms { strangers: ROOM, known: ROOM })
}

fn enter(door: &Arc<Door>, n: u8, bytes: usize) -> Result<Arc<Visit>, Full> {
    door.enter(address(n), bytes).map(Arc::new)
}

#[test]
fn greediest_party_gives_way_with_its_oldest_guest() {
    let door = door();
    let greedy: Vec<_> = (0..6).map(|_| enter(&door, 1, 10).unwrap()).collect();
    let modest: Vec<_> = (0..2).map(|_| enter(&door, 2, 10).unwrap()).collect();
    let _newcomer = enter(&door, 3, 20).unwrap();
    let left: Vec<_> = greedy.iter().map(|visit| visit.must_leave()).collect();
    assert_eq!(left, [true, true, false, false, false, false]);
    assert!(modest.iter().all(|visit| !visit.must_leave()));
}

#[test]
fn party_over_its_share_gives_way_to_itself_only() {
    let door = door();
    let other = enter(&door, 2, 5).unwrap();
    let first = enter(&door, 1, 30).unwrap();
    let second = enter(&door, 1, 30).unwrap();
    let third = enter(&door, 1, 30).unwrap();
    assert!(first.must_leave() && !second.must_leave() && !third.must_leave());
    assert!(!other.must_leave());
    assert_eq!(enter(&door, 1, 61).err(), Some(Full::Party), "more than a party may hold");
}

#[test]
fn greedy_party_does_not_push_out_a_modest_one() {
    let door = door();
    let modest = enter(&door, 2, 30).unwrap();
    let greedy = enter(&door, 1, 50).unwrap();
    assert_eq!(greedy.hold(5), Err(Full::Account), "it would have to give way to itself");
    assert!(!modest.must_leave());
    assert!(enter(&door, 1, 5).is_ok());
    assert!(greedy.must_leave());
}

#[test]
fn reserve_is_for_parties_that_proved_themselves() {
    let door = door();
    let regular = enter(&door, 9, 10).unwrap();
    drop(regular.serve().unwrap());
    drop(regular);
    let _crowd: Vec<_> = (1..=8).map(|n| enter(&door, n, 10).unwrap()).collect();
    let held = enter(&door, 9, 20).unwrap();
    assert!(_crowd.iter().all(|visit| !visit.must_leave()));
    assert!(!held.must_leave());
}

#[test]
fn strangers_push_out_nobody_of_a_party_that_proved_itself() {
    let room = Room { fair_bytes: 30, ..ROOM };
    let door = Door::new(Rooms { strangers: room, known: room });
    let regular = enter(&door, 1, 10).unwrap();
    drop(regular.serve().unwrap());
    drop(regular);
    let held = enter(&door, 1, 20).unwrap();
    let crowd: Vec<_> = (2..200).map(|n| enter(&door, n, 2)).collect();
    assert!(!held.must_leave(), "the greediest, and favoured");
    assert!(crowd[0].as_ref().unwrap().must_leave());
    assert!(!crowd[197].as_ref().unwrap().must_leave());
    // What it has inside already is favoured from the moment in which it proves itself.
    let other = enter(&door, 250, 10).unwrap();
    let proving = enter(&door, 250, 10).unwrap();
    drop(proving.serve().unwrap());
    let _crowd: Vec<_> = (2..200).map(|n| enter(&door, n, 2)).collect();
    assert!(!other.must_leave());
}

#[test]
fn of_parties_that_hold_little_the_oldest_gives_way() {
    let room = Room { fair_bytes: 30, ..ROOM };
    let door = Door::new(Rooms { strangers: room, known: room });
    // The highest address first, and an IPv6 address is higher than all.
    let oldest = door.enter("2001:db8::1".parse().unwrap(), 2).unwrap();
    let crowd: Vec<_> = (2..38).rev().map(|n| enter(&door, n, 2).unwrap()).collect();
    let asks = enter(&door, 1, 2).unwrap();
    asks.hold(20).unwrap();
    let mut gone = crowd.iter().map(|visit| visit.must_leave()).skip_while(|gone| *gone);
    assert!(oldest.must_leave() && crowd[0].must_leave());
    assert!(gone.all(|gone| !gone), "the oldest ones are gone, and no other");
    let _more: Vec<_> = (100..110).map(|n| enter(&door, n, 2).unwrap()).collect();
    assert!(!asks.must_leave(), "it asks for what is fair, and is not the oldest");
}

#[test]
fn guest_that_is_served_gives_way_to_nobody() {
    let door = door();
    let served = enter(&door, 1, 10).unwrap();
    let guard = served.serve().unwrap();
    assert!(served.is_known());
    let others: Vec<_> = (0..12).map(|_| enter(&door, 1, 10).unwrap()).collect();
    assert!(!served.must_leave());
    drop(others);
    served.hold(45).unwrap();
    assert_eq!(served.hold(10), Err(Full::Party));
    served.let_go(45);
    drop(guard);
    // Idle now, it gives way to others that are known, and to no stranger.
    let other = enter(&door, 1, 55).unwrap();
    assert!(!served.must_leave());
    let _guard = other.serve().unwrap();
    assert!(served.must_leave());
}

#[test]
fn guest_that_is_served_twice_gives_way_after_both() {
    let door = door();
    let served = enter(&door, 1, 10).unwrap();
    let (first, second) = (served.serve().unwrap(), served.serve().unwrap());
    drop(second);
    let other = enter(&door, 1, 55).unwrap();
    assert!(other.serve().is_err());
    drop(first);
    assert!(other.serve().is_ok() && served.must_leave());
}

#[test]
fn a_64_of_ipv6_is_one_party() {
    let door = door();
    let of =
        |n: u16| door.enter(std::net::Ipv6Addr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]).into(), 30);
    let (first, _second) = (of(1).unwrap(), of(2).unwrap());
    let _third = of(3).unwrap();
    assert!(first.must_leave());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Enter { party: u8, bytes: usize },
    Hold { guest: usize, bytes: usize },
    LetGo { guest: usize, bytes: usize },
    Serve(usize),
    Rest(usize),
    Leave(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let guest = 0..40_usize;
    let step = prop_oneof![
        4 => (0..6_u8, 1..40_usize).prop_map(|(party, bytes)| Step::Enter { party, bytes }),
        2 => (guest.clone(), 1..40_usize).prop_map(|(guest, bytes)| Step::Hold { guest, bytes }),
        1 => (guest.clone(), 1..40_usize).prop_map(|(guest, bytes)| Step::LetGo { guest, bytes }),
        1 => guest.clone().prop_map(Step::Serve),
        1 => guest.clone().prop_map(Step::Rest),
        2 => guest.prop_map(Step::Leave),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    /// Whatever guests do: no account and no party ever holds more than its bound, and nothing stays
    /// counted when all have left.
    #[test]
    fn accounts_stay_bounded_and_end_empty(steps in steps()) {
        let door = door();
        let mut guests: BTreeMap<usize, (Arc<Visit>, Option<Served>)> = BTreeMap::new();
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Enter { party, bytes } => {
                    if let Ok(visit) = enter(&door, party, bytes) {
                        guests.insert(n % 40, (visit, None));
                    }
                }
                Step::Hold { guest, bytes } => {
                    if let Some((visit, _)) = guests.get(&guest) {
                        let _ = visit.hold(bytes);
                    }
                }
                Step::LetGo { guest, bytes } => {
                    if let Some((visit, _)) = guests.get(&guest) {
                        visit.let_go(bytes);
                    }
                }
                Step::Serve(guest) => {
                    if let Some((visit, served)) = guests.get_mut(&guest) {
                        *served = visit.serve().ok();
                    }
                }
                Step::Rest(guest) => {
                    if let Some((_, served)) = guests.get_mut(&guest) {
                        *served = None;
                    }
                }
                Step::Leave(guest) => drop(guests.remove(&guest)),
            }
            let inside = door.lock();
            prop_assert!(inside.strangers.bytes() <= ROOM.bytes_max);
            prop_assert!(inside.known.bytes() <= ROOM.bytes_max);
            prop_assert_eq!(inside.strangers.sums(), inside.strangers.bytes());
            prop_assert_eq!(inside.known.sums(), inside.known.bytes());
        }
        drop(guests);
        let inside = door.lock();
        prop_assert_eq!(inside.strangers.bytes() + inside.known.bytes(), 0);
        prop_assert!(inside.guests.is_empty());
    }
}

const PACE: WritePace = WritePace { stall: Duration::from_secs(10), bytes_per_second: 1_000 };

#[tokio::test(start_paused = true)]
async fn write_that_nobody_takes_fails_in_time() {
    let (ours, _theirs) = duplex(64);
    let mut paced = Paced::new(ours, Bytes::new(), PACE);
    let failed = paced.write_all(&[0; 1_000]).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn peer_that_reads_a_byte_at_a_time_counts_as_stalled() {
    let (ours, mut theirs) = duplex(64);
    let mut paced = Paced::new(ours, Bytes::new(), PACE);
    let trickle = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            theirs.read_u8().await.unwrap();
        }
    };
    tokio::select! {
        written = paced.write_all(&[0; 100_000]) => {
            assert_eq!(written.unwrap_err().kind(), ErrorKind::TimedOut);
        }
        () = trickle => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn slow_peer_at_the_required_pace_gets_a_long_answer() {
    let (ours, mut theirs) = duplex(64);
    let mut paced = Paced::new(ours, Bytes::new(), PACE);
    let reading = async {
        let mut part = [0; 1_100];
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            theirs.read_exact(&mut part).await.unwrap();
        }
    };
    let (written, ()) = tokio::join!(paced.write_all(&[0; 66_000]), reading);
    written.unwrap();
    // Old waits do not count against a later answer.
    paced.flush().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut part = [0; 200];
    let (written, read) = tokio::join!(paced.write_all(&[0; 200]), theirs.read_exact(&mut part));
    written.unwrap();
    read.unwrap();
}

#[tokio::test]
async fn head_is_read_whole_however_it_is_cut() {
    let whole = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nrest";
    for cut in 1..whole.len() - 4 {
        let door = Door::new(Rooms {
            strangers: Room { bytes_max: 100_000, party_bytes_max: 100_000, ..ROOM },
            known: ROOM,
        });
        let visit = door.enter(address(1), head::HEAD_STAGE_BYTES).unwrap();
        let (mut ours, mut theirs) = duplex(1024);
        let writing = async {
            theirs.write_all(&whole[..cut]).await.unwrap();
            tokio::task::yield_now().await;
            theirs.write_all(&whole[cut..]).await.unwrap();
        };
        let (read, ()) = tokio::join!(head::read(&mut ours, &visit, 16 * 1024), writing);
        assert_eq!(&read.unwrap()[..], whole);
    }
}

#[tokio::test]
async fn head_holds_what_it_takes_and_gives_way_beyond() {
    let door = door();
    let visit = door.enter(address(1), 1).unwrap();
    let (mut ours, mut theirs) = duplex(64 * 1024);
    theirs.write_all(&[b'A'; 32 * 1024]).await.unwrap();
    let read = head::read(&mut ours, &visit, 16 * 1024).await;
    assert!(matches!(read, Err(NoHead::GaveWay(Full::Party))), "{read:?}");
}
