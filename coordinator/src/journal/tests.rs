//! The journal on a real disk: what is kept, and what a start refuses.

mod damage;
pub(crate) mod golden;

use std::{path::Path, sync::Arc};

use longshore_common::{
    clock::{SteppedClock, Timestamp},
    id::FleetId,
};
use longshore_core::{
    Command, State,
    batch::{Batch, HistoryItems},
    command::{AlarmCommand, ClusterChange, ClusterCommand, EpochCommand, LogGroupCommand},
    model::{
        alarm::{AlarmDefinition, AlarmName, AlarmValue, PutMetricAlarm, SetAlarmState, Watched},
        cluster::ClusterSettings,
        log_group::LogGroupName,
        service::ServiceId,
        tags::Tags,
    },
};
use rusqlite::Connection;

use super::{
    Checkpoint, Journal,
    memory::MemoryDisk,
    recovery::{self, Recovered, RecoveryError},
    sqlite::{self, DamagedHistory, OpenError, SqliteJournal},
};
use crate::driver::{self, EVENTS_PER_CHECKPOINT, Handle};

fn open(directory: &Path) -> SqliteJournal {
    SqliteJournal::open(directory, FleetId::new(1)).unwrap()
}

/// A coordinator's driver on `directory`; ends when the handle is dropped.
fn start(directory: &Path) -> (Handle, Recovered) {
    let journal = open(directory);
    let (state, recovered) = recovery::recover(&journal).unwrap();
    let mut next = 0u128;
    let entropy = Box::new(move || {
        next += 1 << 64;
        next
    });
    let clock: Arc<SteppedClock> = SteppedClock::at(Timestamp(1));
    (driver::start(state, journal, clock, entropy).0, recovered)
}

async fn create_cluster(handle: &Handle, name: &str) {
    let (settings, tags) = (ClusterSettings::default(), Tags::new());
    let command = Command::Cluster(ClusterCommand::CreateCluster {
        name: name.parse().unwrap(),
        settings,
        tags,
    });
    handle.submit(command, |_, _| ()).await.unwrap();
}

/// Lets go of the journal: its threads end once the last handle is gone, and with them the lock.
fn end(handle: Handle, directory: &Path) {
    drop(handle);
    while matches!(SqliteJournal::open(directory, FleetId::new(1)), Err(OpenError::InUse(_))) {
        std::thread::yield_now();
    }
}

/// A journal with three clusters, as a coordinator left it.
async fn filled(directory: &Path) {
    let (handle, _) = start(directory);
    for name in ["a", "b", "c"] {
        create_cluster(&handle, name).await;
    }
    end(handle, directory);
}

fn tamper(directory: &Path, sql: &str) {
    let connection = Connection::open(directory.join(sqlite::FILE_NAME)).unwrap();
    assert_eq!(connection.execute(sql, []).unwrap(), 1);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    let (handle, recovered) = start(directory.path());
    assert_eq!(recovered, Recovered { rows: 0, batches: 3, events: 3, seq: 3 });
    let names = handle
        .read(|state| state.clusters_after(None).map(|c| c.name.to_string()).collect::<Vec<_>>())
        .await
        .unwrap();
    assert_eq!(names, ["a", "b", "c"]);
}

#[tokio::test]
async fn the_fleet_is_named_once() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(open(directory.path()).fleet().unwrap(), FleetId::new(1));
    let again = SqliteJournal::open(directory.path(), FleetId::new(2)).unwrap();
    assert_eq!(again.fleet().unwrap(), FleetId::new(1));
}

#[tokio::test]
async fn a_checkpoint_replaces_the_batches_it_covers() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, _) = start(directory.path());
    create_cluster(&handle, "web").await;
    let mut updates = tokio::task::JoinSet::new();
    for n in 0..EVENTS_PER_CHECKPOINT + 100 {
        let handle = handle.clone();
        updates.spawn(async move {
            let service_connect_namespace = Some(n.to_string());
            let change = ClusterChange { service_connect_namespace, ..Default::default() };
            let command = Command::Cluster(ClusterCommand::UpdateCluster {
                name: "web".parse().unwrap(),
                change,
            });
            handle.submit(command, |_, _| ()).await.unwrap();
        });
    }
    updates.join_all().await;
    end(handle, directory.path());
    let (_, recovered) = start(directory.path());
    assert_eq!(recovered.rows, 1);
    // The cluster's creation and the updates, less those before the checkpoint.
    assert!(recovered.events <= 101, "{recovered:?}");
}

