//! Every cell of the table.

use std::fmt::Write;

use expect_test::expect;

use super::*;

const STANDINGS: [Standing; 10] = [
    Standing::Pending,
    Standing::Blocked,
    Standing::Settling,
    Standing::Healthy,
    Standing::Unhealthy,
    Standing::LeavingPending,
    Standing::LeavingRunning,
    Standing::Stopping,
    Standing::Deprovisioning,
    Standing::Lost,
];
const ROLES: [Role; 4] = [Role::Current, Role::Outdated, Role::Stranded, Role::Ended];

fn cells() -> impl Iterator<Item = Cell> {
    let both = [false, true];
    both.into_iter().flat_map(move |daemon| {
        ROLES.into_iter().flat_map(move |role| {
            STANDINGS.into_iter().flat_map(move |standing| {
                both.into_iter().flat_map(move |protected| {
                    both.into_iter().map(move |draining| Cell {
                        standing,
                        draining,
                        role,
                        protected,
                        daemon,
                    })
                })
            })
        })
    })
}

/// Four columns: on a host that stays and on one that drains, then both for a protected task.
#[test]
fn table_says_for_each_cell_what_becomes_of_a_task() {
    let mut table = String::new();
    for row in cells().collect::<Vec<_>>().chunks(4) {
        let Cell { standing, role, daemon, .. } = row[0];
        if standing == STANDINGS[0] {
            let kind = if daemon { "daemon" } else { "replica" };
            writeln!(table, "{kind}, {role:?}").unwrap();
        }
        let name = format!("{standing:?}");
        let fates = row.iter().map(|cell| match fate(*cell).0 {
            Fate::Keep => "keep",
            Fate::ReplaceFirst => "replace",
            Fate::StopFirst => "stop",
            Fate::StopLast => "last",
        });
        let fates: String = fates.map(|fate| format!(" {fate:<8}")).collect();
        writeln!(table, "  {name:<15}{}", fates.trim_end()).unwrap();
    }
    expect![[r#"
        replica, Current
          Pending         keep     stop     keep     keep
          Blocked         stop     stop     stop     stop
          Settling        keep     replace  keep     keep
          Healthy         keep     replace  keep     keep
          Unhealthy       replace  stop     replace  stop
          LeavingPending  keep     keep     keep     keep
          LeavingRunning  keep     keep     keep     keep
          Stopping        keep     keep     keep     keep
          Deprovisioning  keep     keep     keep     keep
          Lost            keep     keep     keep     keep
        replica, Outdated
          Pending         stop     stop     keep     keep
          Blocked         stop     stop     keep     keep
          Settling        replace  replace  keep     keep
          Healthy         replace  replace  keep     keep
          Unhealthy       stop     stop     keep     keep
          LeavingPending  keep     keep     keep     keep
          LeavingRunning  keep     keep     keep     keep
          Stopping        keep     keep     keep     keep
          Deprovisioning  keep     keep     keep     keep
          Lost            keep     keep     keep     keep
        replica, Stranded
          Pending         keep     stop     keep     keep
          Blocked         stop     stop     stop     stop
          Settling        keep     stop     keep     keep
          Healthy         keep     stop     keep     keep
          Unhealthy       stop     stop     stop     stop
          LeavingPending  keep     keep     keep     keep
          LeavingRunning  keep     keep     keep     keep
          Stopping        keep     keep     keep     keep
          Deprovisioning  keep     keep     keep     keep
          Lost            keep     keep     keep     keep
        replica, Ended
          Pending         stop     stop     stop     stop
          Blocked         stop     stop     stop     stop
          Settling        stop     stop     stop     stop
          Healthy         stop     stop     stop     stop
          Unhealthy       stop     stop     stop     stop
          LeavingPending  keep     keep     keep     keep
          LeavingRunning  keep     keep     keep     keep
          Stopping        keep     keep     keep     keep
          Deprovisioning  keep     keep     keep     keep
          Lost            keep     keep     keep     keep
        daemon, Current
          Pending         keep     last     keep     keep
          Blocked         stop     stop     stop     stop
          Settling        keep     last     keep     keep
          Healthy         keep     last     keep     keep
          Unhealthy       stop     stop     stop     stop
          LeavingPending  keep     keep     keep     keep
          LeavingRunning  keep     keep     keep     keep
          Stopping        keep     keep     keep     keep
          Deprovisioning  keep     keep     keep     keep
          Lost            keep     keep     keep     keep
        daemon, Outdated
          Pending         stop     last     keep     keep
          Blocked         stop     stop     keep     keep
          Settling        stop     last     keep     keep
          Healthy         replace  last     keep     keep
          Unhealthy       stop     stop     keep     keep
          LeavingPending  keep     keep     keep     keep
          LeavingRunning  keep     keep     keep     keep
          Stopping        keep     keep     keep     keep
          Deprovisioning  keep     keep     keep     keep
          Lost            keep     keep     keep     keep
        daemon, Stranded
          Pending         keep     last     keep     keep
          Blocked         stop     stop     stop     stop
          Settling        keep     last     keep     keep
          Healthy         keep     last     keep     keep
          Unhealthy       stop     stop     stop     stop
          LeavingPending  keep     keep     keep     keep
          LeavingRunning  keep     keep     keep     keep
          Stopping        keep     keep     keep     keep
          Deprovisioning  keep     keep     keep     keep
          Lost            keep     keep     keep     keep
        daemon, Ended
          Pending         stop     stop     stop     stop
          Blocked         stop     stop     stop     stop
          Settling        stop     stop     stop     stop
          Healthy         stop     stop     stop     stop
          Unhealthy       stop     stop     stop     stop
          LeavingPending  keep     keep     keep     keep
          LeavingRunning  keep     keep     keep     keep
          Stopping        keep     keep     keep     keep
          Deprovisioning  keep     keep     keep     keep
          Lost            keep     keep     keep     keep
    "#]]
    .assert_eq(&table);
}

#[test]
fn every_task_of_an_ended_service_that_still_runs_is_stopped() {
    let runs = |cell: &Cell| cell.standing.is_wanted() && cell.role == Role::Ended;
    assert!(cells().filter(runs).all(|cell| fate(cell).0 == Fate::StopFirst));
}

#[test]
fn only_protected_tasks_may_stay_on_a_draining_host() {
    for cell in cells().filter(|cell| cell.draining && cell.standing.is_wanted()) {
        let stays = fate(cell).0 == Fate::Keep;
        assert!(!stays || cell.protected, "{cell:?}");
    }
}

#[test]
fn every_cell_has_a_reason() {
    assert!(cells().all(|cell| !fate(cell).1.is_empty()));
    assert_eq!(cells().count(), 320);
}
