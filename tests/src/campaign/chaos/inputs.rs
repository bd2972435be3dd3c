//! What clients ask: for each operation of the router a generator of inputs, mostly valid in the
//! world as the clients know it, now and then stale, foreign or garbage.

mod clusters;
mod definitions;
mod fleet;
pub(super) mod generator;
mod logs;
mod callers;
mod scaling;
mod services;
mod tasks;

use self::generator::Generator;

/// All of them.
pub(super) fn generators() -> Vec<Generator> {
    let of_resources = [
        clusters::generators(),
        definitions::generators(),
        tasks::generators(),
        services::generators(),
        fleet::generators(),
        scaling::generators(),
        logs::generators(),
        callers::generators(),
    ];
    of_resources.into_iter().flatten().collect()
}