#[tokio::test]
async fn a_gap_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    tamper(directory.path(), "DELETE FROM journal WHERE seq = 2");
    let error = recovery::recover(&open(directory.path())).err().unwrap();
    assert!(error.to_string().starts_with("the journal has a gap: after 1 comes 3."), "{error}");
}

#[tokio::test]
async fn a_flipped_bit_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    let flip = "UPDATE journal SET events = CAST(X'00' || substr(events, 2) AS BLOB) WHERE seq = 2";
    tamper(directory.path(), flip);
    let error = recovery::recover(&open(directory.path())).err().unwrap();
    assert!(error.to_string().starts_with("the journal's batch 2 is damaged"), "{error}");
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    let file = directory.path().join(sqlite::FILE_NAME);
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs_err::read(&file).unwrap();
    let refused = SqliteJournal::open(directory.path(), FleetId::new(1));
    assert!(matches!(refused, Err(OpenError::Newer { found: 99, .. })));
    assert_eq!(fs_err::read(&file).unwrap(), before);
}

#[tokio::test]
async fn a_second_coordinator_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let _first = open(directory.path());
    let second = SqliteJournal::open(directory.path(), FleetId::new(1));
    assert!(matches!(second, Err(OpenError::InUse(_))));
}

#[tokio::test]
async fn other_files_are_not_taken_for_a_journal() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(sqlite::FILE_NAME);
    fs_err::write(&file, "not a database, but long enough to be taken for one".repeat(100))
        .unwrap();
    let refused = SqliteJournal::open(directory.path(), FleetId::new(1));
    assert!(matches!(refused, Err(OpenError::NotAJournal(_))));
    fs_err::remove_file(&file).unwrap();
    Connection::open(&file).unwrap().execute("CREATE TABLE t (x)", []).unwrap();
    let refused = SqliteJournal::open(directory.path(), FleetId::new(1));
    assert!(matches!(refused, Err(OpenError::NotAJournal(_))));
}

#[tokio::test]
async fn a_backup_taken_while_running_starts_with_all_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, _) = start(directory.path());
    create_cluster(&handle, "web").await;
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join(sqlite::FILE_NAME);
    sqlite::backup(directory.path(), &copy).unwrap();
    create_cluster(&handle, "later").await;
    let (state, _): (State, _) = recovery::recover(&open(elsewhere.path())).unwrap();
    assert!(state.cluster("web").is_some());
    assert!(state.cluster("later").is_none());
    assert_eq!(sqlite::integrity_check(elsewhere.path()).unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn log_groups_and_their_retention_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, _) = start(directory.path());
    let name: LogGroupName = "/ecs/web".parse().unwrap();
    let gone: LogGroupName = "gone".parse().unwrap();
    for command in [
        Command::LogGroup(LogGroupCommand::CreateLogGroup {
            name: name.clone(),
            tags: Default::default(),
        }),
        Command::LogGroup(LogGroupCommand::CreateLogGroup {
            name: gone.clone(),
            tags: Default::default(),
        }),
        Command::LogGroup(LogGroupCommand::PutLogRetention { name: name.clone(), days: Some(7) }),
        Command::LogGroup(LogGroupCommand::DeleteLogGroup { name: gone }),
    ] {
        handle.submit(command, |_, _| ()).await.unwrap();
    }
    let groups = |handle: &Handle| {
        handle.peek(|state| {
            state.log_groups_from(std::ops::Bound::Unbounded).cloned().collect::<Vec<_>>()
        })
    };
    let before = groups(&handle);
    assert_eq!(before.len(), 1);
    assert_eq!((&before[0].name, before[0].retention_days), (&name, Some(7)));
    end(handle, directory.path());
    let (handle, _) = start(directory.path());
    assert_eq!(groups(&handle), before);
}

