//! The passing of time, told to the state machine.

use std::time::Duration;

use longshore_common::clock::Clock;
use longshore_core::{Command, command::EpochCommand};

use super::Handle;

/// Minimum interval between two wakes of the scheduler by the clock (ours).
const WAKES_APART_MIN: Duration = Duration::from_millis(2);

/// Says that time has passed, every `tick` and whenever the scheduler wants to look again.
/// `ticked` is called when the journal has taken a tick. Until the driver is gone.
pub async fn keep_time(
    handle: &Handle,
    clock: &impl Clock,
    tick: Duration,
    mut ticked: impl FnMut(),
) {
    let mut interval = tokio::time::interval(tick);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut wakes = handle.wakes();
    loop {
        let wake = *wakes.borrow_and_update();
        let wakes_in = wake.map(|at| at.since(clock.wall()).max(WAKES_APART_MIN));
        let regular = tokio::select! {
            _ = interval.tick() => true,
            () = tokio::time::sleep(wakes_in.unwrap_or(tick)), if wakes_in.is_some() => false,
            changed = wakes.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        match handle.submit_always(Command::Epoch(EpochCommand::Tick), |_, _| ()).await {
            Ok(()) if regular => ticked(),
            Ok(()) => {}
            Err(_) => return,
        }
    }
}
