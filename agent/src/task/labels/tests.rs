use serde_json::{Value, json};

use super::*;
use crate::{
    engine::plan::{
        labels::{labels, of_pause},
        sample::{KEY, intent_of, rules},
    },
    task::intent::Intent,
};

/// All that this agent reads of a container.
const OURS: [&str; 17] = [
    ECS_CLUSTER,
    ECS_TASK_ARN,
    ECS_CONTAINER,
    ECS_FAMILY,
    ECS_REVISION,
    FLEET,
    HOST,
    TASK,
    GENERATION,
    EPOCH,
    INDEX,
    ESSENTIAL,
    STOP_TIMEOUT_S,
    VOLUMES,
    GROUP,
    STOPS_BEFORE,
    crate::logs::destination::LABEL,
];

fn intent(members: Value) -> Intent {
    let mut container = json!({ "name": "app", "image": "web:1" });
    for (name, value) in members.as_object().unwrap() {
        container[name] = value.clone();
    }
    (*intent_of(vec![serde_json::from_value(container).unwrap()])).clone()
}

/// As Docker puts an image's labels below those of its container.
fn over_an_image(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let baked = OURS.map(|name| (name.to_owned(), "baked".to_owned()));
    baked.into_iter().chain(labels.clone()).collect()
}

fn summary(name: &str, labels: BTreeMap<String, String>) -> ContainerSummary {
    ContainerSummary { name: name.to_owned(), labels, ..ContainerSummary::default() }
}

#[test]
fn no_label_of_an_image_or_definition_passes_for_ours() {
    let given: BTreeMap<&str, &str> = OURS.map(|name| (name, "given")).into();
    let log = json!({ "logDriver": "awslogs", "options": { "awslogs-group": "g" } });
    let definitions = [
        json!({}),
        json!({ "dockerLabels": given }),
        json!({ "logConfiguration": log, "dockerLabels": given }),
    ];
    for definition in definitions {
        let intent = intent(definition);
        let both = [labels(&intent, 0, &rules()), of_pause(&intent, &rules())];
        for labels in both {
            let seen = over_an_image(&labels);
            for name in OURS {
                assert!(!["baked", "given"].contains(&seen[name].as_str()), "{name}");
            }
        }
    }
}

#[test]
fn a_container_is_known_by_the_name_that_goes_with_its_labels() {
    let intent = intent(json!({}));
    let own = labels(&intent, 0, &rules());
    let name = docker_name("web", 3, "app", KEY);
    assert!(name_fits(&summary(&name, own.clone())));
    let of_pause = of_pause(&intent, &rules());
    assert!(name_fits(&summary(&crate::engine::plan::namespaces::pause_name(&intent), of_pause)));
    for other in ["", "quirky_name", "ecs-web-3-app-00000000000000000000"] {
        assert!(!name_fits(&summary(other, own.clone())), "{other}");
    }
    let other = TaskKey { generation: 2, ..KEY };
    assert!(!name_fits(&summary(&docker_name("web", 3, "app", other), own)));
    assert!(!name_fits(&summary(&name, BTreeMap::new())));
}

#[test]
fn a_found_task_takes_only_its_own_volumes_and_group_along() {
    let own = volume_name("web", 3, "data-of-web", KEY);
    let others = volume_name("web", 3, "data-of-web", TaskKey { generation: 9, ..KEY });
    let mut labels = labels(&intent(json!({})), 0, &rules());
    labels.insert(VOLUMES.to_owned(), format!("{own},{others},database,../x,"));
    labels.insert(GROUP.to_owned(), "../../system.slice".to_owned());
    let name = docker_name("web", 3, "app", KEY);
    let found = [summary(&name, labels.clone())];
    let task = found_task(KEY, &found.each_ref(), &rules()).unwrap();
    assert_eq!((task.volumes, task.group), (vec![own], None));
    labels.insert(GROUP.to_owned(), group_name(KEY));
    let found = [summary(&name, labels)];
    assert_eq!(found_task(KEY, &found.each_ref(), &rules()).unwrap().group, Some(group_name(KEY)));
}