#[tokio::test]
async fn an_alarm_and_its_state_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (handle, _) = start(directory.path());
    let watched = Watched::PromQl {
        query: "up < 1".to_owned(),
        pending_s: Some(0),
        recovery_s: None,
        interval_s: 60,
    };
    let definition =
        AlarmDefinition { description: Some("d".to_owned()), actions_enabled: false, watched };
    let name: AlarmName = "a/b c".parse().unwrap();
    let tags = Tags::from([("team".to_owned(), "a".to_owned())]);
    let put = PutMetricAlarm { name: name.clone(), definition, tags };
    handle
        .submit(Command::Alarm(AlarmCommand::PutMetricAlarm(Box::new(put))), |_, _| ())
        .await
        .unwrap();
    let (value, reason) = (AlarmValue::Alarm, "many".to_owned());
    let set = SetAlarmState { name, value, reason, reason_data: Some("{}".to_owned()) };
    handle.submit(Command::Alarm(AlarmCommand::SetAlarmState(set)), |_, _| ()).await.unwrap();
    let alarm = |handle: &Handle| handle.peek(|state| state.alarm("a/b c").cloned());
    let before = alarm(&handle);
    assert_eq!(before.as_ref().unwrap().value, AlarmValue::Alarm);
    end(handle, directory.path());
    let (handle, _) = start(directory.path());
    assert_eq!(alarm(&handle), before);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs_err::metadata(path).unwrap().permissions().mode() & 0o777
}

/// SQLite's own check reads pages: a row with a wrong sum is whole to it.
#[tokio::test]
async fn check_reads_what_a_start_would_read() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    let (handle, _) = start(directory.path());
    // A coordinator may be at work.
    assert_eq!(recovery::check(directory.path()).unwrap(), Vec::<String>::new());
    end(handle, directory.path());
    let connection = Connection::open(directory.path().join(sqlite::FILE_NAME)).unwrap();
    let changed = connection.execute("UPDATE journal SET crc = crc + 1", []).unwrap();
    assert!(changed > 0);
    drop(connection);
    assert_eq!(sqlite::integrity_check(directory.path()).unwrap(), Vec::<String>::new());
    let error = recovery::check(directory.path()).unwrap_err();
    assert!(matches!(error, RecoveryError::BadBatch { .. }), "{error}");
}

/// Whatever the umask of whoever starts it, and whatever the files were before.
#[tokio::test]
async fn every_file_of_the_journal_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    for entry in fs_err::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let (handle, _) = start(directory.path());
    create_cluster(&handle, "more").await;
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("copy.db");
    sqlite::backup(directory.path(), &copy).unwrap();
    let files = fs_err::read_dir(directory.path()).unwrap();
    let files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files.iter().chain([&copy]) {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
}

/// A batch with one message of a service.
fn message(seq: u64, service: u128, message: &str) -> Batch {
    let said = (ServiceId::new(service), message.to_owned(), Timestamp(seq));
    let history = HistoryItems { service_events: vec![said], ..HistoryItems::default() };
    Batch { seq, epoch: 1, events: vec![], history }
}

#[test]
fn a_service_that_says_much_pushes_no_other_out() {
    let directory = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::default();
    let journals: [Box<dyn Journal>; 2] =
        [Box::new(open(directory.path())), Box::new(disk.journal())];
    for mut journal in journals {
        journal.append(&[message(1, 1, "quiet")]).unwrap();
        for seq in 2..400 {
            journal.append(&[message(seq, 2, &format!("loud {seq}"))]).unwrap();
        }
        journal.checkpoint(Checkpoint { seq: 399, rows: Vec::new() }).unwrap();
        let history = journal.history();
        let said = |service, until| {
            let events = history.service_events(ServiceId::new(service), until, 1_000).unwrap();
            events.into_iter().map(|event| event.message).collect::<Vec<_>>()
        };
        assert_eq!(said(1, 399), ["quiet"]);
        assert_eq!(said(2, 399).len(), 100);
        assert_eq!(said(2, 399)[0], "loud 399");
        // What was said after a moment is not part of it.
        assert_eq!(said(2, 350)[0], "loud 350");
    }
}

