//! What ECS's API cannot say: the operations of `Longshore_2026`.

pub(crate) mod explain;
pub(crate) mod fleet;

use crate::edge::operation::Operation;

/// The operations of `Longshore_2026`.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("CreateJoinToken", fleet::create_join_token),
        Operation::new("ListJoinTokens", fleet::list_join_tokens),
        Operation::new("RevokeJoinToken", fleet::revoke_join_token),
        Operation::new("Recover", fleet::recover),
        Operation::new("ReplaceLostTasks", fleet::replace_lost_tasks),
        Operation::new("Explain", explain::explain),
    ]
}
