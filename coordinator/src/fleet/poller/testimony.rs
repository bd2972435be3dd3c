//! What a host says that it has seen, held against the journal: the one judgement of it, before any
//! of it becomes a command, a poll or an alarm. No I/O, so that tables can test it.
//!
//! Never: that the word of one host, where it cannot be true, concerns any other host.

use std::fmt;

use longshore_common::{
    id::HostId,
    limits::{ORDERS_EVER_MAX, STARTS_LOST_MAX},
    protocol::{PollAnswer, PollOutcome, Refusal, Seen},
};
use longshore_core::{State, state::Host};

use crate::driver::Proof;

/// Maximum number of starts that a host may be ahead and be believed (ours). One `recover`
/// continues by half of them at the most, so that a journal from before such a step is still known
/// to be old.
const STARTS_AHEAD_MAX: u64 = 2 * STARTS_LOST_MAX;

/// What follows from an answer's `seen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// The journal holds what the host has seen.
    Stands,
    /// It is of the part of the journal that the last `recover` left behind. The agent refuses
    /// whoever has given fewer orders: ours must be numbered above `to` first.
    OfLostOrders { to: u64 },
    /// The journal is older than what the host has seen (design.md rule 3).
    WentBack(Proof),
    /// No coordinator of this fleet can have told it: nothing that the host says counts.
    Untrue(Untruth),
}

/// Why a host's word cannot be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untruth {
    /// More orders than this start of the coordinator has given. Each was in the journal before it
    /// left, so that no older journal can be the reason: a restored one is read by another start. A
    /// machine that was set back with its memory looks the same; a restart tells the two apart.
    NeverGiven { seen: u64, given: u64 },
    /// A number of orders that no host reaches.
    Orders(u64),
    /// A start so far ahead that no journal can have lost those between.
    Starts { seen: u64, ours: u64 },
}

impl fmt::Display for Untruth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Untruth::NeverGiven { seen, given } => format!(
                "it claims order {seen} of this start of the coordinator, which has given it {given} (if \
                 the coordinator's machine was set back to an earlier moment, restart the coordinator)"
            ),
            Untruth::Orders(seen) => format!("it claims order {seen}, which no host reaches"),
            Untruth::Starts { seen, ours } => {
                format!("it claims start {seen} of the coordinator, and this is start {ours}")
            }
        };
        write!(
            f,
            "ALARM: the host does not tell the truth: {what}. Nothing that it says counts, and it is \
             given nothing. Look into the host, deregister it, and let it join anew with an empty data \
             directory once you trust it again"
        )
    }
}

/// Compared with the last order that there is now, not with that of the poll that is answered: a
/// newer poll may have brought more orders before this answer left.
pub fn judge(state: &State, host: HostId, answer: &PollAnswer) -> Testimony {
    let Some(host) = state.host(host) else { return Testimony::Stands };
    let given = host.last_order;
    // An agent that expects order N says that it has seen order N - 1.
    if let PollOutcome::Refused(Refusal::OrderGap { expected }) = answer.outcome
        && expected > given.saturating_add(1)
    {
        return Testimony::Untrue(Untruth::NeverGiven { seen: expected - 1, given });
    }
    answer.seen.map_or(Testimony::Stands, |seen| judge_seen(state, host, seen))
}

fn judge_seen(state: &State, host: &Host, seen: Seen) -> Testimony {
    let ours = state.epoch();
    // What was given since a start that the host has not seen, it cannot have seen either.
    let given = match seen.epoch == ours {
        true => host.last_order,
        false => host.orders_at_starts.at(state.first_start_beside(seen.epoch).counter),
    };
    let beyond = seen.order > given;
    if beyond && seen.epoch == ours {
        return Testimony::Untrue(Untruth::NeverGiven { seen: seen.order, given });
    }
    if beyond && seen.order > ORDERS_EVER_MAX {
        return Testimony::Untrue(Untruth::Orders(seen.order));
    }
    if seen.epoch.counter.saturating_sub(ours.counter) > STARTS_AHEAD_MAX {
        let (seen, ours) = (seen.epoch.counter, ours.counter);
        return Testimony::Untrue(Untruth::Starts { seen, ours });
    }
    // After `recover` hosts still name epochs of the lost part of the journal.
    if state.is_of_lost_journal(seen.epoch) {
        return match beyond {
            true => Testimony::OfLostOrders { to: seen.order },
            false => Testimony::Stands,
        };
    }
    let newer = seen.epoch.counter > ours.counter;
    if !newer && !beyond && state.knows_epoch(seen.epoch) {
        return Testimony::Stands;
    }
    Testimony::WentBack(Proof {
        host: host.id,
        seen: seen.epoch,
        seen_order: seen.order,
        epoch: ours,
        last_order: given,
    })
}

