use super::*;

fn item(name: &str, base: u32, weight: u32) -> StrategyItem {
    StrategyItem { provider: name.parse().unwrap(), base, weight, by_launch_type: false }
}

#[test]
fn tasks_are_split_as_ecs_documents() {
    // ECS's example: weights 1 and 4, so of every five tasks one goes to the first.
    let items = [item("a", 0, 1), item("b", 0, 4)];
    assert_eq!(split(&items, &[0, 0], 5), [1, 4]);
    assert_eq!(split(&items, &[0, 0], 10), [2, 8]);
    // The base is filled before anything else, and is no part of the ratio.
    let items = [item("a", 2, 1), item("b", 0, 1)];
    assert_eq!(split(&items, &[0, 0], 2), [2, 0]);
    assert_eq!(split(&items, &[0, 0], 6), [4, 2]);
    assert_eq!(split(&items, &[2, 0], 4), [2, 2]);
    // Weight 0 gets its base only.
    let items = [item("a", 1, 0), item("b", 0, 3)];
    assert_eq!(split(&items, &[0, 0], 7), [1, 6]);
    // Alone too, once anything is said of its share.
    assert_eq!(split(&[item("a", 1, 0)], &[0], 3), [1]);
    assert_eq!(split(&[item("a", 4, 0)], &[3], 7), [1]);
    assert_eq!(split(&[item("a", 1, 1)], &[0], 3), [3]);
    assert_eq!(split(&[item("a", 0, 0)], &[3], 7), [7]);
}

/// One task at a time, with fractions: written from the rule, not from the code.
fn reference(items: &[StrategyItem], placed: &[u32], count: u32) -> Vec<u32> {
    let mut now: Vec<u32> = placed.to_vec();
    for _ in 0..count {
        let unfilled = (0..items.len()).find(|&at| now[at] < items[at].base);
        let alone = items.len() == 1 && items[0].base == 0;
        let unfilled = unfilled.or(alone.then_some(0));
        let next = unfilled.or_else(|| {
            let mut best: Option<(f64, usize)> = None;
            for at in 0..items.len() {
                if items[at].weight == 0 {
                    continue;
                }
                let load = f64::from(now[at] - items[at].base) / f64::from(items[at].weight);
                if best.is_none_or(|(least, _)| load < least) {
                    best = Some((load, at));
                }
            }
            best.map(|(_, at)| at)
        });
        let Some(next) = next else { break };
        now[next] += 1;
    }
    now.iter().zip(placed).map(|(now, placed)| now - placed).collect()
}

#[test]
fn random_strategies_are_split_as_the_reference_splits_them() {
    let mut seed = 7u64;
    let mut random = |below: u32| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((seed >> 33) % u64::from(below)) as u32
    };
    let mut checked = 0;
    while checked < 1_000 {
        let entries = 1 + random(20);
        let based = random(entries);
        let base = random(12);
        let items: Vec<StrategyItem> = (0..entries)
            .map(|at| {
                let weight = if random(4) == 0 { 0 } else { random(1_001) };
                item(&format!("p{at}"), if at == based { base } else { 0 }, weight)
            })
            .collect();
        if check(&items).is_err() {
            continue;
        }
        let none = vec![0; items.len()];
        let count = random(200);
        let at_once = split(&items, &none, count);
        let base_alone = items.len() == 1 && items[0].base > 0 && items[0].weight == 0;
        let all = if base_alone { count.min(items[0].base) } else { count };
        assert_eq!(at_once.iter().sum::<u32>(), all);
        assert_eq!(at_once, reference(&items, &none, count), "{items:?} {count}");
        let first = random(count + 1);
        let mut stepwise = split(&items, &none, first);
        let then = split(&items, &stepwise, count - first);
        stepwise.iter_mut().zip(then).for_each(|(sum, more)| *sum += more);
        assert_eq!(stepwise, at_once, "{items:?} {first} of {count}");
        checked += 1;
    }
}

#[test]
fn strategies_that_break_a_rule_are_refused_with_it() {
    let many: Vec<StrategyItem> = (0..21).map(|at| item(&format!("p{at}"), 0, 1)).collect();
    for (items, says) in [
        (many, "has at most 20"),
        (vec![item("a", 0, 1), item("a", 0, 1)], "stands twice"),
        (vec![item("a", 100_001, 1)], "between 0 and 100000"),
        (vec![item("a", 0, 1_001)], "between 0 and 1000"),
        (vec![item("a", 1, 1), item("b", 1, 1)], "Only one capacity provider"),
        (vec![item("a", 1, 0), item("b", 0, 0)], "weight above 0"),
        (vec![item("a", 0, 1), item("FARGATE", 0, 1)], "not both"),
    ] {
        let said = check(&items).unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    }
    assert_eq!(check(&[item("a", 100_000, 1_000), item("b", 0, 0)]), Ok(()));
    assert_eq!(check(&[item("a", 0, 0)]), Ok(()));
    assert_eq!(check(&[item("FARGATE", 1, 1), item("FARGATE_SPOT", 0, 4)]), Ok(()));
    assert_eq!(check(&[]), Ok(()));
}
