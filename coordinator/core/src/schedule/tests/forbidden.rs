//! What the operator forbids after a service was made.

use crate::test_kit::world::{World, daemon, replicas};
use longshore_common::{
    task_definition::ContainerDefinition,
    task_policy::{Forbidden, TaskPolicy},
};

#[test]
fn service_starts_nothing_that_was_forbidden_since_it_was_made() {
    for config in [replicas(2), daemon()] {
        let mut world = World::with_hosts(2);
        let container = ContainerDefinition {
            name: "main".to_owned(),
            image: Some("busybox".to_owned()),
            memory: Some(10),
            privileged: Some(true),
            ..ContainerDefinition::default()
        };
        world.define_containers("loose", vec![container]);
        world.create_named("s", "loose", config);
        world.settle();
        assert_eq!(world.counts(), "2 running, 0 pending");

        // The coordinator came again with other settings.
        world.state.set_task_policy(TaskPolicy {
            forbidden: [Forbidden::Privileged].into(),
            ..TaskPolicy::default()
        });
        let ended = world.running()[0];
        world.exits(ended);
        world.agents_work();
        world.pass(60.0);
        world.agents_work();
        assert_eq!(world.counts(), "1 running, 0 pending");
        let why = "lets no task have privileged of container main";
        let said = world.said.iter().filter(|said| said.contains(why)).count();
        assert_eq!(said, 1, "{:?}", world.said);

        world.deploy("app");
        world.settle();
        assert_eq!(world.counts(), "2 running, 0 pending");
    }
}
