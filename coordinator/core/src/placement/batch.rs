//! Choosing hosts for equal tasks, one after the other, as if each were reserved before the next.
//!
//! Filters run once for the whole batch: tasks are equal, so only a host that was just chosen can
//! stop fitting. For each task, every strategy in turn narrows the hosts that fit to its best ones;
//! all of them are exact. Among hosts that are equally good by then, those that hold the task's images
//! come first: nothing has to be pulled there. What the batch itself takes lives in copies made when first written to.

use std::borrow::Cow;

use longshore_common::index::FastMap;

use super::{
    AVAILABILITY_ZONE, ClusterIndex, Explained, Placement, Request, Resource, SpreadOver, Strategy,
    bits::{Bits, Planes},
    candidates::{Candidates, Entropy},
    explain::{closest, explain},
    filter::effective,
    index::quantity,
    member_of::names_groups,
    spread::ValueCounts,
};

impl ClusterIndex {
    /// Chooses hosts for `request.count` tasks as if each were reserved before the next is placed.
    /// A task that fits on some host is never refused.
    pub fn place(&self, request: &Request<'_>) -> Placement {
        self.choose(request).0
    }

    /// What [`ClusterIndex::place`] would answer, and the hosts that come closest to taking the
    /// next task when there is none for it. Changes nothing.
    pub fn explain(&self, request: &Request<'_>, closest_max: usize) -> Explained {
        let (placement, taken) = self.choose(request);
        let closest = match &placement.unplaced {
            Some(_) => closest(self, request, &taken, closest_max),
            None => Vec::new(),
        };
        Explained { placement, closest }
    }

    /// Second, how many tasks each host was given.
    fn choose(&self, request: &Request<'_>) -> (Placement, FastMap<u32, u32>) {
        let mut batch = Batch::new(self, request);
        let mut hosts = Vec::with_capacity(request.count as usize);
        for missing in (1..=request.count).rev() {
            let Some(row) = batch.choose(missing == 1) else {
                let unplaced = explain(self, request, &batch.taken, missing);
                return (Placement { hosts, unplaced: Some(unplaced) }, batch.taken);
            };
            hosts.push(self.host(row).slot);
            if missing > 1 {
                batch.take(row);
            }
        }
        (Placement { hosts, unplaced: None }, batch.taken)
    }
}

struct Batch<'a> {
    index: &'a ClusterIndex,
    request: &'a Request<'a>,
    /// Hosts that could take one more task.
    fits: Candidates,
    steps: Vec<Step<'a>>,
    /// Tasks of this batch by host.
    taken: FastMap<u32, u32>,
    /// The host to fill further while tasks fit there: chosen by binpack, it now has less left than
    /// any other.
    packing: Option<u32>,
    /// Whether a task of the group changes which hosts meet the constraints.
    names_groups: bool,
    /// Who holds the tasks' images: a set of hosts for each image that anybody holds. Empty where
    /// that does not count.
    images: Vec<&'a Bits>,
    entropy: Entropy,
    /// Scratch.
    candidates: Candidates,
    holders: Candidates,
}

/// Maximum share of its capacity, in millionths, that a host may have less than another and still
/// be given a task for the images that it holds (ours). Without a bound, all small tasks of a fleet
/// would heap up where the first one of their image was.
const IMAGES_WORTH: u64 = 250_000;

