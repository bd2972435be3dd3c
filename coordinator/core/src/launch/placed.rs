//! New tasks on the hosts that were chosen for them.

use longshore_common::{id::TaskId, protocol::ContainerId};

use crate::{
    event::PlacedTask,
    launch::ids::Ids,
    state::{Definition, Host},
};

/// New tasks, one for each of these hosts, with ids for themselves and their containers.
pub(crate) fn placed_on(definition: &Definition, hosts: &[&Host], ids: Ids) -> Vec<PlacedTask> {
    let containers = definition.definition.spec.container_definitions.len() as u64;
    let mut next = 0..;
    let mut id = || ids.nth(next.next().unwrap_or_default());
    let placed = |host: &&Host| PlacedTask {
        task: TaskId::new(id()),
        host: host.id,
        containers: (0..containers).map(|_| ContainerId(TaskId::new(id()))).collect(),
    };
    hosts.iter().map(placed).collect()
}
