//! Services of each kind, their deployments and task sets.

use longshore_common::{id::TaskId, task::HealthStatus};

use super::{Scene, tag};
use crate::{
    Answer, Command,
    command::{ClientToken, CreateTaskSet, ServiceCommand, TaskCommand, TaskSetCommand},
    model::{
        alarm::AlarmValue,
        service::{
            Controller, DeploymentAlarms, DeploymentStrategy, HookAction, HookStage, HookTarget,
            LifecycleHook, ServiceConfig,
        },
    },
    placement::{AVAILABILITY_ZONE, SpreadOver, Strategy},
    test_kit::world::{CLUSTER, create, daemon, named, replicas},
};

impl Scene<'_> {
    pub(super) fn external(&mut self, name: &str) {
        let config = ServiceConfig { controller: Controller::External, ..replicas(2) };
        let name = self.name(name);
        self.call(create(&name, "app", config));
    }

    /// A service of every controller and in every status, with deployments under way.
    pub(super) fn services(&mut self) {
        let with = |scene: &mut Self, name: &str, family: &str, config: ServiceConfig| {
            let name = scene.name(name);
            let command = create(&name, &scene.name(family), config);
            scene.call(command);
            name
        };
        let mut rolling = replicas(3);
        rolling.strategies =
            vec![Strategy::Spread(SpreadOver::Attribute(AVAILABILITY_ZONE.to_owned()))];
        rolling.az_rebalancing = true;
        rolling.grace_s = Some(5);
        let rolling = with(self, "rolling", "small", rolling);
        with(self, "daemon", "small", daemon());
        let mut watched = replicas(1);
        watched.deployment.alarms = Some(DeploymentAlarms {
            names: vec![self.name("alarm")],
            enable: true,
            rollback: true,
        });
        watched.deployment.bake_minutes = Some(500);
        with(self, "watched", "small", watched);
        let mut gated = replicas(1);
        gated.deployment.strategy = DeploymentStrategy::BlueGreen;
        gated.deployment.bake_minutes = Some(5);
        let hook = |target| LifecycleHook {
            target,
            stages: vec![HookStage::PreScaleUp],
            timeout_minutes: 60,
            on_timeout: HookAction::Rollback,
        };
        let called = HookTarget::Http {
            url: "http://127.0.0.1:1/".to_owned(),
            role_arn: None,
            details: Some(serde_json::json!({ "a": 1 })),
        };
        gated.deployment.hooks = vec![hook(HookTarget::Pause), hook(called)];
        with(self, "gated", "small", gated);
        let mut moved = replicas(6);
        moved.options.rebalance_hosts = Some(true);
        let moved = with(self, "moved", "small", moved);
        with(self, "ends", "small", replicas(1));
        with(self, "gone", "small", replicas(0));
        self.world.agents_work();
        self.world.pass_step_by_step(45.0);
        self.world.agents_work();
        self.world.pass_step_by_step(45.0);
        self.task_sets();
        let rolled = self.world.service_named(&rolling);
        let tasks: Vec<TaskId> = rolled.primary().unwrap().tasks.keys().copied().collect();
        self.world.set_health(tasks[0], HealthStatus::Healthy);
        let cluster = CLUSTER.parse().unwrap();
        let (protected, minutes) = (vec![tasks[0]], Some(60_000));
        self.call(Command::Task(TaskCommand::UpdateTaskProtection {
            cluster,
            tasks: protected,
            minutes,
        }));
        self.world.add_host();
        self.world.agents_work();
        self.world.pass_step_by_step(45.0);
        assert!(!self.world.service_named(&moved).revisions.is_empty());
        for (name, force) in [("ends", true), ("gone", false)] {
            let service = named(&self.name(name));
            self.call(Command::Service(ServiceCommand::DeleteService { service, force }));
        }
        // A deployment of a revision whose tasks fail.
        let mut failing = replicas(2);
        failing.deployment.circuit_breaker.enable = true;
        with(self, "failing", "small", failing);
        self.world.starts_fail();
        self.world.pass_step_by_step(3.0);
        let alarm = self.name("quiet");
        self.world.set_alarm(&alarm, AlarmValue::Alarm);
    }

    pub(super) fn task_sets(&mut self) {
        self.external("external");
        let service = named(&self.name("external"));
        let mut sets = Vec::new();
        for name in ["one", "two", "three"] {
            let set = CreateTaskSet {
                service: service.clone(),
                definition: self.revision("small"),
                external_id: Some(name.to_owned()),
                scale_permille: 500,
                tags: tag("set", name),
                client_token: Some(ClientToken { token: name.to_owned(), parameters_hash: 3 }),
            };
            match self.call(Command::TaskSet(TaskSetCommand::CreateTaskSet(Box::new(set)))) {
                Answer::TaskSet(id) => sets.push(id),
                other => panic!("{other:?}"),
            }
        }
        self.call(Command::TaskSet(TaskSetCommand::UpdateServicePrimaryTaskSet {
            service: service.clone(),
            task_set: sets[0],
        }));
        let (task_set, scale_permille) = (sets[0], 1000);
        self.call(Command::TaskSet(TaskSetCommand::UpdateTaskSet {
            service: service.clone(),
            task_set,
            scale_permille,
        }));
        self.world.agents_work();
        let (task_set, force) = (sets[2], true);
        self.call(Command::TaskSet(TaskSetCommand::DeleteTaskSet { service, task_set, force }));
        self.world.agents_work();
    }
}
