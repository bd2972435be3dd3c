//! CreateService, UpdateService, DeleteService, and what operators and hooks say of deployments.

use std::collections::BTreeMap;

use longshore_common::{clock::Timestamp, limits::REASON_CHARS_MAX};

use super::{Decision, capacity_providers, gate, task_definitions, tasks};
use crate::{
    command::{CreateService, HookAnswer, ServiceCommand, UpdateService},
    event::{Event, ServiceCreated, ServiceEvent},
    launch::ids::Ids,
    model::{
        alarm::AlarmValue,
        capacity_provider::StrategyItem,
        definition::RevisionRef,
        deployment::{DeploymentRecord, DeploymentRef, DeploymentStatus, HookStatus},
        honoured::needs_not_honoured,
        revision::{RevisionRecord, Rollout},
        service::{
            Controller, DeploymentId, DeploymentStrategy, HookAction, HookId, HookTarget,
            RevisionId, Scheduling, ServiceConfig, ServiceId, ServiceRef,
        },
        service_status::ServiceStatus,
    },
    rejection::{DefinitionRejection, Rejection, ServiceRejection},
    state::{Cluster, Definition, Revision, Service, State},
};

/// Maximum number of services in one cluster (ecs-behaviour 1.22, quotas).
const SERVICES_PER_CLUSTER_MAX: usize = 5_000;

pub(super) fn decide_service(
    state: &State,
    command: &ServiceCommand,
    at: Timestamp,
    ids: Ids,
) -> Result<Decision, Rejection> {
    match command {
        ServiceCommand::CreateService(asked) => create(state, asked, at, ids),
        ServiceCommand::UpdateService(asked) => update(state, asked, at, ids),
        ServiceCommand::DeleteService { service, force } => delete(state, service, *force, at),
        ServiceCommand::StopServiceDeployment { deployment, rollback } => {
            stop_deployment(state, deployment, *rollback, at)
        }
        ServiceCommand::ContinueServiceDeployment { deployment, hook, action } => {
            continue_deployment(state, deployment, *hook, *action, at)
        }
        ServiceCommand::HookAnswered { service, hook, answer } => {
            Ok(hook_answered(state, *service, *hook, answer, at))
        }
    }
}

fn create(
    state: &State,
    create: &CreateService,
    at: Timestamp,
    ids: Ids,
) -> Result<Decision, Rejection> {
    let named = &create.service;
    let cluster = gate::cluster(state, &named.cluster)?;
    if let Some(token) = &create.client_token
        && let Some(earlier) = state.service_of_token(&named.cluster, &token.token, at)
    {
        let same =
            earlier.client_token.as_ref().is_some_and(|(_, hash)| *hash == token.parameters_hash);
        if !same {
            return Err(ServiceRejection::ServiceTokenConflict(earlier.named(state)).into());
        }
        if earlier.is_active() {
            return Ok(Decision::default());
        }
    }
    match state.service_named(named).map(|service| service.status) {
        None | Some(ServiceStatus::Inactive { .. }) => {}
        Some(ServiceStatus::Active) => {
            return Err(ServiceRejection::ServiceExists(named.clone()).into());
        }
        Some(ServiceStatus::Draining) => {
            return Err(ServiceRejection::ServiceStillDraining(named.clone()).into());
        }
    }
    if cluster.services.len() >= SERVICES_PER_CLUSTER_MAX {
        let (cluster, limit) = (cluster.name.clone(), SERVICES_PER_CLUSTER_MAX);
        return Err(ServiceRejection::TooManyServices { cluster, limit }.into());
    }
    let config = with_capacity(state, cluster, create)?;
    check_config(&config)?;
    check_alarms(state, &config)?;
    let service = ServiceId::new(ids.nth(0));
    let mut events = vec![Event::Service(ServiceEvent::ServiceCreated(Box::new(ServiceCreated {
        service,
        named: named.clone(),
        config: config.clone(),
        tags: create.tags.clone(),
        created_by: create.created_by.clone(),
        client_token: create.client_token.as_ref().map(|t| (t.token.clone(), t.parameters_hash)),
        at,
    })))];
    match (&create.definition, config.controller) {
        (Some(definition), Controller::Ecs) => {
            let definition = usable(state, definition)?;
            check_constraints(definition, &create.config)?;
            let revision = revision(definition, ids, at);
            events.extend(crate::lifecycle::deployment::begin(
                crate::lifecycle::deployment::NewDeployment {
                    service,
                    named: named.clone(),
                    id: DeploymentId::new(ids.nth(1)),
                    config: config.deployment.clone(),
                    desired: config.desired,
                    sources: Vec::new(),
                    alarms_ignored: firing_alarms(state, &config),
                    is_known: false,
                    revision,
                },
            ));
        }
        (None, Controller::External) => {}
        (None, Controller::Ecs) => {
            return Err(ServiceRejection::ServiceNeedsDefinition.into());
        }
        (Some(_), Controller::External) => {
            return Err(ServiceRejection::ExternalTakesNoDefinition.into());
        }
    }
    Ok(Decision::of(events))
}

