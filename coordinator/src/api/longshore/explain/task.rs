//! The explanation of one task: what was recorded when it was placed, what its definition asks, and
//! how its host stands to that now.

use longshore_common::protocol::Attribute;
use longshore_core::{
    decide::explain::{AskedOf, asked_of},
    model::name::ClusterName,
    placement::AVAILABILITY_ZONE,
    query::Constraint,
    state::{State, Task},
};
use serde::{Deserialize, Serialize};

use crate::{
    api::ecs::{
        identifiers,
        placement::{self, PlacementStrategy},
    },
    edge::{context::Api, error::ApiError},
};

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskExplained {
    pub(crate) container_instance_arn: String,
    pub(crate) group: String,
    /// Epoch seconds: when it was placed.
    pub(crate) placed_at: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started_by: Option<String>,
    /// What it took of its host.
    pub(crate) cpu: u32,
    pub(crate) memory: u32,
    pub(crate) gpus: u32,
    pub(crate) host_ports: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) capacity_provider: Option<String>,
    /// Requirements of the task's definition, of its capacity provider, and of the call that
    /// started it or of its service as it is now.
    pub(crate) requirements: Vec<RequirementView>,
    /// Each task of its group has a host of its own.
    pub(crate) distinct_instance: bool,
    /// Strategy by which the host was chosen among those that would do; none is ECS's default.
    pub(crate) placement_strategy: Vec<PlacementStrategy>,
    /// How many tasks of its group are there now, itself included.
    pub(crate) group_on_container_instance_now: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) availability_zone: Option<String>,
    /// What its host has left now.
    pub(crate) remaining_cpu_now: i64,
    pub(crate) remaining_memory_now: i64,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequirementView {
    /// An attribute's name, with `=` and its value when one is asked, or an expression.
    pub(crate) requirement: String,
    pub(crate) holds_now: bool,
}

pub(super) async fn explain(
    api: &Api,
    cluster: &ClusterName,
    given: &str,
) -> Result<TaskExplained, ApiError> {
    let id = identifiers::task(&api.identity, cluster, given)?;
    let show = |state: &State| {
        let held = state.cluster(cluster.as_str())?;
        let slot = held.tasks.get(&id?)?;
        Some(view(api, state, cluster, state.task_at(*slot)))
    };
    api.read(show).await?.ok_or_else(|| {
        ApiError::invalid_parameter(
            "The referenced task was not found, or it has stopped: only tasks that hold a place \
             are explained. DescribeTasks says why a task stopped.",
        )
    })
}

fn view(api: &Api, state: &State, cluster: &ClusterName, task: &Task) -> TaskExplained {
    let host = state.host_at(task.host);
    let index = &state.cluster_at(task.cluster).index;
    let remaining = index.remaining(task.host).cloned().unwrap_or_default();
    let AskedOf { required, member_of, distinct_instance, strategies } = asked_of(state, task);
    let attribute = |wanted: &Attribute| RequirementView {
        requirement: match &wanted.value {
            Some(value) => format!("{}={value}", wanted.name),
            None => wanted.name.clone(),
        },
        holds_now: match (host.attribute(&wanted.name), wanted.value.as_deref()) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(own), wanted) => own == wanted,
        },
    };
    let constraint = |constraint: &Constraint| RequirementView {
        requirement: constraint.text().to_owned(),
        holds_now: index.meeting(constraint, state.groups()).has(task.host),
    };
    let attributes = required.iter().map(attribute);
    let requirements = attributes.chain(member_of.iter().map(constraint)).collect();
    let in_group = host.tasks.values().filter(|slot| state.task_at(**slot).group == task.group);
    TaskExplained {
        container_instance_arn: api.identity.container_instance(cluster.as_str(), host.id),
        group: state.group_name(task.group).to_owned(),
        placed_at: task.created_at.as_epoch_seconds(),
        started_by: task.started_by.as_deref().map(str::to_owned),
        cpu: task.demand.cpu.0,
        memory: task.demand.memory.0,
        gpus: task.demand.gpus,
        host_ports: task
            .demand
            .ports
            .iter()
            .map(|port| format!("{}/{}", port.port, port.transport))
            .collect(),
        capacity_provider: task.provider.as_ref().map(ToString::to_string),
        requirements,
        distinct_instance,
        placement_strategy: placement::strategies(strategies),
        group_on_container_instance_now: in_group.count() as u32,
        availability_zone: host.attribute(AVAILABILITY_ZONE).flatten().map(str::to_owned),
        remaining_cpu_now: remaining.cpu,
        remaining_memory_now: remaining.memory,
    }
}