#[cfg(test)]
mod tests {
    use longshore_common::protocol::{EngineHealth, Epoch};

    use super::*;
    use longshore_core::{Command, command::EpochCommand, test_kit::world::World};

    fn answer(host: HostId, seen: Option<Seen>, outcome: PollOutcome) -> PollAnswer {
        PollAnswer {
            protocol: 1,
            host,
            boot_id: String::new(),
            session: 1,
            seen,
            machine: Default::default(),
            engine: EngineHealth::Answers,
            storage: Default::default(),
            leaving: false,
            looked: Some(true),
            subscriptions: None,
            outcome,
        }
    }

    fn says(world: &World, counter: u64, incarnation: u64, order: u64) -> Testimony {
        let seen = Some(Seen { epoch: Epoch { counter, incarnation }, order });
        let outcome =
            PollOutcome::Accepted { reports: Vec::new(), needs_manifest: false, images: None };
        judge(&world.state, world.hosts[0], &answer(world.hosts[0], seen, outcome))
    }

    /// Start 1 with the incarnation 1, then start 2 with the incarnation 2.
    fn restarted() -> World {
        let mut world = World::with_hosts(1);
        world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 })).unwrap();
        world
    }

    #[test]
    fn orders_of_this_start_that_were_not_given_are_untrue() {
        let world = restarted();
        assert_eq!(says(&world, 2, 2, 0), Testimony::Stands);
        for order in [1, 1000, u64::MAX] {
            let untrue = Untruth::NeverGiven { seen: order, given: 0 };
            assert_eq!(says(&world, 2, 2, order), Testimony::Untrue(untrue));
        }
    }

    #[test]
    fn older_journal_is_proved_by_what_another_start_gave() {
        let world = restarted();
        assert_eq!(says(&world, 1, 1, 0), Testimony::Stands);
        // More of a start that the journal knows; a start beside ours; one after ours.
        for (counter, incarnation, order) in
            [(1, 1, 1), (1, 1, ORDERS_EVER_MAX), (1, 9, 0), (2, 9, 0), (3, 9, 0), (3, 9, 7)]
        {
            let testimony = says(&world, counter, incarnation, order);
            assert!(
                matches!(testimony, Testimony::WentBack(_)),
                "{counter} {order}: {testimony:?}"
            );
        }
    }

    /// RunTask and StopTask give orders to hosts that were not heard yet.
    #[test]
    fn orders_given_before_a_host_was_heard_hide_no_proof() {
        let mut world = restarted();
        world.start_alone(world.hosts[0]);
        world.start_alone(world.hosts[0]);
        assert_eq!(says(&world, 1, 1, 0), Testimony::Stands);
        for order in [1, 2, 3] {
            let testimony = says(&world, 1, 1, order);
            assert!(matches!(testimony, Testimony::WentBack(_)), "{order}: {testimony:?}");
        }
        assert_eq!(says(&world, 2, 2, 2), Testimony::Stands);
        // The next start takes them for what the host may have seen in this one.
        world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 3 })).unwrap();
        assert_eq!(says(&world, 2, 2, 2), Testimony::Stands);
        // Not of one that has not seen this start.
        assert!(matches!(says(&world, 1, 1, 1), Testimony::WentBack(_)));
        // Of the lost part only the numbers are skipped, however many there are of ours.
        world
            .call(Command::Epoch(EpochCommand::Recover { beyond: 9, incarnation: 3, proved: None }))
            .unwrap();
        for _ in 0..3 {
            world.start_alone(world.hosts[0]);
        }
        assert_eq!(says(&world, 9, 9, 4), Testimony::OfLostOrders { to: 4 });
        // Not after a start in which the host was not heard either.
        world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 11 })).unwrap();
        assert_eq!(says(&world, 9, 9, 4), Testimony::OfLostOrders { to: 4 });
        world
            .call(Command::Epoch(EpochCommand::SkipLostOrders { host: world.hosts[0], to: 4 }))
            .unwrap();
        assert_eq!(says(&world, 9, 9, 4), Testimony::Stands);
        assert_eq!(world.state.host(world.hosts[0]).unwrap().last_order, 5);
    }

    /// As when the coordinator could not stay up for a night.
    #[test]
    fn host_that_was_away_for_a_thousand_starts_proves_nothing() {
        let mut world = restarted();
        for incarnation in 3..=1_100 {
            world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation })).unwrap();
        }
        assert_eq!(says(&world, 2, 2, 0), Testimony::Stands);
        assert_eq!(says(&world, 1_050, 1_050, 0), Testimony::Stands);
        assert!(matches!(says(&world, 1_050, 7, 0), Testimony::WentBack(_)));
    }

    /// The lost part had more starts than the copy, which has given orders in its own.
    #[test]
    fn orders_of_a_lost_part_with_more_starts_are_skipped() {
        let mut world = World::with_hosts(1);
        let host = world.hosts[0];
        world.start_alone(host);
        world.call(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 })).unwrap();
        world.start_alone(host);
        // The second recovery, of which another host is the reason, changes nothing of it.
        for (counter, incarnation) in [(4, 77), (6, 88)] {
            let proved = Some(Epoch { counter, incarnation });
            let beyond = counter;
            world
                .call(Command::Epoch(EpochCommand::Recover { beyond, incarnation: 5, proved }))
                .unwrap();
            assert_eq!(says(&world, 4, 77, 2), Testimony::OfLostOrders { to: 2 });
        }
        world.call(Command::Epoch(EpochCommand::SkipLostOrders { host, to: 2 })).unwrap();
        assert_eq!(says(&world, 4, 77, 2), Testimony::Stands);
    }

    #[test]
    fn numbers_that_nobody_reaches_are_untrue_and_prove_nothing() {
        let mut world = restarted();
        let untrue = |world: &World, counter, order| {
            matches!(says(world, counter, 9, order), Testimony::Untrue(_))
        };
        for _ in 0..2 {
            let ours = world.state.epoch().counter;
            assert!(untrue(&world, 1, u64::MAX) && untrue(&world, 1, ORDERS_EVER_MAX + 1));
            assert!(untrue(&world, u64::MAX, 0) && untrue(&world, ours + STARTS_AHEAD_MAX + 1, 0));
            assert!(!untrue(&world, ours + STARTS_AHEAD_MAX, 0));
            // The second time after a recovery, when lower starts are those of the lost part.
            world
                .call(Command::Epoch(EpochCommand::Recover {
                    beyond: 9,
                    incarnation: 3,
                    proved: None,
                }))
                .unwrap();
        }
    }

    #[test]
    fn orders_of_the_lost_part_are_skipped_once() {
        let mut world = restarted();
        world
            .call(Command::Epoch(EpochCommand::Recover { beyond: 9, incarnation: 3, proved: None }))
            .unwrap();
        assert_eq!(says(&world, 9, 9, 40), Testimony::OfLostOrders { to: 40 });
        let host = world.hosts[0];
        world.call(Command::Epoch(EpochCommand::SkipLostOrders { host, to: 40 })).unwrap();
        assert_eq!(says(&world, 9, 9, 40), Testimony::Stands);
    }

    /// Two starts may have the same number: the one that the journal lost, and the one of `recover`.
    #[test]
    fn epoch_beside_that_of_recovery_proves_an_old_journal() {
        let mut world = World::with_hosts(1);
        world
            .call(Command::Epoch(EpochCommand::Recover { beyond: 6, incarnation: 5, proved: None }))
            .unwrap();
        let cases = [(6, 99, false), (7, 5, false), (7, 4, true), (7, 6, true), (8, 1, true)];
        for (counter, incarnation, proves) in cases {
            let testimony = says(&world, counter, incarnation, 0);
            let proved = matches!(testimony, Testimony::WentBack(_));
            assert_eq!(proved, proves, "{counter} {incarnation}: {testimony:?}");
        }
    }

    #[test]
    fn gap_after_an_order_that_was_not_given_is_untrue() {
        let world = restarted();
        let host = world.hosts[0];
        let gap = |expected| PollOutcome::Refused(Refusal::OrderGap { expected });
        let said = |expected| judge(&world.state, host, &answer(host, None, gap(expected)));
        assert_eq!((said(0), said(1)), (Testimony::Stands, Testimony::Stands));
        assert!(matches!(said(2), Testimony::Untrue(_)));
        assert!(matches!(said(u64::MAX), Testimony::Untrue(_)));
    }
}
