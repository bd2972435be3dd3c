//! How many empty instances of one size a number of tasks would fill, packed as closely as `binpack`
//! does.

use std::cmp::Reverse;

use longshore_common::resources::{Capacity, Demand, HostPort};

/// Equal tasks that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub demand: Demand,
    pub count: u32,
    /// Each on an instance of its own among those of the group.
    pub distinct_instance: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needed {
    pub instances: u32,
    /// Tasks that do not fit on an empty instance: no number of instances helps them.
    pub never_fit: u32,
}

/// What an instance of the count has left, and which groups have a task on it.
struct Bin {
    cpu: u64,
    memory: u64,
    gpus: u64,
    ports: Vec<HostPort>,
    /// The last group that put a task here: groups come one after the other.
    last: usize,
}

/// The largest tasks first, each onto the first instance that takes it.
pub fn needed(size: &Capacity, groups: &[Group]) -> Needed {
    let mut order: Vec<&Group> = groups.iter().collect();
    order.sort_by_key(|group| Reverse(share(size, &group.demand)));
    let mut bins: Vec<Bin> = Vec::new();
    let mut never_fit = 0;
    for (number, group) in (1..).zip(order) {
        if !fits_empty(size, &group.demand) {
            never_fit += group.count;
            continue;
        }
        // Equal tasks: where one did not fit, the next one does not either.
        let mut from = 0;
        for _ in 0..group.count {
            let found = (from..bins.len()).find(|at| bins[*at].takes(group, number));
            let at = found.unwrap_or_else(|| {
                bins.push(Bin::empty(size));
                bins.len() - 1
            });
            bins[at].take(&group.demand, number);
            from = at;
        }
    }
    Needed { instances: bins.len() as u32, never_fit }
}

/// The greatest share of any resource of an empty instance that one task takes, in millionths.
fn share(size: &Capacity, demand: &Demand) -> u64 {
    let of = |demand: u32, size: u32| u64::from(demand) * 1_000_000 / u64::from(size.max(1));
    of(demand.cpu.0, size.cpu.0)
        .max(of(demand.memory.0, size.memory.0))
        .max(of(demand.gpus, size.gpus.len() as u32))
}

fn fits_empty(size: &Capacity, demand: &Demand) -> bool {
    demand.cpu <= size.cpu
        && demand.memory <= size.memory
        && demand.gpus as usize <= size.gpus.len()
        && demand.ports.iter().all(|port| !size.reserved_ports.contains(port))
}

impl Bin {
    fn empty(size: &Capacity) -> Self {
        Bin {
            cpu: size.cpu.0.into(),
            memory: size.memory.0.into(),
            gpus: size.gpus.len() as u64,
            ports: Vec::new(),
            last: 0,
        }
    }

    fn takes(&self, group: &Group, number: usize) -> bool {
        let demand = &group.demand;
        u64::from(demand.cpu.0) <= self.cpu
            && u64::from(demand.memory.0) <= self.memory
            && u64::from(demand.gpus) <= self.gpus
            && !demand.ports.iter().any(|port| self.ports.contains(port))
            && !(group.distinct_instance && self.last == number)
    }

    fn take(&mut self, demand: &Demand, number: usize) {
        self.cpu -= u64::from(demand.cpu.0);
        self.memory -= u64::from(demand.memory.0);
        self.gpus -= u64::from(demand.gpus);
        self.ports.extend_from_slice(&demand.ports);
        self.last = number;
    }
}
