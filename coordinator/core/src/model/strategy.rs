//! How tasks are split over the capacity providers of a strategy (ecs-behaviour 1.15). Pure maths.

use super::capacity_provider::{CLUSTER_PROVIDERS_MAX, StrategyItem, is_fargate};

/// Maximum base of a strategy's item (ecs-behaviour 1.15).
pub const BASE_MAX: u32 = 100_000;
/// Maximum weight of a strategy's item (ecs-behaviour 1.15).
pub const WEIGHT_MAX: u32 = 1_000;

/// What is wrong with a strategy whatever cluster it is for. Each says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadStrategy {
    #[error(
        "A capacity provider strategy has at most {CLUSTER_PROVIDERS_MAX} capacity providers; this has {0}."
    )]
    TooMany(usize),
    #[error("The capacity provider {0} stands twice in the strategy; name each once.")]
    Twice(String),
    #[error("The base of the capacity provider {0} must be between 0 and {BASE_MAX}.")]
    Base(String),
    #[error("The weight of the capacity provider {0} must be between 0 and {WEIGHT_MAX}.")]
    Weight(String),
    #[error(
        "Only one capacity provider in a strategy can have a base: {0} and {1} have one. Set the others to 0."
    )]
    TwoBases(String, String),
    #[error(
        "At least one capacity provider of a strategy with several must have a weight above 0."
    )]
    NoWeight,
    #[error(
        "A strategy has capacity providers of Auto Scaling groups or FARGATE and FARGATE_SPOT, not both."
    )]
    Mixed,
}

/// The rules that a strategy must keep by itself.
pub fn check(items: &[StrategyItem]) -> Result<(), BadStrategy> {
    if items.len() > CLUSTER_PROVIDERS_MAX {
        return Err(BadStrategy::TooMany(items.len()));
    }
    let name = |item: &StrategyItem| item.provider.to_string();
    for (at, item) in items.iter().enumerate() {
        if items[..at].iter().any(|earlier| earlier.provider == item.provider) {
            return Err(BadStrategy::Twice(name(item)));
        }
        if item.base > BASE_MAX {
            return Err(BadStrategy::Base(name(item)));
        }
        if item.weight > WEIGHT_MAX {
            return Err(BadStrategy::Weight(name(item)));
        }
    }
    let mut based = items.iter().filter(|item| item.base > 0);
    if let (Some(first), Some(second)) = (based.next(), based.next()) {
        return Err(BadStrategy::TwoBases(name(first), name(second)));
    }
    if items.len() > 1 && items.iter().all(|item| item.weight == 0) {
        return Err(BadStrategy::NoWeight);
    }
    let fargate = items.iter().filter(|item| is_fargate(item.provider.as_str())).count();
    if fargate > 0 && fargate < items.len() {
        return Err(BadStrategy::Mixed);
    }
    Ok(())
}

/// How many of `count` more tasks each provider gets, when `placed` tells how many it has already.
///
/// The base is filled first. Then each next task goes where tasks above the base are fewest for
/// the weight; of equals, to the first in order. A weight of 0 means none beyond the base, so that
/// fewer than `count` may be given. Only a provider that stands alone, with neither base nor weight,
/// takes all: nothing was said of shares. Asking for a and then for b gives the same as asking for
/// a + b at once.
pub fn split(items: &[StrategyItem], placed: &[u32], count: u32) -> Vec<u32> {
    assert_eq!(items.len(), placed.len(), "one count for each provider");
    let mut given = vec![0; items.len()];
    if let [StrategyItem { base: 0, weight: 0, .. }] = items {
        given[0] = count;
        return given;
    }
    let mut left = count;
    for ((item, &has), given) in items.iter().zip(placed).zip(&mut given) {
        let missing = item.base.saturating_sub(has).min(left);
        *given += missing;
        left -= missing;
    }
    let mut above: Vec<u64> = items
        .iter()
        .zip(placed)
        .zip(&given)
        .map(|((item, &has), &given)| {
            (u64::from(has) + u64::from(given)).saturating_sub(u64::from(item.base))
        })
        .collect();
    for _ in 0..left {
        let weighted = (0..items.len()).filter(|&at| items[at].weight > 0);
        // a / w(a) < b / w(b), in whole numbers.
        let next = weighted.reduce(|best, at| {
            let here = above[at] * u64::from(items[best].weight);
            let there = above[best] * u64::from(items[at].weight);
            if here < there { at } else { best }
        });
        let Some(next) = next else { break };
        above[next] += 1;
        given[next] += 1;
    }
    given
}

/// Why a strategy gives out fewer tasks than asked for.
pub fn no_weight(items: &[StrategyItem]) -> String {
    let base: u32 = items.iter().map(|item| item.base).sum();
    format!(
        "the capacity provider strategy places no more than its base of {base}: no capacity provider in it has a weight above 0. Give one a weight"
    )
}

#[cfg(test)]
mod tests;