#[test]
fn a_list_of_stopped_tasks_uses_the_index_for_what_it_asks() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let connection = Connection::open(directory.path().join(sqlite::FILE_NAME)).unwrap();
    for (column, index) in [
        ("host", "stopped_tasks_of_host"),
        ("family", "stopped_tasks_of_family"),
        ("task_group", "stopped_tasks_of_group"),
        ("started_by", "stopped_tasks_started_by"),
    ] {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT rowid AS number, crc, task, record FROM stopped_tasks
             WHERE cluster = 'c' AND number < 9 AND {column} = 'x' ORDER BY number DESC"
        );
        let mut plan = connection.prepare(&sql).unwrap();
        let steps = plan.query_map([], |row| row.get::<_, String>(3)).unwrap();
        let plan: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        let plan = plan.join(", ");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        assert!(plan.contains(index), "{plan}");
    }
}

#[test]
fn expiry_of_the_history_looks_only_at_what_goes() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let connection = Connection::open(directory.path().join(sqlite::FILE_NAME)).unwrap();
    let statements = sqlite::service_history::EXPIRE.into_iter().chain([sqlite::EXPIRE_TASKS]);
    for statement in statements {
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        let steps = plan.query_map([0], |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        let scans = steps.iter().any(|step| step.starts_with("SCAN") && !step.contains("CONSTANT"));
        assert!(!scans && steps.len() > 1, "{statement}: {steps:?}");
    }
}

/// Readers do not wait for each other: one that is in the middle of a list holds nothing.
#[test]
fn many_read_the_history_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path());
    journal.append(&[message(1, 1, "said")]).unwrap();
    let history = journal.history();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let said = history.service_events(ServiceId::new(1), 1, 9).unwrap();
                    assert_eq!(said.len(), 1);
                }
            });
        }
    });
}

#[test]
fn the_write_ahead_log_of_a_quiet_journal_is_moved_after_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path());
    let (moved, moves) = std::sync::mpsc::channel();
    journal.move_wal_every(std::time::Duration::from_millis(1), moved).unwrap();
    let main = || fs_err::metadata(directory.path().join(sqlite::FILE_NAME)).unwrap().len();
    let before = main();
    for seq in 1..20 {
        journal.append(&[message(seq, 1, &"x".repeat(5_000))]).unwrap();
    }
    while main() == before {
        moves.recv().unwrap();
    }
}

#[tokio::test]
async fn backup_that_fails_leaves_nothing_and_names_its_place() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = elsewhere.path().join("backup.db");
    killed_after_a_backup(directory.path(), &elsewhere.path().join("other.db")).await;
    // What a backup leaves that was killed.
    for suffix in ["", "-journal"] {
        fs_err::write(elsewhere.path().join(format!("backup.db.copying{suffix}")), "half").unwrap();
    }
    sqlite::backup(directory.path(), &copy).unwrap();
    let nowhere = elsewhere.path().join("nowhere/backup.db");
    let refused = sqlite::backup(directory.path(), &nowhere).unwrap_err();
    assert!(refused.to_string().contains(nowhere.to_str().unwrap()), "{refused}");
    // What is in the way cannot be replaced.
    let taken = elsewhere.path().join("taken.db");
    fs_err::create_dir(&taken).unwrap();
    assert!(sqlite::backup(directory.path(), &taken).is_err());
    let mut names: Vec<_> = fs_err::read_dir(elsewhere.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["backup.db", "other.db", "taken.db"]);
}

/// A journal with a cluster `a`, its backup, and after it `b`, which only the write-ahead log holds: as
/// a coordinator leaves it that was killed.
async fn killed_after_a_backup(directory: &Path, copy: &Path) {
    let source = tempfile::tempdir().unwrap();
    let (handle, _) = start(source.path());
    create_cluster(&handle, "a").await;
    sqlite::backup(source.path(), copy).unwrap();
    create_cluster(&handle, "b").await;
    for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        fs_err::copy(source.path().join(name), directory.join(name)).unwrap();
    }
    end(handle, source.path());
}