/// The configuration with its capacity provider strategy: the cluster's own where none is given, for
/// services that can have one.
fn with_capacity(
    state: &State,
    cluster: &Cluster,
    create: &CreateService,
) -> Result<ServiceConfig, Rejection> {
    let ServiceConfig { scheduling, controller, .. } = create.config;
    let takes = scheduling == Scheduling::Replica && controller == Controller::Ecs;
    let capacity = match &create.capacity {
        None if takes => cluster.settings.capacity.default_strategy.clone(),
        None => Vec::new(),
        Some(given) => given.clone(),
    };
    check_capacity(state, cluster, &capacity)?;
    Ok(ServiceConfig { capacity, ..create.config.clone() })
}

fn check_capacity(
    state: &State,
    cluster: &Cluster,
    capacity: &[StrategyItem],
) -> Result<(), Rejection> {
    if capacity.is_empty() {
        return Ok(());
    }
    capacity_providers::check_strategy(state, capacity, &cluster.settings.capacity.providers)
}

/// What must hold of a configuration as a whole, at its creation and after each change.
fn check_config(config: &ServiceConfig) -> Result<(), Rejection> {
    let invalid =
        |sentence: &str| Err(ServiceRejection::InvalidServiceConfig(sentence.to_owned()).into());
    let deployment = &config.deployment;
    if config.scheduling == Scheduling::Daemon {
        if config.controller != Controller::Ecs {
            return invalid("The DAEMON scheduling strategy needs the ECS deployment controller.");
        }
        if deployment.maximum_percent != 100 {
            return invalid("maximumPercent must be 100 for the DAEMON scheduling strategy.");
        }
        if !config.strategies.is_empty() {
            return invalid(
                "Placement strategies are not supported with the DAEMON scheduling strategy.",
            );
        }
        if deployment.strategy == DeploymentStrategy::BlueGreen {
            return invalid("The BLUE_GREEN strategy is not for the DAEMON scheduling strategy.");
        }
    } else if deployment.maximum_percent < 100 {
        return invalid("maximumPercent must be at least 100.");
    }
    if !config.capacity.is_empty()
        && (config.scheduling == Scheduling::Daemon || config.controller == Controller::External)
    {
        return invalid(
            "capacityProviderStrategy is for the REPLICA scheduling strategy with the ECS deployment controller.",
        );
    }
    if deployment.minimum_healthy_percent > 100
        && deployment.minimum_healthy_percent >= deployment.maximum_percent
    {
        return invalid("minimumHealthyPercent must be less than maximumPercent.");
    }
    if deployment.minimum_healthy_percent == 100
        && deployment.maximum_percent == 100
        && config.scheduling == Scheduling::Replica
    {
        return invalid(
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.",
        );
    }
    if deployment.strategy == DeploymentStrategy::BlueGreen && deployment.bake_minutes.is_none() {
        return invalid("bakeTimeInMinutes is required with the BLUE_GREEN strategy.");
    }
    if deployment.strategy == DeploymentStrategy::Rolling && !deployment.hooks.is_empty() {
        return invalid("lifecycleHooks are for the BLUE_GREEN strategy.");
    }
    if let Some(early) = deployment.early_success.filter(|early| early.enable) {
        if deployment.strategy != DeploymentStrategy::Rolling {
            return invalid("earlySuccessCriteria is for the ROLLING strategy.");
        }
        if early.healthy_percent < deployment.minimum_healthy_percent {
            return invalid(
                "earlySuccessCriteria.healthyPercent must not be less than minimumHealthyPercent.",
            );
        }
    }
    if let Some(obstacle) = config.obstacle_to_az_rebalancing().filter(|_| config.az_rebalancing) {
        return invalid(&format!(
            "availabilityZoneRebalancing cannot be ENABLED with {obstacle}. Say DISABLED."
        ));
    }
    if config.controller == Controller::External && deployment.circuit_breaker.enable {
        return invalid("deploymentCircuitBreaker is for the ECS deployment controller.");
    }
    if config.controller == Controller::External
        && deployment.alarms.as_ref().is_some_and(|alarms| alarms.enable)
    {
        return invalid("deploymentConfiguration.alarms are for the ECS deployment controller.");
    }
    if config.controller == Controller::External
        && deployment.strategy != DeploymentStrategy::Rolling
    {
        return invalid("The EXTERNAL deployment controller has no deployment strategy.");
    }
    Ok(())
}

