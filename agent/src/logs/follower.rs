//! Follows the logs of all containers that are to be followed, and stores what they say.
//!
//! One round reads what is new of those that wrote something, and stores it with its cursors in one
//! transaction. The store is optional: without one that can be written, logs stay in Docker's own files
//! and are read from there later, and what is cleaned up is not held up by it. Never: a cursor without
//! the events before it, or a wait for one log while others have something to say.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use longshore_common::{
    clock::{Clock, Monotonic},
    logs::{
        aging::Aging,
        event_start::EventStart,
        store::{Append, Durability, Keep, LogStore, NewEvent, StoreError},
    },
    telemetry::chain,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    assembly::{Assembly, EVENT_QUIET},
    docker_log::{DockerLog, LogFinding, LogPosition, folder_of_containers},
    follows::{Command, FollowCount, Follows},
    watch::LogWatch,
};
use crate::logs::destination::LogDestination;

pub(crate) use longshore_common::logs::store::Keep as KeepLogs;

/// Maximum of commands that wait for the follower.
const COMMANDS_QUEUED_MAX: usize = 256;
/// Interval of rounds: what is written meanwhile is one transaction.
const ROUND_EVERY: Duration = Duration::from_millis(20);
/// Interval at which every log is looked at although inotify told nothing of it.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// The same interval where there is no inotify.
const SWEEP_EVERY_UNWATCHED: Duration = Duration::from_millis(100);
/// Maximum of bytes of Docker's logs that one round reads before it stores.
const ROUND_BYTES: usize = 2 * 1024 * 1024;
/// Maximum of readings of one log in one round, so that each log has its turn.
const READS_PER_LOG: usize = 4;
/// Pause after a store that failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Interval at which events that are too old or too many are deleted.
const KEEP_EVERY: Duration = Duration::from_secs(10);
/// Maximum time that a store which cannot be written holds up removals of containers. A store
/// without room does not.
const REMOVALS_WAIT: Duration = Duration::from_secs(10);
/// Maximum of deletions in a row: more than anything can write meanwhile.
const KEEP_SLICES: usize = 64;

/// What runs until `shutdown`, and where to tell it what to follow.
pub(crate) fn start(
    store: PathBuf,
    keep: Keep,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) -> (Follows, impl Future<Output = ()> + Send) {
    let (commands, inbox) = mpsc::channel(COMMANDS_QUEUED_MAX);
    let follower = Follower::new(store, keep, clock);
    (Follows::new(commands), run(follower, inbox, shutdown))
}

async fn run(
    mut follower: Follower,
    mut inbox: mpsc::Receiver<Command>,
    shutdown: CancellationToken,
) {
    let mut watch = match LogWatch::new() {
        Ok(watch) => Some(watch),
        Err(error) => {
            warn!(%error, "changes of container logs cannot be watched: they are asked for instead");
            None
        }
    };
    let every = if watch.is_some() { SWEEP_EVERY } else { SWEEP_EVERY_UNWATCHED };
    let mut sweep = tokio::time::interval(every);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let mut due = DueLogs::default();
        tokio::select! {
            () = shutdown.cancelled() => return,
            command = inbox.recv() => match command {
                Some(command) => follower.take(command, &mut watch, &mut due),
                None => return,
            },
            changed = changed(&mut watch) => match changed {
                Some(ids) => due.ids.extend(ids),
                None => {
                    watch = None;
                    sweep = tokio::time::interval(SWEEP_EVERY_UNWATCHED);
                }
            },
            _ = sweep.tick() => due.all = true,
        }
        loop {
            while let Ok(command) = inbox.try_recv() {
                follower.take(command, &mut watch, &mut due);
            }
            let round = tokio::task::spawn_blocking(move || {
                let next = follower.round(due);
                (follower, next)
            });
            let next = match round.await {
                Ok((back, next)) => {
                    follower = back;
                    next
                }
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => return,
            };
            for id in follower.unwatched.drain(..) {
                if let Some(watch) = &mut watch {
                    watch.remove(&id);
                }
            }
            let pause = match &next {
                NextLook::Idle => ROUND_EVERY,
                NextLook::More(_) => Duration::ZERO,
                NextLook::Failed => STORE_PAUSE,
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            due = match next {
                NextLook::Idle => break,
                NextLook::More(due) => due,
                NextLook::Failed => DueLogs { all: true, ..DueLogs::default() },
            };
        }
    }
}

