use std::{fmt::Write, time::Duration};

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

const HOUR_MS: u64 = 3_600_000;
const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// An image that has been in a registry, under these tags.
fn image(id: &str, tags: &[&str]) -> ImageSummary {
    ImageSummary {
        id: id.to_owned(),
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        digests: vec![format!("r/{id}@sha256:{id}")],
        bytes: 7,
    }
}

fn used(references: &[&str], hours_ago: u64) -> UsedImage {
    UsedImage {
        references: references.iter().map(|name| familiar(name).into_owned()).collect(),
        used_at: Timestamp(NOW.0 - hours_ago * HOUR_MS),
        origin: ImageOrigin::Unknown,
    }
}

/// Four images of four ages, each by a tag of its own name.
fn four() -> (BTreeMap<String, UsedImage>, Vec<ImageSummary>) {
    let ages = [("a", 2), ("b", 9), ("c", 5), ("d", 1)];
    let used = ages.map(|(id, hours)| (id.to_owned(), used(&[&format!("r/{id}:1")], hours)));
    let present = ages.map(|(id, _)| image(id, &[&format!("r/{id}:1")]));
    (used.into(), present.to_vec())
}

fn in_words(removals: &[Removal]) -> String {
    removals.iter().map(|removal| removal.names.join("+")).collect::<Vec<_>>().join(", ")
}

#[derive(Clone)]
struct Case {
    used: BTreeMap<String, UsedImage>,
    present: Vec<ImageSummary>,
    needed: NeededImages,
    rules: ImageCleanup,
}

impl Case {
    fn new() -> Self {
        let (used, present) = four();
        Case { used, present, needed: NeededImages::default(), rules: ImageCleanup::default() }
    }

    fn but(mut self, change: impl FnOnce(&mut Case)) -> Self {
        change(&mut self);
        self
    }

    fn removals(&self) -> Vec<Removal> {
        removals(&self.used, &self.present, &self.needed, &self.rules, true, NOW)
    }
}

/// A line a case: what it is, and what goes.
fn check<const N: usize>(cases: [(&str, Case); N], expected: Expect) {
    let mut table = String::new();
    for (what, case) in cases {
        writeln!(table, "{what}: {}", in_words(&case.removals())).unwrap();
    }
    expected.assert_eq(&table);
}