/// A definition that new tasks of a service may be started from.
pub(super) fn usable<'a>(
    state: &'a State,
    definition: &RevisionRef,
) -> Result<&'a Definition, Rejection> {
    let found = gate::definition(state, definition)?;
    let (family, revision) = (found.family.clone(), found.definition.revision);
    task_definitions::allowed(state, &found.definition.spec)?;
    let needs = needs_not_honoured(&found.definition.spec, &Default::default());
    if !needs.is_empty() {
        return Err(
            DefinitionRejection::NotHonoured { family, revision, needs: needs.join(", ") }.into()
        );
    }
    Ok(found)
}

pub(super) fn check_constraints(
    definition: &Definition,
    config: &ServiceConfig,
) -> Result<(), Rejection> {
    tasks::constraints(definition, &config.member_of, config.distinct_instance).map(drop)
}

pub(super) fn revision(definition: &Definition, ids: Ids, at: Timestamp) -> RevisionRecord {
    let id = RevisionId::from_entropy(ids.entropy());
    RevisionRecord {
        id,
        family: definition.family.clone(),
        revision: definition.definition.revision,
        created_at: at,
        updated_at: at,
        rollout: Rollout::InProgress,
        reason: format!("ECS deployment ecs-svc/{id} in progress."),
        failed_tasks: 0,
        has_run: false,
        scaled: false,
        task_set: None,
        image_digests: BTreeMap::new(),
    }
}

/// Of the alarms that a deployment would listen to, those in ALARM now: ignored this time
/// (ecs-behaviour 1.10).
fn firing_alarms(state: &State, config: &ServiceConfig) -> Vec<String> {
    let Some(alarms) = config.deployment.alarms.as_ref().filter(|a| a.enable) else {
        return vec![];
    };
    let fires = |name: &&String| state.alarm(name).is_some_and(|a| a.value == AlarmValue::Alarm);
    alarms.names.iter().filter(fires).cloned().collect()
}

/// An alarm that nobody can set would never fail anything.
fn check_alarms(state: &State, config: &ServiceConfig) -> Result<(), Rejection> {
    let Some(alarms) = config.deployment.alarms.as_ref().filter(|a| a.enable) else {
        return Ok(());
    };
    match alarms.names.iter().find(|name| state.alarm(name).is_none()) {
        None => Ok(()),
        Some(name) => Err(ServiceRejection::InvalidServiceConfig(format!(
            "The alarm {name} does not exist. Make it with CloudWatch's PutMetricAlarm first."
        ))
        .into()),
    }
}