async fn changed(watch: &mut Option<LogWatch>) -> Option<Vec<String>> {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// Whose logs to look at.
#[derive(Default)]
struct DueLogs {
    ids: BTreeSet<String>,
    all: bool,
}

enum NextLook {
    Idle,
    /// There is more to read of these.
    More(DueLogs),
    Failed,
}

/// How far a container's log was read: what is stored with its events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Cursor {
    place: LogPosition,
    assembly: Assembly,
}

struct FollowedContainer {
    group: String,
    stream: String,
    start: Option<EventStart>,
    path: PathBuf,
    log: DockerLog,
    assembly: Assembly,
    /// As it is in the store.
    stored: Cursor,
    ended: bool,
    /// Ended, and all of it stored.
    finished: bool,
    /// When it was last told of.
    before: FollowCount,
    last_read: Monotonic,
    waiting: Vec<oneshot::Sender<()>>,
    /// The log could not be read the last time.
    unreadable: bool,
}

/// Whether what is read can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storing {
    Works,
    /// Since when it fails, and whether for want of room.
    Fails {
        since: Monotonic,
        no_room: bool,
    },
}

/// A log that is to be followed once the store tells how far it was read.
struct UnreadLog {
    destination: LogDestination,
    path: PathBuf,
    ended: bool,
    before: FollowCount,
    waiting: Vec<oneshot::Sender<()>>,
}

struct Follower {
    path: PathBuf,
    /// Absent while it cannot be opened.
    store: Option<LogStore>,
    storing: Storing,
    aging: Aging,
    keep: Keep,
    clock: Arc<dyn Clock>,
    containers: BTreeMap<String, FollowedContainer>,
    unread: BTreeMap<String, UnreadLog>,
    /// Ended before they were followed.
    ended_early: BTreeSet<String>,
    buffer: Vec<u8>,
    /// Whose folders need not be watched any more.
    unwatched: Vec<String>,
    kept_at: Monotonic,
}

/// What a round read of one container.
struct ContainerRead {
    id: String,
    events: Vec<NewEvent>,
    cursor: Cursor,
    bytes: Vec<u8>,
    finishes: bool,
}

impl Follower {
    fn new(path: PathBuf, keep: Keep, clock: Arc<dyn Clock>) -> Self {
        let mut follower = Follower {
            path,
            store: None,
            storing: Storing::Works,
            aging: Aging::begun(&*clock, None),
            keep,
            containers: BTreeMap::new(),
            unread: BTreeMap::new(),
            ended_early: BTreeSet::new(),
            buffer: Vec::new(),
            unwatched: Vec::new(),
            kept_at: clock.monotonic(),
            clock,
        };
        follower.open();
        follower
    }

