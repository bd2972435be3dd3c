//! What ECS's API cannot say: the operations of `Longshore_2026`.

pub(crate) mod explain;
pub(crate) mod fleet;

use crate::api::ecs;
use crate::edge::{
    error::ErrorCode,
    operation::{Operation, json},
    service::{Service, ServiceModel},
};

/// What stands before the names of Longshore's own operations, which are signed for ECS.
pub(crate) const TARGET: &str = "Longshore_2026";

pub(crate) fn service() -> Service {
    service_of(operations())
}

/// The service with these of its operations.
pub(crate) fn service_of(operations: Vec<Operation>) -> Service {
    let model = ServiceModel {
        name: ecs::SIGNING_NAME,
        target: Some(TARGET),
        query: None,
        invalid: ErrorCode::InvalidParameter,
        known: None,
    };
    Service::new(model, operations)
}

fn operations() -> Vec<Operation> {
    vec![
        Operation::write("CreateJoinToken", json(fleet::create_join_token)),
        Operation::read("ListJoinTokens", json(fleet::list_join_tokens)),
        Operation::write("RevokeJoinToken", json(fleet::revoke_join_token)),
        Operation::write("Recover", json(fleet::recover)),
        Operation::write("ReplaceLostTasks", json(fleet::replace_lost_tasks)),
        Operation::read("Explain", json(explain::explain)),
    ]
}
