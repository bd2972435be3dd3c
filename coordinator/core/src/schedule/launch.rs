//! Starting tasks of a service: where they go, and what is said when they go nowhere.

use std::borrow::Cow;

use longshore_common::{id::TaskId, protocol::Attribute, resources::Demand, task::TaskOverride};

use super::{
    Work, messages,
    to_come::{Chance, ToCome},
};
use crate::{
    event::{Event, PlacedTask, ServiceEvent, TaskEvent, TasksStarted},
    launch::{
        demand::demand,
        ids::Ids,
        placed::placed_on,
        request::{NEW_GROUP, required_attributes},
    },
    managed_scaling::Group,
    model::{
        attachment::AttachmentSpec, capacity_provider::StrategyItem, name::CapacityProviderName,
        service::PropagateTags, strategy, tags::Tags, task::StartedForService,
    },
    placement::{GroupKey, HostSlot, MemberOf, Request},
    query::Constraint,
    state::{Definition, Host, Revision, Standing},
};

/// Maximum number of tasks that one pass starts (ours), which bounds the time under the state's
/// lock; the next pass continues.
pub(super) const LAUNCHES_PER_PASS_MAX: u32 = 500;
/// Number of rounds of failed starts after which the service says so by ECS's event (ours).
const ROUNDS_UNTIL_SAID: u32 = 3;

/// What a task of one revision asks of its host.
pub(super) struct Asked<'a> {
    pub(super) definition: &'a Definition,
    pub(super) demand: Demand,
    pub(super) required: Vec<Attribute>,
    pub(super) member_of: Vec<Constraint>,
    images: Cow<'a, [String]>,
    group_name: String,
    pub(super) group: GroupKey,
    /// Only hosts of this capacity provider will do.
    pub(super) provider: Option<&'a CapacityProviderName>,
}