    /// Opens the store if it is not open; whether it is now.
    fn open(&mut self) -> bool {
        if self.store.is_some() {
            return true;
        }
        let opened = LogStore::open(&self.path, Durability::WithItsSource)
            .and_then(|store| Ok((store.newest_stored()?, store)));
        match opened {
            Ok((newest, store)) => {
                self.aging = Aging::begun(&*self.clock, newest);
                self.store = Some(store);
                true
            }
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    fn failed(&mut self, error: &StoreError) {
        let no_room = error.is_for_want_of_room();
        let now = self.clock.monotonic();
        if self.storing == Storing::Works {
            warn!(
                path = %self.path.display(), error = chain(error),
                "container logs cannot be stored; they stay in Docker's, and are read again. Make \
                 room, or move the file away to begin another",
            );
            self.storing = Storing::Fails { since: now, no_room };
        }
        if let Storing::Fails { no_room: known, .. } = &mut self.storing {
            *known |= no_room;
        }
        if self.lets_removals_go() {
            self.containers.values_mut().for_each(|container| container.waiting.clear());
            self.unread.values_mut().for_each(|unread| unread.waiting.clear());
        }
    }

    fn works(&mut self) {
        if std::mem::replace(&mut self.storing, Storing::Works) != Storing::Works {
            info!("container logs are stored again");
        }
    }

    /// Removals make the room that the store lacks.
    fn lets_removals_go(&self) -> bool {
        match self.storing {
            Storing::Works => false,
            Storing::Fails { since, no_room } => {
                no_room || self.clock.monotonic().since(since) >= REMOVALS_WAIT
            }
        }
    }

    fn take(&mut self, command: Command, watch: &mut Option<LogWatch>, due: &mut DueLogs) {
        let lets_go = self.lets_removals_go();
        match command {
            Command::Follow { id, destination, path, ended, before } => {
                let ended = ended || self.ended_early.remove(&id);
                let is_new = match self.containers.get_mut(&id) {
                    Some(known) => {
                        known.finished &= ended;
                        known.ended = ended;
                        known.before = before;
                        false
                    }
                    None => true,
                };
                if is_new {
                    let waiting = Vec::new();
                    let unread = UnreadLog { destination, path, ended, before, waiting };
                    self.unread.insert(id.clone(), unread);
                    self.follow_unread();
                }
                if let Some(container) = self.containers.get(&id)
                    && !container.finished
                    && let Some(watch) = watch
                    && let Err(error) = watch.add(&id, &container.path)
                {
                    debug!(container = id, %error, "a container's log cannot be watched");
                }
                due.ids.insert(id);
            }
            Command::Ended { id } => {
                match (self.containers.get_mut(&id), self.unread.get_mut(&id)) {
                    (Some(container), _) => container.ended = true,
                    (None, Some(unread)) => unread.ended = true,
                    (None, None) => drop(self.ended_early.insert(id.clone())),
                }
                due.ids.insert(id);
            }
            Command::Drain { id, done } => match self.containers.get_mut(&id) {
                Some(container) if !container.finished && lets_go => {
                    warn!(
                        container = id,
                        stream = container.stream,
                        "a container is removed although the end of its log is not stored",
                    );
                    drop(done);
                }
                Some(container) if !container.finished => {
                    container.ended = true;
                    container.waiting.push(done);
                    due.ids.insert(id);
                }
                // Dropped, which tells as well.
                Some(_) => {}
                None => {
                    if let Some(unread) = self.unread.get_mut(&id).filter(|_| !lets_go) {
                        unread.ended = true;
                        unread.waiting.push(done);
                    }
                }
            },
            Command::Forget { id } => self.forget(&id),
            Command::Present { ids, since } => self.forget_all_but(&ids, since),
        }
    }

    fn follow_unread(&mut self) {
        if self.unread.is_empty() || !self.open() {
            return;
        }
        let mut unread = std::mem::take(&mut self.unread);
        while let Some((id, log)) = unread.pop_first() {
            match self.followed(&id, &log) {
                Some(container) => {
                    let container = FollowedContainer { waiting: log.waiting, ..container };
                    self.containers.insert(id, container);
                }
                None => drop(self.unread.insert(id, log)),
            }
        }
    }

    /// Absent when the store does not answer: then it is asked with the next round.
    fn followed(&mut self, id: &str, log: &UnreadLog) -> Option<FollowedContainer> {
        let UnreadLog { destination, path, ended, .. } = log;
        let stored = match self.store.as_ref()?.cursor(id) {
            Ok(None) => Cursor::default(),
            Ok(Some(bytes)) => match rmp_serde::from_slice(&bytes) {
                Ok(cursor) => cursor,
                Err(error) => {
                    warn!(container = id, %error, "a log's cursor is unreadable: the log is read anew");
                    Cursor::default()
                }
            },
            Err(error) => {
                self.failed(&error);
                return None;
            }
        };
        let stream = destination.stream.clone().unwrap_or_else(|| id.to_owned());
        info!(
            container = id,
            group = destination.group,
            stream,
            resumed = stored != Cursor::default(),
            "following a container's log",
        );
        Some(FollowedContainer {
            group: destination.group.clone(),
            stream,
            start: destination
                .event_start
                .as_ref()
                .and_then(|start| EventStart::of_pattern(start).ok()),
            log: DockerLog::new(path, stored.place),
            assembly: stored.assembly.clone(),
            path: path.clone(),
            stored,
            ended: *ended,
            finished: false,
            before: log.before,
            last_read: self.clock.monotonic(),
            waiting: Vec::new(),
            unreadable: false,
        })
    }

    fn forget(&mut self, id: &str) {
        self.ended_early.remove(id);
        self.containers.remove(id);
        self.unread.remove(id);
        self.unwatched.push(id.to_owned());
        // A cursor that stays goes with the next listing that lacks its container.
        if let Some(store) = &mut self.store
            && let Err(error) = store.forget_source(id)
        {
            warn!(container = id, error = chain(&error), "a log's cursor cannot be removed");
        }
    }

    /// Containers that somebody else removed. One that was told of since the listing began may be
    /// newer than what it shows.
    fn forget_all_but(&mut self, ids: &BTreeSet<String>, since: FollowCount) {
        let followed = self.containers.iter().map(|(id, container)| (id, container.before));
        let unread = self.unread.iter().map(|(id, unread)| (id, unread.before));
        let is_gone = |(id, before): &(&String, FollowCount)| *before < since && !ids.contains(*id);
        let gone: Vec<String> =
            followed.chain(unread).filter(is_gone).map(|(id, _)| id.clone()).collect();
        gone.iter().for_each(|id| self.forget(id));
        let Some(store) = &self.store else { return };
        let sources = match store.sources() {
            Ok(sources) => sources,
            Err(error) => {
                warn!(error = chain(&error), "the log store does not answer");
                return;
            }
        };
        for source in sources.iter().filter(|source| !ids.contains(*source)) {
            if !self.containers.contains_key(source) && !self.unread.contains_key(source) {
                self.forget(source);
            }
        }
    }

    fn round(&mut self, due: DueLogs) -> NextLook {
        let now = self.clock.monotonic();
        if !self.open() {
            return NextLook::Failed;
        }
        self.follow_unread();
        let mut reads = Vec::new();
        let mut more = DueLogs::default();
        let ids: Vec<String> = match due.all {
            true => {
                let unfinished = self.containers.iter().filter(|(_, c)| !c.finished);
                unfinished.map(|(id, _)| id.clone()).collect()
            }
            false => due.ids.into_iter().collect(),
        };
        let mut bytes = 0;
        for id in ids {
            if bytes >= ROUND_BYTES {
                more.ids.insert(id);
                continue;
            }
            let Some(container) = self.containers.get_mut(&id) else { continue };
            let (read, has_more) = container.read(&id, &mut self.buffer, now, &mut bytes);
            if has_more {
                more.ids.insert(id);
            }
            reads.extend(read);
        }
        if let Err(error) = self.store_all(&reads) {
            self.failed(&error);
            for ContainerRead { id, .. } in reads {
                if let Some(container) = self.containers.get_mut(&id) {
                    container.read_again();
                }
            }
            return NextLook::Failed;
        }
        if self.unread.is_empty() {
            self.works();
        }
        for ContainerRead { id, cursor, finishes, .. } in reads {
            let Some(container) = self.containers.get_mut(&id) else { continue };
            container.stored = cursor;
            if finishes {
                debug!(container = id, stream = container.stream, "a container's log is complete");
                container.finished = true;
                container.log.rest();
                container.waiting.clear();
                self.unwatched.push(id);
            }
        }
        if now.since(self.kept_at) >= KEEP_EVERY {
            self.kept_at = now;
            self.keep();
        }
        match more.ids.is_empty() {
            true => NextLook::Idle,
            false => NextLook::More(more),
        }
    }

    fn store_all(&mut self, reads: &[ContainerRead]) -> Result<(), StoreError> {
        let appends: Vec<Append<'_>> = reads
            .iter()
            .filter_map(|read| {
                let container = self.containers.get(&read.id)?;
                (container.stored != read.cursor).then_some(Append {
                    group: &container.group,
                    stream: &container.stream,
                    events: &read.events,
                    cursor: Some((&read.id, &read.bytes)),
                })
            })
            .collect();
        match &mut self.store {
            Some(store) if !appends.is_empty() => store.append(&appends, self.clock.wall()),
            Some(_) | None => Ok(()),
        }
    }

    fn keep(&mut self) {
        let now = self.aging.now(&*self.clock);
        let Some(store) = &mut self.store else { return };
        for _ in 0..KEEP_SLICES {
            match store.keep(self.keep, now) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    warn!(error = chain(&error), "old container logs cannot be removed");
                    return;
                }
            }
        }
    }
}

