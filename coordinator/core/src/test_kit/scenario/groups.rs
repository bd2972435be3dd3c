//! Auto Scaling groups, and capacity providers that scale them.

use std::collections::BTreeMap;

use super::{Scene, tag};
use crate::{
    Command,
    command::{AutoScalingCommand, CapacityProviderCommand, ClusterCommand, TaskCommand},
    model::{
        auto_scaling::{GroupConfig, GroupTag, InstanceId, LaunchSource, LauncherVerb},
        capacity_provider::{
            CapacityProvider, CapacityProviderStatus, ManagedScaling, StrategyItem,
        },
        cluster::ClusterCapacity,
    },
};

impl Scene<'_> {
    pub(super) fn group(&mut self, name: &str, desired: u32) {
        let config = GroupConfig {
            min: 0,
            max: 5,
            desired,
            cooldown_s: 300,
            grace_s: 30,
            protects_new: false,
            launch: LaunchSource::Template { launcher: "rack".to_owned(), version: None },
            zones: vec!["z".to_owned()],
            subnets: Some("subnet-1".to_owned()),
            tags: BTreeMap::from([(
                "rack".to_owned(),
                GroupTag { value: "1".to_owned(), propagate: true },
            )]),
        };
        let name = self.name(name).parse().unwrap();
        self.call(Command::AutoScaling(AutoScalingCommand::CreateAutoScalingGroup {
            name,
            config: Box::new(config),
        }));
    }

    pub(super) fn provider(&mut self, name: &str, group: &str, managed: bool) {
        let provider = CapacityProvider {
            name: self.name(name).parse().unwrap(),
            group: self.name(group).parse().unwrap(),
            managed_scaling: ManagedScaling { enabled: managed, ..ManagedScaling::default() },
            termination_protection: false,
            draining: true,
            scale_in_after_ms: None,
            tags: tag("provider", name),
            status: CapacityProviderStatus::Active,
            update: None,
        };
        self.call(Command::CapacityProvider(CapacityProviderCommand::CreateCapacityProvider(
            Box::new(provider),
        )));
    }

    /// One provider whose group follows its tasks, and instances in several lifecycles.
    pub(super) fn scaled_group(&mut self) {
        self.group("group", 2);
        self.provider("provider", "group", true);
        let name = self.name("provider");
        let provider: crate::model::name::CapacityProviderName = name.parse().unwrap();
        let item =
            StrategyItem { provider: provider.clone(), base: 0, weight: 1, by_launch_type: false };
        let cluster: crate::model::name::ClusterName = self.name("idle").parse().unwrap();
        let capacity = ClusterCapacity {
            providers: vec![provider.clone()],
            default_strategy: vec![item.clone()],
        };
        self.call(Command::Cluster(ClusterCommand::PutClusterCapacityProviders {
            cluster: cluster.clone(),
            capacity,
        }));
        self.launchers_launch(1);
        let mut run = self.launch("large");
        (run.launch.cluster, run.capacity, run.count) = (cluster, Some(vec![item]), 4);
        run.launch.group = None;
        run.strategies = vec![];
        self.run(run.clone());
        self.launchers_launch(usize::MAX);
        self.world.pass_step_by_step(1.0);
        let mut held =
            self.world.state.cluster(run.launch.cluster.as_str()).unwrap().waiting_tasks.keys();
        let waiting = held.next().copied().unwrap();
        let (cluster, reason) = (run.launch.cluster.clone(), None);
        self.call(Command::Task(TaskCommand::StopTask { cluster, task: waiting, reason }));
        self.excess();
        self.provider("deleted", "group2", false);
        let name = self.name("deleted").parse().unwrap();
        self.call(Command::CapacityProvider(CapacityProviderCommand::DeleteCapacityProvider {
            name,
        }));
    }

    /// A second group has an instance too many, ends one and fails to launch one.
    pub(super) fn excess(&mut self) {
        self.group("group2", 2);
        self.launchers_launch(usize::MAX);
        let name = self.name("group2");
        let group = self.world.state.auto_scaling_group(&name).unwrap();
        let instances: Vec<InstanceId> = group.instances.keys().copied().collect();
        self.world.add_host_as(Some(instances[0].to_string()));
        let (instance, decrement) = (instances[1], true);
        self.call(Command::AutoScaling(AutoScalingCommand::TerminateInstance {
            instance,
            decrement,
        }));
        let (verb, result) = (LauncherVerb::Terminate, Ok(()));
        self.call(Command::AutoScaling(AutoScalingCommand::LauncherAnswered {
            instance,
            verb,
            result,
        }));
        self.provider("idle", "group2", true);
        self.world.pass_step_by_step(10.0);
        let name = self.name("idle").parse().unwrap();
        let managed_scaling = Some(ManagedScaling::default());
        let change = crate::model::capacity_provider::CapacityProviderChange {
            managed_scaling,
            ..Default::default()
        };
        self.call(Command::CapacityProvider(CapacityProviderCommand::UpdateCapacityProvider {
            name,
            change,
        }));
        let name = self.name("idle").parse().unwrap();
        self.call(Command::CapacityProvider(CapacityProviderCommand::DeleteCapacityProvider {
            name,
        }));
        let (name, desired) = (self.name("group2").parse().unwrap(), 3);
        self.call(Command::AutoScaling(AutoScalingCommand::SetDesiredCapacity {
            name,
            desired,
            honour_cooldown: false,
        }));
        let failed =
            self.world.state.launcher_calls().next().map(|(_, _, one, verb)| (one.id, verb));
        let (instance, verb) = failed.unwrap();
        let result = Err("no more machines".to_owned());
        self.call(Command::AutoScaling(AutoScalingCommand::LauncherAnswered {
            instance,
            verb,
            result,
        }));
    }

    pub(super) fn launchers_launch(&mut self, most: usize) {
        for _ in 0..most {
            let call = self
                .world
                .state
                .launcher_calls()
                .find(|(at, _, _, verb)| *at <= self.world.at && *verb == LauncherVerb::Launch);
            let Some((_, _, instance, verb)) = call else { return };
            let (instance, result) = (instance.id, Ok(()));
            self.call(Command::AutoScaling(AutoScalingCommand::LauncherAnswered {
                instance,
                verb,
                result,
            }));
        }
    }
}
