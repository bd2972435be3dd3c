//! What a group grows for, and what it does not grow for.

use super::*;

#[test]
fn service_says_that_it_has_no_room_once_its_group_is_deleted() {
    let mut world = World::with_providers(vec![provider("p", scaling())]).with_definition(400);
    let config = ServiceConfig { propagate_tags: PropagateTags::None, ..replicas(1) };
    world.step(service("svc", config, Some(vec![item("p", 0, 1)])));
    assert_eq!(world.desired("p"), 1, "an instance is on its way");
    let looks = |world: &mut World| {
        world.log.clear();
        world.state.wake_all_waiting();
        world.schedule();
        world.log.contains("ServiceLogged")
    };
    assert!(!looks(&mut world), "{}", world.log);
    let name = "p".parse().unwrap();
    world.step(Command::AutoScaling(AutoScalingCommand::DeleteAutoScalingGroup {
        name,
        force: true,
    }));
    assert!(world.state.auto_scaling_group("p").unwrap().deleting);
    assert!(looks(&mut world), "nothing will make room: {}", world.log);
}

#[test]
fn group_has_room_for_daemons_beside_the_tasks_that_it_grows_for() {
    let with_daemon = provider("p", scaling());
    let mut world = World::with_providers(vec![with_daemon]).with_definition(300);
    world.step(service("agent", daemon(), None));
    world.run_by(vec![item("p", 0, 1)], 8);
    world.boot("p");
    // Of 1000 MiB a daemon has 300 on each host: two tasks fit beside it, and not three.
    assert_eq!((world.waiting(), world.desired("p")), (6, 4));
    world.boot("p");
    assert_eq!((world.waiting(), world.desired("p")), (0, 4));
}

#[test]
fn group_does_not_grow_for_tasks_that_its_hosts_may_never_be_given() {
    let nowhere = || vec![Constraint::parse("attribute:rack == moon").unwrap()];
    for of_service in [false, true] {
        let mut soon = provider("p", scaling());
        soon.scale_in_after_ms = Some(5_000);
        let mut world = World::with_providers(vec![soon]).with_definition(300);
        if of_service {
            let config = ServiceConfig { member_of: nowhere(), ..replicas(4) };
            world.step(service("svc", config, Some(vec![item("p", 0, 1)])));
        } else {
            let Command::Task(TaskCommand::RunTask(mut run)) = run_task(4) else { unreachable!() };
            run.capacity = Some(vec![item("p", 0, 1)]);
            run.member_of = nowhere();
            world.step(Command::Task(TaskCommand::RunTask(run)));
        }
        // Until one is seen, nobody knows what hosts of the group are like.
        assert_eq!(world.desired("p"), 1);
        world.boot("p");
        world.later(1);
        assert_eq!(world.desired("p"), 1);
        world.later(10);
        assert_eq!(world.desired("p"), 0, "the host is of no use");
        // None is left, and what they were like is still known, after a start too.
        world.all_go("p");
        world.later(30);
        assert_eq!(world.desired("p"), 0, "its hosts were of no use");
        let mut world = world.restarted();
        world.later(30);
        assert_eq!(world.desired("p"), 0, "its hosts were of no use");
        // What the hosts may be given makes the group grow as ever.
        world.run_by(vec![item("p", 0, 1)], 1);
        assert!(world.desired("p") > 0);
    }
}

#[test]
fn group_at_zero_tries_one_instance_when_its_earlier_ones_are_long_gone() {
    let rack = || vec![Constraint::parse("attribute:rack == moon").unwrap()];
    for (of_service, image_is_rebuilt) in
        [(false, false), (false, true), (true, false), (true, true)]
    {
        let mut soon = provider("p", scaling());
        soon.scale_in_after_ms = Some(5_000);
        let mut world = World::with_providers(vec![soon]).with_definition(300);
        let tasks = world.run_by(vec![item("p", 0, 1)], 1);
        world.boot("p");
        tasks.into_iter().for_each(|task| world.end(task));
        world.later(1);
        world.later(10);
        world.all_go("p");
        // Hosts of this group never were of that rack.
        if of_service {
            let config = ServiceConfig { member_of: rack(), ..replicas(9) };
            world.step(service("svc", config, Some(vec![item("p", 0, 1)])));
        } else {
            let Command::Task(TaskCommand::RunTask(mut run)) = run_task(9) else { unreachable!() };
            run.capacity = Some(vec![item("p", 0, 1)]);
            run.member_of = rack();
            run.launch.options.wait_ms = Some(86_400_000);
            world.step(Command::Task(TaskCommand::RunTask(run)));
        }
        world.later(3_000);
        assert_eq!(world.desired("p"), 0, "what was seen lately is believed");
        world.later(700);
        assert_eq!(world.desired("p"), 1, "nobody knows what they are like now: one is tried");
        let [instance] = world.instances("p", |_| true)[..] else { panic!("one is launched") };
        let (verb, result) = (LauncherVerb::Launch, Ok(()));
        world.step(Command::AutoScaling(AutoScalingCommand::LauncherAnswered {
            instance,
            verb,
            result,
        }));
        let moon = Attribute { name: "rack".to_owned(), value: Some("moon".to_owned()) };
        let attributes = if image_is_rebuilt { vec![moon] } else { vec![] };
        world.host_comes(Some(instance.to_string()), attributes);
        world.later(1);
        if image_is_rebuilt {
            // Of 1000 MiB three tasks fit.
            assert_eq!(world.desired("p"), 3, "as many as the tasks fill");
            continue;
        }
        assert_eq!(world.desired("p"), 1);
        world.later(10);
        world.all_go("p");
        world.later(3_000);
        assert_eq!(world.desired("p"), 0, "it was tried, and is believed again");
    }
}

#[test]
fn group_does_not_grow_for_tasks_that_are_forbidden_by_now() {
    for of_service in [false, true] {
        let mut world = World::with_providers(vec![provider("p", scaling())]);
        world.put(privileged(300));
        if of_service {
            world.step(service("svc", replicas(4), Some(vec![item("p", 0, 1)])));
        } else {
            world.run_by(vec![item("p", 0, 1)], 4);
        }
        assert_eq!(world.desired("p"), 1);
        // The coordinator comes again with other settings.
        world.state.set_task_policy(no_privileged());
        world.step(Command::Epoch(EpochCommand::StartEpoch { incarnation: 2 }));
        world.boot("p");
        world.later(1);
        assert_eq!((world.desired("p"), world.placed()), (1, 0));
        world.later(16 * 60);
        world.later(61);
        assert_eq!(world.desired("p"), 0, "nothing waits for the host");
    }
}