impl<'a> Work<'a> {
    pub(super) fn asked(&self, revision: &Revision) -> Asked<'a> {
        self.asked_of(revision, None)
    }

    pub(super) fn asked_of(
        &self,
        revision: &Revision,
        provider: Option<&'a CapacityProviderName>,
    ) -> Asked<'a> {
        let definition = self.state.definition_at(revision.definition);
        let group_name = self.service.group();
        let spec = &definition.definition.spec;
        let mut required = required_attributes(definition);
        required.extend(provider.map(|provider| self.state.provider_attribute(provider)));
        Asked {
            definition,
            demand: demand(spec, &TaskOverride::default()),
            required,
            member_of: [&definition.member_of[..], &self.service.config.member_of[..]].concat(),
            images: definition.images_by(&revision.record.image_digests),
            provider,
            group: self.state.group_key(&group_name).unwrap_or(NEW_GROUP),
            group_name,
        }
    }

    pub(super) fn request<'b>(&'b self, asked: &'b Asked<'_>, count: u32) -> Request<'b> {
        Request {
            demand: &asked.demand,
            required_attributes: &asked.required,
            member_of: MemberOf {
                constraints: &asked.member_of,
                own_group: &asked.group_name,
                groups: self.state.groups(),
            },
            distinct_instance: self.service.config.distinct_instance,
            strategies: &self.service.config.strategies,
            group: asked.group,
            count,
            images: &asked.images,
            earlier: &self.taken,
            entropy: self.ids.entropy(),
        }
    }

    /// Whether tasks may be started now; else when to look again is noted. Right after `recover` what
    /// the service lacks may run: it began in the part of the journal that is lost.
    pub(super) fn may_launch(&mut self) -> bool {
        if self.backs_off {
            return false;
        }
        let word_awaited_until = self.state.word_awaited_until();
        if let Some(until) = word_awaited_until.filter(|until| *until > self.at) {
            self.wake_at(until);
            return false;
        }
        let launch = self.service.launch;
        let Some(until) = launch.not_before.filter(|until| *until > self.at) else { return true };
        self.wake_at(until);
        if launch.rounds >= ROUNDS_UNTIL_SAID {
            self.say(messages::does_not_start(self.service));
        }
        false
    }

    /// Whether the operator forbids a revision's tasks since the service was made, by a start of the
    /// coordinator with other settings. Then that is said, and no host is looked for or launched.
    fn is_forbidden(&mut self, revision: &Revision) -> bool {
        let spec = &self.state.definition_at(revision.definition).definition.spec;
        let refusal = self.state.task_policy().refusal(spec);
        let forbidden = refusal.is_some();
        refusal.into_iter().for_each(|member| self.say(messages::forbidden(self.service, &member)));
        forbidden
    }

    /// Starts up to `count` tasks of a revision where the service's placement puts them.
    pub(super) fn launch(&mut self, revision: &'a Revision, count: u32) {
        if count == 0 || !self.may_launch() || self.is_forbidden(revision) {
            return;
        }
        let count = count.min(LAUNCHES_PER_PASS_MAX);
        let strategy = &self.service.config.capacity;
        if strategy.is_empty() {
            return self.launch_by(revision, None, count);
        }
        let has = |item: &StrategyItem| revision.by_provider.get(&item.provider).copied();
        let placed: Vec<u32> = strategy.iter().map(|item| has(item).unwrap_or(0)).collect();
        let shares = strategy::split(strategy, &placed, count);
        if shares.iter().sum::<u32>() < count {
            self.say(messages::no_weight(self.service));
        }
        for (item, share) in strategy.iter().zip(shares).filter(|(_, share)| *share > 0) {
            self.launch_by(revision, Some(&item.provider), share);
        }
    }

    /// Starts tasks on the hosts of one capacity provider.
    fn launch_by(
        &mut self,
        revision: &'a Revision,
        provider: Option<&'a CapacityProviderName>,
        count: u32,
    ) {
        let asked = self.asked_of(revision, provider);
        let cluster = self.state.cluster_at(self.service.cluster);
        let placement = cluster.index.place(&self.request(&asked, count));
        self.start_on(revision, &asked, &placement.hosts);
        let Some(unplaced) = &placement.unplaced else { return };
        self.pass.waits_for_room = true;
        // No number of hosts helps a task that hosts of this provider may never be given.
        let chance = provider.map(|provider| {
            let to_come = ToCome::of(self.state, provider);
            to_come.chance(&cluster.index, &self.request(&asked, 1), self.at)
        });
        chance.and_then(Chance::until).into_iter().for_each(|until| self.wake_at(until));
        let waiting = Group {
            demand: asked.demand.clone(),
            count: unplaced.count,
            distinct_instance: self.service.config.distinct_instance,
        };
        let wanted = chance.and_then(|chance| chance.of(waiting));
        let provider = provider.filter(|_| wanted.is_some());
        self.pass.wanted.extend(provider.cloned().zip(wanted));
        // A group that can still grow is on its way to make room.
        let grows = provider
            .and_then(|provider| self.state.managed_group(provider))
            .is_some_and(|group| group.can_grow() || group.has_pending());
        // What stops makes room in a moment, and wakes this service then.
        if revision.counts.of(Standing::Stopping) == 0 && !grows {
            self.say(messages::unplaced(self.state, self.service, unplaced));
        }
    }

    /// Starts one task of a revision on each of these hosts.
    pub(super) fn start_on(&mut self, revision: &'a Revision, asked: &Asked<'_>, on: &[HostSlot]) {
        if on.is_empty() {
            return;
        }
        if self.is_forbidden(revision) {
            return;
        }
        on.iter().for_each(|slot| self.taken.add(*slot, &asked.demand, asked.group));
        let hosts: Vec<&Host> = on.iter().map(|slot| self.state.host_at(*slot)).collect();
        let tasks: Vec<PlacedTask> = placed_on(asked.definition, &hosts, self.ids);
        let ids: Vec<TaskId> = tasks.iter().map(|placed| placed.task).collect();
        let cluster = self.state.cluster_at(self.service.cluster).name.clone();
        let id = revision.record.id;
        let started_by = format!("ecs-svc/{id}");
        self.pass.events.push(Event::Task(TaskEvent::TasksStarted(Box::new(TasksStarted {
            cluster,
            family: asked.definition.family.clone(),
            revision: asked.definition.definition.revision,
            group: self.service.group(),
            started_by: Some(started_by),
            overrides: TaskOverride::default(),
            demand: asked.demand.clone(),
            tags: self.tags_of_tasks(asked.definition),
            tasks,
            client_token: None,
            service: Some(StartedForService { service: self.service.id, revision: id }),
            timeout_ms: None,
            waited: None,
            provider: asked.provider.cloned(),
            asked: None,
            log_driver_mode: Some(self.state.account_settings().log_driver_mode()),
            attachments: self.attachments(),
            at: self.at,
        }))));
        // What this pass starts next gets other ids.
        self.ids = Ids::from(self.ids.nth(u64::MAX));
        let message = messages::started(self.service, &ids);
        let (service, at) = (self.service.id, self.at);
        self.pass.events.push(Event::Service(ServiceEvent::ServiceLogged { service, message, at }));
    }

    /// What each task that the service starts is to have attached.
    fn attachments(&self) -> Vec<AttachmentSpec> {
        let of_cluster = &self.state.cluster_at(self.service.cluster).settings.options;
        self.service.config.options.attachments_over(of_cluster)
    }

    /// ecs-behaviour 1.5 and 1.22: propagated tags, and ECS's own two.
    fn tags_of_tasks(&self, definition: &Definition) -> Tags {
        let config = &self.service.config;
        let of_user = |tags: &Tags| -> Tags {
            let keeps = |name: &str| !name.starts_with("longshore:");
            tags.iter().filter(|(n, _)| keeps(n)).map(|(n, v)| (n.clone(), v.clone())).collect()
        };
        let mut tags = match config.propagate_tags {
            PropagateTags::None => Tags::new(),
            PropagateTags::TaskDefinition => of_user(&definition.tags),
            PropagateTags::Service => of_user(&self.service.tags),
        };
        if config.managed_tags {
            let cluster = &self.state.cluster_at(self.service.cluster).name;
            tags.insert("aws:ecs:clusterName".to_owned(), cluster.to_string());
            tags.insert("aws:ecs:serviceName".to_owned(), self.service.name.to_string());
        }
        tags
    }
}
