//! UpdateTaskProtection (ecs-behaviour 1.13): tasks of services that scaling leaves alone.

use longshore_common::{clock::Timestamp, id::TaskId};

use super::{Answer, Decision, each_once, gate};
use crate::{
    event::{Event, TaskEvent},
    model::{name::ClusterName, task::Wish},
    rejection::Rejection,
    state::State,
};

pub(super) fn update(
    state: &State,
    cluster: &ClusterName,
    asked: &[TaskId],
    minutes: Option<u32>,
    at: Timestamp,
) -> Result<Decision, Rejection> {
    let cluster = gate::cluster(state, cluster)?;
    let mut tasks = Vec::new();
    let mut failures = Vec::new();
    for id in each_once(asked) {
        let task = cluster.tasks.get(&id).map(|slot| state.task_at(*slot));
        match task {
            None => failures.push((id, "MISSING")),
            Some(task) if task.service.is_none() => failures.push((id, "TASK_NOT_VALID")),
            Some(task) if task.wish != Wish::Run => failures.push((id, "TASK_NOT_VALID")),
            Some(_) => tasks.push(id),
        }
    }
    let until = minutes.map(|minutes| Timestamp(at.0 + u64::from(minutes) * 60_000));
    let answer = Answer::Protected { tasks: tasks.clone(), failures };
    if tasks.is_empty() {
        return Ok(Decision::with(vec![], answer));
    }
    Ok(Decision::with(vec![Event::Task(TaskEvent::TaskProtectionPut { tasks, until })], answer))
}