#[test]
fn what_was_not_used_for_longest_goes_first_and_only_so_much_at_a_time() {
    let case = Case::new;
    check(
        [
            ("as ECS has it", case()),
            ("two a cycle", case().but(|c| c.rules.removed_per_cycle = 2)),
            ("after three hours", case().but(|c| c.rules.minimum_age *= 3)),
            (
                "for room",
                case().but(|c| {
                    c.rules =
                        ImageCleanup { minimum_age: Duration::MAX, ..c.rules.clone() }.for_room()
                }),
            ),
            (
                "from the future",
                case().but(|c| c.used.values_mut().for_each(|u| u.used_at.0 += 99 * HOUR_MS)),
            ),
        ],
        expect![[r#"
            as ECS has it: r/b:1, r/c:1, r/a:1, r/d:1
            two a cycle: r/b:1, r/c:1
            after three hours: r/b:1, r/c:1
            for room: r/b:1, r/c:1, r/a:1, r/d:1
            from the future: 
        "#]],
    );
}

#[test]
fn what_somebody_needs_or_keeps_stays() {
    let case = Case::new;
    let references = |names: &[&str]| names.iter().map(|n| familiar(n).into_owned()).collect();
    check(
        [
            ("a container has b", case().but(|c| c.needed.ids = ["b".to_owned()].into())),
            ("a task names c", case().but(|c| c.needed.references = references(&["r/c:1"]))),
            (
                "a task names c by its digest",
                case().but(|c| c.needed.references = references(&["r/c:2@sha256:c"])),
            ),
            ("the operator keeps a", case().but(|c| c.rules.exclude = vec!["r/a:1".to_owned()])),
            ("d was not used by a task", case().but(|c| drop(c.used.remove("d")))),
            ("somebody tagged b", case().but(|c| c.present[1].tags.push("mine:1".to_owned()))),
            ("c was made here", case().but(|c| c.present[2].digests.clear())),
            ("a is gone", case().but(|c| drop(c.present.remove(0)))),
            ("b was pulled again as another", case().but(|c| c.present[1].tags.clear())),
        ],
        expect![[r#"
            a container has b: r/c:1, r/a:1, r/d:1
            a task names c: r/b:1, r/a:1, r/d:1
            a task names c by its digest: r/b:1, r/a:1, r/d:1
            the operator keeps a: r/b:1, r/c:1, r/d:1
            d was not used by a task: r/b:1, r/c:1, r/a:1
            somebody tagged b: r/c:1, r/a:1, r/d:1
            c was made here: r/b:1, r/a:1, r/d:1
            a is gone: r/b:1, r/c:1, r/d:1
            b was pulled again as another: b, r/c:1, r/a:1, r/d:1
        "#]],
    );
}

#[test]
fn an_image_goes_by_all_tags_that_tasks_have_used() {
    let case = Case::new().but(|c| {
        c.used = [("a".to_owned(), used(&["nginx", "docker.io/library/nginx:1"], 2))].into();
        c.present = vec![image("a", &["nginx:latest", "nginx:1"])];
    });
    check(
        [("two tags", case)],
        expect![[r#"
        two tags: nginx:latest+nginx:1
    "#]],
    );
}

#[test]
fn a_reference_is_compared_as_the_engine_lists_it() {
    let cases = [
        ("nginx", "nginx:latest"),
        ("docker.io/library/nginx", "nginx:latest"),
        ("index.docker.io/team/web:2", "team/web:2"),
        ("10.0.0.1:5000/web", "10.0.0.1:5000/web:latest"),
        ("10.0.0.1:5000/web:2", "10.0.0.1:5000/web:2"),
        ("10.0.0.1:5000/web:2@sha256:00", "10.0.0.1:5000/web@sha256:00"),
        ("web@sha256:00", "web@sha256:00"),
    ];
    for (given, expected) in cases {
        assert_eq!(familiar(given), expected);
    }
}

proptest! {
    /// Whatever there is, nothing needed, kept, foreign or too young goes, the rest goes in order.
    #[test]
    fn nothing_goes_that_must_stay_and_the_oldest_goes_first(
        images in prop::collection::vec((0_u64..6, any::<[bool; 6]>()), 0..12),
        per_cycle in 0_usize..6,
        age_h in 0_u64..4,
    ) {
        let mut case = Case::new();
        (case.used, case.present) = Default::default();
        case.rules.removed_per_cycle = per_cycle;
        case.rules.minimum_age = Duration::from_secs(age_h * 3600);
        let mut may_go = BTreeSet::new();
        for (number, (hours, flags)) in images.iter().enumerate() {
            let [is_used, in_container, in_task, is_kept, is_ours, has_digest] = *flags;
            let (id, tag) = (format!("{number:02}"), format!("r/{number}:1"));
            let mut present = image(&id, &[&tag]);
            if !has_digest {
                present.digests.clear();
            }
            case.present.push(present);
            let known = if is_ours { tag.as_str() } else { "else:1" };
            if is_used {
                case.used.insert(id.clone(), used(&[known], *hours));
            }
            if in_container {
                case.needed.ids.insert(id.clone());
            }
            if in_task {
                case.needed.references.insert(tag.clone());
            }
            if is_kept {
                case.rules.exclude.push(tag.clone());
            }
            let free = !in_container && !in_task && !is_kept;
            if is_used && free && is_ours && has_digest && *hours >= age_h {
                may_go.insert((u64::MAX - hours, id));
            }
        }
        let expected: Vec<&String> = may_go.iter().map(|(_, id)| id).take(per_cycle).collect();
        let removed = case.removals();
        prop_assert_eq!(removed.iter().map(|removal| &removal.id).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn whether_a_registry_has_an_image_is_known_from_its_pull() {
    let mut told = String::new();
    for origin in [ImageOrigin::Unknown, ImageOrigin::Local, ImageOrigin::Pulled] {
        for (digests, digests_prove) in [(true, true), (true, false), (false, true)] {
            let mut case = Case::new();
            case.used.values_mut().for_each(|image| image.origin = origin);
            if !digests {
                case.present.iter_mut().for_each(|image| image.digests.clear());
            }
            let Case { used, present, needed, rules } = &case;
            let goes = !removals(used, present, needed, rules, digests_prove, NOW).is_empty();
            let digests = match (digests, digests_prove) {
                (true, true) => "a digest",
                (true, false) => "a digest that all have",
                (false, _) => "no digest",
            };
            writeln!(told, "{origin:?}, {digests}: {}", if goes { "goes" } else { "stays" })
                .unwrap();
        }
    }
    expect![[r#"
        Unknown, a digest: goes
        Unknown, a digest that all have: stays
        Unknown, no digest: stays
        Local, a digest: stays
        Local, a digest that all have: stays
        Local, no digest: stays
        Pulled, a digest: goes
        Pulled, a digest that all have: goes
        Pulled, no digest: goes
    "#]]
    .assert_eq(&told);
}