impl FollowedContainer {
    /// Reads what is new, to a bound; what there is to store, and whether there is more.
    fn read(
        &mut self,
        id: &str,
        buffer: &mut Vec<u8>,
        now: Monotonic,
        bytes: &mut usize,
    ) -> (Option<ContainerRead>, bool) {
        let mut events = Vec::new();
        let mut at_end = false;
        let format = self.log.format();
        for _ in 0..READS_PER_LOG {
            match self.log.read(buffer, self.ended) {
                Ok(LogFinding::Records(records)) => {
                    self.last_read = now;
                    *bytes += records.len();
                    let (assembly, start) = (&mut self.assembly, self.start.as_ref());
                    format.each(records, |record, bytes| match record {
                        Some(record) => assembly.take(record, start, &mut events),
                        None => {
                            warn!(container = id, bytes, "what Docker's log holds was left out");
                        }
                    });
                }
                Ok(LogFinding::NextFile { lost: false }) => {}
                Ok(LogFinding::NextFile { lost: true }) => warn!(
                    container = id,
                    stream = self.stream,
                    "lines were lost: Docker dropped its oldest log file before it was read",
                ),
                Ok(LogFinding::Damage) => {
                    warn!(container = id, "a damaged part of Docker's log was left out");
                }
                Ok(LogFinding::Nothing) => {
                    self.unreadable = false;
                    at_end = true;
                    break;
                }
                Err(error) => {
                    // A log that is gone was removed with its container; where the folder of all
                    // containers is not seen either, nothing is known of it.
                    let gone = error.kind() == io::ErrorKind::NotFound
                        && self.ended
                        && folder_of_containers(&self.path).is_none_or(Path::exists);
                    if !gone && !std::mem::replace(&mut self.unreadable, true) {
                        warn!(
                            container = id, path = %self.path.display(), %error,
                            "Docker's log of a container cannot be read",
                        );
                    }
                    // Nobody hears of the end any more: those who wait for it are released.
                    self.waiting.clear();
                    at_end = gone;
                    break;
                }
            }
        }
        let quiet = at_end && now.since(self.last_read) >= EVENT_QUIET;
        let finishes = at_end && self.ended && !self.finished;
        if finishes {
            self.assembly.end(self.start.as_ref(), &mut events);
        } else if quiet && self.assembly.has_open_event() {
            self.assembly.quiet(&mut events);
        }
        let cursor = Cursor { place: self.log.place(), assembly: self.assembly.clone() };
        let read = (finishes || cursor != self.stored).then(|| ContainerRead {
            id: id.to_owned(),
            events,
            bytes: rmp_serde::to_vec_named(&cursor).expect("plain values only"),
            cursor,
            finishes,
        });
        (read, !at_end && !self.unreadable)
    }

    /// Goes back to what is stored.
    fn read_again(&mut self) {
        self.log = DockerLog::new(&self.path, self.stored.place);
        self.assembly = self.stored.assembly.clone();
    }
}

#[cfg(test)]
mod tests;