/// One strategy, with the numbers that it compares, as this batch changes them.
enum Step<'a> {
    LeastLeft { of: Resource, left: Cow<'a, Planes> },
    FewestOnHost(Cow<'a, Planes>),
    FewestOnValue(ValueCounts<'a>),
}

impl<'a> Batch<'a> {
    fn new(index: &'a ClusterIndex, request: &'a Request<'a>) -> Self {
        let mut fits = index.fitting(request);
        let earlier = request.earlier.hosts();
        for row in earlier.filter_map(|(slot, _)| index.row_of(slot)) {
            if fits.contains(row) && !index.unfit(row, request, 0).is_empty() {
                fits.remove(row);
            }
        }
        let mut steps = if fits.is_empty() { Vec::new() } else { steps(index, request) };
        count_earlier(index, request, &mut steps);
        Batch {
            index,
            request,
            fits,
            steps,
            taken: FastMap::default(),
            packing: None,
            names_groups: request.member_of.constraints.iter().any(names_groups),
            images: holders_of(index, request),
            entropy: Entropy(request.entropy),
            candidates: Candidates::default(),
            holders: Candidates::default(),
        }
    }

    fn choose(&mut self, last: bool) -> Option<u32> {
        if self.packing.is_some() {
            return self.packing;
        }
        let mut candidates = std::mem::take(&mut self.candidates);
        if last {
            candidates = std::mem::take(&mut self.fits);
        } else {
            candidates.copy_from(&self.fits);
        }
        for step in &mut self.steps {
            match step {
                Step::LeastLeft { left, .. } => candidates.keep_least(left),
                Step::FewestOnHost(counts) => candidates.keep_least(counts),
                Step::FewestOnValue(counts) => counts.narrow(&mut candidates),
            }
        }
        let row = self.pick(&candidates);
        self.candidates = candidates;
        row
    }

    /// Among equally good hosts the roomier one of two, which evens out the load of many small
    /// groups (the power of two choices); any at all for `binpack` and `random`.
    fn pick(&mut self, candidates: &Candidates) -> Option<u32> {
        let one = candidates.pick(&mut self.entropy)?;
        let spreads = |strategy: &Strategy| matches!(strategy, Strategy::Spread(_));
        if !self.request.strategies.iter().all(spreads) {
            return Some(self.holder(candidates, one).unwrap_or(one));
        }
        let other = candidates.pick(&mut self.entropy)?;
        let roomier = if other != one && self.room(other) > self.room(one) { other } else { one };
        let Some(holder) = self.holder(candidates, roomier) else { return Some(roomier) };
        let has_room = self.room(holder) + IMAGES_WORTH >= self.room(roomier);
        Some(if has_room { holder } else { roomier })
    }

    /// One of the hosts that hold the first image, and the second if any of those does, and so on;
    /// not looked for when this one holds them all.
    fn holder(&mut self, candidates: &Candidates, chosen: u32) -> Option<u32> {
        if self.images.iter().all(|holders| holders.contains(chosen)) {
            return None;
        }
        self.holders.copy_from(candidates);
        let mut narrowed = false;
        for holders in &self.images {
            narrowed |= self.holders.keep_members_if_any(holders);
        }
        self.holders.pick(&mut self.entropy).filter(|_| narrowed)
    }

    /// The share of its capacity that a host has left, of the scarcer resource, in millionths.
    fn room(&self, row: u32) -> u64 {
        let capacity = &self.index.host(row).capacity;
        let taken = self.taken.get(&row).copied().unwrap_or(0);
        let share = |of: Resource, capacity: u32| {
            let left = quantity(self.left(row, of, taken));
            u64::from(left) * 1_000_000 / u64::from(capacity.max(1))
        };
        share(Resource::Cpu, capacity.cpu.0).min(share(Resource::Memory, capacity.memory.0))
    }

    fn left(&self, row: u32, of: Resource, taken: u32) -> i64 {
        let earlier = self.request.earlier.on(self.index.host(row).slot);
        self.index.left(row, of, self.request.demand, taken, earlier)
    }

    /// Counts one task of this batch on a host, for the choices that follow.
    fn take(&mut self, row: u32) {
        let count = self.taken.entry(row).or_insert(0);
        *count += 1;
        let taken = *count;
        let (index, demand) = (self.index, self.request.demand);
        let earlier = self.request.earlier.on(index.host(row).slot);
        let left = |of, taken| quantity(index.left(row, of, demand, taken, earlier));
        let packs = matches!(&self.steps.first(), Some(Step::LeastLeft { of, .. })
            if need(self.request, *of) > 0);
        for (at, step) in self.steps.iter_mut().enumerate() {
            match step {
                // Nobody looks: the batch stays with the host until it is full.
                Step::LeastLeft { .. } if at == 0 && packs => {}
                Step::LeastLeft { of, left: planes } => {
                    let (before, after) = (left(*of, taken - 1), left(*of, taken));
                    if before != after {
                        planes.to_mut().change(row, before, after);
                    }
                }
                Step::FewestOnHost(counts) => {
                    let before = counts.get(row);
                    counts.to_mut().change(row, before, before + 1);
                }
                Step::FewestOnValue(counts) => counts.add_task(index.host(row)),
            }
        }
        // A second task of the group changes nothing any more.
        let is_member =
            !(self.names_groups && taken == 1) || index.unmet(row, self.request, taken).is_empty();
        let fits_again = !self.request.distinct_instance
            && is_member
            && demand.ports.is_empty()
            && demand.gpus <= quantity(index.gpus_left(row, demand, taken, earlier))
            && demand.cpu.0 <= left(Resource::Cpu, taken)
            && demand.memory.0 <= left(Resource::Memory, taken);
        if !fits_again {
            self.fits.remove(row);
        }
        self.packing = (packs && fits_again).then_some(row);
    }
}

/// Brings the numbers that the strategies compare in line with what the decision took earlier.
fn count_earlier<'a>(index: &'a ClusterIndex, request: &Request<'a>, steps: &mut [Step<'a>]) {
    for (slot, here) in request.earlier.hosts() {
        let Some(row) = index.row_of(slot) else { continue };
        let tasks = here.of_group(request.group);
        for step in steps.iter_mut() {
            match step {
                Step::LeastLeft { of, left } => {
                    let of_row =
                        |earlier| quantity(index.left(row, *of, request.demand, 0, earlier));
                    let (before, after) = (of_row(None), of_row(Some(here)));
                    if before != after {
                        left.to_mut().change(row, before, after);
                    }
                }
                Step::FewestOnHost(counts) if tasks > 0 => {
                    let before = counts.get(row);
                    counts.to_mut().change(row, before, before + tasks);
                }
                Step::FewestOnHost(_) => {}
                Step::FewestOnValue(counts) => {
                    (0..tasks).for_each(|_| counts.add_task(index.host(row)));
                }
            }
        }
    }
}