fn update(
    state: &State,
    update: &UpdateService,
    at: Timestamp,
    ids: Ids,
) -> Result<Decision, Rejection> {
    let named = &update.service;
    let service = gate::service(state, named)?;
    let mut config = changed(&service.config, update);
    // ENABLED is the default where it is possible: it must not stand in the way of an update of the
    // percentages that does not speak of it.
    if update.az_rebalancing.is_none() && config.deployment.maximum_percent <= 100 {
        config.az_rebalancing = false;
    }
    check_config(&config)?;
    if let Some(capacity) = &update.capacity {
        check_capacity(state, state.cluster_at(service.cluster), capacity)?;
    }
    if update.deployment.alarms.is_some() {
        check_alarms(state, &config)?;
    }
    if service.is_external() && (update.definition.is_some() || update.force_new_deployment) {
        return Err(ServiceRejection::ExternalTakesNoDefinition.into());
    }
    if service.is_daemon() && update.desired.is_some() {
        return Err(ServiceRejection::DaemonTakesNoDesiredCount.into());
    }
    let mut events = Vec::new();
    if config != service.config {
        let config = Box::new(config.clone());
        events.push(Event::Service(ServiceEvent::ServiceConfigured {
            service: service.id,
            config,
            at,
        }));
    }
    let current = service.primary();
    if let Some(failed) = current.filter(|primary| primary.record.rollout == Rollout::Failed)
        && config.desired != service.config.desired
    {
        let revision = Box::new(RevisionRecord { scaled: true, ..failed.record.clone() });
        events
            .push(Event::Service(ServiceEvent::RevisionChanged { service: service.id, revision }));
    }
    let asked = match (&update.definition, current) {
        (Some(definition), _) => Some(task_definitions::find(state, definition)?),
        (None, Some(primary)) if update.force_new_deployment => {
            Some(state.definition_at(primary.definition))
        }
        (None, _) => None,
    };
    if let Some(definition) = asked.or(current.map(|one| state.definition_at(one.definition))) {
        check_constraints(definition, &config)?;
    }
    let is_other = |definition: &Definition| {
        current.is_none_or(|primary| {
            (&primary.record.family, primary.record.revision)
                != (&definition.family, definition.definition.revision)
        })
    };
    if let Some(definition) = asked
        && (update.force_new_deployment || is_other(definition))
    {
        if update.definition.is_some() {
            let family = definition.family.clone();
            let revision = Some(definition.definition.revision);
            usable(state, &RevisionRef { family, revision })?;
        }
        events.extend(crate::lifecycle::deployment::supersede(
            service,
            "A newer deployment was started.",
            at,
        ));
        let sources = service.revisions.iter().filter(|r| !r.tasks.is_empty());
        let sources = sources.map(|revision| revision.record.id).collect();
        let again = again(service, definition, &config, update.force_new_deployment);
        let revision = match again {
            Some(again) => taken_up_again(&again.record, at),
            None => revision(definition, ids, at),
        };
        events.extend(crate::lifecycle::deployment::begin(
            crate::lifecycle::deployment::NewDeployment {
                service: service.id,
                named: named.clone(),
                id: DeploymentId::new(ids.nth(1)),
                config: config.deployment.clone(),
                desired: config.desired,
                sources,
                alarms_ignored: firing_alarms(state, &config),
                is_known: again.is_some(),
                revision,
            },
        ));
    }
    Ok(Decision::of(events))
}

