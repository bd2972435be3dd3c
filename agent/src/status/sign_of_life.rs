//! What systemd is told of the running agent: ready, alive, and one line of status.
//!
//! The watchdog's ping goes out only after the engine's loop has answered, so that a hung agent is
//! restarted; its containers do not notice.

use std::{sync::Arc, time::Duration};

use longshore_common::service_manager::ServiceManager;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use super::{AWAY_AFTER, Status};
use crate::engine::supervisor::TaskView;

/// Interval at which the line of status is renewed, where systemd does not ask for a ping more
/// often.
const STATUS_EVERY: Duration = Duration::from_secs(15);

/// Number of pings in the time after which systemd gives the agent up.
const PINGS_PER_TIMEOUT: u32 = 3;

/// Says that the agent is ready, then pings until `shutdown`, as often as the service manager asks
/// for.
pub(crate) async fn keep_told(status: Arc<Status>, shutdown: CancellationToken) {
    let manager = ServiceManager::of_this_program();
    if !manager.listens() {
        return;
    }
    let ready = [NotifyState::Ready, NotifyState::Status("Waiting for the coordinator")];
    if shutdown.run_until_cancelled(manager.tell_surely(&ready)).await.is_none() {
        return;
    }
    let watchdog = sd_notify::watchdog_enabled();
    let every = watchdog.map_or(STATUS_EVERY, |timeout| {
        (timeout / PINGS_PER_TIMEOUT).min(STATUS_EVERY).max(Duration::from_millis(10))
    });
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
            () = status.changed.notified() => {}
        }
        match sign_of_life(&status, every).await {
            Some(line) if watchdog.is_some() => {
                manager.tell(&[NotifyState::Status(&line), NotifyState::Watchdog]);
            }
            Some(line) => manager.tell(&[NotifyState::Status(&line)]),
            None if shutdown.is_cancelled() => return,
            None => {
                tracing::error!("the engine does not answer; systemd is not told that it lives")
            }
        }
    }
}

/// The line of status, if the engine's loop turns.
async fn sign_of_life(status: &Status, within: Duration) -> Option<String> {
    let tasks = status.tasks(within).await?;
    Some(line(status, &tasks))
}

fn line(status: &Status, tasks: &[TaskView]) -> String {
    let running = tasks.iter().filter(|task| task.known_status == "RUNNING").count();
    let docker = match status.docker_known() {
        Some(true) => "",
        Some(false) => "; Docker does not answer",
        None => "; Docker is being asked",
    };
    let coordinator = match status.last_poll_age() {
        _ if status.refused().is_some() => "; the coordinator refuses this host",
        Some(age) if age < AWAY_AFTER => "",
        Some(_) => "; the coordinator is away",
        None => "; waiting for the coordinator",
    };
    format!("Cluster {}: {running} tasks running{docker}{coordinator}", status.cluster)
}

#[cfg(test)]
mod tests {
    use longshore_common::{
        clock::{SteppedClock, Timestamp},
        id::{FleetId, HostId},
    };

    use super::*;
    use crate::{
        engine::supervisor::{self, EngineConfig},
        runtime::fake::FakeRuntime,
    };

    #[tokio::test]
    async fn there_is_a_sign_of_life_only_while_the_engine_answers() {
        let clock = SteppedClock::at(Timestamp(1));
        let status = Status::new("web".to_owned(), "1.2.3", "abc", clock.clone());
        assert_eq!(sign_of_life(&status, STATUS_EVERY).await, None);
        let directory = tempfile::tempdir().unwrap();
        let ledger = directory.path().join("ledger");
        let config = EngineConfig::new(FleetId::new(1), HostId::new(2), ledger);
        let shutdown = CancellationToken::new();
        let fake = FakeRuntime::new(clock.clone());
        let (engine, running) =
            supervisor::start(config, fake, clock.clone(), shutdown.clone()).unwrap();
        status.engine_started(engine);
        let mut told = Vec::new();
        for answers in [None, Some(false), Some(true), Some(true)] {
            if let Some(answers) = answers {
                status.set_docker_answers(answers);
            }
            let changed = futures_util::FutureExt::now_or_never(status.changed.notified());
            let line = sign_of_life(&status, STATUS_EVERY).await.unwrap();
            told.push((changed.is_some(), line.replace("Cluster web: 0 tasks running; ", "")));
        }
        let expected = [
            (false, "Docker is being asked; waiting for the coordinator"),
            (true, "Docker does not answer; waiting for the coordinator"),
            (true, "waiting for the coordinator"),
            (false, "waiting for the coordinator"),
        ];
        assert_eq!(told, expected.map(|(changed, line)| (changed, line.to_owned())));
        shutdown.cancel();
        running.await.unwrap().unwrap();
        assert_eq!(sign_of_life(&status, STATUS_EVERY).await, None);
    }
}