/// The names of its clusters.
fn clusters(directory: &Path) -> Vec<String> {
    let (state, _) = recovery::recover(&open(directory)).unwrap();
    state.clusters_after(None).map(|cluster| cluster.name.to_string()).collect()
}

/// SQLite would take the other journal's log for the copy's own, and say nothing or find damage.
#[tokio::test]
async fn a_backup_copied_beside_another_log_is_refused() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = elsewhere.path().join("backup.db");
    killed_after_a_backup(directory.path(), &copy).await;
    let log = directory.path().join("journal.db-wal");
    let before = fs_err::read(&log).unwrap();
    fs_err::copy(&copy, directory.path().join(sqlite::FILE_NAME)).unwrap();
    let refused = SqliteJournal::open(directory.path(), FleetId::new(1)).err().unwrap();
    assert!(matches!(refused, OpenError::ForeignLog(_)), "{refused}");
    assert!(
        refused.to_string().contains("`longshore-coordinator restore --from FILE`"),
        "{refused}"
    );
    assert!(recovery::check(directory.path()).is_err());
    assert_eq!(fs_err::read(&log).unwrap(), before);
}

#[tokio::test]
async fn a_restore_keeps_what_was_there_and_mixes_nothing() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = elsewhere.path().join("backup.db");
    killed_after_a_backup(directory.path(), &copy).await;
    let restored = sqlite::restore(directory.path(), &copy, DamagedHistory::Refused).unwrap();
    let kept = restored.kept.unwrap();
    assert_eq!(clusters(directory.path()), ["a"]);
    // What was there can be restored in its turn, its log with it.
    let restored = sqlite::restore(directory.path(), &kept, DamagedHistory::Refused).unwrap();
    assert_ne!(restored.kept.unwrap(), kept);
    assert_eq!(clusters(directory.path()), ["a", "b"]);
    let running = open(directory.path());
    let refused = sqlite::restore(directory.path(), &copy, DamagedHistory::Refused).unwrap_err();
    assert!(format!("{:#}", anyhow::Error::from(refused)).contains("another coordinator uses"));
    drop(running);
}

/// Hosts that could prove it may be off, or may have seen no more than the backup holds.
#[tokio::test]
async fn restored_copy_waits_for_recover_over_every_start() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = |name: &str| elsewhere.path().join(name);
    killed_after_a_backup(directory.path(), &copy("first")).await;
    let waits = |directory: &Path| {
        let (state, _) = recovery::recover(&open(directory)).unwrap();
        state.awaits_recover()
    };
    assert!(!waits(directory.path()));
    sqlite::restore(directory.path(), &copy("first"), DamagedHistory::Refused).unwrap();
    for incarnation in 1..=2 {
        let (handle, _) = start(directory.path());
        let begin = Command::Epoch(EpochCommand::StartEpoch { incarnation });
        handle.submit_always(begin, |_, _| ()).await.unwrap();
        let (settings, tags) = (ClusterSettings::default(), Tags::new());
        let create = Command::Cluster(ClusterCommand::CreateCluster {
            name: "c".parse().unwrap(),
            settings,
            tags,
        });
        let refused = handle.submit(create, |_, _| ()).await.unwrap_err().to_string();
        assert!(refused.contains("A backup was restored"), "{refused}");
        assert!(refused.contains("longshore-coordinator recover"), "{refused}");
        end(handle, directory.path());
    }
    // A backup of what waits, put there by hand, waits too.
    sqlite::backup(directory.path(), &copy("waiting")).unwrap();
    let by_hand = tempfile::tempdir().unwrap();
    fs_err::copy(copy("waiting"), by_hand.path().join(sqlite::FILE_NAME)).unwrap();
    assert!(waits(by_hand.path()));

    let (handle, _) = start(directory.path());
    handle.recover(3).await.unwrap();
    create_cluster(&handle, "c").await;
    sqlite::backup(directory.path(), &copy("after")).unwrap();
    end(handle, directory.path());
    assert!(!waits(directory.path()));
    // What was recovered from and then backed up needs no more than its own restore to wait again.
    let by_hand = tempfile::tempdir().unwrap();
    fs_err::copy(copy("after"), by_hand.path().join(sqlite::FILE_NAME)).unwrap();
    assert!(!waits(by_hand.path()));
    sqlite::restore(directory.path(), &copy("after"), DamagedHistory::Refused).unwrap();
    assert!(waits(directory.path()));
}