fn need(request: &Request<'_>, of: Resource) -> u32 {
    match of {
        Resource::Cpu => request.demand.cpu.0,
        Resource::Memory => request.demand.memory.0,
    }
}

/// ECS's `random` asks for any host, be it without the images.
fn holders_of<'a>(index: &'a ClusterIndex, request: &Request<'_>) -> Vec<&'a Bits> {
    if request.strategies.contains(&Strategy::Random) {
        return Vec::new();
    }
    let held = request.images.iter().filter_map(|image| index.images.get(image.as_str()));
    // One that all have chooses nobody.
    held.filter(|holders| holders.len() < index.present.len()).collect()
}

fn steps<'a>(index: &'a ClusterIndex, request: &Request<'a>) -> Vec<Step<'a>> {
    let group = index.groups.get(request.group);
    let on_host = || {
        let counts = group.map_or(Cow::Owned(Planes::default()), |group| Cow::Borrowed(&group.on));
        Step::FewestOnHost(counts)
    };
    let on_value = |name: &str, required| {
        ValueCounts::new(index, group, name, required).map(Step::FewestOnValue)
    };
    if request.strategies.is_empty() {
        return on_value(AVAILABILITY_ZONE, false).into_iter().chain([on_host()]).collect();
    }
    effective(request.strategies)
        .filter_map(|strategy| match strategy {
            Strategy::Binpack(of) => {
                let left = Cow::Borrowed(&index.column(*of).planes);
                Some(Step::LeastLeft { of: *of, left })
            }
            Strategy::Spread(SpreadOver::Instance) => Some(on_host()),
            Strategy::Spread(SpreadOver::Attribute(name)) => on_value(name, true),
            Strategy::Random => None,
        })
        .collect()
}