/// A revision that ran such tasks before and still does: going back to it takes them as they are.
/// New ones might find no room beside them, for a static host port or for memory.
fn again<'a>(
    service: &'a Service,
    definition: &Definition,
    config: &ServiceConfig,
    forced: bool,
) -> Option<&'a Revision> {
    let rolling = config.deployment.strategy == DeploymentStrategy::Rolling;
    let wanted = (&definition.family, definition.definition.revision);
    let is_same = |known: &&Revision| {
        let record = &known.record;
        (&record.family, record.revision) == wanted
            && record.rollout != Rollout::Failed
            && service.primary != Some(record.id)
            && known.counts.wanted() > 0
    };
    service.revisions.iter().rev().filter(|_| rolling && !forced).find(is_same)
}

/// A revision whose deployment begins anew: clients take what a service said since then for news of it.
fn taken_up_again(record: &RevisionRecord, at: Timestamp) -> RevisionRecord {
    RevisionRecord {
        rollout: Rollout::InProgress,
        created_at: at,
        reason: format!("ECS deployment ecs-svc/{} in progress.", record.id),
        updated_at: at,
        failed_tasks: 0,
        scaled: false,
        ..record.clone()
    }
}

pub(super) fn changed(config: &ServiceConfig, update: &UpdateService) -> ServiceConfig {
    let mut config = config.clone();
    let take = |from: Option<u32>, to: &mut u32| *to = from.unwrap_or(*to);
    take(update.desired, &mut config.desired);
    let (change, deployment) = (&update.deployment, &mut config.deployment);
    take(change.minimum_healthy_percent, &mut deployment.minimum_healthy_percent);
    take(change.maximum_percent, &mut deployment.maximum_percent);
    deployment.strategy = change.strategy.unwrap_or(deployment.strategy);
    deployment.circuit_breaker = change.circuit_breaker.unwrap_or(deployment.circuit_breaker);
    if let Some(alarms) = &change.alarms {
        deployment.alarms = Some(alarms.clone());
    }
    deployment.bake_minutes = change.bake_minutes.or(deployment.bake_minutes);
    if let Some(hooks) = &change.hooks {
        deployment.hooks.clone_from(hooks);
    }
    deployment.early_success = change.early_success.or(deployment.early_success);
    config.distinct_instance = update.distinct_instance.unwrap_or(config.distinct_instance);
    if let Some(member_of) = &update.member_of {
        config.member_of.clone_from(member_of);
    }
    if let Some(strategies) = &update.strategies {
        config.strategies.clone_from(strategies);
    }
    if let Some(capacity) = &update.capacity {
        config.capacity.clone_from(capacity);
    }
    config.grace_s = update.grace_s.or(config.grace_s);
    config.az_rebalancing = update.az_rebalancing.unwrap_or(config.az_rebalancing);
    config.propagate_tags = update.propagate_tags.unwrap_or(config.propagate_tags);
    config.managed_tags = update.managed_tags.unwrap_or(config.managed_tags);
    config
}

fn delete(
    state: &State,
    named: &ServiceRef,
    force: bool,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    gate::cluster(state, &named.cluster)?;
    let Some(service) = state.service_named(named) else {
        return Err(ServiceRejection::ServiceNotFound(named.clone()).into());
    };
    match service.status {
        ServiceStatus::Active => {}
        ServiceStatus::Draining => return Ok(Decision::default()),
        ServiceStatus::Inactive { .. } => {
            return Err(ServiceRejection::ServiceNotFound(named.clone()).into());
        }
    }
    let scaled = !service.is_daemon() && service.config.desired > 0;
    if !force && (scaled || (service.is_external() && !service.revisions.is_empty())) {
        return Err(ServiceRejection::ServiceScaledAboveZero.into());
    }
    if !force && !service.is_daemon() && service.has_tasks() {
        return Err(ServiceRejection::ServiceHasDeployments.into());
    }
    let mut events: Vec<Event> =
        crate::lifecycle::deployment::supersede(service, "The service was deleted.", at);
    events.push(Event::Service(ServiceEvent::ServiceDraining { service: service.id, at }));
    Ok(Decision::of(events))
}