#[tokio::test]
async fn a_restore_of_what_is_no_whole_backup_changes_nothing() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = elsewhere.path().join("backup.db");
    killed_after_a_backup(directory.path(), &copy).await;
    let whole = fs_err::read(&copy).unwrap();
    let broken = elsewhere.path().join("broken.db");
    let missing = elsewhere.path().join("missing.db");
    let bad_sum = || {
        fs_err::write(&broken, &whole).unwrap();
        let changed = Connection::open(&broken).unwrap().execute("UPDATE journal SET crc = 1", []);
        assert_eq!(changed.unwrap(), 1);
    };
    let cases: [(&str, &dyn Fn()); 4] = [
        ("no journal of a coordinator", &|| fs_err::write(&broken, "x".repeat(5000)).unwrap()),
        ("no journal of a coordinator", &|| fs_err::write(&broken, "").unwrap()),
        ("is damaged", &|| fs_err::write(&broken, &whole[..whole.len() / 2]).unwrap()),
        ("its sum does not match", &bad_sum),
    ];
    for (said, break_it) in cases {
        break_it();
        let refused = sqlite::restore(directory.path(), &broken, DamagedHistory::Refused)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("broken.db is damaged") && refused.contains(said), "{refused}");
    }
    let refused = sqlite::restore(directory.path(), &missing, DamagedHistory::Refused)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("missing.db"), "{refused}");
    let mut names: Vec<_> = fs_err::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["journal.db", "journal.db-shm", "journal.db-wal", "lock"]);
    assert_eq!(clusters(directory.path()), ["a", "b"]);
}

/// The steps of a restore, each of which may be the last one before a power cut.
#[tokio::test]
async fn a_restore_that_is_broken_off_is_finished_by_the_start() {
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("backup.db");
    let kept = ["journal-before-restore-1.db-wal", "journal-before-restore-1.db"];
    for step in 0..=3 {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let copy = copy.with_extension(step.to_string());
        killed_after_a_backup(directory.path(), &copy).await;
        fs_err::copy(&copy, path("journal.db.restoring")).unwrap();
        if step > 0 {
            fs_err::remove_file(path("journal.db-shm")).unwrap();
        }
        if step > 1 {
            fs_err::rename(path("journal.db-wal"), path(kept[0])).unwrap();
        }
        if step > 2 {
            fs_err::rename(path("journal.db"), path(kept[1])).unwrap();
        }
        assert_eq!(clusters(directory.path()), ["a"], "after step {step}");
        sqlite::restore(directory.path(), &path(kept[1]), DamagedHistory::Refused).unwrap();
        assert_eq!(clusters(directory.path()), ["a", "b"], "after step {step}");
    }
}

/// Root restores for a service that has a user of its own.
#[tokio::test]
async fn restored_files_belong_to_the_folders_owner() {
    use std::os::unix::fs::{MetadataExt, chown};
    const OTHER: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = elsewhere.path().join("backup.db");
    killed_after_a_backup(directory.path(), &copy).await;
    for entry in fs_err::read_dir(directory.path()).unwrap() {
        chown(entry.unwrap().path(), Some(OTHER), Some(OTHER)).unwrap();
    }
    chown(directory.path(), Some(OTHER), Some(OTHER)).unwrap();
    sqlite::restore(directory.path(), &copy, DamagedHistory::Refused).unwrap();
    let mut files = 0;
    for entry in fs_err::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        let found = fs_err::metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid()), (OTHER, OTHER), "{}", path.display());
        files += 1;
    }
    assert!(files >= 3, "the journal, the one before it, and the lock: {files}");
    assert_eq!(mode(&directory.path().join(sqlite::FILE_NAME)), 0o600);
}
