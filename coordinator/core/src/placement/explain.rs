//! Why the next task of a batch has no host: counts, and the host that comes closest.

use std::cmp::Reverse;

use longshore_common::index::FastMap;

use super::{
    ClusterIndex, HostSlot, Reason, Request, Resource, Unfit, Unplaced, candidates::Candidates,
};

/// `taken`: tasks of the batch that have a host by now, by host.
pub(super) fn explain(
    index: &ClusterIndex,
    request: &Request<'_>,
    taken: &FastMap<u32, u32>,
    count: u32,
) -> Unplaced {
    let (reasons, closest) = survey(index, request, taken, &[]);
    let closest = closest.map(|row| gap(index, request, taken, row));
    Unplaced { count, hosts: index.len() as u32, reasons, closest }
}

/// The closest hosts, nearest first, up to a maximum.
pub(super) fn closest(
    index: &ClusterIndex,
    request: &Request<'_>,
    taken: &FastMap<u32, u32>,
    max: usize,
) -> Vec<(HostSlot, Vec<Unfit>)> {
    let mut rows = Vec::with_capacity(max);
    while rows.len() < max {
        let (_, Some(row)) = survey(index, request, taken, &rows) else { break };
        rows.push(row);
    }
    rows.into_iter().map(|row| gap(index, request, taken, row)).collect()
}

fn gap(
    index: &ClusterIndex,
    request: &Request<'_>,
    taken: &FastMap<u32, u32>,
    row: u32,
) -> (HostSlot, Vec<Unfit>) {
    let taken = taken.get(&row).copied().unwrap_or(0);
    (index.host(row).slot, index.unfit(row, request, taken))
}

/// How many hosts fail for what first, and which one comes closest, of all that are not left out.
fn survey(
    index: &ClusterIndex,
    request: &Request<'_>,
    taken: &FastMap<u32, u32>,
    left_out: &[u32],
) -> (Vec<(Reason, u32)>, Option<u32>) {
    let mut rows: Vec<(u32, u32)> = taken.iter().map(|(row, taken)| (*row, *taken)).collect();
    // The sets of the index know neither these nor those.
    let earlier = request.earlier.hosts().filter_map(|(slot, _)| index.row_of(slot));
    rows.extend(earlier.filter(|row| !taken.contains_key(row)).map(|row| (row, 0)));
    rows.retain(|(row, _)| !left_out.contains(row));
    rows.sort_unstable();
    let failed: Vec<(u32, Vec<Unfit>)> =
        rows.into_iter().map(|(row, taken)| (row, index.unfit(row, request, taken))).collect();
    let mut left = Candidates::new(&index.present, |_, line| *line);
    left_out.iter().for_each(|row| left.remove(*row));
    let mut entering = left.clone();
    let mut last = Reason::NotActive;
    let mut reasons = Vec::new();
    for reason in Reason::ALL {
        let before = left.len();
        if before == 0 {
            break;
        }
        // Lacking CPU and lacking memory are equally close to fitting.
        if reason != Reason::Memory {
            entering.copy_from(&left);
        }
        last = reason;
        index.filter(reason, request, &mut left);
        for (row, unfit) in &failed {
            if unfit.iter().any(|unfit| unfit.reason() == reason) {
                left.remove(*row);
            }
        }
        let failing = before - left.len();
        if failing > 0 {
            reasons.push((reason, failing));
        }
    }
    let closest = match last {
        Reason::Cpu | Reason::Memory => least_short(index, request, &entering, &failed),
        _ => passes_most(index, request, entering, last),
    };
    (reasons, closest)
}

/// Among hosts that all fail one filter, one that passes as many of the later filters as can be.
fn passes_most(
    index: &ClusterIndex,
    request: &Request<'_>,
    mut failing: Candidates,
    reason: Reason,
) -> Option<u32> {
    for later in Reason::ALL.into_iter().filter(|later| *later > reason) {
        let mut passing = failing.clone();
        index.filter(later, request, &mut passing);
        if !passing.is_empty() {
            failing = passing;
        }
    }
    failing.first()
}

/// Among hosts that lack nothing but CPU or memory, the one that lacks the least share of what is
/// needed, of those that lack only one of the two; else the one with the most memory left, then
/// CPU.
fn least_short(
    index: &ClusterIndex,
    request: &Request<'_>,
    short: &Candidates,
    failed: &[(u32, Vec<Unfit>)],
) -> Option<u32> {
    let mut untouched = short.clone();
    let mut finalists: Vec<(u32, Vec<Unfit>)> = Vec::new();
    for (row, unfit) in failed {
        if short.contains(*row) {
            untouched.remove(*row);
            finalists.push((*row, unfit.clone()));
        }
    }
    let mut finalist = |has: &[Reason], most: &[Resource]| {
        let mut best = untouched.clone();
        has.iter().for_each(|reason| index.filter(*reason, request, &mut best));
        most.iter().for_each(|of| best.keep_greatest(&index.column(*of).planes));
        finalists.extend(best.first().map(|row| (row, index.unfit(row, request, 0))));
    };
    finalist(&[Reason::Cpu], &[Resource::Memory]);
    finalist(&[Reason::Memory], &[Resource::Cpu]);
    finalist(&[], &[Resource::Memory, Resource::Cpu]);
    finalists.into_iter().min_by_key(|(_, unfit)| shortness(unfit)).map(|(row, _)| row)
}

/// The less the closer: how many resources are short, then by how much.
fn shortness(unfit: &[Unfit]) -> (usize, i64, Reverse<i64>, Reverse<i64>) {
    let (mut share, mut cpu, mut memory) = (0, 0, 0);
    for unfit in unfit {
        match unfit {
            Unfit::Cpu { needed, remaining } => {
                cpu = (*remaining).max(0);
                share = millionths_missing(*needed, cpu);
            }
            Unfit::Memory { needed, remaining } => {
                memory = (*remaining).max(0);
                share = millionths_missing(*needed, memory);
            }
            Unfit::NotActive
            | Unfit::AgentDisconnected
            | Unfit::EngineSilent
            | Unfit::NoRoom
            | Unfit::Attribute(_)
            | Unfit::MemberOf(_)
            | Unfit::DistinctInstance
            | Unfit::Port(_)
            | Unfit::Gpu { .. } => {}
        }
    }
    let share = if unfit.len() == 1 { share } else { 0 };
    (unfit.len(), share, Reverse(memory), Reverse(cpu))
}

fn millionths_missing(needed: u32, remaining: i64) -> i64 {
    (i64::from(needed) - remaining) * 1_000_000 / i64::from(needed)
}
