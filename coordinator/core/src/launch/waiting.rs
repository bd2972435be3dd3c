//! Where tasks of RunTask that wait would go now.

use crate::{
    launch::request::{NEW_GROUP, required_attributes},
    placement::{MemberOf, Placement, Request, Taken},
    state::{State, Waiting},
};

/// Where the launch's tasks would go now.
pub(crate) fn place(state: &State, waiting: &Waiting, entropy: u64) -> Placement {
    let index = &state.cluster_at(waiting.cluster).index;
    with_request(state, waiting, entropy, |request| index.place(request))
}

/// Whether the launch has become forbidden since it was asked for: by a start of the coordinator
/// with other settings.
pub(crate) fn is_forbidden(state: &State, waiting: &Waiting) -> bool {
    let spec = &state.definition_at(waiting.definition).definition.spec;
    state.task_policy().refusal(spec).is_some()
}

pub(crate) fn with_request<T>(
    state: &State,
    waiting: &Waiting,
    entropy: u64,
    ask: impl FnOnce(&Request<'_>) -> T,
) -> T {
    let launch = &waiting.launch;
    let definition = state.definition_at(waiting.definition);
    let mut required = required_attributes(definition);
    let member_of = [&definition.member_of[..], &launch.member_of[..]].concat();
    let provider = launch.provider.as_ref();
    required.extend(provider.map(|provider| state.provider_attribute(provider)));
    ask(&Request {
        demand: &launch.demand,
        required_attributes: &required,
        member_of: MemberOf {
            constraints: &member_of,
            own_group: &launch.group,
            groups: state.groups(),
        },
        distinct_instance: launch.distinct_instance,
        strategies: &launch.strategies,
        group: state.group_key(&launch.group).unwrap_or(NEW_GROUP),
        count: launch.tasks.len() as u32,
        images: &definition.images,
        earlier: Taken::nothing(),
        entropy,
    })
}