fn under_way<'a>(
    state: &'a State,
    deployment: &DeploymentRef,
) -> Result<(&'a Service, DeploymentRecord), Rejection> {
    let service = gate::service(state, &deployment.service)?;
    let found = service.deployment.as_ref().filter(|found| found.id == deployment.deployment);
    match found {
        None => Err(ServiceRejection::ServiceDeploymentNotFound(deployment.clone()).into()),
        Some(found) => Ok((service, found.clone())),
    }
}

/// StopServiceDeployment (ecs-behaviour 1.10): goes back, or leaves what runs as it is.
fn stop_deployment(
    state: &State,
    deployment: &DeploymentRef,
    rollback: bool,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let (service, mut found) = under_way(state, deployment)?;
    match found.status {
        DeploymentStatus::Pending | DeploymentStatus::InProgress => {}
        DeploymentStatus::StopRequested | DeploymentStatus::RollbackRequested => {
            return Ok(Decision::default());
        }
        DeploymentStatus::RollbackInProgress
        | DeploymentStatus::Successful
        | DeploymentStatus::Stopped
        | DeploymentStatus::RollbackSuccessful
        | DeploymentStatus::RollbackFailed => {
            return Err(ServiceRejection::ServiceDeploymentNotStoppable(deployment.clone()).into());
        }
    }
    found.updated_at = at;
    found.reason = Some("the service deployment was stopped by a user".to_owned());
    found.status = match rollback {
        true => DeploymentStatus::RollbackRequested,
        false => DeploymentStatus::StopRequested,
    };
    let deployment = Box::new(found);
    Ok(Decision::of(vec![Event::Service(ServiceEvent::DeploymentSet {
        service: service.id,
        deployment,
    })]))
}

fn continue_deployment(
    state: &State,
    deployment: &DeploymentRef,
    hook: HookId,
    action: HookAction,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let (service, mut found) = under_way(state, deployment)?;
    let config = &found.config;
    let run = found.hooks.iter_mut().find(|run| run.id == hook);
    let paused = |run: &&mut crate::model::deployment::HookRecord| {
        config.hooks.get(run.hook as usize).is_some_and(|hook| hook.target == HookTarget::Pause)
    };
    let Some(run) = run.filter(paused).filter(|run| run.status == HookStatus::AwaitingAction)
    else {
        return Err(ServiceRejection::HookNotWaiting(hook).into());
    };
    run.status = match action {
        HookAction::Continue => HookStatus::Succeeded,
        HookAction::Rollback => HookStatus::Failed,
    };
    found.updated_at = at;
    let deployment = Box::new(found);
    Ok(Decision::of(vec![Event::Service(ServiceEvent::DeploymentSet {
        service: service.id,
        deployment,
    })]))
}

/// An answer to a hook that nobody waits for any more changes nothing.
fn hook_answered(
    state: &State,
    service: ServiceId,
    hook: HookId,
    answer: &HookAnswer,
    at: Timestamp,
) -> Decision {
    let Some(service) = state.service(service) else { return Decision::default() };
    let Some(mut found) = service.under_way().cloned() else { return Decision::default() };
    let run = found.hooks.iter_mut().find(|run| run.id == hook);
    let Some(run) = run.filter(|run| run.status == HookStatus::InProgress) else {
        return Decision::default();
    };
    match answer {
        HookAnswer::Succeeded => (run.status, run.call_at) = (HookStatus::Succeeded, None),
        HookAnswer::Failed(why) => {
            (run.status, run.call_at) = (HookStatus::Failed, None);
            run.reason = Some(why.chars().take(REASON_CHARS_MAX).collect());
        }
        HookAnswer::InProgress { call_back_s } => {
            run.call_at = Some(Timestamp(at.0 + u64::from(*call_back_s) * 1000));
        }
    }
    found.updated_at = at;
    let deployment = Box::new(found);
    Decision::of(vec![Event::Service(ServiceEvent::DeploymentSet {
        service: service.id,
        deployment,
    })])
}
